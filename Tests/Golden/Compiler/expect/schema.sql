CREATE SCHEMA shop;
CREATE TABLE shop.products (id bigint PRIMARY KEY, name text NOT NULL, price numeric(10,2) NOT NULL);
INSERT INTO shop.products SELECT n, 'product ' || n, n FROM generate_series(1, 25) AS n;
CREATE VIEW public.kept AS SELECT * FROM shop.products;
