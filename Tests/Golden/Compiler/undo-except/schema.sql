CREATE SCHEMA shop;
CREATE TABLE shop.people (id integer PRIMARY KEY, name text, last_update timestamptz);
INSERT INTO shop.people SELECT n, 'person ' || n, '2020-01-01' FROM generate_series(1, 6) AS n;
CREATE FUNCTION shop.touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.last_update := '2026-01-01';
  RETURN NEW;
END $$;
CREATE TRIGGER touch BEFORE UPDATE ON shop.people FOR EACH ROW EXECUTE FUNCTION shop.touch();
-- What revert leaves as it is stands outside.
CREATE VIEW public.kept AS SELECT id, name FROM shop.people;
