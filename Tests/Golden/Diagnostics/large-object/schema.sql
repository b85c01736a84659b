CREATE SCHEMA shop;
CREATE TABLE shop.files (id integer PRIMARY KEY, file oid, pages integer);
