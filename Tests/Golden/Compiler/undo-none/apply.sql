-- ===== prepare: once, in the transaction that begins the run

-- undo table: a row a batch, an array a column; never the table's own row type, which would forbid DDL
CREATE TABLE migrate.undo_{run}_1 (slice integer,
                                   ordinal integer,
                                   part integer,
                                   rows_read bigint NOT NULL,
                                   k_1 integer[] COMPRESSION lz4,
                                   exact boolean,
                                   reverted boolean NOT NULL DEFAULT false,
                                   PRIMARY KEY (slice, ordinal, part));

-- ===== bounds: once, before the first batch

-- lockers: the transactions that may hold rows below the upper end which nobody can see yet
SELECT l.virtualtransaction
FROM   pg_locks AS l
WHERE  l.locktype = 'relation'
  AND  l.relation IN (SELECT to_regclass('"shop"."people"') UNION SELECT relid FROM pg_partition_tree(to_regclass('"shop"."people"')))
  AND  l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND  l.granted
  AND  l.pid IS DISTINCT FROM pg_backend_pid()
  AND  l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock');

-- upper: the last key, fixed once: a writer that goes on beyond it does not keep the run from ending
SELECT CAST("people"."id" AS text) AS upper_1
FROM   "shop"."people" AS "people"
ORDER  BY "people"."id" DESC
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
LOCK TABLE "shop"."people" IN ROW EXCLUSIVE MODE;

-- bound: the key of the batch's last row; no row: the batch goes to the upper end
-- $1 after.none, $2 after.1, $3 upper.1, $4 size
SELECT CAST("people"."id" AS text) AS through_1
FROM   "shop"."people" AS "people"
WHERE  ($1::boolean OR "people"."id" > $2::integer)
  AND  "people"."id" <= $3::integer
  AND  (left_on < '2020-01-01')
ORDER  BY "people"."id"
OFFSET $4::bigint - 1
LIMIT  1;

-- change: undo: none, so only the keys are kept
-- $1 after.none, $2 after.1, $3 through.1, $4 slice, $5 ordinal, $6 part, $7 eligible
WITH changed AS (
  UPDATE "shop"."people" AS "people"
  SET    "name" = 'forgotten'
  WHERE  ($1::boolean OR "people"."id" > $2::integer)
    AND  "people"."id" <= $3::integer
    AND  (left_on < '2020-01-01')
    AND  CASE WHEN (left_on < '2020-01-01')
              THEN record_image_ne(ROW("people"."name"), ROW(CAST('forgotten' AS text))) END
  RETURNING "people"."id" AS k_1
)
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, rows_read, k_1, exact)
SELECT $4::integer, $5::integer, $6::integer,
       coalesce($7::bigint, (SELECT count(*)
                             FROM   "shop"."people" AS "people"
                             WHERE  ($1::boolean OR "people"."id" > $2::integer)
                               AND  "people"."id" <= $3::integer
                               AND  (left_on < '2020-01-01'))),
       array_agg(s.k_1),
       true
FROM  (SELECT * FROM changed ORDER BY k_1) AS s;

-- finish: the ledger's entry; no row: another worker has taken over; not exact: rows came in between
-- $1 run, $2 worker, $3 epoch, $4 after, $5 through, $6 slice, $7 ordinal, $8 part
WITH heartbeat AS (
  UPDATE migrate.workers
  SET    heartbeat_at = clock_timestamp()
  WHERE  run = $1::bigint AND worker = $2::integer AND epoch = $3::integer
)
INSERT INTO migrate.batches (run, kind, slice, ordinal, part, after_key, through_key,
                             rows_read, rows_changed, rows_unchanged, epoch, exact)
SELECT $1::bigint, 'apply', u.slice, u.ordinal, u.part, $4::text[], $5::text[],
       u.rows_read, c.rows_changed, u.rows_read - c.rows_changed, f.epoch,
       u.exact
FROM   migrate.undo_{run}_1 AS u
CROSS  JOIN LATERAL (SELECT coalesce(cardinality(u.k_1), 0) AS rows_changed) AS c
CROSS  JOIN (SELECT epoch FROM migrate.fence WHERE run = $1::bigint AND epoch = $3::integer FOR SHARE) AS f
WHERE  (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)
RETURNING exact, rows_read, rows_changed, xid,
          (SELECT coalesce(cardinality(u.k_1), 0)
           FROM   migrate.undo_{run}_1 AS u
           WHERE  (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)) AS rows_captured;

-- ===== finish: once, after the last batch

-- left behind: rows that became eligible behind the batches, counted and not passed over in silence
-- $1 upper.1, $2 others, $3 horizon, $4 transactions
SELECT count(*) FILTER (WHERE record_image_ne(ROW("people"."name"), ROW(CAST('forgotten' AS text))))
FROM   "shop"."people" AS "people"
WHERE  "people"."id" <= $1::integer
  AND  $2::boolean
  AND  ($3::bigint IS NULL
        OR ((CAST(CAST("people".xmin AS text) AS bigint) - $3::bigint) & 4294967295) < 2147483648)
  AND  NOT EXISTS (SELECT FROM unnest($4::xid[]) AS own(xid) WHERE own.xid = "people".xmin)
  AND  (left_on < '2020-01-01')
  AND  NOT EXISTS (SELECT
                   FROM  (SELECT unnest(u.k_1) FROM migrate.undo_{run}_1 AS u) AS d(k_1)
                   WHERE  d.k_1 = "people"."id");
