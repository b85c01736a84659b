CREATE SCHEMA shop;
CREATE SEQUENCE shop.tickets;
CREATE TABLE shop.users (id integer PRIMARY KEY, token uuid, ticket bigint);
INSERT INTO shop.users (id) SELECT n FROM generate_series(1, 12) AS n;
CREATE VIEW public.kept AS SELECT * FROM shop.users;
