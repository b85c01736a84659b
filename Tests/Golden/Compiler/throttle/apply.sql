-- ===== prepare: once, in the transaction that begins the run

-- undo table: a row a batch, an array a column; never the table's own row type, which would forbid DDL
CREATE TABLE migrate.undo_{run}_1 (slice integer,
                                   ordinal integer,
                                   part integer,
                                   rows_read bigint NOT NULL,
                                   k_1 integer[] COMPRESSION lz4,
                                   o_3 date[] COMPRESSION lz4,
                                   n_3 date[] COMPRESSION lz4,
                                   exact boolean,
                                   reverted boolean NOT NULL DEFAULT false,
                                   PRIMARY KEY (slice, ordinal, part));

-- ===== bounds: once, before the first batch

-- lockers: the transactions that may hold rows below the upper end which nobody can see yet
SELECT l.virtualtransaction
FROM   pg_locks AS l
WHERE  l.locktype = 'relation'
  AND  l.relation IN (SELECT to_regclass('"shop"."visits"') UNION SELECT relid FROM pg_partition_tree(to_regclass('"shop"."visits"')))
  AND  l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND  l.granted
  AND  l.pid IS DISTINCT FROM pg_backend_pid()
  AND  l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock');

-- upper: the last key, fixed once: a writer that goes on beyond it does not keep the run from ending
SELECT CAST("visits"."id" AS text) AS upper_1
FROM   "shop"."visits" AS "visits"
ORDER  BY "visits"."id" DESC
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
SET LOCAL lock_timeout = '200ms';
SET LOCAL idle_in_transaction_session_timeout = '60s';
SET LOCAL client_connection_check_interval = '1s';

-- lock: before the snapshot, which LOCK does not take: what others do to the table is seen, or has to wait
LOCK TABLE "shop"."visits" IN ROW EXCLUSIVE MODE;

-- bound: the key of the batch's last row; no row: the batch goes to the upper end
-- $1 after.none, $2 after.1, $3 upper.1, $4 size
SELECT CAST("visits"."id" AS text) AS through_1
FROM   "shop"."visits" AS "visits"
WHERE  ($1::boolean OR "visits"."id" > $2::integer)
  AND  "visits"."id" <= $3::integer
ORDER  BY "visits"."id"
OFFSET $4::bigint - 1
LIMIT  1;

-- capture: the old values and the new ones; OFFSET 0 keeps the new ones from being computed twice
-- $1 slice, $2 ordinal, $3 part, $4 eligible, $5 after.none, $6 after.1, $7 through.1
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, rows_read, k_1, o_3, n_3)
SELECT $1::integer, $2::integer, $3::integer,
       coalesce($4::bigint, (SELECT count(*)
                             FROM   "shop"."visits" AS "visits"
                             WHERE  ($5::boolean OR "visits"."id" > $6::integer)
                               AND  "visits"."id" <= $7::integer)),
       array_agg(s.k_1),
       array_agg(s.o_3),
       array_agg(s.n_3)
FROM  (SELECT "visits"."id" AS k_1,
              "visits"."day" AS o_3,
              CAST(at::date AS date) AS n_3
       FROM   "shop"."visits" AS "visits"
       WHERE  ($5::boolean OR "visits"."id" > $6::integer)
         AND  "visits"."id" <= $7::integer
       ORDER  BY "visits"."id"
       OFFSET 0) AS s
WHERE  s.o_3 IS DISTINCT FROM s.n_3
RETURNING rows_read = coalesce(cardinality(k_1), 0) AS as_captured;

-- capture locked: from the second attempt on the rows are locked before anything is computed
-- $1 slice, $2 ordinal, $3 part, $4 after.none, $5 after.1, $6 through.1
INSERT INTO migrate.undo_{run}_1 (slice, ordinal, part, rows_read, k_1, o_3)
SELECT $1::integer, $2::integer, $3::integer,
       count(*),
       array_agg(s.k_1) FILTER (WHERE s.differs),
       array_agg(s.o_3) FILTER (WHERE s.differs)
FROM  (SELECT "visits"."id" AS k_1,
              "visits"."day" AS o_3,
              "visits"."day" IS DISTINCT FROM CAST(at::date AS date) AS differs
       FROM   "shop"."visits" AS "visits"
       WHERE  ($4::boolean OR "visits"."id" > $5::integer)
         AND  "visits"."id" <= $6::integer
       ORDER  BY "visits"."id"
       FOR    NO KEY UPDATE OF "visits") AS s;

-- change as captured: in place of change when the capture, under the same snapshot, has told all that is kept
-- $1 after.none, $2 after.1, $3 through.1
UPDATE "shop"."visits" AS "visits"
SET    "day" = at::date
WHERE  ($1::boolean OR "visits"."id" > $2::integer)
  AND  "visits"."id" <= $3::integer;

-- change: a range of the key, not a join with the batch, which costs half as much again
-- $1 after.none, $2 after.1, $3 through.1, $4 slice, $5 ordinal, $6 part
WITH changed AS (
  UPDATE "shop"."visits" AS "visits"
  SET    "day" = at::date
  WHERE  ($1::boolean OR "visits"."id" > $2::integer)
    AND  "visits"."id" <= $3::integer
    AND  "visits"."day" IS DISTINCT FROM CAST(at::date AS date)
  RETURNING "visits"."id" AS k_1,
            "visits"."day" AS n_3
), image AS (
  SELECT array_agg(s.k_1) AS k_1,
         array_agg(s.n_3) AS n_3
  FROM  (SELECT * FROM changed ORDER BY k_1) AS s
)
UPDATE migrate.undo_{run}_1 AS u
SET    n_3 = image.n_3,
       exact = (u.k_1 IS NOT DISTINCT FROM image.k_1)
FROM   image
WHERE  (u.slice, u.ordinal, u.part) = ($4::integer, $5::integer, $6::integer);

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
       coalesce(u.exact, $6::bigint = coalesce(cardinality(u.n_3), 0))
FROM   migrate.undo_{run}_1 AS u
CROSS  JOIN LATERAL (SELECT coalesce($6::bigint, cardinality(u.n_3), 0) AS rows_changed) AS c
CROSS  JOIN (SELECT epoch FROM migrate.fence WHERE run = $1::bigint AND epoch = $3::integer FOR SHARE) AS f
WHERE  (u.slice, u.ordinal, u.part) = ($7::integer, $8::integer, $9::integer)
RETURNING exact, rows_read, rows_changed, xid,
          (SELECT coalesce(cardinality(u.k_1), 0)
           FROM   migrate.undo_{run}_1 AS u
           WHERE  (u.slice, u.ordinal, u.part) = ($7::integer, $8::integer, $9::integer)) AS rows_captured;

-- ===== holds: between batches, at most once a second; while one finds a row, the run holds

-- hold when: max_active_sessions: clients' sessions that do something now, without the run's own
-- $1 run
SELECT 'this role does not see other sessions: GRANT pg_read_all_stats TO ' || quote_ident(current_user)
WHERE  NOT pg_has_role('pg_read_all_stats', 'USAGE')
UNION  ALL
SELECT format('%s sessions are active', count(*))
FROM   pg_stat_activity AS a
WHERE  a.state = 'active' AND a.backend_type = 'client backend' AND a.pid <> pg_backend_pid()
  AND  NOT EXISTS (SELECT FROM migrate.workers AS h WHERE h.run = $1::bigint AND h.pid = a.pid)
  AND  a.application_name !~ ('^migrate watch ' || $1::bigint || '( |$)')
HAVING count(*) > 500;

-- hold when: max_replication_lag: replay_lag stands still when a standby does; then the time counts for which it has not come past a mark in the WAL
-- $1 run
SELECT 'this role does not see other sessions: GRANT pg_read_all_stats TO ' || quote_ident(current_user)
WHERE  NOT pg_has_role('pg_read_all_stats', 'USAGE')
UNION  ALL
SELECT format('standby %s is %s behind', l.application_name, date_trunc('milliseconds', l.lag))
FROM  (SELECT s.application_name,
              greatest(s.replay_lag,
                       CASE WHEN s.replay_lsn < h.marked_lsn THEN clock_timestamp() - h.marked_at END) AS lag
       FROM   pg_stat_replication AS s
       LEFT   JOIN migrate.asking AS h ON h.run = $1::bigint) AS l
WHERE  l.lag > interval '10000ms'
LIMIT  1;

-- hold when: autovacuum: VACUUM, ANALYZE and CREATE INDEX CONCURRENTLY hold this lock while they work
SELECT format('pid %s vacuums, analyzes or indexes %s', l.pid, l.relation::regclass)
FROM   pg_locks AS l
WHERE  l.locktype = 'relation'
  AND  l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND  l.mode = 'ShareUpdateExclusiveLock' AND l.granted
  AND  l.relation IN (SELECT to_regclass('"shop"."visits"')
                      UNION
                      SELECT d.relid FROM pg_partition_tree(to_regclass('"shop"."visits"')) AS d)
LIMIT  1;

-- hold when: wraparound: a vacuum is due that must come before the transaction numbers run out
SELECT format('%s is %s transactions old', c.oid::regclass, age(c.relfrozenxid))
FROM   pg_class AS c
WHERE  c.relkind IN ('r', 't')
  AND  age(c.relfrozenxid) > current_setting('autovacuum_freeze_max_age')::integer
  AND  (c.oid IN (SELECT to_regclass('"shop"."visits"')
                  UNION
                  SELECT d.relid FROM pg_partition_tree(to_regclass('"shop"."visits"')) AS d)
        OR c.oid IN (SELECT r.reltoastrelid FROM pg_class AS r WHERE r.oid IN (SELECT to_regclass('"shop"."visits"')
                                                                               UNION
                                                                               SELECT d.relid FROM pg_partition_tree(to_regclass('"shop"."visits"')) AS d)))
ORDER  BY age(c.relfrozenxid) DESC
LIMIT  1;

-- hold when: wal_archive: what cannot be archived piles up on the server's disk
SELECT format('%s could not be archived', a.last_failed_wal)
FROM   pg_stat_archiver AS a
WHERE  a.last_failed_time > coalesce(a.last_archived_time, '-infinity');

-- hold when: slot_lag: a replication slot keeps all WAL that its reader has not got yet
SELECT format('slot %s keeps %s of WAL', s.slot_name, pg_size_pretty(l.kept))
FROM   pg_replication_slots AS s
CROSS  JOIN LATERAL (SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn) AS kept) AS l
WHERE  l.kept > 10737418240
ORDER  BY l.kept DESC
LIMIT  1;

-- hold when: free_disk: a disk that is full stops the whole server; df is asked, on the server
SELECT s.reason
FROM   migrate.short_of_disk(21474836480) AS s(reason)
WHERE  s.reason IS NOT NULL;

-- hold when: nightly backup: while it finds a row
-- $1 :host
SELECT 'its query finds a row'
FROM  (SELECT 1 FROM shop.backups b WHERE b.host = $1::text AND b.ended_at IS NULL) AS found
LIMIT  1;

-- ===== finish: once, after the last batch

-- left behind: rows that became eligible behind the batches, counted and not passed over in silence
-- $1 upper.1, $2 others, $3 horizon, $4 transactions
SELECT count(*) FILTER (WHERE "visits"."day" IS DISTINCT FROM CAST(at::date AS date))
FROM   "shop"."visits" AS "visits"
WHERE  "visits"."id" <= $1::integer
  AND  $2::boolean
  AND  ($3::bigint IS NULL
        OR ((CAST(CAST("visits".xmin AS text) AS bigint) - $3::bigint) & 4294967295) < 2147483648)
  AND  NOT EXISTS (SELECT FROM unnest($4::xid[]) AS own(xid) WHERE own.xid = "visits".xmin)
  AND  NOT EXISTS (SELECT
                   FROM  (SELECT unnest(u.k_1) FROM migrate.undo_{run}_1 AS u) AS d(k_1)
                   WHERE  d.k_1 = "visits"."id");

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
SET LOCAL lock_timeout = '200ms';
SET LOCAL idle_in_transaction_session_timeout = '60s';
SET LOCAL client_connection_check_interval = '1s';

-- untouched: when these are all rows that the run changed, none needs to be compared
-- $1 transactions
SELECT count(*) AS rows_untouched
FROM   "shop"."visits" AS "visits"
WHERE  "visits".xmin IN (SELECT unnest($1::xid[]));

-- conflicts ahead: rows changed since, all batches at once; under stop there must be none
SELECT count(*) AS conflicts
FROM   migrate.undo_{run}_1 AS b
CROSS  JOIN LATERAL unnest(b.k_1, b.n_3) AS d(k_1, n_3)
LEFT   JOIN "shop"."visits" AS "visits" ON "visits"."id" = d.k_1
WHERE  NOT b.reverted
  AND  ("visits"."id" IS NULL
        OR record_image_ne(ROW("visits"."day"), ROW(d.n_3)));

-- mark: a second revert of the same batch waits here and then finds nothing to do
-- $1 slice, $2 ordinal, $3 part
UPDATE migrate.undo_{run}_1 AS u
SET    reverted = true
WHERE  (u.slice, u.ordinal, u.part) = ($1::integer, $2::integer, $3::integer)
  AND  NOT u.reverted;

-- restore: one statement compares and writes, so no edit is lost between the two
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  UPDATE "shop"."visits" AS "visits"
  SET    "day" = d.o_3
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.o_3, b.n_3) AS d(k_1, o_3, n_3)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "visits"."id" = d.k_1
    AND  record_image_eq(ROW("visits"."day"), ROW(d.n_3))
  RETURNING "visits"."id" AS k_1
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
         record_image_ne(ROW("visits"."day"), ROW(d.n_3)) AS differs,
         jsonb_object(ARRAY['day'],
                      ARRAY[CAST("visits"."day" AS text)]) AS found
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.n_3) AS d(k_1, n_3),
         "shop"."visits" AS "visits"
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "visits"."id" = d.k_1
  FOR    NO KEY UPDATE OF "visits"
)
INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
SELECT $4::bigint, 1, $5::bigint, ARRAY[CAST(d.k_1 AS text)], 'overwritten', d.found
FROM   d
WHERE  d.differs;

-- restore forced: under force the old values come back over whatever has been kept
-- $1 slice, $2 ordinal, $3 part, $4 run, $5 seq
WITH back AS (
  UPDATE "shop"."visits" AS "visits"
  SET    "day" = d.o_3
  FROM   migrate.undo_{run}_1 AS b,
         unnest(b.k_1, b.o_3, b.n_3) AS d(k_1, o_3, n_3)
  WHERE  (b.slice, b.ordinal, b.part) = ($1::integer, $2::integer, $3::integer)
    AND  "visits"."id" = d.k_1
    AND  (record_image_eq(ROW("visits"."day"), ROW(d.n_3))
          OR EXISTS (SELECT
                     FROM   migrate.conflicts AS c
                     WHERE  (c.run, c.step, c.seq) = ($4::bigint, 1, $5::bigint)
                       AND  c.key = ARRAY[CAST(d.k_1 AS text)]))
  RETURNING "visits"."id" AS k_1
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
       found = jsonb_object(ARRAY['day'],
                            ARRAY[CAST("visits"."day" AS text)])
FROM   "shop"."visits" AS "visits"
WHERE  (c.run, c.step, c.seq) = ($1::bigint, 1, $2::bigint)
  AND  c.reason = 'gone'
  AND  "visits"."id" = CAST(c.key[1] AS integer);

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
