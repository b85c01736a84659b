CREATE SCHEMA shop;
CREATE TABLE shop.users (id bigint PRIMARY KEY, vip_level text NOT NULL, country text, note varchar(20));
INSERT INTO shop.users SELECT n, 'bronze', CASE n % 3 WHEN 0 THEN 'de' WHEN 1 THEN 'fr' ELSE 'xx' END FROM generate_series(1, 40) AS n;
CREATE TABLE shop.orders (id bigint PRIMARY KEY, user_id bigint NOT NULL, amount numeric(10,2) NOT NULL);
INSERT INTO shop.orders SELECT n, n % 35, 100 * n FROM generate_series(1, 200) AS n;
CREATE INDEX ON shop.orders (user_id);
CREATE TABLE shop.countries (code text PRIMARY KEY, name text NOT NULL);
INSERT INTO shop.countries VALUES ('DE', 'Germany'), ('FR', 'France');
CREATE VIEW public.kept AS SELECT * FROM shop.users;
