CREATE SCHEMA shop;
CREATE TABLE shop.users (id bigint PRIMARY KEY, total numeric, updated_at timestamptz NOT NULL);
INSERT INTO shop.users SELECT n, 0, '2026-01-01' FROM generate_series(1, 40) AS n;
CREATE TABLE shop.orders (id bigint PRIMARY KEY, user_id bigint NOT NULL, amount numeric NOT NULL);
INSERT INTO shop.orders SELECT n, n % 35, 100 * n FROM generate_series(1, 200) AS n;
CREATE INDEX ON shop.orders (user_id);
CREATE VIEW public.kept AS SELECT * FROM shop.users;
