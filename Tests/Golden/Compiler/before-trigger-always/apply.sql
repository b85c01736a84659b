-- ===== prepare: once, in the transaction that begins the run

-- undo table: a row a batch, an array a column; never the table's own row type, which would forbid DDL
CREATE TABLE migrate.undo_{run}_1 (slice integer,
                                   ordinal integer,
                                   part integer,
                                   rows_read bigint NOT NULL,
                                   k_1 text[] COMPRESSION lz4,
                                   k_2 integer[] COMPRESSION lz4,
                                   o_3 text[] COMPRESSION lz4,
                                   n_3 text[] COMPRESSION lz4,
                                   o_4 timestamp with time zone[] COMPRESSION lz4,
                                   n_4 timestamp with time zone[] COMPRESSION lz4,
                                   back_1 text[],
                                   back_2 integer[],
                                   held_k_1 text[],
                                   held_k_2 integer[],
                                   held_4 timestamp with time zone[],
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
SELECT CAST("people"."country" AS text) AS upper_1,
       CAST("people"."id" AS text) AS upper_2
FROM   "shop"."people" AS "people"
ORDER  BY "people"."country" DESC, "people"."id" DESC
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
-- $1 after.none, $2 after.1, $3 after.2, $4 upper.1, $5 upper.2, $6 size
SELECT CAST("people"."country" AS text) AS through_1,
       CAST("people"."id" AS text) AS through_2
FROM   "shop"."people" AS "people"
WHERE  ($1::boolean OR ("people"."country", "people"."id") > ROW($2::text, $3::integer))
  AND  ("people"."country", "people"."id") <= ROW($4::text, $5::integer)
ORDER  BY "people"."country", "people"."id"
OFFSET $6::bigint - 1
LIMIT  1;

-- capture: the old values; the key columns tell later whether exactly these rows were changed
-- $1 slice, $2 ordinal, $3 part, $4 after.none, $5 after.1, $6 after.2, $7 through.1, $8 through.2
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, rows_read, k_1, k_2, o_3, o_4)
SELECT $1::integer, $2::integer, $3::integer,
       count(*),
       array_agg(s.k_1) FILTER (WHERE s.differs),
       array_agg(s.k_2) FILTER (WHERE s.differs),
       array_agg(s.o_3) FILTER (WHERE s.differs),
       array_agg(s.o_4) FILTER (WHERE s.differs)
FROM  (SELECT "people"."country" AS k_1,
              "people"."id" AS k_2,
              "people"."name" AS o_3,
              "people"."last_update" AS o_4,
              record_image_ne(ROW("people"."name"), ROW(CAST(upper(name) AS text))) AS differs
       FROM   "shop"."people" AS "people"
       WHERE  ($4::boolean OR ("people"."country", "people"."id") > ROW($5::text, $6::integer))
         AND  ("people"."country", "people"."id") <= ROW($7::text, $8::integer)
       ORDER  BY "people"."country", "people"."id") AS s
RETURNING false AS as_captured;

-- capture locked: from the second attempt on the rows are locked before anything is computed
-- $1 slice, $2 ordinal, $3 part, $4 after.none, $5 after.1, $6 after.2, $7 through.1, $8 through.2
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, rows_read, k_1, k_2, o_3, o_4)
SELECT $1::integer, $2::integer, $3::integer,
       count(*),
       array_agg(s.k_1) FILTER (WHERE s.differs),
       array_agg(s.k_2) FILTER (WHERE s.differs),
       array_agg(s.o_3) FILTER (WHERE s.differs),
       array_agg(s.o_4) FILTER (WHERE s.differs)
FROM  (SELECT "people"."country" AS k_1,
              "people"."id" AS k_2,
              "people"."name" AS o_3,
              "people"."last_update" AS o_4,
              record_image_ne(ROW("people"."name"), ROW(CAST(upper(name) AS text))) AS differs
       FROM   "shop"."people" AS "people"
       WHERE  ($4::boolean OR ("people"."country", "people"."id") > ROW($5::text, $6::integer))
         AND  ("people"."country", "people"."id") <= ROW($7::text, $8::integer)
       ORDER  BY "people"."country", "people"."id"
       FOR    NO KEY UPDATE OF "people") AS s;

-- change: a range of the key, not a join with the batch, which costs half as much again
-- $1 after.none, $2 after.1, $3 after.2, $4 through.1, $5 through.2, $6 slice, $7 ordinal, $8 part
WITH changed AS (
  UPDATE "shop"."people" AS "people"
  SET    "name" = upper(name)
  WHERE  ($1::boolean OR ("people"."country", "people"."id") > ROW($2::text, $3::integer))
    AND  ("people"."country", "people"."id") <= ROW($4::text, $5::integer)
    AND  CASE WHEN ($1::boolean OR ("people"."country", "people"."id") > ROW($2::text, $3::integer))
                   AND ("people"."country", "people"."id") <= ROW($4::text, $5::integer)
              THEN record_image_ne(ROW("people"."name"), ROW(CAST(upper(name) AS text))) END
  RETURNING "people"."country" AS k_1,
            "people"."id" AS k_2,
            "people"."name" AS n_3,
            "people"."last_update" AS n_4
), image AS (
  SELECT array_agg(s.k_1) AS k_1,
         array_agg(s.k_2) AS k_2,
         array_agg(s.n_3) AS n_3,
         array_agg(s.n_4) AS n_4
  FROM  (SELECT * FROM changed ORDER BY k_1, k_2) AS s
)
UPDATE migrate.undo_{run}_1 AS u
SET    n_3 = image.n_3,
       n_4 = image.n_4,
       exact = (u.k_1 IS NOT DISTINCT FROM image.k_1 AND u.k_2 IS NOT DISTINCT FROM image.k_2)
FROM   image
WHERE  (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer);

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
CROSS  JOIN LATERAL (SELECT coalesce(cardinality(u.n_3), 0) AS rows_changed) AS c
CROSS  JOIN (SELECT epoch FROM migrate.fence WHERE run = $1::bigint AND epoch = $3::integer FOR SHARE) AS f
WHERE  (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)
RETURNING exact, rows_read, rows_changed, xid,
          (SELECT coalesce(cardinality(u.k_1), 0)
           FROM   migrate.undo_{run}_1 AS u
           WHERE  (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)) AS rows_captured;

-- ===== finish: once, after the last batch

-- left behind: rows that became eligible behind the batches, counted and not passed over in silence
-- $1 upper.1, $2 upper.2
SELECT count(*) FILTER (WHERE record_image_ne(ROW("people"."name"), ROW(CAST(upper(name) AS text))))
FROM   "shop"."people" AS "people"
WHERE  ("people"."country", "people"."id") <= ROW($1::text, $2::integer)
  AND  NOT EXISTS (SELECT
                   FROM  (SELECT unnest(u.k_1), unnest(u.k_2) FROM migrate.undo_{run}_1 AS u) AS d(k_1, k_2)
                   WHERE  d.k_1 = "people"."country" AND d.k_2 = "people"."id");

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
CROSS  JOIN LATERAL unnest(b.k_1, b.k_2, b.n_3) AS d(k_1, k_2, n_3)
LEFT   JOIN "shop"."people" AS "people" ON "people"."country" = d.k_1 AND "people"."id" = d.k_2
WHERE  NOT b.reverted
  AND  ("people"."country" IS NULL
        OR record_image_ne(ROW("people"."name"), ROW(d.n_3)));

-- mark: a second revert of the same batch waits here and then finds nothing to do
-- $1 slice, $2 ordinal, $3 part
UPDATE migrate.undo_{run}_1 AS u
SET    reverted = true
WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer)
  AND  NOT u.reverted;

-- hold: triggers will write these columns again; what they shall hold afterwards is kept first
-- $1 slice, $2 ordinal, $3 part
WITH held AS (
  SELECT d.k_1,
         d.k_2,
         CASE WHEN record_image_eq(ROW("people"."last_update"), ROW(d.n_4)) THEN d.o_4 ELSE "people"."last_update" END AS held_4
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.k_2, b.o_4, b.n_4) AS d(k_1, k_2, o_4, n_4),
         "shop"."people" AS "people"
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "people"."country" = d.k_1 AND "people"."id" = d.k_2
  FOR    NO KEY UPDATE OF "people"
)
UPDATE migrate.undo_{run}_1 AS u
SET    held_k_1 = a.k_1,
       held_k_2 = a.k_2,
       held_4 = a.held_4
FROM  (SELECT array_agg(h.k_1) AS k_1,
              array_agg(h.k_2) AS k_2,
              array_agg(h.held_4) AS held_4 FROM held AS h) AS a
WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer);

-- restore: one statement compares and writes, so no edit is lost between the two
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  UPDATE "shop"."people" AS "people"
  SET    "name" = d.o_3
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.k_2, b.o_3, b.n_3) AS d(k_1, k_2, o_3, n_3)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "people"."country" = d.k_1 AND "people"."id" = d.k_2
    AND  record_image_eq(ROW("people"."name"), ROW(d.n_3))
  RETURNING "people"."country" AS k_1, "people"."id" AS k_2
), noted AS (
   UPDATE migrate.undo_{run}_1 AS u
   SET    back_1 = a.k_1,
          back_2 = a.k_2
   FROM  (SELECT array_agg(k_1) AS k_1, array_agg(k_2) AS k_2 FROM back) AS a
   WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer)
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
         record_image_ne(ROW("people"."name"), ROW(d.n_3)) AS differs,
         jsonb_object(ARRAY['name'],
                      ARRAY[CAST("people"."name" AS text)]) AS found
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.k_2, b.n_3) AS d(k_1, k_2, n_3),
         "shop"."people" AS "people"
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "people"."country" = d.k_1 AND "people"."id" = d.k_2
  FOR    NO KEY UPDATE OF "people"
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
SELECT $4::bigint, 1, $5::bigint, ARRAY[CAST(d.k_1 AS text), CAST(d.k_2 AS text)], 'overwritten', d.found
FROM   d
WHERE  d.differs;

-- restore forced: under force the old values come back over whatever has been kept
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  UPDATE "shop"."people" AS "people"
  SET    "name" = d.o_3
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.k_2, b.o_3, b.n_3) AS d(k_1, k_2, o_3, n_3)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "people"."country" = d.k_1 AND "people"."id" = d.k_2
    AND  (record_image_eq(ROW("people"."name"), ROW(d.n_3))
          OR EXISTS (SELECT
                     FROM   migrate.conflicts AS c
                     WHERE  (c.run, c.step, c.seq) = ($4::bigint, 1, $5::bigint)
                       AND  c.key = ARRAY[CAST(d.k_1 AS text), CAST(d.k_2 AS text)]))
  RETURNING "people"."country" AS k_1, "people"."id" AS k_2
), noted AS (
   UPDATE migrate.undo_{run}_1 AS u
   SET    back_1 = a.k_1,
          back_2 = a.k_2
   FROM  (SELECT array_agg(k_1) AS k_1, array_agg(k_2) AS k_2 FROM back) AS a
   WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer)
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
       found = jsonb_object(ARRAY['name'],
                            ARRAY[CAST("people"."name" AS text)])
FROM   "shop"."people" AS "people"
WHERE  (c.run, c.step, c.seq) = ($1::bigint, 1, $2::bigint)
  AND  c.reason = 'gone'
  AND  "people"."country" = CAST(c.key[1] AS text) AND "people"."id" = CAST(c.key[2] AS integer);

-- triggers off: for this statement alone
SELECT migrate.settle('"shop"."people"', true);
ALTER TABLE "shop"."people" DISABLE TRIGGER "touch";
ALTER TABLE "shop"."people" DISABLE TRIGGER "shout";

-- restore rewritten: what the triggers have just written goes, what was there comes back
-- $1 slice, $2 ordinal, $3 part
WITH kept AS MATERIALIZED (
  SELECT d.k_1,
         d.k_2,
         d.o_3,
         h.held_k_1,
         h.held_k_2,
         h.held_4
  FROM   migrate.undo_{run}_1 AS b
  CROSS  JOIN LATERAL unnest(b.back_1, b.back_2) AS r(back_1, back_2)
  LEFT   JOIN LATERAL unnest(b.k_1, b.k_2, b.o_3) AS d(k_1, k_2, o_3)
         ON d.k_1 = r.back_1 AND d.k_2 = r.back_2
  LEFT   JOIN LATERAL unnest(b.held_k_1, b.held_k_2, b.held_4) AS h(held_k_1, held_k_2, held_4)
         ON h.held_k_1 = r.back_1 AND h.held_k_2 = r.back_2
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
)
UPDATE "shop"."people" AS "people"
SET    "name" = d.o_3,
       "last_update" = d.held_4
FROM   kept AS d
WHERE  "people"."country" = d.k_1 AND "people"."id" = d.k_2
  AND  d.held_k_1 IS NOT NULL;

-- triggers on: they fire again for whatever comes
SELECT migrate.settle('"shop"."people"', true);
ALTER TABLE "shop"."people" ENABLE ALWAYS TRIGGER "touch";
ALTER TABLE "shop"."people" ENABLE TRIGGER "shout";
SELECT migrate.settle('"shop"."people"', false);

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
