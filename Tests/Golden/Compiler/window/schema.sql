CREATE SCHEMA shop;
CREATE TABLE shop.visits (id integer PRIMARY KEY, at timestamptz, day date, text text);
INSERT INTO shop.visits SELECT n, timestamptz '2026-01-01 18:00:00+00' + n * interval '3 minutes' FROM generate_series(1, 9) AS n;
CREATE VIEW public.kept AS SELECT * FROM shop.visits;
