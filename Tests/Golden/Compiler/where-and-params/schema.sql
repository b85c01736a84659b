CREATE SCHEMA shop;
CREATE TABLE shop.products (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, state text, added_on date NOT NULL, note text,
  price numeric(10,2), changed_at timestamptz, changed_in bigint);
CREATE INDEX products_state ON shop.products (state) WHERE note IS NULL;
INSERT INTO shop.products (state, added_on, note, price)
SELECT (ARRAY['active', 'sold out', 'gone'])[n % 3 + 1], date '2020-01-01' + 10 * n,
       CASE WHEN n % 5 = 0 THEN 'frozen' END, nullif(n % 7, 0)
FROM   generate_series(1, 40) AS n;
CREATE VIEW public.kept AS SELECT * FROM shop.products;
