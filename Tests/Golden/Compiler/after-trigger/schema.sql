CREATE SCHEMA shop;
CREATE TABLE shop.people (id integer PRIMARY KEY, name text);
CREATE TABLE shop.log (id integer, name text);
INSERT INTO shop.people SELECT n, 'person ' || n FROM generate_series(1, 6) AS n;
CREATE FUNCTION shop.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO shop.log VALUES (NEW.id, NEW.name);
  RETURN NULL;
END $$;
CREATE TRIGGER note AFTER UPDATE ON shop.people FOR EACH ROW EXECUTE FUNCTION shop.note();
CREATE VIEW public.kept AS SELECT * FROM shop.people;
