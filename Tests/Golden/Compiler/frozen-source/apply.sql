-- ===== prepare: once, in the transaction that begins the run

-- source table: the rows that batches walk from key to key: one that is NULL would be passed over, of two alike one
CREATE TABLE migrate.source_{run} ("loser" bigint,
                                   "keeper" bigint,
                                   "email" text COLLATE "pg_catalog"."C",
                                   PRIMARY KEY ("loser"));

-- image table: which rows a batch has; what the steps read of them stays as it is in the source
CREATE TABLE migrate.image_{run} (slice integer,
                                  ordinal integer,
                                  part integer,
                                  rows_read bigint NOT NULL,
                                  k_1 bigint[] COMPRESSION lz4,
                                  exact boolean,
                                  reverted boolean NOT NULL DEFAULT false,
                                  PRIMARY KEY (slice, ordinal, part));

-- undo table: a row a batch, an array a column; never the table's own row type, which would forbid DDL
CREATE TABLE migrate.undo_{run}_1 (slice integer,
                                   ordinal integer,
                                   part integer,
                                   k_1 bigint[] COMPRESSION lz4,
                                   o_2 bigint[] COMPRESSION lz4,
                                   n_2 bigint[] COMPRESSION lz4,
                                   exact boolean,
                                   PRIMARY KEY (slice, ordinal, part));

-- undo table: a row a batch, an array a column; never the table's own row type, which would forbid DDL
CREATE TABLE migrate.undo_{run}_2 (slice integer,
                                   ordinal integer,
                                   part integer,
                                   k_1 bigint[] COMPRESSION lz4,
                                   k_2 text[] COMPRESSION lz4,
                                   exact boolean,
                                   PRIMARY KEY (slice, ordinal, part));

-- undo table: a row a batch, an array a column; never the table's own row type, which would forbid DDL
CREATE TABLE migrate.undo_{run}_3 (slice integer,
                                   ordinal integer,
                                   part integer,
                                   k_1 bigint[] COMPRESSION lz4,
                                   k_2 text[] COMPRESSION lz4,
                                   exact boolean,
                                   PRIMARY KEY (slice, ordinal, part));

-- undo table: a row a batch, an array a column; never the table's own row type, which would forbid DDL
CREATE TABLE migrate.undo_{run}_4 (slice integer,
                                   ordinal integer,
                                   part integer,
                                   k_1 bigint[] COMPRESSION lz4,
                                   o_2 text[] COMPRESSION lz4,
                                   o_3 date[] COMPRESSION lz4,
                                   exact boolean,
                                   PRIMARY KEY (slice, ordinal, part));

-- ===== bounds: once, before the first batch

-- lockers: nobody but the run writes rows that were read once
SELECT l.virtualtransaction FROM pg_locks AS l WHERE false;

-- freeze: the key comes back when the rows are there
ALTER TABLE migrate.source_{run} DROP CONSTRAINT source_{run}_pkey,
                                 ALTER "loser" DROP NOT NULL;

-- freeze: once, in one snapshot: what the steps change, or somebody else, is not found again
-- $1 :since
INSERT INTO migrate.source_{run} ("loser", "keeper", "email")
SELECT *
FROM  (SELECT c.loser, c.keeper, c.email
FROM  (SELECT id AS loser, email, first_value(id) OVER (PARTITION BY lower(email) ORDER BY created_at, id) AS keeper
       FROM   shop.customers
       WHERE  created_at >= $1::date) AS c
WHERE  c.loser <> c.keeper
) AS frozen
ORDER  BY frozen."loser";

-- freeze: batches go from key to key, so each row has another one
DO $key$
DECLARE
  detail text;
BEGIN
  ALTER TABLE migrate.source_{run} ADD CONSTRAINT source_{run}_pkey PRIMARY KEY ("loser");
EXCEPTION
  WHEN unique_violation THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
    RAISE EXCEPTION 'the source has several rows of one key: %', detail
    USING ERRCODE = 'MG002', HINT = 'group the query by the key (loser), or name columns that together are another in each row';
  WHEN not_null_violation THEN
    RAISE EXCEPTION USING ERRCODE = 'MG002', MESSAGE = 'the source has a row whose key (loser) is NULL, and batches would pass it over',
                          HINT = 'leave such rows out of the query, or give them a key';
END $key$;

-- freeze: a new table has no statistics (K27)
ANALYZE migrate.source_{run};

-- upper: the last key, fixed once: a writer that goes on beyond it does not keep the run from ending
SELECT CAST("batch_row"."loser" AS text) AS upper_1
FROM   migrate.source_{run} AS "batch_row"
ORDER  BY "batch_row"."loser" DESC
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
LOCK TABLE migrate.source_{run} IN ROW EXCLUSIVE MODE;

-- bound: the key of the batch's last row; no row: the batch goes to the upper end
-- $1 after.none, $2 after.1, $3 upper.1, $4 size
SELECT CAST("batch_row"."loser" AS text) AS through_1
FROM   migrate.source_{run} AS "batch_row"
WHERE  ($1::boolean OR "batch_row"."loser" > $2::bigint)
  AND  "batch_row"."loser" <= $3::bigint
  AND  (email <> 'a7')
ORDER  BY "batch_row"."loser"
OFFSET $4::bigint - 1
LIMIT  1;

-- capture: which rows the batch has, and what the steps read of them, whatever these change
-- $1 slice, $2 ordinal, $3 part, $4 after.none, $5 after.1, $6 upper.1, $7 size
INSERT INTO migrate.image_{run} (slice, ordinal, part, rows_read, k_1)
SELECT $1::integer, $2::integer, $3::integer,
       count(*),
       array_agg(s.k_1)
FROM   (SELECT "batch_row"."loser" AS k_1
        FROM   migrate.source_{run} AS "batch_row"
        WHERE  ($4::boolean OR "batch_row"."loser" > $5::bigint)
          AND  "batch_row"."loser" <= $6::bigint
          AND  (email <> 'a7')
        ORDER  BY "batch_row"."loser"
        LIMIT  $7::bigint) AS s
RETURNING false AS as_captured, CASE WHEN rows_read = $7::bigint THEN CAST(k_1[cardinality(k_1)] AS text) END AS through_1;

-- capture locked: from the second attempt on the rows are locked before anything is computed
-- $1 slice, $2 ordinal, $3 part, $4 after.none, $5 after.1, $6 through.1
INSERT INTO migrate.image_{run} (slice, ordinal, part, rows_read, k_1)
SELECT $1::integer, $2::integer, $3::integer,
       count(*),
       array_agg(s.k_1)
FROM   (SELECT "batch_row"."loser" AS k_1
        FROM   migrate.source_{run} AS "batch_row"
        WHERE  ($4::boolean OR "batch_row"."loser" > $5::bigint)
          AND  "batch_row"."loser" <= $6::bigint
          AND  (email <> 'a7')
        ORDER  BY "batch_row"."loser"
        FOR    NO KEY UPDATE OF "batch_row") AS s;

-- capture: the old values and the new ones, computed once
-- $1 after.none, $2 after.1, $3 through.1, $4 slice, $5 ordinal, $6 part
WITH batch AS (
       SELECT "batch_row"."loser", "batch_row"."keeper"
       FROM   migrate.source_{run} AS "batch_row"
       WHERE  ($1::boolean OR "batch_row"."loser" > $2::bigint)
         AND  "batch_row"."loser" <= $3::bigint
         AND  "batch_row"."loser" IN (SELECT d.k_1
                                      FROM   migrate.image_{run} AS b,
                                             unnest(b.k_1) AS d(k_1)
                                      WHERE  (b.slice, b.ordinal, b.part) = ($4::integer, $5::integer, $6::integer))
     )
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, k_1, o_2, n_2)
SELECT $4::integer, $5::integer, $6::integer,
       array_agg(s.k_1),
       array_agg(s.o_2),
       array_agg(s.n_2)
FROM  (SELECT "orders"."id" AS k_1,
              "orders"."customer_id" AS o_2,
              CAST("batch".keeper AS bigint) AS n_2
       FROM   "shop"."orders" AS "orders",
              "batch"
       WHERE  ("orders".customer_id = "batch".loser)
       ORDER  BY "orders"."id"
       OFFSET 0) AS s
                     WHERE  s.o_2 IS DISTINCT FROM s.n_2;

-- capture locked: the rows are locked in the order of their key, so that two batches wait for one another and never both
-- $1 after.none, $2 after.1, $3 through.1, $4 slice, $5 ordinal, $6 part
WITH batch AS (
       SELECT "batch_row"."loser", "batch_row"."keeper"
       FROM   migrate.source_{run} AS "batch_row"
       WHERE  ($1::boolean OR "batch_row"."loser" > $2::bigint)
         AND  "batch_row"."loser" <= $3::bigint
         AND  "batch_row"."loser" IN (SELECT d.k_1
                                      FROM   migrate.image_{run} AS b,
                                             unnest(b.k_1) AS d(k_1)
                                      WHERE  (b.slice, b.ordinal, b.part) = ($4::integer, $5::integer, $6::integer))
     )
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, k_1, o_2, n_2)
SELECT $4::integer, $5::integer, $6::integer,
       array_agg(s.k_1),
       array_agg(s.o_2),
       array_agg(s.n_2)
FROM  (SELECT "orders"."id" AS k_1,
              "orders"."customer_id" AS o_2,
              CAST("batch".keeper AS bigint) AS n_2
       FROM   "shop"."orders" AS "orders",
              "batch"
       WHERE  ("orders".customer_id = "batch".loser)
       ORDER  BY "orders"."id"
       OFFSET 0
               FOR    NO KEY UPDATE OF "orders") AS s
                                                     WHERE  s.o_2 IS DISTINCT FROM s.n_2;

-- change: writes what the capture has computed, and shows that it has met the same rows
-- $1 slice, $2 ordinal, $3 part
WITH changed AS (
  UPDATE "shop"."orders" AS "orders"
  SET    "customer_id" = d.n_2
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.n_2) AS d(k_1, n_2)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "orders"."id" = d.k_1
  RETURNING "orders"."id" AS k_1
)
UPDATE migrate.undo_{run}_1 AS u
SET    exact = (SELECT count(*) FROM changed) = coalesce(cardinality(u.k_1), 0)
WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer);

-- change: the keys are kept, as RETURNING shows them, and what tells whether somebody changes the rows
-- $1 after.none, $2 after.1, $3 through.1, $4 slice, $5 ordinal, $6 part
WITH batch AS (
       SELECT "batch_row"."loser", "batch_row"."keeper"
       FROM   migrate.source_{run} AS "batch_row"
       WHERE  ($1::boolean OR "batch_row"."loser" > $2::bigint)
         AND  "batch_row"."loser" <= $3::bigint
         AND  "batch_row"."loser" IN (SELECT d.k_1
                                      FROM   migrate.image_{run} AS b,
                                             unnest(b.k_1) AS d(k_1)
                                      WHERE  (b.slice, b.ordinal, b.part) = ($4::integer, $5::integer, $6::integer))
     ), "added_labels" AS (
       SELECT *
       FROM  (SELECT DISTINCT b.keeper, k.label FROM batch AS b JOIN shop.labels AS k ON k.customer_id = b.loser) AS "added_labels"
       WHERE  EXISTS (SELECT FROM batch)
     ), added AS (
  INSERT INTO "shop"."labels" AS "labels" ("customer_id", "label")
  SELECT "added_labels".keeper,
         "added_labels".label
  FROM   "added_labels"
  ON CONFLICT ("customer_id", "label") DO NOTHING
  RETURNING "labels"."customer_id" AS k_1,
            "labels"."label" AS k_2
)
INSERT INTO migrate.undo_{run}_2 (slice, ordinal, part, k_1, k_2, exact)
SELECT $4::integer, $5::integer, $6::integer,
       array_agg(s.k_1),
       array_agg(s.k_2),
       true
FROM  (SELECT * FROM added ORDER BY k_1, k_2) AS s;

-- change: the whole rows are kept; what is computed of them is computed again when they come back
-- $1 after.none, $2 after.1, $3 through.1, $4 slice, $5 ordinal, $6 part
WITH batch AS (
       SELECT "batch_row"."loser", "batch_row"."keeper"
       FROM   migrate.source_{run} AS "batch_row"
       WHERE  ($1::boolean OR "batch_row"."loser" > $2::bigint)
         AND  "batch_row"."loser" <= $3::bigint
         AND  "batch_row"."loser" IN (SELECT d.k_1
                                      FROM   migrate.image_{run} AS b,
                                             unnest(b.k_1) AS d(k_1)
                                      WHERE  (b.slice, b.ordinal, b.part) = ($4::integer, $5::integer, $6::integer))
     ), gone AS (
  DELETE FROM "shop"."labels" AS "labels"
  USING  "batch"
  WHERE  ("labels".customer_id = "batch".loser)
  RETURNING "labels"."customer_id" AS k_1,
            "labels"."label" AS k_2
)
INSERT INTO migrate.undo_{run}_3 (slice, ordinal, part, k_1, k_2, exact)
SELECT $4::integer, $5::integer, $6::integer,
       array_agg(s.k_1),
       array_agg(s.k_2),
       true
FROM  (SELECT * FROM gone ORDER BY k_1, k_2) AS s;

-- change: the whole rows are kept; what is computed of them is computed again when they come back
-- $1 after.none, $2 after.1, $3 through.1, $4 slice, $5 ordinal, $6 part
WITH batch AS (
       SELECT "batch_row"."loser", "batch_row"."keeper"
       FROM   migrate.source_{run} AS "batch_row"
       WHERE  ($1::boolean OR "batch_row"."loser" > $2::bigint)
         AND  "batch_row"."loser" <= $3::bigint
         AND  "batch_row"."loser" IN (SELECT d.k_1
                                      FROM   migrate.image_{run} AS b,
                                             unnest(b.k_1) AS d(k_1)
                                      WHERE  (b.slice, b.ordinal, b.part) = ($4::integer, $5::integer, $6::integer))
     ), gone AS (
  DELETE FROM "shop"."customers" AS "customers"
  USING  "batch"
  WHERE  ("customers".id = "batch".loser)
  RETURNING "customers"."id" AS k_1,
            "customers"."email" AS o_2,
            "customers"."created_at" AS o_3
)
INSERT INTO migrate.undo_{run}_4 (slice, ordinal, part, k_1, o_2, o_3, exact)
SELECT $4::integer, $5::integer, $6::integer,
       array_agg(s.k_1),
       array_agg(s.o_2),
       array_agg(s.o_3),
       true
FROM  (SELECT * FROM gone ORDER BY k_1) AS s;

-- finish: the ledger's entry; no row: another worker has taken over; not exact: rows came in between
-- $1 run, $2 worker, $3 epoch, $4 after, $5 through, $6 slice, $7 ordinal, $8 part
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
                  coalesce((SELECT cardinality(u.k_1) FROM migrate.undo_{run}_2 AS u WHERE (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)), 0),
                  coalesce((SELECT cardinality(u.k_1) FROM migrate.undo_{run}_3 AS u WHERE (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)), 0),
                  coalesce((SELECT cardinality(u.k_1) FROM migrate.undo_{run}_4 AS u WHERE (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)), 0)] AS bigint[]), f.epoch,
       coalesce(u.exact, true)
       AND coalesce((SELECT u.exact FROM migrate.undo_{run}_1 AS u WHERE (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)), true)
       AND coalesce((SELECT u.exact FROM migrate.undo_{run}_2 AS u WHERE (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)), true)
       AND coalesce((SELECT u.exact FROM migrate.undo_{run}_3 AS u WHERE (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)), true)
       AND coalesce((SELECT u.exact FROM migrate.undo_{run}_4 AS u WHERE (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)), true)
FROM   migrate.image_{run} AS u
CROSS  JOIN (SELECT epoch FROM migrate.fence WHERE run = $1::bigint AND epoch = $3::integer FOR SHARE) AS f
WHERE  (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)
RETURNING exact, rows_read, rows_changed, xid, rows_changed AS rows_captured;

-- ===== holds: between batches, at most once a second; while one finds a row, the run holds

-- hold when: autovacuum: VACUUM, ANALYZE and CREATE INDEX CONCURRENTLY hold this lock while they work
SELECT format('pid %s vacuums, analyzes or indexes %s', l.pid, l.relation::regclass)
FROM   pg_locks AS l
WHERE  l.locktype = 'relation'
  AND  l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND  l.mode = 'ShareUpdateExclusiveLock' AND l.granted
  AND  l.relation IN (SELECT to_regclass('"shop"."orders"')
                      UNION
                      SELECT d.relid FROM pg_partition_tree(to_regclass('"shop"."orders"')) AS d
                      UNION
                      SELECT to_regclass('"shop"."labels"')
                      UNION
                      SELECT d.relid FROM pg_partition_tree(to_regclass('"shop"."labels"')) AS d
                      UNION
                      SELECT to_regclass('"shop"."labels"')
                      UNION
                      SELECT d.relid FROM pg_partition_tree(to_regclass('"shop"."labels"')) AS d
                      UNION
                      SELECT to_regclass('"shop"."customers"')
                      UNION
                      SELECT d.relid FROM pg_partition_tree(to_regclass('"shop"."customers"')) AS d)
LIMIT  1;

-- ===== finish: once, after the last batch

-- left behind: no row comes behind the batches of rows that were read once
SELECT 0;

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
        CROSS  JOIN unnest(b.k_1, b.n_2) AS d(k_1, n_2)
        LEFT   JOIN "shop"."orders" AS "orders" ON "orders"."id" = d.k_1
        WHERE  NOT r.reverted
          AND  ("orders"."id" IS NULL
                 OR record_image_ne(ROW("orders"."customer_id"), ROW(d.n_2))))
        + (SELECT count(*)
           FROM   migrate.image_{run} AS r
           JOIN   migrate.undo_{run}_4 AS b USING (slice, ordinal, part)
           CROSS  JOIN unnest(b.k_1, b.o_2, b.o_3) AS d(k_1, o_2, o_3)
           LEFT   JOIN "shop"."customers" AS "customers" ON "customers"."id" = d.k_1
           WHERE  NOT r.reverted
             AND  (EXISTS (SELECT FROM "shop"."customers" AS "migrate other" WHERE "migrate other"."id" = d.k_1))) AS conflicts;

-- mark: a second revert of the same batch waits here and then finds nothing to do
-- $1 slice, $2 ordinal, $3 part
UPDATE migrate.image_{run} AS u
SET    reverted = true
WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer)
  AND  NOT u.reverted;

-- restore: identities keep their values; a row under the key of one of these is left alone
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  INSERT INTO "shop"."customers" AS "customers" ("id", "email", "created_at") OVERRIDING SYSTEM VALUE
  SELECT d.k_1, d.o_2, d.o_3
  FROM   migrate.undo_{run}_4 AS b,
         unnest(b.k_1, b.o_2, b.o_3) AS d(k_1, o_2, o_3)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
  ON CONFLICT DO NOTHING
  RETURNING "customers"."id" AS k_1
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

-- seize: under force what stands under a key is kept first, and locked meanwhile
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH d AS MATERIALIZED (
  SELECT d.k_1,
         jsonb_object(ARRAY['id', 'email', 'created_at'],
                      ARRAY[CAST("customers"."id" AS text), CAST("customers"."email" AS text), CAST("customers"."created_at" AS text)]) AS found
  FROM   migrate.undo_{run}_4 AS b,
         unnest(b.k_1) AS d(k_1),
         "shop"."customers" AS "customers"
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "customers"."id" = d.k_1
  FOR    UPDATE OF "customers"
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
SELECT $4::bigint, 4, $5::bigint, ARRAY[CAST(d.k_1 AS text)], 'overwritten', d.found
FROM   d;

-- restore forced: under force rows come back over whatever has been kept
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  INSERT INTO "shop"."customers" AS "customers" ("id", "email", "created_at") OVERRIDING SYSTEM VALUE
  SELECT d.k_1, d.o_2, d.o_3
  FROM   migrate.undo_{run}_4 AS b,
         unnest(b.k_1, b.o_2, b.o_3) AS d(k_1, o_2, o_3)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
  ON CONFLICT ("id") DO UPDATE
                SET    "email" = excluded."email",
                       "created_at" = excluded."created_at"
                WHERE  EXISTS (SELECT
                               FROM   migrate.conflicts AS c
                               WHERE  (c.run, c.step, c.seq) = ($4::bigint, 4, $5::bigint)
                                 AND  c.key = ARRAY[CAST("customers"."id" AS text)])
  RETURNING "customers"."id" AS k_1
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
       found = jsonb_object(ARRAY['id', 'email', 'created_at'],
                            ARRAY[CAST("customers"."id" AS text), CAST("customers"."email" AS text), CAST("customers"."created_at" AS text)])
FROM   "shop"."customers" AS "customers"
WHERE  (c.run, c.step, c.seq) = ($1::bigint, 4, $2::bigint)
  AND  c.reason = 'gone'
  AND  "customers"."id" = CAST(c.key[1] AS bigint);

-- restore: identities keep their values; a row under the key of one of these is left alone
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  INSERT INTO "shop"."labels" AS "labels" ("customer_id", "label") OVERRIDING SYSTEM VALUE
  SELECT d.k_1, d.k_2
  FROM   migrate.undo_{run}_3 AS b,
         unnest(b.k_1, b.k_2) AS d(k_1, k_2)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
  ON CONFLICT DO NOTHING
  RETURNING "labels"."customer_id" AS k_1, "labels"."label" AS k_2
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason)
SELECT $4::bigint, 3, $5::bigint, ARRAY[CAST(d.k_1 AS text), CAST(d.k_2 AS text)], 'gone'
FROM  (SELECT d.k_1, d.k_2
       FROM   migrate.undo_{run}_3 AS b,
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
         jsonb_object(ARRAY['customer_id', 'label'],
                      ARRAY[CAST("labels"."customer_id" AS text), CAST("labels"."label" AS text)]) AS found
  FROM   migrate.undo_{run}_3 AS b,
         unnest(b.k_1, b.k_2) AS d(k_1, k_2),
         "shop"."labels" AS "labels"
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "labels"."customer_id" = d.k_1
    AND  "labels"."label" = d.k_2
  FOR    UPDATE OF "labels"
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
SELECT $4::bigint, 3, $5::bigint, ARRAY[CAST(d.k_1 AS text), CAST(d.k_2 AS text)], 'overwritten', d.found
FROM   d;

-- restore forced: under force rows come back over whatever has been kept
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  INSERT INTO "shop"."labels" AS "labels" ("customer_id", "label") OVERRIDING SYSTEM VALUE
  SELECT d.k_1, d.k_2
  FROM   migrate.undo_{run}_3 AS b,
         unnest(b.k_1, b.k_2) AS d(k_1, k_2)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
  ON CONFLICT DO NOTHING
  RETURNING "labels"."customer_id" AS k_1, "labels"."label" AS k_2
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason)
SELECT $4::bigint, 3, $5::bigint, ARRAY[CAST(d.k_1 AS text), CAST(d.k_2 AS text)], 'gone'
FROM  (SELECT d.k_1, d.k_2
       FROM   migrate.undo_{run}_3 AS b,
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
       found = jsonb_object(ARRAY['customer_id', 'label'],
                            ARRAY[CAST("labels"."customer_id" AS text), CAST("labels"."label" AS text)])
FROM   "shop"."labels" AS "labels"
WHERE  (c.run, c.step, c.seq) = ($1::bigint, 3, $2::bigint)
  AND  c.reason = 'gone'
  AND  "labels"."customer_id" = CAST(c.key[1] AS bigint) AND "labels"."label" = CAST(c.key[2] AS text);

-- hold: whoever is about to refer to these rows is waited for, or has to wait
-- $1 slice, $2 ordinal, $3 part
SELECT count(*)
FROM  (SELECT
       FROM   migrate.undo_{run}_2 AS b,
              unnest(b.k_1, b.k_2) AS d(k_1, k_2),
              "shop"."labels" AS "labels"
       WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
         AND  "labels"."customer_id" = d.k_1 AND "labels"."label" = d.k_2
       FOR    UPDATE OF "labels") AS locked;

-- seize: under force what is deleted is kept first where it is not what the run has inserted
-- $1 run, $2 seq, $3 slice, $4 ordinal, $5 part
INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
SELECT $1::bigint, 2, $2::bigint, ARRAY[CAST(d.k_1 AS text), CAST(d.k_2 AS text)], 'overwritten', jsonb_object(ARRAY['customer_id', 'label'],
                                                                                                               ARRAY[CAST("labels"."customer_id" AS text), CAST("labels"."label" AS text)])
FROM   migrate.undo_{run}_2 AS b,
       unnest(b.k_1, b.k_2) AS d(k_1, k_2),
       "shop"."labels" AS "labels"
WHERE  (b.slice, b.ordinal, b.part) = ($3::integer, $4::integer, $5::integer)
  AND  "labels"."customer_id" = d.k_1 AND "labels"."label" = d.k_2
  AND  false;

-- restore: one statement compares and deletes, so no edit is lost between the two
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  DELETE FROM "shop"."labels" AS "labels"
  USING  migrate.undo_{run}_2 AS b,
         unnest(b.k_1, b.k_2) AS d(k_1, k_2)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "labels"."customer_id" = d.k_1 AND "labels"."label" = d.k_2
  RETURNING "labels"."customer_id" AS k_1, "labels"."label" AS k_2
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason)
SELECT $4::bigint, 2, $5::bigint, ARRAY[CAST(d.k_1 AS text), CAST(d.k_2 AS text)], 'gone'
FROM  (SELECT d.k_1, d.k_2
       FROM   migrate.undo_{run}_2 AS b,
              unnest(b.k_1, b.k_2) AS d(k_1, k_2)
       WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
         AND  cardinality(b.k_1) > (SELECT count(*) FROM back)
       EXCEPT
       SELECT k_1, k_2 FROM back) AS d;

-- restore forced: under force rows go whatever they hold by now, unless another one refers to them
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  DELETE FROM "shop"."labels" AS "labels"
  USING  migrate.undo_{run}_2 AS b,
         unnest(b.k_1, b.k_2) AS d(k_1, k_2)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "labels"."customer_id" = d.k_1 AND "labels"."label" = d.k_2
  RETURNING "labels"."customer_id" AS k_1, "labels"."label" AS k_2
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason)
SELECT $4::bigint, 2, $5::bigint, ARRAY[CAST(d.k_1 AS text), CAST(d.k_2 AS text)], 'gone'
FROM  (SELECT d.k_1, d.k_2
       FROM   migrate.undo_{run}_2 AS b,
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
       found = jsonb_object(ARRAY['customer_id', 'label'],
                            ARRAY[CAST("labels"."customer_id" AS text), CAST("labels"."label" AS text)])
FROM   "shop"."labels" AS "labels"
WHERE  (c.run, c.step, c.seq) = ($1::bigint, 2, $2::bigint)
  AND  c.reason = 'gone'
  AND  "labels"."customer_id" = CAST(c.key[1] AS bigint) AND "labels"."label" = CAST(c.key[2] AS text);

-- restore: one statement compares and writes, so no edit is lost between the two
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  UPDATE "shop"."orders" AS "orders"
  SET    "customer_id" = d.o_2
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.o_2, b.n_2) AS d(k_1, o_2, n_2)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "orders"."id" = d.k_1
    AND  record_image_eq(ROW("orders"."customer_id"), ROW(d.n_2))
  RETURNING "orders"."id" AS k_1
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
         record_image_ne(ROW("orders"."customer_id"), ROW(d.n_2)) AS differs,
         jsonb_object(ARRAY['customer_id'],
                      ARRAY[CAST("orders"."customer_id" AS text)]) AS found
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.n_2) AS d(k_1, n_2),
         "shop"."orders" AS "orders"
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "orders"."id" = d.k_1
  FOR    NO KEY UPDATE OF "orders"
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
SELECT $4::bigint, 1, $5::bigint, ARRAY[CAST(d.k_1 AS text)], 'overwritten', d.found
FROM   d
WHERE  d.differs;

-- restore forced: under force the old values come back over whatever has been kept
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  UPDATE "shop"."orders" AS "orders"
  SET    "customer_id" = d.o_2
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.o_2, b.n_2) AS d(k_1, o_2, n_2)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "orders"."id" = d.k_1
    AND  (record_image_eq(ROW("orders"."customer_id"), ROW(d.n_2))
          OR EXISTS (SELECT
                     FROM   migrate.conflicts AS c
                     WHERE  (c.run, c.step, c.seq) = ($4::bigint, 1, $5::bigint)
                       AND  c.key = ARRAY[CAST(d.k_1 AS text)]))
  RETURNING "orders"."id" AS k_1
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
       found = jsonb_object(ARRAY['customer_id'],
                            ARRAY[CAST("orders"."customer_id" AS text)])
FROM   "shop"."orders" AS "orders"
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
DROP TABLE migrate.image_{run}, migrate.source_{run}, migrate.undo_{run}_1, migrate.undo_{run}_2, migrate.undo_{run}_3, migrate.undo_{run}_4;
