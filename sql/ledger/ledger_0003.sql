-- What both back ends ask the ledger before and between their batches, said once.

CREATE FUNCTION migrate.counted(_number bigint, _one text, _many text DEFAULT NULL) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT format('%s %s', _number, CASE _number WHEN 1 THEN _one ELSE coalesce(_many, _one || 's') END)
$$;
COMMENT ON FUNCTION migrate.counted IS 'So many of a thing, in words: 1 row, 2 rows.';

CREATE FUNCTION migrate.refuse_pause(_run bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  state text := migrate.state_of(_run);
BEGIN
  IF state IN ('failed', 'cancelling', 'cancelled', 'completed', 'reverted') THEN
    PERFORM migrate.refuse(format(CASE state WHEN 'failed' THEN 'run %s stands still already: it has %s'
                                             ELSE 'run %s is %s, so there is nothing to pause' END, _run, state),
                           'SELECT * FROM migrate.history');
  END IF;
END $$;
COMMENT ON FUNCTION migrate.refuse_pause IS 'Refuses to pause a run that has ended or failed.';

CREATE FUNCTION migrate.fail(
  _run bigint, _event text, _sqlstate text, _message text, _detail text, _hint text,
  _column text, _constraint text, _after text[], _through text[], _rows text[] DEFAULT NULL, _are_all boolean DEFAULT NULL
) RETURNS text
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  -- What was asked of the run in this moment has had its effect, or waits.
  SELECT FROM migrate.runs AS r WHERE r.run = _run FOR NO KEY UPDATE;
  UPDATE migrate.runs
  SET    failure = jsonb_build_object('sqlstate', _sqlstate, 'message', _message, 'detail',
                                      -- What a row holds has no place in a ledger that is to forget it.
                                      CASE WHEN outline #>> '{steps,0,unavailable}' IS NULL THEN nullif(_detail, '') END,
                                      'hint', nullif(_hint, ''), 'column', nullif(_column, ''),
                                      'constraint', nullif(_constraint, ''), 'after', _after, 'through', _through,
                                      'rows', (SELECT jsonb_agg(to_jsonb(k.key::text[]) ORDER BY k.place)
                                               FROM   unnest(_rows) WITH ORDINALITY AS k(key, place)),
                                      'rows_are_all', _are_all, 'at', clock_timestamp())
  -- Of two workers whose batches fail the first one is told of. What makes a run pause is told also of one that was to pause.
  WHERE  run = _run
    AND  (EXISTS (SELECT FROM migrate.transitions AS t WHERE (t.state, t.direction, t.event) = (runs.state, runs.direction, _event))
          OR state = 'pausing' AND _event = 'pause_requested');
  SELECT migrate.advance(_run, _event)
$$;
COMMENT ON FUNCTION migrate.fail IS 'Writes down why a run cannot go on, and where, and moves it by the event; the new state. _rows: the keys of the rows at fault, each an array''s text; _are_all: there are no others in the batch.';

CREATE FUNCTION migrate.watermark(_identity text, _hash text, _column text) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT r.watermark
  FROM   migrate.runs AS r
  WHERE  r.identity = _identity AND r.state = 'completed'
    AND  r.outline ->> 'incremental' = _column
    -- Another text may make something else of the rows that an older one has done.
    AND  coalesce(r.definition_hash = _hash, true)
  ORDER  BY r.run DESC
  LIMIT  1
$$;
COMMENT ON FUNCTION migrate.watermark IS 'Since when rows have to be looked at that the last complete run of a definition has not; NULL: all. A run that is taken back counts for nothing.';

CREATE FUNCTION migrate.settled_until(_since timestamptz) RETURNS timestamptz
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  -- A transaction has its time a moment before others can see that it has begun.
  moment CONSTANT timestamptz := clock_timestamp() - interval '1 s';
BEGIN
  PERFORM pg_stat_clear_snapshot();
  -- Of a prepared transaction nobody knows when it has begun, nor of other roles' sessions without pg_read_all_stats.
  IF EXISTS (SELECT FROM pg_prepared_xacts AS p WHERE p.database = current_database())
     OR EXISTS (SELECT FROM pg_stat_activity AS a WHERE a.datname = current_database() AND a.backend_type IS NULL) THEN
    RETURN _since;
  END IF;
  RETURN (SELECT least(moment, min(a.xact_start)) FROM pg_stat_activity AS a WHERE a.datname = current_database());
END $$;
COMMENT ON FUNCTION migrate.settled_until IS 'A moment before which no transaction has begun that is still open; _since where that cannot be known.';

CREATE FUNCTION migrate.bound(_run bigint, _upper text[], _horizon xid8) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  UPDATE migrate.runs
  SET    upper_key = _upper, horizon = _horizon, bounded_at = clock_timestamp(),
         watermark = CASE WHEN outline ? 'incremental' THEN migrate.settled_until(since) END
  WHERE  run = _run AND bounded_at IS NULL;
  -- Whoever has not cut the keys walks them as one.
  INSERT INTO migrate.slices (run, slice, through_key)
  SELECT _run, 0, _upper
  WHERE  _upper IS NOT NULL AND NOT EXISTS (SELECT FROM migrate.slices AS s WHERE s.run = _run)
$$;
COMMENT ON FUNCTION migrate.bound IS 'Fixes the upper end of a run''s keys, NULL for an empty table. A second time changes nothing.';

-- Whoever writes has a transaction number, and numbers are given in order: when as many have been given since the horizon as
-- the run has used (one for each batch, and one that fixed the bounds, after its look at the horizon), nobody else has
-- written. Numbers that were given and are still at work lie at or above xmax, where nobody sees what they write.
CREATE FUNCTION migrate.others_wrote(_run bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT s.xmax - r.horizon::text::bigint <> 1 + (SELECT count(DISTINCT b.xid)
                                                  FROM   migrate.batches AS b
                                                  WHERE  b.run = _run AND b.kind = 'apply'
                                                    AND  b.xid > r.horizon AND b.xid::text::bigint < s.xmax)
  FROM   migrate.runs AS r,
         (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS xmax) AS s
  WHERE  r.run = _run
$$;
COMMENT ON FUNCTION migrate.others_wrote IS 'Whether a transaction that is not the run''s own has been given a number since the run''s upper end was fixed, anywhere in the cluster.';

CREATE FUNCTION migrate.is_restored(_run bigint) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  RETURN NOT EXISTS (SELECT FROM migrate.relations AS l
                     WHERE l.run = _run AND l.name = 'migrate.runs' AND l.relation = 'migrate.runs'::regclass);
END $$;
COMMENT ON FUNCTION migrate.is_restored IS 'Whether the ledger came from a dump since the run was begun: its numbers of tables and transactions then mean others here.';

CREATE FUNCTION migrate.versions_since(_run bigint, OUT others boolean, OUT horizon xid, OUT transactions xid[])
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT w.restored OR migrate.others_wrote(_run),
         -- The rows of a partition that was attached since are as old as they are.
         CASE WHEN NOT w.restored AND NOT EXISTS (
           SELECT
           FROM   jsonb_array_elements(r.outline -> 'tables') AS t(item)
           CROSS  JOIN LATERAL pg_partition_tree(to_regclass(t.item ->> 'name')) AS p
           JOIN   pg_inherits AS i ON i.inhrelid = p.relid
           WHERE  ((i.xmin::text::bigint - r.horizon::xid::text::bigint) & 4294967295) < 2147483648)
         THEN r.horizon::xid END,
         CASE WHEN w.restored THEN '{}'
         -- This transaction is one of them where it writes.
         ELSE ARRAY(SELECT b.xid::xid FROM migrate.batches AS b WHERE b.run = _run AND b.kind = 'apply')
              || array_remove(ARRAY[pg_current_xact_id_if_assigned()::xid], NULL) END
  FROM   migrate.runs AS r,
         (SELECT migrate.is_restored(_run) AS restored) AS w
  WHERE  r.run = _run
$$;
COMMENT ON FUNCTION migrate.versions_since IS 'What tells the versions of rows that others have written since the run''s upper end was fixed; no horizon: any version may be.';

-- The run is taken over -------------------------------------------------------------------------------------------------

CREATE FUNCTION migrate.relieve(
  _run bigint, _patience interval, _watched boolean DEFAULT false, OUT epoch integer, OUT pid integer, OUT client_host text
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  before   integer;
  beat     timestamptz;
  first    timestamptz;
  -- Not asked of the clock, which may jump.
  looks    integer := 0;
BEGIN
  SELECT f.epoch INTO before FROM migrate.fence AS f WHERE f.run = _run;
  SELECT max(w.heartbeat_at) INTO first FROM migrate.workers AS w WHERE w.run = _run;
  -- A backend can outlive a client that was killed by as long as the server needs to see that nobody is there. A client that lives
  -- gives a sign each second, whatever the clock says.
  WHILE migrate.is_working(_run) OR NOT _watched AND looks < 250 AND migrate.may_live(_run) LOOP
    SELECT w.heartbeat_at, w.pid, w.client_host INTO beat, pid, client_host
    FROM   migrate.workers AS w
    WHERE  w.run = _run
    ORDER  BY w.heartbeat_at DESC
    LIMIT  1;
    IF beat IS DISTINCT FROM first OR looks * interval '20 ms' >= _patience THEN
      RETURN;
    END IF;
    looks := looks + 1;
    PERFORM pg_sleep(0.02);
    PERFORM pg_stat_clear_snapshot();
  END LOOP;
  SELECT NULL, NULL INTO pid, client_host;
  -- A client that was stopped keeps its row locks, and between its last statement and COMMIT the fence, until its backend
  -- ends. Without the right to end it, the timeout of its idle transaction does.
  BEGIN
    PERFORM pg_terminate_backend(a.pid)
    FROM    migrate.workers  AS w
    JOIN    pg_stat_activity AS a ON a.pid = w.pid AND a.backend_start = w.backend_start
    WHERE   w.run = _run AND a.pid <> pg_backend_pid() AND a.state = 'idle in transaction';
  EXCEPTION WHEN insufficient_privilege THEN
    NULL;
  END;
  epoch := migrate.take_over(_run, before);
END $$;
COMMENT ON FUNCTION migrate.relieve IS 'Takes a run over from workers that are gone: the new epoch; else who works on it; else NULLs: another was faster. _watched: the caller has seen for five seconds that none of them gives a sign.';

-- What forbids a run, or its way back -----------------------------------------------------------------------------------

CREATE FUNCTION migrate.missing(_needs text[], OUT name text, OUT run bigint, OUT rejects bigint) RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT n.name, c.run, q.rejects
  FROM   unnest(_needs) WITH ORDINALITY AS n(name, place)
  -- The newest counts: what an older one has done a newer one has met again.
  LEFT   JOIN LATERAL (SELECT r.run
                       FROM   migrate.runs AS r
                       WHERE  r.name = n.name AND r.state = 'completed'
                       ORDER  BY r.run DESC
                       LIMIT  1) AS c ON true
  CROSS  JOIN LATERAL (SELECT count(*) AS rejects
                       FROM   migrate.rejects AS r
                       WHERE  r.run = c.run AND r.state = 'open') AS q
  WHERE  c.run IS NULL OR q.rejects > 0
  ORDER  BY n.place
$$;
COMMENT ON FUNCTION migrate.missing IS 'Of these definitions those that have no completed run, or whose newest one has rows in quarantine: that run, and how many.';

CREATE FUNCTION migrate.dependents(_run bigint) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT DISTINCT d.name
  FROM   migrate.runs AS r
  JOIN   migrate.runs AS d ON d.plan -> 'needs' ? r.name AND d.state = 'completed'
  WHERE  r.run = _run
    AND  NOT EXISTS (SELECT FROM migrate.runs AS o WHERE o.name = r.name AND o.run <> r.run AND o.state = 'completed')
  ORDER  BY d.name
$$;
COMMENT ON FUNCTION migrate.dependents IS 'Definitions that are applied and need the run''s definition, when no other run of it satisfies them.';

CREATE FUNCTION migrate.visible_relation(_name text) RETURNS regclass
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN to_regclass(_name);
EXCEPTION WHEN insufficient_privilege THEN
  RETURN NULL;
END $$;
COMMENT ON FUNCTION migrate.visible_relation IS 'The table of a name; NULL where there is none, or the role may not use its schema, of which to_regclass makes an error.';

CREATE FUNCTION migrate.shares_rows(_table text, _other text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT _table = _other
      OR EXISTS (SELECT FROM pg_partition_ancestors(migrate.visible_relation(_table)) AS p(relid) WHERE p.relid = migrate.visible_relation(_other))
      OR EXISTS (SELECT FROM pg_partition_ancestors(migrate.visible_relation(_other)) AS p(relid) WHERE p.relid = migrate.visible_relation(_table))
$$;
COMMENT ON FUNCTION migrate.shares_rows IS 'Whether two names are of one table, or of a table and one that it is a partition of.';

CREATE FUNCTION migrate.overlap(_run bigint, _other bigint, _columns text[] DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN (
    WITH written AS (
      SELECT r.run, coalesce(s.step ->> 'relation', r.outline #>> '{tables,0,name}') AS table_name, c.name AS column_name
      FROM   migrate.runs AS r
      CROSS  JOIN LATERAL jsonb_array_elements(r.outline -> 'steps') AS s(step)
      -- Of rows that are inserted or deleted it is all columns.
      CROSS  JOIN LATERAL (SELECT c.col ->> 'name' FROM jsonb_array_elements(s.step -> 'columns') AS c(col)
                           UNION
                           SELECT c.name FROM jsonb_array_elements_text(s.step -> 'captured') AS c(name)
                           WHERE  s.step ->> 'relation' IS NOT NULL) AS c(name)
      WHERE  r.run IN (_run, _other)
      UNION  ALL
      SELECT r.run, r.outline #>> '{tables,0,name}', m.name
      FROM   migrate.mendings AS m
      JOIN   migrate.runs     AS r USING (run)
      WHERE  r.run IN (_run, _other)
    ), mine AS (
      SELECT w.table_name, w.column_name FROM written AS w WHERE w.run = _run AND _columns IS NULL
      UNION  ALL
      SELECT r.outline #>> '{tables,0,name}', c.name FROM migrate.runs AS r, unnest(_columns) AS c(name) WHERE r.run = _run
    )
    SELECT EXISTS (SELECT FROM written AS theirs JOIN mine USING (column_name)
                   WHERE theirs.run = _other AND migrate.shares_rows(theirs.table_name, mine.table_name)));
END $$;
COMMENT ON FUNCTION migrate.overlap IS 'Whether two runs write the same column of the same rows, in their batches or by mending rows in quarantine; with _columns whether the other one writes one of these.';

CREATE FUNCTION migrate.concurrent_runs(_run bigint) RETURNS SETOF migrate.runs
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  -- Each plan that is looked into is read as a whole, so first those are left out that do not matter.
  SELECT o.*
  FROM   migrate.runs AS o
  WHERE  o.run <> _run
    AND  CASE WHEN o.state NOT IN ('completed', 'cancelled', 'reverted') THEN migrate.overlap(_run, o.run) END
  ORDER  BY o.run
$$;
COMMENT ON FUNCTION migrate.concurrent_runs IS 'Unfinished runs that write a column that the run writes.';

CREATE FUNCTION migrate.later_runs(_run bigint, _columns text[] DEFAULT NULL) RETURNS SETOF migrate.runs
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT o.*
  FROM   migrate.runs AS o
  WHERE  o.run > _run
    -- One that is at work may have its first batch in hand.
    AND  CASE WHEN o.state IN ('running', 'holding', 'pausing', 'cancelling')
                   OR o.state <> 'reverted' AND EXISTS (SELECT FROM migrate.batches AS b WHERE b.run = o.run)
              THEN migrate.overlap(_run, o.run, _columns) END
  ORDER  BY o.run DESC
$$;
COMMENT ON FUNCTION migrate.later_runs IS 'Runs that came later and wrote the same columns, or one of _columns, the newest first: theirs lies over it.';
