CREATE SCHEMA shop;
CREATE TABLE shop.products (id bigint PRIMARY KEY, name text, price numeric, status text);
INSERT INTO shop.products SELECT n, 'product ' || n, n, CASE WHEN n % 3 = 0 THEN 'gone' ELSE 'active' END FROM generate_series(1, 40) AS n;
CREATE VIEW public.kept AS SELECT * FROM shop.products;
