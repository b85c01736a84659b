CREATE SCHEMA migrate;
CREATE TABLE migrate.runs (run bigint PRIMARY KEY, state text);
