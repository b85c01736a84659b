CREATE SCHEMA shop;
CREATE TABLE shop.t (id bigint PRIMARY KEY, n integer, total integer);
CREATE TABLE shop.log (id bigint PRIMARY KEY, n integer);
