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
                                  rows_rejected bigint NOT NULL DEFAULT 0,
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
-- $1 slice, $2 ordinal, $3 part, $4 after.none, $5 after.1, $6 after.2, $7 through.1, $8 through.2
INSERT INTO migrate.image_{run} (slice, ordinal, part, rows_read, rows_rejected, k_1, k_2)
SELECT $1::integer, $2::integer, $3::integer,
       count(*),
       count(*) FILTER (WHERE s.valid IS NOT TRUE),
       array_agg(s.k_1) FILTER (WHERE s.valid),
       array_agg(s.k_2) FILTER (WHERE s.valid)
FROM   (SELECT "batch_row"."sku" AS k_1,
               "batch_row"."day" AS k_2,
               ((NOT EXISTS (SELECT FROM "shop"."report" AS "migrate target" WHERE "migrate target"."day" = CAST("batch_row".day AS date) AND "migrate target"."sku" = CAST("batch_row".sku AS text)))) AS valid
        FROM   migrate.source_{run} AS "batch_row"
        WHERE  ($4::boolean OR ("batch_row"."sku", "batch_row"."day") > ROW($5::text, $6::date))
          AND  ("batch_row"."sku", "batch_row"."day") <= ROW($7::text, $8::date)
        ORDER  BY "batch_row"."sku", "batch_row"."day") AS s
RETURNING false AS as_captured, rows_rejected > 0 AS leaves_out;

-- capture locked: from the second attempt on the rows are locked before anything is computed
-- $1 slice, $2 ordinal, $3 part, $4 after.none, $5 after.1, $6 after.2, $7 through.1, $8 through.2
INSERT INTO migrate.image_{run} (slice, ordinal, part, rows_read, rows_rejected, k_1, k_2)
SELECT $1::integer, $2::integer, $3::integer,
       count(*),
       count(*) FILTER (WHERE s.valid IS NOT TRUE),
       array_agg(s.k_1) FILTER (WHERE s.valid),
       array_agg(s.k_2) FILTER (WHERE s.valid)
FROM   (SELECT "batch_row"."sku" AS k_1,
               "batch_row"."day" AS k_2,
               ((NOT EXISTS (SELECT FROM "shop"."report" AS "migrate target" WHERE "migrate target"."day" = CAST("batch_row".day AS date) AND "migrate target"."sku" = CAST("batch_row".sku AS text)))) AS valid
        FROM   migrate.source_{run} AS "batch_row"
        WHERE  ($4::boolean OR ("batch_row"."sku", "batch_row"."day") > ROW($5::text, $6::date))
          AND  ("batch_row"."sku", "batch_row"."day") <= ROW($7::text, $8::date)
        ORDER  BY "batch_row"."sku", "batch_row"."day"
        FOR    NO KEY UPDATE OF "batch_row") AS s
RETURNING rows_rejected > 0 AS leaves_out;

-- validate: only in a batch with rows that break a rule: to quarantine with every reason
-- $1 run, $2 after.none, $3 after.1, $4 after.2, $5 through.1, $6 through.2, $7 slice, $8 ordinal, $9 part
WITH rejected AS (
  INSERT INTO migrate.rejects (run, step, key, row, new_values, reasons, message)
  SELECT $1::bigint, 1, s.key, s.row, s.new_values, s.reasons, array_to_string(s.reasons, '; ')
  FROM  (SELECT ARRAY[CAST("batch_row"."sku" AS text), CAST("batch_row"."day" AS text)] AS key,
                migrate.row_image("batch_row".*) AS row,
                CAST(NULL AS jsonb) AS new_values,
                array_remove(ARRAY[CASE (NOT EXISTS (SELECT FROM "shop"."report" AS "migrate target" WHERE "migrate target"."day" = CAST("batch_row".day AS date) AND "migrate target"."sku" = CAST("batch_row".sku AS text)))
                                     WHEN true  THEN NULL
                                     WHEN false THEN 'shop.report: a row of this day, sku is there'
                                     ELSE            'shop.report: a row of this day, sku is there: is NULL' END], NULL) AS reasons
         FROM   migrate.source_{run} AS "batch_row"
         WHERE  ($2::boolean OR ("batch_row"."sku", "batch_row"."day") > ROW($3::text, $4::date))
           AND  ("batch_row"."sku", "batch_row"."day") <= ROW($5::text, $6::date)
           AND  CASE WHEN ($2::boolean OR ("batch_row"."sku", "batch_row"."day") > ROW($3::text, $4::date))
                          AND ("batch_row"."sku", "batch_row"."day") <= ROW($5::text, $6::date)
                     THEN ((NOT EXISTS (SELECT FROM "shop"."report" AS "migrate target" WHERE "migrate target"."day" = CAST("batch_row".day AS date) AND "migrate target"."sku" = CAST("batch_row".sku AS text)))) IS NOT TRUE END) AS s
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
WHERE  (u.slice, u.ordinal, u.part) = ($7::integer, $8::integer, $9::integer);

-- change: the keys are kept, as RETURNING shows them, and what tells whether somebody changes the rows
-- $1 after.none, $2 after.1, $3 after.2, $4 through.1, $5 through.2, $6 slice, $7 ordinal, $8 part
WITH batch AS (
       SELECT "batch_row"."sku", "batch_row"."day", "batch_row"."qty"
       FROM   migrate.source_{run} AS "batch_row"
       WHERE  ($1::boolean OR ("batch_row"."sku", "batch_row"."day") > ROW($2::text, $3::date))
         AND  ("batch_row"."sku", "batch_row"."day") <= ROW($4::text, $5::date)
         AND  (("batch_row"."sku", "batch_row"."day") IN (SELECT d.k_1, d.k_2
                                                          FROM   migrate.image_{run} AS b,
                                                                 unnest(b.k_1, b.k_2) AS d(k_1, k_2)
                                                          WHERE  (b.slice, b.ordinal, b.part) = ($6::integer, $7::integer, $8::integer))) IS TRUE
     ), added AS (
  INSERT INTO "shop"."report" AS "report" ("day", "sku", "qty", "note")
  SELECT "batch".day,
         "batch".sku,
         "batch".qty,
         'ok'
  FROM   "batch"
  ORDER  BY batch."sku", batch."day"
  RETURNING "report"."id" AS k_1,
            hashtextextended(CAST(ROW("report"."day") AS text) COLLATE "C", 2)
            # hashtextextended("report"."sku" COLLATE "C", 3)
            # coalesce(hashtextextended(CAST("report"."qty" AS text) COLLATE "C", 4), 8954805688390271222)
            # coalesce(hashtextextended(CAST(ROW("report"."note") AS text) COLLATE "C", 5), 980875101213047373)
            # hashint4extended("report"."seen", 6) AS h_1
)
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, k_1, h_1, exact)
SELECT $6::integer, $7::integer, $8::integer,
       array_agg(s.k_1),
       array_agg(s.h_1),
       true
FROM  (SELECT * FROM added ORDER BY k_1) AS s;

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
       CAST(ARRAY[coalesce((SELECT cardinality(u.k_1) FROM migrate.undo_{run}_1 AS u WHERE (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)), 0)] AS bigint[]), f.epoch,
       coalesce(u.exact, true)
       AND coalesce((SELECT u.exact FROM migrate.undo_{run}_1 AS u WHERE (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)), true)
FROM   migrate.image_{run} AS u
CROSS  JOIN (SELECT epoch FROM migrate.fence WHERE run = $1::bigint AND epoch = $3::integer FOR SHARE) AS f
WHERE  (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)
RETURNING exact, rows_read, rows_changed, rows_rejected, xid, rows_changed AS rows_captured;

-- reject: the only row of a part that failed goes to quarantine, and counts as read
-- $1 run, $2 refusal.sqlstate, $3 refusal.message, $4 refusal.detail, $5 refusal.column, $6 refusal.constraint, $7 after.none, $8 after.1, $9 after.2, $10 through.1, $11 through.2, $12 slice, $13 ordinal, $14 part
WITH rejected AS (
  INSERT INTO migrate.rejects (run, step, key, row, sqlstate, message, detail, column_name, constraint_name)
  SELECT $1::bigint,
         1,
         ARRAY[CAST("batch_row"."sku" AS text), CAST("batch_row"."day" AS text)],
         migrate.row_image("batch_row".*),
         $2::text,
         $3::text,
         $4::text,
         $5::text,
         $6::text
  FROM   migrate.source_{run} AS "batch_row"
  WHERE  ($7::boolean OR ("batch_row"."sku", "batch_row"."day") > ROW($8::text, $9::date))
    AND  ("batch_row"."sku", "batch_row"."day") <= ROW($10::text, $11::date)
  ON CONFLICT (run, step, key) DO UPDATE
  SET    row = excluded.row, new_values = excluded.new_values, reasons = excluded.reasons,
         sqlstate = excluded.sqlstate, message = excluded.message, detail = excluded.detail,
         column_name = excluded.column_name, constraint_name = excluded.constraint_name,
         rejected_at = excluded.rejected_at
  RETURNING key
)
INSERT INTO migrate.image_{run} (slice, ordinal, part, rows_read, rows_rejected, exact)
SELECT $12::integer, $13::integer, $14::integer, count(*), count(*), true
FROM   rejected;

-- previous: for a row of quarantine that is tried again: the key behind which it stands; no row: it is the first
-- $1 through.1, $2 through.2
SELECT CAST("batch_row"."sku" AS text) AS previous_1,
       CAST("batch_row"."day" AS text) AS previous_2
FROM   migrate.source_{run} AS "batch_row"
WHERE  ("batch_row"."sku", "batch_row"."day") < ROW($1::text, $2::date)
ORDER  BY "batch_row"."sku" DESC, "batch_row"."day" DESC
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
        CROSS  JOIN unnest(b.k_1, b.h_1) AS d(k_1, h_1)
        LEFT   JOIN "shop"."report" AS "report" ON "report"."id" = d.k_1
        WHERE  NOT r.reverted
          AND  ("report"."id" IS NULL
                 OR (hashtextextended(CAST(ROW(CAST("report"."day" AS date)) AS text) COLLATE "C", 2)
                     # hashtextextended(CAST("report"."sku" AS text) COLLATE "C", 3)
                     # coalesce(hashtextextended(CAST(CAST("report"."qty" AS numeric) AS text) COLLATE "C", 4), 8954805688390271222)
                     # coalesce(hashtextextended(CAST(ROW(CAST("report"."note" AS bpchar)) AS text) COLLATE "C", 5), 980875101213047373)
                     # hashint4extended(CAST("report"."seen" AS integer), 6)) <> d.h_1)) AS conflicts;

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
DROP TABLE migrate.image_{run}, migrate.source_{run}, migrate.undo_{run}_1;
