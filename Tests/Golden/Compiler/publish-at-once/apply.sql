-- ===== prepare: once, in the transaction that begins the run

-- undo table: a row a batch, an array a column; never the table's own row type, which would forbid DDL
CREATE TABLE migrate.undo_{run}_1 (slice integer,
                                   ordinal integer,
                                   part integer,
                                   rows_read bigint NOT NULL,
                                   rows_rejected bigint NOT NULL DEFAULT 0,
                                   k_1 bigint[] COMPRESSION lz4,
                                   o_2 text[] COMPRESSION lz4,
                                   n_2 text[] COMPRESSION lz4,
                                   seen bigint[],
                                   passed_1 bigint[],
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
  AND  ("users".country IS NOT NULL)
ORDER  BY "users"."id"
OFFSET $4::bigint - 1
LIMIT  1;

-- capture: the old values and the new ones, for which what is joined is read once
-- $1 slice, $2 ordinal, $3 part, $4 eligible, $5 after.none, $6 after.1, $7 through.1
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, rows_read, rows_rejected, k_1, o_2, n_2, seen)
SELECT $1::integer, $2::integer, $3::integer,
       coalesce($4::bigint, (SELECT count(*)
                             FROM   "shop"."users" AS "users"
                             WHERE  ($5::boolean OR "users"."id" > $6::bigint)
                               AND  "users"."id" <= $7::bigint
                               AND  ("users".country IS NOT NULL))),
       count(*) FILTER (WHERE (s.matches = 1) IS NOT TRUE),
       array_agg(s.k_1) FILTER (WHERE s.matches = 1),
       array_agg(s.o_2) FILTER (WHERE s.matches = 1),
       array_agg(s.n_2) FILTER (WHERE s.matches = 1),
       array_agg(s.seen) FILTER (WHERE s.matches = 1)
FROM  (SELECT "users"."id" AS k_1,
              "users"."vip_level" AS o_2,
              CAST(CASE WHEN spent.total > 3000 THEN 'gold' WHEN spent.total > 1000 THEN 'silver' ELSE 'bronze' END AS text) AS n_2,
              coalesce(hashtextextended(CAST("users"."country" AS text) COLLATE "C", 3), 243808509735772839) AS seen,
              count(*) OVER same AS matches,
              row_number() OVER same AS place
       FROM   "shop"."users" AS "users"
              LEFT JOIN (SELECT "joined"."total", "joined"."user_id" FROM (SELECT user_id, sum(amount) AS total FROM shop.orders GROUP BY user_id) AS "joined") AS "spent"
                ON (spent.user_id = users.id)
                   AND ($5::boolean OR "spent"."user_id" >= $6::bigint)
                   AND "spent"."user_id" <= $7::bigint
       WHERE  ($5::boolean OR "users"."id" > $6::bigint)
         AND  "users"."id" <= $7::bigint
         AND  ("users".country IS NOT NULL)
       WINDOW same AS (PARTITION BY "users"."id")
       ORDER  BY "users"."id"
       OFFSET 0) AS s
WHERE  s.place = 1
  AND  (record_image_ne(ROW(s.o_2), ROW(s.n_2))
        OR (s.matches = 1) IS NOT TRUE)
RETURNING true AS as_captured, rows_rejected > 0 AS leaves_out;

-- capture locked: from the second attempt on the rows are locked before anything is computed
-- $1 after.none, $2 after.1, $3 through.1, $4 slice, $5 ordinal, $6 part
WITH "migrate locked" AS MATERIALIZED (
       SELECT *
       FROM   "shop"."users" AS "users"
       WHERE  ($1::boolean OR "users"."id" > $2::bigint)
         AND  "users"."id" <= $3::bigint
         AND  ("users".country IS NOT NULL)
       ORDER  BY "users"."id"
       FOR    NO KEY UPDATE OF "users"
     )
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, rows_read, rows_rejected, k_1, o_2, n_2, seen)
SELECT $4::integer, $5::integer, $6::integer,
       (SELECT count(*) FROM "migrate locked"),
       count(*) FILTER (WHERE (s.matches = 1) IS NOT TRUE),
       array_agg(s.k_1) FILTER (WHERE s.matches = 1),
       array_agg(s.o_2) FILTER (WHERE s.matches = 1),
       array_agg(s.n_2) FILTER (WHERE s.matches = 1),
       array_agg(s.seen) FILTER (WHERE s.matches = 1)
FROM  (SELECT "users"."id" AS k_1,
              "users"."vip_level" AS o_2,
              CAST(CASE WHEN spent.total > 3000 THEN 'gold' WHEN spent.total > 1000 THEN 'silver' ELSE 'bronze' END AS text) AS n_2,
              coalesce(hashtextextended(CAST("users"."country" AS text) COLLATE "C", 3), 243808509735772839) AS seen,
              count(*) OVER same AS matches,
              row_number() OVER same AS place
       FROM   "migrate locked" AS "users"
              LEFT JOIN (SELECT "joined"."total", "joined"."user_id" FROM (SELECT user_id, sum(amount) AS total FROM shop.orders GROUP BY user_id) AS "joined") AS "spent"
                ON (spent.user_id = users.id)
                   AND ($1::boolean OR "spent"."user_id" >= $2::bigint)
                   AND "spent"."user_id" <= $3::bigint
       WINDOW same AS (PARTITION BY "users"."id")
       ORDER  BY "users"."id"
       OFFSET 0) AS s
WHERE  s.place = 1
  AND  (record_image_ne(ROW(s.o_2), ROW(s.n_2))
        OR (s.matches = 1) IS NOT TRUE)
RETURNING rows_rejected > 0 AS leaves_out;

-- validate: only in a batch with rows that break a rule: to quarantine with every reason
-- $1 run, $2 after.none, $3 after.1, $4 through.1, $5 slice, $6 ordinal, $7 part
WITH rejected AS (
  INSERT INTO migrate.rejects (run, step, key, row, new_values, reasons, message)
  SELECT $1::bigint, 1, s.key, s.row, s.new_values, s.reasons, array_to_string(s.reasons, '; ')
  FROM  (SELECT DISTINCT ON ("users"."id")
                ARRAY[CAST("users"."id" AS text)] AS key,
                migrate.row_image("users".*) AS row,
                (SELECT migrate.row_image("written".*) FROM (SELECT CAST(CASE WHEN spent.total > 3000 THEN 'gold' WHEN spent.total > 1000 THEN 'silver' ELSE 'bronze' END AS text) AS "vip_level") AS "written") AS new_values,
                array_remove(ARRAY[CASE WHEN count(*) OVER same > 1 THEN format('spent: %s rows match', count(*) OVER same) END], NULL) AS reasons
         FROM   "shop"."users" AS "users"
                LEFT JOIN (SELECT "joined"."total", "joined"."user_id" FROM (SELECT user_id, sum(amount) AS total FROM shop.orders GROUP BY user_id) AS "joined") AS "spent"
                  ON (spent.user_id = users.id)
                     AND ($2::boolean OR "spent"."user_id" >= $3::bigint)
                     AND "spent"."user_id" <= $4::bigint
         WHERE  ($2::boolean OR "users"."id" > $3::bigint)
           AND  "users"."id" <= $4::bigint
           AND  ("users".country IS NOT NULL)
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
SET    exact = CASE WHEN r.rows <> u.rows_rejected THEN false END
FROM  (SELECT count(*) AS rows FROM rejected) AS r
WHERE  (u.slice, u.ordinal, u.part) = ($5::integer, $6::integer, $7::integer);

-- finish: the ledger's entry; no row: another worker has taken over
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
       u.exact IS NOT FALSE AND u.passed_1 IS NULL
FROM   migrate.undo_{run}_1 AS u
CROSS  JOIN LATERAL (SELECT coalesce(cardinality(u.k_1), 0) AS rows_changed) AS c
CROSS  JOIN (SELECT epoch FROM migrate.fence WHERE run = $1::bigint AND epoch = $3::integer FOR SHARE) AS f
WHERE  (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)
RETURNING exact, rows_read, rows_changed, rows_rejected, xid,
          (SELECT coalesce(cardinality(u.k_1), 0) + coalesce(cardinality(u.passed_1), 0)
           FROM   migrate.undo_{run}_1 AS u
           WHERE  (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)) AS rows_captured;

-- reject: the only row of a part that failed goes to quarantine, and counts as read
-- $1 run, $2 refusal.sqlstate, $3 refusal.message, $4 refusal.detail, $5 refusal.column, $6 refusal.constraint, $7 after.none, $8 after.1, $9 through.1, $10 slice, $11 ordinal, $12 part
WITH rejected AS (
  INSERT INTO migrate.rejects (run, step, key, row, sqlstate, message, detail, column_name, constraint_name)
  SELECT $1::bigint,
         1,
         ARRAY[CAST("users"."id" AS text)],
         migrate.row_image("users".*),
         $2::text,
         $3::text,
         $4::text,
         $5::text,
         $6::text
  FROM   "shop"."users" AS "users"
  WHERE  ($7::boolean OR "users"."id" > $8::bigint)
    AND  "users"."id" <= $9::bigint
    AND  ("users".country IS NOT NULL)
  ON CONFLICT (run, step, key) DO UPDATE
  SET    row = excluded.row, new_values = excluded.new_values, reasons = excluded.reasons,
         sqlstate = excluded.sqlstate, message = excluded.message, detail = excluded.detail,
         column_name = excluded.column_name, constraint_name = excluded.constraint_name,
         rejected_at = excluded.rejected_at
  RETURNING key
)
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, rows_read, rows_rejected, exact)
SELECT $10::integer, $11::integer, $12::integer, count(*), count(*), true
FROM   rejected;

-- previous: for a row of quarantine that is tried again: the key behind which it stands; no row: it is the first
-- $1 through.1
SELECT CAST("users"."id" AS text) AS previous_1
FROM   "shop"."users" AS "users"
WHERE  "users"."id" < $1::bigint
ORDER  BY "users"."id" DESC
LIMIT  1;

-- ===== publish: all of it in one transaction, once every batch is computed

-- lock: from the third try on, before any row is locked: there may always be another one that somebody has in hand
LOCK TABLE "shop"."users" IN SHARE ROW EXCLUSIVE MODE;

-- publish: for each batch: a row that is what it was is written, and only what is written stays in the undo
-- $1 slice, $2 ordinal, $3 part
WITH published AS (
  UPDATE "shop"."users" AS "users"
  SET    "vip_level" = d.n_2
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.o_2, b.n_2, b.seen) AS d(k_1, o_2, n_2, seen)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "users"."id" = d.k_1
    AND  record_image_eq(ROW("users"."vip_level"), ROW(d.o_2))
    AND  (coalesce(hashtextextended(CAST("users"."country" AS text) COLLATE "C", 3), 243808509735772839)) = d.seen
  RETURNING "users"."id" AS k_1
)
UPDATE migrate.undo_{run}_1 AS u
SET    (k_1, o_2, n_2, seen) = (
         SELECT array_agg(s.k_1),
                array_agg(s.o_2),
                array_agg(s.n_2),
                array_agg(s.seen)
         FROM  (SELECT d.k_1, d.o_2, d.n_2, d.seen
                FROM   migrate.undo_{run}_1 AS b,
                       unnest(b.k_1, b.o_2, b.n_2, b.seen) AS d(k_1, o_2, n_2, seen)
                JOIN   published ON published.k_1 = d.k_1
                WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
                ORDER  BY d.k_1) AS s),
       (passed_1) = (
         SELECT array_agg(d.k_1)
         FROM   migrate.undo_{run}_1 AS b,
                unnest(b.k_1) AS d(k_1)
         WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
           AND  NOT EXISTS (SELECT FROM published WHERE published.k_1 = d.k_1))
WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer)
  AND  cardinality(u.k_1) > (SELECT count(*) FROM published);

-- capture late: what others have changed since is computed anew, as it is now, and kept from them until it is shown
-- $1 upper.1, $2 others, $3 horizon, $4 transactions, $5 run, $6 slice, $7 ordinal, $8 part, $9 after.none, $10 after.1, $11 through.1
WITH "migrate locked" AS MATERIALIZED (
       SELECT *
       FROM   "shop"."users" AS "users"
       WHERE  "users"."id" <= $1::bigint
         AND  ($2::boolean OR EXISTS (SELECT FROM migrate.undo_{run}_1 AS u WHERE u.passed_1 IS NOT NULL))
         AND  ($2::boolean
               AND ($3::bigint IS NULL
                    OR ((CAST(CAST("users".xmin AS text) AS bigint) - $3::bigint) & 4294967295) < 2147483648)
               AND NOT EXISTS (SELECT FROM unnest($4::xid[]) AS own(xid) WHERE own.xid = "users".xmin)
               OR "users"."id" IN (SELECT unnest(u.passed_1) FROM migrate.undo_{run}_1 AS u))
         AND  ("users".country IS NOT NULL)
         AND  NOT EXISTS (SELECT FROM migrate.rejects AS r
                          WHERE r.run = $5::bigint AND r.step = 1 AND r.key = ARRAY[CAST("users"."id" AS text)])
         AND  NOT EXISTS (SELECT
                          FROM  (SELECT unnest(u.k_1) FROM migrate.undo_{run}_1 AS u) AS d(k_1)
                          WHERE  d.k_1 = "users"."id")
       ORDER  BY "users"."id"
       FOR    NO KEY UPDATE OF "users"
     )
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, rows_read, rows_rejected, k_1, o_2, n_2, seen)
SELECT $6::integer, $7::integer, $8::integer,
       (SELECT count(*) FROM "migrate locked"),
       count(*) FILTER (WHERE (s.matches = 1) IS NOT TRUE),
       array_agg(s.k_1) FILTER (WHERE s.matches = 1),
       array_agg(s.o_2) FILTER (WHERE s.matches = 1),
       array_agg(s.n_2) FILTER (WHERE s.matches = 1),
       array_agg(s.seen) FILTER (WHERE s.matches = 1)
FROM  (SELECT "users"."id" AS k_1,
              "users"."vip_level" AS o_2,
              CAST(CASE WHEN spent.total > 3000 THEN 'gold' WHEN spent.total > 1000 THEN 'silver' ELSE 'bronze' END AS text) AS n_2,
              coalesce(hashtextextended(CAST("users"."country" AS text) COLLATE "C", 3), 243808509735772839) AS seen,
              count(*) OVER same AS matches,
              row_number() OVER same AS place
       FROM   "migrate locked" AS "users"
              LEFT JOIN (SELECT "joined"."total", "joined"."user_id" FROM (SELECT user_id, sum(amount) AS total FROM shop.orders GROUP BY user_id) AS "joined") AS "spent"
                ON (spent.user_id = users.id)
                   AND ($9::boolean OR "spent"."user_id" >= $10::bigint)
                   AND "spent"."user_id" <= $11::bigint
       WINDOW same AS (PARTITION BY "users"."id")
       ORDER  BY "users"."id"
       OFFSET 0) AS s
WHERE  s.place = 1
  AND  (record_image_ne(ROW(s.o_2), ROW(s.n_2))
        OR (s.matches = 1) IS NOT TRUE)
RETURNING rows_rejected > 0 AS leaves_out;

-- validate: only in a batch with rows that break a rule: to quarantine with every reason
-- $1 run, $2 after.none, $3 after.1, $4 through.1, $5 upper.1, $6 others, $7 horizon, $8 transactions, $9 slice, $10 ordinal, $11 part
WITH rejected AS (
  INSERT INTO migrate.rejects (run, step, key, row, new_values, reasons, message)
  SELECT $1::bigint, 1, s.key, s.row, s.new_values, s.reasons, array_to_string(s.reasons, '; ')
  FROM  (SELECT DISTINCT ON ("users"."id")
                ARRAY[CAST("users"."id" AS text)] AS key,
                migrate.row_image("users".*) AS row,
                (SELECT migrate.row_image("written".*) FROM (SELECT CAST(CASE WHEN spent.total > 3000 THEN 'gold' WHEN spent.total > 1000 THEN 'silver' ELSE 'bronze' END AS text) AS "vip_level") AS "written") AS new_values,
                array_remove(ARRAY[CASE WHEN count(*) OVER same > 1 THEN format('spent: %s rows match', count(*) OVER same) END], NULL) AS reasons
         FROM   "shop"."users" AS "users"
                LEFT JOIN (SELECT "joined"."total", "joined"."user_id" FROM (SELECT user_id, sum(amount) AS total FROM shop.orders GROUP BY user_id) AS "joined") AS "spent"
                  ON (spent.user_id = users.id)
                     AND ($2::boolean OR "spent"."user_id" >= $3::bigint)
                     AND "spent"."user_id" <= $4::bigint
         WHERE  "users"."id" <= $5::bigint
           AND  ($6::boolean OR EXISTS (SELECT FROM migrate.undo_{run}_1 AS u WHERE u.passed_1 IS NOT NULL))
           AND  ($6::boolean
                 AND ($7::bigint IS NULL
                      OR ((CAST(CAST("users".xmin AS text) AS bigint) - $7::bigint) & 4294967295) < 2147483648)
                 AND NOT EXISTS (SELECT FROM unnest($8::xid[]) AS own(xid) WHERE own.xid = "users".xmin)
                 OR "users"."id" IN (SELECT unnest(u.passed_1) FROM migrate.undo_{run}_1 AS u))
           AND  ("users".country IS NOT NULL)
           AND  NOT EXISTS (SELECT FROM migrate.rejects AS r
                            WHERE r.run = $1::bigint AND r.step = 1 AND r.key = ARRAY[CAST("users"."id" AS text)])
           AND  NOT EXISTS (SELECT
                            FROM  (SELECT unnest(u.k_1) FROM migrate.undo_{run}_1 AS u) AS d(k_1)
                            WHERE  d.k_1 = "users"."id")
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
SET    exact = CASE WHEN r.rows <> u.rows_rejected THEN false END
FROM  (SELECT count(*) AS rows FROM rejected) AS r
WHERE  (u.slice, u.ordinal, u.part) = ($9::integer, $10::integer, $11::integer);

-- change: writes what the capture has computed, for the keys that it has kept
-- $1 slice, $2 ordinal, $3 part
WITH changed AS (
  UPDATE "shop"."users" AS "users"
  SET    "vip_level" = d.n_2
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.n_2) AS d(k_1, n_2)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "users"."id" = d.k_1
  RETURNING "users"."id" AS k_1,
            "users"."vip_level" AS n_2
), image AS (
  SELECT array_agg(s.k_1) AS k_1,
         array_agg(s.n_2) AS n_2
  FROM  (SELECT * FROM changed ORDER BY k_1) AS s
)
UPDATE migrate.undo_{run}_1 AS u
SET    n_2 = image.n_2,
       exact = (u.exact IS NOT FALSE AND u.k_1 IS NOT DISTINCT FROM image.k_1)
FROM   image
WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer);

-- finish: the ledger's entry for the rows that were computed anew, which are taken from the batches that had them first
-- $1 run, $2 worker, $3 epoch, $4 upper, $5 slice, $6 ordinal, $7 part
WITH heartbeat AS (
  UPDATE migrate.workers
  SET    heartbeat_at = clock_timestamp()
  WHERE  run = $1::bigint AND worker = $2::integer AND epoch = $3::integer
), passed AS (
  UPDATE migrate.batches AS a
  SET    rows_read    = a.rows_read - a.rows_changed + u.rows,
         rows_changed = u.rows
  FROM  (SELECT u.slice, u.ordinal, u.part, coalesce(cardinality(u.k_1), 0) AS rows
         FROM   migrate.undo_{run}_1 AS u) AS u
  WHERE  a.run = $1::bigint
    AND  a.kind = 'apply'
    AND  (a.slice, a.ordinal, a.part) = (u.slice, u.ordinal, u.part)
    AND  a.rows_changed > u.rows
)
INSERT INTO migrate.batches (run, kind, slice, ordinal, part, after_key, through_key,
                             rows_read, rows_changed, rows_unchanged, rows_rejected, epoch, exact)
SELECT $1::bigint, 'apply', u.slice, u.ordinal, u.part, NULL, $4::text[],
       u.rows_read, c.rows_changed, u.rows_read - c.rows_changed - u.rows_rejected, u.rows_rejected, f.epoch,
       NOT EXISTS (SELECT FROM migrate.undo_{run}_1 AS e WHERE e.exact IS FALSE)
FROM   migrate.undo_{run}_1 AS u
CROSS  JOIN LATERAL (SELECT coalesce(cardinality(u.n_2), 0) AS rows_changed) AS c
CROSS  JOIN (SELECT epoch FROM migrate.fence WHERE run = $1::bigint AND epoch = $3::integer FOR SHARE) AS f
WHERE  (u.slice, u.ordinal, u.part) = ($5::integer, $6::integer, $7::integer)
RETURNING exact, rows_read, rows_changed, rows_rejected, xid,
          (SELECT coalesce(cardinality(u.k_1), 0)
           FROM   migrate.undo_{run}_1 AS u
           WHERE  (u.slice, u.ordinal, u.part) = ($5::integer, $6::integer, $7::integer)) AS rows_captured;

-- forget: taken back before anything was shown: what was computed is let go
UPDATE migrate.undo_{run}_1 AS u
SET    k_1 = NULL,
       o_2 = NULL,
       n_2 = NULL,
       seen = NULL
WHERE  u.slice >= 0;

-- ===== finish: once, after the last batch

-- left behind: rows that became eligible behind the batches, counted and not passed over in silence
-- $1 upper.1, $2 others, $3 horizon, $4 transactions, $5 run
SELECT count(DISTINCT ARRAY[CAST("users"."id" AS text)]) FILTER (WHERE record_image_ne(ROW("users"."vip_level"), ROW(CAST(CASE WHEN spent.total > 3000 THEN 'gold' WHEN spent.total > 1000 THEN 'silver' ELSE 'bronze' END AS text))))
FROM   "shop"."users" AS "users"
       LEFT JOIN (SELECT "joined"."total", "joined"."user_id" FROM (SELECT user_id, sum(amount) AS total FROM shop.orders GROUP BY user_id) AS "joined") AS "spent"
         ON (spent.user_id = users.id)
            AND "spent"."user_id" = ANY (ARRAY(SELECT "users"."id"
                FROM   "shop"."users" AS "users"
                WHERE  "users"."id" <= $1::bigint
                  AND  $2::boolean
                  AND  ($3::bigint IS NULL
                        OR ((CAST(CAST("users".xmin AS text) AS bigint) - $3::bigint) & 4294967295) < 2147483648)
                  AND  NOT EXISTS (SELECT FROM unnest($4::xid[]) AS own(xid) WHERE own.xid = "users".xmin)
                  AND  ("users".country IS NOT NULL)
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
  AND  ("users".country IS NOT NULL)
  AND  NOT EXISTS (SELECT FROM migrate.rejects AS r
                   WHERE r.run = $5::bigint AND r.step = 1 AND r.key = ARRAY[CAST("users"."id" AS text)])
  AND  NOT EXISTS (SELECT
                   FROM  (SELECT unnest(u.k_1) FROM migrate.undo_{run}_1 AS u) AS d(k_1)
                   WHERE  d.k_1 = "users"."id");

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
FROM   "shop"."users" AS "users"
WHERE  "users".xmin IN (SELECT unnest($1::xid[]));

-- conflicts ahead: rows changed since, all batches at once; under stop there must be none
SELECT count(*) AS conflicts
FROM   migrate.undo_{run}_1 AS b
CROSS  JOIN LATERAL unnest(b.k_1, b.n_2) AS d(k_1, n_2)
LEFT   JOIN "shop"."users" AS "users" ON "users"."id" = d.k_1
WHERE  NOT b.reverted
  AND  ("users"."id" IS NULL
        OR record_image_ne(ROW("users"."vip_level"), ROW(d.n_2)));

-- mark: a second revert of the same batch waits here and then finds nothing to do
-- $1 slice, $2 ordinal, $3 part
UPDATE migrate.undo_{run}_1 AS u
SET    reverted = true
WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer)
  AND  NOT u.reverted;

-- restore: one statement compares and writes, so no edit is lost between the two
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  UPDATE "shop"."users" AS "users"
  SET    "vip_level" = d.o_2
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.o_2, b.n_2) AS d(k_1, o_2, n_2)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "users"."id" = d.k_1
    AND  record_image_eq(ROW("users"."vip_level"), ROW(d.n_2))
  RETURNING "users"."id" AS k_1
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
         record_image_ne(ROW("users"."vip_level"), ROW(d.n_2)) AS differs,
         jsonb_object(ARRAY['vip_level'],
                      ARRAY[CAST("users"."vip_level" AS text)]) AS found
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.n_2) AS d(k_1, n_2),
         "shop"."users" AS "users"
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "users"."id" = d.k_1
  FOR    NO KEY UPDATE OF "users"
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
SELECT $4::bigint, 1, $5::bigint, ARRAY[CAST(d.k_1 AS text)], 'overwritten', d.found
FROM   d
WHERE  d.differs;

-- restore forced: under force the old values come back over whatever has been kept
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  UPDATE "shop"."users" AS "users"
  SET    "vip_level" = d.o_2
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.o_2, b.n_2) AS d(k_1, o_2, n_2)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "users"."id" = d.k_1
    AND  (record_image_eq(ROW("users"."vip_level"), ROW(d.n_2))
          OR EXISTS (SELECT
                     FROM   migrate.conflicts AS c
                     WHERE  (c.run, c.step, c.seq) = ($4::bigint, 1, $5::bigint)
                       AND  c.key = ARRAY[CAST(d.k_1 AS text)]))
  RETURNING "users"."id" AS k_1
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
       found = jsonb_object(ARRAY['vip_level'],
                            ARRAY[CAST("users"."vip_level" AS text)])
FROM   "shop"."users" AS "users"
WHERE  (c.run, c.step, c.seq) = ($1::bigint, 1, $2::bigint)
  AND  c.reason = 'gone'
  AND  "users"."id" = CAST(c.key[1] AS bigint);

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
