-- ===== prepare: once, in the transaction that begins the run

-- image table: what the steps read of a batch, as it was before the first of them: a row a batch, an array a column
CREATE TABLE migrate.image_{run} (slice integer,
                                  ordinal integer,
                                  part integer,
                                  rows_read bigint NOT NULL,
                                  rows_rejected bigint NOT NULL DEFAULT 0,
                                  k_1 bigint[] COMPRESSION lz4,
                                  c_2 bigint[] COMPRESSION lz4,
                                  c_3 integer[] COMPRESSION lz4,
                                  c_5 timestamp with time zone[] COMPRESSION lz4,
                                  exact boolean,
                                  reverted boolean NOT NULL DEFAULT false,
                                  PRIMARY KEY (slice, ordinal, part));

-- undo table: a row a batch, an array a column; never the table's own row type, which would forbid DDL
CREATE TABLE migrate.undo_{run}_1 (slice integer,
                                   ordinal integer,
                                   part integer,
                                   k_1 bigint[] COMPRESSION lz4,
                                   o_4 text[] COMPRESSION lz4,
                                   n_4 text[] COMPRESSION lz4,
                                   exact boolean,
                                   PRIMARY KEY (slice, ordinal, part));

-- undo table: a row a batch, an array a column; never the table's own row type, which would forbid DDL
CREATE TABLE migrate.undo_{run}_2 (slice integer,
                                   ordinal integer,
                                   part integer,
                                   k_1 bigint[] COMPRESSION lz4,
                                   h_2 bigint[] COMPRESSION lz4,
                                   exact boolean,
                                   PRIMARY KEY (slice, ordinal, part));

-- undo table: a row a batch, an array a column; never the table's own row type, which would forbid DDL
CREATE TABLE migrate.undo_{run}_3 (slice integer,
                                   ordinal integer,
                                   part integer,
                                   k_1 bigint[] COMPRESSION lz4,
                                   o_2 integer[] COMPRESSION lz4,
                                   n_2 integer[] COMPRESSION lz4,
                                   exact boolean,
                                   PRIMARY KEY (slice, ordinal, part));

-- wrapper for column 3: an array of arrays would lose their shapes, so each goes in a row of one column
CREATE TYPE migrate.w_{run}_4_3 AS (v text[]);

-- undo table: a row a batch, an array a column; never the table's own row type, which would forbid DDL
CREATE TABLE migrate.undo_{run}_4 (slice integer,
                                   ordinal integer,
                                   part integer,
                                   k_1 bigint[] COMPRESSION lz4,
                                   o_3 migrate.w_{run}_4_3[] COMPRESSION lz4,
                                   n_3 migrate.w_{run}_4_3[] COMPRESSION lz4,
                                   o_4 bpchar[] COMPRESSION lz4,
                                   n_4 bpchar[] COMPRESSION lz4,
                                   exact boolean,
                                   PRIMARY KEY (slice, ordinal, part));

-- undo table: a row a batch, an array a column; never the table's own row type, which would forbid DDL
CREATE TABLE migrate.undo_{run}_5 (slice integer,
                                   ordinal integer,
                                   part integer,
                                   k_1 bigint[] COMPRESSION lz4,
                                   k_2 integer[] COMPRESSION lz4,
                                   exact boolean,
                                   PRIMARY KEY (slice, ordinal, part));

-- undo table: the events of a batch, for a revert to repeat them
CREATE TABLE migrate.undo_{run}_6 (slice integer,
                                   ordinal integer,
                                   part integer,
                                   events bigint NOT NULL,
                                   n_2 bigint[] COMPRESSION lz4,
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
-- $1 after.none, $2 after.1, $3 upper.1, $4 :until, $5 size
SELECT CAST("grants"."id" AS text) AS through_1
FROM   "shop"."grants" AS "grants"
WHERE  ($1::boolean OR "grants"."id" > $2::bigint)
  AND  "grants"."id" <= $3::bigint
  AND  (expires_at < $4::timestamp with time zone AND state = 'active')
ORDER  BY "grants"."id"
OFFSET $5::bigint - 1
LIMIT  1;

-- capture: which rows the batch has, and what the steps read of them, whatever these change
-- $1 slice, $2 ordinal, $3 part, $4 after.none, $5 after.1, $6 through.1, $7 :until
INSERT INTO migrate.image_{run} (slice, ordinal, part, rows_read, rows_rejected, k_1, c_2, c_3, c_5)
SELECT $1::integer, $2::integer, $3::integer,
       count(*),
       count(*) FILTER (WHERE s.valid IS NOT TRUE),
       array_agg(s.k_1) FILTER (WHERE s.valid),
       array_agg(s.c_2) FILTER (WHERE s.valid),
       array_agg(s.c_3) FILTER (WHERE s.valid),
       array_agg(s.c_5) FILTER (WHERE s.valid)
FROM   (SELECT "grants"."id" AS k_1,
               "grants"."user_id" AS c_2,
               "grants"."points" AS c_3,
               "grants"."expires_at" AS c_5,
               (("grants"."points" > 0)) AS valid
        FROM   "shop"."grants" AS "grants"
        WHERE  ($4::boolean OR "grants"."id" > $5::bigint)
          AND  "grants"."id" <= $6::bigint
          AND  (expires_at < $7::timestamp with time zone AND state = 'active')
        ORDER  BY "grants"."id") AS s
RETURNING false AS as_captured, rows_rejected > 0 AS leaves_out;

-- capture locked: from the second attempt on the rows are locked before anything is computed
-- $1 slice, $2 ordinal, $3 part, $4 after.none, $5 after.1, $6 through.1, $7 :until
INSERT INTO migrate.image_{run} (slice, ordinal, part, rows_read, rows_rejected, k_1, c_2, c_3, c_5)
SELECT $1::integer, $2::integer, $3::integer,
       count(*),
       count(*) FILTER (WHERE s.valid IS NOT TRUE),
       array_agg(s.k_1) FILTER (WHERE s.valid),
       array_agg(s.c_2) FILTER (WHERE s.valid),
       array_agg(s.c_3) FILTER (WHERE s.valid),
       array_agg(s.c_5) FILTER (WHERE s.valid)
FROM   (SELECT "grants"."id" AS k_1,
               "grants"."user_id" AS c_2,
               "grants"."points" AS c_3,
               "grants"."expires_at" AS c_5,
               (("grants"."points" > 0)) AS valid
        FROM   "shop"."grants" AS "grants"
        WHERE  ($4::boolean OR "grants"."id" > $5::bigint)
          AND  "grants"."id" <= $6::bigint
          AND  (expires_at < $7::timestamp with time zone AND state = 'active')
        ORDER  BY "grants"."id"
        FOR    NO KEY UPDATE OF "grants") AS s
RETURNING rows_rejected > 0 AS leaves_out;

-- validate: only in a batch with rows that break a rule: to quarantine with every reason
-- $1 run, $2 after.none, $3 after.1, $4 through.1, $5 :until, $6 slice, $7 ordinal, $8 part
WITH rejected AS (
  INSERT INTO migrate.rejects (run, step, key, row, new_values, reasons, message)
  SELECT $1::bigint, 1, s.key, s.row, s.new_values, s.reasons, array_to_string(s.reasons, '; ')
  FROM  (SELECT ARRAY[CAST("grants"."id" AS text)] AS key,
                migrate.row_image("grants".*) AS row,
                CAST(NULL AS jsonb) AS new_values,
                array_remove(ARRAY[CASE ("grants"."points" > 0)
                                     WHEN true  THEN NULL
                                     WHEN false THEN 'some points'
                                     ELSE            'some points: is NULL' END], NULL) AS reasons
         FROM   "shop"."grants" AS "grants"
         WHERE  ($2::boolean OR "grants"."id" > $3::bigint)
           AND  "grants"."id" <= $4::bigint
           AND  (expires_at < $5::timestamp with time zone AND state = 'active')
           AND  CASE WHEN (expires_at < $5::timestamp with time zone AND state = 'active')
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
WHERE  (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer);

-- capture: the old values and the new ones, computed once
-- $1 after.none, $2 after.1, $3 through.1, $4 slice, $5 ordinal, $6 part
WITH batch AS (
       SELECT "grants"."id", "grants"."user_id", "grants"."points", "grants"."expires_at"
       FROM   "shop"."grants" AS "grants"
       WHERE  ($1::boolean OR "grants"."id" > $2::bigint)
         AND  "grants"."id" <= $3::bigint
         AND  "grants"."id" IN (SELECT d.k_1
                                FROM   migrate.image_{run} AS b,
                                       unnest(b.k_1) AS d(k_1)
                                WHERE  (b.slice, b.ordinal, b.part) = ($4::integer, $5::integer, $6::integer))
     )
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, k_1, o_4, n_4)
SELECT $4::integer, $5::integer, $6::integer,
       array_agg(s.k_1),
       array_agg(s.o_4),
       array_agg(s.n_4)
FROM  (SELECT "grants"."id" AS k_1,
              "grants"."state" AS o_4,
              CAST('expired' AS text) AS n_4
       FROM   "shop"."grants" AS "grants",
              "batch"
       WHERE  ("grants"."id" = batch."id")
       ORDER  BY "grants"."id"
       OFFSET 0) AS s
                     WHERE  record_image_ne(ROW(s.o_4), ROW(s.n_4));

-- capture locked: the rows are locked in the order of their key, so that two batches wait for one another and never both
-- $1 after.none, $2 after.1, $3 through.1, $4 slice, $5 ordinal, $6 part
WITH batch AS (
       SELECT "grants"."id", "grants"."user_id", "grants"."points", "grants"."expires_at"
       FROM   "shop"."grants" AS "grants"
       WHERE  ($1::boolean OR "grants"."id" > $2::bigint)
         AND  "grants"."id" <= $3::bigint
         AND  "grants"."id" IN (SELECT d.k_1
                                FROM   migrate.image_{run} AS b,
                                       unnest(b.k_1) AS d(k_1)
                                WHERE  (b.slice, b.ordinal, b.part) = ($4::integer, $5::integer, $6::integer))
     )
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, k_1, o_4, n_4)
SELECT $4::integer, $5::integer, $6::integer,
       array_agg(s.k_1),
       array_agg(s.o_4),
       array_agg(s.n_4)
FROM  (SELECT "grants"."id" AS k_1,
              "grants"."state" AS o_4,
              CAST('expired' AS text) AS n_4
       FROM   "shop"."grants" AS "grants",
              "batch"
       WHERE  ("grants"."id" = batch."id")
       ORDER  BY "grants"."id"
       OFFSET 0
               FOR    NO KEY UPDATE OF "grants") AS s
                                                     WHERE  record_image_ne(ROW(s.o_4), ROW(s.n_4));

-- change: writes what the capture has computed, and shows that it has met the same rows
-- $1 slice, $2 ordinal, $3 part
WITH changed AS (
  UPDATE "shop"."grants" AS "grants"
  SET    "state" = d.n_4
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.n_4) AS d(k_1, n_4)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "grants"."id" = d.k_1
  RETURNING "grants"."id" AS k_1
)
UPDATE migrate.undo_{run}_1 AS u
SET    exact = (SELECT count(*) FROM changed) = coalesce(cardinality(u.k_1), 0)
WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer);

-- change: the keys are kept, as RETURNING shows them, and what tells whether somebody changes the rows
-- $1 slice, $2 ordinal, $3 part
WITH batch AS (
       SELECT d.k_1 AS "id", d.c_2 AS "user_id", d.c_3 AS "points", d.c_5 AS "expires_at"
       FROM   migrate.image_{run} AS b,
              unnest(b.k_1, b.c_2, b.c_3, b.c_5) AS d(k_1, c_2, c_3, c_5)
       WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
     ), added AS (
  INSERT INTO "shop"."ledger" AS "ledger" ("user_id", "delta", "labels")
  SELECT "batch".user_id,
         -"batch".points,
         '{"expired"}'
  FROM   "batch"
  ORDER  BY batch."id"
  RETURNING "ledger"."id" AS k_1,
            coalesce(hashint8extended("ledger"."user_id", ("ledger"."user_id" >> 32) * 65536 + 2), 3980143261097177850)
            # coalesce(hashint4extended("ledger"."delta", 3), 243808509735772839)
            # coalesce(hashtextextended(CAST(ROW(CAST("ledger"."labels" AS text[])) AS text) COLLATE "C", 5), 980875101213047373) AS h_2
)
INSERT INTO migrate.undo_{run}_2 (slice, ordinal, part, k_1, h_2, exact)
SELECT $1::integer, $2::integer, $3::integer,
       array_agg(s.k_1),
       array_agg(s.h_2),
       true
FROM  (SELECT * FROM added ORDER BY k_1) AS s;

-- capture: the old values and the new ones, computed once
-- $1 slice, $2 ordinal, $3 part
WITH batch AS (
       SELECT d.k_1 AS "id", d.c_2 AS "user_id", d.c_3 AS "points", d.c_5 AS "expires_at"
       FROM   migrate.image_{run} AS b,
              unnest(b.k_1, b.c_2, b.c_3, b.c_5) AS d(k_1, c_2, c_3, c_5)
       WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
     ), "lost" AS (
       SELECT *
       FROM  (SELECT user_id, sum(points) AS points FROM batch GROUP BY user_id) AS "lost"
       WHERE  EXISTS (SELECT FROM batch)
     )
INSERT INTO migrate.undo_{run}_3 (slice, ordinal, part, k_1, o_2, n_2)
SELECT $1::integer, $2::integer, $3::integer,
       array_agg(s.k_1),
       array_agg(s.o_2),
       array_agg(s.n_2)
FROM  (SELECT "users"."id" AS k_1,
              "users"."points" AS o_2,
              CAST("users".points - "lost".points AS integer) AS n_2
       FROM   "shop"."users" AS "users",
              "lost"
       WHERE  ("users".id = "lost".user_id)
       ORDER  BY "users"."id"
       OFFSET 0) AS s
                     WHERE  s.o_2 IS DISTINCT FROM s.n_2;

-- capture locked: the rows are locked in the order of their key, so that two batches wait for one another and never both
-- $1 slice, $2 ordinal, $3 part
WITH batch AS (
       SELECT d.k_1 AS "id", d.c_2 AS "user_id", d.c_3 AS "points", d.c_5 AS "expires_at"
       FROM   migrate.image_{run} AS b,
              unnest(b.k_1, b.c_2, b.c_3, b.c_5) AS d(k_1, c_2, c_3, c_5)
       WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
     ), "lost" AS (
       SELECT *
       FROM  (SELECT user_id, sum(points) AS points FROM batch GROUP BY user_id) AS "lost"
       WHERE  EXISTS (SELECT FROM batch)
     )
INSERT INTO migrate.undo_{run}_3 (slice, ordinal, part, k_1, o_2, n_2)
SELECT $1::integer, $2::integer, $3::integer,
       array_agg(s.k_1),
       array_agg(s.o_2),
       array_agg(s.n_2)
FROM  (SELECT "users"."id" AS k_1,
              "users"."points" AS o_2,
              CAST("users".points - "lost".points AS integer) AS n_2
       FROM   "shop"."users" AS "users",
              "lost"
       WHERE  ("users".id = "lost".user_id)
       ORDER  BY "users"."id"
       OFFSET 0
               FOR    NO KEY UPDATE OF "users") AS s
                                                    WHERE  s.o_2 IS DISTINCT FROM s.n_2;

-- change: writes what the capture has computed, and shows that it has met the same rows
-- $1 slice, $2 ordinal, $3 part
WITH changed AS (
  UPDATE "shop"."users" AS "users"
  SET    "points" = d.n_2
  FROM   migrate.undo_{run}_3 AS b,
         unnest(b.k_1, b.n_2) AS d(k_1, n_2)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "users"."id" = d.k_1
  RETURNING "users"."id" AS k_1
)
UPDATE migrate.undo_{run}_3 AS u
SET    exact = (SELECT count(*) FROM changed) = coalesce(cardinality(u.k_1), 0)
WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer);

-- capture: the old values and the new ones, computed once
-- $1 slice, $2 ordinal, $3 part
WITH batch AS (
       SELECT d.k_1 AS "id", d.c_2 AS "user_id", d.c_3 AS "points", d.c_5 AS "expires_at"
       FROM   migrate.image_{run} AS b,
              unnest(b.k_1, b.c_2, b.c_3, b.c_5) AS d(k_1, c_2, c_3, c_5)
       WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
     )
INSERT INTO migrate.undo_{run}_4 (slice, ordinal, part, k_1, o_3, o_4, n_3, n_4)
SELECT $1::integer, $2::integer, $3::integer,
       array_agg(s.k_1),
       array_agg(CAST(ROW(s.o_3) AS migrate.w_{run}_4_3)),
       array_agg(s.o_4),
       array_agg(CAST(ROW(s.n_3) AS migrate.w_{run}_4_3)),
       array_agg(s.n_4)
FROM  (SELECT "users"."id" AS k_1,
              CAST("users"."labels" AS text[]) AS o_3,
              "users"."name" AS o_4,
              CAST('{lost}' AS text[]) AS n_3,
              CAST('nobody' AS bpchar) AS n_4
       FROM   "shop"."users" AS "users"
       WHERE  EXISTS (SELECT FROM "batch" WHERE ("users".id = "batch".user_id))
       ORDER  BY "users"."id"
       OFFSET 0) AS s
                     WHERE  record_image_ne(ROW(s.o_3, CAST(s.o_4 AS text)),
                                            ROW(s.n_3, CAST(s.n_4 AS text)));

-- capture locked: the rows are locked in the order of their key, so that two batches wait for one another and never both
-- $1 slice, $2 ordinal, $3 part
WITH batch AS (
       SELECT d.k_1 AS "id", d.c_2 AS "user_id", d.c_3 AS "points", d.c_5 AS "expires_at"
       FROM   migrate.image_{run} AS b,
              unnest(b.k_1, b.c_2, b.c_3, b.c_5) AS d(k_1, c_2, c_3, c_5)
       WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
     )
INSERT INTO migrate.undo_{run}_4 (slice, ordinal, part, k_1, o_3, o_4, n_3, n_4)
SELECT $1::integer, $2::integer, $3::integer,
       array_agg(s.k_1),
       array_agg(CAST(ROW(s.o_3) AS migrate.w_{run}_4_3)),
       array_agg(s.o_4),
       array_agg(CAST(ROW(s.n_3) AS migrate.w_{run}_4_3)),
       array_agg(s.n_4)
FROM  (SELECT "users"."id" AS k_1,
              CAST("users"."labels" AS text[]) AS o_3,
              "users"."name" AS o_4,
              CAST('{lost}' AS text[]) AS n_3,
              CAST('nobody' AS bpchar) AS n_4
       FROM   "shop"."users" AS "users"
       WHERE  EXISTS (SELECT FROM "batch" WHERE ("users".id = "batch".user_id))
       ORDER  BY "users"."id"
       OFFSET 0
               FOR    NO KEY UPDATE OF "users") AS s
                                                    WHERE  record_image_ne(ROW(s.o_3, CAST(s.o_4 AS text)),
                                                                           ROW(s.n_3, CAST(s.n_4 AS text)));

-- change: writes what the capture has computed, and shows that it has met the same rows
-- $1 slice, $2 ordinal, $3 part
WITH changed AS (
  UPDATE "shop"."users" AS "users"
  SET    "labels" = d.n_3,
         "name" = d.n_4
  FROM   migrate.undo_{run}_4 AS b,
         unnest(b.k_1, b.n_3, b.n_4) AS d(k_1, n_3, n_4)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "users"."id" = d.k_1
  RETURNING "users"."id" AS k_1,
            CAST(ROW(CAST("users"."labels" AS text[])) AS migrate.w_{run}_4_3) AS n_3,
            "users"."name" AS n_4
)
UPDATE migrate.undo_{run}_4 AS u
SET    n_3 = image.n_3,
       n_4 = image.n_4,
       exact = (u.k_1 IS NOT DISTINCT FROM image.k_1)
FROM  (SELECT array_agg(s.k_1) AS k_1,
              array_agg(s.n_3) AS n_3,
              array_agg(s.n_4) AS n_4
       FROM  (SELECT * FROM changed ORDER BY k_1) AS s) AS image
WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer);

-- change: the whole rows are kept; what is computed of them is computed again when they come back
-- $1 slice, $2 ordinal, $3 part
WITH batch AS (
       SELECT d.k_1 AS "id", d.c_2 AS "user_id", d.c_3 AS "points", d.c_5 AS "expires_at"
       FROM   migrate.image_{run} AS b,
              unnest(b.k_1, b.c_2, b.c_3, b.c_5) AS d(k_1, c_2, c_3, c_5)
       WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
     ), gone AS (
  DELETE FROM "shop"."lines" AS "lines"
  USING  "batch"
  WHERE  ("lines".grant_id = "batch".id AND "lines".place > 1)
  RETURNING "lines"."grant_id" AS k_1,
            "lines"."place" AS k_2
)
INSERT INTO migrate.undo_{run}_5 (slice, ordinal, part, k_1, k_2, exact)
SELECT $1::integer, $2::integer, $3::integer,
       array_agg(s.k_1),
       array_agg(s.k_2),
       true
FROM  (SELECT * FROM gone ORDER BY k_1, k_2) AS s;

-- change: there when the batch commits, or not at all; kept, since a revert repeats them
-- $1 slice, $2 ordinal, $3 part
WITH batch AS (
       SELECT d.k_1 AS "id", d.c_2 AS "user_id", d.c_3 AS "points", d.c_5 AS "expires_at"
       FROM   migrate.image_{run} AS b,
              unnest(b.k_1, b.c_2, b.c_3, b.c_5) AS d(k_1, c_2, c_3, c_5)
       WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
     ), "seen" AS (
       SELECT *
       FROM  (SELECT count(*) AS n FROM batch) AS "seen"
       WHERE  EXISTS (SELECT FROM batch)
     ), added AS (
  INSERT INTO "shop"."outbox" AS "a" ("kind", "rows")
  SELECT 'expired',
         "seen".n
  FROM   "seen"
  RETURNING "a"."rows" AS n_2
)
INSERT INTO migrate.undo_{run}_6 (slice, ordinal, part, events, n_2)
SELECT $1::integer, $2::integer, $3::integer,
       count(*),
       array_agg(s.n_2)
FROM   added AS s;

-- change: sent when the batch commits, or not at all
-- $1 slice, $2 ordinal, $3 part
WITH batch AS (
       SELECT d.k_1 AS "id", d.c_2 AS "user_id", d.c_3 AS "points", d.c_5 AS "expires_at"
       FROM   migrate.image_{run} AS b,
              unnest(b.k_1, b.c_2, b.c_3, b.c_5) AS d(k_1, c_2, c_3, c_5)
       WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
     )
SELECT pg_notify('points', "batch".user_id::text) FROM "batch";

-- check: nobody is late: must return no row
-- $1 slice, $2 ordinal, $3 part
WITH batch AS (
       SELECT d.k_1 AS "id", d.c_2 AS "user_id", d.c_3 AS "points", d.c_5 AS "expires_at"
       FROM   migrate.image_{run} AS b,
              unnest(b.k_1, b.c_2, b.c_3, b.c_5) AS d(k_1, c_2, c_3, c_5)
       WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
     )
SELECT to_jsonb(found)
FROM  (SELECT FROM batch WHERE expires_at > '2027-01-01Z') AS found
LIMIT  5;

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
                  coalesce((SELECT cardinality(u.k_1) FROM migrate.undo_{run}_2 AS u WHERE (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)), 0),
                  coalesce((SELECT cardinality(u.k_1) FROM migrate.undo_{run}_3 AS u WHERE (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)), 0),
                  coalesce((SELECT cardinality(u.k_1) FROM migrate.undo_{run}_4 AS u WHERE (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)), 0),
                  coalesce((SELECT cardinality(u.k_1) FROM migrate.undo_{run}_5 AS u WHERE (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)), 0),
                  NULL,
                  NULL] AS bigint[]), f.epoch,
       coalesce(u.exact, true)
       AND coalesce((SELECT u.exact FROM migrate.undo_{run}_1 AS u WHERE (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)), true)
       AND coalesce((SELECT u.exact FROM migrate.undo_{run}_2 AS u WHERE (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)), true)
       AND coalesce((SELECT u.exact FROM migrate.undo_{run}_3 AS u WHERE (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)), true)
       AND coalesce((SELECT u.exact FROM migrate.undo_{run}_4 AS u WHERE (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)), true)
       AND coalesce((SELECT u.exact FROM migrate.undo_{run}_5 AS u WHERE (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)), true)
FROM   migrate.image_{run} AS u
CROSS  JOIN (SELECT epoch FROM migrate.fence WHERE run = $1::bigint AND epoch = $3::integer FOR SHARE) AS f
WHERE  (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)
RETURNING exact, rows_read, rows_changed, rows_rejected, xid, rows_changed AS rows_captured;

-- middle: of a part that failed: how many rows it has, and the key that halves it
-- $1 after.none, $2 after.1, $3 through.1, $4 :until
SELECT count(*) AS rows,
       (array_agg(CAST("grants"."id" AS text) ORDER BY "grants"."id"))[(count(*) + 1) / 2] AS middle_1
FROM   "shop"."grants" AS "grants"
WHERE  ($1::boolean OR "grants"."id" > $2::bigint)
  AND  "grants"."id" <= $3::bigint
  AND  (expires_at < $4::timestamp with time zone AND state = 'active');

-- keys: of a batch with many rows that fail: each is tried by itself, and undone
-- $1 after.none, $2 after.1, $3 through.1, $4 :until
SELECT CAST("grants"."id" AS text) AS key_1
FROM   "shop"."grants" AS "grants"
WHERE  ($1::boolean OR "grants"."id" > $2::bigint)
  AND  "grants"."id" <= $3::bigint
  AND  (expires_at < $4::timestamp with time zone AND state = 'active')
ORDER  BY "grants"."id";

-- reject: the only row of a part that failed goes to quarantine, and counts as read
-- $1 run, $2 refusal.sqlstate, $3 refusal.message, $4 refusal.detail, $5 refusal.column, $6 refusal.constraint, $7 after.none, $8 after.1, $9 through.1, $10 :until, $11 slice, $12 ordinal, $13 part
WITH rejected AS (
  INSERT INTO migrate.rejects (run, step, key, row, sqlstate, message, detail, column_name, constraint_name)
  SELECT $1::bigint,
         1,
         ARRAY[CAST("grants"."id" AS text)],
         migrate.row_image("grants".*),
         $2::text,
         $3::text,
         $4::text,
         $5::text,
         $6::text
  FROM   "shop"."grants" AS "grants"
  WHERE  ($7::boolean OR "grants"."id" > $8::bigint)
    AND  "grants"."id" <= $9::bigint
    AND  (expires_at < $10::timestamp with time zone AND state = 'active')
  ON CONFLICT (run, step, key) DO UPDATE
  SET    row = excluded.row, new_values = excluded.new_values, reasons = excluded.reasons,
         sqlstate = excluded.sqlstate, message = excluded.message, detail = excluded.detail,
         column_name = excluded.column_name, constraint_name = excluded.constraint_name,
         rejected_at = excluded.rejected_at
  RETURNING key
)
INSERT INTO migrate.image_{run} (slice, ordinal, part, rows_read, rows_rejected, exact)
SELECT $11::integer, $12::integer, $13::integer, count(*), count(*), true
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
-- $1 upper.1, $2 others, $3 horizon, $4 transactions, $5 :until, $6 run
SELECT count(*)
FROM   "shop"."grants" AS "grants"
WHERE  "grants"."id" <= $1::bigint
  AND  $2::boolean
  AND  ($3::bigint IS NULL
        OR ((CAST(CAST("grants".xmin AS text) AS bigint) - $3::bigint) & 4294967295) < 2147483648)
  AND  NOT EXISTS (SELECT FROM unnest($4::xid[]) AS own(xid) WHERE own.xid = "grants".xmin)
  AND  (expires_at < $5::timestamp with time zone AND state = 'active')
  AND  NOT EXISTS (SELECT FROM migrate.rejects AS r
                   WHERE r.run = $6::bigint AND r.step = 1 AND r.key = ARRAY[CAST("grants"."id" AS text)])
  AND  NOT EXISTS (SELECT
                   FROM  (SELECT unnest(u.k_1) FROM migrate.image_{run} AS u) AS d(k_1)
                   WHERE  d.k_1 = "grants"."id");

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
        CROSS  JOIN unnest(b.k_1, b.n_4) AS d(k_1, n_4)
        LEFT   JOIN "shop"."grants" AS "grants" ON "grants"."id" = d.k_1
        WHERE  NOT r.reverted
          AND  ("grants"."id" IS NULL
                 OR record_image_ne(ROW("grants"."state"), ROW(d.n_4))))
        + (SELECT count(*)
           FROM   migrate.image_{run} AS r
           JOIN   migrate.undo_{run}_2 AS b USING (slice, ordinal, part)
           CROSS  JOIN unnest(b.k_1, b.h_2) AS d(k_1, h_2)
           LEFT   JOIN "shop"."ledger" AS "ledger" ON "ledger"."id" = d.k_1
           WHERE  NOT r.reverted
             AND  ("ledger"."id" IS NULL
                    OR (coalesce(hashint8extended(CAST("ledger"."user_id" AS bigint), (CAST("ledger"."user_id" AS bigint) >> 32) * 65536 + 2), 3980143261097177850)
                        # coalesce(hashint4extended(CAST("ledger"."delta" AS integer), 3), 243808509735772839)
                        # coalesce(hashtextextended(CAST(ROW(CAST("ledger"."labels" AS text[])) AS text) COLLATE "C", 5), 980875101213047373)) <> d.h_2
                    OR EXISTS (SELECT FROM "shop"."remarks" AS "migrate referring" WHERE "migrate referring"."ledger_id" = "ledger"."id")))
        + (SELECT count(*)
           FROM   migrate.image_{run} AS r
           JOIN   migrate.undo_{run}_5 AS b USING (slice, ordinal, part)
           CROSS  JOIN unnest(b.k_1, b.k_2) AS d(k_1, k_2)
           LEFT   JOIN "shop"."lines" AS "lines" ON "lines"."grant_id" = d.k_1 AND "lines"."place" = d.k_2
           WHERE  NOT r.reverted
             AND  (EXISTS (SELECT FROM "shop"."lines" AS "migrate other" WHERE "migrate other"."grant_id" = d.k_1 AND "migrate other"."place" = d.k_2))) AS conflicts;

-- mark: a second revert of the same batch waits here and then finds nothing to do
-- $1 slice, $2 ordinal, $3 part
UPDATE migrate.image_{run} AS u
SET    reverted = true
WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer)
  AND  NOT u.reverted;

-- restore: the events of the batch once more, as what takes them back
-- $1 slice, $2 ordinal, $3 part
INSERT INTO "shop"."outbox" ("rows", "kind")
SELECT d.n_2, CAST('restored' AS text)
FROM   migrate.undo_{run}_6 AS b,
       unnest(b.n_2) AS d(n_2)
WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer);

-- restore forced: the events of the batch once more, as what takes them back
-- $1 slice, $2 ordinal, $3 part
INSERT INTO "shop"."outbox" ("rows", "kind")
SELECT d.n_2, CAST('restored' AS text)
FROM   migrate.undo_{run}_6 AS b,
       unnest(b.n_2) AS d(n_2)
WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer);

-- restore: identities keep their values; a row under the key of one of these is left alone
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  INSERT INTO "shop"."lines" AS "lines" ("grant_id", "place") OVERRIDING SYSTEM VALUE
  SELECT d.k_1, d.k_2
  FROM   migrate.undo_{run}_5 AS b,
         unnest(b.k_1, b.k_2) AS d(k_1, k_2)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
  ON CONFLICT DO NOTHING
  RETURNING "lines"."grant_id" AS k_1, "lines"."place" AS k_2
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason)
SELECT $4::bigint, 5, $5::bigint, ARRAY[CAST(d.k_1 AS text), CAST(d.k_2 AS text)], 'gone'
FROM  (SELECT d.k_1, d.k_2
       FROM   migrate.undo_{run}_5 AS b,
              unnest(b.k_1, b.k_2) AS d(k_1, k_2)
       WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
         AND  cardinality(b.k_1) > (SELECT count(*) FROM back)
       EXCEPT
       SELECT k_1, k_2 FROM back) AS d;

-- seize: under force what stands under a key is kept first, and locked meanwhile
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH d AS MATERIALIZED (
  SELECT d.k_1,
         d.k_2,
         jsonb_object(ARRAY['grant_id', 'place'],
                      ARRAY[CAST("lines"."grant_id" AS text), CAST("lines"."place" AS text)]) AS found
  FROM   migrate.undo_{run}_5 AS b,
         unnest(b.k_1, b.k_2) AS d(k_1, k_2),
         "shop"."lines" AS "lines"
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "lines"."grant_id" = d.k_1
    AND  "lines"."place" = d.k_2
  FOR    UPDATE OF "lines"
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
SELECT $4::bigint, 5, $5::bigint, ARRAY[CAST(d.k_1 AS text), CAST(d.k_2 AS text)], 'overwritten', d.found
FROM   d;

-- restore forced: under force rows come back over whatever has been kept
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  INSERT INTO "shop"."lines" AS "lines" ("grant_id", "place") OVERRIDING SYSTEM VALUE
  SELECT d.k_1, d.k_2
  FROM   migrate.undo_{run}_5 AS b,
         unnest(b.k_1, b.k_2) AS d(k_1, k_2)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
  ON CONFLICT DO NOTHING
  RETURNING "lines"."grant_id" AS k_1, "lines"."place" AS k_2
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason)
SELECT $4::bigint, 5, $5::bigint, ARRAY[CAST(d.k_1 AS text), CAST(d.k_2 AS text)], 'gone'
FROM  (SELECT d.k_1, d.k_2
       FROM   migrate.undo_{run}_5 AS b,
              unnest(b.k_1, b.k_2) AS d(k_1, k_2)
       WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
         AND  cardinality(b.k_1) > (SELECT count(*) FROM back)
       EXCEPT
       SELECT k_1, k_2 FROM back) AS d
ON CONFLICT (run, step, seq, key) DO UPDATE SET reason = 'edited';

-- look: what is there instead of the values that the run had left
-- $1 run, $2 seq
UPDATE migrate.conflicts AS c
SET    reason = 'edited',
       found = jsonb_object(ARRAY['grant_id', 'place'],
                            ARRAY[CAST("lines"."grant_id" AS text), CAST("lines"."place" AS text)])
FROM   "shop"."lines" AS "lines"
WHERE  (c.run, c.step, c.seq) = ($1::bigint, 5, $2::bigint)
  AND  c.reason = 'gone'
  AND  "lines"."grant_id" = CAST(c.key[1] AS bigint) AND "lines"."place" = CAST(c.key[2] AS integer);

-- restore: one statement compares and writes, so no edit is lost between the two
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  UPDATE "shop"."users" AS "users"
  SET    "labels" = d.o_3,
         "name" = d.o_4
  FROM   migrate.undo_{run}_4 AS b,
         unnest(b.k_1, b.o_3, b.n_3, b.o_4, b.n_4) AS d(k_1, o_3, n_3, o_4, n_4)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "users"."id" = d.k_1
    AND  record_image_eq(ROW(CAST("users"."labels" AS text[]), "users"."name"),
                         ROW(d.n_3, d.n_4))
  RETURNING "users"."id" AS k_1
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason)
SELECT $4::bigint, 4, $5::bigint, ARRAY[CAST(d.k_1 AS text)], 'gone'
FROM  (SELECT d.k_1
       FROM   migrate.undo_{run}_4 AS b,
              unnest(b.k_1) AS d(k_1)
       WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
         AND  cardinality(b.k_1) > (SELECT count(*) FROM back)
       EXCEPT
       SELECT k_1 FROM back) AS d;

-- seize: under force what is overwritten is kept first, and the rows locked meanwhile
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH d AS MATERIALIZED (
  SELECT d.k_1,
         record_image_ne(ROW(CAST("users"."labels" AS text[]), "users"."name"),
                         ROW(d.n_3, d.n_4)) AS differs,
         jsonb_object(ARRAY['labels', 'name'],
                      ARRAY[CAST(CAST("users"."labels" AS text[]) AS text), CAST("users"."name" AS text)]) AS found
  FROM   migrate.undo_{run}_4 AS b,
         unnest(b.k_1, b.n_3, b.n_4) AS d(k_1, n_3, n_4),
         "shop"."users" AS "users"
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "users"."id" = d.k_1
  FOR    NO KEY UPDATE OF "users"
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
SELECT $4::bigint, 4, $5::bigint, ARRAY[CAST(d.k_1 AS text)], 'overwritten', d.found
FROM   d
WHERE  d.differs;

-- restore forced: under force the old values come back over whatever has been kept
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  UPDATE "shop"."users" AS "users"
  SET    "labels" = d.o_3,
         "name" = d.o_4
  FROM   migrate.undo_{run}_4 AS b,
         unnest(b.k_1, b.o_3, b.n_3, b.o_4, b.n_4) AS d(k_1, o_3, n_3, o_4, n_4)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "users"."id" = d.k_1
    AND  (record_image_eq(ROW(CAST("users"."labels" AS text[]), "users"."name"),
                          ROW(d.n_3, d.n_4))
          OR EXISTS (SELECT
                     FROM   migrate.conflicts AS c
                     WHERE  (c.run, c.step, c.seq) = ($4::bigint, 4, $5::bigint)
                       AND  c.key = ARRAY[CAST(d.k_1 AS text)]))
  RETURNING "users"."id" AS k_1
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason)
SELECT $4::bigint, 4, $5::bigint, ARRAY[CAST(d.k_1 AS text)], 'gone'
FROM  (SELECT d.k_1
       FROM   migrate.undo_{run}_4 AS b,
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
       found = jsonb_object(ARRAY['labels', 'name'],
                            ARRAY[CAST(CAST("users"."labels" AS text[]) AS text), CAST("users"."name" AS text)])
FROM   "shop"."users" AS "users"
WHERE  (c.run, c.step, c.seq) = ($1::bigint, 4, $2::bigint)
  AND  c.reason = 'gone'
  AND  "users"."id" = CAST(c.key[1] AS bigint);

-- restore: one statement compares and writes, so no edit is lost between the two
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  UPDATE "shop"."users" AS "users"
  SET    "points" = d.o_2
  FROM   migrate.undo_{run}_3 AS b,
         unnest(b.k_1, b.o_2, b.n_2) AS d(k_1, o_2, n_2)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "users"."id" = d.k_1
    AND  record_image_eq(ROW("users"."points"), ROW(d.n_2))
  RETURNING "users"."id" AS k_1
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason)
SELECT $4::bigint, 3, $5::bigint, ARRAY[CAST(d.k_1 AS text)], 'gone'
FROM  (SELECT d.k_1
       FROM   migrate.undo_{run}_3 AS b,
              unnest(b.k_1) AS d(k_1)
       WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
         AND  cardinality(b.k_1) > (SELECT count(*) FROM back)
       EXCEPT
       SELECT k_1 FROM back) AS d;

-- seize: under force what is overwritten is kept first, and the rows locked meanwhile
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH d AS MATERIALIZED (
  SELECT d.k_1,
         record_image_ne(ROW("users"."points"), ROW(d.n_2)) AS differs,
         jsonb_object(ARRAY['points'],
                      ARRAY[CAST("users"."points" AS text)]) AS found
  FROM   migrate.undo_{run}_3 AS b,
         unnest(b.k_1, b.n_2) AS d(k_1, n_2),
         "shop"."users" AS "users"
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "users"."id" = d.k_1
  FOR    NO KEY UPDATE OF "users"
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
SELECT $4::bigint, 3, $5::bigint, ARRAY[CAST(d.k_1 AS text)], 'overwritten', d.found
FROM   d
WHERE  d.differs;

-- restore forced: under force the old values come back over whatever has been kept
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  UPDATE "shop"."users" AS "users"
  SET    "points" = d.o_2
  FROM   migrate.undo_{run}_3 AS b,
         unnest(b.k_1, b.o_2, b.n_2) AS d(k_1, o_2, n_2)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "users"."id" = d.k_1
    AND  (record_image_eq(ROW("users"."points"), ROW(d.n_2))
          OR EXISTS (SELECT
                     FROM   migrate.conflicts AS c
                     WHERE  (c.run, c.step, c.seq) = ($4::bigint, 3, $5::bigint)
                       AND  c.key = ARRAY[CAST(d.k_1 AS text)]))
  RETURNING "users"."id" AS k_1
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason)
SELECT $4::bigint, 3, $5::bigint, ARRAY[CAST(d.k_1 AS text)], 'gone'
FROM  (SELECT d.k_1
       FROM   migrate.undo_{run}_3 AS b,
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
       found = jsonb_object(ARRAY['points'],
                            ARRAY[CAST("users"."points" AS text)])
FROM   "shop"."users" AS "users"
WHERE  (c.run, c.step, c.seq) = ($1::bigint, 3, $2::bigint)
  AND  c.reason = 'gone'
  AND  "users"."id" = CAST(c.key[1] AS bigint);

-- hold: whoever is about to refer to these rows is waited for, or has to wait
-- $1 slice, $2 ordinal, $3 part
SELECT count(*)
FROM  (SELECT
       FROM   migrate.undo_{run}_2 AS b,
              unnest(b.k_1) AS d(k_1),
              "shop"."ledger" AS "ledger"
       WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
         AND  "ledger"."id" = d.k_1
       FOR    UPDATE OF "ledger") AS locked;

-- seize: under force what is deleted is kept first where it is not what the run has inserted
-- $1 run, $2 seq, $3 slice, $4 ordinal, $5 part
INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
SELECT $1::bigint, 2, $2::bigint, ARRAY[CAST(d.k_1 AS text)], 'overwritten', jsonb_object(ARRAY['id', 'user_id', 'delta', 'labels'],
                                                                                          ARRAY[CAST("ledger"."id" AS text), CAST("ledger"."user_id" AS text), CAST("ledger"."delta" AS text), CAST(CAST("ledger"."labels" AS text[]) AS text)])
FROM   migrate.undo_{run}_2 AS b,
       unnest(b.k_1, b.h_2) AS d(k_1, h_2),
       "shop"."ledger" AS "ledger"
WHERE  (b.slice, b.ordinal, b.part) = ($3::integer, $4::integer, $5::integer)
  AND  "ledger"."id" = d.k_1
  AND  (coalesce(hashint8extended(CAST("ledger"."user_id" AS bigint), (CAST("ledger"."user_id" AS bigint) >> 32) * 65536 + 2), 3980143261097177850)
        # coalesce(hashint4extended(CAST("ledger"."delta" AS integer), 3), 243808509735772839)
        # coalesce(hashtextextended(CAST(ROW(CAST("ledger"."labels" AS text[])) AS text) COLLATE "C", 5), 980875101213047373)) <> d.h_2;

-- restore: one statement compares and deletes, so no edit is lost between the two
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  DELETE FROM "shop"."ledger" AS "ledger"
  USING  migrate.undo_{run}_2 AS b,
         unnest(b.k_1, b.h_2) AS d(k_1, h_2)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "ledger"."id" = d.k_1
    AND  (coalesce(hashint8extended(CAST("ledger"."user_id" AS bigint), (CAST("ledger"."user_id" AS bigint) >> 32) * 65536 + 2), 3980143261097177850)
          # coalesce(hashint4extended(CAST("ledger"."delta" AS integer), 3), 243808509735772839)
          # coalesce(hashtextextended(CAST(ROW(CAST("ledger"."labels" AS text[])) AS text) COLLATE "C", 5), 980875101213047373)) = d.h_2
    AND  NOT EXISTS (SELECT FROM "shop"."remarks" AS "migrate referring" WHERE "migrate referring"."ledger_id" = "ledger"."id")
  RETURNING "ledger"."id" AS k_1
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

-- restore forced: under force rows go whatever they hold by now, unless another one refers to them
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  DELETE FROM "shop"."ledger" AS "ledger"
  USING  migrate.undo_{run}_2 AS b,
         unnest(b.k_1, b.h_2) AS d(k_1, h_2)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "ledger"."id" = d.k_1
    AND  NOT EXISTS (SELECT FROM "shop"."remarks" AS "migrate referring" WHERE "migrate referring"."ledger_id" = "ledger"."id")
  RETURNING "ledger"."id" AS k_1
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
       found = jsonb_object(ARRAY['id', 'user_id', 'delta', 'labels'],
                            ARRAY[CAST("ledger"."id" AS text), CAST("ledger"."user_id" AS text), CAST("ledger"."delta" AS text), CAST(CAST("ledger"."labels" AS text[]) AS text)])
FROM   "shop"."ledger" AS "ledger"
WHERE  (c.run, c.step, c.seq) = ($1::bigint, 2, $2::bigint)
  AND  c.reason = 'gone'
  AND  "ledger"."id" = CAST(c.key[1] AS bigint);

-- restore: one statement compares and writes, so no edit is lost between the two
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  UPDATE "shop"."grants" AS "grants"
  SET    "state" = d.o_4
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.o_4, b.n_4) AS d(k_1, o_4, n_4)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "grants"."id" = d.k_1
    AND  record_image_eq(ROW("grants"."state"), ROW(d.n_4))
  RETURNING "grants"."id" AS k_1
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
         record_image_ne(ROW("grants"."state"), ROW(d.n_4)) AS differs,
         jsonb_object(ARRAY['state'],
                      ARRAY[CAST("grants"."state" AS text)]) AS found
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.n_4) AS d(k_1, n_4),
         "shop"."grants" AS "grants"
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "grants"."id" = d.k_1
  FOR    NO KEY UPDATE OF "grants"
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
SELECT $4::bigint, 1, $5::bigint, ARRAY[CAST(d.k_1 AS text)], 'overwritten', d.found
FROM   d
WHERE  d.differs;

-- restore forced: under force the old values come back over whatever has been kept
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  UPDATE "shop"."grants" AS "grants"
  SET    "state" = d.o_4
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.o_4, b.n_4) AS d(k_1, o_4, n_4)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "grants"."id" = d.k_1
    AND  (record_image_eq(ROW("grants"."state"), ROW(d.n_4))
          OR EXISTS (SELECT
                     FROM   migrate.conflicts AS c
                     WHERE  (c.run, c.step, c.seq) = ($4::bigint, 1, $5::bigint)
                       AND  c.key = ARRAY[CAST(d.k_1 AS text)]))
  RETURNING "grants"."id" AS k_1
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
       found = jsonb_object(ARRAY['state'],
                            ARRAY[CAST("grants"."state" AS text)])
FROM   "shop"."grants" AS "grants"
WHERE  (c.run, c.step, c.seq) = ($1::bigint, 1, $2::bigint)
  AND  c.reason = 'gone'
  AND  "grants"."id" = CAST(c.key[1] AS bigint);

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
DROP TABLE migrate.image_{run}, migrate.undo_{run}_1, migrate.undo_{run}_2, migrate.undo_{run}_3, migrate.undo_{run}_4, migrate.undo_{run}_5, migrate.undo_{run}_6;
DROP TYPE migrate.w_{run}_4_3;
