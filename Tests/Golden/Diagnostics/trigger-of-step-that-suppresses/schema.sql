CREATE SCHEMA shop;
CREATE TABLE shop.orders (id bigint PRIMARY KEY, user_id bigint, total numeric);
CREATE TABLE shop.events (id bigint PRIMARY KEY, order_id bigint NOT NULL);
CREATE FUNCTION shop.once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM shop.events AS e WHERE e.order_id = NEW.order_id) THEN
    RETURN NULL;
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER once BEFORE INSERT ON shop.events FOR EACH ROW EXECUTE FUNCTION shop.once();
