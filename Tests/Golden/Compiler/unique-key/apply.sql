-- ===== prepare: once, in the transaction that begins the run

-- undo table: a row a batch, an array a column; never the table's own row type, which would forbid DDL
CREATE TABLE migrate.undo_{run}_1 (slice integer,
                                   ordinal integer,
                                   part integer,
                                   rows_read bigint NOT NULL,
                                   k_1 text[] COMPRESSION lz4,
                                   k_2 integer[] COMPRESSION lz4,
                                   o_1 integer[] COMPRESSION lz4,
                                   n_1 integer[] COMPRESSION lz4,
                                   exact boolean,
                                   reverted boolean NOT NULL DEFAULT false,
                                   PRIMARY KEY (slice, ordinal, part));

-- ===== bounds: once, before the first batch

-- lockers: the transactions that may hold rows below the upper end which nobody can see yet
SELECT l.virtualtransaction
FROM   pg_locks AS l
WHERE  l.locktype = 'relation'
  AND  l.relation IN (SELECT to_regclass('"shop"."articles"') UNION SELECT relid FROM pg_partition_tree(to_regclass('"shop"."articles"')))
  AND  l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND  l.granted
  AND  l.pid IS DISTINCT FROM pg_backend_pid()
  AND  l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock');

-- upper: the last key, fixed once: a writer that goes on beyond it does not keep the run from ending
SELECT CAST("articles"."code" AS text) AS upper_1,
       CAST("articles"."shelf" AS text) AS upper_2
FROM   "shop"."articles" AS "articles"
ORDER  BY "articles"."code" DESC, "articles"."shelf" DESC
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
LOCK TABLE "shop"."articles" IN ROW EXCLUSIVE MODE;

-- bound: the key of the batch's last row; no row: the batch goes to the upper end
-- $1 after.none, $2 after.1, $3 after.2, $4 upper.1, $5 upper.2, $6 size
SELECT CAST("articles"."code" AS text) AS through_1,
       CAST("articles"."shelf" AS text) AS through_2
FROM   "shop"."articles" AS "articles"
WHERE  ($1::boolean OR ("articles"."code", "articles"."shelf") > ROW($2::text, $3::integer))
  AND  ("articles"."code", "articles"."shelf") <= ROW($4::text, $5::integer)
ORDER  BY "articles"."code", "articles"."shelf"
OFFSET $6::bigint - 1
LIMIT  1;

-- capture: the old values and the new ones; OFFSET 0 keeps the new ones from being computed twice
-- $1 slice, $2 ordinal, $3 part, $4 eligible, $5 after.none, $6 after.1, $7 after.2, $8 through.1, $9 through.2
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, rows_read, k_1, k_2, o_1, n_1)
SELECT $1::integer, $2::integer, $3::integer,
       coalesce($4::bigint, (SELECT count(*)
                             FROM   "shop"."articles" AS "articles"
                             WHERE  ($5::boolean OR ("articles"."code", "articles"."shelf") > ROW($6::text, $7::integer))
                               AND  ("articles"."code", "articles"."shelf") <= ROW($8::text, $9::integer))),
       array_agg(s.k_1),
       array_agg(s.k_2),
       array_agg(s.o_1),
       array_agg(s.n_1)
FROM  (SELECT "articles"."code" AS k_1,
              "articles"."shelf" AS k_2,
              "articles"."id" AS o_1,
              CAST(id + 1000 AS integer) AS n_1
       FROM   "shop"."articles" AS "articles"
       WHERE  ($5::boolean OR ("articles"."code", "articles"."shelf") > ROW($6::text, $7::integer))
         AND  ("articles"."code", "articles"."shelf") <= ROW($8::text, $9::integer)
       ORDER  BY "articles"."code", "articles"."shelf"
       OFFSET 0) AS s
WHERE  s.o_1 IS DISTINCT FROM s.n_1
RETURNING rows_read = coalesce(cardinality(k_1), 0) AS as_captured;

-- capture locked: from the second attempt on the rows are locked before anything is computed
-- $1 slice, $2 ordinal, $3 part, $4 after.none, $5 after.1, $6 after.2, $7 through.1, $8 through.2
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, rows_read, k_1, k_2, o_1)
SELECT $1::integer, $2::integer, $3::integer,
       count(*),
       array_agg(s.k_1) FILTER (WHERE s.differs),
       array_agg(s.k_2) FILTER (WHERE s.differs),
       array_agg(s.o_1) FILTER (WHERE s.differs)
FROM  (SELECT "articles"."code" AS k_1,
              "articles"."shelf" AS k_2,
              "articles"."id" AS o_1,
              "articles"."id" IS DISTINCT FROM CAST(id + 1000 AS integer) AS differs
       FROM   "shop"."articles" AS "articles"
       WHERE  ($4::boolean OR ("articles"."code", "articles"."shelf") > ROW($5::text, $6::integer))
         AND  ("articles"."code", "articles"."shelf") <= ROW($7::text, $8::integer)
       ORDER  BY "articles"."code", "articles"."shelf"
       FOR    NO KEY UPDATE OF "articles") AS s;

-- change as captured: in place of change when the capture, under the same snapshot, has told all that is kept
-- $1 after.none, $2 after.1, $3 after.2, $4 through.1, $5 through.2
UPDATE "shop"."articles" AS "articles"
SET    "id" = id + 1000
WHERE  ($1::boolean OR ("articles"."code", "articles"."shelf") > ROW($2::text, $3::integer))
  AND  ("articles"."code", "articles"."shelf") <= ROW($4::text, $5::integer);

-- change: a range of the key, not a join with the batch, which costs half as much again
-- $1 after.none, $2 after.1, $3 after.2, $4 through.1, $5 through.2, $6 slice, $7 ordinal, $8 part
WITH changed AS (
  UPDATE "shop"."articles" AS "articles"
  SET    "id" = id + 1000
  WHERE  ($1::boolean OR ("articles"."code", "articles"."shelf") > ROW($2::text, $3::integer))
    AND  ("articles"."code", "articles"."shelf") <= ROW($4::text, $5::integer)
    AND  CASE WHEN ($1::boolean OR ("articles"."code", "articles"."shelf") > ROW($2::text, $3::integer))
                   AND ("articles"."code", "articles"."shelf") <= ROW($4::text, $5::integer)
              THEN "articles"."id" IS DISTINCT FROM CAST(id + 1000 AS integer) END
  RETURNING "articles"."code" AS k_1,
            "articles"."shelf" AS k_2,
            "articles"."id" AS n_1
), image AS (
  SELECT array_agg(s.k_1) AS k_1,
         array_agg(s.k_2) AS k_2,
         array_agg(s.n_1) AS n_1
  FROM  (SELECT * FROM changed ORDER BY k_1, k_2) AS s
)
UPDATE migrate.undo_{run}_1 AS u
SET    n_1 = image.n_1,
       exact = (u.k_1 IS NOT DISTINCT FROM image.k_1 AND u.k_2 IS NOT DISTINCT FROM image.k_2)
FROM   image
WHERE  (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer);

-- finish: the ledger's entry; no row: another worker has taken over; not exact: rows came in between
-- $1 run, $2 worker, $3 epoch, $4 after, $5 through, $6 changed, $7 slice, $8 ordinal, $9 part
WITH heartbeat AS (
  UPDATE migrate.workers
  SET    heartbeat_at = clock_timestamp()
  WHERE  run = $1::bigint AND worker = $2::integer AND epoch = $3::integer
)
INSERT INTO migrate.batches (run, kind, slice, ordinal, part, after_key, through_key,
                             rows_read, rows_changed, rows_unchanged, epoch, exact)
SELECT $1::bigint, 'apply', u.slice, u.ordinal, u.part, $4::text[], $5::text[],
       u.rows_read, c.rows_changed, u.rows_read - c.rows_changed, f.epoch,
       coalesce(u.exact, $6::bigint = coalesce(cardinality(u.n_1), 0))
FROM   migrate.undo_{run}_1 AS u
CROSS  JOIN LATERAL (SELECT coalesce($6::bigint, cardinality(u.n_1), 0) AS rows_changed) AS c
CROSS  JOIN (SELECT epoch FROM migrate.fence WHERE run = $1::bigint AND epoch = $3::integer FOR SHARE) AS f
WHERE  (u.slice, u.ordinal, u.part) = ($7::integer, $8::integer, $9::integer)
RETURNING exact, rows_read, rows_changed, xid,
          (SELECT coalesce(cardinality(u.k_1), 0)
           FROM   migrate.undo_{run}_1 AS u
           WHERE  (u.slice, u.ordinal, u.part) = ($7::integer, $8::integer, $9::integer)) AS rows_captured;

-- ===== finish: once, after the last batch

-- left behind: rows that became eligible behind the batches, counted and not passed over in silence
-- $1 upper.1, $2 upper.2, $3 others, $4 horizon, $5 transactions
SELECT count(*) FILTER (WHERE "articles"."id" IS DISTINCT FROM CAST(id + 1000 AS integer))
FROM   "shop"."articles" AS "articles"
WHERE  ("articles"."code", "articles"."shelf") <= ROW($1::text, $2::integer)
  AND  $3::boolean
  AND  ($4::bigint IS NULL
        OR ((CAST(CAST("articles".xmin AS text) AS bigint) - $4::bigint) & 4294967295) < 2147483648)
  AND  NOT EXISTS (SELECT FROM unnest($5::xid[]) AS own(xid) WHERE own.xid = "articles".xmin)
  AND  NOT EXISTS (SELECT
                   FROM  (SELECT unnest(u.k_1), unnest(u.k_2) FROM migrate.undo_{run}_1 AS u) AS d(k_1, k_2)
                   WHERE  d.k_1 = "articles"."code" AND d.k_2 = "articles"."shelf");

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
FROM   "shop"."articles" AS "articles"
WHERE  "articles".xmin IN (SELECT unnest($1::xid[]));

-- conflicts ahead: rows changed since, all batches at once; under stop there must be none
SELECT count(*) AS conflicts
FROM   migrate.undo_{run}_1 AS b
CROSS  JOIN LATERAL unnest(b.k_1, b.k_2, b.n_1) AS d(k_1, k_2, n_1)
LEFT   JOIN "shop"."articles" AS "articles" ON "articles"."code" = d.k_1 AND "articles"."shelf" = d.k_2
WHERE  NOT b.reverted
  AND  ("articles"."code" IS NULL
        OR record_image_ne(ROW("articles"."id"), ROW(d.n_1)));

-- mark: a second revert of the same batch waits here and then finds nothing to do
-- $1 slice, $2 ordinal, $3 part
UPDATE migrate.undo_{run}_1 AS u
SET    reverted = true
WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer)
  AND  NOT u.reverted;

-- restore: one statement compares and writes, so no edit is lost between the two
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  UPDATE "shop"."articles" AS "articles"
  SET    "id" = d.o_1
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.k_2, b.o_1, b.n_1) AS d(k_1, k_2, o_1, n_1)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "articles"."code" = d.k_1 AND "articles"."shelf" = d.k_2
    AND  record_image_eq(ROW("articles"."id"), ROW(d.n_1))
  RETURNING "articles"."code" AS k_1, "articles"."shelf" AS k_2
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

-- seize: under force what is overwritten is kept first, and the rows locked meanwhile
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH d AS MATERIALIZED (
  SELECT d.k_1,
         d.k_2,
         record_image_ne(ROW("articles"."id"), ROW(d.n_1)) AS differs,
         jsonb_object(ARRAY['id'],
                      ARRAY[CAST("articles"."id" AS text)]) AS found
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.k_2, b.n_1) AS d(k_1, k_2, n_1),
         "shop"."articles" AS "articles"
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "articles"."code" = d.k_1 AND "articles"."shelf" = d.k_2
  FOR    NO KEY UPDATE OF "articles"
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
SELECT $4::bigint, 1, $5::bigint, ARRAY[CAST(d.k_1 AS text), CAST(d.k_2 AS text)], 'overwritten', d.found
FROM   d
WHERE  d.differs;

-- restore forced: under force the old values come back over whatever has been kept
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  UPDATE "shop"."articles" AS "articles"
  SET    "id" = d.o_1
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.k_2, b.o_1, b.n_1) AS d(k_1, k_2, o_1, n_1)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "articles"."code" = d.k_1 AND "articles"."shelf" = d.k_2
    AND  (record_image_eq(ROW("articles"."id"), ROW(d.n_1))
          OR EXISTS (SELECT
                     FROM   migrate.conflicts AS c
                     WHERE  (c.run, c.step, c.seq) = ($4::bigint, 1, $5::bigint)
                       AND  c.key = ARRAY[CAST(d.k_1 AS text), CAST(d.k_2 AS text)]))
  RETURNING "articles"."code" AS k_1, "articles"."shelf" AS k_2
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
       found = jsonb_object(ARRAY['id'],
                            ARRAY[CAST("articles"."id" AS text)])
FROM   "shop"."articles" AS "articles"
WHERE  (c.run, c.step, c.seq) = ($1::bigint, 1, $2::bigint)
  AND  c.reason = 'gone'
  AND  "articles"."code" = CAST(c.key[1] AS text) AND "articles"."shelf" = CAST(c.key[2] AS integer);

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
