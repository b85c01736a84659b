-- ===== prepare: once, in the transaction that begins the run

-- wrapper for column 4: an array of arrays would lose their shapes, so each goes in a row of one column
CREATE TYPE migrate.w_{run}_1_4 AS (v text[]);

-- undo table: a row a batch, an array a column; never the table's own row type, which would forbid DDL
CREATE TABLE migrate.undo_{run}_1 (slice integer,
                                   ordinal integer,
                                   part integer,
                                   rows_read bigint NOT NULL,
                                   rows_rejected bigint NOT NULL DEFAULT 0,
                                   k_1 integer[] COMPRESSION lz4,
                                   k_2 text[] COMPRESSION lz4,
                                   o_3 numeric[] COMPRESSION lz4,
                                   n_3 numeric[] COMPRESSION lz4,
                                   o_4 migrate.w_{run}_1_4[] COMPRESSION lz4,
                                   n_4 migrate.w_{run}_1_4[] COMPRESSION lz4,
                                   o_5 integer[] COMPRESSION lz4,
                                   n_5 integer[] COMPRESSION lz4,
                                   passed_1 integer[],
                                   passed_2 text[],
                                   back_1 integer[],
                                   back_2 text[],
                                   held_k_1 integer[],
                                   held_k_2 text[],
                                   held_5 integer[],
                                   exact boolean,
                                   reverted boolean NOT NULL DEFAULT false,
                                   PRIMARY KEY (slice, ordinal, part));

-- ===== bounds: once, before the first batch

-- lockers: the transactions that may hold rows below the upper end which nobody can see yet
SELECT l.virtualtransaction
FROM   pg_locks AS l
WHERE  l.locktype = 'relation'
  AND  l.relation IN (SELECT to_regclass('"shop"."items"') UNION SELECT relid FROM pg_partition_tree(to_regclass('"shop"."items"')))
  AND  l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND  l.granted
  AND  l.pid IS DISTINCT FROM pg_backend_pid()
  AND  l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock');

-- upper: the last key, fixed once: a writer that goes on beyond it does not keep the run from ending
SELECT CAST("items"."shop" AS text) AS upper_1,
       CAST("items"."sku" AS text) AS upper_2
FROM   "shop"."items" AS "items"
ORDER  BY "items"."shop" DESC, "items"."sku" DESC
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
LOCK TABLE "shop"."items" IN ROW EXCLUSIVE MODE;

-- bound: the key of the batch's last row; no row: the batch goes to the upper end
-- $1 after.none, $2 after.1, $3 after.2, $4 upper.1, $5 upper.2, $6 size
SELECT CAST("items"."shop" AS text) AS through_1,
       CAST("items"."sku" AS text) AS through_2
FROM   "shop"."items" AS "items"
WHERE  ($1::boolean OR ("items"."shop", "items"."sku") > ROW($2::integer, $3::text))
  AND  ("items"."shop", "items"."sku") <= ROW($4::integer, $5::text)
ORDER  BY "items"."shop", "items"."sku"
OFFSET $6::bigint - 1
LIMIT  1;

-- capture: the old values and the new ones, for which what is joined is read once
-- $1 slice, $2 ordinal, $3 part, $4 eligible, $5 after.none, $6 after.1, $7 after.2, $8 through.1, $9 through.2
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, rows_read, rows_rejected, k_1, k_2, o_3, o_4, o_5, n_3, n_4)
SELECT $1::integer, $2::integer, $3::integer,
       coalesce($4::bigint, (SELECT count(*)
                             FROM   "shop"."items" AS "items"
                             WHERE  ($5::boolean OR ("items"."shop", "items"."sku") > ROW($6::integer, $7::text))
                               AND  ("items"."shop", "items"."sku") <= ROW($8::integer, $9::text))),
       count(*) FILTER (WHERE (s.valid) IS NOT TRUE),
       array_agg(s.k_1) FILTER (WHERE s.valid),
       array_agg(s.k_2) FILTER (WHERE s.valid),
       array_agg(s.o_3) FILTER (WHERE s.valid),
       array_agg(CAST(ROW(s.o_4) AS migrate.w_{run}_1_4)) FILTER (WHERE s.valid),
       array_agg(s.o_5) FILTER (WHERE s.valid),
       array_agg(s.n_3) FILTER (WHERE s.valid),
       array_agg(CAST(ROW(s.n_4) AS migrate.w_{run}_1_4)) FILTER (WHERE s.valid)
FROM  (SELECT "items"."shop" AS k_1,
              "items"."sku" AS k_2,
              "items"."price" AS o_3,
              CAST("items"."tags" AS text[]) AS o_4,
              "items"."stamp" AS o_5,
              CAST("items".price + 1 AS numeric) AS n_3,
              CAST("items".tags || "items".sku AS text[]) AS n_4,
              (((CAST("items".price + 1 AS numeric)) < 40)) AS valid
       FROM   "shop"."items" AS "items"
       WHERE  ($5::boolean OR ("items"."shop", "items"."sku") > ROW($6::integer, $7::text))
         AND  ("items"."shop", "items"."sku") <= ROW($8::integer, $9::text)
       ORDER  BY "items"."shop", "items"."sku"
       OFFSET 0) AS s
WHERE  (record_image_ne(ROW(s.o_3, s.o_4),
                        ROW(s.n_3, s.n_4))
        OR (s.valid) IS NOT TRUE)
RETURNING false AS as_captured, rows_rejected > 0 AS leaves_out;

-- capture locked: from the second attempt on the rows are locked before anything is computed
-- $1 after.none, $2 after.1, $3 after.2, $4 through.1, $5 through.2, $6 slice, $7 ordinal, $8 part
WITH "migrate locked" AS MATERIALIZED (
       SELECT *
       FROM   "shop"."items" AS "items"
       WHERE  ($1::boolean OR ("items"."shop", "items"."sku") > ROW($2::integer, $3::text))
         AND  ("items"."shop", "items"."sku") <= ROW($4::integer, $5::text)
       ORDER  BY "items"."shop", "items"."sku"
       FOR    NO KEY UPDATE OF "items"
     )
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, rows_read, rows_rejected, k_1, k_2, o_3, o_4, o_5, n_3, n_4)
SELECT $6::integer, $7::integer, $8::integer,
       (SELECT count(*) FROM "migrate locked"),
       count(*) FILTER (WHERE (s.valid) IS NOT TRUE),
       array_agg(s.k_1) FILTER (WHERE s.valid),
       array_agg(s.k_2) FILTER (WHERE s.valid),
       array_agg(s.o_3) FILTER (WHERE s.valid),
       array_agg(CAST(ROW(s.o_4) AS migrate.w_{run}_1_4)) FILTER (WHERE s.valid),
       array_agg(s.o_5) FILTER (WHERE s.valid),
       array_agg(s.n_3) FILTER (WHERE s.valid),
       array_agg(CAST(ROW(s.n_4) AS migrate.w_{run}_1_4)) FILTER (WHERE s.valid)
FROM  (SELECT "items"."shop" AS k_1,
              "items"."sku" AS k_2,
              "items"."price" AS o_3,
              CAST("items"."tags" AS text[]) AS o_4,
              "items"."stamp" AS o_5,
              CAST("items".price + 1 AS numeric) AS n_3,
              CAST("items".tags || "items".sku AS text[]) AS n_4,
              (((CAST("items".price + 1 AS numeric)) < 40)) AS valid
       FROM   "migrate locked" AS "items"
       ORDER  BY "items"."shop", "items"."sku"
       OFFSET 0) AS s
WHERE  (record_image_ne(ROW(s.o_3, s.o_4),
                        ROW(s.n_3, s.n_4))
        OR (s.valid) IS NOT TRUE)
RETURNING rows_rejected > 0 AS leaves_out;

-- validate: only in a batch with rows that break a rule: to quarantine with every reason
-- $1 run, $2 after.none, $3 after.1, $4 after.2, $5 through.1, $6 through.2, $7 slice, $8 ordinal, $9 part
WITH rejected AS (
  INSERT INTO migrate.rejects (run, step, key, row, new_values, reasons, message)
  SELECT $1::bigint, 1, s.key, s.row, s.new_values, s.reasons, array_to_string(s.reasons, '; ')
  FROM  (SELECT DISTINCT ON ("items"."shop", "items"."sku")
                ARRAY[CAST("items"."shop" AS text), CAST("items"."sku" AS text)] AS key,
                migrate.row_image("items".*) AS row,
                (SELECT migrate.row_image("written".*) FROM (SELECT CAST("items".price + 1 AS numeric) AS "price", CAST("items".tags || "items".sku AS text[]) AS "tags") AS "written") AS new_values,
                array_remove(ARRAY[CASE ((CAST("items".price + 1 AS numeric)) < 40)
                                     WHEN true  THEN NULL
                                     WHEN false THEN 'not too dear'
                                     ELSE            'not too dear: is NULL' END], NULL) AS reasons
         FROM   "shop"."items" AS "items"
         WHERE  ($2::boolean OR ("items"."shop", "items"."sku") > ROW($3::integer, $4::text))
           AND  ("items"."shop", "items"."sku") <= ROW($5::integer, $6::text)
         ORDER  BY "items"."shop", "items"."sku") AS s
  WHERE  cardinality(s.reasons) > 0
  ON CONFLICT (run, step, key) DO UPDATE
  SET    row = excluded.row, new_values = excluded.new_values, reasons = excluded.reasons,
         sqlstate = excluded.sqlstate, message = excluded.message, detail = excluded.detail,
         column_name = excluded.column_name, constraint_name = excluded.constraint_name,
         rejected_at = excluded.rejected_at
  RETURNING key
)
UPDATE migrate.undo_{run}_1 AS u
SET    exact = CASE WHEN r.rows <> u.rows_rejected THEN false END
FROM  (SELECT count(*) AS rows FROM rejected) AS r
WHERE  (u.slice, u.ordinal, u.part) = ($7::integer, $8::integer, $9::integer);

-- finish: the ledger's entry; no row: another worker has taken over
-- $1 run, $2 worker, $3 epoch, $4 after, $5 through, $6 slice, $7 ordinal, $8 part
WITH heartbeat AS (
  UPDATE migrate.workers
  SET    heartbeat_at = clock_timestamp()
  WHERE  run = $1::bigint AND worker = $2::integer AND epoch = $3::integer
)
INSERT INTO migrate.batches (run, kind, slice, ordinal, part, after_key, through_key,
                             rows_read, rows_changed, rows_unchanged, rows_rejected, epoch, exact)
SELECT $1::bigint, 'apply', u.slice, u.ordinal, u.part, $4::text[], $5::text[],
       u.rows_read, c.rows_changed, u.rows_read - c.rows_changed - u.rows_rejected, u.rows_rejected, f.epoch,
       u.exact IS NOT FALSE AND u.passed_1 IS NULL
FROM   migrate.undo_{run}_1 AS u
CROSS  JOIN LATERAL (SELECT coalesce(cardinality(u.k_1), 0) AS rows_changed) AS c
CROSS  JOIN (SELECT epoch FROM migrate.fence WHERE run = $1::bigint AND epoch = $3::integer FOR SHARE) AS f
WHERE  (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)
RETURNING exact, rows_read, rows_changed, rows_rejected, xid,
          (SELECT coalesce(cardinality(u.k_1), 0) + coalesce(cardinality(u.passed_1), 0)
           FROM   migrate.undo_{run}_1 AS u
           WHERE  (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)) AS rows_captured;

-- reject: the only row of a part that failed goes to quarantine, and counts as read
-- $1 run, $2 refusal.sqlstate, $3 refusal.message, $4 refusal.detail, $5 refusal.column, $6 refusal.constraint, $7 after.none, $8 after.1, $9 after.2, $10 through.1, $11 through.2, $12 slice, $13 ordinal, $14 part
WITH rejected AS (
  INSERT INTO migrate.rejects (run, step, key, row, sqlstate, message, detail, column_name, constraint_name)
  SELECT $1::bigint,
         1,
         ARRAY[CAST("items"."shop" AS text), CAST("items"."sku" AS text)],
         migrate.row_image("items".*),
         $2::text,
         $3::text,
         $4::text,
         $5::text,
         $6::text
  FROM   "shop"."items" AS "items"
  WHERE  ($7::boolean OR ("items"."shop", "items"."sku") > ROW($8::integer, $9::text))
    AND  ("items"."shop", "items"."sku") <= ROW($10::integer, $11::text)
  ON CONFLICT (run, step, key) DO UPDATE
  SET    row = excluded.row, new_values = excluded.new_values, reasons = excluded.reasons,
         sqlstate = excluded.sqlstate, message = excluded.message, detail = excluded.detail,
         column_name = excluded.column_name, constraint_name = excluded.constraint_name,
         rejected_at = excluded.rejected_at
  RETURNING key
)
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, rows_read, rows_rejected, exact)
SELECT $12::integer, $13::integer, $14::integer, count(*), count(*), true
FROM   rejected;

-- previous: for a row of quarantine that is tried again: the key behind which it stands; no row: it is the first
-- $1 through.1, $2 through.2
SELECT CAST("items"."shop" AS text) AS previous_1,
       CAST("items"."sku" AS text) AS previous_2
FROM   "shop"."items" AS "items"
WHERE  ("items"."shop", "items"."sku") < ROW($1::integer, $2::text)
ORDER  BY "items"."shop" DESC, "items"."sku" DESC
LIMIT  1;

-- ===== publish: all of it in one transaction, once every batch is computed

-- lock: from the third try on, before any row is locked: there may always be another one that somebody has in hand
LOCK TABLE "shop"."items" IN SHARE ROW EXCLUSIVE MODE;

-- publish: for each batch: a row that is what it was is written, and only what is written stays in the undo
-- $1 slice, $2 ordinal, $3 part
WITH published AS (
  UPDATE "shop"."items" AS "items"
  SET    "price" = d.n_3,
         "tags" = d.n_4
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.k_2, b.o_3, b.o_4, b.o_5, b.n_3, b.n_4) AS d(k_1, k_2, o_3, o_4, o_5, n_3, n_4)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "items"."shop" = d.k_1 AND "items"."sku" = d.k_2
    AND  record_image_eq(ROW("items"."price", CAST("items"."tags" AS text[]), "items"."stamp"),
                         ROW(d.o_3, d.o_4, d.o_5))
  RETURNING "items"."shop" AS k_1,
            "items"."sku" AS k_2
)
UPDATE migrate.undo_{run}_1 AS u
SET    (k_1, k_2, o_3, n_3, o_4, n_4, o_5, n_5) = (
         SELECT array_agg(s.k_1),
                array_agg(s.k_2),
                array_agg(s.o_3),
                array_agg(s.n_3),
                array_agg(CAST(ROW(s.o_4) AS migrate.w_{run}_1_4)),
                array_agg(CAST(ROW(s.n_4) AS migrate.w_{run}_1_4)),
                array_agg(s.o_5),
                array_agg(s.n_5)
         FROM  (SELECT d.k_1, d.k_2, d.o_3, d.n_3, d.o_4, d.n_4, d.o_5, d.n_5
                FROM   migrate.undo_{run}_1 AS b,
                       unnest(b.k_1, b.k_2, b.o_3, b.n_3, b.o_4, b.n_4, b.o_5, b.n_5) AS d(k_1, k_2, o_3, n_3, o_4, n_4, o_5, n_5)
                JOIN   published ON published.k_1 = d.k_1 AND published.k_2 = d.k_2
                WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
                ORDER  BY d.k_1, d.k_2) AS s),
       (passed_1, passed_2) = (
         SELECT array_agg(d.k_1),
                array_agg(d.k_2)
         FROM   migrate.undo_{run}_1 AS b,
                unnest(b.k_1, b.k_2) AS d(k_1, k_2)
         WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
           AND  NOT EXISTS (SELECT FROM published WHERE published.k_1 = d.k_1 AND published.k_2 = d.k_2))
WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer)
  AND  cardinality(u.k_1) > (SELECT count(*) FROM published);

-- image: AFTER triggers may have written the rows again, and RETURNING does not see that
-- $1 slice, $2 ordinal, $3 part
WITH image AS (
  SELECT array_agg(s.k_1) AS k_1,
         array_agg(s.k_2) AS k_2,
         array_agg(s.n_3) AS n_3,
         array_agg(s.n_4) AS n_4,
         array_agg(s.n_5) AS n_5
  FROM  (SELECT "items"."shop" AS k_1,
                "items"."sku" AS k_2,
                "items"."price" AS n_3,
                CAST(ROW(CAST("items"."tags" AS text[])) AS migrate.w_{run}_1_4) AS n_4,
                "items"."stamp" AS n_5
         FROM   migrate.undo_{run}_1 AS b,
                unnest(b.k_1, b.k_2) AS d(k_1, k_2),
                "shop"."items" AS "items"
         WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
           AND  "items"."shop" = d.k_1 AND "items"."sku" = d.k_2
         ORDER  BY "items"."shop", "items"."sku") AS s
)
UPDATE migrate.undo_{run}_1 AS u
SET    n_3 = image.n_3,
       n_4 = image.n_4,
       n_5 = image.n_5,
       exact = u.exact AND (u.k_1 IS NOT DISTINCT FROM image.k_1 AND u.k_2 IS NOT DISTINCT FROM image.k_2)
FROM   image
WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer)
  AND  u.exact IS NOT FALSE;

-- capture late: what others have changed since is computed anew, as it is now, and kept from them until it is shown
-- $1 upper.1, $2 upper.2, $3 others, $4 horizon, $5 transactions, $6 run, $7 slice, $8 ordinal, $9 part
WITH "migrate locked" AS MATERIALIZED (
       SELECT *
       FROM   "shop"."items" AS "items"
       WHERE  ("items"."shop", "items"."sku") <= ROW($1::integer, $2::text)
         AND  ($3::boolean OR EXISTS (SELECT FROM migrate.undo_{run}_1 AS u WHERE u.passed_1 IS NOT NULL))
         AND  ($3::boolean
               AND ($4::bigint IS NULL
                    OR ((CAST(CAST("items".xmin AS text) AS bigint) - $4::bigint) & 4294967295) < 2147483648)
               AND NOT EXISTS (SELECT FROM unnest($5::xid[]) AS own(xid) WHERE own.xid = "items".xmin)
               OR ("items"."shop", "items"."sku") IN (SELECT unnest(u.passed_1), unnest(u.passed_2) FROM migrate.undo_{run}_1 AS u))
         AND  NOT EXISTS (SELECT FROM migrate.rejects AS r
                          WHERE r.run = $6::bigint AND r.step = 1 AND r.key = ARRAY[CAST("items"."shop" AS text), CAST("items"."sku" AS text)])
         AND  NOT EXISTS (SELECT
                          FROM  (SELECT unnest(u.k_1), unnest(u.k_2) FROM migrate.undo_{run}_1 AS u) AS d(k_1, k_2)
                          WHERE  d.k_1 = "items"."shop" AND d.k_2 = "items"."sku")
       ORDER  BY "items"."shop", "items"."sku"
       FOR    NO KEY UPDATE OF "items"
     )
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, rows_read, rows_rejected, k_1, k_2, o_3, o_4, o_5, n_3, n_4)
SELECT $7::integer, $8::integer, $9::integer,
       (SELECT count(*) FROM "migrate locked"),
       count(*) FILTER (WHERE (s.valid) IS NOT TRUE),
       array_agg(s.k_1) FILTER (WHERE s.valid),
       array_agg(s.k_2) FILTER (WHERE s.valid),
       array_agg(s.o_3) FILTER (WHERE s.valid),
       array_agg(CAST(ROW(s.o_4) AS migrate.w_{run}_1_4)) FILTER (WHERE s.valid),
       array_agg(s.o_5) FILTER (WHERE s.valid),
       array_agg(s.n_3) FILTER (WHERE s.valid),
       array_agg(CAST(ROW(s.n_4) AS migrate.w_{run}_1_4)) FILTER (WHERE s.valid)
FROM  (SELECT "items"."shop" AS k_1,
              "items"."sku" AS k_2,
              "items"."price" AS o_3,
              CAST("items"."tags" AS text[]) AS o_4,
              "items"."stamp" AS o_5,
              CAST("items".price + 1 AS numeric) AS n_3,
              CAST("items".tags || "items".sku AS text[]) AS n_4,
              (((CAST("items".price + 1 AS numeric)) < 40)) AS valid
       FROM   "migrate locked" AS "items"
       ORDER  BY "items"."shop", "items"."sku"
       OFFSET 0) AS s
WHERE  (record_image_ne(ROW(s.o_3, s.o_4),
                        ROW(s.n_3, s.n_4))
        OR (s.valid) IS NOT TRUE)
RETURNING rows_rejected > 0 AS leaves_out;

-- validate: only in a batch with rows that break a rule: to quarantine with every reason
-- $1 run, $2 upper.1, $3 upper.2, $4 others, $5 horizon, $6 transactions, $7 slice, $8 ordinal, $9 part
WITH rejected AS (
  INSERT INTO migrate.rejects (run, step, key, row, new_values, reasons, message)
  SELECT $1::bigint, 1, s.key, s.row, s.new_values, s.reasons, array_to_string(s.reasons, '; ')
  FROM  (SELECT DISTINCT ON ("items"."shop", "items"."sku")
                ARRAY[CAST("items"."shop" AS text), CAST("items"."sku" AS text)] AS key,
                migrate.row_image("items".*) AS row,
                (SELECT migrate.row_image("written".*) FROM (SELECT CAST("items".price + 1 AS numeric) AS "price", CAST("items".tags || "items".sku AS text[]) AS "tags") AS "written") AS new_values,
                array_remove(ARRAY[CASE ((CAST("items".price + 1 AS numeric)) < 40)
                                     WHEN true  THEN NULL
                                     WHEN false THEN 'not too dear'
                                     ELSE            'not too dear: is NULL' END], NULL) AS reasons
         FROM   "shop"."items" AS "items"
         WHERE  ("items"."shop", "items"."sku") <= ROW($2::integer, $3::text)
           AND  ($4::boolean OR EXISTS (SELECT FROM migrate.undo_{run}_1 AS u WHERE u.passed_1 IS NOT NULL))
           AND  ($4::boolean
                 AND ($5::bigint IS NULL
                      OR ((CAST(CAST("items".xmin AS text) AS bigint) - $5::bigint) & 4294967295) < 2147483648)
                 AND NOT EXISTS (SELECT FROM unnest($6::xid[]) AS own(xid) WHERE own.xid = "items".xmin)
                 OR ("items"."shop", "items"."sku") IN (SELECT unnest(u.passed_1), unnest(u.passed_2) FROM migrate.undo_{run}_1 AS u))
           AND  NOT EXISTS (SELECT FROM migrate.rejects AS r
                            WHERE r.run = $1::bigint AND r.step = 1 AND r.key = ARRAY[CAST("items"."shop" AS text), CAST("items"."sku" AS text)])
           AND  NOT EXISTS (SELECT
                            FROM  (SELECT unnest(u.k_1), unnest(u.k_2) FROM migrate.undo_{run}_1 AS u) AS d(k_1, k_2)
                            WHERE  d.k_1 = "items"."shop" AND d.k_2 = "items"."sku")
         ORDER  BY "items"."shop", "items"."sku") AS s
  WHERE  cardinality(s.reasons) > 0
  ON CONFLICT (run, step, key) DO UPDATE
  SET    row = excluded.row, new_values = excluded.new_values, reasons = excluded.reasons,
         sqlstate = excluded.sqlstate, message = excluded.message, detail = excluded.detail,
         column_name = excluded.column_name, constraint_name = excluded.constraint_name,
         rejected_at = excluded.rejected_at
  RETURNING key
)
UPDATE migrate.undo_{run}_1 AS u
SET    exact = CASE WHEN r.rows <> u.rows_rejected THEN false END
FROM  (SELECT count(*) AS rows FROM rejected) AS r
WHERE  (u.slice, u.ordinal, u.part) = ($7::integer, $8::integer, $9::integer);

-- change: writes what the capture has computed, for the keys that it has kept
-- $1 slice, $2 ordinal, $3 part
WITH changed AS (
  UPDATE "shop"."items" AS "items"
  SET    "price" = d.n_3,
         "tags" = d.n_4
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.k_2, b.n_3, b.n_4) AS d(k_1, k_2, n_3, n_4)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "items"."shop" = d.k_1 AND "items"."sku" = d.k_2
  RETURNING "items"."shop" AS k_1,
            "items"."sku" AS k_2,
            "items"."price" AS n_3,
            CAST(ROW(CAST("items"."tags" AS text[])) AS migrate.w_{run}_1_4) AS n_4,
            "items"."stamp" AS n_5
), image AS (
  SELECT array_agg(s.k_1) AS k_1,
         array_agg(s.k_2) AS k_2,
         array_agg(s.n_3) AS n_3,
         array_agg(s.n_4) AS n_4,
         array_agg(s.n_5) AS n_5
  FROM  (SELECT * FROM changed ORDER BY k_1, k_2) AS s
)
UPDATE migrate.undo_{run}_1 AS u
SET    n_3 = image.n_3,
       n_4 = image.n_4,
       n_5 = image.n_5,
       exact = (u.exact IS NOT FALSE AND u.k_1 IS NOT DISTINCT FROM image.k_1 AND u.k_2 IS NOT DISTINCT FROM image.k_2)
FROM   image
WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer);

-- finish: the ledger's entry for the rows that were computed anew, which are taken from the batches that had them first
-- $1 run, $2 worker, $3 epoch, $4 upper, $5 slice, $6 ordinal, $7 part
WITH heartbeat AS (
  UPDATE migrate.workers
  SET    heartbeat_at = clock_timestamp()
  WHERE  run = $1::bigint AND worker = $2::integer AND epoch = $3::integer
), passed AS (
  UPDATE migrate.batches AS a
  SET    rows_read    = a.rows_read - a.rows_changed + u.rows,
         rows_changed = u.rows
  FROM  (SELECT u.slice, u.ordinal, u.part, coalesce(cardinality(u.k_1), 0) AS rows
         FROM   migrate.undo_{run}_1 AS u) AS u
  WHERE  a.run = $1::bigint
    AND  a.kind = 'apply'
    AND  (a.slice, a.ordinal, a.part) = (u.slice, u.ordinal, u.part)
    AND  a.rows_changed > u.rows
)
INSERT INTO migrate.batches (run, kind, slice, ordinal, part, after_key, through_key,
                             rows_read, rows_changed, rows_unchanged, rows_rejected, epoch, exact)
SELECT $1::bigint, 'apply', u.slice, u.ordinal, u.part, NULL, $4::text[],
       u.rows_read, c.rows_changed, u.rows_read - c.rows_changed - u.rows_rejected, u.rows_rejected, f.epoch,
       NOT EXISTS (SELECT FROM migrate.undo_{run}_1 AS e WHERE e.exact IS FALSE)
FROM   migrate.undo_{run}_1 AS u
CROSS  JOIN LATERAL (SELECT coalesce(cardinality(u.n_3), 0) AS rows_changed) AS c
CROSS  JOIN (SELECT epoch FROM migrate.fence WHERE run = $1::bigint AND epoch = $3::integer FOR SHARE) AS f
WHERE  (u.slice, u.ordinal, u.part) = ($5::integer, $6::integer, $7::integer)
RETURNING exact, rows_read, rows_changed, rows_rejected, xid,
          (SELECT coalesce(cardinality(u.k_1), 0)
           FROM   migrate.undo_{run}_1 AS u
           WHERE  (u.slice, u.ordinal, u.part) = ($5::integer, $6::integer, $7::integer)) AS rows_captured;

-- forget: taken back before anything was shown: what was computed is let go
UPDATE migrate.undo_{run}_1 AS u
SET    k_1 = NULL,
       k_2 = NULL,
       o_3 = NULL,
       n_3 = NULL,
       o_4 = NULL,
       n_4 = NULL,
       o_5 = NULL,
       n_5 = NULL
WHERE  u.slice >= 0;

-- ===== finish: once, after the last batch

-- left behind: rows that became eligible behind the batches, counted and not passed over in silence
-- $1 upper.1, $2 upper.2, $3 run
SELECT count(*) FILTER (WHERE record_image_ne(ROW("items"."price", CAST("items"."tags" AS text[])),
                                              ROW(CAST("items".price + 1 AS numeric), CAST("items".tags || "items".sku AS text[]))))
FROM   "shop"."items" AS "items"
WHERE  ("items"."shop", "items"."sku") <= ROW($1::integer, $2::text)
  AND  NOT EXISTS (SELECT FROM migrate.rejects AS r
                   WHERE r.run = $3::bigint AND r.step = 1 AND r.key = ARRAY[CAST("items"."shop" AS text), CAST("items"."sku" AS text)])
  AND  NOT EXISTS (SELECT
                   FROM  (SELECT unnest(u.k_1), unnest(u.k_2) FROM migrate.undo_{run}_1 AS u) AS d(k_1, k_2)
                   WHERE  d.k_1 = "items"."shop" AND d.k_2 = "items"."sku");

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
CROSS  JOIN LATERAL unnest(b.k_1, b.k_2, b.n_3, b.n_4) AS d(k_1, k_2, n_3, n_4)
LEFT   JOIN "shop"."items" AS "items" ON "items"."shop" = d.k_1 AND "items"."sku" = d.k_2
WHERE  NOT b.reverted
  AND  ("items"."shop" IS NULL
        OR record_image_ne(ROW("items"."price", CAST("items"."tags" AS text[])),
                           ROW(d.n_3, d.n_4)));

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
         CASE WHEN record_image_eq(ROW("items"."stamp"), ROW(d.n_5)) THEN d.o_5 ELSE "items"."stamp" END AS held_5
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.k_2, b.o_5, b.n_5) AS d(k_1, k_2, o_5, n_5),
         "shop"."items" AS "items"
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "items"."shop" = d.k_1 AND "items"."sku" = d.k_2
  FOR    NO KEY UPDATE OF "items"
)
UPDATE migrate.undo_{run}_1 AS u
SET    held_k_1 = a.k_1,
       held_k_2 = a.k_2,
       held_5 = a.held_5
FROM  (SELECT array_agg(h.k_1) AS k_1,
              array_agg(h.k_2) AS k_2,
              array_agg(h.held_5) AS held_5 FROM held AS h) AS a
WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer);

-- restore: one statement compares and writes, so no edit is lost between the two
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  UPDATE "shop"."items" AS "items"
  SET    "price" = d.o_3,
         "tags" = d.o_4
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.k_2, b.o_3, b.n_3, b.o_4, b.n_4) AS d(k_1, k_2, o_3, n_3, o_4, n_4)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "items"."shop" = d.k_1 AND "items"."sku" = d.k_2
    AND  record_image_eq(ROW("items"."price", CAST("items"."tags" AS text[])),
                         ROW(d.n_3, d.n_4))
  RETURNING "items"."shop" AS k_1, "items"."sku" AS k_2
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
         record_image_ne(ROW("items"."price", CAST("items"."tags" AS text[])),
                         ROW(d.n_3, d.n_4)) AS differs,
         jsonb_object(ARRAY['price', 'tags'],
                      ARRAY[CAST("items"."price" AS text), CAST(CAST("items"."tags" AS text[]) AS text)]) AS found
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.k_2, b.n_3, b.n_4) AS d(k_1, k_2, n_3, n_4),
         "shop"."items" AS "items"
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "items"."shop" = d.k_1 AND "items"."sku" = d.k_2
  FOR    NO KEY UPDATE OF "items"
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
SELECT $4::bigint, 1, $5::bigint, ARRAY[CAST(d.k_1 AS text), CAST(d.k_2 AS text)], 'overwritten', d.found
FROM   d
WHERE  d.differs;

-- restore forced: under force the old values come back over whatever has been kept
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  UPDATE "shop"."items" AS "items"
  SET    "price" = d.o_3,
         "tags" = d.o_4
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.k_2, b.o_3, b.n_3, b.o_4, b.n_4) AS d(k_1, k_2, o_3, n_3, o_4, n_4)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "items"."shop" = d.k_1 AND "items"."sku" = d.k_2
    AND  (record_image_eq(ROW("items"."price", CAST("items"."tags" AS text[])),
                          ROW(d.n_3, d.n_4))
          OR EXISTS (SELECT
                     FROM   migrate.conflicts AS c
                     WHERE  (c.run, c.step, c.seq) = ($4::bigint, 1, $5::bigint)
                       AND  c.key = ARRAY[CAST(d.k_1 AS text), CAST(d.k_2 AS text)]))
  RETURNING "items"."shop" AS k_1, "items"."sku" AS k_2
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
       found = jsonb_object(ARRAY['price', 'tags'],
                            ARRAY[CAST("items"."price" AS text), CAST(CAST("items"."tags" AS text[]) AS text)])
FROM   "shop"."items" AS "items"
WHERE  (c.run, c.step, c.seq) = ($1::bigint, 1, $2::bigint)
  AND  c.reason = 'gone'
  AND  "items"."shop" = CAST(c.key[1] AS integer) AND "items"."sku" = CAST(c.key[2] AS text);

-- triggers off: for this statement alone
SET LOCAL session_replication_role = replica;

-- restore rewritten: what the triggers have just written goes, what was there comes back
-- $1 slice, $2 ordinal, $3 part
WITH kept AS MATERIALIZED (
  SELECT d.k_1,
         d.k_2,
         d.o_3,
         d.o_4,
         h.held_k_1,
         h.held_k_2,
         h.held_5
  FROM   migrate.undo_{run}_1 AS b
  CROSS  JOIN LATERAL unnest(b.back_1, b.back_2) AS r(back_1, back_2)
  LEFT   JOIN LATERAL unnest(b.k_1, b.k_2, b.o_3, b.o_4) AS d(k_1, k_2, o_3, o_4)
         ON d.k_1 = r.back_1 AND d.k_2 = r.back_2
  LEFT   JOIN LATERAL unnest(b.held_k_1, b.held_k_2, b.held_5) AS h(held_k_1, held_k_2, held_5)
         ON h.held_k_1 = r.back_1 AND h.held_k_2 = r.back_2
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
)
UPDATE "shop"."items" AS "items"
SET    "price" = d.o_3,
       "tags" = d.o_4,
       "stamp" = d.held_5
FROM   kept AS d
WHERE  "items"."shop" = d.k_1 AND "items"."sku" = d.k_2
  AND  d.held_k_1 IS NOT NULL;

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
       a.rows_changed, a.rows_changed - c.rows_kept, 0, c.rows_kept, f.epoch, true
FROM   migrate.batches AS a, conflicts AS c,
       (SELECT epoch FROM migrate.fence WHERE run = $1::bigint AND epoch = $3::integer FOR SHARE) AS f
WHERE  a.run = $1::bigint
  AND  a.kind = 'apply'
  AND  a.seq = $4::bigint
RETURNING rows_read, rows_changed, rows_rejected;

-- drop undo: everything is as it was, so the undo has done its work
DROP TABLE migrate.undo_{run}_1;
DROP TYPE migrate.w_{run}_1_4;
