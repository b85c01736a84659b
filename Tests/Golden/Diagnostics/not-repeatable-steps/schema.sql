CREATE SCHEMA shop;
CREATE TABLE shop.t (id bigint PRIMARY KEY, n integer, total integer, updated_at timestamptz NOT NULL, seen_at timestamptz, day date NOT NULL);
CREATE TABLE shop.log (id bigint PRIMARY KEY, n integer);
CREATE TABLE shop.sums (id bigint PRIMARY KEY, n integer);
