CREATE SCHEMA shop;
CREATE TABLE shop.people (country text, id integer, name text, last_update timestamptz, PRIMARY KEY (country, id));
INSERT INTO shop.people SELECT 'de', n, 'person ' || n, '2020-01-01' FROM generate_series(1, 6) AS n;
CREATE FUNCTION shop.touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.last_update := clock_timestamp();
  RETURN NEW;
END $$;
CREATE FUNCTION shop.shout() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.name := NEW.name || '!';
  RETURN NEW;
END $$;
-- No setting of a session keeps this one from firing.
CREATE TRIGGER touch BEFORE UPDATE ON shop.people FOR EACH ROW EXECUTE FUNCTION shop.touch();
ALTER TABLE shop.people ENABLE ALWAYS TRIGGER touch;
CREATE TRIGGER shout BEFORE UPDATE ON shop.people FOR EACH ROW EXECUTE FUNCTION shop.shout();
CREATE VIEW public.kept AS SELECT * FROM shop.people;
