-- ===== prepare: once, in the transaction that begins the run

-- image table: which rows a batch has; what the steps read of them stays as it is in the source
CREATE TABLE migrate.image_{run} (slice integer,
                                  ordinal integer,
                                  part integer,
                                  rows_read bigint NOT NULL,
                                  rows_rejected bigint NOT NULL DEFAULT 0,
                                  k_1 bigint[] COMPRESSION lz4,
                                  o_2 bigint[] COMPRESSION lz4,
                                  o_3 integer[] COMPRESSION lz4,
                                  o_4 text[] COMPRESSION lz4,
                                  o_5 timestamp with time zone[] COMPRESSION lz4,
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
                                   o_4 bpchar[] COMPRESSION lz4,
                                   n_4 bpchar[] COMPRESSION lz4,
                                   exact boolean,
                                   PRIMARY KEY (slice, ordinal, part));

-- undo table: a row a batch, an array a column; never the table's own row type, which would forbid DDL
CREATE TABLE migrate.undo_{run}_3 (slice integer,
                                   ordinal integer,
                                   part integer,
                                   k_1 bigint[] COMPRESSION lz4,
                                   k_2 integer[] COMPRESSION lz4,
                                   exact boolean,
                                   PRIMARY KEY (slice, ordinal, part));

-- ===== bounds: once, before the first batch

-- lockers: the transactions that may hold rows below the upper end which nobody can see yet
SELECT l.virtualtransaction
FROM   pg_locks AS l
WHERE  l.locktype = 'relation'
  AND  l.relation IN (SELECT to_regclass('"shop"."grants"') UNION SELECT relid FROM pg_partition_tree(to_regclass('"shop"."grants"')))
  AND  l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND  l.granted
  AND  l.pid IS DISTINCT FROM pg_backend_pid()
  AND  l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock');

-- upper: the last key, fixed once: a writer that goes on beyond it does not keep the run from ending
SELECT CAST("grants"."id" AS text) AS upper_1
FROM   "shop"."grants" AS "grants"
ORDER  BY "grants"."id" DESC
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
LOCK TABLE "shop"."grants" IN ROW EXCLUSIVE MODE;

-- bound: the key of the batch's last row; no row: the batch goes to the upper end
-- $1 after.none, $2 after.1, $3 upper.1, $4 size
SELECT CAST("grants"."id" AS text) AS through_1
FROM   "shop"."grants" AS "grants"
WHERE  ($1::boolean OR "grants"."id" > $2::bigint)
  AND  "grants"."id" <= $3::bigint
  AND  (state = 'active')
ORDER  BY "grants"."id"
OFFSET $4::bigint - 1
LIMIT  1;

-- capture: which rows the batch has, and what the steps read of them, whatever these change
-- $1 slice, $2 ordinal, $3 part, $4 after.none, $5 after.1, $6 through.1
INSERT INTO migrate.image_{run} (slice, ordinal, part, rows_read, rows_rejected, k_1, o_2, o_3, o_4, o_5)
SELECT $1::integer, $2::integer, $3::integer,
       count(*),
       count(*) FILTER (WHERE s.valid IS NOT TRUE),
       array_agg(s.k_1) FILTER (WHERE s.valid),
       array_agg(s.o_2) FILTER (WHERE s.valid),
       array_agg(s.o_3) FILTER (WHERE s.valid),
       array_agg(s.o_4) FILTER (WHERE s.valid),
       array_agg(s.o_5) FILTER (WHERE s.valid)
FROM   (SELECT "grants"."id" AS k_1,
               "grants"."user_id" AS o_2,
               "grants"."points" AS o_3,
               "grants"."state" AS o_4,
               "grants"."expires_at" AS o_5,
               (("grants"."points" > 0)) AS valid
        FROM   "shop"."grants" AS "grants"
        WHERE  ($4::boolean OR "grants"."id" > $5::bigint)
          AND  "grants"."id" <= $6::bigint
          AND  (state = 'active')
        ORDER  BY "grants"."id") AS s
RETURNING false AS as_captured, rows_rejected > 0 AS leaves_out;

-- capture locked: from the second attempt on the rows are locked before anything is computed
-- $1 slice, $2 ordinal, $3 part, $4 after.none, $5 after.1, $6 through.1
INSERT INTO migrate.image_{run} (slice, ordinal, part, rows_read, rows_rejected, k_1, o_2, o_3, o_4, o_5)
SELECT $1::integer, $2::integer, $3::integer,
       count(*),
       count(*) FILTER (WHERE s.valid IS NOT TRUE),
       array_agg(s.k_1) FILTER (WHERE s.valid),
       array_agg(s.o_2) FILTER (WHERE s.valid),
       array_agg(s.o_3) FILTER (WHERE s.valid),
       array_agg(s.o_4) FILTER (WHERE s.valid),
       array_agg(s.o_5) FILTER (WHERE s.valid)
FROM   (SELECT "grants"."id" AS k_1,
               "grants"."user_id" AS o_2,
               "grants"."points" AS o_3,
               "grants"."state" AS o_4,
               "grants"."expires_at" AS o_5,
               (("grants"."points" > 0)) AS valid
        FROM   "shop"."grants" AS "grants"
        WHERE  ($4::boolean OR "grants"."id" > $5::bigint)
          AND  "grants"."id" <= $6::bigint
          AND  (state = 'active')
        ORDER  BY "grants"."id"
        FOR    UPDATE OF "grants") AS s
RETURNING rows_rejected > 0 AS leaves_out;

-- validate: only in a batch with rows that break a rule: to quarantine with every reason
-- $1 run, $2 after.none, $3 after.1, $4 through.1, $5 slice, $6 ordinal, $7 part
WITH rejected AS (
  INSERT INTO migrate.rejects (run, step, key, row, new_values, reasons, message)
  SELECT $1::bigint, 1, s.key, s.row, s.new_values, s.reasons, array_to_string(s.reasons, '; ')
  FROM  (SELECT ARRAY[CAST("grants"."id" AS text)] AS key,
                CAST(NULL AS jsonb) AS row,
                CAST(NULL AS jsonb) AS new_values,
                array_remove(ARRAY[CASE ("grants"."points" > 0)
                                     WHEN true  THEN NULL
                                     WHEN false THEN 'some points'
                                     ELSE            'some points: is NULL' END], NULL) AS reasons
         FROM   "shop"."grants" AS "grants"
         WHERE  ($2::boolean OR "grants"."id" > $3::bigint)
           AND  "grants"."id" <= $4::bigint
           AND  (state = 'active')
           AND  CASE WHEN (state = 'active')
                     THEN (("grants"."points" > 0)) IS NOT TRUE END) AS s
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
-- $1 after.none, $2 after.1, $3 through.1, $4 slice, $5 ordinal, $6 part
WITH batch AS (
       SELECT "grants"."id", "grants"."user_id", "grants"."points"
       FROM   "shop"."grants" AS "grants"
       WHERE  ($1::boolean OR "grants"."id" > $2::bigint)
         AND  "grants"."id" <= $3::bigint
         AND  ("grants"."id" IN (SELECT d.k_1
                                 FROM   migrate.image_{run} AS b,
                                        unnest(b.k_1) AS d(k_1)
                                 WHERE  (b.slice, b.ordinal, b.part) = ($4::integer, $5::integer, $6::integer))) IS TRUE
     ), added AS (
  INSERT INTO "shop"."ledger" AS "ledger" ("user_id", "delta")
  SELECT "batch".user_id,
         -"batch".points
  FROM   "batch"
  ORDER  BY batch."id"
  RETURNING "ledger"."id" AS k_1,
            coalesce(hashint8extended("ledger"."user_id", ("ledger"."user_id" >> 32) * 65536 + 2), 3980143261097177850)
            # coalesce(hashint4extended("ledger"."delta", 3), 243808509735772839)
            # coalesce(hashtextextended(CAST(ROW(CAST("ledger"."labels" AS text[])) AS text) COLLATE "C", 5), 980875101213047373) AS h_1
)
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, k_1, h_1, exact)
SELECT $4::integer, $5::integer, $6::integer,
       array_agg(s.k_1),
       array_agg(s.h_1),
       true
FROM  (SELECT * FROM added ORDER BY k_1) AS s;

-- capture: the old values and the new ones, computed once
-- $1 after.none, $2 after.1, $3 through.1, $4 slice, $5 ordinal, $6 part
WITH batch AS (
       SELECT "grants"."id", "grants"."user_id", "grants"."points"
       FROM   "shop"."grants" AS "grants"
       WHERE  ($1::boolean OR "grants"."id" > $2::bigint)
         AND  "grants"."id" <= $3::bigint
         AND  "grants"."id" IN (SELECT d.k_1
                                FROM   migrate.image_{run} AS b,
                                       unnest(b.k_1) AS d(k_1)
                                WHERE  (b.slice, b.ordinal, b.part) = ($4::integer, $5::integer, $6::integer))
     )
INSERT INTO migrate.undo_{run}_2 (slice, ordinal, part, k_1, o_4, n_4)
SELECT $4::integer, $5::integer, $6::integer,
       array_agg(s.k_1),
       array_agg(s.o_4),
       array_agg(s.n_4)
FROM  (SELECT "users"."id" AS k_1,
              "users"."name" AS o_4,
              CAST('nobody' AS bpchar) AS n_4
       FROM   "shop"."users" AS "users"
       WHERE  EXISTS (SELECT FROM "batch" WHERE ("users".id = "batch".user_id))
       ORDER  BY "users"."id"
       OFFSET 0) AS s
                     WHERE  record_image_ne(ROW(CAST(s.o_4 AS text)), ROW(CAST(s.n_4 AS text)));

-- capture locked: the rows are locked in the order of their key, so that two batches wait for one another and never both
-- $1 after.none, $2 after.1, $3 through.1, $4 slice, $5 ordinal, $6 part
WITH batch AS (
       SELECT "grants"."id", "grants"."user_id", "grants"."points"
       FROM   "shop"."grants" AS "grants"
       WHERE  ($1::boolean OR "grants"."id" > $2::bigint)
         AND  "grants"."id" <= $3::bigint
         AND  "grants"."id" IN (SELECT d.k_1
                                FROM   migrate.image_{run} AS b,
                                       unnest(b.k_1) AS d(k_1)
                                WHERE  (b.slice, b.ordinal, b.part) = ($4::integer, $5::integer, $6::integer))
     )
INSERT INTO migrate.undo_{run}_2 (slice, ordinal, part, k_1, o_4, n_4)
SELECT $4::integer, $5::integer, $6::integer,
       array_agg(s.k_1),
       array_agg(s.o_4),
       array_agg(s.n_4)
FROM  (SELECT "users"."id" AS k_1,
              "users"."name" AS o_4,
              CAST('nobody' AS bpchar) AS n_4
       FROM   "shop"."users" AS "users"
       WHERE  EXISTS (SELECT FROM "batch" WHERE ("users".id = "batch".user_id))
       ORDER  BY "users"."id"
       OFFSET 0
               FOR    NO KEY UPDATE OF "users") AS s
                                                    WHERE  record_image_ne(ROW(CAST(s.o_4 AS text)), ROW(CAST(s.n_4 AS text)));

-- change: writes what the capture has computed, and shows that it has met the same rows
-- $1 slice, $2 ordinal, $3 part
WITH changed AS (
  UPDATE "shop"."users" AS "users"
  SET    "name" = d.n_4
  FROM   migrate.undo_{run}_2 AS b,
         unnest(b.k_1, b.n_4) AS d(k_1, n_4)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "users"."id" = d.k_1
  RETURNING "users"."id" AS k_1,
            "users"."name" AS n_4
)
UPDATE migrate.undo_{run}_2 AS u
SET    n_4 = image.n_4,
       exact = (u.k_1 IS NOT DISTINCT FROM image.k_1)
FROM  (SELECT array_agg(s.k_1) AS k_1,
              array_agg(s.n_4) AS n_4
       FROM  (SELECT * FROM changed ORDER BY k_1) AS s) AS image
WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer);

-- change: the whole rows are kept; what is computed of them is computed again when they come back
-- $1 after.none, $2 after.1, $3 through.1, $4 slice, $5 ordinal, $6 part
WITH batch AS (
       SELECT "grants"."id", "grants"."user_id", "grants"."points"
       FROM   "shop"."grants" AS "grants"
       WHERE  ($1::boolean OR "grants"."id" > $2::bigint)
         AND  "grants"."id" <= $3::bigint
         AND  "grants"."id" IN (SELECT d.k_1
                                FROM   migrate.image_{run} AS b,
                                       unnest(b.k_1) AS d(k_1)
                                WHERE  (b.slice, b.ordinal, b.part) = ($4::integer, $5::integer, $6::integer))
     ), gone AS (
  DELETE FROM "shop"."lines" AS "lines"
  USING  "batch"
  WHERE  ("lines".grant_id = "batch".id)
  RETURNING "lines"."grant_id" AS k_1,
            "lines"."place" AS k_2
)
INSERT INTO migrate.undo_{run}_3 (slice, ordinal, part, k_1, k_2, exact)
SELECT $4::integer, $5::integer, $6::integer,
       array_agg(s.k_1),
       array_agg(s.k_2),
       true
FROM  (SELECT * FROM gone ORDER BY k_1, k_2) AS s;

-- change: the capture has kept the whole rows, so nothing is asked but their number
-- $1 after.none, $2 after.1, $3 through.1, $4 slice, $5 ordinal, $6 part
DELETE FROM "shop"."grants" AS "grants"
WHERE  ($1::boolean OR "grants"."id" > $2::bigint)
  AND  "grants"."id" <= $3::bigint
  AND  ("grants"."id" IN (SELECT d.k_1
                          FROM   migrate.image_{run} AS b,
                                 unnest(b.k_1) AS d(k_1)
                          WHERE  (b.slice, b.ordinal, b.part) = ($4::integer, $5::integer, $6::integer))) IS TRUE;

-- finish: the ledger's entry; no row: another worker has taken over; not exact: rows came in between
-- $1 run, $2 worker, $3 epoch, $4 slice, $5 ordinal, $6 part, $7 after, $8 through, $9 written
WITH heartbeat AS (
  UPDATE migrate.workers
  SET    heartbeat_at = clock_timestamp()
  WHERE  run = $1::bigint AND worker = $2::integer AND epoch = $3::integer
), "migrate forgotten 1" AS (
  UPDATE migrate.image_{run} AS u
  SET    o_2 = NULL,
         o_3 = NULL,
         o_4 = NULL,
         o_5 = NULL
  WHERE  (u.slice, u.ordinal, u.part) = ($4::integer, $5::integer, $6::integer)
)
, "migrate forgotten 2" AS (
  UPDATE migrate.undo_{run}_1 AS u
  SET    h_1 = NULL
  WHERE  (u.slice, u.ordinal, u.part) = ($4::integer, $5::integer, $6::integer)
)
, "migrate forgotten 3" AS (
  UPDATE migrate.undo_{run}_2 AS u
  SET    o_4 = NULL,
         n_4 = NULL
  WHERE  (u.slice, u.ordinal, u.part) = ($4::integer, $5::integer, $6::integer)
)
INSERT INTO migrate.batches (run, kind, slice, ordinal, part, after_key, through_key,
                             rows_read, rows_changed, rows_unchanged, rows_rejected, rows_written, epoch, exact)
SELECT $1::bigint, 'apply', u.slice, u.ordinal, u.part, $7::text[], $8::text[],
       u.rows_read, u.rows_read - u.rows_rejected, 0, u.rows_rejected,
       CAST(ARRAY[coalesce((SELECT cardinality(u.k_1) FROM migrate.undo_{run}_1 AS u WHERE (u.slice, u.ordinal, u.part) = ($4::integer, $5::integer, $6::integer)), 0),
                  coalesce((SELECT cardinality(u.k_1) FROM migrate.undo_{run}_2 AS u WHERE (u.slice, u.ordinal, u.part) = ($4::integer, $5::integer, $6::integer)), 0),
                  coalesce((SELECT cardinality(u.k_1) FROM migrate.undo_{run}_3 AS u WHERE (u.slice, u.ordinal, u.part) = ($4::integer, $5::integer, $6::integer)), 0),
                  coalesce(cardinality(u.k_1), 0)] AS bigint[]), f.epoch,
       coalesce(u.exact, true)
       AND coalesce((SELECT u.exact FROM migrate.undo_{run}_1 AS u WHERE (u.slice, u.ordinal, u.part) = ($4::integer, $5::integer, $6::integer)), true)
       AND coalesce((SELECT u.exact FROM migrate.undo_{run}_2 AS u WHERE (u.slice, u.ordinal, u.part) = ($4::integer, $5::integer, $6::integer)), true)
       AND coalesce((SELECT u.exact FROM migrate.undo_{run}_3 AS u WHERE (u.slice, u.ordinal, u.part) = ($4::integer, $5::integer, $6::integer)), true)
       AND coalesce(($9::bigint[])[4], 0) = coalesce(cardinality(u.k_1), 0)
FROM   migrate.image_{run} AS u
CROSS  JOIN (SELECT epoch FROM migrate.fence WHERE run = $1::bigint AND epoch = $3::integer FOR SHARE) AS f
WHERE  (u.slice, u.ordinal, u.part) = ($4::integer, $5::integer, $6::integer)
RETURNING exact, rows_read, rows_changed, rows_rejected, xid, rows_changed AS rows_captured;

-- reject: the only row of a part that failed goes to quarantine, and counts as read
-- $1 run, $2 refusal.sqlstate, $3 refusal.message, $4 refusal.column, $5 refusal.constraint, $6 after.none, $7 after.1, $8 through.1, $9 slice, $10 ordinal, $11 part
WITH rejected AS (
  INSERT INTO migrate.rejects (run, step, key, row, sqlstate, message, detail, column_name, constraint_name)
  SELECT $1::bigint,
         1,
         ARRAY[CAST("grants"."id" AS text)],
         NULL,
         $2::text,
         $3::text,
         NULL,
         $4::text,
         $5::text
  FROM   "shop"."grants" AS "grants"
  WHERE  ($6::boolean OR "grants"."id" > $7::bigint)
    AND  "grants"."id" <= $8::bigint
    AND  (state = 'active')
  ON CONFLICT (run, step, key) DO UPDATE
  SET    row = excluded.row, new_values = excluded.new_values, reasons = excluded.reasons,
         sqlstate = excluded.sqlstate, message = excluded.message, detail = excluded.detail,
         column_name = excluded.column_name, constraint_name = excluded.constraint_name,
         rejected_at = excluded.rejected_at
  RETURNING key
)
INSERT INTO migrate.image_{run} (slice, ordinal, part, rows_read, rows_rejected, exact)
SELECT $9::integer, $10::integer, $11::integer, count(*), count(*), true
FROM   rejected;

-- previous: for a row of quarantine that is tried again: the key behind which it stands; no row: it is the first
-- $1 through.1
SELECT CAST("grants"."id" AS text) AS previous_1
FROM   "shop"."grants" AS "grants"
WHERE  "grants"."id" < $1::bigint
ORDER  BY "grants"."id" DESC
LIMIT  1;

-- ===== finish: once, after the last batch

-- left behind: rows that became eligible behind the batches, counted and not passed over in silence
-- $1 upper.1, $2 others, $3 horizon, $4 transactions, $5 run
SELECT count(*)
FROM   "shop"."grants" AS "grants"
WHERE  "grants"."id" <= $1::bigint
  AND  $2::boolean
  AND  ($3::bigint IS NULL
        OR ((CAST(CAST("grants".xmin AS text) AS bigint) - $3::bigint) & 4294967295) < 2147483648)
  AND  NOT EXISTS (SELECT FROM unnest($4::xid[]) AS own(xid) WHERE own.xid = "grants".xmin)
  AND  (state = 'active')
  AND  NOT EXISTS (SELECT FROM migrate.rejects AS r
                   WHERE r.run = $5::bigint AND r.step = 1 AND r.key = ARRAY[CAST("grants"."id" AS text)])
  AND  NOT EXISTS (SELECT
                   FROM  (SELECT unnest(u.k_1) FROM migrate.image_{run} AS u) AS d(k_1)
                   WHERE  d.k_1 = "grants"."id");
