-- What the definitions beside this file are read against, unless a folder has a schema of its own.
CREATE SCHEMA shop;
CREATE SCHEMA app;
CREATE SCHEMA secret;
CREATE SCHEMA tools;
GRANT CREATE, USAGE ON SCHEMA tools TO PUBLIC;
CREATE TYPE shop.state AS ENUM ('active', 'expired');
CREATE TYPE shop.color AS ENUM ('red', 'green');
CREATE TABLE shop.products (
  id bigint PRIMARY KEY, name text, "first" text, "last" text, full_name text, kind text, price numeric(10,2), "Size" integer,
  "Unit Price" numeric, state shop.state, color shop.color, zip text, country text, active boolean, until date, author text,
  "user" text, tags text[], note text, address jsonb, city text, amount numeric, share numeric, pos integer, stock integer,
  net numeric, tax numeric, total numeric GENERATED ALWAYS AS (net + tax) STORED, serial integer GENERATED ALWAYS AS IDENTITY,
  code text, sku text NOT NULL, created_at timestamptz NOT NULL, changed_at timestamptz, moment timestamp, h bytea);
CREATE UNIQUE INDEX products_code ON shop.products (code);
CREATE INDEX products_stock ON shop.products (stock);
CREATE TABLE shop.orders (id bigint PRIMARY KEY, user_id bigint, "createdAt" timestamptz, total numeric);
CREATE TABLE shop.items (order_id bigint REFERENCES shop.orders ON UPDATE CASCADE, id bigint PRIMARY KEY);
CREATE TABLE shop.groups (id bigint PRIMARY KEY, code text NOT NULL UNIQUE, name text);
CREATE TABLE shop.members (id bigint PRIMARY KEY, group_code text REFERENCES shop.groups (code) ON UPDATE CASCADE);
CREATE TABLE shop.accounts (
  no bigint NOT NULL, number bigint GENERATED ALWAYS AS (no) STORED PRIMARY KEY, holder text,
  handle text GENERATED ALWAYS AS (lower(holder)) STORED UNIQUE);
CREATE TABLE shop.transfers (id bigint PRIMARY KEY, handle text REFERENCES shop.accounts (handle) ON UPDATE SET NULL);
CREATE TABLE shop.codes (id bigint PRIMARY KEY, label text, code text GENERATED ALWAYS AS (lower(label)) STORED UNIQUE);
CREATE VIEW shop.v AS SELECT id, price FROM shop.products;
CREATE TABLE app.log (at timestamptz, line text);
CREATE TABLE shop.parent (id bigint PRIMARY KEY, x text);
CREATE TABLE shop.child () INHERITS (shop.parent);
CREATE TABLE shop.ruled (id bigint PRIMARY KEY, x text);
CREATE RULE nothing AS ON UPDATE TO shop.ruled DO INSTEAD NOTHING;
CREATE TABLE shop.published (id bigint PRIMARY KEY, x text);
ALTER TABLE shop.published REPLICA IDENTITY NOTHING;
CREATE PUBLICATION all_of_it FOR TABLE shop.published;
CREATE TABLE shop.guarded (id bigint PRIMARY KEY, x text);
ALTER TABLE shop.guarded ENABLE ROW LEVEL SECURITY;
CREATE TABLE shop.touched (id bigint PRIMARY KEY, x text, last_update timestamptz);
CREATE FUNCTION shop.touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.last_update := clock_timestamp();
  RETURN NEW;
END $$;
CREATE TRIGGER touch BEFORE UPDATE ON shop.touched FOR EACH ROW EXECUTE FUNCTION shop.touch();
CREATE TABLE shop.versions (id bigint PRIMARY KEY, x text, is_newest boolean);
CREATE FUNCTION shop.retire() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE shop.versions SET is_newest = false WHERE id = NEW.id - 1;
  RETURN NEW;
END $$;
CREATE TRIGGER retire BEFORE UPDATE ON shop.versions FOR EACH ROW EXECUTE FUNCTION shop.retire();
CREATE TABLE shop.summed (id bigint PRIMARY KEY, x numeric, total numeric);
CREATE FUNCTION shop.sum_up() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE shop.summed SET total = x WHERE id = NEW.id AND total <> x;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER sum_up AFTER UPDATE ON shop.summed
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION shop.sum_up();
CREATE FUNCTION tools.tidied(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT btrim($1) $$;
CREATE TABLE secret.salaries (id bigint PRIMARY KEY, amount numeric);
CREATE TABLE shop.paths (path integer[] PRIMARY KEY, x text);
CREATE TABLE shop.parented (id bigint PRIMARY KEY, x integer);
DO $$ BEGIN CREATE ROLE golden_writer; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
GRANT USAGE ON SCHEMA shop TO golden_writer;
GRANT SELECT, UPDATE ON shop.parented TO golden_writer;
DO $$ BEGIN CREATE ROLE golden_reader; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
GRANT USAGE ON SCHEMA shop TO golden_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA shop TO golden_reader;
GRANT UPDATE ON shop.guarded, shop.touched TO golden_reader;
DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO golden_reader', current_database()); END $$;
CREATE TABLE shop.balances (user_id bigint PRIMARY KEY, total numeric, rounded integer, seen boolean);
CREATE TABLE shop.notes (id bigint PRIMARY KEY, order_id bigint REFERENCES shop.orders ON DELETE CASCADE, note text NOT NULL, total numeric);
CREATE TABLE shop.parts (id bigint PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE shop.parts_1 PARTITION OF shop.parts FOR VALUES FROM (0) TO (10);
CREATE TABLE shop.kids (id bigint PRIMARY KEY, part bigint REFERENCES shop.parts_1 ON DELETE CASCADE);
