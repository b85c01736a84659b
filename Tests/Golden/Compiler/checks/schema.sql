CREATE SCHEMA shop;
CREATE TABLE shop.stock (id integer PRIMARY KEY, quantity integer NOT NULL, note text);
INSERT INTO shop.stock SELECT n, n FROM generate_series(1, 10) AS n;
CREATE VIEW public.kept AS SELECT * FROM shop.stock;
