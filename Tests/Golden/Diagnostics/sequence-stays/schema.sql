CREATE SCHEMA shop;
CREATE TABLE shop.t (id bigint PRIMARY KEY, n integer);
CREATE TABLE shop.u (id bigint PRIMARY KEY, number serial);
