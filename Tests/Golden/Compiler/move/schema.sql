CREATE SCHEMA shop;
CREATE SCHEMA archive;
CREATE TABLE shop.orders (id bigint PRIMARY KEY, user_id bigint, amount numeric(8, 2), taxed numeric GENERATED ALWAYS AS (amount * 1.2) STORED,
                          ordered_on date, labels text[]);
CREATE TABLE shop.items (id bigint PRIMARY KEY, order_id bigint NOT NULL REFERENCES shop.orders ON DELETE CASCADE, sku text);
CREATE INDEX ON shop.items (order_id);
CREATE TABLE archive.orders (id bigint PRIMARY KEY, amount numeric(8, 2), user_id bigint, ordered_on date, labels text[],
                             moved_at timestamptz NOT NULL);
CREATE TABLE archive.items (order_id bigint NOT NULL REFERENCES archive.orders, id bigint PRIMARY KEY, sku text);
INSERT INTO shop.orders (id, user_id, amount, ordered_on, labels)
SELECT n, n % 30, n, date '2026-01-01' + (n % 60)::integer, CASE n % 3 WHEN 0 THEN ARRAY['a', NULL] END
FROM generate_series(1, 200) AS n;
INSERT INTO shop.items SELECT n, 1 + n % 200, 's' || n FROM generate_series(1, 500) AS n;
ANALYZE;
CREATE VIEW public.kept AS
SELECT 'orders' AS of, o::text AS row FROM shop.orders AS o UNION ALL SELECT 'items', i::text FROM shop.items AS i
UNION ALL SELECT 'archive.orders', o::text FROM archive.orders AS o UNION ALL SELECT 'archive.items', i::text FROM archive.items AS i;
