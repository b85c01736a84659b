CREATE SCHEMA shop;
CREATE TABLE shop.products (
  id     integer PRIMARY KEY,
  stock  integer NOT NULL,
  price  numeric(10,2) NOT NULL,
  changes boolean NOT NULL DEFAULT false
);
INSERT INTO shop.products (id, stock, price) SELECT n, n % 10, 1 FROM generate_series(1, 40) AS n;
-- Of what is out of stock nothing was sold.
CREATE TABLE shop.sales AS SELECT n AS product FROM generate_series(1, 40) AS n WHERE n % 10 <> 0;
CREATE VIEW public.kept AS SELECT * FROM shop.products;
