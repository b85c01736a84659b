-- ===== prepare: once, in the transaction that begins the run

-- undo table: a row a batch, an array a column; never the table's own row type, which would forbid DDL
CREATE TABLE migrate.undo_{run}_1 (slice integer,
                                   ordinal integer,
                                   part integer,
                                   rows_read bigint NOT NULL,
                                   rows_rejected bigint NOT NULL DEFAULT 0,
                                   k_1 bigint[] COMPRESSION lz4,
                                   exact boolean,
                                   reverted boolean NOT NULL DEFAULT false,
                                   PRIMARY KEY (slice, ordinal, part));

-- ===== bounds: once, before the first batch

-- lockers: the transactions that may hold rows below the upper end which nobody can see yet
SELECT l.virtualtransaction
FROM   pg_locks AS l
WHERE  l.locktype = 'relation'
  AND  l.relation IN (SELECT to_regclass('"shop"."users"') UNION SELECT relid FROM pg_partition_tree(to_regclass('"shop"."users"')))
  AND  l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND  l.granted
  AND  l.pid IS DISTINCT FROM pg_backend_pid()
  AND  l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock');

-- upper: the last key, fixed once: a writer that goes on beyond it does not keep the run from ending
SELECT CAST("users"."id" AS text) AS upper_1
FROM   "shop"."users" AS "users"
ORDER  BY "users"."id" DESC
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
LOCK TABLE "shop"."users" IN ROW EXCLUSIVE MODE;

-- bound: the key of the batch's last row; no row: the batch goes to the upper end
-- $1 after.none, $2 after.1, $3 upper.1, $4 size
SELECT CAST("users"."id" AS text) AS through_1
FROM   "shop"."users" AS "users"
WHERE  ($1::boolean OR "users"."id" > $2::bigint)
  AND  "users"."id" <= $3::bigint
ORDER  BY "users"."id"
OFFSET $4::bigint - 1
LIMIT  1;

-- change: undo: none, so only the keys are kept
-- $1 after.none, $2 after.1, $3 through.1, $4 slice, $5 ordinal, $6 part
WITH "migrate locked" AS MATERIALIZED (
       SELECT *
       FROM   "shop"."users" AS "users"
       WHERE  ($1::boolean OR "users"."id" > $2::bigint)
         AND  "users"."id" <= $3::bigint
       ORDER  BY "users"."id"
       FOR    NO KEY UPDATE OF "users"
     ), changed AS (
  UPDATE "shop"."users" AS "users"
  SET    "vip_level" = s.n_2
  FROM  (SELECT "users"."id" AS k_1,
                "users"."vip_level" AS o_2,
                CAST(CASE WHEN spent.amount > 3000 THEN 'gold' ELSE 'bronze' END AS text) AS n_2,
                count(*) OVER same AS matches,
                row_number() OVER same AS place
         FROM   "migrate locked" AS "users"
                JOIN (SELECT "joined"."amount", "joined"."user_id" FROM (SELECT user_id, amount FROM shop.orders WHERE amount > 16300) AS "joined") AS "spent"
                  ON (spent.user_id = users.id)
                     AND ($1::boolean OR "spent"."user_id" >= $2::bigint)
                     AND "spent"."user_id" <= $3::bigint
         WINDOW same AS (PARTITION BY "users"."id")
         ORDER  BY "users"."id"
         OFFSET 0) AS s
  WHERE  "users"."id" = s.k_1
    AND  s.place = 1
    AND  s.matches = 1
    AND  record_image_ne(ROW(s.o_2), ROW(s.n_2))
  RETURNING "users"."id" AS k_1
)
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, rows_read, k_1, exact)
SELECT $4::integer, $5::integer, $6::integer,
       (SELECT count(*) FROM "migrate locked"),
       array_agg(s.k_1),
       true
FROM  (SELECT * FROM changed ORDER BY k_1) AS s
                                               RETURNING rows_read > coalesce(cardinality(k_1), 0) AS leaves_out;

-- validate: only in a batch with rows that break a rule: to quarantine with every reason
-- $1 run, $2 after.none, $3 after.1, $4 through.1, $5 slice, $6 ordinal, $7 part
WITH rejected AS (
  INSERT INTO migrate.rejects (run, step, key, row, new_values, reasons, message)
  SELECT $1::bigint, 1, s.key, s.row, s.new_values, s.reasons, array_to_string(s.reasons, '; ')
  FROM  (SELECT DISTINCT ON ("users"."id")
                ARRAY[CAST("users"."id" AS text)] AS key,
                CAST(NULL AS jsonb) AS row,
                CAST(NULL AS jsonb) AS new_values,
                array_remove(ARRAY[CASE WHEN count(*) OVER same > 1 THEN format('spent: %s rows match', count(*) OVER same) END], NULL) AS reasons
         FROM   "shop"."users" AS "users"
                JOIN (SELECT "joined"."amount", "joined"."user_id" FROM (SELECT user_id, amount FROM shop.orders WHERE amount > 16300) AS "joined") AS "spent"
                  ON (spent.user_id = users.id)
                     AND ($2::boolean OR "spent"."user_id" >= $3::bigint)
                     AND "spent"."user_id" <= $4::bigint
         WHERE  ($2::boolean OR "users"."id" > $3::bigint)
           AND  "users"."id" <= $4::bigint
           AND  ("users"."id") NOT IN (SELECT unnest(b.k_1) FROM migrate.undo_{run}_1 AS b WHERE (b.slice, b.ordinal, b.part) = ($5::integer, $6::integer, $7::integer))
         WINDOW same AS (PARTITION BY "users"."id")
         ORDER  BY "users"."id") AS s
  WHERE  cardinality(s.reasons) > 0
  ON CONFLICT (run, step, key) DO UPDATE
  SET    row = excluded.row, new_values = excluded.new_values, reasons = excluded.reasons,
         sqlstate = excluded.sqlstate, message = excluded.message, detail = excluded.detail,
         column_name = excluded.column_name, constraint_name = excluded.constraint_name,
         rejected_at = excluded.rejected_at
  RETURNING key
)
UPDATE migrate.undo_{run}_1 AS u
SET    rows_rejected = r.rows,
       exact = (r.rows <= u.rows_read - coalesce(cardinality(u.k_1), 0))
FROM  (SELECT count(*) AS rows FROM rejected) AS r
WHERE  (u.slice, u.ordinal, u.part) = ($5::integer, $6::integer, $7::integer);

-- finish: the ledger's entry; no row: another worker has taken over; not exact: rows came in between
-- $1 run, $2 worker, $3 epoch, $4 after, $5 through, $6 slice, $7 ordinal, $8 part
WITH heartbeat AS (
  UPDATE migrate.workers
  SET    heartbeat_at = clock_timestamp()
  WHERE  run = $1::bigint AND worker = $2::integer AND epoch = $3::integer
)
INSERT INTO migrate.batches (run, kind, slice, ordinal, part, after_key, through_key,
                             rows_read, rows_changed, rows_unchanged, rows_rejected, epoch, exact)
SELECT $1::bigint, 'apply', u.slice, u.ordinal, u.part, $4::text[], $5::text[],
       u.rows_read, c.rows_changed, u.rows_read - c.rows_changed - u.rows_rejected, u.rows_rejected, f.epoch,
       u.exact
FROM   migrate.undo_{run}_1 AS u
CROSS  JOIN LATERAL (SELECT coalesce(cardinality(u.k_1), 0) AS rows_changed) AS c
CROSS  JOIN (SELECT epoch FROM migrate.fence WHERE run = $1::bigint AND epoch = $3::integer FOR SHARE) AS f
WHERE  (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)
RETURNING exact, rows_read, rows_changed, rows_rejected, xid,
          (SELECT coalesce(cardinality(u.k_1), 0)
           FROM   migrate.undo_{run}_1 AS u
           WHERE  (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)) AS rows_captured;

-- reject: the only row of a part that failed goes to quarantine, and counts as read
-- $1 run, $2 refusal.sqlstate, $3 refusal.message, $4 refusal.column, $5 refusal.constraint, $6 after.none, $7 after.1, $8 through.1, $9 slice, $10 ordinal, $11 part
WITH rejected AS (
  INSERT INTO migrate.rejects (run, step, key, row, sqlstate, message, detail, column_name, constraint_name)
  SELECT $1::bigint,
         1,
         ARRAY[CAST("users"."id" AS text)],
         NULL,
         $2::text,
         $3::text,
         NULL,
         $4::text,
         $5::text
  FROM   "shop"."users" AS "users"
  WHERE  ($6::boolean OR "users"."id" > $7::bigint)
    AND  "users"."id" <= $8::bigint
  ON CONFLICT (run, step, key) DO UPDATE
  SET    row = excluded.row, new_values = excluded.new_values, reasons = excluded.reasons,
         sqlstate = excluded.sqlstate, message = excluded.message, detail = excluded.detail,
         column_name = excluded.column_name, constraint_name = excluded.constraint_name,
         rejected_at = excluded.rejected_at
  RETURNING key
)
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, rows_read, rows_rejected, exact)
SELECT $9::integer, $10::integer, $11::integer, count(*), count(*), true
FROM   rejected;

-- previous: for a row of quarantine that is tried again: the key behind which it stands; no row: it is the first
-- $1 through.1
SELECT CAST("users"."id" AS text) AS previous_1
FROM   "shop"."users" AS "users"
WHERE  "users"."id" < $1::bigint
ORDER  BY "users"."id" DESC
LIMIT  1;

-- ===== finish: once, after the last batch

-- left behind: rows that became eligible behind the batches, counted and not passed over in silence
-- $1 upper.1, $2 others, $3 horizon, $4 transactions, $5 run
SELECT count(DISTINCT ARRAY[CAST("users"."id" AS text)]) FILTER (WHERE record_image_ne(ROW("users"."vip_level"), ROW(CAST(CASE WHEN spent.amount > 3000 THEN 'gold' ELSE 'bronze' END AS text))))
FROM   "shop"."users" AS "users"
       JOIN (SELECT "joined"."amount", "joined"."user_id" FROM (SELECT user_id, amount FROM shop.orders WHERE amount > 16300) AS "joined") AS "spent"
         ON (spent.user_id = users.id)
            AND "spent"."user_id" = ANY (ARRAY(SELECT "users"."id"
                FROM   "shop"."users" AS "users"
                WHERE  "users"."id" <= $1::bigint
                  AND  $2::boolean
                  AND  ($3::bigint IS NULL
                        OR ((CAST(CAST("users".xmin AS text) AS bigint) - $3::bigint) & 4294967295) < 2147483648)
                  AND  NOT EXISTS (SELECT FROM unnest($4::xid[]) AS own(xid) WHERE own.xid = "users".xmin)
                  AND  NOT EXISTS (SELECT FROM migrate.rejects AS r
                                   WHERE r.run = $5::bigint AND r.step = 1 AND r.key = ARRAY[CAST("users"."id" AS text)])
                  AND  NOT EXISTS (SELECT
                                   FROM  (SELECT unnest(u.k_1) FROM migrate.undo_{run}_1 AS u) AS d(k_1)
                                   WHERE  d.k_1 = "users"."id")))
WHERE  "users"."id" <= $1::bigint
  AND  $2::boolean
  AND  ($3::bigint IS NULL
        OR ((CAST(CAST("users".xmin AS text) AS bigint) - $3::bigint) & 4294967295) < 2147483648)
  AND  NOT EXISTS (SELECT FROM unnest($4::xid[]) AS own(xid) WHERE own.xid = "users".xmin)
  AND  NOT EXISTS (SELECT FROM migrate.rejects AS r
                   WHERE r.run = $5::bigint AND r.step = 1 AND r.key = ARRAY[CAST("users"."id" AS text)])
  AND  NOT EXISTS (SELECT
                   FROM  (SELECT unnest(u.k_1) FROM migrate.undo_{run}_1 AS u) AS d(k_1)
                   WHERE  d.k_1 = "users"."id");
