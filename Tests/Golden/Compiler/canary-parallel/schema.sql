CREATE SCHEMA shop;
-- The index is in another order than the columns, and batches follow the index.
CREATE TABLE shop.lines (tenant integer, line smallint, sku varchar(20), quantity integer, PRIMARY KEY (sku, tenant, line));
INSERT INTO shop.lines SELECT n % 3, n % 5, 'sku ' || n % 2, n FROM generate_series(1, 30) AS n;
CREATE VIEW public.kept AS SELECT * FROM shop.lines;
