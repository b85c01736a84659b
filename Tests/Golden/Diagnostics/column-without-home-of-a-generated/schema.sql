CREATE SCHEMA shop;
CREATE TABLE shop.a (id integer PRIMARY KEY, x integer, total integer);
CREATE TABLE shop.b (id integer PRIMARY KEY, x integer, total integer GENERATED ALWAYS AS (x * 2) STORED);
