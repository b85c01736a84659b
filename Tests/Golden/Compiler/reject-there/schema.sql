CREATE SCHEMA shop;
CREATE TABLE shop.sales (id bigint PRIMARY KEY, sku text NOT NULL, day date NOT NULL, qty integer NOT NULL);
INSERT INTO shop.sales SELECT n, 's' || n % 20, date '2026-01-01' + (n % 5)::integer, n % 4 FROM generate_series(1, 300) AS n;
CREATE TABLE shop.report (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, day date NOT NULL, sku text NOT NULL, qty numeric(8, 1), note char(6),
                          seen integer NOT NULL DEFAULT 7, UNIQUE (day, sku));
INSERT INTO shop.report (day, sku, qty, seen) SELECT DISTINCT day, sku, 1, 3 FROM shop.sales WHERE id < 10;
ANALYZE;
CREATE VIEW public.kept AS SELECT day, sku, qty, note, seen FROM shop.report;
