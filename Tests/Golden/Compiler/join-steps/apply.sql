-- ===== prepare: once, in the transaction that begins the run

-- image table: what the steps read of a batch, as it was before the first of them: a row a batch, an array a column
CREATE TABLE migrate.image_{run} (slice integer,
                                  ordinal integer,
                                  part integer,
                                  rows_read bigint NOT NULL,
                                  rows_rejected bigint NOT NULL DEFAULT 0,
                                  k_1 bigint[] COMPRESSION lz4,
                                  c_2001 text[] COMPRESSION lz4,
                                  c_2002 numeric[] COMPRESSION lz4,
                                  c_2003 text[] COMPRESSION lz4,
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
CREATE TABLE migrate.undo_{run}_2 (slice integer,
                                   ordinal integer,
                                   part integer,
                                   k_1 bigint[] COMPRESSION lz4,
                                   o_2 text[] COMPRESSION lz4,
                                   n_2 text[] COMPRESSION lz4,
                                   o_3 text[] COMPRESSION lz4,
                                   n_3 text[] COMPRESSION lz4,
                                   exact boolean,
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
  AND  ("users".id > 2)
ORDER  BY "users"."id"
OFFSET $4::bigint - 1
LIMIT  1;

-- capture: which rows the batch has, and what the steps read of them, whatever these change
-- $1 slice, $2 ordinal, $3 part, $4 after.none, $5 after.1, $6 through.1
INSERT INTO migrate.image_{run} (slice, ordinal, part, rows_read, rows_rejected, k_1, c_2001, c_2002, c_2003)
SELECT $1::integer, $2::integer, $3::integer,
       count(*),
       count(*) FILTER (WHERE (s.valid AND s.matches = 1) IS NOT TRUE),
       array_agg(s.k_1) FILTER (WHERE s.valid AND s.matches = 1),
       array_agg(s.c_2001) FILTER (WHERE s.valid AND s.matches = 1),
       array_agg(s.c_2002) FILTER (WHERE s.valid AND s.matches = 1),
       array_agg(s.c_2003) FILTER (WHERE s.valid AND s.matches = 1)
FROM   (SELECT "users"."id" AS k_1,
               "users"."code" AS c_2001,
               "users"."spent.total" AS c_2002,
               "users"."land.name" AS c_2003,
               "users"."migrate valid" AS valid,
               "users"."migrate matches" AS matches,
               "users"."migrate place" AS place
        FROM   (SELECT "users".*,
                       "migrate let 1"."code" AS "code",
                       "spent"."total" AS "spent.total",
                       "land"."name" AS "land.name",
                       ("land"."migrate match" IS NOT NULL) AS "migrate valid",
                       count(*) OVER same AS "migrate matches",
                       row_number() OVER same AS "migrate place"
                FROM   "shop"."users" AS "users"
                       JOIN (SELECT "joined"."total", "joined"."user_id" FROM (SELECT user_id, sum(amount) AS total FROM shop.orders GROUP BY user_id) AS "joined") AS "spent"
                         ON (spent.user_id = users.id)
                            AND ($4::boolean OR "spent"."user_id" >= $5::bigint)
                            AND "spent"."user_id" <= $6::bigint
                       LEFT JOIN (SELECT true AS "migrate match", "joined"."code", "joined"."name" FROM "shop"."countries" AS "joined") AS "land"
                         ON (land.code = upper("users".country))
                       CROSS JOIN LATERAL (SELECT upper("users".country) AS "code" OFFSET 0) AS "migrate let 1"
                WHERE  ($4::boolean OR "users"."id" > $5::bigint)
                  AND  "users"."id" <= $6::bigint
                  AND  ("users".id > 2)
                WINDOW same AS (PARTITION BY "users"."id")) AS "users"
        ORDER  BY "users"."id") AS s
WHERE  s.place = 1
RETURNING false AS as_captured, rows_rejected > 0 AS leaves_out;

-- capture locked: from the second attempt on the rows are locked before anything is computed
-- $1 after.none, $2 after.1, $3 through.1, $4 slice, $5 ordinal, $6 part
WITH "migrate locked" AS MATERIALIZED (
       SELECT *
       FROM   "shop"."users" AS "users"
       WHERE  ($1::boolean OR "users"."id" > $2::bigint)
         AND  "users"."id" <= $3::bigint
         AND  ("users".id > 2)
       ORDER  BY "users"."id"
       FOR    NO KEY UPDATE OF "users"
     )
INSERT INTO migrate.image_{run} (slice, ordinal, part, rows_read, rows_rejected, k_1, c_2001, c_2002, c_2003)
SELECT $4::integer, $5::integer, $6::integer,
       count(*),
       count(*) FILTER (WHERE (s.valid AND s.matches = 1) IS NOT TRUE),
       array_agg(s.k_1) FILTER (WHERE s.valid AND s.matches = 1),
       array_agg(s.c_2001) FILTER (WHERE s.valid AND s.matches = 1),
       array_agg(s.c_2002) FILTER (WHERE s.valid AND s.matches = 1),
       array_agg(s.c_2003) FILTER (WHERE s.valid AND s.matches = 1)
FROM   (SELECT "users"."id" AS k_1,
               "users"."code" AS c_2001,
               "users"."spent.total" AS c_2002,
               "users"."land.name" AS c_2003,
               "users"."migrate valid" AS valid,
               "users"."migrate matches" AS matches,
               "users"."migrate place" AS place
        FROM   (SELECT "users".*,
                       "migrate let 1"."code" AS "code",
                       "spent"."total" AS "spent.total",
                       "land"."name" AS "land.name",
                       ("land"."migrate match" IS NOT NULL) AS "migrate valid",
                       count(*) OVER same AS "migrate matches",
                       row_number() OVER same AS "migrate place"
                FROM   "migrate locked" AS "users"
                       JOIN (SELECT "joined"."total", "joined"."user_id" FROM (SELECT user_id, sum(amount) AS total FROM shop.orders GROUP BY user_id) AS "joined") AS "spent"
                         ON (spent.user_id = users.id)
                            AND ($1::boolean OR "spent"."user_id" >= $2::bigint)
                            AND "spent"."user_id" <= $3::bigint
                       LEFT JOIN (SELECT true AS "migrate match", "joined"."code", "joined"."name" FROM "shop"."countries" AS "joined") AS "land"
                         ON (land.code = upper("users".country))
                       CROSS JOIN LATERAL (SELECT upper("users".country) AS "code" OFFSET 0) AS "migrate let 1"
                WINDOW same AS (PARTITION BY "users"."id")) AS "users"
        ORDER  BY "users"."id") AS s
WHERE  s.place = 1
RETURNING rows_rejected > 0 AS leaves_out;

-- validate: only in a batch with rows that break a rule: to quarantine with every reason
-- $1 run, $2 after.none, $3 after.1, $4 through.1, $5 slice, $6 ordinal, $7 part
WITH rejected AS (
  INSERT INTO migrate.rejects (run, step, key, row, new_values, reasons, message)
  SELECT $1::bigint, 1, s.key, s.row, s.new_values, s.reasons, array_to_string(s.reasons, '; ')
  FROM  (SELECT DISTINCT ON ("users"."id")
                ARRAY[CAST("users"."id" AS text)] AS key,
                migrate.row_image("users".*) AS row,
                CAST(NULL AS jsonb) AS new_values,
                array_remove(ARRAY[CASE WHEN "land"."migrate match" IS NULL THEN 'land: no row matches' END,
                                   CASE WHEN count(*) OVER same > 1 THEN format('spent, land: %s rows match', count(*) OVER same) END], NULL) AS reasons
         FROM   "shop"."users" AS "users"
                JOIN (SELECT "joined"."total", "joined"."user_id" FROM (SELECT user_id, sum(amount) AS total FROM shop.orders GROUP BY user_id) AS "joined") AS "spent"
                  ON (spent.user_id = users.id)
                     AND ($2::boolean OR "spent"."user_id" >= $3::bigint)
                     AND "spent"."user_id" <= $4::bigint
                LEFT JOIN (SELECT true AS "migrate match", "joined"."code", "joined"."name" FROM "shop"."countries" AS "joined") AS "land"
                  ON (land.code = upper("users".country))
                CROSS JOIN LATERAL (SELECT upper("users".country) AS "code" OFFSET 0) AS "migrate let 1"
         WHERE  ($2::boolean OR "users"."id" > $3::bigint)
           AND  "users"."id" <= $4::bigint
           AND  ("users".id > 2)
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
UPDATE migrate.image_{run} AS u
SET    exact = CASE WHEN r.rows <> u.rows_rejected THEN false END
FROM  (SELECT count(*) AS rows FROM rejected) AS r
WHERE  (u.slice, u.ordinal, u.part) = ($5::integer, $6::integer, $7::integer);

-- change: the keys are kept, as RETURNING shows them, and what tells whether somebody changes the rows
-- $1 slice, $2 ordinal, $3 part
WITH batch AS (
       SELECT d.k_1 AS "id", d.c_2001 AS "code", d.c_2002 AS "spent.total", d.c_2003 AS "land.name"
       FROM   migrate.image_{run} AS b,
              unnest(b.k_1, b.c_2001, b.c_2002, b.c_2003) AS d(k_1, c_2001, c_2002, c_2003)
       WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
     ), added AS (
  INSERT INTO "shop"."bills" AS "bills" ("user_id", "total", "land")
  SELECT "batch".id,
         "batch"."spent.total",
         "batch"."land.name"
  FROM   "batch"
  ORDER  BY batch."id"
  RETURNING "bills"."user_id" AS k_1,
            hashtextextended(CAST("bills"."total" AS text) COLLATE "C", 2)
            # hashtextextended("bills"."land" COLLATE "C", 3) AS h_1
)
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, k_1, h_1, exact)
SELECT $1::integer, $2::integer, $3::integer,
       array_agg(s.k_1),
       array_agg(s.h_1),
       true
FROM  (SELECT * FROM added ORDER BY k_1) AS s;

-- capture: the old values and the new ones, computed once
-- $1 slice, $2 ordinal, $3 part
WITH batch AS (
       SELECT d.k_1 AS "id", d.c_2001 AS "code", d.c_2002 AS "spent.total", d.c_2003 AS "land.name"
       FROM   migrate.image_{run} AS b,
              unnest(b.k_1, b.c_2001, b.c_2002, b.c_2003) AS d(k_1, c_2001, c_2002, c_2003)
       WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
     )
INSERT INTO migrate.undo_{run}_2 (slice, ordinal, part, k_1, o_2, o_3, n_2, n_3)
SELECT $1::integer, $2::integer, $3::integer,
       array_agg(s.k_1),
       array_agg(s.o_2),
       array_agg(s.o_3),
       array_agg(s.n_2),
       array_agg(s.n_3)
FROM  (SELECT "users"."id" AS k_1,
              "users"."level" AS o_2,
              "users"."country" AS o_3,
              CAST(CASE WHEN "batch"."spent.total" > 3000 THEN 'gold' ELSE "users".level END AS text) AS n_2,
              CAST("batch".code AS text) AS n_3
       FROM   "shop"."users" AS "users",
              "batch"
       WHERE  ("users"."id" = batch."id")
       ORDER  BY "users"."id"
       OFFSET 0) AS s
                     WHERE  record_image_ne(ROW(s.o_2, s.o_3),
                                            ROW(s.n_2, s.n_3));

-- capture locked: the rows are locked in the order of their key, so that two batches wait for one another and never both
-- $1 slice, $2 ordinal, $3 part
WITH batch AS (
       SELECT d.k_1 AS "id", d.c_2001 AS "code", d.c_2002 AS "spent.total", d.c_2003 AS "land.name"
       FROM   migrate.image_{run} AS b,
              unnest(b.k_1, b.c_2001, b.c_2002, b.c_2003) AS d(k_1, c_2001, c_2002, c_2003)
       WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
     )
INSERT INTO migrate.undo_{run}_2 (slice, ordinal, part, k_1, o_2, o_3, n_2, n_3)
SELECT $1::integer, $2::integer, $3::integer,
       array_agg(s.k_1),
       array_agg(s.o_2),
       array_agg(s.o_3),
       array_agg(s.n_2),
       array_agg(s.n_3)
FROM  (SELECT "users"."id" AS k_1,
              "users"."level" AS o_2,
              "users"."country" AS o_3,
              CAST(CASE WHEN "batch"."spent.total" > 3000 THEN 'gold' ELSE "users".level END AS text) AS n_2,
              CAST("batch".code AS text) AS n_3
       FROM   "shop"."users" AS "users",
              "batch"
       WHERE  ("users"."id" = batch."id")
       ORDER  BY "users"."id"
       OFFSET 0
               FOR    NO KEY UPDATE OF "users") AS s
                                                    WHERE  record_image_ne(ROW(s.o_2, s.o_3),
                                                                           ROW(s.n_2, s.n_3));

-- change: writes what the capture has computed, and shows that it has met the same rows
-- $1 slice, $2 ordinal, $3 part
WITH changed AS (
  UPDATE "shop"."users" AS "users"
  SET    "level" = d.n_2,
         "country" = d.n_3
  FROM   migrate.undo_{run}_2 AS b,
         unnest(b.k_1, b.n_2, b.n_3) AS d(k_1, n_2, n_3)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "users"."id" = d.k_1
  RETURNING "users"."id" AS k_1
)
UPDATE migrate.undo_{run}_2 AS u
SET    exact = (SELECT count(*) FROM changed) = coalesce(cardinality(u.k_1), 0)
WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer);

-- finish: the ledger's entry; no row: another worker has taken over; not exact: rows came in between
-- $1 run, $2 worker, $3 epoch, $4 after, $5 through, $6 slice, $7 ordinal, $8 part
WITH heartbeat AS (
  UPDATE migrate.workers
  SET    heartbeat_at = clock_timestamp()
  WHERE  run = $1::bigint AND worker = $2::integer AND epoch = $3::integer
)
INSERT INTO migrate.batches (run, kind, slice, ordinal, part, after_key, through_key,
                             rows_read, rows_changed, rows_unchanged, rows_rejected, rows_written, epoch, exact)
SELECT $1::bigint, 'apply', u.slice, u.ordinal, u.part, $4::text[], $5::text[],
       u.rows_read, u.rows_read - u.rows_rejected, 0, u.rows_rejected,
       CAST(ARRAY[coalesce((SELECT cardinality(u.k_1) FROM migrate.undo_{run}_1 AS u WHERE (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)), 0),
                  coalesce((SELECT cardinality(u.k_1) FROM migrate.undo_{run}_2 AS u WHERE (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)), 0)] AS bigint[]), f.epoch,
       coalesce(u.exact, true)
       AND coalesce((SELECT u.exact FROM migrate.undo_{run}_1 AS u WHERE (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)), true)
       AND coalesce((SELECT u.exact FROM migrate.undo_{run}_2 AS u WHERE (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)), true)
FROM   migrate.image_{run} AS u
CROSS  JOIN (SELECT epoch FROM migrate.fence WHERE run = $1::bigint AND epoch = $3::integer FOR SHARE) AS f
WHERE  (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)
RETURNING exact, rows_read, rows_changed, rows_rejected, xid, rows_changed AS rows_captured;

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
    AND  ("users".id > 2)
  ON CONFLICT (run, step, key) DO UPDATE
  SET    row = excluded.row, new_values = excluded.new_values, reasons = excluded.reasons,
         sqlstate = excluded.sqlstate, message = excluded.message, detail = excluded.detail,
         column_name = excluded.column_name, constraint_name = excluded.constraint_name,
         rejected_at = excluded.rejected_at
  RETURNING key
)
INSERT INTO migrate.image_{run} (slice, ordinal, part, rows_read, rows_rejected, exact)
SELECT $10::integer, $11::integer, $12::integer, count(*), count(*), true
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
SELECT count(DISTINCT ARRAY[CAST("users"."id" AS text)])
FROM   "shop"."users" AS "users"
       JOIN (SELECT "joined"."total", "joined"."user_id" FROM (SELECT user_id, sum(amount) AS total FROM shop.orders GROUP BY user_id) AS "joined") AS "spent"
         ON (spent.user_id = users.id)
            AND "spent"."user_id" = ANY (ARRAY(SELECT "users"."id"
                FROM   "shop"."users" AS "users"
                WHERE  "users"."id" <= $1::bigint
                  AND  $2::boolean
                  AND  ($3::bigint IS NULL
                        OR ((CAST(CAST("users".xmin AS text) AS bigint) - $3::bigint) & 4294967295) < 2147483648)
                  AND  NOT EXISTS (SELECT FROM unnest($4::xid[]) AS own(xid) WHERE own.xid = "users".xmin)
                  AND  ("users".id > 2)
                  AND  NOT EXISTS (SELECT FROM migrate.rejects AS r
                                   WHERE r.run = $5::bigint AND r.step = 1 AND r.key = ARRAY[CAST("users"."id" AS text)])
                  AND  NOT EXISTS (SELECT
                                   FROM  (SELECT unnest(u.k_1) FROM migrate.image_{run} AS u) AS d(k_1)
                                   WHERE  d.k_1 = "users"."id")))
       LEFT JOIN (SELECT true AS "migrate match", "joined"."code", "joined"."name" FROM "shop"."countries" AS "joined") AS "land"
         ON (land.code = upper("users".country))
WHERE  "users"."id" <= $1::bigint
  AND  $2::boolean
  AND  ($3::bigint IS NULL
        OR ((CAST(CAST("users".xmin AS text) AS bigint) - $3::bigint) & 4294967295) < 2147483648)
  AND  NOT EXISTS (SELECT FROM unnest($4::xid[]) AS own(xid) WHERE own.xid = "users".xmin)
  AND  ("users".id > 2)
  AND  NOT EXISTS (SELECT FROM migrate.rejects AS r
                   WHERE r.run = $5::bigint AND r.step = 1 AND r.key = ARRAY[CAST("users"."id" AS text)])
  AND  NOT EXISTS (SELECT
                   FROM  (SELECT unnest(u.k_1) FROM migrate.image_{run} AS u) AS d(k_1)
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

-- conflicts ahead: rows changed since, all batches at once; under stop there must be none
SELECT (SELECT count(*)
        FROM   migrate.image_{run} AS r
        JOIN   migrate.undo_{run}_1 AS b USING (slice, ordinal, part)
        CROSS  JOIN unnest(b.k_1, b.h_1) AS d(k_1, h_1)
        LEFT   JOIN "shop"."bills" AS "bills" ON "bills"."user_id" = d.k_1
        WHERE  NOT r.reverted
          AND  ("bills"."user_id" IS NULL
                 OR (hashtextextended(CAST(CAST("bills"."total" AS numeric) AS text) COLLATE "C", 2)
                     # hashtextextended(CAST("bills"."land" AS text) COLLATE "C", 3)) <> d.h_1))
        + (SELECT count(*)
           FROM   migrate.image_{run} AS r
           JOIN   migrate.undo_{run}_2 AS b USING (slice, ordinal, part)
           CROSS  JOIN unnest(b.k_1, b.n_2, b.n_3) AS d(k_1, n_2, n_3)
           LEFT   JOIN "shop"."users" AS "users" ON "users"."id" = d.k_1
           WHERE  NOT r.reverted
             AND  ("users"."id" IS NULL
                    OR record_image_ne(ROW("users"."level", "users"."country"),
                                       ROW(d.n_2, d.n_3)))) AS conflicts;

-- mark: a second revert of the same batch waits here and then finds nothing to do
-- $1 slice, $2 ordinal, $3 part
UPDATE migrate.image_{run} AS u
SET    reverted = true
WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer)
  AND  NOT u.reverted;

-- restore: one statement compares and writes, so no edit is lost between the two
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  UPDATE "shop"."users" AS "users"
  SET    "level" = d.o_2,
         "country" = d.o_3
  FROM   migrate.undo_{run}_2 AS b,
         unnest(b.k_1, b.o_2, b.n_2, b.o_3, b.n_3) AS d(k_1, o_2, n_2, o_3, n_3)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "users"."id" = d.k_1
    AND  record_image_eq(ROW("users"."level", "users"."country"),
                         ROW(d.n_2, d.n_3))
  RETURNING "users"."id" AS k_1
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason)
SELECT $4::bigint, 2, $5::bigint, ARRAY[CAST(d.k_1 AS text)], 'gone'
FROM  (SELECT d.k_1
       FROM   migrate.undo_{run}_2 AS b,
              unnest(b.k_1) AS d(k_1)
       WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
         AND  cardinality(b.k_1) > (SELECT count(*) FROM back)
       EXCEPT
       SELECT k_1 FROM back) AS d;

-- seize: under force what is overwritten is kept first, and the rows locked meanwhile
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH d AS MATERIALIZED (
  SELECT d.k_1,
         record_image_ne(ROW("users"."level", "users"."country"),
                         ROW(d.n_2, d.n_3)) AS differs,
         jsonb_object(ARRAY['level', 'country'],
                      ARRAY[CAST("users"."level" AS text), CAST("users"."country" AS text)]) AS found
  FROM   migrate.undo_{run}_2 AS b,
         unnest(b.k_1, b.n_2, b.n_3) AS d(k_1, n_2, n_3),
         "shop"."users" AS "users"
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "users"."id" = d.k_1
  FOR    NO KEY UPDATE OF "users"
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
SELECT $4::bigint, 2, $5::bigint, ARRAY[CAST(d.k_1 AS text)], 'overwritten', d.found
FROM   d
WHERE  d.differs;

-- restore forced: under force the old values come back over whatever has been kept
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  UPDATE "shop"."users" AS "users"
  SET    "level" = d.o_2,
         "country" = d.o_3
  FROM   migrate.undo_{run}_2 AS b,
         unnest(b.k_1, b.o_2, b.n_2, b.o_3, b.n_3) AS d(k_1, o_2, n_2, o_3, n_3)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "users"."id" = d.k_1
    AND  (record_image_eq(ROW("users"."level", "users"."country"),
                          ROW(d.n_2, d.n_3))
          OR EXISTS (SELECT
                     FROM   migrate.conflicts AS c
                     WHERE  (c.run, c.step, c.seq) = ($4::bigint, 2, $5::bigint)
                       AND  c.key = ARRAY[CAST(d.k_1 AS text)]))
  RETURNING "users"."id" AS k_1
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason)
SELECT $4::bigint, 2, $5::bigint, ARRAY[CAST(d.k_1 AS text)], 'gone'
FROM  (SELECT d.k_1
       FROM   migrate.undo_{run}_2 AS b,
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
       found = jsonb_object(ARRAY['level', 'country'],
                            ARRAY[CAST("users"."level" AS text), CAST("users"."country" AS text)])
FROM   "shop"."users" AS "users"
WHERE  (c.run, c.step, c.seq) = ($1::bigint, 2, $2::bigint)
  AND  c.reason = 'gone'
  AND  "users"."id" = CAST(c.key[1] AS bigint);

-- hold: whoever is about to refer to these rows is waited for, or has to wait
-- $1 slice, $2 ordinal, $3 part
SELECT count(*)
FROM  (SELECT
       FROM   migrate.undo_{run}_1 AS b,
              unnest(b.k_1) AS d(k_1),
              "shop"."bills" AS "bills"
       WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
         AND  "bills"."user_id" = d.k_1
       FOR    UPDATE OF "bills") AS locked;

-- seize: under force what is deleted is kept first where it is not what the run has inserted
-- $1 run, $2 seq, $3 slice, $4 ordinal, $5 part
INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
SELECT $1::bigint, 1, $2::bigint, ARRAY[CAST(d.k_1 AS text)], 'overwritten', jsonb_object(ARRAY['user_id', 'total', 'land'],
                                                                                          ARRAY[CAST("bills"."user_id" AS text), CAST("bills"."total" AS text), CAST("bills"."land" AS text)])
FROM   migrate.undo_{run}_1 AS b,
       unnest(b.k_1, b.h_1) AS d(k_1, h_1),
       "shop"."bills" AS "bills"
WHERE  (b.slice, b.ordinal, b.part) = ($3::integer, $4::integer, $5::integer)
  AND  "bills"."user_id" = d.k_1
  AND  (hashtextextended(CAST(CAST("bills"."total" AS numeric) AS text) COLLATE "C", 2)
        # hashtextextended(CAST("bills"."land" AS text) COLLATE "C", 3)) <> d.h_1;

-- restore: one statement compares and deletes, so no edit is lost between the two
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  DELETE FROM "shop"."bills" AS "bills"
  USING  migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.h_1) AS d(k_1, h_1)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "bills"."user_id" = d.k_1
    AND  (hashtextextended(CAST(CAST("bills"."total" AS numeric) AS text) COLLATE "C", 2)
          # hashtextextended(CAST("bills"."land" AS text) COLLATE "C", 3)) = d.h_1
  RETURNING "bills"."user_id" AS k_1
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

-- restore forced: under force rows go whatever they hold by now, unless another one refers to them
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  DELETE FROM "shop"."bills" AS "bills"
  USING  migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.h_1) AS d(k_1, h_1)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "bills"."user_id" = d.k_1
  RETURNING "bills"."user_id" AS k_1
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
       found = jsonb_object(ARRAY['user_id', 'total', 'land'],
                            ARRAY[CAST("bills"."user_id" AS text), CAST("bills"."total" AS text), CAST("bills"."land" AS text)])
FROM   "shop"."bills" AS "bills"
WHERE  (c.run, c.step, c.seq) = ($1::bigint, 1, $2::bigint)
  AND  c.reason = 'gone'
  AND  "bills"."user_id" = CAST(c.key[1] AS bigint);

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
DROP TABLE migrate.image_{run}, migrate.undo_{run}_1, migrate.undo_{run}_2;
