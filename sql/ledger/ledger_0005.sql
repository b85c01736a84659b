-- Where a run stands: who is waited for, what is taken back next, which slices are open, and whether all of it fits together.

CREATE FUNCTION migrate.holders(_transactions text[])
RETURNS TABLE (pid integer, application_name text, seconds double precision, words text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT h.pid, h.application_name, h.seconds,
         CASE WHEN h.pid IS NULL THEN 'prepared transaction ' || coalesce(quote_literal(h.gid), h.virtualtransaction)
              ELSE concat('pid ', h.pid, ' (' || nullif(h.application_name, '') || ')') END
         || coalesce(format(', open for %s s', floor(h.seconds)), '')
  FROM  (SELECT l.pid, l.virtualtransaction, a.application_name, p.gid,
                extract(epoch FROM greatest(clock_timestamp(), coalesce(a.xact_start, p.prepared)) - coalesce(a.xact_start, p.prepared))::float8 AS seconds
         -- Once each, however many locks it holds.
         FROM  (SELECT DISTINCT k.pid, k.virtualtransaction FROM pg_locks AS k WHERE k.virtualtransaction = ANY (_transactions)) AS l
         LEFT   JOIN pg_stat_activity  AS a ON a.pid = l.pid
         -- A prepared one has no process any more; that it holds its own number tells which it is.
         LEFT   JOIN pg_locks AS x
                ON  l.pid IS NULL AND x.pid IS NULL AND x.locktype = 'transactionid' AND x.virtualtransaction = l.virtualtransaction
         LEFT   JOIN pg_prepared_xacts AS p ON p.transaction = x.transactionid) AS h
  ORDER  BY h.seconds DESC NULLS LAST, h.pid
$$;
COMMENT ON FUNCTION migrate.holders IS 'Who has these transactions open and since when; to a role that may not see that the time is NULL.';

CREATE FUNCTION migrate.has_undo(_run bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(bool_and(to_regclass(CASE s.name WHEN 'image table' THEN format('migrate.image_%s', _run)
                                                   ELSE format('migrate.undo_%s_%s', _run, s.step) END) IS NOT NULL), true)
  FROM   migrate.statements AS s
  WHERE  s.run = _run AND s.phase = 'prepare' AND s.name IN ('undo table', 'image table')
$$;
COMMENT ON FUNCTION migrate.has_undo IS 'Whether the tables are there that hold what a run has changed.';

CREATE FUNCTION migrate.claims(_run bigint) RETURNS regclass
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(to_regclass(format('migrate.image_%s', _run)), to_regclass(format('migrate.undo_%s_1', _run)))
$$;
COMMENT ON FUNCTION migrate.claims IS 'The table that has a row for each batch of a run, with the keys of its rows; NULL when it is dropped.';

-- Without a SET clause it becomes a part of the query that asks; what it says is looked up when it is made.
CREATE FUNCTION migrate.counts_for_revert(_batch migrate.batches) RETURNS boolean
LANGUAGE sql IMMUTABLE
RETURN CASE (_batch).kind
       -- Of the rows of quarantine that were tried again those that have failed again have left nothing to take back.
       WHEN 'apply' THEN (_batch).slice >= 0 OR (_batch).rows_changed > 0
       -- Mended rows in conflict are of no batch.
       ELSE (_batch).slice <> -2 END;
COMMENT ON FUNCTION migrate.counts_for_revert IS 'Of what a run has applied: whether a revert takes it back as a batch; of what it has taken back: whether it was one.';

CREATE FUNCTION migrate.left_to_restore(_run bigint) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT count(*) FILTER (WHERE b.kind = 'apply') - count(*) FILTER (WHERE b.kind = 'revert')
  FROM   migrate.batches AS b
  WHERE  b.run = _run AND migrate.counts_for_revert(b)
$$;
COMMENT ON FUNCTION migrate.left_to_restore IS 'How many batches a revert has still to take back, each part of one by itself.';

CREATE FUNCTION migrate.next_to_restore(_run bigint) RETURNS SETOF migrate.batches
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  -- The batch that was taken back last: it is likely that all behind it are back, and there may be thousands.
  last   bigint := (SELECT a.seq
                    FROM  (SELECT r.* FROM migrate.batches AS r WHERE r.run = _run AND r.kind = 'revert' ORDER BY r.seq DESC LIMIT 1) AS r
                    JOIN   migrate.batches AS a
                           ON (a.run, a.kind, a.slice, a.ordinal, a.part) = (r.run, 'apply', r.slice, r.ordinal, r.part));
  before bigint;
BEGIN
  -- First before the batch that went back last, then everywhere.
  FOREACH before IN ARRAY array_remove(ARRAY[last, 9223372036854775807], NULL) LOOP
    RETURN QUERY
      SELECT a.*
      FROM   migrate.batches AS a
      WHERE  a.run = _run AND a.kind = 'apply' AND a.seq < before AND migrate.counts_for_revert(a)
        AND  NOT EXISTS (SELECT FROM migrate.batches AS r
                         WHERE (r.run, r.kind, r.slice, r.ordinal, r.part) = (a.run, 'revert', a.slice, a.ordinal, a.part))
      ORDER  BY a.seq DESC
      LIMIT  1;
    -- The counts are compared first: to look for a batch that is not there joins all with all where the table has no statistics.
    EXIT WHEN FOUND OR migrate.left_to_restore(_run) = 0;
  END LOOP;
END $$;
COMMENT ON FUNCTION migrate.next_to_restore IS 'The batch that a revert takes back next: the last one that is not yet.';

CREATE FUNCTION migrate.last_batch(_run bigint, _slice integer) RETURNS SETOF migrate.batches
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT b.*
  FROM   migrate.batches AS b
  WHERE  b.run = _run AND b.kind = 'apply' AND b.slice = _slice
  ORDER  BY b.ordinal DESC, b.part DESC
  LIMIT  1
$$;
COMMENT ON FUNCTION migrate.last_batch IS 'The last batch of a slice, behind which the next one begins; none when nothing is done.';

CREATE FUNCTION migrate.open_slices(
  _run bigint, OUT slice integer, OUT ordinal integer, OUT after_key text[], OUT through_key text[], OUT canary boolean
) RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT s.slice, coalesce(b.ordinal, 0), coalesce(b.through_key, s.after_key), s.through_key, s.canary
  FROM   migrate.slices AS s
  LEFT   JOIN LATERAL migrate.last_batch(s.run, s.slice) AS b ON true
  WHERE  s.run = _run AND b.through_key IS DISTINCT FROM s.through_key
  ORDER  BY s.slice
$$;
COMMENT ON FUNCTION migrate.open_slices IS 'The slices of a run that are not done: the last batch of each, and the stretch of the key that is left of it.';

CREATE FUNCTION migrate.is_covered(_run bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT r.bounded_at IS NOT NULL AND NOT EXISTS (SELECT FROM migrate.open_slices(_run))
  FROM   migrate.runs AS r
  WHERE  r.run = _run
$$;
COMMENT ON FUNCTION migrate.is_covered IS 'Whether the batches of a run reach from its first key to its last.';

CREATE FUNCTION migrate.canary_done(_run bigint, OUT words text, OUT until timestamptz) RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT format('%s read, %s changed', migrate.counted(sum(b.rows_read)::bigint, 'row'), sum(b.rows_changed)),
         max(b.ended_at) + (r.outline #>> '{canary,hold}')::interval
  FROM   migrate.runs    AS r
  JOIN   migrate.slices  AS s ON s.run = r.run AND s.canary
  JOIN   migrate.batches AS b ON b.run = r.run AND b.kind = 'apply' AND b.slice = s.slice
  WHERE  r.run = _run AND r.direction = 'apply' AND r.canary_ended_at IS NULL
    AND  NOT EXISTS (SELECT FROM migrate.open_slices(_run) AS o WHERE o.canary)
  GROUP  BY r.run
$$;
COMMENT ON FUNCTION migrate.canary_done IS 'What the canary of a run came to, and until when the run holds then, NULL until it is resumed. No row before it is done, nor once the rest may be done.';

CREATE FUNCTION migrate.meant(_identity text) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  newest bigint;
BEGIN
  SELECT r.run INTO newest
  FROM   migrate.runs AS r
  WHERE  r.identity = _identity
  ORDER  BY r.state <> 'reverted' DESC, r.run DESC
  LIMIT  1;
  IF newest IS NULL THEN
    RAISE EXCEPTION 'no run of this plan is known here'
    USING ERRCODE = 'MG002', HINT = 'the runs of this database: SELECT * FROM migrate.history';
  END IF;
  RETURN newest;
END $$;
COMMENT ON FUNCTION migrate.meant IS 'The newest run of a plan that is not taken back, else the newest that is.';

-- Verification ----------------------------------------------------------------------------------------------------------

CREATE FUNCTION migrate.gaps(_run bigint, _kind text) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  -- Each batch begins with the key at which the one before has ended; a part of the same batch likewise.
  SELECT count(*)
  FROM  (SELECT b.after_key,
                lag(b.through_key, 1, s.after_key) OVER (PARTITION BY b.slice ORDER BY b.ordinal, b.part) AS expected
         FROM   migrate.batches AS b
         LEFT   JOIN migrate.slices AS s ON s.run = b.run AND s.slice = b.slice
         WHERE  b.run = _run AND b.kind = _kind
            -- Rows that were tried again by themselves, out of quarantine.
            AND  b.slice >= 0
         UNION  ALL
         -- And each slice with the last key of the slice before it; a canary goes through all keys, and so does the rest.
         SELECT s.after_key, lag(s.through_key) OVER (PARTITION BY s.canary ORDER BY s.slice)
         FROM   migrate.slices AS s
         WHERE  s.run = _run) AS p
  WHERE  p.after_key IS DISTINCT FROM p.expected
$$;
COMMENT ON FUNCTION migrate.gaps IS 'Batches and slices of a run that do not begin where the one before them has ended.';

CREATE FUNCTION migrate.verify(_run bigint)
RETURNS TABLE (name text, verdict text, figure bigint, detail text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
-- The plan's settings are made within; here they are named, so that the caller's are back behind it.
SET timezone = 'UTC' SET datestyle = 'ISO, YMD' SET intervalstyle = 'postgres' SET extra_float_digits = 1 SET bytea_output = 'hex'
SET xmloption = 'content' SET lc_numeric = 'C' SET lc_monetary = 'C' SET row_security = off SET standard_conforming_strings = on
SET jit = off SET synchronous_commit = on SET statement_timeout = 0 SET lock_timeout = 0 SET idle_in_transaction_session_timeout = 0
SET client_connection_check_interval = 0 AS $$
DECLARE
  this      migrate.runs;
  counts    record;
  statement migrate.statements;
  given     jsonb;
  found     json[];
BEGIN
  SELECT r.* INTO this FROM migrate.runs AS r WHERE r.run = _run;
  SELECT count(*) FILTER (WHERE b.part = 0) AS batches, coalesce(sum(b.rows_read), 0) AS rows_read, coalesce(sum(b.rows_changed), 0) AS rows_changed,
         coalesce(sum(b.rows_unchanged), 0) AS rows_unchanged, coalesce(sum(b.rows_rejected), 0) AS rows_rejected,
         count(*) FILTER (WHERE b.rows_read <> b.rows_changed + b.rows_unchanged + b.rows_rejected) AS wrong,
         bool_or(b.through_key = this.upper_key) AS is_through
  INTO   counts
  FROM   migrate.batches AS b
  WHERE  b.run = _run AND b.kind = this.direction;

  name := 'slices contiguous';
  figure := migrate.gaps(_run, this.direction);
  verdict := CASE WHEN figure = 0 AND (this.state IN ('completed', 'reverted')) THEN 'ok' ELSE 'not ok' END;
  detail := format('%s, %s', migrate.counted(counts.batches, 'batch', 'batches'), migrate.counted(figure, 'gap or overlap', 'gaps or overlaps'));
  IF this.state NOT IN ('completed', 'reverted') THEN
    detail := detail || format('; the run is %s', this.state);
  ELSIF this.state = 'completed' AND this.upper_key IS NOT NULL AND counts.is_through IS NOT TRUE THEN
    verdict := 'not ok';
    detail := detail || format('; no batch ends with the last key %s', this.upper_key);
  ELSIF this.state = 'completed' AND NOT migrate.is_covered(_run) THEN
    verdict := 'not ok';
    detail := detail || format('; of slices %s something is left', (SELECT string_agg(o.slice::text, ', ') FROM migrate.open_slices(_run) AS o));
  ELSIF this.state = 'reverted' AND EXISTS (SELECT FROM migrate.next_to_restore(_run)) THEN
    verdict := 'not ok';
    detail := detail || '; not every batch is taken back';
  END IF;
  RETURN NEXT;

  name := 'read = changed + unchanged + rejected';
  figure := counts.rows_read;
  verdict := CASE WHEN counts.wrong = 0 THEN 'ok' ELSE 'not ok' END;
  detail := format('%s = %s + %s + %s', counts.rows_read, counts.rows_changed, counts.rows_unchanged, counts.rows_rejected);
  RETURN NEXT;

  IF this.state = 'reverted' THEN
    RETURN QUERY SELECT 'conflicts', 'info', count(*), migrate.counted(count(*), 'row was', 'rows were') || ' changed since and not restored'
                 FROM migrate.conflicts AS c WHERE c.run = _run AND c.reason <> 'overwritten';
    RETURN;
  END IF;

  -- Who verifies wants the rows looked at, not a conclusion.
  given := migrate.final_values(_run, 0) || '{"others": true}';
  EXECUTE (migrate.statement(_run, 'batches', 'settings')).text;
  FOR statement IN
    SELECT s.*
    FROM   migrate.statements AS s
    WHERE  s.run = _run AND s.name <> 'drop keys' AND (s.phase = 'finish' OR (s.phase = 'revert' AND s.name = 'conflicts ahead'))
    ORDER  BY s.ordinal
  LOOP
    IF statement.name IN ('left behind', 'conflicts ahead') AND (NOT migrate.has_undo(_run) OR migrate.is_unpublished(_run)) THEN
      name := CASE statement.name WHEN 'conflicts ahead' THEN 'rows edited since' ELSE statement.name END;
      verdict := 'info';
      figure := 0;
      detail := CASE WHEN migrate.is_unpublished(_run) THEN 'nothing of the run can be seen yet' ELSE 'not known: the undo of the run was dropped' END;
      RETURN NEXT;
      CONTINUE;
    END IF;
    name := CASE statement.name WHEN 'conflicts ahead' THEN 'rows edited since' ELSE statement.name END;
    BEGIN
      found := ARRAY(SELECT q FROM migrate.query(statement.text, migrate.arguments(statement.arguments, given)) AS q);
    EXCEPTION WHEN OTHERS OR ASSERT_FAILURE THEN
      IF migrate.error_class(SQLSTATE) <> 'row' AND left(SQLSTATE, 2) <> '42' THEN
        RAISE;
      END IF;
      -- Of a row that has come since, say, or of a column that has another type by now, it cannot be computed what it would become; the other lines hold or do not.
      verdict := 'not ok';
      figure := 0;
      detail := 'cannot be told: ' || SQLERRM;
      RETURN NEXT;
      CONTINUE;
    END;
    IF statement.name IN ('left behind', 'conflicts ahead') THEN
      figure := (migrate.fields(found[1]))[1]::bigint + CASE WHEN statement.phase = 'revert' THEN migrate.mended_ahead(_run) ELSE 0 END;
      verdict := CASE WHEN statement.phase = 'revert' THEN 'info' WHEN figure = 0 THEN 'ok' ELSE 'not ok' END;
      detail := migrate.counted(figure, 'row');
    ELSE
      figure := cardinality(found);
      verdict := CASE WHEN figure = 0 THEN 'ok' ELSE 'not ok' END;
      detail := CASE WHEN figure = 0 THEN 'finds no row' ELSE (migrate.stopped(name, found, NULL)).detail END;
    END IF;
    RETURN NEXT;
  END LOOP;
END $$;
COMMENT ON FUNCTION migrate.verify IS 'Whether a run holds what it promised: verdict ok, not ok, or info.';

REVOKE ALL ON ALL ROUTINES IN SCHEMA migrate FROM PUBLIC;
