CREATE SCHEMA shop;
CREATE TABLE shop.people (id integer PRIMARY KEY, name text, last_update timestamptz, tags text[]);
INSERT INTO shop.people SELECT n, 'person ' || n, '2020-01-01', ARRAY['old', n::text] FROM generate_series(1, 6) AS n;
CREATE FUNCTION shop.touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.last_update := clock_timestamp();
  NEW.tags := array_append(NEW.tags, 'touched');
  RETURN NEW;
END $$;
CREATE TRIGGER touch BEFORE UPDATE ON shop.people FOR EACH ROW EXECUTE FUNCTION shop.touch();
CREATE VIEW public.kept AS SELECT * FROM shop.people;
