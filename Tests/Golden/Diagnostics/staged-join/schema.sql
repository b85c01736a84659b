CREATE SCHEMA shop;
CREATE TABLE shop.users (id bigint PRIMARY KEY, name text);
CREATE TABLE shop.payments AS SELECT n % 1000 AS user_id, n AS amount FROM generate_series(1, 120000) AS n;
ANALYZE shop.payments;
