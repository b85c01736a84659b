CREATE SCHEMA shop;
CREATE TABLE shop.orders (id bigint PRIMARY KEY, n integer);
CREATE TABLE shop.counts (id bigint PRIMARY KEY, n integer);
CREATE VIEW shop.all_counts AS SELECT * FROM shop.counts;
CREATE TABLE shop.between (id bigint PRIMARY KEY);
CREATE TABLE shop.seen (id bigint PRIMARY KEY, n integer);
CREATE TABLE shop.chained (id bigint PRIMARY KEY, n integer);
CREATE TABLE shop.emptied (id bigint PRIMARY KEY, n integer);
CREATE TABLE shop.asked (id bigint PRIMARY KEY, n integer);
CREATE TABLE shop.other (id bigint PRIMARY KEY, n integer);
CREATE FUNCTION shop.by_view() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN UPDATE all_counts SET n = n + 1; RETURN NULL; END $$;
CREATE TRIGGER by_view AFTER UPDATE ON shop.seen FOR EACH ROW EXECUTE FUNCTION shop.by_view();
CREATE FUNCTION shop.by_table() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO shop.between VALUES (NEW.id); RETURN NULL; END $$;
CREATE TRIGGER by_table AFTER UPDATE ON shop.chained FOR EACH ROW EXECUTE FUNCTION shop.by_table();
CREATE FUNCTION shop.further() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN UPDATE shop.counts SET n = n + 1; RETURN NULL; END $$;
CREATE TRIGGER further AFTER INSERT ON shop.between FOR EACH ROW EXECUTE FUNCTION shop.further();
CREATE FUNCTION shop.by_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN TRUNCATE shop.between, shop.counts; RETURN NULL; END $$;
CREATE TRIGGER by_truncate AFTER INSERT ON shop.emptied FOR EACH ROW EXECUTE FUNCTION shop.by_truncate();
CREATE FUNCTION shop.count_up(bigint, integer) RETURNS integer LANGUAGE sql AS $$ UPDATE shop.counts SET n = n + 1 RETURNING n $$;
CREATE OPERATOR shop.#@# (LEFTARG = bigint, RIGHTARG = integer, FUNCTION = shop.count_up);
CREATE FUNCTION shop.by_operator() RETURNS trigger LANGUAGE plpgsql SET search_path = shop AS $$
BEGIN NEW.n := NEW.id #@# 1; RETURN NEW; END $$;
CREATE TRIGGER by_operator BEFORE UPDATE ON shop.asked FOR EACH ROW EXECUTE FUNCTION shop.by_operator();
CREATE FUNCTION shop.in_parentheses() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RETURN (NULL); END $$;
CREATE TRIGGER in_parentheses BEFORE UPDATE ON shop.other FOR EACH ROW EXECUTE FUNCTION shop.in_parentheses();
