CREATE SCHEMA shop;
CREATE TABLE shop.payments (paid_on date, id integer, amount numeric, settled boolean DEFAULT false, PRIMARY KEY (paid_on, id))
  PARTITION BY RANGE (paid_on);
CREATE TABLE shop.payments_2025 PARTITION OF shop.payments FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE shop.payments_2026 PARTITION OF shop.payments FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO shop.payments SELECT date '2025-12-20' + n, n, n FROM generate_series(1, 25) AS n;
CREATE VIEW public.kept AS SELECT * FROM shop.payments;
