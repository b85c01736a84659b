-- ===== prepare: once, in the transaction that begins the run

-- source table: the rows that batches walk from key to key: one that is NULL would be passed over, of two alike one
CREATE TABLE migrate.source_{run} ("day" date,
                                   "sku" text COLLATE "pg_catalog"."C",
                                   "qty" bigint,
                                   "sales" bigint[],
                                   PRIMARY KEY ("sku", "day"));

-- image table: which rows a batch has; what the steps read of them stays as it is in the source
CREATE TABLE migrate.image_{run} (slice integer,
                                  ordinal integer,
                                  part integer,
                                  rows_read bigint NOT NULL,
                                  k_1 text[] COMPRESSION lz4,
                                  k_2 date[] COMPRESSION lz4,
                                  h_1 bigint[] COMPRESSION lz4,
                                  exact boolean,
                                  reverted boolean NOT NULL DEFAULT false,
                                  PRIMARY KEY (slice, ordinal, part));

-- ===== bounds: once, before the first batch

-- lockers: nobody but the run writes rows that were read once
SELECT l.virtualtransaction FROM pg_locks AS l WHERE false;

-- freeze: the key comes back when the rows are there
ALTER TABLE migrate.source_{run} DROP CONSTRAINT source_{run}_pkey,
                                 ALTER "sku" DROP NOT NULL,
                                 ALTER "day" DROP NOT NULL;

-- freeze: once, in one snapshot: what the steps change, or somebody else, is not found again
INSERT INTO migrate.source_{run} ("day", "sku", "qty", "sales")
SELECT *
FROM  (SELECT "day", "sku", "qty", "sales"
       FROM   "shop"."sold") AS frozen
ORDER  BY frozen."sku", frozen."day";

-- freeze: batches go from key to key, so each row has another one
DO $key$
DECLARE
  detail text;
BEGIN
  ALTER TABLE migrate.source_{run} ADD CONSTRAINT source_{run}_pkey PRIMARY KEY ("sku", "day");
EXCEPTION
  WHEN unique_violation THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
    RAISE EXCEPTION 'the source has several rows of one key: %', detail
    USING ERRCODE = 'MG002', HINT = 'group the query by the key (sku, day), or name columns that together are another in each row';
  WHEN not_null_violation THEN
    RAISE EXCEPTION USING ERRCODE = 'MG002', MESSAGE = 'the source has a row whose key (sku, day) is NULL, and batches would pass it over',
                          HINT = 'leave such rows out of the query, or give them a key';
END $key$;

-- freeze: a new table has no statistics (K27)
ANALYZE migrate.source_{run};

-- upper: the last key, fixed once: a writer that goes on beyond it does not keep the run from ending
SELECT CAST("sale"."sku" AS text) AS upper_1,
       CAST("sale"."day" AS text) AS upper_2
FROM   migrate.source_{run} AS "sale"
ORDER  BY "sale"."sku" DESC, "sale"."day" DESC
LIMIT  1;

-- slices: each slice is walked by one worker at a time; its end is the next one's beginning
-- $1 upper.1, $2 upper.2, $3 run, $4 upper
WITH found AS (
  SELECT ARRAY[CAST("sale"."sku" AS text) COLLATE "default", CAST("sale"."day" AS text)] AS key,
         row_number() OVER (ORDER BY "sale"."sku", "sale"."day") AS place,
         count(*) OVER () AS places
  FROM   migrate.source_{run} AS "sale"
  WHERE  ("sale"."sku", "sale"."day") < ROW($1::text, $2::date)
    AND  (sale.qty > 1)
)
INSERT INTO migrate.slices (run, slice, after_key, through_key)
SELECT $3::bigint, row_number() OVER (ORDER BY s.place) - 1, lag(s.key) OVER (ORDER BY s.place), s.key
FROM  (SELECT f.place, f.key
       FROM   found AS f
       WHERE  f.place < f.places AND f.place * 2 / f.places > (f.place - 1) * 2 / f.places
       UNION  ALL
       SELECT NULL, $4::text[]) AS s;

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
-- $1 after.none, $2 after.1, $3 after.2, $4 upper.1, $5 upper.2, $6 size
SELECT CAST("sale"."sku" AS text) AS through_1,
       CAST("sale"."day" AS text) AS through_2
FROM   migrate.source_{run} AS "sale"
WHERE  ($1::boolean OR ("sale"."sku", "sale"."day") > ROW($2::text, $3::date))
  AND  ("sale"."sku", "sale"."day") <= ROW($4::text, $5::date)
  AND  (sale.qty > 1)
ORDER  BY "sale"."sku", "sale"."day"
OFFSET $6::bigint - 1
LIMIT  1;

-- capture: which rows the batch has, and what the steps read of them, whatever these change
-- $1 slice, $2 ordinal, $3 part, $4 after.none, $5 after.1, $6 after.2, $7 upper.1, $8 upper.2, $9 size
INSERT INTO migrate.image_{run} (slice, ordinal, part, rows_read, k_1, k_2, h_1)
SELECT $1::integer, $2::integer, $3::integer,
       count(*),
       array_agg(s.k_1),
       array_agg(s.k_2),
       array_agg(hashtextextended(CAST("batch"."sku" AS text) COLLATE "C", 2)
                 # hashint8extended(CAST("batch"."qty" AS bigint), (CAST("batch"."qty" AS bigint) >> 32) * 65536 + 3)
                 # coalesce(hashtextextended(CAST(ROW(CAST("batch"."sales" AS bigint[])) AS text) COLLATE "C", 4), 8954805688390271222))
FROM   (SELECT "sale"."sku" AS k_1,
               "sale"."day" AS k_2,
               "sale"."sku" AS b_2,
               "sale"."day" AS b_1,
               "sale"."qty" AS b_3,
               "sale"."sales" AS b_4
        FROM   migrate.source_{run} AS "sale"
        WHERE  ($4::boolean OR ("sale"."sku", "sale"."day") > ROW($5::text, $6::date))
          AND  ("sale"."sku", "sale"."day") <= ROW($7::text, $8::date)
          AND  (sale.qty > 1)
        ORDER  BY "sale"."sku", "sale"."day"
        LIMIT  $9::bigint) AS s,
       LATERAL (SELECT s.b_2 AS "sku", s.b_1 AS "day", s.b_3 AS "qty", s.b_4 AS "sales") AS "batch"
RETURNING false AS as_captured, CASE WHEN rows_read = $9::bigint THEN CAST(k_1[cardinality(k_1)] AS text) END AS through_1, CASE WHEN rows_read = $9::bigint THEN CAST(k_2[cardinality(k_2)] AS text) END AS through_2;

-- capture locked: from the second attempt on the rows are locked before anything is computed
-- $1 slice, $2 ordinal, $3 part, $4 after.none, $5 after.1, $6 after.2, $7 through.1, $8 through.2
INSERT INTO migrate.image_{run} (slice, ordinal, part, rows_read, k_1, k_2, h_1)
SELECT $1::integer, $2::integer, $3::integer,
       count(*),
       array_agg(s.k_1),
       array_agg(s.k_2),
       array_agg(hashtextextended(CAST("batch"."sku" AS text) COLLATE "C", 2)
                 # hashint8extended(CAST("batch"."qty" AS bigint), (CAST("batch"."qty" AS bigint) >> 32) * 65536 + 3)
                 # coalesce(hashtextextended(CAST(ROW(CAST("batch"."sales" AS bigint[])) AS text) COLLATE "C", 4), 8954805688390271222))
FROM   (SELECT "sale"."sku" AS k_1,
               "sale"."day" AS k_2,
               "sale"."sku" AS b_2,
               "sale"."day" AS b_1,
               "sale"."qty" AS b_3,
               "sale"."sales" AS b_4
        FROM   migrate.source_{run} AS "sale"
        WHERE  ($4::boolean OR ("sale"."sku", "sale"."day") > ROW($5::text, $6::date))
          AND  ("sale"."sku", "sale"."day") <= ROW($7::text, $8::date)
          AND  (sale.qty > 1)
        ORDER  BY "sale"."sku", "sale"."day"
        FOR    NO KEY UPDATE OF "sale") AS s,
       LATERAL (SELECT s.b_2 AS "sku", s.b_1 AS "day", s.b_3 AS "qty", s.b_4 AS "sales") AS "batch";

-- change: what the rows are is kept already, so nothing is asked of the insert but their number
-- $1 after.none, $2 after.1, $3 after.2, $4 through.1, $5 through.2, $6 snapshot, $7 slice, $8 ordinal, $9 part
WITH batch AS (
       SELECT "sale"."sku", "sale"."day", "sale"."qty", "sale"."sales"
       FROM   migrate.source_{run} AS "sale"
       WHERE  ($1::boolean OR ("sale"."sku", "sale"."day") > ROW($2::text, $3::date))
         AND  ("sale"."sku", "sale"."day") <= ROW($4::text, $5::date)
         AND  (sale.qty > 1)
         AND  ($6::boolean OR ("sale"."sku", "sale"."day") IN (SELECT d.k_1, d.k_2
                                                               FROM   migrate.image_{run} AS b,
                                                                      unnest(b.k_1, b.k_2) AS d(k_1, k_2)
                                                               WHERE  (b.slice, b.ordinal, b.part) = ($7::integer, $8::integer, $9::integer)))
     )
INSERT INTO "shop"."report" AS "report" ("day", "sku", "qty", "sales")
SELECT "batch"."day",
       "batch"."sku",
       "batch"."qty",
       "batch"."sales"
FROM   "batch"
ORDER  BY batch."sku", batch."day";

-- finish: the ledger's entry; no row: another worker has taken over; not exact: rows came in between
-- $1 run, $2 worker, $3 epoch, $4 after, $5 through, $6 written, $7 slice, $8 ordinal, $9 part
WITH heartbeat AS (
  UPDATE migrate.workers
  SET    heartbeat_at = clock_timestamp()
  WHERE  run = $1::bigint AND worker = $2::integer AND epoch = $3::integer
)
INSERT INTO migrate.batches (run, kind, slice, ordinal, part, after_key, through_key,
                             rows_read, rows_changed, rows_unchanged, rows_written, epoch, exact)
SELECT $1::bigint, 'apply', u.slice, u.ordinal, u.part, $4::text[], $5::text[],
       u.rows_read, u.rows_read, 0,
       CAST(ARRAY[u.rows_read] AS bigint[]), f.epoch,
       coalesce(u.exact, true)
       AND coalesce(($6::bigint[])[1], 0) = u.rows_read
FROM   migrate.image_{run} AS u
CROSS  JOIN (SELECT epoch FROM migrate.fence WHERE run = $1::bigint AND epoch = $3::integer FOR SHARE) AS f
WHERE  (u.slice, u.ordinal, u.part) = ($7::integer, $8::integer, $9::integer)
RETURNING exact, rows_read, rows_changed, xid, rows_changed AS rows_captured;

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
        JOIN   migrate.image_{run} AS b USING (slice, ordinal, part)
        CROSS  JOIN unnest(b.k_1, b.k_2, b.h_1) AS d(k_1, k_2, h_1)
        LEFT   JOIN "shop"."report" AS "report" ON "report"."sku" = d.k_1 AND "report"."day" = d.k_2
        WHERE  NOT r.reverted
          AND  ("report"."sku" IS NULL
                 OR (hashtextextended(CAST("report"."sku" AS text) COLLATE "C", 2)
                     # hashint8extended(CAST("report"."qty" AS bigint), (CAST("report"."qty" AS bigint) >> 32) * 65536 + 3)
                     # coalesce(hashtextextended(CAST(ROW(CAST("report"."sales" AS bigint[])) AS text) COLLATE "C", 4), 8954805688390271222)) <> d.h_1)) AS conflicts;

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
       FROM   migrate.image_{run} AS b,
              unnest(b.k_1, b.k_2) AS d(k_1, k_2),
              "shop"."report" AS "report"
       WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
         AND  "report"."sku" = d.k_1 AND "report"."day" = d.k_2
       FOR    UPDATE OF "report") AS locked;

-- seize: under force what is deleted is kept first where it is not what the run has inserted
-- $1 run, $2 seq, $3 slice, $4 ordinal, $5 part
INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
SELECT $1::bigint, 1, $2::bigint, ARRAY[CAST(d.k_1 AS text), CAST(d.k_2 AS text)], 'overwritten', jsonb_object(ARRAY['day', 'sku', 'qty', 'sales'],
                                                                                                               ARRAY[CAST("report"."day" AS text), CAST("report"."sku" AS text), CAST("report"."qty" AS text), CAST(CAST("report"."sales" AS bigint[]) AS text)])
FROM   migrate.image_{run} AS b,
       unnest(b.k_1, b.k_2, b.h_1) AS d(k_1, k_2, h_1),
       "shop"."report" AS "report"
WHERE  (b.slice, b.ordinal, b.part) = ($3::integer, $4::integer, $5::integer)
  AND  "report"."sku" = d.k_1 AND "report"."day" = d.k_2
  AND  (hashtextextended(CAST("report"."sku" AS text) COLLATE "C", 2)
        # hashint8extended(CAST("report"."qty" AS bigint), (CAST("report"."qty" AS bigint) >> 32) * 65536 + 3)
        # coalesce(hashtextextended(CAST(ROW(CAST("report"."sales" AS bigint[])) AS text) COLLATE "C", 4), 8954805688390271222)) <> d.h_1;

-- restore: one statement compares and deletes, so no edit is lost between the two
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  DELETE FROM "shop"."report" AS "report"
  USING  migrate.image_{run} AS b,
         unnest(b.k_1, b.k_2, b.h_1) AS d(k_1, k_2, h_1)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "report"."sku" = d.k_1 AND "report"."day" = d.k_2
    AND  (hashtextextended(CAST("report"."sku" AS text) COLLATE "C", 2)
          # hashint8extended(CAST("report"."qty" AS bigint), (CAST("report"."qty" AS bigint) >> 32) * 65536 + 3)
          # coalesce(hashtextextended(CAST(ROW(CAST("report"."sales" AS bigint[])) AS text) COLLATE "C", 4), 8954805688390271222)) = d.h_1
  RETURNING "report"."sku" AS k_1, "report"."day" AS k_2
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason)
SELECT $4::bigint, 1, $5::bigint, ARRAY[CAST(d.k_1 AS text), CAST(d.k_2 AS text)], 'gone'
FROM  (SELECT d.k_1, d.k_2
       FROM   migrate.image_{run} AS b,
              unnest(b.k_1, b.k_2) AS d(k_1, k_2)
       WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
         AND  cardinality(b.k_1) > (SELECT count(*) FROM back)
       EXCEPT
       SELECT k_1, k_2 FROM back) AS d;

-- restore forced: under force rows go whatever they hold by now, unless another one refers to them
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  DELETE FROM "shop"."report" AS "report"
  USING  migrate.image_{run} AS b,
         unnest(b.k_1, b.k_2, b.h_1) AS d(k_1, k_2, h_1)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "report"."sku" = d.k_1 AND "report"."day" = d.k_2
  RETURNING "report"."sku" AS k_1, "report"."day" AS k_2
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason)
SELECT $4::bigint, 1, $5::bigint, ARRAY[CAST(d.k_1 AS text), CAST(d.k_2 AS text)], 'gone'
FROM  (SELECT d.k_1, d.k_2
       FROM   migrate.image_{run} AS b,
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
       found = jsonb_object(ARRAY['day', 'sku', 'qty', 'sales'],
                            ARRAY[CAST("report"."day" AS text), CAST("report"."sku" AS text), CAST("report"."qty" AS text), CAST(CAST("report"."sales" AS bigint[]) AS text)])
FROM   "shop"."report" AS "report"
WHERE  (c.run, c.step, c.seq) = ($1::bigint, 1, $2::bigint)
  AND  c.reason = 'gone'
  AND  "report"."sku" = CAST(c.key[1] AS text) AND "report"."day" = CAST(c.key[2] AS date);

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
DROP TABLE migrate.image_{run}, migrate.source_{run};
