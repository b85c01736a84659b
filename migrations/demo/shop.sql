-- A shop to try things in: a million products, customers with orders, stock in ten warehouses, granted points, and what else the
-- definitions beside this file work on.
-- Every value is a hash of its row's number, so each load gives the same rows, and a checksum means something.
--
-- How much of it, `demo.size` says: small (for tests), usual, full. For instance:
--   PGOPTIONS='-c demo.size=full' psql -v ON_ERROR_STOP=1 -d demo -f migrations/demo/shop.sql

-- All of them or none: where one is there already nothing is touched.
BEGIN;
CREATE SCHEMA shop;
CREATE SCHEMA archive;
CREATE SCHEMA site;
CREATE SCHEMA staff;
COMMIT;

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

CREATE TABLE shop.order_items (id bigint NOT NULL, order_id bigint NOT NULL, product_id bigint NOT NULL, quantity integer NOT NULL);
INSERT INTO shop.order_items
SELECT n, 1 + pg_temp.chance(n, 51, amounts.orders), 1 + pg_temp.chance(n, 52, amounts.products), 1 + pg_temp.chance(n, 53, 4)
FROM   amounts, generate_series(1, amounts.orders) AS n;
CREATE TABLE shop.payments (id bigint NOT NULL, order_id bigint NOT NULL, method text NOT NULL, amount numeric(12, 2) NOT NULL, fee numeric(12, 2));
INSERT INTO shop.payments
SELECT id, id, (ARRAY['card', 'invoice', 'voucher'])[1 + pg_temp.chance(id, 54, 3)], amount, round(amount * 0.03, 2)
FROM   shop.orders WHERE state = 'paid';
CREATE TABLE shop.fee_rules (method text PRIMARY KEY, share numeric NOT NULL, least numeric(12, 2) NOT NULL);
INSERT INTO shop.fee_rules VALUES ('card', 0.014, 0.25), ('invoice', 0.02, 1);

-- Where old orders go.
CREATE TABLE archive.orders (id bigint PRIMARY KEY, user_id bigint NOT NULL, amount numeric(12, 2) NOT NULL, state text NOT NULL,
                             ordered_at timestamptz NOT NULL, ordered_on date, archived_at timestamptz NOT NULL);
CREATE TABLE archive.order_items (id bigint PRIMARY KEY, order_id bigint NOT NULL REFERENCES archive.orders, product_id bigint NOT NULL,
                                  quantity integer NOT NULL);
CREATE TABLE archive.payments (id bigint PRIMARY KEY, order_id bigint NOT NULL REFERENCES archive.orders, method text NOT NULL,
                               amount numeric(12, 2) NOT NULL, fee numeric(12, 2));

-- The same person more than once, as people are in every list of contacts.
CREATE TABLE shop.contacts (id bigint PRIMARY KEY, email text NOT NULL, phone text, created_at timestamptz NOT NULL, tags text[] NOT NULL);
INSERT INTO shop.contacts
SELECT n,
       CASE pg_temp.chance(n, 61, 2) WHEN 0 THEN 'Person' ELSE 'person' END || pg_temp.chance(n, 62, amounts.users) || '@example.com',
       CASE pg_temp.chance(n, 63, 3) WHEN 0 THEN '0049 ' WHEN 1 THEN '+49-' ELSE '0' END || 30 || ' / ' || (1000 + pg_temp.chance(n, 64, 9000)),
       timestamptz '2022-01-01 00:00:00Z' + pg_temp.chance(n, 65, 100000000) * interval '1 second',
       ARRAY(SELECT DISTINCT (ARRAY['press', 'supplier', 'fair', 'blog'])[1 + pg_temp.chance(n, t, 4)] FROM generate_series(66, 65 + pg_temp.chance(n, 70, 3)) AS t)
FROM   amounts, generate_series(1, amounts.users) AS n;
CREATE TABLE shop.tickets (id bigint PRIMARY KEY, contact_id bigint NOT NULL REFERENCES shop.contacts, subject text NOT NULL);
INSERT INTO shop.tickets
SELECT n, 1 + pg_temp.chance(n, 71, amounts.users), 'Ticket ' || n FROM amounts, generate_series(1, 2 * amounts.users) AS n;
CREATE INDEX tickets_contact ON shop.tickets (contact_id);
CREATE TABLE shop.contact_tags (contact_id bigint NOT NULL REFERENCES shop.contacts, tag text NOT NULL, PRIMARY KEY (contact_id, tag));
INSERT INTO shop.contact_tags
SELECT n, (ARRAY['press', 'supplier'])[1 + pg_temp.chance(n, 72, 2)] FROM amounts, generate_series(1, amounts.users, 4) AS n;

-- Filled by the definitions.
CREATE TABLE shop.sales_by_day (day date NOT NULL, category text NOT NULL, orders bigint NOT NULL, items bigint NOT NULL, PRIMARY KEY (day, category));
CREATE TABLE shop.bills (user_id bigint NOT NULL, month date NOT NULL, orders bigint NOT NULL, total numeric(12, 2) NOT NULL, PRIMARY KEY (user_id, month));
INSERT INTO shop.bills SELECT n, '2026-03-01', 0, 0 FROM generate_series(1, 20) AS n;

-- A tree, whose paths are not there yet.
CREATE TABLE shop.categories (id integer PRIMARY KEY, parent_id integer REFERENCES shop.categories, name text NOT NULL, path text);
INSERT INTO shop.categories SELECT n, nullif(n / 3, 0), 'category ' || n, NULL FROM generate_series(1, 400) AS n;

-- What a product has cost, and since when.
CREATE TABLE shop.price_history (product_id bigint NOT NULL, price numeric(12, 2) NOT NULL, valid_from timestamptz NOT NULL, valid_to timestamptz,
                                 PRIMARY KEY (product_id, valid_from));
INSERT INTO shop.price_history
SELECT id, CASE pg_temp.chance(id, 73, 4) WHEN 0 THEN price - 0.5 ELSE price END, created_at, NULL
FROM   shop.products, amounts WHERE id <= amounts.users;

-- What was counted in the warehouses by hand.
CREATE TABLE shop.stock_counts (warehouse integer NOT NULL, product_id bigint NOT NULL, counted integer NOT NULL, PRIMARY KEY (warehouse, product_id));
INSERT INTO shop.stock_counts
SELECT warehouse, product_id, greatest(0, on_shelf + pg_temp.chance(product_id, 74, 5) - 2) FROM shop.stock, amounts WHERE product_id <= 10 * amounts.users;
CREATE TABLE shop.stock_corrections (warehouse integer NOT NULL, product_id bigint NOT NULL, delta integer NOT NULL, at timestamptz NOT NULL,
                                     PRIMARY KEY (warehouse, product_id, at));

-- Beside the shop: a site where its customers meet, and the people who work for it.
CREATE TABLE site.follows (follower bigint NOT NULL, followed bigint NOT NULL, PRIMARY KEY (follower, followed));
INSERT INTO site.follows
SELECT DISTINCT 1 + pg_temp.chance(n, 81, amounts.users), 1 + pg_temp.chance(pg_temp.chance(n, 82, n), 83, amounts.users)
FROM   amounts, generate_series(1, 6 * amounts.users) AS n;
CREATE TABLE site.profiles (user_id bigint PRIMARY KEY, followers bigint NOT NULL, friends bigint NOT NULL);
INSERT INTO site.profiles SELECT n, 0, 0 FROM amounts, generate_series(1, amounts.users) AS n;
CREATE TABLE site.comments (id bigint PRIMARY KEY, user_id bigint NOT NULL, body text NOT NULL, state text NOT NULL);
INSERT INTO site.comments
SELECT n, 1 + pg_temp.chance(n, 84, amounts.users),
       (ARRAY['Nice lamp', 'Cheap pills here', 'Where is my order?', 'Win a prize now!', 'Thank you'])[1 + pg_temp.chance(n, 85, 5)], 'visible'
FROM   amounts, generate_series(1, 2 * amounts.users) AS n;
CREATE TABLE site.moderation_log (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, comment_id bigint NOT NULL, user_id bigint NOT NULL, rule text NOT NULL);
CREATE TABLE site.strikes (user_id bigint PRIMARY KEY, strikes integer NOT NULL);
INSERT INTO site.strikes SELECT user_id, 0 FROM site.profiles;
CREATE TABLE site.media (id bigint PRIMARY KEY, file text NOT NULL, bytes bigint NOT NULL, kind text, needs_thumbnail boolean NOT NULL DEFAULT false);
INSERT INTO site.media
SELECT n, 'upload-' || n || (ARRAY['.jpg', '.PNG', '.mp4', '.mp3', '.bin', '.jpeg'])[1 + pg_temp.chance(n, 86, 6)], pg_temp.chance(n, 87, 9000000)
FROM   amounts, generate_series(1, amounts.users) AS n;
CREATE TABLE site.media_kinds (ending text PRIMARY KEY, kind text NOT NULL);
INSERT INTO site.media_kinds VALUES ('jpg', 'picture'), ('jpeg', 'picture'), ('png', 'picture'), ('mp4', 'film'), ('mp3', 'sound');

CREATE TABLE staff.employees (id integer PRIMARY KEY, name text NOT NULL, hourly numeric(8, 2) NOT NULL);
INSERT INTO staff.employees SELECT n, 'Employee ' || n, 15 + pg_temp.chance(n, 91, 30) FROM generate_series(1, 120) AS n;
-- In and out, in turn; some have forgotten to clock out.
CREATE TABLE staff.clock (id bigint PRIMARY KEY, employee_id integer NOT NULL REFERENCES staff.employees, at timestamptz NOT NULL, direction text NOT NULL);
INSERT INTO staff.clock
SELECT (e.id * 100 + d) * 2 + o, e.id,
       timestamptz '2026-03-01 08:00:00Z' + d * interval '1 day' + o * (7 + pg_temp.chance(e.id * 100 + d, 92, 3)) * interval '1 hour',
       (ARRAY['in', 'out'])[1 + o]
FROM   staff.employees AS e, generate_series(0, 27) AS d, generate_series(0, 1) AS o
WHERE  o = 0 OR pg_temp.chance(e.id * 100 + d, 93, 30) > 0;
CREATE TABLE staff.attendance (employee_id integer NOT NULL, day date NOT NULL, hours numeric(5, 2) NOT NULL, PRIMARY KEY (employee_id, day));
CREATE TABLE staff.payslips (employee_id integer NOT NULL, month date NOT NULL, hours numeric(7, 2) NOT NULL, gross numeric(10, 2) NOT NULL,
                             PRIMARY KEY (employee_id, month));

-- Keys and indexes after the rows, which is several times as quick.
ALTER TABLE shop.products     ADD PRIMARY KEY (id);
ALTER TABLE shop.users        ADD PRIMARY KEY (id), ADD UNIQUE (email);
ALTER TABLE shop.orders       ADD PRIMARY KEY (id), ADD FOREIGN KEY (user_id) REFERENCES shop.users;
ALTER TABLE shop.order_items  ADD PRIMARY KEY (id), ADD FOREIGN KEY (order_id) REFERENCES shop.orders ON DELETE CASCADE;
ALTER TABLE shop.payments     ADD PRIMARY KEY (id), ADD FOREIGN KEY (order_id) REFERENCES shop.orders;
ALTER TABLE shop.point_grants ADD PRIMARY KEY (id), ADD FOREIGN KEY (user_id) REFERENCES shop.users;
ALTER TABLE shop.point_ledger ADD PRIMARY KEY (id), ADD FOREIGN KEY (user_id) REFERENCES shop.users;
ALTER TABLE shop.balances     ADD PRIMARY KEY (user_id), ADD FOREIGN KEY (user_id) REFERENCES shop.users;
ALTER TABLE shop.stock        ADD PRIMARY KEY (warehouse, product_id), ADD FOREIGN KEY (product_id) REFERENCES shop.products;
CREATE UNIQUE INDEX products_sku        ON shop.products (sku);
CREATE INDEX        products_category   ON shop.products (category, status);
CREATE INDEX        orders_user         ON shop.orders (user_id);
CREATE INDEX        order_items_order   ON shop.order_items (order_id);
CREATE INDEX        payments_order      ON shop.payments (order_id);
CREATE INDEX        point_grants_expiry ON shop.point_grants (expires_at) WHERE state = 'active';

DROP FUNCTION pg_temp.chance(bigint, bigint, bigint);
DROP TABLE amounts;
ANALYZE;
