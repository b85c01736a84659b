-- ===== prepare: once, in the transaction that begins the run

-- undo table: a row a batch, an array a column; never the table's own row type, which would forbid DDL
CREATE TABLE migrate.undo_{run}_1 (slice integer,
                                   ordinal integer,
                                   part integer,
                                   rows_read bigint NOT NULL,
                                   k_1 integer[] COMPRESSION lz4,
                                   o_2 text[] COMPRESSION lz4,
                                   n_2 text[] COMPRESSION lz4,
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
ORDER  BY "people"."id"
OFFSET $4::bigint - 1
LIMIT  1;

-- capture: the old values; the key columns tell later whether exactly these rows were changed
-- $1 slice, $2 ordinal, $3 part, $4 after.none, $5 after.1, $6 through.1
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, rows_read, k_1, o_2)
SELECT $1::integer, $2::integer, $3::integer,
       count(*),
       array_agg(s.k_1) FILTER (WHERE s.differs),
       array_agg(s.o_2) FILTER (WHERE s.differs)
FROM  (SELECT "people"."id" AS k_1,
              "people"."name" AS o_2,
              record_image_ne(ROW("people"."name"), ROW(CAST(upper(name) AS text))) AS differs
       FROM   "shop"."people" AS "people"
       WHERE  ($4::boolean OR "people"."id" > $5::integer)
         AND  "people"."id" <= $6::integer
       ORDER  BY "people"."id") AS s
RETURNING false AS as_captured;

-- capture locked: from the second attempt on the rows are locked before anything is computed
-- $1 slice, $2 ordinal, $3 part, $4 after.none, $5 after.1, $6 through.1
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, rows_read, k_1, o_2)
SELECT $1::integer, $2::integer, $3::integer,
       count(*),
       array_agg(s.k_1) FILTER (WHERE s.differs),
       array_agg(s.o_2) FILTER (WHERE s.differs)
FROM  (SELECT "people"."id" AS k_1,
              "people"."name" AS o_2,
              record_image_ne(ROW("people"."name"), ROW(CAST(upper(name) AS text))) AS differs
       FROM   "shop"."people" AS "people"
       WHERE  ($4::boolean OR "people"."id" > $5::integer)
         AND  "people"."id" <= $6::integer
       ORDER  BY "people"."id"
       FOR    NO KEY UPDATE OF "people") AS s;

-- change: a range of the key, not a join with the batch, which costs half as much again
-- $1 after.none, $2 after.1, $3 through.1, $4 slice, $5 ordinal, $6 part
WITH changed AS (
  UPDATE "shop"."people" AS "people"
  SET    "name" = upper(name)
  WHERE  ($1::boolean OR "people"."id" > $2::integer)
    AND  "people"."id" <= $3::integer
    AND  record_image_ne(ROW("people"."name"), ROW(CAST(upper(name) AS text)))
  RETURNING "people"."id" AS k_1,
            "people"."name" AS n_2
), image AS (
  SELECT array_agg(s.k_1) AS k_1,
         array_agg(s.n_2) AS n_2
  FROM  (SELECT * FROM changed ORDER BY k_1) AS s
)
UPDATE migrate.undo_{run}_1 AS u
SET    n_2 = image.n_2,
       exact = (u.k_1 IS NOT DISTINCT FROM image.k_1)
FROM   image
WHERE  (u.slice, u.ordinal, u.part) = ($4::integer, $5::integer, $6::integer);

-- image: AFTER triggers may have written the rows again, and RETURNING does not see that
-- $1 slice, $2 ordinal, $3 part
WITH image AS (
  SELECT array_agg(s.k_1) AS k_1,
         array_agg(s.n_2) AS n_2
  FROM  (SELECT "people"."id" AS k_1,
                "people"."name" AS n_2
         FROM   migrate.undo_{run}_1 AS b,
                unnest(b.k_1) AS d(k_1),
                "shop"."people" AS "people"
         WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
           AND  "people"."id" = d.k_1
         ORDER  BY "people"."id") AS s
)
UPDATE migrate.undo_{run}_1 AS u
SET    n_2 = image.n_2,
       exact = u.exact AND (u.k_1 IS NOT DISTINCT FROM image.k_1)
FROM   image
WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer)
  AND  u.exact IS NOT FALSE;

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
CROSS  JOIN LATERAL (SELECT coalesce(cardinality(u.n_2), 0) AS rows_changed) AS c
CROSS  JOIN (SELECT epoch FROM migrate.fence WHERE run = $1::bigint AND epoch = $3::integer FOR SHARE) AS f
WHERE  (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)
RETURNING exact, rows_read, rows_changed, xid,
          (SELECT coalesce(cardinality(u.k_1), 0)
           FROM   migrate.undo_{run}_1 AS u
           WHERE  (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)) AS rows_captured;

-- ===== finish: once, after the last batch

-- left behind: rows that became eligible behind the batches, counted and not passed over in silence
-- $1 upper.1
SELECT count(*) FILTER (WHERE record_image_ne(ROW("people"."name"), ROW(CAST(upper(name) AS text))))
FROM   "shop"."people" AS "people"
WHERE  "people"."id" <= $1::integer
  AND  NOT EXISTS (SELECT
                   FROM  (SELECT unnest(u.k_1) FROM migrate.undo_{run}_1 AS u) AS d(k_1)
                   WHERE  d.k_1 = "people"."id");

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
SELECT count(*) AS conflicts
FROM   migrate.undo_{run}_1 AS b
CROSS  JOIN LATERAL unnest(b.k_1, b.n_2) AS d(k_1, n_2)
LEFT   JOIN "shop"."people" AS "people" ON "people"."id" = d.k_1
WHERE  NOT b.reverted
  AND  ("people"."id" IS NULL
        OR record_image_ne(ROW("people"."name"), ROW(d.n_2)));

-- mark: a second revert of the same batch waits here and then finds nothing to do
-- $1 slice, $2 ordinal, $3 part
UPDATE migrate.undo_{run}_1 AS u
SET    reverted = true
WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer)
  AND  NOT u.reverted;

-- restore: one statement compares and writes, so no edit is lost between the two
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  UPDATE "shop"."people" AS "people"
  SET    "name" = d.o_2
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.o_2, b.n_2) AS d(k_1, o_2, n_2)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "people"."id" = d.k_1
    AND  record_image_eq(ROW("people"."name"), ROW(d.n_2))
  RETURNING "people"."id" AS k_1
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
         record_image_ne(ROW("people"."name"), ROW(d.n_2)) AS differs,
         jsonb_object(ARRAY['name'],
                      ARRAY[CAST("people"."name" AS text)]) AS found
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.n_2) AS d(k_1, n_2),
         "shop"."people" AS "people"
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "people"."id" = d.k_1
  FOR    NO KEY UPDATE OF "people"
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
SELECT $4::bigint, 1, $5::bigint, ARRAY[CAST(d.k_1 AS text)], 'overwritten', d.found
FROM   d
WHERE  d.differs;

-- restore forced: under force the old values come back over whatever has been kept
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  UPDATE "shop"."people" AS "people"
  SET    "name" = d.o_2
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.o_2, b.n_2) AS d(k_1, o_2, n_2)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "people"."id" = d.k_1
    AND  (record_image_eq(ROW("people"."name"), ROW(d.n_2))
          OR EXISTS (SELECT
                     FROM   migrate.conflicts AS c
                     WHERE  (c.run, c.step, c.seq) = ($4::bigint, 1, $5::bigint)
                       AND  c.key = ARRAY[CAST(d.k_1 AS text)]))
  RETURNING "people"."id" AS k_1
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
       found = jsonb_object(ARRAY['name'],
                            ARRAY[CAST("people"."name" AS text)])
FROM   "shop"."people" AS "people"
WHERE  (c.run, c.step, c.seq) = ($1::bigint, 1, $2::bigint)
  AND  c.reason = 'gone'
  AND  "people"."id" = CAST(c.key[1] AS integer);

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
