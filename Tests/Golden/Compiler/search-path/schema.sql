CREATE SCHEMA tools;
CREATE SCHEMA tenant_17;
CREATE FUNCTION tools.tidied(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT btrim($1) $$;
CREATE TABLE tenant_17.names (id integer PRIMARY KEY, name text);
INSERT INTO tenant_17.names SELECT n, ' name ' || n || ' ' FROM generate_series(1, 5) AS n;
CREATE VIEW public.kept AS SELECT * FROM tenant_17.names;
