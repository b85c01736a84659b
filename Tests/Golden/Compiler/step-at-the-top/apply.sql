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
SELECT CAST("g"."id" AS text) AS upper_1
FROM   "shop"."grants" AS "g"
ORDER  BY "g"."id" DESC
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
SELECT CAST("g"."id" AS text) AS through_1
FROM   "shop"."grants" AS "g"
WHERE  ($1::boolean OR "g"."id" > $2::bigint)
  AND  "g"."id" <= $3::bigint
  AND  (state = 'active')
ORDER  BY "g"."id"
OFFSET $4::bigint - 1
LIMIT  1;

-- capture: which rows the batch has, and what the steps read of them, whatever these change
-- $1 slice, $2 ordinal, $3 part, $4 after.none, $5 after.1, $6 upper.1, $7 size
INSERT INTO migrate.image_{run} (slice, ordinal, part, rows_read, k_1)
SELECT $1::integer, $2::integer, $3::integer,
       count(*),
       array_agg(s.k_1)
FROM   (SELECT "g"."id" AS k_1
        FROM   "shop"."grants" AS "g"
        WHERE  ($4::boolean OR "g"."id" > $5::bigint)
          AND  "g"."id" <= $6::bigint
          AND  (state = 'active')
        ORDER  BY "g"."id"
        LIMIT  $7::bigint) AS s
RETURNING false AS as_captured, CASE WHEN rows_read = $7::bigint THEN CAST(k_1[cardinality(k_1)] AS text) END AS through_1;

-- capture locked: from the second attempt on the rows are locked before anything is computed
-- $1 slice, $2 ordinal, $3 part, $4 after.none, $5 after.1, $6 through.1
INSERT INTO migrate.image_{run} (slice, ordinal, part, rows_read, k_1)
SELECT $1::integer, $2::integer, $3::integer,
       count(*),
       array_agg(s.k_1)
FROM   (SELECT "g"."id" AS k_1
        FROM   "shop"."grants" AS "g"
        WHERE  ($4::boolean OR "g"."id" > $5::bigint)
          AND  "g"."id" <= $6::bigint
          AND  (state = 'active')
        ORDER  BY "g"."id"
        FOR    NO KEY UPDATE OF "g") AS s;

-- change: the keys are kept, as RETURNING shows them, and what tells whether somebody changes the rows
-- $1 after.none, $2 after.1, $3 through.1, $4 snapshot, $5 slice, $6 ordinal, $7 part
WITH batch AS (
       SELECT "g"."id", "g"."points"
       FROM   "shop"."grants" AS "g"
       WHERE  ($1::boolean OR "g"."id" > $2::bigint)
         AND  "g"."id" <= $3::bigint
         AND  (state = 'active')
         AND  ($4::boolean OR "g"."id" IN (SELECT d.k_1
                                           FROM   migrate.image_{run} AS b,
                                                  unnest(b.k_1) AS d(k_1)
                                           WHERE  (b.slice, b.ordinal, b.part) = ($5::integer, $6::integer, $7::integer)))
     ), "n" AS (
       SELECT *
       FROM  (SELECT b.id, n AS place FROM batch AS b CROSS JOIN generate_series(1, b.points) AS n) AS "n"
       WHERE  EXISTS (SELECT FROM batch)
     ), added AS (
  INSERT INTO "shop"."lines" AS "lines" ("grant_id", "place")
  SELECT "n".id,
         "n".place
  FROM   "n"
  ON CONFLICT ("grant_id", "place") DO NOTHING
  RETURNING "lines"."grant_id" AS k_1,
            "lines"."place" AS k_2
)
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, k_1, k_2, exact)
SELECT $5::integer, $6::integer, $7::integer,
       array_agg(s.k_1),
       array_agg(s.k_2),
       true
FROM  (SELECT * FROM added ORDER BY k_1, k_2) AS s;

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
       CAST(ARRAY[coalesce((SELECT cardinality(u.k_1) FROM migrate.undo_{run}_1 AS u WHERE (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)), 0)] AS bigint[]), f.epoch,
       coalesce(u.exact, true)
       AND coalesce((SELECT u.exact FROM migrate.undo_{run}_1 AS u WHERE (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)), true)
FROM   migrate.image_{run} AS u
CROSS  JOIN (SELECT epoch FROM migrate.fence WHERE run = $1::bigint AND epoch = $3::integer FOR SHARE) AS f
WHERE  (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)
RETURNING exact, rows_read, rows_changed, xid, rows_changed AS rows_captured;

-- ===== finish: once, after the last batch

-- left behind: rows that became eligible behind the batches, counted and not passed over in silence
-- $1 upper.1, $2 others, $3 horizon, $4 transactions
SELECT count(*)
FROM   "shop"."grants" AS "g"
WHERE  "g"."id" <= $1::bigint
  AND  $2::boolean
  AND  ($3::bigint IS NULL
        OR ((CAST(CAST("g".xmin AS text) AS bigint) - $3::bigint) & 4294967295) < 2147483648)
  AND  NOT EXISTS (SELECT FROM unnest($4::xid[]) AS own(xid) WHERE own.xid = "g".xmin)
  AND  (state = 'active')
  AND  NOT EXISTS (SELECT
                   FROM  (SELECT unnest(u.k_1) FROM migrate.image_{run} AS u) AS d(k_1)
                   WHERE  d.k_1 = "g"."id");

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
        CROSS  JOIN unnest(b.k_1, b.k_2) AS d(k_1, k_2)
        LEFT   JOIN "shop"."lines" AS "lines" ON "lines"."grant_id" = d.k_1 AND "lines"."place" = d.k_2
        WHERE  NOT r.reverted
          AND  ("lines"."grant_id" IS NULL)) AS conflicts;

-- mark: a second revert of the same batch waits here and then finds nothing to do
-- $1 slice, $2 ordinal, $3 part
UPDATE migrate.image_{run} AS u
SET    reverted = true
WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer)
  AND  NOT u.reverted;

-- hold: whoever is about to refer to these rows is waited for, or has to wait
-- $1 slice, $2 ordinal, $3 part
SELECT count(*)
FROM  (SELECT
       FROM   migrate.undo_{run}_1 AS b,
              unnest(b.k_1, b.k_2) AS d(k_1, k_2),
              "shop"."lines" AS "lines"
       WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
         AND  "lines"."grant_id" = d.k_1 AND "lines"."place" = d.k_2
       FOR    UPDATE OF "lines") AS locked;

-- seize: under force what is deleted is kept first where it is not what the run has inserted
-- $1 run, $2 seq, $3 slice, $4 ordinal, $5 part
INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
SELECT $1::bigint, 1, $2::bigint, ARRAY[CAST(d.k_1 AS text), CAST(d.k_2 AS text)], 'overwritten', jsonb_object(ARRAY['grant_id', 'place'],
                                                                                                               ARRAY[CAST("lines"."grant_id" AS text), CAST("lines"."place" AS text)])
FROM   migrate.undo_{run}_1 AS b,
       unnest(b.k_1, b.k_2) AS d(k_1, k_2),
       "shop"."lines" AS "lines"
WHERE  (b.slice, b.ordinal, b.part) = ($3::integer, $4::integer, $5::integer)
  AND  "lines"."grant_id" = d.k_1 AND "lines"."place" = d.k_2
  AND  false;

-- restore: one statement compares and deletes, so no edit is lost between the two
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  DELETE FROM "shop"."lines" AS "lines"
  USING  migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.k_2) AS d(k_1, k_2)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "lines"."grant_id" = d.k_1 AND "lines"."place" = d.k_2
  RETURNING "lines"."grant_id" AS k_1, "lines"."place" AS k_2
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason)
SELECT $4::bigint, 1, $5::bigint, ARRAY[CAST(d.k_1 AS text), CAST(d.k_2 AS text)], 'gone'
FROM  (SELECT d.k_1, d.k_2
       FROM   migrate.undo_{run}_1 AS b,
              unnest(b.k_1, b.k_2) AS d(k_1, k_2)
       WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
         AND  cardinality(b.k_1) > (SELECT count(*) FROM back)
       EXCEPT
       SELECT k_1, k_2 FROM back) AS d;

-- restore forced: under force rows go whatever they hold by now, unless another one refers to them
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  DELETE FROM "shop"."lines" AS "lines"
  USING  migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.k_2) AS d(k_1, k_2)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "lines"."grant_id" = d.k_1 AND "lines"."place" = d.k_2
  RETURNING "lines"."grant_id" AS k_1, "lines"."place" AS k_2
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason)
SELECT $4::bigint, 1, $5::bigint, ARRAY[CAST(d.k_1 AS text), CAST(d.k_2 AS text)], 'gone'
FROM  (SELECT d.k_1, d.k_2
       FROM   migrate.undo_{run}_1 AS b,
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
WHERE  (c.run, c.step, c.seq) = ($1::bigint, 1, $2::bigint)
  AND  c.reason = 'gone'
  AND  "lines"."grant_id" = CAST(c.key[1] AS bigint) AND "lines"."place" = CAST(c.key[2] AS integer);

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
DROP TABLE migrate.image_{run}, migrate.undo_{run}_1;
