CREATE SCHEMA shop;
CREATE TABLE shop.employees (id integer PRIMARY KEY, boss integer, is_boss boolean NOT NULL DEFAULT false);
INSERT INTO shop.employees (id, boss) SELECT n, n / 2 FROM generate_series(1, 9) AS n;
CREATE VIEW public.kept AS SELECT * FROM shop.employees;
