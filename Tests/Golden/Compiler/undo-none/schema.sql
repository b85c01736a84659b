CREATE SCHEMA shop;
CREATE TABLE shop.people (id integer PRIMARY KEY, name text, left_on date);
INSERT INTO shop.people SELECT n, 'person ' || n, date '2019-12-25' + n FROM generate_series(1, 12) AS n;
CREATE VIEW public.kept AS SELECT * FROM shop.people;
