CREATE SCHEMA shop;
CREATE TABLE shop.limits (name text PRIMARY KEY, most numeric NOT NULL);
INSERT INTO shop.limits VALUES ('product 7', 7);
CREATE TABLE shop.products (id bigint PRIMARY KEY, name text NOT NULL, price numeric(10,2) NOT NULL,
                            net numeric GENERATED ALWAYS AS (price * 0.8) STORED);
INSERT INTO shop.products SELECT n, 'product ' || n, n FROM generate_series(1, 25) AS n;
CREATE VIEW public.kept AS SELECT * FROM shop.products;
