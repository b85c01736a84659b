-- ===== prepare: once, in the transaction that begins the run

-- undo table: a row a batch, an array a column; never the table's own row type, which would forbid DDL
CREATE TABLE migrate.undo_{run}_1 (slice integer,
                                   ordinal integer,
                                   part integer,
                                   rows_read bigint NOT NULL,
                                   k_1 character varying[] COMPRESSION lz4,
                                   k_2 integer[] COMPRESSION lz4,
                                   k_3 smallint[] COMPRESSION lz4,
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

-- slices: each slice is walked by one worker at a time; its end is the next one's beginning
-- $1 upper.1, $2 upper.2, $3 upper.3, $4 run, $5 upper
WITH found AS (
  SELECT ARRAY[CAST("lines"."sku" AS text), CAST("lines"."tenant" AS text), CAST("lines"."line" AS text)] AS key,
         row_number() OVER (ORDER BY "lines"."sku", "lines"."tenant", "lines"."line") AS place,
         count(*) OVER () AS places
  FROM   "shop"."lines" AS "lines"
  WHERE  ("lines"."sku", "lines"."tenant", "lines"."line") < ROW($1::character varying, $2::integer, $3::smallint)
)
INSERT INTO migrate.slices (run, slice, canary, after_key, through_key)
SELECT $4::bigint, row_number() OVER (ORDER BY c.canary DESC, s.place) - 1, c.canary,
       lag(s.key) OVER (PARTITION BY c.canary ORDER BY s.place), s.key
FROM  (SELECT f.place, f.key
       FROM   found AS f
       WHERE  f.place < f.places AND f.place * 16 / f.places > (f.place - 1) * 16 / f.places
       UNION  ALL
       SELECT NULL, $5::text[]) AS s CROSS JOIN (VALUES (true), (false)) AS c(canary);

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
-- $1 after.none, $2 after.1, $3 after.2, $4 after.3, $5 upper.1, $6 upper.2, $7 upper.3, $8 canary, $9 size
SELECT CAST("lines"."sku" AS text) AS through_1,
       CAST("lines"."tenant" AS text) AS through_2,
       CAST("lines"."line" AS text) AS through_3
FROM   "shop"."lines" AS "lines"
WHERE  ($1::boolean OR ("lines"."sku", "lines"."tenant", "lines"."line") > ROW($2::character varying, $3::integer, $4::smallint))
  AND  ("lines"."sku", "lines"."tenant", "lines"."line") <= ROW($5::character varying, $6::integer, $7::smallint)
  AND  ($8::boolean IS NULL
        OR ((hashtextextended(CAST(ARRAY[CAST("lines"."sku" AS text), CAST("lines"."tenant" AS text), CAST("lines"."line" AS text)] AS text) COLLATE "C", 0) & 9223372036854775807) % 100000 < 30000) = $8::boolean)
ORDER  BY "lines"."sku", "lines"."tenant", "lines"."line"
OFFSET $9::bigint - 1
LIMIT  1;

-- change: undo: none, so only the keys are kept
-- $1 after.none, $2 after.1, $3 after.2, $4 after.3, $5 through.1, $6 through.2, $7 through.3, $8 canary, $9 slice, $10 ordinal, $11 part, $12 eligible
WITH changed AS (
  UPDATE "shop"."lines" AS "lines"
  SET    "quantity" = quantity + 1
  WHERE  ($1::boolean OR ("lines"."sku", "lines"."tenant", "lines"."line") > ROW($2::character varying, $3::integer, $4::smallint))
    AND  ("lines"."sku", "lines"."tenant", "lines"."line") <= ROW($5::character varying, $6::integer, $7::smallint)
    AND  ($8::boolean IS NULL
          OR ((hashtextextended(CAST(ARRAY[CAST("lines"."sku" AS text), CAST("lines"."tenant" AS text), CAST("lines"."line" AS text)] AS text) COLLATE "C", 0) & 9223372036854775807) % 100000 < 30000) = $8::boolean)
    AND  CASE WHEN ($1::boolean OR ("lines"."sku", "lines"."tenant", "lines"."line") > ROW($2::character varying, $3::integer, $4::smallint))
                   AND ("lines"."sku", "lines"."tenant", "lines"."line") <= ROW($5::character varying, $6::integer, $7::smallint)
                   AND ($8::boolean IS NULL
                        OR ((hashtextextended(CAST(ARRAY[CAST("lines"."sku" AS text), CAST("lines"."tenant" AS text), CAST("lines"."line" AS text)] AS text) COLLATE "C", 0) & 9223372036854775807) % 100000 < 30000) = $8::boolean)
              THEN "lines"."quantity" IS DISTINCT FROM CAST(quantity + 1 AS integer) END
  RETURNING "lines"."sku" AS k_1,
            "lines"."tenant" AS k_2,
            "lines"."line" AS k_3
)
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, rows_read, k_1, k_2, k_3, exact)
SELECT $9::integer, $10::integer, $11::integer,
       coalesce($12::bigint, (SELECT count(*)
                              FROM   "shop"."lines" AS "lines"
                              WHERE  ($1::boolean OR ("lines"."sku", "lines"."tenant", "lines"."line") > ROW($2::character varying, $3::integer, $4::smallint))
                                AND  ("lines"."sku", "lines"."tenant", "lines"."line") <= ROW($5::character varying, $6::integer, $7::smallint)
                                AND  ($8::boolean IS NULL
                                      OR ((hashtextextended(CAST(ARRAY[CAST("lines"."sku" AS text), CAST("lines"."tenant" AS text), CAST("lines"."line" AS text)] AS text) COLLATE "C", 0) & 9223372036854775807) % 100000 < 30000) = $8::boolean))),
       array_agg(s.k_1),
       array_agg(s.k_2),
       array_agg(s.k_3),
       true
FROM  (SELECT * FROM changed ORDER BY k_1, k_2, k_3) AS s;

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
CROSS  JOIN LATERAL (SELECT coalesce(cardinality(u.k_1), 0) AS rows_changed) AS c
CROSS  JOIN (SELECT epoch FROM migrate.fence WHERE run = $1::bigint AND epoch = $3::integer FOR SHARE) AS f
WHERE  (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)
RETURNING exact, rows_read, rows_changed, xid,
          (SELECT coalesce(cardinality(u.k_1), 0)
           FROM   migrate.undo_{run}_1 AS u
           WHERE  (u.slice, u.ordinal, u.part) = ($6::integer, $7::integer, $8::integer)) AS rows_captured;

-- ===== holds: between batches, at most once a second; while one finds a row, the run holds

-- hold when: canary: so long somebody can look at it, from its last batch on
-- $1 run
SELECT format('%s; until %s', c.words, to_char(c.until AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS ') || 'UTC')
FROM   migrate.canary_done($1::bigint) AS c
WHERE  c.until > clock_timestamp();

-- ===== finish: once, after the last batch

-- left behind: rows that became eligible behind the batches, counted and not passed over in silence
-- $1 upper.1, $2 upper.2, $3 upper.3, $4 others, $5 horizon, $6 transactions
SELECT count(*) FILTER (WHERE "lines"."quantity" IS DISTINCT FROM CAST(quantity + 1 AS integer))
FROM   "shop"."lines" AS "lines"
WHERE  ("lines"."sku", "lines"."tenant", "lines"."line") <= ROW($1::character varying, $2::integer, $3::smallint)
  AND  $4::boolean
  AND  ($5::bigint IS NULL
        OR ((CAST(CAST("lines".xmin AS text) AS bigint) - $5::bigint) & 4294967295) < 2147483648)
  AND  NOT EXISTS (SELECT FROM unnest($6::xid[]) AS own(xid) WHERE own.xid = "lines".xmin)
  AND  NOT EXISTS (SELECT
                   FROM  (SELECT unnest(u.k_1), unnest(u.k_2), unnest(u.k_3) FROM migrate.undo_{run}_1 AS u) AS d(k_1, k_2, k_3)
                   WHERE  d.k_1 = "lines"."sku" AND d.k_2 = "lines"."tenant" AND d.k_3 = "lines"."line");
