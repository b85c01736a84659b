CREATE SCHEMA shop;
CREATE TABLE shop.events (id uuid PRIMARY KEY, seen boolean NOT NULL DEFAULT false);
INSERT INTO shop.events (id) SELECT md5(n::text)::uuid FROM generate_series(1, 21) AS n;
CREATE VIEW public.kept AS SELECT * FROM shop.events;
