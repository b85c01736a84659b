CREATE SCHEMA shop;
CREATE TABLE shop.orders (id bigint PRIMARY KEY, user_id bigint, total numeric, touched timestamptz);
CREATE TABLE shop.old_orders (LIKE shop.orders, PRIMARY KEY (id));
CREATE FUNCTION shop.touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.touched := clock_timestamp();
  RETURN NEW;
END $$;
CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON shop.orders FOR EACH ROW EXECUTE FUNCTION shop.touch();
