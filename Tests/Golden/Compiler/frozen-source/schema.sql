CREATE SCHEMA shop;
CREATE TABLE shop.customers (id bigint PRIMARY KEY, email text COLLATE "C" NOT NULL, created_at date NOT NULL);
CREATE TABLE shop.orders (id bigint PRIMARY KEY, customer_id bigint NOT NULL REFERENCES shop.customers, amount numeric(8, 2));
CREATE INDEX ON shop.orders (customer_id);
CREATE TABLE shop.labels (customer_id bigint REFERENCES shop.customers, label text, PRIMARY KEY (customer_id, label));
INSERT INTO shop.customers SELECT n, CASE n % 3 WHEN 0 THEN 'A' ELSE 'a' END || n % 40, date '2026-01-01' + (n * 7 % 90)::integer FROM generate_series(1, 100) AS n;
INSERT INTO shop.orders SELECT n, 1 + n * 13 % 100, n FROM generate_series(1, 300) AS n;
INSERT INTO shop.labels SELECT DISTINCT 1 + n * 7 % 100, 'l' || n % 5 FROM generate_series(1, 300) AS n;
ANALYZE;
CREATE VIEW public.kept AS
SELECT 'customers' AS of, c::text AS row FROM shop.customers AS c UNION ALL SELECT 'orders', o::text FROM shop.orders AS o
UNION ALL SELECT 'labels', l::text FROM shop.labels AS l;
