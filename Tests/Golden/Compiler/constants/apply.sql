-- ===== prepare: once, in the transaction that begins the run

-- wrapper for column 12: an array of arrays would lose their shapes, so each goes in a row of one column
CREATE TYPE migrate.w_{run}_1_12 AS (v integer[]);

-- wrapper for column 13: an array of arrays would lose their shapes, so each goes in a row of one column
CREATE TYPE migrate.w_{run}_1_13 AS (v text[]);

-- undo table: a row a batch, an array a column; never the table's own row type, which would forbid DDL
CREATE TABLE migrate.undo_{run}_1 (slice integer,
                                   ordinal integer,
                                   part integer,
                                   rows_read bigint NOT NULL,
                                   k_1 integer[] COMPRESSION lz4,
                                   o_2 text[] COMPRESSION lz4,
                                   n_2 text[] COMPRESSION lz4,
                                   o_3 text[] COMPRESSION lz4,
                                   n_3 text[] COMPRESSION lz4,
                                   o_4 text[] COMPRESSION lz4,
                                   n_4 text[] COMPRESSION lz4,
                                   o_5 boolean[] COMPRESSION lz4,
                                   n_5 boolean[] COMPRESSION lz4,
                                   o_6 integer[] COMPRESSION lz4,
                                   n_6 integer[] COMPRESSION lz4,
                                   o_7 numeric[] COMPRESSION lz4,
                                   n_7 numeric[] COMPRESSION lz4,
                                   o_8 double precision[] COMPRESSION lz4,
                                   n_8 double precision[] COMPRESSION lz4,
                                   o_9 date[] COMPRESSION lz4,
                                   n_9 date[] COMPRESSION lz4,
                                   o_10 timestamp with time zone[] COMPRESSION lz4,
                                   n_10 timestamp with time zone[] COMPRESSION lz4,
                                   o_11 shop.state[] COMPRESSION lz4,
                                   n_11 shop.state[] COMPRESSION lz4,
                                   o_12 migrate.w_{run}_1_12[] COMPRESSION lz4,
                                   n_12 migrate.w_{run}_1_12[] COMPRESSION lz4,
                                   o_13 migrate.w_{run}_1_13[] COMPRESSION lz4,
                                   n_13 migrate.w_{run}_1_13[] COMPRESSION lz4,
                                   o_14 json[] COMPRESSION lz4,
                                   n_14 json[] COMPRESSION lz4,
                                   o_15 jsonb[] COMPRESSION lz4,
                                   n_15 jsonb[] COMPRESSION lz4,
                                   o_16 jsonb[] COMPRESSION lz4,
                                   n_16 jsonb[] COMPRESSION lz4,
                                   o_17 bytea[] COMPRESSION lz4,
                                   n_17 bytea[] COMPRESSION lz4,
                                   o_18 interval[] COMPRESSION lz4,
                                   n_18 interval[] COMPRESSION lz4,
                                   o_19 bigint[] COMPRESSION lz4,
                                   n_19 bigint[] COMPRESSION lz4,
                                   o_20 bpchar[] COMPRESSION lz4,
                                   n_20 bpchar[] COMPRESSION lz4,
                                   exact boolean,
                                   reverted boolean NOT NULL DEFAULT false,
                                   PRIMARY KEY (slice, ordinal, part));

-- ===== bounds: once, before the first batch

-- lockers: the transactions that may hold rows below the upper end which nobody can see yet
SELECT l.virtualtransaction
FROM   pg_locks AS l
WHERE  l.locktype = 'relation'
  AND  l.relation IN (SELECT to_regclass('"shop"."kinds"') UNION SELECT relid FROM pg_partition_tree(to_regclass('"shop"."kinds"')))
  AND  l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND  l.granted
  AND  l.pid IS DISTINCT FROM pg_backend_pid()
  AND  l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock');

-- upper: the last key, fixed once: a writer that goes on beyond it does not keep the run from ending
SELECT CAST("kinds"."id" AS text) AS upper_1
FROM   "shop"."kinds" AS "kinds"
ORDER  BY "kinds"."id" DESC
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
LOCK TABLE "shop"."kinds" IN ROW EXCLUSIVE MODE;

-- bound: the key of the batch's last row; no row: the batch goes to the upper end
-- $1 after.none, $2 after.1, $3 upper.1, $4 size
SELECT CAST("kinds"."id" AS text) AS through_1
FROM   "shop"."kinds" AS "kinds"
WHERE  ($1::boolean OR "kinds"."id" > $2::integer)
  AND  "kinds"."id" <= $3::integer
ORDER  BY "kinds"."id"
OFFSET $4::bigint - 1
LIMIT  1;

-- capture: the old values; the key columns tell later whether exactly these rows were changed
-- $1 slice, $2 ordinal, $3 part, $4 after.none, $5 after.1, $6 through.1
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, rows_read, k_1, o_2, o_3, o_4, o_5, o_6, o_7, o_8, o_9, o_10, o_11, o_12, o_13, o_14, o_15, o_16, o_17, o_18, o_19, o_20)
SELECT $1::integer, $2::integer, $3::integer,
       count(*),
       array_agg(s.k_1) FILTER (WHERE s.differs),
       array_agg(s.o_2) FILTER (WHERE s.differs),
       array_agg(s.o_3) FILTER (WHERE s.differs),
       array_agg(s.o_4) FILTER (WHERE s.differs),
       array_agg(s.o_5) FILTER (WHERE s.differs),
       array_agg(s.o_6) FILTER (WHERE s.differs),
       array_agg(s.o_7) FILTER (WHERE s.differs),
       array_agg(s.o_8) FILTER (WHERE s.differs),
       array_agg(s.o_9) FILTER (WHERE s.differs),
       array_agg(s.o_10) FILTER (WHERE s.differs),
       array_agg(s.o_11) FILTER (WHERE s.differs),
       array_agg(s.o_12) FILTER (WHERE s.differs),
       array_agg(s.o_13) FILTER (WHERE s.differs),
       array_agg(s.o_14) FILTER (WHERE s.differs),
       array_agg(s.o_15) FILTER (WHERE s.differs),
       array_agg(s.o_16) FILTER (WHERE s.differs),
       array_agg(s.o_17) FILTER (WHERE s.differs),
       array_agg(s.o_18) FILTER (WHERE s.differs),
       array_agg(s.o_19) FILTER (WHERE s.differs),
       array_agg(s.o_20) FILTER (WHERE s.differs)
FROM  (SELECT "kinds"."id" AS k_1,
              "kinds"."a_text" AS o_2,
              "kinds"."b_text" AS o_3,
              "kinds"."c_null" AS o_4,
              "kinds"."d_bool" AS o_5,
              "kinds"."e_int" AS o_6,
              "kinds"."f_numeric" AS o_7,
              "kinds"."g_float" AS o_8,
              "kinds"."h_date" AS o_9,
              "kinds"."i_moment" AS o_10,
              "kinds"."j_enum" AS o_11,
              CAST(ROW(CAST("kinds"."k_ints" AS integer[])) AS migrate.w_{run}_1_12) AS o_12,
              CAST(ROW(CAST("kinds"."l_texts" AS text[])) AS migrate.w_{run}_1_13) AS o_13,
              "kinds"."m_json" AS o_14,
              "kinds"."n_jsonb" AS o_15,
              "kinds"."o_jsontext" AS o_16,
              "kinds"."p_bytea" AS o_17,
              "kinds"."q_interval" AS o_18,
              "kinds"."r_sql" AS o_19,
              "kinds"."s_short" AS o_20,
              record_image_ne(ROW("kinds"."a_text", "kinds"."b_text", "kinds"."c_null", "kinds"."d_bool", "kinds"."e_int", "kinds"."f_numeric", "kinds"."g_float", "kinds"."h_date", "kinds"."i_moment", "kinds"."j_enum", CAST("kinds"."k_ints" AS integer[]), CAST("kinds"."l_texts" AS text[]), "kinds"."m_json", "kinds"."n_jsonb", "kinds"."o_jsontext", "kinds"."p_bytea", "kinds"."q_interval", "kinds"."r_sql", CAST("kinds"."s_short" AS text)),
                              ROW(CAST('it''s' AS text), CAST('a ''b'' and \ c' AS text), CAST(NULL AS text), CAST('true' AS boolean), CAST('42' AS integer), CAST('1.50' AS numeric(6,2)), CAST('1e-3' AS double precision), CAST('2026-01-31' AS date), CAST('2026-01-31 12:00:00+02' AS timestamp with time zone), CAST('sold out' AS shop.state), CAST('{1,NULL,3}' AS integer[]), CAST('{"a","b \"c\"",""}' AS text[]), CAST('{"a":1.0,"b":["x",null,true]}' AS json), CAST('[1,"two"]' AS jsonb), CAST('"plain"' AS jsonb), CAST('\x00ff' AS bytea), CAST('1 mon -30 days' AS interval), CAST(40 + 2 AS bigint), CAST(CAST('ab' AS bpchar) AS text))) AS differs
       FROM   "shop"."kinds" AS "kinds"
       WHERE  ($4::boolean OR "kinds"."id" > $5::integer)
         AND  "kinds"."id" <= $6::integer
       ORDER  BY "kinds"."id") AS s
RETURNING false AS as_captured;

-- capture locked: from the second attempt on the rows are locked before anything is computed
-- $1 slice, $2 ordinal, $3 part, $4 after.none, $5 after.1, $6 through.1
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, rows_read, k_1, o_2, o_3, o_4, o_5, o_6, o_7, o_8, o_9, o_10, o_11, o_12, o_13, o_14, o_15, o_16, o_17, o_18, o_19, o_20)
SELECT $1::integer, $2::integer, $3::integer,
       count(*),
       array_agg(s.k_1) FILTER (WHERE s.differs),
       array_agg(s.o_2) FILTER (WHERE s.differs),
       array_agg(s.o_3) FILTER (WHERE s.differs),
       array_agg(s.o_4) FILTER (WHERE s.differs),
       array_agg(s.o_5) FILTER (WHERE s.differs),
       array_agg(s.o_6) FILTER (WHERE s.differs),
       array_agg(s.o_7) FILTER (WHERE s.differs),
       array_agg(s.o_8) FILTER (WHERE s.differs),
       array_agg(s.o_9) FILTER (WHERE s.differs),
       array_agg(s.o_10) FILTER (WHERE s.differs),
       array_agg(s.o_11) FILTER (WHERE s.differs),
       array_agg(s.o_12) FILTER (WHERE s.differs),
       array_agg(s.o_13) FILTER (WHERE s.differs),
       array_agg(s.o_14) FILTER (WHERE s.differs),
       array_agg(s.o_15) FILTER (WHERE s.differs),
       array_agg(s.o_16) FILTER (WHERE s.differs),
       array_agg(s.o_17) FILTER (WHERE s.differs),
       array_agg(s.o_18) FILTER (WHERE s.differs),
       array_agg(s.o_19) FILTER (WHERE s.differs),
       array_agg(s.o_20) FILTER (WHERE s.differs)
FROM  (SELECT "kinds"."id" AS k_1,
              "kinds"."a_text" AS o_2,
              "kinds"."b_text" AS o_3,
              "kinds"."c_null" AS o_4,
              "kinds"."d_bool" AS o_5,
              "kinds"."e_int" AS o_6,
              "kinds"."f_numeric" AS o_7,
              "kinds"."g_float" AS o_8,
              "kinds"."h_date" AS o_9,
              "kinds"."i_moment" AS o_10,
              "kinds"."j_enum" AS o_11,
              CAST(ROW(CAST("kinds"."k_ints" AS integer[])) AS migrate.w_{run}_1_12) AS o_12,
              CAST(ROW(CAST("kinds"."l_texts" AS text[])) AS migrate.w_{run}_1_13) AS o_13,
              "kinds"."m_json" AS o_14,
              "kinds"."n_jsonb" AS o_15,
              "kinds"."o_jsontext" AS o_16,
              "kinds"."p_bytea" AS o_17,
              "kinds"."q_interval" AS o_18,
              "kinds"."r_sql" AS o_19,
              "kinds"."s_short" AS o_20,
              record_image_ne(ROW("kinds"."a_text", "kinds"."b_text", "kinds"."c_null", "kinds"."d_bool", "kinds"."e_int", "kinds"."f_numeric", "kinds"."g_float", "kinds"."h_date", "kinds"."i_moment", "kinds"."j_enum", CAST("kinds"."k_ints" AS integer[]), CAST("kinds"."l_texts" AS text[]), "kinds"."m_json", "kinds"."n_jsonb", "kinds"."o_jsontext", "kinds"."p_bytea", "kinds"."q_interval", "kinds"."r_sql", CAST("kinds"."s_short" AS text)),
                              ROW(CAST('it''s' AS text), CAST('a ''b'' and \ c' AS text), CAST(NULL AS text), CAST('true' AS boolean), CAST('42' AS integer), CAST('1.50' AS numeric(6,2)), CAST('1e-3' AS double precision), CAST('2026-01-31' AS date), CAST('2026-01-31 12:00:00+02' AS timestamp with time zone), CAST('sold out' AS shop.state), CAST('{1,NULL,3}' AS integer[]), CAST('{"a","b \"c\"",""}' AS text[]), CAST('{"a":1.0,"b":["x",null,true]}' AS json), CAST('[1,"two"]' AS jsonb), CAST('"plain"' AS jsonb), CAST('\x00ff' AS bytea), CAST('1 mon -30 days' AS interval), CAST(40 + 2 AS bigint), CAST(CAST('ab' AS bpchar) AS text))) AS differs
       FROM   "shop"."kinds" AS "kinds"
       WHERE  ($4::boolean OR "kinds"."id" > $5::integer)
         AND  "kinds"."id" <= $6::integer
       ORDER  BY "kinds"."id"
       FOR    NO KEY UPDATE OF "kinds") AS s;

-- change: a range of the key, not a join with the batch, which costs half as much again
-- $1 after.none, $2 after.1, $3 through.1, $4 slice, $5 ordinal, $6 part
WITH changed AS (
  UPDATE "shop"."kinds" AS "kinds"
  SET    "a_text" = 'it''s',
         "b_text" = 'a ''b'' and \ c',
         "c_null" = NULL,
         "d_bool" = 'true',
         "e_int" = '42',
         "f_numeric" = '1.50',
         "g_float" = '1e-3',
         "h_date" = '2026-01-31',
         "i_moment" = '2026-01-31 12:00:00+02',
         "j_enum" = 'sold out',
         "k_ints" = '{1,NULL,3}',
         "l_texts" = '{"a","b \"c\"",""}',
         "m_json" = '{"a":1.0,"b":["x",null,true]}',
         "n_jsonb" = '[1,"two"]',
         "o_jsontext" = '"plain"',
         "p_bytea" = '\x00ff',
         "q_interval" = '1 mon -30 days',
         "r_sql" = 40 + 2,
         "s_short" = 'ab'
  WHERE  ($1::boolean OR "kinds"."id" > $2::integer)
    AND  "kinds"."id" <= $3::integer
    AND  record_image_ne(ROW("kinds"."a_text", "kinds"."b_text", "kinds"."c_null", "kinds"."d_bool", "kinds"."e_int", "kinds"."f_numeric", "kinds"."g_float", "kinds"."h_date", "kinds"."i_moment", "kinds"."j_enum", CAST("kinds"."k_ints" AS integer[]), CAST("kinds"."l_texts" AS text[]), "kinds"."m_json", "kinds"."n_jsonb", "kinds"."o_jsontext", "kinds"."p_bytea", "kinds"."q_interval", "kinds"."r_sql", CAST("kinds"."s_short" AS text)),
                         ROW(CAST('it''s' AS text), CAST('a ''b'' and \ c' AS text), CAST(NULL AS text), CAST('true' AS boolean), CAST('42' AS integer), CAST('1.50' AS numeric(6,2)), CAST('1e-3' AS double precision), CAST('2026-01-31' AS date), CAST('2026-01-31 12:00:00+02' AS timestamp with time zone), CAST('sold out' AS shop.state), CAST('{1,NULL,3}' AS integer[]), CAST('{"a","b \"c\"",""}' AS text[]), CAST('{"a":1.0,"b":["x",null,true]}' AS json), CAST('[1,"two"]' AS jsonb), CAST('"plain"' AS jsonb), CAST('\x00ff' AS bytea), CAST('1 mon -30 days' AS interval), CAST(40 + 2 AS bigint), CAST(CAST('ab' AS bpchar) AS text)))
  RETURNING "kinds"."id" AS k_1,
            "kinds"."a_text" AS n_2,
            "kinds"."b_text" AS n_3,
            "kinds"."c_null" AS n_4,
            "kinds"."d_bool" AS n_5,
            "kinds"."e_int" AS n_6,
            "kinds"."f_numeric" AS n_7,
            "kinds"."g_float" AS n_8,
            "kinds"."h_date" AS n_9,
            "kinds"."i_moment" AS n_10,
            "kinds"."j_enum" AS n_11,
            CAST(ROW(CAST("kinds"."k_ints" AS integer[])) AS migrate.w_{run}_1_12) AS n_12,
            CAST(ROW(CAST("kinds"."l_texts" AS text[])) AS migrate.w_{run}_1_13) AS n_13,
            "kinds"."m_json" AS n_14,
            "kinds"."n_jsonb" AS n_15,
            "kinds"."o_jsontext" AS n_16,
            "kinds"."p_bytea" AS n_17,
            "kinds"."q_interval" AS n_18,
            "kinds"."r_sql" AS n_19,
            "kinds"."s_short" AS n_20
), image AS (
  SELECT array_agg(s.k_1) AS k_1,
         array_agg(s.n_2) AS n_2,
         array_agg(s.n_3) AS n_3,
         array_agg(s.n_4) AS n_4,
         array_agg(s.n_5) AS n_5,
         array_agg(s.n_6) AS n_6,
         array_agg(s.n_7) AS n_7,
         array_agg(s.n_8) AS n_8,
         array_agg(s.n_9) AS n_9,
         array_agg(s.n_10) AS n_10,
         array_agg(s.n_11) AS n_11,
         array_agg(s.n_12) AS n_12,
         array_agg(s.n_13) AS n_13,
         array_agg(s.n_14) AS n_14,
         array_agg(s.n_15) AS n_15,
         array_agg(s.n_16) AS n_16,
         array_agg(s.n_17) AS n_17,
         array_agg(s.n_18) AS n_18,
         array_agg(s.n_19) AS n_19,
         array_agg(s.n_20) AS n_20
  FROM  (SELECT * FROM changed ORDER BY k_1) AS s
)
UPDATE migrate.undo_{run}_1 AS u
SET    n_2 = image.n_2,
       n_3 = image.n_3,
       n_4 = image.n_4,
       n_5 = image.n_5,
       n_6 = image.n_6,
       n_7 = image.n_7,
       n_8 = image.n_8,
       n_9 = image.n_9,
       n_10 = image.n_10,
       n_11 = image.n_11,
       n_12 = image.n_12,
       n_13 = image.n_13,
       n_14 = image.n_14,
       n_15 = image.n_15,
       n_16 = image.n_16,
       n_17 = image.n_17,
       n_18 = image.n_18,
       n_19 = image.n_19,
       n_20 = image.n_20,
       exact = (u.k_1 IS NOT DISTINCT FROM image.k_1)
FROM   image
WHERE  (u.slice, u.ordinal, u.part) = ($4::integer, $5::integer, $6::integer);

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
-- $1 upper.1, $2 others, $3 horizon, $4 transactions
SELECT count(*) FILTER (WHERE record_image_ne(ROW("kinds"."a_text", "kinds"."b_text", "kinds"."c_null", "kinds"."d_bool", "kinds"."e_int", "kinds"."f_numeric", "kinds"."g_float", "kinds"."h_date", "kinds"."i_moment", "kinds"."j_enum", CAST("kinds"."k_ints" AS integer[]), CAST("kinds"."l_texts" AS text[]), "kinds"."m_json", "kinds"."n_jsonb", "kinds"."o_jsontext", "kinds"."p_bytea", "kinds"."q_interval", "kinds"."r_sql", CAST("kinds"."s_short" AS text)),
                                              ROW(CAST('it''s' AS text), CAST('a ''b'' and \ c' AS text), CAST(NULL AS text), CAST('true' AS boolean), CAST('42' AS integer), CAST('1.50' AS numeric(6,2)), CAST('1e-3' AS double precision), CAST('2026-01-31' AS date), CAST('2026-01-31 12:00:00+02' AS timestamp with time zone), CAST('sold out' AS shop.state), CAST('{1,NULL,3}' AS integer[]), CAST('{"a","b \"c\"",""}' AS text[]), CAST('{"a":1.0,"b":["x",null,true]}' AS json), CAST('[1,"two"]' AS jsonb), CAST('"plain"' AS jsonb), CAST('\x00ff' AS bytea), CAST('1 mon -30 days' AS interval), CAST(40 + 2 AS bigint), CAST(CAST('ab' AS bpchar) AS text))))
FROM   "shop"."kinds" AS "kinds"
WHERE  "kinds"."id" <= $1::integer
  AND  $2::boolean
  AND  ($3::bigint IS NULL
        OR ((CAST(CAST("kinds".xmin AS text) AS bigint) - $3::bigint) & 4294967295) < 2147483648)
  AND  NOT EXISTS (SELECT FROM unnest($4::xid[]) AS own(xid) WHERE own.xid = "kinds".xmin)
  AND  NOT EXISTS (SELECT
                   FROM  (SELECT unnest(u.k_1) FROM migrate.undo_{run}_1 AS u) AS d(k_1)
                   WHERE  d.k_1 = "kinds"."id");

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
FROM   "shop"."kinds" AS "kinds"
WHERE  "kinds".xmin IN (SELECT unnest($1::xid[]));

-- conflicts ahead: rows changed since, all batches at once; under stop there must be none
SELECT count(*) AS conflicts
FROM   migrate.undo_{run}_1 AS b
CROSS  JOIN LATERAL unnest(b.k_1, b.n_2, b.n_3, b.n_4, b.n_5, b.n_6, b.n_7, b.n_8, b.n_9, b.n_10, b.n_11, b.n_12, b.n_13, b.n_14, b.n_15, b.n_16, b.n_17, b.n_18, b.n_19, b.n_20) AS d(k_1, n_2, n_3, n_4, n_5, n_6, n_7, n_8, n_9, n_10, n_11, n_12, n_13, n_14, n_15, n_16, n_17, n_18, n_19, n_20)
LEFT   JOIN "shop"."kinds" AS "kinds" ON "kinds"."id" = d.k_1
WHERE  NOT b.reverted
  AND  ("kinds"."id" IS NULL
        OR record_image_ne(ROW("kinds"."a_text", "kinds"."b_text", "kinds"."c_null", "kinds"."d_bool", "kinds"."e_int", "kinds"."f_numeric", "kinds"."g_float", "kinds"."h_date", "kinds"."i_moment", "kinds"."j_enum", CAST("kinds"."k_ints" AS integer[]), CAST("kinds"."l_texts" AS text[]), "kinds"."m_json", "kinds"."n_jsonb", "kinds"."o_jsontext", "kinds"."p_bytea", "kinds"."q_interval", "kinds"."r_sql", "kinds"."s_short"),
                           ROW(d.n_2, d.n_3, d.n_4, d.n_5, d.n_6, d.n_7, d.n_8, d.n_9, d.n_10, d.n_11, d.n_12, d.n_13, d.n_14, d.n_15, d.n_16, d.n_17, d.n_18, d.n_19, d.n_20)));

-- mark: a second revert of the same batch waits here and then finds nothing to do
-- $1 slice, $2 ordinal, $3 part
UPDATE migrate.undo_{run}_1 AS u
SET    reverted = true
WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer)
  AND  NOT u.reverted;

-- restore: one statement compares and writes, so no edit is lost between the two
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  UPDATE "shop"."kinds" AS "kinds"
  SET    "a_text" = d.o_2,
         "b_text" = d.o_3,
         "c_null" = d.o_4,
         "d_bool" = d.o_5,
         "e_int" = d.o_6,
         "f_numeric" = d.o_7,
         "g_float" = d.o_8,
         "h_date" = d.o_9,
         "i_moment" = d.o_10,
         "j_enum" = d.o_11,
         "k_ints" = d.o_12,
         "l_texts" = d.o_13,
         "m_json" = d.o_14,
         "n_jsonb" = d.o_15,
         "o_jsontext" = d.o_16,
         "p_bytea" = d.o_17,
         "q_interval" = d.o_18,
         "r_sql" = d.o_19,
         "s_short" = d.o_20
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.o_2, b.n_2, b.o_3, b.n_3, b.o_4, b.n_4, b.o_5, b.n_5, b.o_6, b.n_6, b.o_7, b.n_7, b.o_8, b.n_8, b.o_9, b.n_9, b.o_10, b.n_10, b.o_11, b.n_11, b.o_12, b.n_12, b.o_13, b.n_13, b.o_14, b.n_14, b.o_15, b.n_15, b.o_16, b.n_16, b.o_17, b.n_17, b.o_18, b.n_18, b.o_19, b.n_19, b.o_20, b.n_20) AS d(k_1, o_2, n_2, o_3, n_3, o_4, n_4, o_5, n_5, o_6, n_6, o_7, n_7, o_8, n_8, o_9, n_9, o_10, n_10, o_11, n_11, o_12, n_12, o_13, n_13, o_14, n_14, o_15, n_15, o_16, n_16, o_17, n_17, o_18, n_18, o_19, n_19, o_20, n_20)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "kinds"."id" = d.k_1
    AND  record_image_eq(ROW("kinds"."a_text", "kinds"."b_text", "kinds"."c_null", "kinds"."d_bool", "kinds"."e_int", "kinds"."f_numeric", "kinds"."g_float", "kinds"."h_date", "kinds"."i_moment", "kinds"."j_enum", CAST("kinds"."k_ints" AS integer[]), CAST("kinds"."l_texts" AS text[]), "kinds"."m_json", "kinds"."n_jsonb", "kinds"."o_jsontext", "kinds"."p_bytea", "kinds"."q_interval", "kinds"."r_sql", "kinds"."s_short"),
                         ROW(d.n_2, d.n_3, d.n_4, d.n_5, d.n_6, d.n_7, d.n_8, d.n_9, d.n_10, d.n_11, d.n_12, d.n_13, d.n_14, d.n_15, d.n_16, d.n_17, d.n_18, d.n_19, d.n_20))
  RETURNING "kinds"."id" AS k_1
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
         record_image_ne(ROW("kinds"."a_text", "kinds"."b_text", "kinds"."c_null", "kinds"."d_bool", "kinds"."e_int", "kinds"."f_numeric", "kinds"."g_float", "kinds"."h_date", "kinds"."i_moment", "kinds"."j_enum", CAST("kinds"."k_ints" AS integer[]), CAST("kinds"."l_texts" AS text[]), "kinds"."m_json", "kinds"."n_jsonb", "kinds"."o_jsontext", "kinds"."p_bytea", "kinds"."q_interval", "kinds"."r_sql", "kinds"."s_short"),
                         ROW(d.n_2, d.n_3, d.n_4, d.n_5, d.n_6, d.n_7, d.n_8, d.n_9, d.n_10, d.n_11, d.n_12, d.n_13, d.n_14, d.n_15, d.n_16, d.n_17, d.n_18, d.n_19, d.n_20)) AS differs,
         jsonb_object(ARRAY['a_text', 'b_text', 'c_null', 'd_bool', 'e_int', 'f_numeric', 'g_float', 'h_date', 'i_moment', 'j_enum', 'k_ints', 'l_texts', 'm_json', 'n_jsonb', 'o_jsontext', 'p_bytea', 'q_interval', 'r_sql', 's_short'],
                      ARRAY[CAST("kinds"."a_text" AS text), CAST("kinds"."b_text" AS text), CAST("kinds"."c_null" AS text), CAST("kinds"."d_bool" AS text), CAST("kinds"."e_int" AS text), CAST("kinds"."f_numeric" AS text), CAST("kinds"."g_float" AS text), CAST("kinds"."h_date" AS text), CAST("kinds"."i_moment" AS text), CAST("kinds"."j_enum" AS text), CAST(CAST("kinds"."k_ints" AS integer[]) AS text), CAST(CAST("kinds"."l_texts" AS text[]) AS text), CAST("kinds"."m_json" AS text), CAST("kinds"."n_jsonb" AS text), CAST("kinds"."o_jsontext" AS text), CAST("kinds"."p_bytea" AS text), CAST("kinds"."q_interval" AS text), CAST("kinds"."r_sql" AS text), CAST("kinds"."s_short" AS text)]) AS found
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.n_2, b.n_3, b.n_4, b.n_5, b.n_6, b.n_7, b.n_8, b.n_9, b.n_10, b.n_11, b.n_12, b.n_13, b.n_14, b.n_15, b.n_16, b.n_17, b.n_18, b.n_19, b.n_20) AS d(k_1, n_2, n_3, n_4, n_5, n_6, n_7, n_8, n_9, n_10, n_11, n_12, n_13, n_14, n_15, n_16, n_17, n_18, n_19, n_20),
         "shop"."kinds" AS "kinds"
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "kinds"."id" = d.k_1
  FOR    NO KEY UPDATE OF "kinds"
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
SELECT $4::bigint, 1, $5::bigint, ARRAY[CAST(d.k_1 AS text)], 'overwritten', d.found
FROM   d
WHERE  d.differs;

-- restore forced: under force the old values come back over whatever has been kept
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  UPDATE "shop"."kinds" AS "kinds"
  SET    "a_text" = d.o_2,
         "b_text" = d.o_3,
         "c_null" = d.o_4,
         "d_bool" = d.o_5,
         "e_int" = d.o_6,
         "f_numeric" = d.o_7,
         "g_float" = d.o_8,
         "h_date" = d.o_9,
         "i_moment" = d.o_10,
         "j_enum" = d.o_11,
         "k_ints" = d.o_12,
         "l_texts" = d.o_13,
         "m_json" = d.o_14,
         "n_jsonb" = d.o_15,
         "o_jsontext" = d.o_16,
         "p_bytea" = d.o_17,
         "q_interval" = d.o_18,
         "r_sql" = d.o_19,
         "s_short" = d.o_20
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.o_2, b.n_2, b.o_3, b.n_3, b.o_4, b.n_4, b.o_5, b.n_5, b.o_6, b.n_6, b.o_7, b.n_7, b.o_8, b.n_8, b.o_9, b.n_9, b.o_10, b.n_10, b.o_11, b.n_11, b.o_12, b.n_12, b.o_13, b.n_13, b.o_14, b.n_14, b.o_15, b.n_15, b.o_16, b.n_16, b.o_17, b.n_17, b.o_18, b.n_18, b.o_19, b.n_19, b.o_20, b.n_20) AS d(k_1, o_2, n_2, o_3, n_3, o_4, n_4, o_5, n_5, o_6, n_6, o_7, n_7, o_8, n_8, o_9, n_9, o_10, n_10, o_11, n_11, o_12, n_12, o_13, n_13, o_14, n_14, o_15, n_15, o_16, n_16, o_17, n_17, o_18, n_18, o_19, n_19, o_20, n_20)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "kinds"."id" = d.k_1
    AND  (record_image_eq(ROW("kinds"."a_text", "kinds"."b_text", "kinds"."c_null", "kinds"."d_bool", "kinds"."e_int", "kinds"."f_numeric", "kinds"."g_float", "kinds"."h_date", "kinds"."i_moment", "kinds"."j_enum", CAST("kinds"."k_ints" AS integer[]), CAST("kinds"."l_texts" AS text[]), "kinds"."m_json", "kinds"."n_jsonb", "kinds"."o_jsontext", "kinds"."p_bytea", "kinds"."q_interval", "kinds"."r_sql", "kinds"."s_short"),
                          ROW(d.n_2, d.n_3, d.n_4, d.n_5, d.n_6, d.n_7, d.n_8, d.n_9, d.n_10, d.n_11, d.n_12, d.n_13, d.n_14, d.n_15, d.n_16, d.n_17, d.n_18, d.n_19, d.n_20))
          OR EXISTS (SELECT
                     FROM   migrate.conflicts AS c
                     WHERE  (c.run, c.step, c.seq) = ($4::bigint, 1, $5::bigint)
                       AND  c.key = ARRAY[CAST(d.k_1 AS text)]))
  RETURNING "kinds"."id" AS k_1
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
       found = jsonb_object(ARRAY['a_text', 'b_text', 'c_null', 'd_bool', 'e_int', 'f_numeric', 'g_float', 'h_date', 'i_moment', 'j_enum', 'k_ints', 'l_texts', 'm_json', 'n_jsonb', 'o_jsontext', 'p_bytea', 'q_interval', 'r_sql', 's_short'],
                            ARRAY[CAST("kinds"."a_text" AS text), CAST("kinds"."b_text" AS text), CAST("kinds"."c_null" AS text), CAST("kinds"."d_bool" AS text), CAST("kinds"."e_int" AS text), CAST("kinds"."f_numeric" AS text), CAST("kinds"."g_float" AS text), CAST("kinds"."h_date" AS text), CAST("kinds"."i_moment" AS text), CAST("kinds"."j_enum" AS text), CAST(CAST("kinds"."k_ints" AS integer[]) AS text), CAST(CAST("kinds"."l_texts" AS text[]) AS text), CAST("kinds"."m_json" AS text), CAST("kinds"."n_jsonb" AS text), CAST("kinds"."o_jsontext" AS text), CAST("kinds"."p_bytea" AS text), CAST("kinds"."q_interval" AS text), CAST("kinds"."r_sql" AS text), CAST("kinds"."s_short" AS text)])
FROM   "shop"."kinds" AS "kinds"
WHERE  (c.run, c.step, c.seq) = ($1::bigint, 1, $2::bigint)
  AND  c.reason = 'gone'
  AND  "kinds"."id" = CAST(c.key[1] AS integer);

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
DROP TYPE migrate.w_{run}_1_12;
DROP TYPE migrate.w_{run}_1_13;
