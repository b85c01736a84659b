CREATE SCHEMA shop;
CREATE TABLE shop.t (id bigint PRIMARY KEY, n integer);
CREATE TABLE shop.outbox (kind text, rows integer);
