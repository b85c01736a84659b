CREATE SCHEMA shop;
CREATE TABLE shop.articles (id integer PRIMARY KEY, code text NOT NULL, shelf integer NOT NULL);
CREATE UNIQUE INDEX articles_code ON shop.articles (code, shelf);
INSERT INTO shop.articles SELECT n, 'code ' || n % 4, n FROM generate_series(1, 11) AS n;
CREATE VIEW public.kept AS SELECT * FROM shop.articles;
