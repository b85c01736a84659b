-- A shop to try things in: a million products, customers with orders, stock in ten warehouses, granted points.
-- Every value is a hash of its row's number, so each load gives the same rows, and a checksum means something.
--
-- How much of it, `demo.size` says: small (for tests), usual, full. For instance:
--   PGOPTIONS='-c demo.size=full' psql -v ON_ERROR_STOP=1 -d demo -f migrations/demo/shop.sql

CREATE SCHEMA shop;

CREATE TEMPORARY TABLE amounts AS
SELECT products, users, orders, grants
FROM  (VALUES ('small',     5000,    500,    5000,    2000),
              ('usual',  1000000,  50000,  500000,  200000),
              ('full',   1000000, 200000, 2000000, 1000000)) AS s(size, products, users, orders, grants)
WHERE  size = coalesce(nullif(current_setting('demo.size', true), ''), 'usual');

DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM amounts) THEN
    RAISE EXCEPTION 'demo.size is %, which is none of small, usual, full', current_setting('demo.size');
  END IF;
END $$;

-- A number from 0 to below, the same for the same row each time; salt tells the columns of a row apart.
CREATE FUNCTION pg_temp.chance(row_number bigint, salt bigint, below bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$ SELECT (hashint8extended(row_number, salt) & 9223372036854775807) % below $$;

CREATE TYPE shop.grant_state AS ENUM ('active', 'expired');
CREATE TYPE shop.vip_level   AS ENUM ('bronze', 'silver', 'gold', 'diamond');

CREATE TABLE shop.products (
  id          bigint         NOT NULL,
  sku         text           NOT NULL,
  name        text           NOT NULL,
  description text           NOT NULL,
  category    text           NOT NULL,
  price       numeric(12, 2) NOT NULL,
  status      text           NOT NULL CHECK (status IN ('active', 'draft', 'retired')),
  created_at  timestamptz    NOT NULL,
  retired_at  timestamptz
);
INSERT INTO shop.products
SELECT n,
       'SKU-' || lpad(n::text, 8, '0'),
       (ARRAY['Small', 'Large', 'Light', 'Sturdy', 'Folding'])[1 + pg_temp.chance(n, 1, 5)] || ' '
         || (ARRAY['lamp', 'chair', 'kettle', 'rake', 'drill', 'shelf', 'teapot'])[1 + pg_temp.chance(n, 2, 7)],
       'Item ' || md5(n::text) || ', made to last, easy to mend, with spare parts.',
       (ARRAY['garden', 'kitchen', 'office', 'tools', 'toys'])[1 + pg_temp.chance(n, 3, 5)],
       (100 + pg_temp.chance(n, 4, 99900))::numeric / 100,
       CASE WHEN pg_temp.chance(n, 5, 100) < 80 THEN 'active' WHEN pg_temp.chance(n, 6, 2) = 0 THEN 'draft' ELSE 'retired' END,
       timestamptz '2020-01-01 00:00:00Z' + pg_temp.chance(n, 7, 200000000) * interval '1 second',
       NULL
FROM   amounts, generate_series(1, amounts.products) AS n;

CREATE TABLE shop.users (
  id         bigint         NOT NULL,
  email      text           NOT NULL,
  full_name  text           NOT NULL,
  spent      numeric(12, 2) NOT NULL DEFAULT 0,
  vip_level  shop.vip_level NOT NULL DEFAULT 'bronze',
  created_at timestamptz    NOT NULL,
  deleted_at timestamptz
);
INSERT INTO shop.users
SELECT n,
       -- People type their address in many ways.
       CASE pg_temp.chance(n, 11, 4) WHEN 0 THEN upper('user' || n || '@example.com')
                                     WHEN 1 THEN '  User' || n || '@Example.com '
                                     ELSE 'user' || n || '@example.com' END,
       (ARRAY['Ada', 'Grace', 'Edsger', 'Barbara', 'Donald', 'Frances'])[1 + pg_temp.chance(n, 12, 6)] || ' '
         || (ARRAY['Lopez', 'Okafor', 'Jansen', 'Meyer', 'Tanaka', 'Silva'])[1 + pg_temp.chance(n, 13, 6)],
       0, 'bronze',
       timestamptz '2019-01-01 00:00:00Z' + pg_temp.chance(n, 14, 230000000) * interval '1 second',
       CASE WHEN pg_temp.chance(n, 15, 50) = 0 THEN timestamptz '2026-05-01 00:00:00Z' END
FROM   amounts, generate_series(1, amounts.users) AS n;

CREATE TABLE shop.orders (
  id         bigint         NOT NULL,
  user_id    bigint         NOT NULL,
  amount     numeric(12, 2) NOT NULL,
  state      text           NOT NULL CHECK (state IN ('paid', 'refunded')),
  ordered_at timestamptz    NOT NULL,
  ordered_on date
);
INSERT INTO shop.orders
SELECT n,
       1 + pg_temp.chance(n, 21, amounts.users),
       (500 + pg_temp.chance(n, 22, 250000))::numeric / 100,
       CASE WHEN pg_temp.chance(n, 23, 20) = 0 THEN 'refunded' ELSE 'paid' END,
       timestamptz '2024-01-01 00:00:00Z' + pg_temp.chance(n, 24, 75000000) * interval '1 second',
       NULL
FROM   amounts, generate_series(1, amounts.orders) AS n;

CREATE TABLE shop.point_grants (
  id         bigint           NOT NULL,
  user_id    bigint           NOT NULL,
  points     integer          NOT NULL,
  state      shop.grant_state NOT NULL,
  expires_at timestamptz      NOT NULL
);
INSERT INTO shop.point_grants
SELECT n, 1 + pg_temp.chance(n, 31, amounts.users), (10 + pg_temp.chance(n, 32, 490))::integer, 'active',
       timestamptz '2025-01-01 00:00:00Z' + pg_temp.chance(n, 33, 63072000) * interval '1 second'
FROM   amounts, generate_series(1, amounts.grants) AS n;

-- What a user has is what was booked.
CREATE TABLE shop.point_ledger (
  id        bigint      GENERATED ALWAYS AS IDENTITY,
  user_id   bigint      NOT NULL,
  delta     integer     NOT NULL,
  reason    text        NOT NULL,
  booked_at timestamptz NOT NULL
);
INSERT INTO shop.point_ledger (user_id, delta, reason, booked_at)
SELECT user_id, points, 'granted', expires_at - interval '1 year' FROM shop.point_grants ORDER BY id;
CREATE TABLE shop.balances (user_id bigint NOT NULL, points bigint NOT NULL);
INSERT INTO shop.balances
SELECT user_id, sum(delta) FROM shop.point_ledger GROUP BY user_id;
-- Other services read it, in order of its numbers.
CREATE TABLE shop.outbox (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind text NOT NULL, payload jsonb NOT NULL);

-- A key of two columns, and no row for most products: they are in one warehouse of ten.
CREATE TABLE shop.stock (
  warehouse  integer NOT NULL,
  product_id bigint  NOT NULL,
  on_shelf   integer NOT NULL CHECK (on_shelf >= 0),
  reserved   integer NOT NULL CHECK (reserved >= 0)
);
INSERT INTO shop.stock
SELECT 1 + pg_temp.chance(n, 41, 10), n, pg_temp.chance(n, 42, 200), greatest(0, pg_temp.chance(n, 43, 40) - 30)
FROM   amounts, generate_series(1, amounts.products, 5) AS n;

-- Toys are priced one by one, so there is no strategy for them.
CREATE TABLE shop.price_strategies (category text PRIMARY KEY, factor numeric NOT NULL, smallest numeric(12, 2) NOT NULL);
INSERT INTO shop.price_strategies
VALUES ('garden', 1.10, 5), ('kitchen', 1.05, 7.5), ('office', 1.025, 2), ('tools', 0.98, 20);

-- Keys and indexes after the rows, which is several times as quick.
ALTER TABLE shop.products     ADD PRIMARY KEY (id);
ALTER TABLE shop.users        ADD PRIMARY KEY (id), ADD UNIQUE (email);
ALTER TABLE shop.orders       ADD PRIMARY KEY (id), ADD FOREIGN KEY (user_id) REFERENCES shop.users;
ALTER TABLE shop.point_grants ADD PRIMARY KEY (id), ADD FOREIGN KEY (user_id) REFERENCES shop.users;
ALTER TABLE shop.point_ledger ADD PRIMARY KEY (id), ADD FOREIGN KEY (user_id) REFERENCES shop.users;
ALTER TABLE shop.balances     ADD PRIMARY KEY (user_id), ADD FOREIGN KEY (user_id) REFERENCES shop.users;
ALTER TABLE shop.stock        ADD PRIMARY KEY (warehouse, product_id), ADD FOREIGN KEY (product_id) REFERENCES shop.products;
CREATE UNIQUE INDEX products_sku        ON shop.products (sku);
CREATE INDEX        products_category   ON shop.products (category, status);
CREATE INDEX        orders_user         ON shop.orders (user_id);
CREATE INDEX        point_grants_expiry ON shop.point_grants (expires_at) WHERE state = 'active';

DROP FUNCTION pg_temp.chance(bigint, bigint, bigint);
DROP TABLE amounts;
ANALYZE shop.products, shop.users, shop.orders, shop.point_grants, shop.stock, shop.price_strategies, shop.point_ledger, shop.balances;
