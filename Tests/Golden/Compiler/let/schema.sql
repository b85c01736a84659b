CREATE SCHEMA shop;
CREATE TABLE shop.users (id bigint PRIMARY KEY, email text NOT NULL, country text, note varchar(40));
INSERT INTO shop.users
SELECT n, CASE WHEN n % 7 = 0 THEN ' NOBODY ' ELSE ' User' || n || '@Example.COM ' END, CASE n % 3 WHEN 0 THEN 'de' WHEN 1 THEN 'fr' END
FROM   generate_series(1, 40) AS n;
CREATE TABLE shop.countries (code text PRIMARY KEY, name text NOT NULL);
INSERT INTO shop.countries VALUES ('DE', 'Germany'), ('FR', 'France');
CREATE VIEW public.kept AS SELECT * FROM shop.users;
