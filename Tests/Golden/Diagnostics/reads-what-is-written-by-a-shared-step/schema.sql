CREATE SCHEMA shop;
CREATE TABLE shop.s (id integer PRIMARY KEY, grp integer NOT NULL, n integer NOT NULL);
CREATE TABLE shop.t (id integer PRIMARY KEY, grp integer, n integer DEFAULT 0, flag integer, tenfold integer GENERATED ALWAYS AS (n * 10) STORED);
CREATE TABLE shop.u (LIKE shop.t INCLUDING ALL);
