-- ===== prepare: once, in the transaction that begins the run

-- undo table: a row a batch, an array a column; never the table's own row type, which would forbid DDL
CREATE TABLE migrate.undo_{run}_1 (slice integer,
                                   ordinal integer,
                                   part integer,
                                   rows_read bigint NOT NULL,
                                   k_1 integer[] COMPRESSION lz4,
                                   o_5 numeric[] COMPRESSION lz4,
                                   n_5 numeric[] COMPRESSION lz4,
                                   o_6 timestamp with time zone[] COMPRESSION lz4,
                                   n_6 timestamp with time zone[] COMPRESSION lz4,
                                   o_7 bigint[] COMPRESSION lz4,
                                   n_7 bigint[] COMPRESSION lz4,
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
-- $1 after.none, $2 after.1, $3 upper.1, $4 :states, $5 :since, $6 size
SELECT CAST("products"."id" AS text) AS through_1
FROM   "shop"."products" AS "products"
WHERE  ($1::boolean OR "products"."id" > $2::integer)
  AND  "products"."id" <= $3::integer
  AND  (state = ANY ($4::text[]) AND added_on >= $5::date AND note IS DISTINCT FROM 'frozen')
ORDER  BY "products"."id"
OFFSET $6::bigint - 1
LIMIT  1;

-- capture: the old values and the new ones; OFFSET 0 keeps the new ones from being computed twice
-- $1 slice, $2 ordinal, $3 part, $4 eligible, $5 after.none, $6 after.1, $7 through.1, $8 :states, $9 :since, $10 :multiplier, $11 :started_at, $12 :run_id
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, rows_read, k_1, o_5, o_6, o_7, n_5, n_6, n_7)
SELECT $1::integer, $2::integer, $3::integer,
       coalesce($4::bigint, (SELECT count(*)
                             FROM   "shop"."products" AS "products"
                             WHERE  ($5::boolean OR "products"."id" > $6::integer)
                               AND  "products"."id" <= $7::integer
                               AND  (state = ANY ($8::text[]) AND added_on >= $9::date AND note IS DISTINCT FROM 'frozen'))),
       array_agg(s.k_1),
       array_agg(s.o_5),
       array_agg(s.o_6),
       array_agg(s.o_7),
       array_agg(s.n_5),
       array_agg(s.n_6),
       array_agg(s.n_7)
FROM  (SELECT "products"."id" AS k_1,
              "products"."price" AS o_5,
              "products"."changed_at" AS o_6,
              "products"."changed_in" AS o_7,
              CAST(round(price * $10::numeric, 2) AS numeric(10,2)) AS n_5,
              CAST($11::timestamp with time zone AS timestamp with time zone) AS n_6,
              CAST($12::bigint AS bigint) AS n_7
       FROM   "shop"."products" AS "products"
       WHERE  ($5::boolean OR "products"."id" > $6::integer)
         AND  "products"."id" <= $7::integer
         AND  (state = ANY ($8::text[]) AND added_on >= $9::date AND note IS DISTINCT FROM 'frozen')
       ORDER  BY "products"."id"
       OFFSET 0) AS s
WHERE  (s.o_5 IS DISTINCT FROM s.n_5
        OR s.o_6 IS DISTINCT FROM s.n_6
        OR s.o_7 IS DISTINCT FROM s.n_7)
RETURNING rows_read = coalesce(cardinality(k_1), 0) AS as_captured;

-- capture locked: from the second attempt on the rows are locked before anything is computed
-- $1 slice, $2 ordinal, $3 part, $4 :multiplier, $5 :started_at, $6 :run_id, $7 after.none, $8 after.1, $9 through.1, $10 :states, $11 :since
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, rows_read, k_1, o_5, o_6, o_7)
SELECT $1::integer, $2::integer, $3::integer,
       count(*),
       array_agg(s.k_1) FILTER (WHERE s.differs),
       array_agg(s.o_5) FILTER (WHERE s.differs),
       array_agg(s.o_6) FILTER (WHERE s.differs),
       array_agg(s.o_7) FILTER (WHERE s.differs)
FROM  (SELECT "products"."id" AS k_1,
              "products"."price" AS o_5,
              "products"."changed_at" AS o_6,
              "products"."changed_in" AS o_7,
              ("products"."price" IS DISTINCT FROM round(price * $4::numeric, 2)
               OR "products"."changed_at" IS DISTINCT FROM CAST($5::timestamp with time zone AS timestamp with time zone)
               OR "products"."changed_in" IS DISTINCT FROM CAST($6::bigint AS bigint)) AS differs
       FROM   "shop"."products" AS "products"
       WHERE  ($7::boolean OR "products"."id" > $8::integer)
         AND  "products"."id" <= $9::integer
         AND  (state = ANY ($10::text[]) AND added_on >= $11::date AND note IS DISTINCT FROM 'frozen')
       ORDER  BY "products"."id"
       FOR    NO KEY UPDATE OF "products") AS s;

-- change as captured: in place of change when the capture, under the same snapshot, has told all that is kept
-- $1 :multiplier, $2 :started_at, $3 :run_id, $4 after.none, $5 after.1, $6 through.1, $7 :states, $8 :since
UPDATE "shop"."products" AS "products"
SET    "price" = round(price * $1::numeric, 2),
       "changed_at" = $2::timestamp with time zone,
       "changed_in" = $3::bigint
WHERE  ($4::boolean OR "products"."id" > $5::integer)
  AND  "products"."id" <= $6::integer
  AND  (state = ANY ($7::text[]) AND added_on >= $8::date AND note IS DISTINCT FROM 'frozen');

-- change: a range of the key, not a join with the batch, which costs half as much again
-- $1 :multiplier, $2 :started_at, $3 :run_id, $4 after.none, $5 after.1, $6 through.1, $7 :states, $8 :since, $9 slice, $10 ordinal, $11 part
WITH changed AS (
  UPDATE "shop"."products" AS "products"
  SET    "price" = round(price * $1::numeric, 2),
         "changed_at" = $2::timestamp with time zone,
         "changed_in" = $3::bigint
  WHERE  ($4::boolean OR "products"."id" > $5::integer)
    AND  "products"."id" <= $6::integer
    AND  (state = ANY ($7::text[]) AND added_on >= $8::date AND note IS DISTINCT FROM 'frozen')
    AND  CASE WHEN (state = ANY ($7::text[]) AND added_on >= $8::date AND note IS DISTINCT FROM 'frozen')
              THEN ("products"."price" IS DISTINCT FROM round(price * $1::numeric, 2)
                    OR "products"."changed_at" IS DISTINCT FROM CAST($2::timestamp with time zone AS timestamp with time zone)
                    OR "products"."changed_in" IS DISTINCT FROM CAST($3::bigint AS bigint)) END
  RETURNING "products"."id" AS k_1,
            "products"."price" AS n_5,
            "products"."changed_at" AS n_6,
            "products"."changed_in" AS n_7
), image AS (
  SELECT array_agg(s.k_1) AS k_1,
         array_agg(s.n_5) AS n_5,
         array_agg(s.n_6) AS n_6,
         array_agg(s.n_7) AS n_7
  FROM  (SELECT * FROM changed ORDER BY k_1) AS s
)
UPDATE migrate.undo_{run}_1 AS u
SET    n_5 = image.n_5,
       n_6 = image.n_6,
       n_7 = image.n_7,
       exact = (u.k_1 IS NOT DISTINCT FROM image.k_1)
FROM   image
WHERE  (u.slice, u.ordinal, u.part) = ($9::integer, $10::integer, $11::integer);

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
       coalesce(u.exact, $6::bigint = coalesce(cardinality(u.n_5), 0))
FROM   migrate.undo_{run}_1 AS u
CROSS  JOIN LATERAL (SELECT coalesce($6::bigint, cardinality(u.n_5), 0) AS rows_changed) AS c
CROSS  JOIN (SELECT epoch FROM migrate.fence WHERE run = $1::bigint AND epoch = $3::integer FOR SHARE) AS f
WHERE  (u.slice, u.ordinal, u.part) = ($7::integer, $8::integer, $9::integer)
RETURNING exact, rows_read, rows_changed, xid,
          (SELECT coalesce(cardinality(u.k_1), 0)
           FROM   migrate.undo_{run}_1 AS u
           WHERE  (u.slice, u.ordinal, u.part) = ($7::integer, $8::integer, $9::integer)) AS rows_captured;

-- ===== finish: once, after the last batch

-- left behind: rows that became eligible behind the batches, counted and not passed over in silence
-- $1 :multiplier, $2 :started_at, $3 :run_id, $4 upper.1, $5 others, $6 horizon, $7 transactions, $8 :states, $9 :since
SELECT count(*) FILTER (WHERE ("products"."price" IS DISTINCT FROM round(price * $1::numeric, 2)
                               OR "products"."changed_at" IS DISTINCT FROM CAST($2::timestamp with time zone AS timestamp with time zone)
                               OR "products"."changed_in" IS DISTINCT FROM CAST($3::bigint AS bigint)))
FROM   "shop"."products" AS "products"
WHERE  "products"."id" <= $4::integer
  AND  $5::boolean
  AND  ($6::bigint IS NULL
        OR ((CAST(CAST("products".xmin AS text) AS bigint) - $6::bigint) & 4294967295) < 2147483648)
  AND  NOT EXISTS (SELECT FROM unnest($7::xid[]) AS own(xid) WHERE own.xid = "products".xmin)
  AND  (state = ANY ($8::text[]) AND added_on >= $9::date AND note IS DISTINCT FROM 'frozen')
  AND  NOT EXISTS (SELECT
                   FROM  (SELECT unnest(u.k_1) FROM migrate.undo_{run}_1 AS u) AS d(k_1)
                   WHERE  d.k_1 = "products"."id");

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

-- untouched: when these are all rows that the run changed, none needs to be compared
-- $1 transactions
SELECT count(*) AS rows_untouched
FROM   "shop"."products" AS "products"
WHERE  "products".xmin IN (SELECT unnest($1::xid[]));

-- conflicts ahead: rows changed since, all batches at once; under stop there must be none
SELECT count(*) AS conflicts
FROM   migrate.undo_{run}_1 AS b
CROSS  JOIN LATERAL unnest(b.k_1, b.n_5, b.n_6, b.n_7) AS d(k_1, n_5, n_6, n_7)
LEFT   JOIN "shop"."products" AS "products" ON "products"."id" = d.k_1
WHERE  NOT b.reverted
  AND  ("products"."id" IS NULL
        OR record_image_ne(ROW("products"."price", "products"."changed_at", "products"."changed_in"),
                           ROW(d.n_5, d.n_6, d.n_7)));

-- mark: a second revert of the same batch waits here and then finds nothing to do
-- $1 slice, $2 ordinal, $3 part
UPDATE migrate.undo_{run}_1 AS u
SET    reverted = true
WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer)
  AND  NOT u.reverted;

-- restore: one statement compares and writes, so no edit is lost between the two
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  UPDATE "shop"."products" AS "products"
  SET    "price" = d.o_5,
         "changed_at" = d.o_6,
         "changed_in" = d.o_7
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.o_5, b.n_5, b.o_6, b.n_6, b.o_7, b.n_7) AS d(k_1, o_5, n_5, o_6, n_6, o_7, n_7)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "products"."id" = d.k_1
    AND  record_image_eq(ROW("products"."price", "products"."changed_at", "products"."changed_in"),
                         ROW(d.n_5, d.n_6, d.n_7))
  RETURNING "products"."id" AS k_1
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason)
SELECT $4::bigint, 1, $5::bigint, ARRAY[CAST(d.k_1 AS text)], 'gone'
FROM  (SELECT d.k_1
       FROM   migrate.undo_{run}_1 AS b,
              unnest(b.k_1) AS d(k_1)
       WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
         AND  cardinality(b.k_1) > (SELECT count(*) FROM back)
       EXCEPT
       SELECT k_1 FROM back) AS d;

-- seize: under force what is overwritten is kept first, and the rows locked meanwhile
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH d AS MATERIALIZED (
  SELECT d.k_1,
         record_image_ne(ROW("products"."price", "products"."changed_at", "products"."changed_in"),
                         ROW(d.n_5, d.n_6, d.n_7)) AS differs,
         jsonb_object(ARRAY['price', 'changed_at', 'changed_in'],
                      ARRAY[CAST("products"."price" AS text), CAST("products"."changed_at" AS text), CAST("products"."changed_in" AS text)]) AS found
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.n_5, b.n_6, b.n_7) AS d(k_1, n_5, n_6, n_7),
         "shop"."products" AS "products"
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "products"."id" = d.k_1
  FOR    NO KEY UPDATE OF "products"
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
SELECT $4::bigint, 1, $5::bigint, ARRAY[CAST(d.k_1 AS text)], 'overwritten', d.found
FROM   d
WHERE  d.differs;

-- restore forced: under force the old values come back over whatever has been kept
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  UPDATE "shop"."products" AS "products"
  SET    "price" = d.o_5,
         "changed_at" = d.o_6,
         "changed_in" = d.o_7
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.o_5, b.n_5, b.o_6, b.n_6, b.o_7, b.n_7) AS d(k_1, o_5, n_5, o_6, n_6, o_7, n_7)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "products"."id" = d.k_1
    AND  (record_image_eq(ROW("products"."price", "products"."changed_at", "products"."changed_in"),
                          ROW(d.n_5, d.n_6, d.n_7))
          OR EXISTS (SELECT
                     FROM   migrate.conflicts AS c
                     WHERE  (c.run, c.step, c.seq) = ($4::bigint, 1, $5::bigint)
                       AND  c.key = ARRAY[CAST(d.k_1 AS text)]))
  RETURNING "products"."id" AS k_1
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason)
SELECT $4::bigint, 1, $5::bigint, ARRAY[CAST(d.k_1 AS text)], 'gone'
FROM  (SELECT d.k_1
       FROM   migrate.undo_{run}_1 AS b,
              unnest(b.k_1) AS d(k_1)
       WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
         AND  cardinality(b.k_1) > (SELECT count(*) FROM back)
       EXCEPT
       SELECT k_1 FROM back) AS d
ON CONFLICT (run, step, seq, key) DO UPDATE SET reason = 'edited';

-- look: what is there instead of the values that the run had left
-- $1 run, $2 seq
UPDATE migrate.conflicts AS c
SET    reason = 'edited',
       found = jsonb_object(ARRAY['price', 'changed_at', 'changed_in'],
                            ARRAY[CAST("products"."price" AS text), CAST("products"."changed_at" AS text), CAST("products"."changed_in" AS text)])
FROM   "shop"."products" AS "products"
WHERE  (c.run, c.step, c.seq) = ($1::bigint, 1, $2::bigint)
  AND  c.reason = 'gone'
  AND  "products"."id" = CAST(c.key[1] AS integer);

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
       a.rows_changed, a.rows_changed - c.rows_kept, 0, c.rows_kept, f.epoch, true
FROM   migrate.batches AS a, conflicts AS c,
       (SELECT epoch FROM migrate.fence WHERE run = $1::bigint AND epoch = $3::integer FOR SHARE) AS f
WHERE  a.run = $1::bigint
  AND  a.kind = 'apply'
  AND  a.seq = $4::bigint
RETURNING rows_read, rows_changed, rows_rejected;

-- drop undo: everything is as it was, so the undo has done its work
DROP TABLE migrate.undo_{run}_1;
