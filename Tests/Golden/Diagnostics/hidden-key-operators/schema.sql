CREATE SCHEMA shop;
CREATE SCHEMA kinds;
CREATE EXTENSION citext SCHEMA kinds;
CREATE TABLE shop.users (email kinds.citext PRIMARY KEY, name text);
