-- ===== prepare: once, in the transaction that begins the run

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
                                   o_3 text[] COMPRESSION lz4,
                                   o_4 integer[] COMPRESSION lz4,
                                   back_1 bigint[],
                                   exact boolean,
                                   PRIMARY KEY (slice, ordinal, part));

-- undo table: a row a batch, an array a column; never the table's own row type, which would forbid DDL
CREATE TABLE migrate.undo_{run}_2 (slice integer,
                                   ordinal integer,
                                   part integer,
                                   k_1 bigint[] COMPRESSION lz4,
                                   o_2 numeric[] COMPRESSION lz4,
                                   n_2 numeric[] COMPRESSION lz4,
                                   o_3 integer[] COMPRESSION lz4,
                                   n_3 integer[] COMPRESSION lz4,
                                   back_1 bigint[],
                                   held_k_1 bigint[],
                                   held_3 integer[],
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
  AND  (id > 5)
ORDER  BY "orders"."id"
OFFSET $4::bigint - 1
LIMIT  1;

-- capture: which rows the batch has, and what the steps read of them, whatever these change
-- $1 slice, $2 ordinal, $3 part, $4 after.none, $5 after.1, $6 upper.1, $7 size
INSERT INTO migrate.image_{run} (slice, ordinal, part, rows_read, k_1)
SELECT $1::integer, $2::integer, $3::integer,
       count(*),
       array_agg(s.k_1)
FROM   (SELECT "orders"."id" AS k_1
        FROM   "shop"."orders" AS "orders"
        WHERE  ($4::boolean OR "orders"."id" > $5::bigint)
          AND  "orders"."id" <= $6::bigint
          AND  (id > 5)
        ORDER  BY "orders"."id"
        LIMIT  $7::bigint) AS s
RETURNING false AS as_captured, CASE WHEN rows_read = $7::bigint THEN CAST(k_1[cardinality(k_1)] AS text) END AS through_1;

-- capture locked: from the second attempt on the rows are locked before anything is computed
-- $1 slice, $2 ordinal, $3 part, $4 after.none, $5 after.1, $6 through.1
INSERT INTO migrate.image_{run} (slice, ordinal, part, rows_read, k_1)
SELECT $1::integer, $2::integer, $3::integer,
       count(*),
       array_agg(s.k_1)
FROM   (SELECT "orders"."id" AS k_1
        FROM   "shop"."orders" AS "orders"
        WHERE  ($4::boolean OR "orders"."id" > $5::bigint)
          AND  "orders"."id" <= $6::bigint
          AND  (id > 5)
        ORDER  BY "orders"."id"
        FOR    NO KEY UPDATE OF "orders") AS s;

-- change: the whole rows are kept; what is computed of them is computed again when they come back
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
     ), gone AS (
  DELETE FROM "shop"."notes" AS "notes"
  USING  "batch"
  WHERE  ("notes".order_id = "batch".id)
  RETURNING "notes"."id" AS k_1,
            "notes"."order_id" AS o_2,
            "notes"."note" AS o_3,
            "notes"."came" AS o_4
)
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, k_1, o_2, o_3, o_4, exact)
SELECT $4::integer, $5::integer, $6::integer,
       array_agg(s.k_1),
       array_agg(s.o_2),
       array_agg(s.o_3),
       array_agg(s.o_4),
       true
FROM  (SELECT * FROM gone ORDER BY k_1) AS s;

-- capture: the old values and the new ones, computed once
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
INSERT INTO migrate.undo_{run}_2 (slice, ordinal, part, k_1, o_2, o_3, n_2)
SELECT $4::integer, $5::integer, $6::integer,
       array_agg(s.k_1),
       array_agg(s.o_2),
       array_agg(s.o_3),
       array_agg(s.n_2)
FROM  (SELECT "orders"."id" AS k_1,
              "orders"."price" AS o_2,
              "orders"."version" AS o_3,
              CAST("orders".price + 1 AS numeric(10,2)) AS n_2
       FROM   "shop"."orders" AS "orders",
              "batch"
       WHERE  ("orders"."id" = batch."id")
       ORDER  BY "orders"."id"
       OFFSET 0) AS s
                     WHERE  s.o_2 IS DISTINCT FROM s.n_2;

-- capture locked: the rows are locked in the order of their key, so that two batches wait for one another and never both
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
INSERT INTO migrate.undo_{run}_2 (slice, ordinal, part, k_1, o_2, o_3, n_2)
SELECT $4::integer, $5::integer, $6::integer,
       array_agg(s.k_1),
       array_agg(s.o_2),
       array_agg(s.o_3),
       array_agg(s.n_2)
FROM  (SELECT "orders"."id" AS k_1,
              "orders"."price" AS o_2,
              "orders"."version" AS o_3,
              CAST("orders".price + 1 AS numeric(10,2)) AS n_2
       FROM   "shop"."orders" AS "orders",
              "batch"
       WHERE  ("orders"."id" = batch."id")
       ORDER  BY "orders"."id"
       OFFSET 0
               FOR    NO KEY UPDATE OF "orders") AS s
                                                     WHERE  s.o_2 IS DISTINCT FROM s.n_2;

-- change: writes what the capture has computed, and shows that it has met the same rows
-- $1 slice, $2 ordinal, $3 part
WITH changed AS (
  UPDATE "shop"."orders" AS "orders"
  SET    "price" = d.n_2
  FROM   migrate.undo_{run}_2 AS b,
         unnest(b.k_1, b.n_2) AS d(k_1, n_2)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "orders"."id" = d.k_1
  RETURNING "orders"."id" AS k_1,
            "orders"."price" AS n_2,
            "orders"."version" AS n_3
)
UPDATE migrate.undo_{run}_2 AS u
SET    n_2 = image.n_2,
       n_3 = image.n_3,
       exact = (u.k_1 IS NOT DISTINCT FROM image.k_1)
FROM  (SELECT array_agg(s.k_1) AS k_1,
              array_agg(s.n_2) AS n_2,
              array_agg(s.n_3) AS n_3
       FROM  (SELECT * FROM changed ORDER BY k_1) AS s) AS image
WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer);

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
                  coalesce((SELECT cardinality(u.k_1) FROM migrate.undo_{run}_2 AS u WHERE (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)), 0)] AS bigint[]), f.epoch,
       coalesce(u.exact, true)
       AND coalesce((SELECT u.exact FROM migrate.undo_{run}_1 AS u WHERE (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)), true)
       AND coalesce((SELECT u.exact FROM migrate.undo_{run}_2 AS u WHERE (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)), true)
FROM   migrate.image_{run} AS u
CROSS  JOIN (SELECT epoch FROM migrate.fence WHERE run = $1::bigint AND epoch = $3::integer FOR SHARE) AS f
WHERE  (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)
RETURNING exact, rows_read, rows_changed, xid, rows_changed AS rows_captured;

-- ===== finish: once, after the last batch

-- left behind: rows that became eligible behind the batches, counted and not passed over in silence
-- $1 upper.1
SELECT count(*)
FROM   "shop"."orders" AS "orders"
WHERE  "orders"."id" <= $1::bigint
  AND  (id > 5)
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
        CROSS  JOIN unnest(b.k_1, b.o_2, b.o_3, b.o_4) AS d(k_1, o_2, o_3, o_4)
        LEFT   JOIN "shop"."notes" AS "notes" ON "notes"."id" = d.k_1
        WHERE  NOT r.reverted
          AND  (EXISTS (SELECT FROM "shop"."notes" AS "migrate other" WHERE "migrate other"."id" = d.k_1)))
        + (SELECT count(*)
           FROM   migrate.image_{run} AS r
           JOIN   migrate.undo_{run}_2 AS b USING (slice, ordinal, part)
           CROSS  JOIN unnest(b.k_1, b.n_2) AS d(k_1, n_2)
           LEFT   JOIN "shop"."orders" AS "orders" ON "orders"."id" = d.k_1
           WHERE  NOT r.reverted
             AND  ("orders"."id" IS NULL
                    OR record_image_ne(ROW("orders"."price"), ROW(d.n_2)))) AS conflicts;

-- mark: a second revert of the same batch waits here and then finds nothing to do
-- $1 slice, $2 ordinal, $3 part
UPDATE migrate.image_{run} AS u
SET    reverted = true
WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer)
  AND  NOT u.reverted;

-- hold: triggers will write these columns again; what they shall hold afterwards is kept first
-- $1 slice, $2 ordinal, $3 part
WITH held AS (
  SELECT d.k_1,
         CASE WHEN record_image_eq(ROW("orders"."version"), ROW(d.n_3)) THEN d.o_3 ELSE "orders"."version" END AS held_3
  FROM   migrate.undo_{run}_2 AS b,
         unnest(b.k_1, b.o_3, b.n_3) AS d(k_1, o_3, n_3),
         "shop"."orders" AS "orders"
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "orders"."id" = d.k_1
  FOR    NO KEY UPDATE OF "orders"
)
UPDATE migrate.undo_{run}_2 AS u
SET    held_k_1 = a.k_1,
       held_3 = a.held_3
FROM  (SELECT array_agg(h.k_1) AS k_1,
              array_agg(h.held_3) AS held_3 FROM held AS h) AS a
WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer);

-- restore: one statement compares and writes, so no edit is lost between the two
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  UPDATE "shop"."orders" AS "orders"
  SET    "price" = d.o_2
  FROM   migrate.undo_{run}_2 AS b,
         unnest(b.k_1, b.o_2, b.n_2) AS d(k_1, o_2, n_2)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "orders"."id" = d.k_1
    AND  record_image_eq(ROW("orders"."price"), ROW(d.n_2))
  RETURNING "orders"."id" AS k_1
), noted AS (
   UPDATE migrate.undo_{run}_2 AS u
   SET    back_1 = a.k_1
   FROM  (SELECT array_agg(k_1) AS k_1 FROM back) AS a
   WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer)
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
         record_image_ne(ROW("orders"."price"), ROW(d.n_2)) AS differs,
         jsonb_object(ARRAY['price'],
                      ARRAY[CAST("orders"."price" AS text)]) AS found
  FROM   migrate.undo_{run}_2 AS b,
         unnest(b.k_1, b.n_2) AS d(k_1, n_2),
         "shop"."orders" AS "orders"
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "orders"."id" = d.k_1
  FOR    NO KEY UPDATE OF "orders"
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
SELECT $4::bigint, 2, $5::bigint, ARRAY[CAST(d.k_1 AS text)], 'overwritten', d.found
FROM   d
WHERE  d.differs;

-- restore forced: under force the old values come back over whatever has been kept
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  UPDATE "shop"."orders" AS "orders"
  SET    "price" = d.o_2
  FROM   migrate.undo_{run}_2 AS b,
         unnest(b.k_1, b.o_2, b.n_2) AS d(k_1, o_2, n_2)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "orders"."id" = d.k_1
    AND  (record_image_eq(ROW("orders"."price"), ROW(d.n_2))
          OR EXISTS (SELECT
                     FROM   migrate.conflicts AS c
                     WHERE  (c.run, c.step, c.seq) = ($4::bigint, 2, $5::bigint)
                       AND  c.key = ARRAY[CAST(d.k_1 AS text)]))
  RETURNING "orders"."id" AS k_1
), noted AS (
   UPDATE migrate.undo_{run}_2 AS u
   SET    back_1 = a.k_1
   FROM  (SELECT array_agg(k_1) AS k_1 FROM back) AS a
   WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer)
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
       found = jsonb_object(ARRAY['price'],
                            ARRAY[CAST("orders"."price" AS text)])
FROM   "shop"."orders" AS "orders"
WHERE  (c.run, c.step, c.seq) = ($1::bigint, 2, $2::bigint)
  AND  c.reason = 'gone'
  AND  "orders"."id" = CAST(c.key[1] AS bigint);

-- triggers off: for this statement alone
SET LOCAL session_replication_role = replica;

-- restore rewritten: what the triggers have just written goes, what was there comes back
-- $1 slice, $2 ordinal, $3 part
WITH kept AS MATERIALIZED (
  SELECT d.k_1,
         d.o_2,
         h.held_k_1,
         h.held_3
  FROM   migrate.undo_{run}_2 AS b
  CROSS  JOIN LATERAL unnest(b.back_1) AS r(back_1)
  LEFT   JOIN LATERAL unnest(b.k_1, b.o_2) AS d(k_1, o_2)
         ON d.k_1 = r.back_1
  LEFT   JOIN LATERAL unnest(b.held_k_1, b.held_3) AS h(held_k_1, held_3)
         ON h.held_k_1 = r.back_1
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
)
UPDATE "shop"."orders" AS "orders"
SET    "price" = d.o_2,
       "version" = d.held_3
FROM   kept AS d
WHERE  "orders"."id" = d.k_1
  AND  d.held_k_1 IS NOT NULL;

-- triggers on: they fire again for whatever comes
SET LOCAL session_replication_role = origin;

-- restore: identities keep their values; a row under the key of one of these is left alone
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  INSERT INTO "shop"."notes" AS "notes" ("id", "order_id", "note", "came") OVERRIDING SYSTEM VALUE
  SELECT d.k_1, d.o_2, d.o_3, d.o_4
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.o_2, b.o_3, b.o_4) AS d(k_1, o_2, o_3, o_4)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
  ON CONFLICT DO NOTHING
  RETURNING "notes"."id" AS k_1
), noted AS (
   UPDATE migrate.undo_{run}_1 AS u
   SET    back_1 = a.k_1
   FROM  (SELECT array_agg(k_1) AS k_1 FROM back) AS a
   WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer)
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

-- seize: under force what stands under a key is kept first, and locked meanwhile
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH d AS MATERIALIZED (
  SELECT d.k_1,
         jsonb_object(ARRAY['id', 'order_id', 'note', 'came'],
                      ARRAY[CAST("notes"."id" AS text), CAST("notes"."order_id" AS text), CAST("notes"."note" AS text), CAST("notes"."came" AS text)]) AS found
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1) AS d(k_1),
         "shop"."notes" AS "notes"
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "notes"."id" = d.k_1
  FOR    UPDATE OF "notes"
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
SELECT $4::bigint, 1, $5::bigint, ARRAY[CAST(d.k_1 AS text)], 'overwritten', d.found
FROM   d;

-- restore forced: under force rows come back over whatever has been kept
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  INSERT INTO "shop"."notes" AS "notes" ("id", "order_id", "note", "came") OVERRIDING SYSTEM VALUE
  SELECT d.k_1, d.o_2, d.o_3, d.o_4
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.o_2, b.o_3, b.o_4) AS d(k_1, o_2, o_3, o_4)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
  ON CONFLICT ("id") DO UPDATE
                SET    "order_id" = excluded."order_id",
                       "note" = excluded."note",
                       "came" = excluded."came"
                WHERE  EXISTS (SELECT
                               FROM   migrate.conflicts AS c
                               WHERE  (c.run, c.step, c.seq) = ($4::bigint, 1, $5::bigint)
                                 AND  c.key = ARRAY[CAST("notes"."id" AS text)])
  RETURNING "notes"."id" AS k_1
), noted AS (
   UPDATE migrate.undo_{run}_1 AS u
   SET    back_1 = a.k_1
   FROM  (SELECT array_agg(k_1) AS k_1 FROM back) AS a
   WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer)
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
       found = jsonb_object(ARRAY['id', 'order_id', 'note', 'came'],
                            ARRAY[CAST("notes"."id" AS text), CAST("notes"."order_id" AS text), CAST("notes"."note" AS text), CAST("notes"."came" AS text)])
FROM   "shop"."notes" AS "notes"
WHERE  (c.run, c.step, c.seq) = ($1::bigint, 1, $2::bigint)
  AND  c.reason = 'gone'
  AND  "notes"."id" = CAST(c.key[1] AS bigint);

-- triggers off: for this statement alone
SET LOCAL session_replication_role = replica;

-- restore rewritten: what the triggers have just written goes, what was there comes back
-- $1 slice, $2 ordinal, $3 part
WITH kept AS MATERIALIZED (
  SELECT d.k_1,
         d.o_4
  FROM   migrate.undo_{run}_1 AS b
  CROSS  JOIN LATERAL unnest(b.back_1) AS r(back_1)
  LEFT   JOIN LATERAL unnest(b.k_1, b.o_4) AS d(k_1, o_4)
         ON d.k_1 = r.back_1
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
)
UPDATE "shop"."notes" AS "notes"
SET    "came" = d.o_4
FROM   kept AS d
WHERE  "notes"."id" = d.k_1;

-- triggers on: they fire again for whatever comes
SET LOCAL session_replication_role = origin;

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
