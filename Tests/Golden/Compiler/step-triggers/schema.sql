CREATE SCHEMA shop;
CREATE TABLE shop.orders (id bigint PRIMARY KEY, price numeric(10,2) NOT NULL, version integer NOT NULL DEFAULT 1);
INSERT INTO shop.orders SELECT n, n FROM generate_series(1, 30) AS n;
CREATE TABLE shop.notes (id bigint PRIMARY KEY, order_id bigint NOT NULL, note text, came integer NOT NULL);
INSERT INTO shop.notes SELECT n, n, 'note', 0 FROM generate_series(1, 30) AS n;
CREATE FUNCTION shop.next_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.version := OLD.version + 1; RETURN NEW; END $$;
CREATE TRIGGER next_version BEFORE UPDATE ON shop.orders FOR EACH ROW EXECUTE FUNCTION shop.next_version();
CREATE FUNCTION shop.come() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.came := NEW.came + 1; RETURN NEW; END $$;
CREATE TRIGGER come BEFORE INSERT ON shop.notes FOR EACH ROW EXECUTE FUNCTION shop.come();
CREATE VIEW public.kept AS SELECT * FROM shop.orders;
