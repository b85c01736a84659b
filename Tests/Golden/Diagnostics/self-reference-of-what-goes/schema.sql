CREATE SCHEMA shop;
CREATE TABLE shop.old_staff (id bigint PRIMARY KEY, boss_id bigint, name text);
CREATE TABLE shop.staff (id bigint PRIMARY KEY, boss_id bigint REFERENCES shop.staff, name text);
