CREATE SCHEMA shop;
CREATE TABLE shop.sales (id bigint PRIMARY KEY, sku text COLLATE "C" NOT NULL, day date NOT NULL, qty integer NOT NULL);
INSERT INTO shop.sales SELECT n, 's' || n % 20, date '2026-01-01' + (n % 5)::integer, n % 4 FROM generate_series(1, 300) AS n;
CREATE VIEW shop.sold AS SELECT day, sku, sum(qty) AS qty, array_agg(id ORDER BY id) AS sales FROM shop.sales GROUP BY day, sku;
CREATE TABLE shop.report (day date, sku text COLLATE "C", qty bigint NOT NULL, sales bigint[], PRIMARY KEY (sku, day));
ANALYZE;
CREATE VIEW public.kept AS SELECT r::text AS row FROM shop.report AS r;
