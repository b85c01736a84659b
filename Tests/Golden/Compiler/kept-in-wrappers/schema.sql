CREATE SCHEMA shop;
CREATE TYPE shop.place AS (street text, number integer);
CREATE TYPE shop.mood AS ENUM ('good', 'bad');
CREATE DOMAIN shop.positive AS integer CHECK (VALUE > 0);
CREATE DOMAIN shop.code AS varchar(4);
CREATE DOMAIN shop.codes AS text[];
CREATE TABLE shop.shapes (
  id shop.positive PRIMARY KEY, positive shop.positive, tags text[], place shop.place, codes shop.code[], state shop.mood);
INSERT INTO shop.shapes
SELECT n, n, CASE WHEN n % 2 = 0 THEN ARRAY['a', NULL] END, ROW('road', n)::shop.place, '{}', 'good'
FROM   generate_series(1, 9) AS n;
CREATE VIEW public.kept AS SELECT * FROM shop.shapes;
