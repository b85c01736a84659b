-- ===== prepare: once, in the transaction that begins the run

-- undo table: a row a batch, an array a column; never the table's own row type, which would forbid DDL
CREATE TABLE migrate.undo_{run}_1 (slice integer,
                                   ordinal integer,
                                   part integer,
                                   rows_read bigint NOT NULL,
                                   k_1 bigint[] COMPRESSION lz4,
                                   exact boolean,
                                   reverted boolean NOT NULL DEFAULT false,
                                   PRIMARY KEY (slice, ordinal, part));

-- ===== bounds: once, before the first batch

-- lockers: the transactions that may hold rows below the upper end which nobody can see yet
SELECT l.virtualtransaction
FROM   pg_locks AS l
WHERE  l.locktype = 'relation'
  AND  l.relation IN (SELECT to_regclass('"shop"."products"') UNION SELECT relid FROM pg_partition_tree(to_regclass('"shop"."products"')))
  AND  l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND  l.granted
  AND  l.pid IS DISTINCT FROM pg_backend_pid()
  AND  l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock');

-- upper: the last key, fixed once: a writer that goes on beyond it does not keep the run from ending
SELECT CAST("products"."id" AS text) AS upper_1
FROM   "shop"."products" AS "products"
ORDER  BY "products"."id" DESC
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
LOCK TABLE "shop"."products" IN ROW EXCLUSIVE MODE;

-- bound: the key of the batch's last row; no row: the batch goes to the upper end
-- $1 after.none, $2 after.1, $3 upper.1, $4 size
SELECT CAST("products"."id" AS text) AS through_1
FROM   "shop"."products" AS "products"
WHERE  ($1::boolean OR "products"."id" > $2::bigint)
  AND  "products"."id" <= $3::bigint
ORDER  BY "products"."id"
OFFSET $4::bigint - 1
LIMIT  1;

-- capture: undo: none, so only the keys are kept, which the index tells; no key: the batch goes to the upper end
-- $1 slice, $2 ordinal, $3 part, $4 after.none, $5 after.1, $6 upper.1, $7 size
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, rows_read, k_1, exact)
SELECT $1::integer, $2::integer, $3::integer,
       cardinality(s.k_1),
       s.k_1,
       true
FROM  (SELECT ARRAY(SELECT "products"."id" AS k_1
                    FROM   "shop"."products" AS "products"
                    WHERE  ($4::boolean OR "products"."id" > $5::bigint)
                      AND  "products"."id" <= $6::bigint
                    ORDER  BY "products"."id"
                    LIMIT  $7::bigint) AS k_1 OFFSET 0) AS s
RETURNING true AS as_captured,
          CAST(k_1[cardinality(k_1)] AS text) AS through_1;

-- change as captured: in place of change when the capture, under the same snapshot, has told all that is kept
-- $1 after.none, $2 after.1, $3 through.1
UPDATE "shop"."products" AS "products"
SET    "price" = round(price * 1.05, 2)
WHERE  ($1::boolean OR "products"."id" > $2::bigint)
  AND  "products"."id" <= $3::bigint
  AND  "products"."price" IS DISTINCT FROM round(price * 1.05, 2);

-- change: undo: none, so only the keys are kept
-- $1 after.none, $2 after.1, $3 through.1, $4 slice, $5 ordinal, $6 part, $7 eligible
WITH changed AS (
  UPDATE "shop"."products" AS "products"
  SET    "price" = round(price * 1.05, 2)
  WHERE  ($1::boolean OR "products"."id" > $2::bigint)
    AND  "products"."id" <= $3::bigint
    AND  "products"."price" IS DISTINCT FROM round(price * 1.05, 2)
  RETURNING "products"."id" AS k_1
)
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, rows_read, k_1, exact)
SELECT $4::integer, $5::integer, $6::integer,
       coalesce($7::bigint, (SELECT count(*)
                             FROM   "shop"."products" AS "products"
                             WHERE  ($1::boolean OR "products"."id" > $2::bigint)
                               AND  "products"."id" <= $3::bigint)),
       array_agg(s.k_1),
       true
FROM  (SELECT * FROM changed ORDER BY k_1) AS s;

-- finish: the ledger's entry; no row: another worker has taken over; not exact: rows came in between
-- $1 run, $2 worker, $3 epoch, $4 after, $5 through, $6 changed, $7 slice, $8 ordinal, $9 part
WITH heartbeat AS (
  UPDATE migrate.workers
  SET    heartbeat_at = clock_timestamp()
  WHERE  run = $1::bigint AND worker = $2::integer AND epoch = $3::integer
)
INSERT INTO migrate.batches (run, kind, slice, ordinal, part, after_key, through_key,
                             rows_read, rows_changed, rows_unchanged, epoch, exact)
SELECT $1::bigint, 'apply', u.slice, u.ordinal, u.part, $4::text[], $5::text[],
       u.rows_read, c.rows_changed, u.rows_read - c.rows_changed, f.epoch,
       coalesce(u.exact, $6::bigint = coalesce(cardinality(u.k_1), 0))
FROM   migrate.undo_{run}_1 AS u
CROSS  JOIN LATERAL (SELECT coalesce($6::bigint, cardinality(u.k_1), 0) AS rows_changed) AS c
CROSS  JOIN (SELECT epoch FROM migrate.fence WHERE run = $1::bigint AND epoch = $3::integer FOR SHARE) AS f
WHERE  (u.slice, u.ordinal, u.part) = ($7::integer, $8::integer, $9::integer)
RETURNING exact, rows_read, rows_changed, xid,
          (SELECT coalesce(cardinality(u.k_1), 0)
           FROM   migrate.undo_{run}_1 AS u
           WHERE  (u.slice, u.ordinal, u.part) = ($7::integer, $8::integer, $9::integer)) AS rows_captured;

-- ===== finish: once, after the last batch

-- left behind: rows that became eligible behind the batches, counted and not passed over in silence
-- $1 upper.1, $2 others, $3 horizon, $4 transactions
SELECT count(*) FILTER (WHERE "products"."price" IS DISTINCT FROM round(price * 1.05, 2))
FROM   "shop"."products" AS "products"
WHERE  "products"."id" <= $1::bigint
  AND  $2::boolean
  AND  ($3::bigint IS NULL
        OR ((CAST(CAST("products".xmin AS text) AS bigint) - $3::bigint) & 4294967295) < 2147483648)
  AND  NOT EXISTS (SELECT FROM unnest($4::xid[]) AS own(xid) WHERE own.xid = "products".xmin)
  AND  NOT EXISTS (SELECT
                   FROM  (SELECT unnest(u.k_1) FROM migrate.undo_{run}_1 AS u) AS d(k_1)
                   WHERE  d.k_1 = "products"."id");
