-- ===== prepare: once, in the transaction that begins the run

-- undo table: a row a batch, an array a column; never the table's own row type, which would forbid DDL
CREATE TABLE migrate.undo_{run}_1 (slice integer,
                                   ordinal integer,
                                   part integer,
                                   rows_read bigint NOT NULL,
                                   rows_rejected bigint NOT NULL DEFAULT 0,
                                   k_1 character varying[] COMPRESSION lz4,
                                   k_2 integer[] COMPRESSION lz4,
                                   k_3 smallint[] COMPRESSION lz4,
                                   o_4 integer[] COMPRESSION lz4,
                                   n_4 integer[] COMPRESSION lz4,
                                   exact boolean,
                                   reverted boolean NOT NULL DEFAULT false,
                                   PRIMARY KEY (slice, ordinal, part));

-- ===== bounds: once, before the first batch

-- lockers: the transactions that may hold rows below the upper end which nobody can see yet
SELECT l.virtualtransaction
FROM   pg_locks AS l
WHERE  l.locktype = 'relation'
  AND  l.relation IN (SELECT to_regclass('"shop"."lines"') UNION SELECT relid FROM pg_partition_tree(to_regclass('"shop"."lines"')))
  AND  l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND  l.granted
  AND  l.pid IS DISTINCT FROM pg_backend_pid()
  AND  l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock');

-- upper: the last key, fixed once: a writer that goes on beyond it does not keep the run from ending
SELECT CAST("lines"."sku" AS text) AS upper_1,
       CAST("lines"."tenant" AS text) AS upper_2,
       CAST("lines"."line" AS text) AS upper_3
FROM   "shop"."lines" AS "lines"
ORDER  BY "lines"."sku" DESC, "lines"."tenant" DESC, "lines"."line" DESC
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
LOCK TABLE "shop"."lines" IN ROW EXCLUSIVE MODE;

-- bound: the key of the batch's last row; no row: the batch goes to the upper end
-- $1 after.none, $2 after.1, $3 after.2, $4 after.3, $5 upper.1, $6 upper.2, $7 upper.3, $8 size
SELECT CAST("lines"."sku" AS text) AS through_1,
       CAST("lines"."tenant" AS text) AS through_2,
       CAST("lines"."line" AS text) AS through_3
FROM   "shop"."lines" AS "lines"
WHERE  ($1::boolean OR ("lines"."sku", "lines"."tenant", "lines"."line") > ROW($2::character varying, $3::integer, $4::smallint))
  AND  ("lines"."sku", "lines"."tenant", "lines"."line") <= ROW($5::character varying, $6::integer, $7::smallint)
  AND  (quantity > 1)
ORDER  BY "lines"."sku", "lines"."tenant", "lines"."line"
OFFSET $8::bigint - 1
LIMIT  1;

-- capture: the old values and the new ones; OFFSET 0 keeps the new ones from being computed twice
-- $1 slice, $2 ordinal, $3 part, $4 eligible, $5 after.none, $6 after.1, $7 after.2, $8 after.3, $9 through.1, $10 through.2, $11 through.3
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, rows_read, k_1, k_2, k_3, o_4, n_4)
SELECT $1::integer, $2::integer, $3::integer,
       coalesce($4::bigint, (SELECT count(*)
                             FROM   "shop"."lines" AS "lines"
                             WHERE  ($5::boolean OR ("lines"."sku", "lines"."tenant", "lines"."line") > ROW($6::character varying, $7::integer, $8::smallint))
                               AND  ("lines"."sku", "lines"."tenant", "lines"."line") <= ROW($9::character varying, $10::integer, $11::smallint)
                               AND  (quantity > 1))),
       array_agg(s.k_1),
       array_agg(s.k_2),
       array_agg(s.k_3),
       array_agg(s.o_4),
       array_agg(s.n_4)
FROM  (SELECT "lines"."sku" AS k_1,
              "lines"."tenant" AS k_2,
              "lines"."line" AS k_3,
              "lines"."quantity" AS o_4,
              CAST(quantity - 1 AS integer) AS n_4
       FROM   "shop"."lines" AS "lines"
       WHERE  ($5::boolean OR ("lines"."sku", "lines"."tenant", "lines"."line") > ROW($6::character varying, $7::integer, $8::smallint))
         AND  ("lines"."sku", "lines"."tenant", "lines"."line") <= ROW($9::character varying, $10::integer, $11::smallint)
         AND  (quantity > 1)
       ORDER  BY "lines"."sku", "lines"."tenant", "lines"."line"
       OFFSET 0) AS s
WHERE  s.o_4 IS DISTINCT FROM s.n_4
RETURNING rows_read = coalesce(cardinality(k_1), 0) AS as_captured;

-- capture locked: from the second attempt on the rows are locked before anything is computed
-- $1 slice, $2 ordinal, $3 part, $4 after.none, $5 after.1, $6 after.2, $7 after.3, $8 through.1, $9 through.2, $10 through.3
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, rows_read, k_1, k_2, k_3, o_4)
SELECT $1::integer, $2::integer, $3::integer,
       count(*),
       array_agg(s.k_1) FILTER (WHERE s.differs),
       array_agg(s.k_2) FILTER (WHERE s.differs),
       array_agg(s.k_3) FILTER (WHERE s.differs),
       array_agg(s.o_4) FILTER (WHERE s.differs)
FROM  (SELECT "lines"."sku" AS k_1,
              "lines"."tenant" AS k_2,
              "lines"."line" AS k_3,
              "lines"."quantity" AS o_4,
              "lines"."quantity" IS DISTINCT FROM CAST(quantity - 1 AS integer) AS differs
       FROM   "shop"."lines" AS "lines"
       WHERE  ($4::boolean OR ("lines"."sku", "lines"."tenant", "lines"."line") > ROW($5::character varying, $6::integer, $7::smallint))
         AND  ("lines"."sku", "lines"."tenant", "lines"."line") <= ROW($8::character varying, $9::integer, $10::smallint)
         AND  (quantity > 1)
       ORDER  BY "lines"."sku", "lines"."tenant", "lines"."line"
       FOR    NO KEY UPDATE OF "lines") AS s;

-- change as captured: in place of change when the capture, under the same snapshot, has told all that is kept
-- $1 after.none, $2 after.1, $3 after.2, $4 after.3, $5 through.1, $6 through.2, $7 through.3
UPDATE "shop"."lines" AS "lines"
SET    "quantity" = quantity - 1
WHERE  ($1::boolean OR ("lines"."sku", "lines"."tenant", "lines"."line") > ROW($2::character varying, $3::integer, $4::smallint))
  AND  ("lines"."sku", "lines"."tenant", "lines"."line") <= ROW($5::character varying, $6::integer, $7::smallint)
  AND  (quantity > 1);

-- change: a range of the key, not a join with the batch, which costs half as much again
-- $1 after.none, $2 after.1, $3 after.2, $4 after.3, $5 through.1, $6 through.2, $7 through.3, $8 slice, $9 ordinal, $10 part
WITH changed AS (
  UPDATE "shop"."lines" AS "lines"
  SET    "quantity" = quantity - 1
  WHERE  ($1::boolean OR ("lines"."sku", "lines"."tenant", "lines"."line") > ROW($2::character varying, $3::integer, $4::smallint))
    AND  ("lines"."sku", "lines"."tenant", "lines"."line") <= ROW($5::character varying, $6::integer, $7::smallint)
    AND  (quantity > 1)
    AND  CASE WHEN ($1::boolean OR ("lines"."sku", "lines"."tenant", "lines"."line") > ROW($2::character varying, $3::integer, $4::smallint))
                   AND ("lines"."sku", "lines"."tenant", "lines"."line") <= ROW($5::character varying, $6::integer, $7::smallint)
                   AND (quantity > 1)
              THEN "lines"."quantity" IS DISTINCT FROM CAST(quantity - 1 AS integer) END
  RETURNING "lines"."sku" AS k_1,
            "lines"."tenant" AS k_2,
            "lines"."line" AS k_3,
            "lines"."quantity" AS n_4
), image AS (
  SELECT array_agg(s.k_1) AS k_1,
         array_agg(s.k_2) AS k_2,
         array_agg(s.k_3) AS k_3,
         array_agg(s.n_4) AS n_4
  FROM  (SELECT * FROM changed ORDER BY k_1, k_2, k_3) AS s
)
UPDATE migrate.undo_{run}_1 AS u
SET    n_4 = image.n_4,
       exact = (u.k_1 IS NOT DISTINCT FROM image.k_1 AND u.k_2 IS NOT DISTINCT FROM image.k_2 AND u.k_3 IS NOT DISTINCT FROM image.k_3)
FROM   image
WHERE  (u.slice, u.ordinal, u.part) = ($8::integer, $9::integer, $10::integer);

-- finish: the ledger's entry; no row: another worker has taken over; not exact: rows came in between
-- $1 run, $2 worker, $3 epoch, $4 after, $5 through, $6 changed, $7 slice, $8 ordinal, $9 part
WITH heartbeat AS (
  UPDATE migrate.workers
  SET    heartbeat_at = clock_timestamp()
  WHERE  run = $1::bigint AND worker = $2::integer AND epoch = $3::integer
)
INSERT INTO migrate.batches (run, kind, slice, ordinal, part, after_key, through_key,
                             rows_read, rows_changed, rows_unchanged, rows_rejected, epoch, exact)
SELECT $1::bigint, 'apply', u.slice, u.ordinal, u.part, $4::text[], $5::text[],
       u.rows_read, c.rows_changed, u.rows_read - c.rows_changed - u.rows_rejected, u.rows_rejected, f.epoch,
       coalesce(u.exact, $6::bigint = coalesce(cardinality(u.n_4), 0))
FROM   migrate.undo_{run}_1 AS u
CROSS  JOIN LATERAL (SELECT coalesce($6::bigint, cardinality(u.n_4), 0) AS rows_changed) AS c
CROSS  JOIN (SELECT epoch FROM migrate.fence WHERE run = $1::bigint AND epoch = $3::integer FOR SHARE) AS f
WHERE  (u.slice, u.ordinal, u.part) = ($7::integer, $8::integer, $9::integer)
RETURNING exact, rows_read, rows_changed, rows_rejected, xid,
          (SELECT coalesce(cardinality(u.k_1), 0)
           FROM   migrate.undo_{run}_1 AS u
           WHERE  (u.slice, u.ordinal, u.part) = ($7::integer, $8::integer, $9::integer)) AS rows_captured;

-- middle: of a part that failed: how many rows it has, and the key that halves it
-- $1 after.none, $2 after.1, $3 after.2, $4 after.3, $5 through.1, $6 through.2, $7 through.3
SELECT count(*) AS rows,
       (array_agg(CAST("lines"."sku" AS text) ORDER BY "lines"."sku", "lines"."tenant", "lines"."line"))[(count(*) + 1) / 2] AS middle_1,
       (array_agg(CAST("lines"."tenant" AS text) ORDER BY "lines"."sku", "lines"."tenant", "lines"."line"))[(count(*) + 1) / 2] AS middle_2,
       (array_agg(CAST("lines"."line" AS text) ORDER BY "lines"."sku", "lines"."tenant", "lines"."line"))[(count(*) + 1) / 2] AS middle_3
FROM   "shop"."lines" AS "lines"
WHERE  ($1::boolean OR ("lines"."sku", "lines"."tenant", "lines"."line") > ROW($2::character varying, $3::integer, $4::smallint))
  AND  ("lines"."sku", "lines"."tenant", "lines"."line") <= ROW($5::character varying, $6::integer, $7::smallint)
  AND  (quantity > 1);

-- keys: of a batch with many rows that fail: each is tried by itself, and undone
-- $1 after.none, $2 after.1, $3 after.2, $4 after.3, $5 through.1, $6 through.2, $7 through.3
SELECT CAST("lines"."sku" AS text) AS key_1,
       CAST("lines"."tenant" AS text) AS key_2,
       CAST("lines"."line" AS text) AS key_3
FROM   "shop"."lines" AS "lines"
WHERE  ($1::boolean OR ("lines"."sku", "lines"."tenant", "lines"."line") > ROW($2::character varying, $3::integer, $4::smallint))
  AND  ("lines"."sku", "lines"."tenant", "lines"."line") <= ROW($5::character varying, $6::integer, $7::smallint)
  AND  (quantity > 1)
ORDER  BY "lines"."sku", "lines"."tenant", "lines"."line";

-- images: of a part that a constraint has refused: its rows as they would be written, to ask which of them break it
-- $1 after.none, $2 after.1, $3 after.2, $4 after.3, $5 through.1, $6 through.2, $7 through.3
SELECT ARRAY[CAST("lines"."sku" AS text), CAST("lines"."tenant" AS text), CAST("lines"."line" AS text)] AS "migrate key",
       lag(ARRAY[CAST("lines"."sku" AS text), CAST("lines"."tenant" AS text), CAST("lines"."line" AS text)]) OVER (ORDER BY "lines"."sku", "lines"."tenant", "lines"."line") AS "migrate previous",
       row_number() OVER (ORDER BY "lines"."sku", "lines"."tenant", "lines"."line") AS "migrate place",
       "lines"."tenant" AS "tenant",
       "lines"."line" AS "line",
       "lines"."sku" AS "sku",
       CAST(quantity - 1 AS integer) AS "quantity"
FROM   "shop"."lines" AS "lines"
WHERE  ($1::boolean OR ("lines"."sku", "lines"."tenant", "lines"."line") > ROW($2::character varying, $3::integer, $4::smallint))
  AND  ("lines"."sku", "lines"."tenant", "lines"."line") <= ROW($5::character varying, $6::integer, $7::smallint)
  AND  (quantity > 1);

-- reject: the only row of a part that failed goes to quarantine, and counts as read
-- $1 run, $2 refusal.sqlstate, $3 refusal.message, $4 refusal.detail, $5 refusal.column, $6 refusal.constraint, $7 after.none, $8 after.1, $9 after.2, $10 after.3, $11 through.1, $12 through.2, $13 through.3, $14 slice, $15 ordinal, $16 part
WITH rejected AS (
  INSERT INTO migrate.rejects (run, step, key, row, sqlstate, message, detail, column_name, constraint_name)
  SELECT $1::bigint,
         1,
         ARRAY[CAST("lines"."sku" AS text), CAST("lines"."tenant" AS text), CAST("lines"."line" AS text)],
         migrate.row_image("lines".*),
         $2::text,
         $3::text,
         $4::text,
         $5::text,
         $6::text
  FROM   "shop"."lines" AS "lines"
  WHERE  ($7::boolean OR ("lines"."sku", "lines"."tenant", "lines"."line") > ROW($8::character varying, $9::integer, $10::smallint))
    AND  ("lines"."sku", "lines"."tenant", "lines"."line") <= ROW($11::character varying, $12::integer, $13::smallint)
    AND  (quantity > 1)
  ON CONFLICT (run, step, key) DO UPDATE
  SET    row = excluded.row, new_values = excluded.new_values, reasons = excluded.reasons,
         sqlstate = excluded.sqlstate, message = excluded.message, detail = excluded.detail,
         column_name = excluded.column_name, constraint_name = excluded.constraint_name,
         rejected_at = excluded.rejected_at
  RETURNING key
)
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, rows_read, rows_rejected, exact)
SELECT $14::integer, $15::integer, $16::integer, count(*), count(*), true
FROM   rejected;

-- previous: for a row of quarantine that is tried again: the key behind which it stands; no row: it is the first
-- $1 through.1, $2 through.2, $3 through.3
SELECT CAST("lines"."sku" AS text) AS previous_1,
       CAST("lines"."tenant" AS text) AS previous_2,
       CAST("lines"."line" AS text) AS previous_3
FROM   "shop"."lines" AS "lines"
WHERE  ("lines"."sku", "lines"."tenant", "lines"."line") < ROW($1::character varying, $2::integer, $3::smallint)
ORDER  BY "lines"."sku" DESC, "lines"."tenant" DESC, "lines"."line" DESC
LIMIT  1;

-- ===== finish: once, after the last batch

-- left behind: rows that became eligible behind the batches, counted and not passed over in silence
-- $1 upper.1, $2 upper.2, $3 upper.3, $4 others, $5 horizon, $6 transactions, $7 run
SELECT count(*) FILTER (WHERE "lines"."quantity" IS DISTINCT FROM CAST(quantity - 1 AS integer))
FROM   "shop"."lines" AS "lines"
WHERE  ("lines"."sku", "lines"."tenant", "lines"."line") <= ROW($1::character varying, $2::integer, $3::smallint)
  AND  $4::boolean
  AND  ($5::bigint IS NULL
        OR ((CAST(CAST("lines".xmin AS text) AS bigint) - $5::bigint) & 4294967295) < 2147483648)
  AND  NOT EXISTS (SELECT FROM unnest($6::xid[]) AS own(xid) WHERE own.xid = "lines".xmin)
  AND  (quantity > 1)
  AND  NOT EXISTS (SELECT FROM migrate.rejects AS r
                   WHERE r.run = $7::bigint AND r.step = 1 AND r.key = ARRAY[CAST("lines"."sku" AS text), CAST("lines"."tenant" AS text), CAST("lines"."line" AS text)])
  AND  NOT EXISTS (SELECT
                   FROM  (SELECT unnest(u.k_1), unnest(u.k_2), unnest(u.k_3) FROM migrate.undo_{run}_1 AS u) AS d(k_1, k_2, k_3)
                   WHERE  d.k_1 = "lines"."sku" AND d.k_2 = "lines"."tenant" AND d.k_3 = "lines"."line");

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
FROM   "shop"."lines" AS "lines"
WHERE  "lines".xmin IN (SELECT unnest($1::xid[]));

-- conflicts ahead: rows changed since, all batches at once; under stop there must be none
SELECT count(*) AS conflicts
FROM   migrate.undo_{run}_1 AS b
CROSS  JOIN LATERAL unnest(b.k_1, b.k_2, b.k_3, b.n_4) AS d(k_1, k_2, k_3, n_4)
LEFT   JOIN "shop"."lines" AS "lines" ON "lines"."sku" = d.k_1 AND "lines"."tenant" = d.k_2 AND "lines"."line" = d.k_3
WHERE  NOT b.reverted
  AND  ("lines"."sku" IS NULL
        OR record_image_ne(ROW("lines"."quantity"), ROW(d.n_4)));

-- mark: a second revert of the same batch waits here and then finds nothing to do
-- $1 slice, $2 ordinal, $3 part
UPDATE migrate.undo_{run}_1 AS u
SET    reverted = true
WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer)
  AND  NOT u.reverted;

-- restore: one statement compares and writes, so no edit is lost between the two
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  UPDATE "shop"."lines" AS "lines"
  SET    "quantity" = d.o_4
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.k_2, b.k_3, b.o_4, b.n_4) AS d(k_1, k_2, k_3, o_4, n_4)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "lines"."sku" = d.k_1 AND "lines"."tenant" = d.k_2 AND "lines"."line" = d.k_3
    AND  record_image_eq(ROW("lines"."quantity"), ROW(d.n_4))
  RETURNING "lines"."sku" AS k_1, "lines"."tenant" AS k_2, "lines"."line" AS k_3
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason)
SELECT $4::bigint, 1, $5::bigint, ARRAY[CAST(d.k_1 AS text), CAST(d.k_2 AS text), CAST(d.k_3 AS text)], 'gone'
FROM  (SELECT d.k_1, d.k_2, d.k_3
       FROM   migrate.undo_{run}_1 AS b,
              unnest(b.k_1, b.k_2, b.k_3) AS d(k_1, k_2, k_3)
       WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
         AND  cardinality(b.k_1) > (SELECT count(*) FROM back)
       EXCEPT
       SELECT k_1, k_2, k_3 FROM back) AS d;

-- seize: under force what is overwritten is kept first, and the rows locked meanwhile
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH d AS MATERIALIZED (
  SELECT d.k_1,
         d.k_2,
         d.k_3,
         record_image_ne(ROW("lines"."quantity"), ROW(d.n_4)) AS differs,
         jsonb_object(ARRAY['quantity'],
                      ARRAY[CAST("lines"."quantity" AS text)]) AS found
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.k_2, b.k_3, b.n_4) AS d(k_1, k_2, k_3, n_4),
         "shop"."lines" AS "lines"
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "lines"."sku" = d.k_1 AND "lines"."tenant" = d.k_2 AND "lines"."line" = d.k_3
  FOR    NO KEY UPDATE OF "lines"
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
SELECT $4::bigint, 1, $5::bigint, ARRAY[CAST(d.k_1 AS text), CAST(d.k_2 AS text), CAST(d.k_3 AS text)], 'overwritten', d.found
FROM   d
WHERE  d.differs;

-- restore forced: under force the old values come back over whatever has been kept
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  UPDATE "shop"."lines" AS "lines"
  SET    "quantity" = d.o_4
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.k_2, b.k_3, b.o_4, b.n_4) AS d(k_1, k_2, k_3, o_4, n_4)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "lines"."sku" = d.k_1 AND "lines"."tenant" = d.k_2 AND "lines"."line" = d.k_3
    AND  (record_image_eq(ROW("lines"."quantity"), ROW(d.n_4))
          OR EXISTS (SELECT
                     FROM   migrate.conflicts AS c
                     WHERE  (c.run, c.step, c.seq) = ($4::bigint, 1, $5::bigint)
                       AND  c.key = ARRAY[CAST(d.k_1 AS text), CAST(d.k_2 AS text), CAST(d.k_3 AS text)]))
  RETURNING "lines"."sku" AS k_1, "lines"."tenant" AS k_2, "lines"."line" AS k_3
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason)
SELECT $4::bigint, 1, $5::bigint, ARRAY[CAST(d.k_1 AS text), CAST(d.k_2 AS text), CAST(d.k_3 AS text)], 'gone'
FROM  (SELECT d.k_1, d.k_2, d.k_3
       FROM   migrate.undo_{run}_1 AS b,
              unnest(b.k_1, b.k_2, b.k_3) AS d(k_1, k_2, k_3)
       WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
         AND  cardinality(b.k_1) > (SELECT count(*) FROM back)
       EXCEPT
       SELECT k_1, k_2, k_3 FROM back) AS d
ON CONFLICT (run, step, seq, key) DO UPDATE SET reason = 'edited';

-- look: what is there instead of the values that the run had left
-- $1 run, $2 seq
UPDATE migrate.conflicts AS c
SET    reason = 'edited',
       found = jsonb_object(ARRAY['quantity'],
                            ARRAY[CAST("lines"."quantity" AS text)])
FROM   "shop"."lines" AS "lines"
WHERE  (c.run, c.step, c.seq) = ($1::bigint, 1, $2::bigint)
  AND  c.reason = 'gone'
  AND  "lines"."sku" = CAST(c.key[1] AS character varying) AND "lines"."tenant" = CAST(c.key[2] AS integer) AND "lines"."line" = CAST(c.key[3] AS smallint);

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
