CREATE SCHEMA shop;
CREATE TABLE shop.items (shop integer, sku text, price numeric NOT NULL, tags text[] NOT NULL, stamp integer NOT NULL, PRIMARY KEY (shop, sku));
INSERT INTO shop.items SELECT n % 4, 's' || n, n, ARRAY['a' || n], 0 FROM generate_series(1, 40) AS n;
CREATE FUNCTION shop.stamped() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.stamp := OLD.stamp + 1; RETURN NEW; END $$;
CREATE TRIGGER stamped BEFORE UPDATE ON shop.items FOR EACH ROW EXECUTE FUNCTION shop.stamped();
CREATE VIEW public.kept AS SELECT * FROM shop.items;
