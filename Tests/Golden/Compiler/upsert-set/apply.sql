-- ===== prepare: once, in the transaction that begins the run

-- source table: the rows that batches walk from key to key: one that is NULL would be passed over, of two alike one
CREATE TABLE migrate.source_{run} ("sku" text,
                                   "day" date,
                                   "qty" bigint,
                                   PRIMARY KEY ("sku", "day"));

-- image table: which rows a batch has; what the steps read of them stays as it is in the source
CREATE TABLE migrate.image_{run} (slice integer,
                                  ordinal integer,
                                  part integer,
                                  rows_read bigint NOT NULL,
                                  k_1 text[] COMPRESSION lz4,
                                  k_2 date[] COMPRESSION lz4,
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
                                   o_5 bpchar[] COMPRESSION lz4,
                                   n_5 bpchar[] COMPRESSION lz4,
                                   o_4 numeric[] COMPRESSION lz4,
                                   n_4 numeric[] COMPRESSION lz4,
                                   o_6 integer[] COMPRESSION lz4,
                                   n_6 integer[] COMPRESSION lz4,
                                   exact boolean,
                                   PRIMARY KEY (slice, ordinal, part));

-- ===== bounds: once, before the first batch

-- lockers: nobody but the run writes rows that were read once
SELECT l.virtualtransaction FROM pg_locks AS l WHERE false;

-- freeze: the key comes back when the rows are there
ALTER TABLE migrate.source_{run} DROP CONSTRAINT source_{run}_pkey,
                                 ALTER "sku" DROP NOT NULL,
                                 ALTER "day" DROP NOT NULL;

-- freeze: once, in one snapshot: what the steps change, or somebody else, is not found again
INSERT INTO migrate.source_{run} ("sku", "day", "qty")
SELECT *
FROM  (SELECT sku, day, sum(qty) AS qty FROM shop.sales GROUP BY sku, day) AS frozen
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
SELECT CAST("batch_row"."sku" AS text) AS upper_1,
       CAST("batch_row"."day" AS text) AS upper_2
FROM   migrate.source_{run} AS "batch_row"
ORDER  BY "batch_row"."sku" DESC, "batch_row"."day" DESC
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
-- $1 after.none, $2 after.1, $3 after.2, $4 upper.1, $5 upper.2, $6 size
SELECT CAST("batch_row"."sku" AS text) AS through_1,
       CAST("batch_row"."day" AS text) AS through_2
FROM   migrate.source_{run} AS "batch_row"
WHERE  ($1::boolean OR ("batch_row"."sku", "batch_row"."day") > ROW($2::text, $3::date))
  AND  ("batch_row"."sku", "batch_row"."day") <= ROW($4::text, $5::date)
ORDER  BY "batch_row"."sku", "batch_row"."day"
OFFSET $6::bigint - 1
LIMIT  1;

-- capture: which rows the batch has, and what the steps read of them, whatever these change
-- $1 slice, $2 ordinal, $3 part, $4 after.none, $5 after.1, $6 after.2, $7 upper.1, $8 upper.2, $9 size
INSERT INTO migrate.image_{run} (slice, ordinal, part, rows_read, k_1, k_2)
SELECT $1::integer, $2::integer, $3::integer,
       count(*),
       array_agg(s.k_1),
       array_agg(s.k_2)
FROM   (SELECT "batch_row"."sku" AS k_1,
               "batch_row"."day" AS k_2
        FROM   migrate.source_{run} AS "batch_row"
        WHERE  ($4::boolean OR ("batch_row"."sku", "batch_row"."day") > ROW($5::text, $6::date))
          AND  ("batch_row"."sku", "batch_row"."day") <= ROW($7::text, $8::date)
        ORDER  BY "batch_row"."sku", "batch_row"."day"
        LIMIT  $9::bigint) AS s
RETURNING false AS as_captured, CASE WHEN rows_read = $9::bigint THEN CAST(k_1[cardinality(k_1)] AS text) END AS through_1, CASE WHEN rows_read = $9::bigint THEN CAST(k_2[cardinality(k_2)] AS text) END AS through_2;

-- capture locked: from the second attempt on the rows are locked before anything is computed
-- $1 slice, $2 ordinal, $3 part, $4 after.none, $5 after.1, $6 after.2, $7 through.1, $8 through.2
INSERT INTO migrate.image_{run} (slice, ordinal, part, rows_read, k_1, k_2)
SELECT $1::integer, $2::integer, $3::integer,
       count(*),
       array_agg(s.k_1),
       array_agg(s.k_2)
FROM   (SELECT "batch_row"."sku" AS k_1,
               "batch_row"."day" AS k_2
        FROM   migrate.source_{run} AS "batch_row"
        WHERE  ($4::boolean OR ("batch_row"."sku", "batch_row"."day") > ROW($5::text, $6::date))
          AND  ("batch_row"."sku", "batch_row"."day") <= ROW($7::text, $8::date)
        ORDER  BY "batch_row"."sku", "batch_row"."day"
        FOR    NO KEY UPDATE OF "batch_row") AS s;

-- change: the keys are kept, as RETURNING shows them, and what tells whether somebody changes the rows
-- $1 after.none, $2 after.1, $3 after.2, $4 through.1, $5 through.2, $6 snapshot, $7 slice, $8 ordinal, $9 part
WITH batch AS (
       SELECT "batch_row"."sku", "batch_row"."day", "batch_row"."qty"
       FROM   migrate.source_{run} AS "batch_row"
       WHERE  ($1::boolean OR ("batch_row"."sku", "batch_row"."day") > ROW($2::text, $3::date))
         AND  ("batch_row"."sku", "batch_row"."day") <= ROW($4::text, $5::date)
         AND  ($6::boolean OR ("batch_row"."sku", "batch_row"."day") IN (SELECT d.k_1, d.k_2
                                                                         FROM   migrate.image_{run} AS b,
                                                                                unnest(b.k_1, b.k_2) AS d(k_1, k_2)
                                                                         WHERE  (b.slice, b.ordinal, b.part) = ($7::integer, $8::integer, $9::integer)))
     ), added AS (
  INSERT INTO "shop"."report" AS "report" ("day", "sku", "qty", "note")
  SELECT "batch".day,
         "batch".sku,
         "batch".qty,
         'ok'
  FROM   "batch"
  ORDER  BY batch."sku", batch."day"
  ON CONFLICT ("day", "sku") DO NOTHING
  RETURNING "report"."id" AS k_1,
            hashtextextended(CAST(ROW("report"."day") AS text) COLLATE "C", 2)
            # hashtextextended("report"."sku" COLLATE "C", 3)
            # coalesce(hashtextextended(CAST("report"."qty" AS text) COLLATE "C", 4), 8954805688390271222)
            # coalesce(hashtextextended(CAST(ROW("report"."note") AS text) COLLATE "C", 5), 980875101213047373)
            # hashint4extended("report"."seen", 6) AS h_1
)
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, k_1, h_1, exact)
SELECT $7::integer, $8::integer, $9::integer,
       array_agg(s.k_1),
       array_agg(s.h_1),
       true
FROM  (SELECT * FROM added ORDER BY k_1) AS s;

-- capture: the old values and the new ones, computed once
-- $1 after.none, $2 after.1, $3 after.2, $4 through.1, $5 through.2, $6 slice, $7 ordinal, $8 part
WITH batch AS (
       SELECT "batch_row"."sku", "batch_row"."day", "batch_row"."qty"
       FROM   migrate.source_{run} AS "batch_row"
       WHERE  ($1::boolean OR ("batch_row"."sku", "batch_row"."day") > ROW($2::text, $3::date))
         AND  ("batch_row"."sku", "batch_row"."day") <= ROW($4::text, $5::date)
         AND  ("batch_row"."sku", "batch_row"."day") IN (SELECT d.k_1, d.k_2
                                                         FROM   migrate.image_{run} AS b,
                                                                unnest(b.k_1, b.k_2) AS d(k_1, k_2)
                                                         WHERE  (b.slice, b.ordinal, b.part) = ($6::integer, $7::integer, $8::integer))
     )
INSERT INTO migrate.undo_{run}_2 (slice, ordinal, part, k_1, o_5, o_4, o_6, n_5, n_4, n_6)
SELECT $6::integer, $7::integer, $8::integer,
       array_agg(s.k_1),
       array_agg(s.o_5),
       array_agg(s.o_4),
       array_agg(s.o_6),
       array_agg(s.n_5),
       array_agg(s.n_4),
       array_agg(s.n_6)
FROM  (SELECT "report"."id" AS k_1,
              "report"."note" AS o_5,
              "report"."qty" AS o_4,
              "report"."seen" AS o_6,
              CAST('ok' AS bpchar) AS n_5,
              CAST("report".qty + (CAST("batch".qty AS numeric(8,1))) AS numeric(8,1)) AS n_4,
              CAST("report".seen + 1 AS integer) AS n_6
       FROM   "shop"."report" AS "report",
              "batch"
       WHERE  ("report"."day" = CAST("batch".day AS date) AND "report"."sku" = CAST("batch".sku AS text))
                                                                                                           AND  "report"."id" NOT IN (SELECT unnest(b.k_1) FROM migrate.undo_{run}_1 AS b WHERE (b.slice, b.ordinal, b.part) = ($6::integer, $7::integer, $8::integer))
       ORDER  BY "report"."id"
       OFFSET 0) AS s
                     WHERE  record_image_ne(ROW(CAST(s.o_5 AS text), s.o_4, s.o_6),
                                            ROW(CAST(s.n_5 AS text), s.n_4, s.n_6));

-- capture locked: the rows are locked in the order of their key, so that two batches wait for one another and never both
-- $1 after.none, $2 after.1, $3 after.2, $4 through.1, $5 through.2, $6 slice, $7 ordinal, $8 part
WITH batch AS (
       SELECT "batch_row"."sku", "batch_row"."day", "batch_row"."qty"
       FROM   migrate.source_{run} AS "batch_row"
       WHERE  ($1::boolean OR ("batch_row"."sku", "batch_row"."day") > ROW($2::text, $3::date))
         AND  ("batch_row"."sku", "batch_row"."day") <= ROW($4::text, $5::date)
         AND  ("batch_row"."sku", "batch_row"."day") IN (SELECT d.k_1, d.k_2
                                                         FROM   migrate.image_{run} AS b,
                                                                unnest(b.k_1, b.k_2) AS d(k_1, k_2)
                                                         WHERE  (b.slice, b.ordinal, b.part) = ($6::integer, $7::integer, $8::integer))
     )
INSERT INTO migrate.undo_{run}_2 (slice, ordinal, part, k_1, o_5, o_4, o_6, n_5, n_4, n_6)
SELECT $6::integer, $7::integer, $8::integer,
       array_agg(s.k_1),
       array_agg(s.o_5),
       array_agg(s.o_4),
       array_agg(s.o_6),
       array_agg(s.n_5),
       array_agg(s.n_4),
       array_agg(s.n_6)
FROM  (SELECT "report"."id" AS k_1,
              "report"."note" AS o_5,
              "report"."qty" AS o_4,
              "report"."seen" AS o_6,
              CAST('ok' AS bpchar) AS n_5,
              CAST("report".qty + (CAST("batch".qty AS numeric(8,1))) AS numeric(8,1)) AS n_4,
              CAST("report".seen + 1 AS integer) AS n_6
       FROM   "shop"."report" AS "report",
              "batch"
       WHERE  ("report"."day" = CAST("batch".day AS date) AND "report"."sku" = CAST("batch".sku AS text))
                                                                                                           AND  "report"."id" NOT IN (SELECT unnest(b.k_1) FROM migrate.undo_{run}_1 AS b WHERE (b.slice, b.ordinal, b.part) = ($6::integer, $7::integer, $8::integer))
       ORDER  BY "report"."id"
       OFFSET 0
               FOR    NO KEY UPDATE OF "report") AS s
                                                     WHERE  record_image_ne(ROW(CAST(s.o_5 AS text), s.o_4, s.o_6),
                                                                            ROW(CAST(s.n_5 AS text), s.n_4, s.n_6));

-- change: writes what the capture has computed, and shows that it has met the same rows
-- $1 slice, $2 ordinal, $3 part
WITH changed AS (
  UPDATE "shop"."report" AS "report"
  SET    "note" = d.n_5,
         "qty" = d.n_4,
         "seen" = d.n_6
  FROM   migrate.undo_{run}_2 AS b,
         unnest(b.k_1, b.n_5, b.n_4, b.n_6) AS d(k_1, n_5, n_4, n_6)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "report"."id" = d.k_1
  RETURNING "report"."id" AS k_1,
            "report"."note" AS n_5,
            "report"."qty" AS n_4,
            "report"."seen" AS n_6
)
UPDATE migrate.undo_{run}_2 AS u
SET    n_5 = image.n_5,
       n_4 = image.n_4,
       n_6 = image.n_6,
       exact = (u.k_1 IS NOT DISTINCT FROM image.k_1)
FROM  (SELECT array_agg(s.k_1) AS k_1,
              array_agg(s.n_5) AS n_5,
              array_agg(s.n_4) AS n_4,
              array_agg(s.n_6) AS n_6
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
SELECT 0 AS conflicts;

-- mark: a second revert of the same batch waits here and then finds nothing to do
-- $1 slice, $2 ordinal, $3 part
UPDATE migrate.image_{run} AS u
SET    reverted = true
WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer)
  AND  NOT u.reverted;

-- restore: one statement compares and writes, so no edit is lost between the two
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  UPDATE "shop"."report" AS "report"
  SET    "note" = d.o_5,
         "qty" = d.o_4,
         "seen" = d.o_6
  FROM   migrate.undo_{run}_2 AS b,
         unnest(b.k_1, b.o_5, b.n_5, b.o_4, b.n_4, b.o_6, b.n_6) AS d(k_1, o_5, n_5, o_4, n_4, o_6, n_6)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "report"."id" = d.k_1
    AND  record_image_eq(ROW("report"."note", "report"."qty", "report"."seen"),
                         ROW(d.n_5, d.n_4, d.n_6))
  RETURNING "report"."id" AS k_1
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
         record_image_ne(ROW("report"."note", "report"."qty", "report"."seen"),
                         ROW(d.n_5, d.n_4, d.n_6)) AS differs,
         jsonb_object(ARRAY['note', 'qty', 'seen'],
                      ARRAY[CAST("report"."note" AS text), CAST("report"."qty" AS text), CAST("report"."seen" AS text)]) AS found
  FROM   migrate.undo_{run}_2 AS b,
         unnest(b.k_1, b.n_5, b.n_4, b.n_6) AS d(k_1, n_5, n_4, n_6),
         "shop"."report" AS "report"
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "report"."id" = d.k_1
  FOR    NO KEY UPDATE OF "report"
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
SELECT $4::bigint, 2, $5::bigint, ARRAY[CAST(d.k_1 AS text)], 'overwritten', d.found
FROM   d
WHERE  d.differs;

-- restore forced: under force the old values come back over whatever has been kept
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  UPDATE "shop"."report" AS "report"
  SET    "note" = d.o_5,
         "qty" = d.o_4,
         "seen" = d.o_6
  FROM   migrate.undo_{run}_2 AS b,
         unnest(b.k_1, b.o_5, b.n_5, b.o_4, b.n_4, b.o_6, b.n_6) AS d(k_1, o_5, n_5, o_4, n_4, o_6, n_6)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "report"."id" = d.k_1
    AND  (record_image_eq(ROW("report"."note", "report"."qty", "report"."seen"),
                          ROW(d.n_5, d.n_4, d.n_6))
          OR EXISTS (SELECT
                     FROM   migrate.conflicts AS c
                     WHERE  (c.run, c.step, c.seq) = ($4::bigint, 2, $5::bigint)
                       AND  c.key = ARRAY[CAST(d.k_1 AS text)]))
  RETURNING "report"."id" AS k_1
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
       found = jsonb_object(ARRAY['note', 'qty', 'seen'],
                            ARRAY[CAST("report"."note" AS text), CAST("report"."qty" AS text), CAST("report"."seen" AS text)])
FROM   "shop"."report" AS "report"
WHERE  (c.run, c.step, c.seq) = ($1::bigint, 2, $2::bigint)
  AND  c.reason = 'gone'
  AND  "report"."id" = CAST(c.key[1] AS bigint);

-- hold: whoever is about to refer to these rows is waited for, or has to wait
-- $1 slice, $2 ordinal, $3 part
SELECT count(*)
FROM  (SELECT
       FROM   migrate.undo_{run}_1 AS b,
              unnest(b.k_1) AS d(k_1),
              "shop"."report" AS "report"
       WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
         AND  "report"."id" = d.k_1
       FOR    UPDATE OF "report") AS locked;

-- seize: under force what is deleted is kept first where it is not what the run has inserted
-- $1 run, $2 seq, $3 slice, $4 ordinal, $5 part
INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
SELECT $1::bigint, 1, $2::bigint, ARRAY[CAST(d.k_1 AS text)], 'overwritten', jsonb_object(ARRAY['id', 'day', 'sku', 'qty', 'note', 'seen'],
                                                                                          ARRAY[CAST("report"."id" AS text), CAST("report"."day" AS text), CAST("report"."sku" AS text), CAST("report"."qty" AS text), CAST("report"."note" AS text), CAST("report"."seen" AS text)])
FROM   migrate.undo_{run}_1 AS b,
       unnest(b.k_1, b.h_1) AS d(k_1, h_1),
       "shop"."report" AS "report"
WHERE  (b.slice, b.ordinal, b.part) = ($3::integer, $4::integer, $5::integer)
  AND  "report"."id" = d.k_1
  AND  (hashtextextended(CAST(ROW(CAST("report"."day" AS date)) AS text) COLLATE "C", 2)
        # hashtextextended(CAST("report"."sku" AS text) COLLATE "C", 3)
        # coalesce(hashtextextended(CAST(CAST("report"."qty" AS numeric) AS text) COLLATE "C", 4), 8954805688390271222)
        # coalesce(hashtextextended(CAST(ROW(CAST("report"."note" AS bpchar)) AS text) COLLATE "C", 5), 980875101213047373)
        # hashint4extended(CAST("report"."seen" AS integer), 6)) <> d.h_1;

-- restore: one statement compares and deletes, so no edit is lost between the two
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  DELETE FROM "shop"."report" AS "report"
  USING  migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.h_1) AS d(k_1, h_1)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "report"."id" = d.k_1
    AND  (hashtextextended(CAST(ROW(CAST("report"."day" AS date)) AS text) COLLATE "C", 2)
          # hashtextextended(CAST("report"."sku" AS text) COLLATE "C", 3)
          # coalesce(hashtextextended(CAST(CAST("report"."qty" AS numeric) AS text) COLLATE "C", 4), 8954805688390271222)
          # coalesce(hashtextextended(CAST(ROW(CAST("report"."note" AS bpchar)) AS text) COLLATE "C", 5), 980875101213047373)
          # hashint4extended(CAST("report"."seen" AS integer), 6)) = d.h_1
  RETURNING "report"."id" AS k_1
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
  DELETE FROM "shop"."report" AS "report"
  USING  migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.h_1) AS d(k_1, h_1)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "report"."id" = d.k_1
  RETURNING "report"."id" AS k_1
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
       found = jsonb_object(ARRAY['id', 'day', 'sku', 'qty', 'note', 'seen'],
                            ARRAY[CAST("report"."id" AS text), CAST("report"."day" AS text), CAST("report"."sku" AS text), CAST("report"."qty" AS text), CAST("report"."note" AS text), CAST("report"."seen" AS text)])
FROM   "shop"."report" AS "report"
WHERE  (c.run, c.step, c.seq) = ($1::bigint, 1, $2::bigint)
  AND  c.reason = 'gone'
  AND  "report"."id" = CAST(c.key[1] AS bigint);

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
DROP TABLE migrate.image_{run}, migrate.source_{run}, migrate.undo_{run}_1, migrate.undo_{run}_2;
