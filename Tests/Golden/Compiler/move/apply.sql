-- ===== prepare: once, in the transaction that begins the run

-- wrapper for column 6: an array of arrays would lose their shapes, so each goes in a row of one column
CREATE TYPE migrate.w_{run}_4_6 AS (v text[]);

-- image table: which rows a batch has; what the steps read of them stays as it is in the source
CREATE TABLE migrate.image_{run} (slice integer,
                                  ordinal integer,
                                  part integer,
                                  rows_read bigint NOT NULL,
                                  k_1 bigint[] COMPRESSION lz4,
                                  o_2 bigint[] COMPRESSION lz4,
                                  o_3 numeric[] COMPRESSION lz4,
                                  o_5 date[] COMPRESSION lz4,
                                  o_6 migrate.w_{run}_4_6[] COMPRESSION lz4,
                                  own_4 integer[],
                                  back_4 integer[],
                                  own_3 integer[],
                                  back_3 integer[],
                                  exact boolean,
                                  reverted boolean NOT NULL DEFAULT false,
                                  PRIMARY KEY (slice, ordinal, part));

-- undo table: a row a batch, an array a column; never the table's own row type, which would forbid DDL
CREATE TABLE migrate.undo_{run}_1 (slice integer,
                                   ordinal integer,
                                   part integer,
                                   k_1 bigint[] COMPRESSION lz4,
                                   h_1 bigint[] COMPRESSION lz4,
                                   exact boolean,
                                   PRIMARY KEY (slice, ordinal, part));

-- undo table: a row a batch, an array a column; never the table's own row type, which would forbid DDL
CREATE TABLE migrate.undo_{run}_3 (slice integer,
                                   ordinal integer,
                                   part integer,
                                   k_1 bigint[] COMPRESSION lz4,
                                   o_2 bigint[] COMPRESSION lz4,
                                   o_3 text[] COMPRESSION lz4,
                                   exact boolean,
                                   PRIMARY KEY (slice, ordinal, part));

-- ===== bounds: once, before the first batch

-- lockers: the transactions that may hold rows below the upper end which nobody can see yet
SELECT l.virtualtransaction
FROM   pg_locks AS l
WHERE  l.locktype = 'relation'
  AND  l.relation IN (SELECT to_regclass('"shop"."orders"') UNION SELECT relid FROM pg_partition_tree(to_regclass('"shop"."orders"')))
  AND  l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND  l.granted
  AND  l.pid IS DISTINCT FROM pg_backend_pid()
  AND  l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock');

-- upper: the last key, fixed once: a writer that goes on beyond it does not keep the run from ending
SELECT CAST("orders"."id" AS text) AS upper_1
FROM   "shop"."orders" AS "orders"
ORDER  BY "orders"."id" DESC
LIMIT  1;

-- ===== batches: one transaction each, REPEATABLE READ, from the third try on READ COMMITTED

-- settings: what decides about the meaning of a text is said, in each transaction
SET LOCAL search_path = "pg_catalog", "public", pg_temp;
SET LOCAL timezone = 'UTC';
SET LOCAL datestyle = 'ISO, YMD';
SET LOCAL intervalstyle = 'postgres';
SET LOCAL extra_float_digits = 1;
SET LOCAL bytea_output = 'hex';
SET LOCAL xmloption = 'content';
SET LOCAL lc_numeric = 'C';
SET LOCAL lc_monetary = 'C';
SET LOCAL row_security = off;
SET LOCAL standard_conforming_strings = on;
SET LOCAL jit = off;
SET LOCAL synchronous_commit = off;
SET LOCAL statement_timeout = 0;
SET LOCAL lock_timeout = '500ms';
SET LOCAL idle_in_transaction_session_timeout = '60s';
SET LOCAL client_connection_check_interval = '1s';

-- lock: before the snapshot, which LOCK does not take: what others do to the table is seen, or has to wait
LOCK TABLE "shop"."orders" IN ROW EXCLUSIVE MODE;

-- bound: the key of the batch's last row; no row: the batch goes to the upper end
-- $1 after.none, $2 after.1, $3 upper.1, $4 size
SELECT CAST("orders"."id" AS text) AS through_1
FROM   "shop"."orders" AS "orders"
WHERE  ($1::boolean OR "orders"."id" > $2::bigint)
  AND  "orders"."id" <= $3::bigint
  AND  (ordered_on < '2026-02-01')
ORDER  BY "orders"."id"
OFFSET $4::bigint - 1
LIMIT  1;

-- capture: which rows the batch has, and what the steps read of them, whatever these change
-- $1 slice, $2 ordinal, $3 part, $4 after.none, $5 after.1, $6 upper.1, $7 size
INSERT INTO migrate.image_{run} (slice, ordinal, part, rows_read, k_1, o_2, o_3, o_5, o_6)
SELECT $1::integer, $2::integer, $3::integer,
       count(*),
       array_agg(s.k_1),
       array_agg(s.o_2),
       array_agg(s.o_3),
       array_agg(s.o_5),
       array_agg(s.o_6)
FROM   (SELECT "orders"."id" AS k_1,
               "orders"."user_id" AS o_2,
               "orders"."amount" AS o_3,
               "orders"."ordered_on" AS o_5,
               CAST(ROW(CAST("orders"."labels" AS text[])) AS migrate.w_{run}_4_6) AS o_6
        FROM   "shop"."orders" AS "orders"
        WHERE  ($4::boolean OR "orders"."id" > $5::bigint)
          AND  "orders"."id" <= $6::bigint
          AND  (ordered_on < '2026-02-01')
        ORDER  BY "orders"."id"
        LIMIT  $7::bigint) AS s
RETURNING false AS as_captured, CASE WHEN rows_read = $7::bigint THEN CAST(k_1[cardinality(k_1)] AS text) END AS through_1;

-- capture locked: from the second attempt on the rows are locked before anything is computed
-- $1 slice, $2 ordinal, $3 part, $4 after.none, $5 after.1, $6 through.1
INSERT INTO migrate.image_{run} (slice, ordinal, part, rows_read, k_1, o_2, o_3, o_5, o_6)
SELECT $1::integer, $2::integer, $3::integer,
       count(*),
       array_agg(s.k_1),
       array_agg(s.o_2),
       array_agg(s.o_3),
       array_agg(s.o_5),
       array_agg(s.o_6)
FROM   (SELECT "orders"."id" AS k_1,
               "orders"."user_id" AS o_2,
               "orders"."amount" AS o_3,
               "orders"."ordered_on" AS o_5,
               CAST(ROW(CAST("orders"."labels" AS text[])) AS migrate.w_{run}_4_6) AS o_6
        FROM   "shop"."orders" AS "orders"
        WHERE  ($4::boolean OR "orders"."id" > $5::bigint)
          AND  "orders"."id" <= $6::bigint
          AND  (ordered_on < '2026-02-01')
        ORDER  BY "orders"."id"
        FOR    UPDATE OF "orders") AS s;

-- change: the keys are kept, as RETURNING shows them, and what tells whether somebody changes the rows
-- $1 after.none, $2 after.1, $3 through.1, $4 snapshot, $5 slice, $6 ordinal, $7 part, $8 :started_at
WITH "moved" AS (
       SELECT "orders"."id", "orders"."user_id", "orders"."amount", "orders"."taxed", "orders"."ordered_on", "orders"."labels"
       FROM   "shop"."orders" AS "orders"
       WHERE  ($1::boolean OR "orders"."id" > $2::bigint)
         AND  "orders"."id" <= $3::bigint
         AND  (ordered_on < '2026-02-01')
         AND  ($4::boolean OR "orders"."id" IN (SELECT d.k_1
                                                FROM   migrate.image_{run} AS b,
                                                       unnest(b.k_1) AS d(k_1)
                                                WHERE  (b.slice, b.ordinal, b.part) = ($5::integer, $6::integer, $7::integer)))
     ), added AS (
  INSERT INTO "archive"."orders" AS "orders" ("moved_at", "user_id", "id", "amount", "ordered_on", "labels")
  SELECT $8::timestamp with time zone,
         "moved".user_id + 1,
         "moved"."id",
         "moved"."amount",
         "moved"."ordered_on",
         "moved"."labels"
  FROM   "moved"
  RETURNING "orders"."id" AS k_1,
            coalesce(hashtextextended(CAST("orders"."amount" AS text) COLLATE "C", 2), 3980143261097177850)
            # coalesce(hashint8extended("orders"."user_id", ("orders"."user_id" >> 32) * 65536 + 3), 243808509735772839)
            # coalesce(hashtextextended(CAST(ROW("orders"."ordered_on") AS text) COLLATE "C", 4), 8954805688390271222)
            # coalesce(hashtextextended(CAST(ROW(CAST("orders"."labels" AS text[])) AS text) COLLATE "C", 5), 980875101213047373)
            # hashtextextended(CAST(ROW("orders"."moved_at") AS text) COLLATE "C", 6) AS h_1
)
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, k_1, h_1, exact)
SELECT $5::integer, $6::integer, $7::integer,
       array_agg(s.k_1),
       array_agg(s.h_1),
       true
FROM  (SELECT * FROM added ORDER BY k_1) AS s;

-- capture locked: what is added is what will be removed
-- $1 after.none, $2 after.1, $3 through.1, $4 slice, $5 ordinal, $6 part
WITH batch AS (
       SELECT "orders"."id"
       FROM   "shop"."orders" AS "orders"
       WHERE  ($1::boolean OR "orders"."id" > $2::bigint)
         AND  "orders"."id" <= $3::bigint
         AND  "orders"."id" IN (SELECT d.k_1
                                FROM   migrate.image_{run} AS b,
                                       unnest(b.k_1) AS d(k_1)
                                WHERE  (b.slice, b.ordinal, b.part) = ($4::integer, $5::integer, $6::integer))
     )
SELECT count(*)
FROM  (SELECT
       FROM   "shop"."items" AS "items"
       WHERE  EXISTS (SELECT FROM batch WHERE ("items".order_id = "batch".id))
       FOR    UPDATE OF "items") AS locked;

-- change: what the rows are is kept already, so nothing is asked of the insert but their number
-- $1 after.none, $2 after.1, $3 through.1, $4 slice, $5 ordinal, $6 part
WITH batch AS (
       SELECT "orders"."id"
       FROM   "shop"."orders" AS "orders"
       WHERE  ($1::boolean OR "orders"."id" > $2::bigint)
         AND  "orders"."id" <= $3::bigint
         AND  "orders"."id" IN (SELECT d.k_1
                                FROM   migrate.image_{run} AS b,
                                       unnest(b.k_1) AS d(k_1)
                                WHERE  (b.slice, b.ordinal, b.part) = ($4::integer, $5::integer, $6::integer))
     ), "moved" AS (
       SELECT "items"."id", "items"."order_id", "items"."sku"
       FROM   "shop"."items" AS "items"
       WHERE  EXISTS (SELECT FROM batch WHERE ("items".order_id = "batch".id))
     )
INSERT INTO "archive"."items" AS "items" ("id", "order_id", "sku")
SELECT "moved"."id",
       "moved"."order_id",
       "moved"."sku"
FROM   "moved";

-- change: the whole rows are kept; what is computed of them is computed again when they come back
-- $1 after.none, $2 after.1, $3 through.1, $4 slice, $5 ordinal, $6 part, $7 written
WITH batch AS (
       SELECT "orders"."id"
       FROM   "shop"."orders" AS "orders"
       WHERE  ($1::boolean OR "orders"."id" > $2::bigint)
         AND  "orders"."id" <= $3::bigint
         AND  "orders"."id" IN (SELECT d.k_1
                                FROM   migrate.image_{run} AS b,
                                       unnest(b.k_1) AS d(k_1)
                                WHERE  (b.slice, b.ordinal, b.part) = ($4::integer, $5::integer, $6::integer))
     ), gone AS (
  DELETE FROM "shop"."items" AS "items"
  USING  "batch"
  WHERE  ("items".order_id = "batch".id)
  RETURNING "items"."id" AS k_1,
            "items"."order_id" AS o_2,
            "items"."sku" AS o_3
)
INSERT INTO migrate.undo_{run}_3 (slice, ordinal, part, k_1, o_2, o_3, exact)
SELECT $4::integer, $5::integer, $6::integer,
       array_agg(s.k_1),
       array_agg(s.o_2),
       array_agg(s.o_3),
       count(*) = ($7::bigint[])[2]
FROM  (SELECT * FROM gone ORDER BY k_1) AS s;

-- change: the capture has kept the whole rows, so nothing is asked but their number
-- $1 after.none, $2 after.1, $3 through.1, $4 snapshot, $5 slice, $6 ordinal, $7 part
DELETE FROM "shop"."orders" AS "orders"
WHERE  ($1::boolean OR "orders"."id" > $2::bigint)
  AND  "orders"."id" <= $3::bigint
  AND  (ordered_on < '2026-02-01')
  AND  ($4::boolean OR "orders"."id" IN (SELECT d.k_1
                                         FROM   migrate.image_{run} AS b,
                                                unnest(b.k_1) AS d(k_1)
                                         WHERE  (b.slice, b.ordinal, b.part) = ($5::integer, $6::integer, $7::integer)));

-- finish: the ledger's entry; no row: another worker has taken over; not exact: rows came in between
-- $1 run, $2 worker, $3 epoch, $4 after, $5 through, $6 slice, $7 ordinal, $8 part, $9 written
WITH heartbeat AS (
  UPDATE migrate.workers
  SET    heartbeat_at = clock_timestamp()
  WHERE  run = $1::bigint AND worker = $2::integer AND epoch = $3::integer
)
INSERT INTO migrate.batches (run, kind, slice, ordinal, part, after_key, through_key,
                             rows_read, rows_changed, rows_unchanged, rows_written, epoch, exact)
SELECT $1::bigint, 'apply', u.slice, u.ordinal, u.part, $4::text[], $5::text[],
       u.rows_read, u.rows_read, 0,
       CAST(ARRAY[coalesce((SELECT cardinality(u.k_1) FROM migrate.undo_{run}_1 AS u WHERE (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)), 0),
                  coalesce((SELECT cardinality(u.k_1) FROM migrate.undo_{run}_3 AS u WHERE (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)), 0),
                  coalesce((SELECT cardinality(u.k_1) FROM migrate.undo_{run}_3 AS u WHERE (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)), 0),
                  u.rows_read] AS bigint[]), f.epoch,
       coalesce(u.exact, true)
       AND coalesce((SELECT cardinality(u.k_1) FROM migrate.undo_{run}_1 AS u WHERE (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)), 0) = u.rows_read
       AND coalesce(($9::bigint[])[2], 0) = coalesce((SELECT cardinality(u.k_1) FROM migrate.undo_{run}_3 AS u WHERE (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)), 0)
       AND coalesce((SELECT u.exact FROM migrate.undo_{run}_3 AS u WHERE (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)), true)
       AND coalesce(($9::bigint[])[4], 0) = u.rows_read
FROM   migrate.image_{run} AS u
CROSS  JOIN (SELECT epoch FROM migrate.fence WHERE run = $1::bigint AND epoch = $3::integer FOR SHARE) AS f
WHERE  (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)
RETURNING exact, rows_read, rows_changed, xid, rows_changed AS rows_captured;

-- ===== finish: once, after the last batch

-- left behind: rows that became eligible behind the batches, counted and not passed over in silence
-- $1 upper.1, $2 others, $3 horizon, $4 transactions
SELECT count(*)
FROM   "shop"."orders" AS "orders"
WHERE  "orders"."id" <= $1::bigint
  AND  $2::boolean
  AND  ($3::bigint IS NULL
        OR ((CAST(CAST("orders".xmin AS text) AS bigint) - $3::bigint) & 4294967295) < 2147483648)
  AND  NOT EXISTS (SELECT FROM unnest($4::xid[]) AS own(xid) WHERE own.xid = "orders".xmin)
  AND  (ordered_on < '2026-02-01')
  AND  NOT EXISTS (SELECT
                   FROM  (SELECT unnest(u.k_1) FROM migrate.image_{run} AS u) AS d(k_1)
                   WHERE  d.k_1 = "orders"."id");

-- ===== revert: the way back, one transaction for each batch, the last one first

-- settings: what decides about the meaning of a text is said, in each transaction
SET LOCAL search_path = "pg_catalog", "public", pg_temp;
SET LOCAL timezone = 'UTC';
SET LOCAL datestyle = 'ISO, YMD';
SET LOCAL intervalstyle = 'postgres';
SET LOCAL extra_float_digits = 1;
SET LOCAL bytea_output = 'hex';
SET LOCAL xmloption = 'content';
SET LOCAL lc_numeric = 'C';
SET LOCAL lc_monetary = 'C';
SET LOCAL row_security = off;
SET LOCAL standard_conforming_strings = on;
SET LOCAL jit = off;
SET LOCAL synchronous_commit = off;
SET LOCAL statement_timeout = 0;
SET LOCAL lock_timeout = '500ms';
SET LOCAL idle_in_transaction_session_timeout = '60s';
SET LOCAL client_connection_check_interval = '1s';

-- conflicts ahead: rows changed since, all batches at once; under stop there must be none
SELECT (SELECT count(*)
        FROM   migrate.image_{run} AS r
        JOIN   migrate.undo_{run}_1 AS b USING (slice, ordinal, part)
        CROSS  JOIN unnest(b.k_1, b.h_1) AS d(k_1, h_1)
        LEFT   JOIN "archive"."orders" AS "orders" ON "orders"."id" = d.k_1
        WHERE  NOT r.reverted
          AND  ("orders"."id" IS NULL
                 OR (coalesce(hashtextextended(CAST(CAST("orders"."amount" AS numeric) AS text) COLLATE "C", 2), 3980143261097177850)
                     # coalesce(hashint8extended(CAST("orders"."user_id" AS bigint), (CAST("orders"."user_id" AS bigint) >> 32) * 65536 + 3), 243808509735772839)
                     # coalesce(hashtextextended(CAST(ROW(CAST("orders"."ordered_on" AS date)) AS text) COLLATE "C", 4), 8954805688390271222)
                     # coalesce(hashtextextended(CAST(ROW(CAST("orders"."labels" AS text[])) AS text) COLLATE "C", 5), 980875101213047373)
                     # hashtextextended(CAST(ROW(CAST("orders"."moved_at" AS timestamp with time zone)) AS text) COLLATE "C", 6)) <> d.h_1))
        + (SELECT count(*)
           FROM   migrate.image_{run} AS r
           JOIN   migrate.undo_{run}_3 AS b USING (slice, ordinal, part)
           CROSS  JOIN LATERAL (SELECT CAST("moved"."id" AS bigint) AS k_1, CAST("moved"."order_id" AS bigint) AS n_1, CAST("moved"."sku" AS text) AS n_3 FROM unnest(b.k_1, b.o_2, b.o_3) AS "moved"("id", "order_id", "sku")) AS d
           LEFT   JOIN "archive"."items" AS "items" ON "items"."id" = d.k_1
           WHERE  NOT r.reverted
             AND  ("items"."id" IS NULL
                    OR record_image_ne(ROW("items"."order_id", "items"."sku"),
                                       ROW(d.n_1, d.n_3))))
        + (SELECT count(*)
           FROM   migrate.image_{run} AS r
           JOIN   migrate.undo_{run}_3 AS b USING (slice, ordinal, part)
           CROSS  JOIN unnest(b.k_1, b.o_2, b.o_3) AS d(k_1, o_2, o_3)
           LEFT   JOIN "shop"."items" AS "items" ON "items"."id" = d.k_1
           WHERE  NOT r.reverted
             AND  (EXISTS (SELECT FROM "shop"."items" AS "migrate other" WHERE "migrate other"."id" = d.k_1)))
        + (SELECT count(*)
           FROM   migrate.image_{run} AS r
           JOIN   migrate.image_{run} AS b USING (slice, ordinal, part)
           CROSS  JOIN unnest(b.k_1, b.o_2, b.o_3, b.o_5, b.o_6) AS d(k_1, o_2, o_3, o_5, o_6)
           LEFT   JOIN "shop"."orders" AS "orders" ON "orders"."id" = d.k_1
           WHERE  NOT r.reverted
             AND  (EXISTS (SELECT FROM "shop"."orders" AS "migrate other" WHERE "migrate other"."id" = d.k_1))) AS conflicts;

-- mark: a second revert of the same batch waits here and then finds nothing to do
-- $1 slice, $2 ordinal, $3 part
UPDATE migrate.image_{run} AS u
SET    reverted = true
WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer)
  AND  NOT u.reverted;

-- hold: whoever is about to refer to these rows is waited for, or has to wait
-- $1 slice, $2 ordinal, $3 part
SELECT count(*)
FROM  (SELECT
       FROM   migrate.image_{run} AS r,
              migrate.image_{run} AS b,
              unnest(b.k_1, b.o_2, b.o_3, b.o_5, b.o_6, r.own_4, r.back_4) WITH ORDINALITY AS e(k_1, o_2, o_3, o_5, o_6, own, back, place),
              LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_1, CAST("moved"."amount" AS numeric(8,2)) AS n_2, CAST("moved"."ordered_on" AS date) AS n_4, CAST(CAST("moved"."labels" AS text[]) AS text[]) AS n_5 FROM (SELECT e.k_1 AS "id", e.o_2 AS "user_id", e.o_3 AS "amount", e.o_5 AS "ordered_on", e.o_6 AS "labels") AS "moved") AS d,
              "archive"."orders" AS "orders"
       WHERE  (r.slice, r.ordinal, r.part) = ($1::integer, $2::integer, $3::integer)
         AND  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
         AND  "orders"."id" = d.n_1
       FOR    UPDATE OF "orders") AS locked;

-- hold: whoever is about to refer to these rows is waited for, or has to wait
-- $1 slice, $2 ordinal, $3 part
SELECT count(*)
FROM  (SELECT
       FROM   migrate.image_{run} AS r,
              migrate.undo_{run}_3 AS b,
              unnest(b.k_1, b.o_2, b.o_3, r.own_3, r.back_3) WITH ORDINALITY AS e(k_1, o_2, o_3, own, back, place),
              LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_2, CAST("moved"."order_id" AS bigint) AS n_1, CAST("moved"."sku" AS text) AS n_3 FROM (SELECT e.k_1 AS "id", e.o_2 AS "order_id", e.o_3 AS "sku") AS "moved") AS d,
              "archive"."items" AS "items"
       WHERE  (r.slice, r.ordinal, r.part) = ($1::integer, $2::integer, $3::integer)
         AND  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
         AND  "items"."id" = d.n_2
       FOR    UPDATE OF "items") AS locked;

-- choose: a row that somebody has changed where it went stays there
-- $1 slice, $2 ordinal, $3 part
UPDATE migrate.image_{run} AS u
SET    own_4 = c.own,
       back_4 = c.back
FROM  (SELECT array_agg(s.own ORDER BY s.place) AS own,
              array_agg(CASE WHEN s.is_orphan THEN 0 WHEN s.own = 3 THEN 2 WHEN s.own = 0 THEN 0 ELSE 1 END ORDER BY s.place) AS back
       FROM  (SELECT e.place,
                     CASE WHEN "orders"."id" IS NULL THEN 1
                          WHEN EXISTS (SELECT FROM "archive"."items" AS "migrate referring" WHERE "migrate referring"."order_id" = "orders"."id" AND (("migrate referring"."id") IN (SELECT d.n_2
                                                                                                                                                                                                                   FROM   migrate.image_{run} AS r,
                                                                                                                                                                                                                          migrate.undo_{run}_3 AS b,
                                                                                                                                                                                                                          unnest(b.k_1, b.o_2, b.o_3, r.own_3, r.back_3) WITH ORDINALITY AS e(k_1, o_2, o_3, own, back, place),
                                                                                                                                                                                                                          LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_2, CAST("moved"."order_id" AS bigint) AS n_1, CAST("moved"."sku" AS text) AS n_3 FROM (SELECT e.k_1 AS "id", e.o_2 AS "order_id", e.o_3 AS "sku") AS "moved") AS d
                                                                                                                                                                                                                   WHERE  (r.slice, r.ordinal, r.part) = ($1::integer, $2::integer, $3::integer)
                                                                                                                                                                                                                     AND  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer))) IS NOT TRUE) THEN 0
                          WHEN ((d.n_1, coalesce(hashtextextended(CAST(CAST("orders"."amount" AS numeric) AS text) COLLATE "C", 2), 3980143261097177850)
                                        # coalesce(hashint8extended(CAST("orders"."user_id" AS bigint), (CAST("orders"."user_id" AS bigint) >> 32) * 65536 + 3), 243808509735772839)
                                        # coalesce(hashtextextended(CAST(ROW(CAST("orders"."ordered_on" AS date)) AS text) COLLATE "C", 4), 8954805688390271222)
                                        # coalesce(hashtextextended(CAST(ROW(CAST("orders"."labels" AS text[])) AS text) COLLATE "C", 5), 980875101213047373)
                                        # hashtextextended(CAST(ROW(CAST("orders"."moved_at" AS timestamp with time zone)) AS text) COLLATE "C", 6)) IN (SELECT a.k_1, a.h_1
                                                                        FROM   migrate.undo_{run}_1 AS b,
                                                                               unnest(b.k_1, b.h_1) AS a(k_1, h_1)
                                                                        WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer))) IS NOT TRUE THEN 1
                          WHEN EXISTS (SELECT FROM "shop"."orders" AS "migrate other" WHERE "migrate other"."id" = e.k_1) THEN 2
                          ELSE 3
                     END AS own,
                     (false) AS is_orphan
              FROM   migrate.image_{run} AS r
                     CROSS  JOIN migrate.image_{run} AS b
                     CROSS  JOIN unnest(b.k_1, b.o_2, b.o_3, b.o_5, b.o_6, r.own_4, r.back_4) WITH ORDINALITY AS e(k_1, o_2, o_3, o_5, o_6, own, back, place)
                     CROSS  JOIN LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_1, CAST("moved"."amount" AS numeric(8,2)) AS n_2, CAST("moved"."ordered_on" AS date) AS n_4, CAST(CAST("moved"."labels" AS text[]) AS text[]) AS n_5 FROM (SELECT e.k_1 AS "id", e.o_2 AS "user_id", e.o_3 AS "amount", e.o_5 AS "ordered_on", e.o_6 AS "labels") AS "moved") AS d
              LEFT   JOIN "archive"."orders" AS "orders" ON "orders"."id" = d.n_1
              WHERE  (r.slice, r.ordinal, r.part) = ($1::integer, $2::integer, $3::integer)
                AND  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)) AS s) AS c
WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer);

-- choose: a row that somebody has changed where it went stays there
-- $1 slice, $2 ordinal, $3 part
UPDATE migrate.image_{run} AS u
SET    own_3 = c.own,
       back_3 = c.back
FROM  (SELECT array_agg(s.own ORDER BY s.place) AS own,
              array_agg(CASE WHEN s.is_orphan THEN 0 WHEN s.own = 3 THEN 2 WHEN s.own = 0 THEN 0 ELSE 1 END ORDER BY s.place) AS back
       FROM  (SELECT e.place,
                     CASE WHEN "items"."id" IS NULL THEN 1
                          WHEN record_image_ne(ROW("items"."order_id", "items"."sku"),
                                               ROW(d.n_1, d.n_3)) THEN 1
                          WHEN EXISTS (SELECT FROM "shop"."items" AS "migrate other" WHERE "migrate other"."id" = e.k_1) THEN 2
                          ELSE 3
                     END AS own,
                     (e.o_2 IS NOT NULL
                      AND NOT EXISTS (SELECT FROM "shop"."orders" AS "migrate other" WHERE "migrate other"."id" = e.o_2)
                      AND ((e.o_2) IN (SELECT e.k_1
                                                         FROM   migrate.image_{run} AS r,
                                                                migrate.image_{run} AS b,
                                                                unnest(b.k_1, b.o_2, b.o_3, b.o_5, b.o_6, r.own_4, r.back_4) WITH ORDINALITY AS e(k_1, o_2, o_3, o_5, o_6, own, back, place),
                                                                LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_1, CAST("moved"."amount" AS numeric(8,2)) AS n_2, CAST("moved"."ordered_on" AS date) AS n_4, CAST(CAST("moved"."labels" AS text[]) AS text[]) AS n_5 FROM (SELECT e.k_1 AS "id", e.o_2 AS "user_id", e.o_3 AS "amount", e.o_5 AS "ordered_on", e.o_6 AS "labels") AS "moved") AS d
                                                         WHERE  (r.slice, r.ordinal, r.part) = ($1::integer, $2::integer, $3::integer)
                                                           AND  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer))) IS NOT TRUE) AS is_orphan
              FROM   migrate.image_{run} AS r
                     CROSS  JOIN migrate.undo_{run}_3 AS b
                     CROSS  JOIN unnest(b.k_1, b.o_2, b.o_3, r.own_3, r.back_3) WITH ORDINALITY AS e(k_1, o_2, o_3, own, back, place)
                     CROSS  JOIN LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_2, CAST("moved"."order_id" AS bigint) AS n_1, CAST("moved"."sku" AS text) AS n_3 FROM (SELECT e.k_1 AS "id", e.o_2 AS "order_id", e.o_3 AS "sku") AS "moved") AS d
              LEFT   JOIN "archive"."items" AS "items" ON "items"."id" = d.n_2
              WHERE  (r.slice, r.ordinal, r.part) = ($1::integer, $2::integer, $3::integer)
                AND  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)) AS s) AS c
WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer);

-- heed children: nobody comes back without children
-- $1 slice, $2 ordinal, $3 part
UPDATE migrate.image_{run} AS u
SET    back_4 = c.back
FROM  (SELECT array_agg(least(e.back, CASE WHEN ((e.k_1) IN (SELECT e.o_2
                                                                      FROM   migrate.image_{run} AS r,
                                                                             migrate.undo_{run}_3 AS b,
                                                                             unnest(b.k_1, b.o_2, b.o_3, r.own_3, r.back_3) WITH ORDINALITY AS e(k_1, o_2, o_3, own, back, place),
                                                                             LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_2, CAST("moved"."order_id" AS bigint) AS n_1, CAST("moved"."sku" AS text) AS n_3 FROM (SELECT e.k_1 AS "id", e.o_2 AS "order_id", e.o_3 AS "sku") AS "moved") AS d
                                                                      WHERE  (r.slice, r.ordinal, r.part) = ($1::integer, $2::integer, $3::integer)
                                                                        AND  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
                                                                        AND  e.back = 0)) IS TRUE
                                                 OR ((d.n_1) IN (SELECT d.n_1
                                                                          FROM   migrate.image_{run} AS r,
                                                                                 migrate.undo_{run}_3 AS b,
                                                                                 unnest(b.k_1, b.o_2, b.o_3, r.own_3, r.back_3) WITH ORDINALITY AS e(k_1, o_2, o_3, own, back, place),
                                                                                 LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_2, CAST("moved"."order_id" AS bigint) AS n_1, CAST("moved"."sku" AS text) AS n_3 FROM (SELECT e.k_1 AS "id", e.o_2 AS "order_id", e.o_3 AS "sku") AS "moved") AS d
                                                                          WHERE  (r.slice, r.ordinal, r.part) = ($1::integer, $2::integer, $3::integer)
                                                                            AND  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
                                                                            AND  e.back = 0)) IS TRUE THEN 0
                                           WHEN ((e.k_1) IN (SELECT e.o_2
                                                                      FROM   migrate.image_{run} AS r,
                                                                             migrate.undo_{run}_3 AS b,
                                                                             unnest(b.k_1, b.o_2, b.o_3, r.own_3, r.back_3) WITH ORDINALITY AS e(k_1, o_2, o_3, own, back, place),
                                                                             LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_2, CAST("moved"."order_id" AS bigint) AS n_1, CAST("moved"."sku" AS text) AS n_3 FROM (SELECT e.k_1 AS "id", e.o_2 AS "order_id", e.o_3 AS "sku") AS "moved") AS d
                                                                      WHERE  (r.slice, r.ordinal, r.part) = ($1::integer, $2::integer, $3::integer)
                                                                        AND  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
                                                                        AND  e.back = 1)) IS TRUE
                                                 OR ((d.n_1) IN (SELECT d.n_1
                                                                          FROM   migrate.image_{run} AS r,
                                                                                 migrate.undo_{run}_3 AS b,
                                                                                 unnest(b.k_1, b.o_2, b.o_3, r.own_3, r.back_3) WITH ORDINALITY AS e(k_1, o_2, o_3, own, back, place),
                                                                                 LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_2, CAST("moved"."order_id" AS bigint) AS n_1, CAST("moved"."sku" AS text) AS n_3 FROM (SELECT e.k_1 AS "id", e.o_2 AS "order_id", e.o_3 AS "sku") AS "moved") AS d
                                                                          WHERE  (r.slice, r.ordinal, r.part) = ($1::integer, $2::integer, $3::integer)
                                                                            AND  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
                                                                            AND  e.back = 1)) IS TRUE THEN 1
                                           ELSE 2
                                      END) ORDER BY e.place) AS back
       FROM   migrate.image_{run} AS r,
              migrate.image_{run} AS b,
              unnest(b.k_1, b.o_2, b.o_3, b.o_5, b.o_6, r.own_4, r.back_4) WITH ORDINALITY AS e(k_1, o_2, o_3, o_5, o_6, own, back, place),
              LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_1, CAST("moved"."amount" AS numeric(8,2)) AS n_2, CAST("moved"."ordered_on" AS date) AS n_4, CAST(CAST("moved"."labels" AS text[]) AS text[]) AS n_5 FROM (SELECT e.k_1 AS "id", e.o_2 AS "user_id", e.o_3 AS "amount", e.o_5 AS "ordered_on", e.o_6 AS "labels") AS "moved") AS d
       WHERE  (r.slice, r.ordinal, r.part) = ($1::integer, $2::integer, $3::integer)
         AND  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)) AS c
WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer);

-- heed parents: nobody comes back without a parent
-- $1 slice, $2 ordinal, $3 part
UPDATE migrate.image_{run} AS u
SET    back_3 = c.back
FROM  (SELECT array_agg(least(e.back, CASE WHEN ((e.o_2) IN (SELECT e.k_1
                                                                      FROM   migrate.image_{run} AS r,
                                                                             migrate.image_{run} AS b,
                                                                             unnest(b.k_1, b.o_2, b.o_3, b.o_5, b.o_6, r.own_4, r.back_4) WITH ORDINALITY AS e(k_1, o_2, o_3, o_5, o_6, own, back, place),
                                                                             LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_1, CAST("moved"."amount" AS numeric(8,2)) AS n_2, CAST("moved"."ordered_on" AS date) AS n_4, CAST(CAST("moved"."labels" AS text[]) AS text[]) AS n_5 FROM (SELECT e.k_1 AS "id", e.o_2 AS "user_id", e.o_3 AS "amount", e.o_5 AS "ordered_on", e.o_6 AS "labels") AS "moved") AS d
                                                                      WHERE  (r.slice, r.ordinal, r.part) = ($1::integer, $2::integer, $3::integer)
                                                                        AND  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
                                                                        AND  e.back = 0)) IS TRUE
                                                 OR ((d.n_1) IN (SELECT d.n_1
                                                                          FROM   migrate.image_{run} AS r,
                                                                                 migrate.image_{run} AS b,
                                                                                 unnest(b.k_1, b.o_2, b.o_3, b.o_5, b.o_6, r.own_4, r.back_4) WITH ORDINALITY AS e(k_1, o_2, o_3, o_5, o_6, own, back, place),
                                                                                 LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_1, CAST("moved"."amount" AS numeric(8,2)) AS n_2, CAST("moved"."ordered_on" AS date) AS n_4, CAST(CAST("moved"."labels" AS text[]) AS text[]) AS n_5 FROM (SELECT e.k_1 AS "id", e.o_2 AS "user_id", e.o_3 AS "amount", e.o_5 AS "ordered_on", e.o_6 AS "labels") AS "moved") AS d
                                                                          WHERE  (r.slice, r.ordinal, r.part) = ($1::integer, $2::integer, $3::integer)
                                                                            AND  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
                                                                            AND  e.back = 0)) IS TRUE THEN 0
                                           WHEN ((e.o_2) IN (SELECT e.k_1
                                                                      FROM   migrate.image_{run} AS r,
                                                                             migrate.image_{run} AS b,
                                                                             unnest(b.k_1, b.o_2, b.o_3, b.o_5, b.o_6, r.own_4, r.back_4) WITH ORDINALITY AS e(k_1, o_2, o_3, o_5, o_6, own, back, place),
                                                                             LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_1, CAST("moved"."amount" AS numeric(8,2)) AS n_2, CAST("moved"."ordered_on" AS date) AS n_4, CAST(CAST("moved"."labels" AS text[]) AS text[]) AS n_5 FROM (SELECT e.k_1 AS "id", e.o_2 AS "user_id", e.o_3 AS "amount", e.o_5 AS "ordered_on", e.o_6 AS "labels") AS "moved") AS d
                                                                      WHERE  (r.slice, r.ordinal, r.part) = ($1::integer, $2::integer, $3::integer)
                                                                        AND  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
                                                                        AND  e.back = 1)) IS TRUE
                                                 OR ((d.n_1) IN (SELECT d.n_1
                                                                          FROM   migrate.image_{run} AS r,
                                                                                 migrate.image_{run} AS b,
                                                                                 unnest(b.k_1, b.o_2, b.o_3, b.o_5, b.o_6, r.own_4, r.back_4) WITH ORDINALITY AS e(k_1, o_2, o_3, o_5, o_6, own, back, place),
                                                                                 LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_1, CAST("moved"."amount" AS numeric(8,2)) AS n_2, CAST("moved"."ordered_on" AS date) AS n_4, CAST(CAST("moved"."labels" AS text[]) AS text[]) AS n_5 FROM (SELECT e.k_1 AS "id", e.o_2 AS "user_id", e.o_3 AS "amount", e.o_5 AS "ordered_on", e.o_6 AS "labels") AS "moved") AS d
                                                                          WHERE  (r.slice, r.ordinal, r.part) = ($1::integer, $2::integer, $3::integer)
                                                                            AND  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
                                                                            AND  e.back = 1)) IS TRUE THEN 1
                                           ELSE 2
                                      END) ORDER BY e.place) AS back
       FROM   migrate.image_{run} AS r,
              migrate.undo_{run}_3 AS b,
              unnest(b.k_1, b.o_2, b.o_3, r.own_3, r.back_3) WITH ORDINALITY AS e(k_1, o_2, o_3, own, back, place),
              LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_2, CAST("moved"."order_id" AS bigint) AS n_1, CAST("moved"."sku" AS text) AS n_3 FROM (SELECT e.k_1 AS "id", e.o_2 AS "order_id", e.o_3 AS "sku") AS "moved") AS d
       WHERE  (r.slice, r.ordinal, r.part) = ($1::integer, $2::integer, $3::integer)
         AND  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)) AS c
WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer);

-- restore: identities keep their values; who comes first under a key makes it fail, not vanish
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  INSERT INTO "shop"."orders" AS "orders" ("id", "user_id", "amount", "ordered_on", "labels") OVERRIDING SYSTEM VALUE
  SELECT e.k_1, e.o_2, e.o_3, e.o_5, e.o_6
  FROM   migrate.image_{run} AS r,
         migrate.image_{run} AS b,
         unnest(b.k_1, b.o_2, b.o_3, b.o_5, b.o_6, r.own_4, r.back_4) WITH ORDINALITY AS e(k_1, o_2, o_3, o_5, o_6, own, back, place),
         LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_1, CAST("moved"."amount" AS numeric(8,2)) AS n_2, CAST("moved"."ordered_on" AS date) AS n_4, CAST(CAST("moved"."labels" AS text[]) AS text[]) AS n_5 FROM (SELECT e.k_1 AS "id", e.o_2 AS "user_id", e.o_3 AS "amount", e.o_5 AS "ordered_on", e.o_6 AS "labels") AS "moved") AS d
  WHERE  (r.slice, r.ordinal, r.part) = ($1::integer, $2::integer, $3::integer)
    AND  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  e.back >= 2
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason)
SELECT $4::bigint, 4, $5::bigint, ARRAY[CAST(e.k_1 AS text)], CASE WHEN e.own = 2 THEN 'gone' ELSE 'kept' END
FROM   migrate.image_{run} AS r,
       migrate.image_{run} AS b,
       unnest(b.k_1, b.o_2, b.o_3, b.o_5, b.o_6, r.own_4, r.back_4) WITH ORDINALITY AS e(k_1, o_2, o_3, o_5, o_6, own, back, place),
       LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_1, CAST("moved"."amount" AS numeric(8,2)) AS n_2, CAST("moved"."ordered_on" AS date) AS n_4, CAST(CAST("moved"."labels" AS text[]) AS text[]) AS n_5 FROM (SELECT e.k_1 AS "id", e.o_2 AS "user_id", e.o_3 AS "amount", e.o_5 AS "ordered_on", e.o_6 AS "labels") AS "moved") AS d
WHERE  (r.slice, r.ordinal, r.part) = ($1::integer, $2::integer, $3::integer)
  AND  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
  AND  e.back < 2 AND e.own >= 2;

-- seize: under force what stands under a key is kept first, and locked meanwhile
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH d AS MATERIALIZED (
  SELECT e.k_1,
         jsonb_object(ARRAY['id', 'user_id', 'amount', 'ordered_on', 'labels'],
                      ARRAY[CAST("orders"."id" AS text), CAST("orders"."user_id" AS text), CAST("orders"."amount" AS text), CAST("orders"."ordered_on" AS text), CAST(CAST("orders"."labels" AS text[]) AS text)]) AS found
  FROM   migrate.image_{run} AS r,
         migrate.image_{run} AS b,
         unnest(b.k_1, b.o_2, b.o_3, b.o_5, b.o_6, r.own_4, r.back_4) WITH ORDINALITY AS e(k_1, o_2, o_3, o_5, o_6, own, back, place),
         LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_1, CAST("moved"."amount" AS numeric(8,2)) AS n_2, CAST("moved"."ordered_on" AS date) AS n_4, CAST(CAST("moved"."labels" AS text[]) AS text[]) AS n_5 FROM (SELECT e.k_1 AS "id", e.o_2 AS "user_id", e.o_3 AS "amount", e.o_5 AS "ordered_on", e.o_6 AS "labels") AS "moved") AS d,
         "shop"."orders" AS "orders"
  WHERE  (r.slice, r.ordinal, r.part) = ($1::integer, $2::integer, $3::integer)
    AND  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  e.back >= 1
    AND  "orders"."id" = e.k_1
  FOR    UPDATE OF "orders"
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
SELECT $4::bigint, 4, $5::bigint, ARRAY[CAST(d.k_1 AS text)], 'overwritten', d.found
FROM   d;

-- restore forced: under force rows come back over whatever has been kept
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  INSERT INTO "shop"."orders" AS "orders" ("id", "user_id", "amount", "ordered_on", "labels") OVERRIDING SYSTEM VALUE
  SELECT e.k_1, e.o_2, e.o_3, e.o_5, e.o_6
  FROM   migrate.image_{run} AS r,
         migrate.image_{run} AS b,
         unnest(b.k_1, b.o_2, b.o_3, b.o_5, b.o_6, r.own_4, r.back_4) WITH ORDINALITY AS e(k_1, o_2, o_3, o_5, o_6, own, back, place),
         LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_1, CAST("moved"."amount" AS numeric(8,2)) AS n_2, CAST("moved"."ordered_on" AS date) AS n_4, CAST(CAST("moved"."labels" AS text[]) AS text[]) AS n_5 FROM (SELECT e.k_1 AS "id", e.o_2 AS "user_id", e.o_3 AS "amount", e.o_5 AS "ordered_on", e.o_6 AS "labels") AS "moved") AS d
  WHERE  (r.slice, r.ordinal, r.part) = ($1::integer, $2::integer, $3::integer)
    AND  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  e.back >= 1
                    ON CONFLICT ("id") DO UPDATE
                                  SET    "user_id" = excluded."user_id",
                                         "amount" = excluded."amount",
                                         "ordered_on" = excluded."ordered_on",
                                         "labels" = excluded."labels"
                                  WHERE  EXISTS (SELECT
                                                 FROM   migrate.conflicts AS c
                                                 WHERE  (c.run, c.step, c.seq) = ($4::bigint, 4, $5::bigint)
                                                   AND  c.key = ARRAY[CAST("orders"."id" AS text)])
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason)
SELECT $4::bigint, 4, $5::bigint, ARRAY[CAST(e.k_1 AS text)], 'kept'
FROM   migrate.image_{run} AS r,
       migrate.image_{run} AS b,
       unnest(b.k_1, b.o_2, b.o_3, b.o_5, b.o_6, r.own_4, r.back_4) WITH ORDINALITY AS e(k_1, o_2, o_3, o_5, o_6, own, back, place),
       LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_1, CAST("moved"."amount" AS numeric(8,2)) AS n_2, CAST("moved"."ordered_on" AS date) AS n_4, CAST(CAST("moved"."labels" AS text[]) AS text[]) AS n_5 FROM (SELECT e.k_1 AS "id", e.o_2 AS "user_id", e.o_3 AS "amount", e.o_5 AS "ordered_on", e.o_6 AS "labels") AS "moved") AS d
WHERE  (r.slice, r.ordinal, r.part) = ($1::integer, $2::integer, $3::integer)
  AND  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
  AND  e.back < 1 AND e.own >= 1;

-- look: what is there instead of the values that the run had left
-- $1 run, $2 seq
UPDATE migrate.conflicts AS c
SET    reason = 'edited',
       found = jsonb_object(ARRAY['id', 'user_id', 'amount', 'ordered_on', 'labels'],
                            ARRAY[CAST("orders"."id" AS text), CAST("orders"."user_id" AS text), CAST("orders"."amount" AS text), CAST("orders"."ordered_on" AS text), CAST(CAST("orders"."labels" AS text[]) AS text)])
FROM   "shop"."orders" AS "orders"
WHERE  (c.run, c.step, c.seq) = ($1::bigint, 4, $2::bigint)
  AND  c.reason = 'gone'
  AND  "orders"."id" = CAST(c.key[1] AS bigint);

-- restore: identities keep their values; who comes first under a key makes it fail, not vanish
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  INSERT INTO "shop"."items" AS "items" ("id", "order_id", "sku") OVERRIDING SYSTEM VALUE
  SELECT e.k_1, e.o_2, e.o_3
  FROM   migrate.image_{run} AS r,
         migrate.undo_{run}_3 AS b,
         unnest(b.k_1, b.o_2, b.o_3, r.own_3, r.back_3) WITH ORDINALITY AS e(k_1, o_2, o_3, own, back, place),
         LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_2, CAST("moved"."order_id" AS bigint) AS n_1, CAST("moved"."sku" AS text) AS n_3 FROM (SELECT e.k_1 AS "id", e.o_2 AS "order_id", e.o_3 AS "sku") AS "moved") AS d
  WHERE  (r.slice, r.ordinal, r.part) = ($1::integer, $2::integer, $3::integer)
    AND  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  e.back >= 2
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason)
SELECT $4::bigint, 3, $5::bigint, ARRAY[CAST(e.k_1 AS text)], CASE WHEN e.own = 2 THEN 'gone' ELSE 'kept' END
FROM   migrate.image_{run} AS r,
       migrate.undo_{run}_3 AS b,
       unnest(b.k_1, b.o_2, b.o_3, r.own_3, r.back_3) WITH ORDINALITY AS e(k_1, o_2, o_3, own, back, place),
       LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_2, CAST("moved"."order_id" AS bigint) AS n_1, CAST("moved"."sku" AS text) AS n_3 FROM (SELECT e.k_1 AS "id", e.o_2 AS "order_id", e.o_3 AS "sku") AS "moved") AS d
WHERE  (r.slice, r.ordinal, r.part) = ($1::integer, $2::integer, $3::integer)
  AND  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
  AND  e.back < 2 AND e.own >= 2;

-- seize: under force what stands under a key is kept first, and locked meanwhile
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH d AS MATERIALIZED (
  SELECT e.k_1,
         jsonb_object(ARRAY['id', 'order_id', 'sku'],
                      ARRAY[CAST("items"."id" AS text), CAST("items"."order_id" AS text), CAST("items"."sku" AS text)]) AS found
  FROM   migrate.image_{run} AS r,
         migrate.undo_{run}_3 AS b,
         unnest(b.k_1, b.o_2, b.o_3, r.own_3, r.back_3) WITH ORDINALITY AS e(k_1, o_2, o_3, own, back, place),
         LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_2, CAST("moved"."order_id" AS bigint) AS n_1, CAST("moved"."sku" AS text) AS n_3 FROM (SELECT e.k_1 AS "id", e.o_2 AS "order_id", e.o_3 AS "sku") AS "moved") AS d,
         "shop"."items" AS "items"
  WHERE  (r.slice, r.ordinal, r.part) = ($1::integer, $2::integer, $3::integer)
    AND  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  e.back >= 1
    AND  "items"."id" = e.k_1
  FOR    UPDATE OF "items"
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
SELECT $4::bigint, 3, $5::bigint, ARRAY[CAST(d.k_1 AS text)], 'overwritten', d.found
FROM   d;

-- restore forced: under force rows come back over whatever has been kept
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  INSERT INTO "shop"."items" AS "items" ("id", "order_id", "sku") OVERRIDING SYSTEM VALUE
  SELECT e.k_1, e.o_2, e.o_3
  FROM   migrate.image_{run} AS r,
         migrate.undo_{run}_3 AS b,
         unnest(b.k_1, b.o_2, b.o_3, r.own_3, r.back_3) WITH ORDINALITY AS e(k_1, o_2, o_3, own, back, place),
         LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_2, CAST("moved"."order_id" AS bigint) AS n_1, CAST("moved"."sku" AS text) AS n_3 FROM (SELECT e.k_1 AS "id", e.o_2 AS "order_id", e.o_3 AS "sku") AS "moved") AS d
  WHERE  (r.slice, r.ordinal, r.part) = ($1::integer, $2::integer, $3::integer)
    AND  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  e.back >= 1
                    ON CONFLICT ("id") DO UPDATE
                                  SET    "order_id" = excluded."order_id",
                                         "sku" = excluded."sku"
                                  WHERE  EXISTS (SELECT
                                                 FROM   migrate.conflicts AS c
                                                 WHERE  (c.run, c.step, c.seq) = ($4::bigint, 3, $5::bigint)
                                                   AND  c.key = ARRAY[CAST("items"."id" AS text)])
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason)
SELECT $4::bigint, 3, $5::bigint, ARRAY[CAST(e.k_1 AS text)], 'kept'
FROM   migrate.image_{run} AS r,
       migrate.undo_{run}_3 AS b,
       unnest(b.k_1, b.o_2, b.o_3, r.own_3, r.back_3) WITH ORDINALITY AS e(k_1, o_2, o_3, own, back, place),
       LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_2, CAST("moved"."order_id" AS bigint) AS n_1, CAST("moved"."sku" AS text) AS n_3 FROM (SELECT e.k_1 AS "id", e.o_2 AS "order_id", e.o_3 AS "sku") AS "moved") AS d
WHERE  (r.slice, r.ordinal, r.part) = ($1::integer, $2::integer, $3::integer)
  AND  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
  AND  e.back < 1 AND e.own >= 1;

-- look: what is there instead of the values that the run had left
-- $1 run, $2 seq
UPDATE migrate.conflicts AS c
SET    reason = 'edited',
       found = jsonb_object(ARRAY['id', 'order_id', 'sku'],
                            ARRAY[CAST("items"."id" AS text), CAST("items"."order_id" AS text), CAST("items"."sku" AS text)])
FROM   "shop"."items" AS "items"
WHERE  (c.run, c.step, c.seq) = ($1::bigint, 3, $2::bigint)
  AND  c.reason = 'gone'
  AND  "items"."id" = CAST(c.key[1] AS bigint);

-- restore: those that are back; they are locked since it was decided
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  DELETE FROM "archive"."items" AS "items"
  USING  migrate.image_{run} AS r,
         migrate.undo_{run}_3 AS b,
         unnest(b.k_1, b.o_2, b.o_3, r.own_3, r.back_3) WITH ORDINALITY AS e(k_1, o_2, o_3, own, back, place),
         LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_2, CAST("moved"."order_id" AS bigint) AS n_1, CAST("moved"."sku" AS text) AS n_3 FROM (SELECT e.k_1 AS "id", e.o_2 AS "order_id", e.o_3 AS "sku") AS "moved") AS d
  WHERE  (r.slice, r.ordinal, r.part) = ($1::integer, $2::integer, $3::integer)
    AND  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "items"."id" = d.n_2
    AND  e.back >= 2
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason)
SELECT $4::bigint, 2, $5::bigint, ARRAY[CAST(d.n_2 AS text)], 'gone'
FROM   migrate.image_{run} AS r,
       migrate.undo_{run}_3 AS b,
       unnest(b.k_1, b.o_2, b.o_3, r.own_3, r.back_3) WITH ORDINALITY AS e(k_1, o_2, o_3, own, back, place),
       LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_2, CAST("moved"."order_id" AS bigint) AS n_1, CAST("moved"."sku" AS text) AS n_3 FROM (SELECT e.k_1 AS "id", e.o_2 AS "order_id", e.o_3 AS "sku") AS "moved") AS d
WHERE  (r.slice, r.ordinal, r.part) = ($1::integer, $2::integer, $3::integer)
  AND  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
  AND  e.own <= 1;

-- seize: under force what is deleted is kept first where it is not what the run has inserted
-- $1 run, $2 seq, $3 slice, $4 ordinal, $5 part
INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
SELECT $1::bigint, 2, $2::bigint, ARRAY[CAST(d.n_2 AS text)], 'overwritten', jsonb_object(ARRAY['order_id', 'id', 'sku'],
                                                                                          ARRAY[CAST("items"."order_id" AS text), CAST("items"."id" AS text), CAST("items"."sku" AS text)])
FROM   migrate.image_{run} AS r,
       migrate.undo_{run}_3 AS b,
       unnest(b.k_1, b.o_2, b.o_3, r.own_3, r.back_3) WITH ORDINALITY AS e(k_1, o_2, o_3, own, back, place),
       LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_2, CAST("moved"."order_id" AS bigint) AS n_1, CAST("moved"."sku" AS text) AS n_3 FROM (SELECT e.k_1 AS "id", e.o_2 AS "order_id", e.o_3 AS "sku") AS "moved") AS d,
       "archive"."items" AS "items"
WHERE  (r.slice, r.ordinal, r.part) = ($3::integer, $4::integer, $5::integer)
  AND  (b.slice, b.ordinal, b.part) = ($3::integer, $4::integer, $5::integer)
  AND  "items"."id" = d.n_2
  AND  e.back >= 1
  AND  record_image_ne(ROW("items"."order_id", "items"."sku"),
                       ROW(d.n_1, d.n_3));

-- restore forced: under force rows go whatever they hold by now, unless another one refers to them
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  DELETE FROM "archive"."items" AS "items"
  USING  migrate.image_{run} AS r,
         migrate.undo_{run}_3 AS b,
         unnest(b.k_1, b.o_2, b.o_3, r.own_3, r.back_3) WITH ORDINALITY AS e(k_1, o_2, o_3, own, back, place),
         LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_2, CAST("moved"."order_id" AS bigint) AS n_1, CAST("moved"."sku" AS text) AS n_3 FROM (SELECT e.k_1 AS "id", e.o_2 AS "order_id", e.o_3 AS "sku") AS "moved") AS d
  WHERE  (r.slice, r.ordinal, r.part) = ($1::integer, $2::integer, $3::integer)
    AND  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "items"."id" = d.n_2
    AND  e.back >= 1
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason)
SELECT $4::bigint, 2, $5::bigint, ARRAY[CAST(d.n_2 AS text)], 'gone'
FROM   migrate.image_{run} AS r,
       migrate.undo_{run}_3 AS b,
       unnest(b.k_1, b.o_2, b.o_3, r.own_3, r.back_3) WITH ORDINALITY AS e(k_1, o_2, o_3, own, back, place),
       LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_2, CAST("moved"."order_id" AS bigint) AS n_1, CAST("moved"."sku" AS text) AS n_3 FROM (SELECT e.k_1 AS "id", e.o_2 AS "order_id", e.o_3 AS "sku") AS "moved") AS d
WHERE  (r.slice, r.ordinal, r.part) = ($1::integer, $2::integer, $3::integer)
  AND  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
  AND  e.own = 0;

-- look: what is there instead of the values that the run had left
-- $1 run, $2 seq
UPDATE migrate.conflicts AS c
SET    reason = 'edited',
       found = jsonb_object(ARRAY['order_id', 'id', 'sku'],
                            ARRAY[CAST("items"."order_id" AS text), CAST("items"."id" AS text), CAST("items"."sku" AS text)])
FROM   "archive"."items" AS "items"
WHERE  (c.run, c.step, c.seq) = ($1::bigint, 2, $2::bigint)
  AND  c.reason = 'gone'
  AND  "items"."id" = CAST(c.key[1] AS bigint);

-- restore: those that are back; they are locked since it was decided
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  DELETE FROM "archive"."orders" AS "orders"
  USING  migrate.image_{run} AS r,
         migrate.image_{run} AS b,
         unnest(b.k_1, b.o_2, b.o_3, b.o_5, b.o_6, r.own_4, r.back_4) WITH ORDINALITY AS e(k_1, o_2, o_3, o_5, o_6, own, back, place),
         LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_1, CAST("moved"."amount" AS numeric(8,2)) AS n_2, CAST("moved"."ordered_on" AS date) AS n_4, CAST(CAST("moved"."labels" AS text[]) AS text[]) AS n_5 FROM (SELECT e.k_1 AS "id", e.o_2 AS "user_id", e.o_3 AS "amount", e.o_5 AS "ordered_on", e.o_6 AS "labels") AS "moved") AS d
  WHERE  (r.slice, r.ordinal, r.part) = ($1::integer, $2::integer, $3::integer)
    AND  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "orders"."id" = d.n_1
    AND  e.back >= 2
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason)
SELECT $4::bigint, 1, $5::bigint, ARRAY[CAST(d.n_1 AS text)], 'gone'
FROM   migrate.image_{run} AS r,
       migrate.image_{run} AS b,
       unnest(b.k_1, b.o_2, b.o_3, b.o_5, b.o_6, r.own_4, r.back_4) WITH ORDINALITY AS e(k_1, o_2, o_3, o_5, o_6, own, back, place),
       LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_1, CAST("moved"."amount" AS numeric(8,2)) AS n_2, CAST("moved"."ordered_on" AS date) AS n_4, CAST(CAST("moved"."labels" AS text[]) AS text[]) AS n_5 FROM (SELECT e.k_1 AS "id", e.o_2 AS "user_id", e.o_3 AS "amount", e.o_5 AS "ordered_on", e.o_6 AS "labels") AS "moved") AS d
WHERE  (r.slice, r.ordinal, r.part) = ($1::integer, $2::integer, $3::integer)
  AND  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
  AND  e.own <= 1;

-- seize: under force what is deleted is kept first where it is not what the run has inserted
-- $1 run, $2 seq, $3 slice, $4 ordinal, $5 part
INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
SELECT $1::bigint, 1, $2::bigint, ARRAY[CAST(d.n_1 AS text)], 'overwritten', jsonb_object(ARRAY['id', 'amount', 'user_id', 'ordered_on', 'labels', 'moved_at'],
                                                                                          ARRAY[CAST("orders"."id" AS text), CAST("orders"."amount" AS text), CAST("orders"."user_id" AS text), CAST("orders"."ordered_on" AS text), CAST(CAST("orders"."labels" AS text[]) AS text), CAST("orders"."moved_at" AS text)])
FROM   migrate.image_{run} AS r,
       migrate.image_{run} AS b,
       unnest(b.k_1, b.o_2, b.o_3, b.o_5, b.o_6, r.own_4, r.back_4) WITH ORDINALITY AS e(k_1, o_2, o_3, o_5, o_6, own, back, place),
       LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_1, CAST("moved"."amount" AS numeric(8,2)) AS n_2, CAST("moved"."ordered_on" AS date) AS n_4, CAST(CAST("moved"."labels" AS text[]) AS text[]) AS n_5 FROM (SELECT e.k_1 AS "id", e.o_2 AS "user_id", e.o_3 AS "amount", e.o_5 AS "ordered_on", e.o_6 AS "labels") AS "moved") AS d,
       "archive"."orders" AS "orders"
WHERE  (r.slice, r.ordinal, r.part) = ($3::integer, $4::integer, $5::integer)
  AND  (b.slice, b.ordinal, b.part) = ($3::integer, $4::integer, $5::integer)
  AND  "orders"."id" = d.n_1
  AND  e.back >= 1
  AND  ((d.n_1, coalesce(hashtextextended(CAST(CAST("orders"."amount" AS numeric) AS text) COLLATE "C", 2), 3980143261097177850)
                # coalesce(hashint8extended(CAST("orders"."user_id" AS bigint), (CAST("orders"."user_id" AS bigint) >> 32) * 65536 + 3), 243808509735772839)
                # coalesce(hashtextextended(CAST(ROW(CAST("orders"."ordered_on" AS date)) AS text) COLLATE "C", 4), 8954805688390271222)
                # coalesce(hashtextextended(CAST(ROW(CAST("orders"."labels" AS text[])) AS text) COLLATE "C", 5), 980875101213047373)
                # hashtextextended(CAST(ROW(CAST("orders"."moved_at" AS timestamp with time zone)) AS text) COLLATE "C", 6)) IN (SELECT a.k_1, a.h_1
                                                FROM   migrate.undo_{run}_1 AS b,
                                                       unnest(b.k_1, b.h_1) AS a(k_1, h_1)
                                                WHERE  (b.slice, b.ordinal, b.part) = ($3::integer, $4::integer, $5::integer))) IS NOT TRUE;

-- restore forced: under force rows go whatever they hold by now, unless another one refers to them
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  DELETE FROM "archive"."orders" AS "orders"
  USING  migrate.image_{run} AS r,
         migrate.image_{run} AS b,
         unnest(b.k_1, b.o_2, b.o_3, b.o_5, b.o_6, r.own_4, r.back_4) WITH ORDINALITY AS e(k_1, o_2, o_3, o_5, o_6, own, back, place),
         LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_1, CAST("moved"."amount" AS numeric(8,2)) AS n_2, CAST("moved"."ordered_on" AS date) AS n_4, CAST(CAST("moved"."labels" AS text[]) AS text[]) AS n_5 FROM (SELECT e.k_1 AS "id", e.o_2 AS "user_id", e.o_3 AS "amount", e.o_5 AS "ordered_on", e.o_6 AS "labels") AS "moved") AS d
  WHERE  (r.slice, r.ordinal, r.part) = ($1::integer, $2::integer, $3::integer)
    AND  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "orders"."id" = d.n_1
    AND  e.back >= 1
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason)
SELECT $4::bigint, 1, $5::bigint, ARRAY[CAST(d.n_1 AS text)], 'gone'
FROM   migrate.image_{run} AS r,
       migrate.image_{run} AS b,
       unnest(b.k_1, b.o_2, b.o_3, b.o_5, b.o_6, r.own_4, r.back_4) WITH ORDINALITY AS e(k_1, o_2, o_3, o_5, o_6, own, back, place),
       LATERAL (SELECT CAST("moved"."id" AS bigint) AS n_1, CAST("moved"."amount" AS numeric(8,2)) AS n_2, CAST("moved"."ordered_on" AS date) AS n_4, CAST(CAST("moved"."labels" AS text[]) AS text[]) AS n_5 FROM (SELECT e.k_1 AS "id", e.o_2 AS "user_id", e.o_3 AS "amount", e.o_5 AS "ordered_on", e.o_6 AS "labels") AS "moved") AS d
WHERE  (r.slice, r.ordinal, r.part) = ($1::integer, $2::integer, $3::integer)
  AND  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
  AND  e.own = 0;

-- look: what is there instead of the values that the run had left
-- $1 run, $2 seq
UPDATE migrate.conflicts AS c
SET    reason = 'edited',
       found = jsonb_object(ARRAY['id', 'amount', 'user_id', 'ordered_on', 'labels', 'moved_at'],
                            ARRAY[CAST("orders"."id" AS text), CAST("orders"."amount" AS text), CAST("orders"."user_id" AS text), CAST("orders"."ordered_on" AS text), CAST(CAST("orders"."labels" AS text[]) AS text), CAST("orders"."moved_at" AS text)])
FROM   "archive"."orders" AS "orders"
WHERE  (c.run, c.step, c.seq) = ($1::bigint, 1, $2::bigint)
  AND  c.reason = 'gone'
  AND  "orders"."id" = CAST(c.key[1] AS bigint);

-- finish: the ledger's entry; no row: another worker has taken over
-- $1 run, $2 worker, $3 epoch, $4 seq
WITH heartbeat AS (
  UPDATE migrate.workers
  SET    heartbeat_at = clock_timestamp()
  WHERE  run = $1::bigint AND worker = $2::integer AND epoch = $3::integer
), conflicts AS (
  SELECT count(*) FILTER (WHERE reason <> 'overwritten') AS rows_kept
  FROM   migrate.conflicts
  WHERE  run = $1::bigint AND seq = $4::bigint
)
INSERT INTO migrate.batches (run, kind, slice, ordinal, part, after_key, through_key,
                             rows_read, rows_changed, rows_unchanged, rows_rejected, epoch, exact)
SELECT a.run, 'revert', a.slice, a.ordinal, a.part, a.after_key, a.through_key,
       b.rows, b.rows - c.rows_kept, 0, c.rows_kept, f.epoch, true
FROM   migrate.batches AS a
CROSS  JOIN conflicts AS c
CROSS  JOIN LATERAL (SELECT coalesce(sum(d.rows), 0) AS rows FROM unnest(a.rows_written) AS d(rows)) AS b
CROSS  JOIN (SELECT epoch FROM migrate.fence WHERE run = $1::bigint AND epoch = $3::integer FOR SHARE) AS f
WHERE  a.run = $1::bigint
  AND  a.kind = 'apply'
  AND  a.seq = $4::bigint
RETURNING rows_read, rows_changed, rows_rejected;

-- drop undo: everything is as it was, so the undo has done its work
DROP TABLE migrate.image_{run}, migrate.undo_{run}_1, migrate.undo_{run}_3;
DROP TYPE migrate.w_{run}_4_6;
