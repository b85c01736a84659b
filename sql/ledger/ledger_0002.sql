-- What is done with the ledger's rows, so that both back ends, the command line and any SQL client do it alike.
-- Every function pins its search_path, or what it says is looked up when it is made: nobody's table or operator of the same name gets
-- in between. Not those, in later scripts, that run a plan's statements in the plan's own search_path, and what commits, which cannot.

CREATE FUNCTION migrate.numbered(_text text, _run_at integer[], _run bigint) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  bytes bytea := convert_to(_text, 'UTF8');
BEGIN
  -- From the last place to the first, so that the earlier offsets stay true. Only where the compiler put the
  -- token: the same letters in a user's own SQL are left alone.
  FOR place IN REVERSE cardinality(_run_at) .. 1 LOOP
    bytes := overlay(bytes PLACING convert_to(_run::text, 'UTF8') FROM _run_at[place] + 1 FOR length('{run}'));
  END LOOP;
  RETURN convert_from(bytes, 'UTF8');
END $$;
COMMENT ON FUNCTION migrate.numbered IS 'The text with the run''s number for {run} at the byte offsets _run_at.';

CREATE FUNCTION migrate.advance(_run bigint, _event text) RETURNS text
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  -- Of two events that meet, the second waits here and goes by what the first has made of the state: an UPDATE that waited would
  -- look at the row anew, but at no other transition. A run that had to pause because of its server keeps the reason until it goes
  -- on. Of a run that is taken back nothing is in quarantine.
  WITH standing AS (
    SELECT r.state, r.direction FROM migrate.runs AS r WHERE r.run = _run FOR NO KEY UPDATE
  ), advanced AS (
    UPDATE migrate.runs AS r
    SET    state       = t.next,
           direction   = t.direction,
           ended_at    = CASE WHEN t.next IN ('completed', 'cancelled') THEN clock_timestamp() ELSE r.ended_at END,
           reverted_at = CASE WHEN t.next = 'reverted' THEN clock_timestamp() END,
           held        = r.held + greatest(clock_timestamp() - r.held_since, interval '0'),
           held_since  = CASE WHEN t.next = 'holding' THEN clock_timestamp() END,
           hold_reason = NULL,
           failure     = CASE WHEN t.next IN ('failed', 'pausing', 'paused') THEN r.failure END
    FROM   standing            AS s
    JOIN   migrate.transitions AS t ON t.state = s.state
    WHERE  r.run       = _run
      AND  t.event     = _event
      AND  t.direction = CASE WHEN _event = 'revert_requested' THEN 'revert' ELSE s.direction END
    RETURNING r.run, r.state
  ), settled AS (
    UPDATE migrate.rejects AS q
    SET    state = 'reverted', settled_at = clock_timestamp()
    FROM   advanced AS a
    WHERE  a.state = 'reverted' AND q.run = a.run
  )
  SELECT a.state FROM advanced AS a, LATERAL (SELECT pg_notify('migrate', a.run || ' ' || a.state)) AS n
$$;
COMMENT ON FUNCTION migrate.advance IS 'Moves a run by an event of migrate.transitions; the new state, or NULL when the event does not fit.';

CREATE FUNCTION migrate.key_collations(_plan jsonb)
RETURNS TABLE (name text, recorded text, given text, refresh text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  ordering oid[] := ARRAY(SELECT a.attcollation
                          FROM   pg_attribute AS a
                          -- Of arrays, which are made once, and lead to the index.
                          WHERE  a.attrelid = ANY (ARRAY(SELECT to_regclass(t.item ->> 'name')::oid
                                                         FROM   jsonb_array_elements(_plan -> 'tables') AS t(item)))
                            AND  a.attname  = ANY (ARRAY(SELECT jsonb_array_elements_text(_plan -> 'key')::name)));
BEGIN
  RETURN QUERY
  SELECT format('%I.%I', n.nspname, l.collname), l.collversion, pg_collation_actual_version(l.oid),
         format('ALTER COLLATION %I.%I REFRESH VERSION', n.nspname, l.collname)
  FROM   pg_collation AS l
  JOIN   pg_namespace AS n ON n.oid = l.collnamespace
  WHERE  l.oid = ANY (ordering) AND l.collprovider <> 'd';
  -- The order of the database itself.
  IF '"default"'::regcollation = ANY (ordering) THEN
    RETURN QUERY
    SELECT format('of database %I', d.datname), d.datcollversion, pg_database_collation_actual_version(d.oid),
           format('ALTER DATABASE %I REFRESH COLLATION VERSION', d.datname)
    FROM   pg_database AS d
    WHERE  d.datname = current_database();
  END IF;
END $$;
COMMENT ON FUNCTION migrate.key_collations IS 'Collations that order the key of a plan: the version that PostgreSQL has recorded, the one that the library gives now, and how the former becomes the latter.';

CREATE FUNCTION migrate.moved_collations(_plan jsonb, _since jsonb) RETURNS TABLE (moved text, cure text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  -- NULL has no version and does not move: C, and what comes from a library that does not count.
  SELECT format('collation %s was %s, is %s', c.name, coalesce(_since ->> c.name, c.recorded), c.given),
         concat_ws('; ', 'REINDEX TABLE ' || (_plan #>> '{tables,0,name}'), CASE WHEN c.given <> c.recorded THEN c.refresh END)
  FROM   migrate.key_collations(_plan) AS c
  WHERE  c.given <> c.recorded OR c.given <> _since ->> c.name
$$;
COMMENT ON FUNCTION migrate.moved_collations IS 'Collations of a plan''s key that order otherwise than its index was built, or than they did when a run noted their versions.';

CREATE FUNCTION migrate.enum_labels(_type regtype) RETURNS text[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  found text[];
BEGIN
  -- Not from pg_enum, which shows what the snapshot sees: what turns a value into its label looks at what is.
  EXECUTE format('SELECT enum_range(NULL::%s)::text[]', _type) INTO found;
  RETURN found;
END $$;
COMMENT ON FUNCTION migrate.enum_labels IS 'The labels of an enum in their order, as they are in this moment whatever the snapshot.';

CREATE FUNCTION migrate.plan_labels(_plan jsonb) RETURNS jsonb
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  WITH RECURSIVE types AS (
    SELECT a.atttypid AS oid
    FROM   jsonb_array_elements(_plan -> 'tables') AS t(item)
    JOIN   pg_attribute AS a ON a.attrelid = to_regclass(t.item ->> 'name') AND a.attnum > 0 AND NOT a.attisdropped
    UNION
    -- What a domain is of, and an array.
    SELECT b.oid
    FROM   types
    JOIN   pg_type AS p USING (oid)
    CROSS  JOIN LATERAL unnest(ARRAY[p.typbasetype, p.typelem]) AS b(oid)
    WHERE  b.oid <> 0
  )
  SELECT coalesce(jsonb_object_agg(p.oid::regtype, to_jsonb(migrate.enum_labels(p.oid))), '{}')
  FROM   types
  JOIN   pg_type AS p USING (oid)
  -- To read the labels is to name the type, which takes the right to its schema; who has not got that names none of its values.
  WHERE  p.typtype = 'e' AND has_schema_privilege(p.typnamespace, 'USAGE')
$$;
COMMENT ON FUNCTION migrate.plan_labels IS 'Each enum among the types of the columns of a plan''s tables, also under a domain or an array, with its labels.';

-- Not "begin": psql, which restores dumps, waits for an END behind that word in CREATE FUNCTION.
CREATE FUNCTION migrate.start(
  _plan jsonb, _definition text, _back_end text, _version text, _client_host text, _reason text
) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  new_run bigint;
  new_hash text := encode(sha256(convert_to(_definition, 'UTF8')), 'hex');
BEGIN
  INSERT INTO migrate.definitions (hash, name, text)
  VALUES (new_hash, _plan ->> 'definition', _definition)
  ON CONFLICT (hash) DO NOTHING;

  -- A second start meets the unique index one_active here, whatever machine it comes from.
  INSERT INTO migrate.runs (definition_hash, name, identity, search_path, parameters, plan, back_end, version, client_host, reason,
                            since, collations, labels)
  VALUES (new_hash, _plan ->> 'definition', _plan ->> 'identity', _plan ->> 'search_path', _plan -> 'parameters', _plan,
          _back_end, _version, _client_host, _reason,
          migrate.watermark(_plan ->> 'identity', new_hash, _plan ->> 'incremental'),
          (SELECT coalesce(jsonb_object_agg(c.name, c.given), '{}') FROM migrate.key_collations(_plan) AS c),
          migrate.plan_labels(_plan))
  RETURNING run INTO new_run;

  -- A table of the run's own has its number in the name.
  UPDATE migrate.runs AS r
  SET    plan = jsonb_set(r.plan, '{tables}', (
           SELECT jsonb_agg(t.item || jsonb_build_object('name', migrate.numbered(
                    t.item ->> 'name', ARRAY(SELECT jsonb_array_elements_text(t.item -> 'run_at')::integer), new_run)) ORDER BY t.place)
           FROM   jsonb_array_elements(_plan -> 'tables') WITH ORDINALITY AS t(item, place)))
  WHERE  r.run = new_run AND _plan #> '{tables,0,run_at}' IS NOT NULL;

  INSERT INTO migrate.fence (run, epoch) VALUES (new_run, 1);

  INSERT INTO migrate.relations (run, name, relation)
  SELECT new_run, n.name, to_regclass(n.name)
  FROM  (SELECT 'migrate.runs' AS name
         UNION
         SELECT t.item ->> 'name' FROM jsonb_array_elements(_plan -> 'tables') AS t(item)) AS n
  WHERE  to_regclass(n.name) IS NOT NULL;

  INSERT INTO migrate.statements (run, ordinal, phase, step, name, text, arguments)
  SELECT new_run,
         row_number() OVER (ORDER BY p.place, s.place),
         p.phase ->> 'name',
         (s.statement ->> 'step')::integer,
         s.statement ->> 'name',
         migrate.numbered(s.statement ->> 'text',
                          ARRAY(SELECT jsonb_array_elements_text(s.statement -> 'run_at')::integer), new_run),
         ARRAY(SELECT jsonb_array_elements_text(s.statement -> 'arguments'))
  FROM   jsonb_array_elements(_plan -> 'phases') WITH ORDINALITY AS p(phase, place),
         jsonb_array_elements(p.phase -> 'statements') WITH ORDINALITY AS s(statement, place);
  RETURN new_run;
END $$;
COMMENT ON FUNCTION migrate.start IS 'Begins a run of a plan: its row, its fence, its tables, its statements with its number in them. Returns the number.';

CREATE FUNCTION migrate.shows_life(_worker migrate.workers) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  -- Its backend is there, and either busy or heard of a moment ago: behind a pooler the backend outlives its client, and a
  -- client that was stopped keeps its backend. A CALL is busy as long as it lives, and what its session does behind it is another
  -- statement. To a role that may not see other roles' sessions the details are NULL. A sign from the future is as old as the
  -- clock went back, which nobody knows.
  SELECT EXISTS (
    SELECT
    FROM   pg_stat_activity AS a
    WHERE  a.pid = _worker.pid AND (a.backend_start = _worker.backend_start) IS NOT FALSE
      AND  CASE WHEN _worker.back_end = 'procedure' AND a.state IS NOT NULL
                THEN a.state = 'active' AND a.pid <> pg_backend_pid() AND a.query_start = _worker.called_at
                ELSE (a.state = 'active' AND a.pid <> pg_backend_pid())
                     -- Between two statements of a batch that takes long.
                     OR (a.state LIKE 'idle in transaction%'
                         AND abs(extract(epoch FROM clock_timestamp() - a.state_change)) < 2)
                     OR abs(extract(epoch FROM clock_timestamp() - _worker.heartbeat_at)) < 15 END)
$$;
COMMENT ON FUNCTION migrate.shows_life IS 'Whether a worker, of whatever epoch, gives signs of life.';

CREATE FUNCTION migrate.is_working(_run bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT EXISTS (SELECT
                 FROM   migrate.workers AS w
                 JOIN   migrate.fence   AS f ON f.run = w.run AND f.epoch = w.epoch
                 WHERE  w.run = _run AND migrate.shows_life(w))
$$;
COMMENT ON FUNCTION migrate.is_working IS 'Whether a worker of the run''s present epoch gives signs of life.';

CREATE FUNCTION migrate.may_live(_run bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT EXISTS (SELECT
                 FROM   migrate.workers  AS w
                 JOIN   migrate.fence    AS f ON f.run = w.run AND f.epoch = w.epoch
                 JOIN   pg_stat_activity AS a ON a.pid = w.pid AND (a.backend_start = w.backend_start) IS NOT FALSE
                 WHERE  w.run = _run AND w.back_end = 'client' AND a.pid <> pg_backend_pid())
$$;
COMMENT ON FUNCTION migrate.may_live IS 'Whether a worker of the run''s present epoch has its backend still, though it may give no sign of life: its client was stopped, or the clock has jumped since the last sign.';

CREATE FUNCTION migrate.take_over(_run bigint, _epoch integer) RETURNS integer
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  UPDATE migrate.fence SET epoch = epoch + 1 WHERE run = _run AND epoch = _epoch RETURNING epoch
$$;
COMMENT ON FUNCTION migrate.take_over IS 'Raises the epoch, which fences off everyone of the old one; NULL when somebody else was first.';

CREATE FUNCTION migrate.enlist(
  _run bigint, _worker integer, _epoch integer, _client_host text, _back_end text DEFAULT 'client'
) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO migrate.workers AS w (run, worker, epoch, pid, backend_start, client_host, back_end)
  SELECT _run, _worker, _epoch, a.pid, a.backend_start, _client_host, _back_end
  FROM   pg_stat_activity AS a
  WHERE  a.pid = pg_backend_pid()
  ON CONFLICT (run, worker) DO UPDATE
  SET    epoch         = excluded.epoch,
         pid           = excluded.pid,
         backend_start = excluded.backend_start,
         client_host   = excluded.client_host,
         back_end      = excluded.back_end,
         called_at     = excluded.called_at,
         at_edge       = false,
         since         = CASE WHEN (w.epoch, w.pid) = (excluded.epoch, excluded.pid) THEN w.since ELSE clock_timestamp() END,
         heartbeat_at  = clock_timestamp()
  WHERE  w.epoch <= excluded.epoch
$$;
COMMENT ON FUNCTION migrate.enlist IS 'Writes down, or renews, who works on a run.';

CREATE FUNCTION migrate.reach_edge(_run bigint, _worker integer, _epoch integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE migrate.workers AS w
  SET    at_edge = true, heartbeat_at = clock_timestamp()
  WHERE  w.run = _run AND w.worker = _worker AND w.epoch = _epoch;
  -- Of two workers that come at once neither may see the other; both ask again.
  IF NOT EXISTS (SELECT
                 FROM   migrate.workers AS w
                 WHERE  w.run = _run AND w.worker <> _worker AND w.epoch = _epoch AND NOT w.at_edge
                   AND  migrate.shows_life(w))
    -- Who was taken over says nothing about the run any more.
    AND EXISTS (SELECT FROM migrate.fence AS f WHERE f.run = _run AND f.epoch = _epoch FOR SHARE) THEN
    PERFORM migrate.advance(_run, 'batch_edge_reached');
  END IF;
END $$;
COMMENT ON FUNCTION migrate.reach_edge IS 'A worker has ended its batch and waits; when it is the last of them, the run stands still.';

CREATE FUNCTION migrate.state_of(_run bigint) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  found text := (SELECT r.state FROM migrate.runs AS r WHERE r.run = _run);
BEGIN
  IF found IS NULL THEN
    PERFORM migrate.refuse(format('there is no run %s', _run), 'SELECT * FROM migrate.history');
  END IF;
  RETURN found;
END $$;
COMMENT ON FUNCTION migrate.state_of IS 'The state of a run; raises MG002 when there is none of that number.';

CREATE FUNCTION migrate.pause(
  _run bigint, _reason text DEFAULT NULL, _client_host text DEFAULT NULL, _by_worker boolean DEFAULT false
) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  reached text := migrate.request(_run, 'pause', _reason, _client_host, _by_worker);
BEGIN
  -- A signal can come to a worker whose run has just ended.
  IF reached IS NULL AND NOT _by_worker THEN
    PERFORM migrate.refuse_pause(_run);
  END IF;
  RETURN coalesce(reached, migrate.state_of(_run));
END $$;
COMMENT ON FUNCTION migrate.pause IS 'Asks a run to pause at the edge of its batch; returns the run''s state, and raises MG002 when it has ended or failed. _by_worker: its own worker does, which got a signal.';

CREATE FUNCTION migrate.cancel(_run bigint, _reason text DEFAULT NULL, _client_host text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  -- A run can stand still by one worker's word while another one has a batch in hand. Nothing of a run commits behind its end, so
  -- that one is fenced off, or waited for where it has nothing left but its COMMIT.
  IF EXISTS (SELECT FROM migrate.runs AS r WHERE r.run = _run AND (r.state, r.direction) IN (('paused', 'apply'), ('failed', 'apply'))) THEN
    -- Before the run itself, as all do that move it under the fence.
    PERFORM FROM migrate.fence AS f WHERE f.run = _run FOR UPDATE;
    IF EXISTS (SELECT FROM migrate.runs AS r
               WHERE r.run = _run AND (r.state, r.direction) IN (('paused', 'apply'), ('failed', 'apply')) FOR NO KEY UPDATE) THEN
      UPDATE migrate.fence AS f SET epoch = f.epoch + 1 WHERE f.run = _run;
    END IF;
  END IF;
  RETURN coalesce(migrate.request(_run, 'cancel', _reason, _client_host), migrate.state_of(_run));
END $$;
COMMENT ON FUNCTION migrate.cancel IS 'Asks a run to end at the edge of its batch; what is done stays and can be reverted. Returns the run''s state.';

CREATE FUNCTION migrate.go_on(_run bigint, _reason text DEFAULT NULL, _client_host text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  reached text;
BEGIN
  -- A run that has paused because it did not find what it expected is not asked for that again.
  UPDATE migrate.runs AS r
  SET    accepted = r.accepted || (r.failure ->> 'constraint')
  WHERE  r.run = _run AND r.state IN ('pausing', 'paused') AND r.failure ->> 'sqlstate' = 'MG004';
  reached := migrate.request(_run, 'resume', _reason, _client_host);
  IF reached IS NULL THEN
    RETURN migrate.state_of(_run);
  END IF;
  -- Before its first batch it is asked whether it shall hold, however short a time ago that was asked last.
  DELETE FROM migrate.asking WHERE run = _run;
  RETURN reached;
END $$;
COMMENT ON FUNCTION migrate.go_on IS 'Lets a paused or failed run go on, also with what it did not expect, and where its canary is done, wait for what it waited for. Returns the run''s state.';

CREATE FUNCTION migrate.resume(_run bigint, _reason text DEFAULT NULL, _client_host text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  reached text;
BEGIN
  -- Only who asks for it ends the time after a canary; who applies the same again waits for what is left of it.
  PERFORM migrate.end_canary(_run, _reason, _client_host);
  reached := migrate.go_on(_run, _reason, _client_host);
  IF reached IN ('running', 'holding', 'reverting') AND NOT migrate.is_working(_run) THEN
    RAISE NOTICE 'no client is on it: `migrate resume %` does the rest%', _run,
      (SELECT CASE WHEN r.back_end = 'procedure' THEN format(', or its %s.sql', r.direction) ELSE '' END
       FROM   migrate.runs AS r
       WHERE  r.run = _run);
  END IF;
  RETURN reached;
END $$;
COMMENT ON FUNCTION migrate.resume IS 'Lets a paused or failed run go on, also with what it did not expect, or with the rest behind its canary; a client that stayed does so within a second, and when there is none a notice says so. Returns the run''s state.';

CREATE VIEW migrate.progress AS
SELECT r.run,
       r.name,
       CASE WHEN r.state IN ('running', 'holding', 'pausing', 'cancelling', 'reverting') AND NOT migrate.is_working(r.run)
            THEN 'interrupted' ELSE r.state END            AS state,
       r.direction,
       (r.plan -> 'estimate' ->> 'rows')::bigint           AS rows_expected,
       b.batches, b.rows_read, b.rows_changed, b.rows_unchanged, b.rows_rejected,
       b.last_batch_at,
       -- Over the last twenty batches, so that a pause does not weigh on it.
       p.rows_per_second,
       r.failure,
       r.started_at,
       r.ended_at,
       r.hold_reason,
       r.held_since
FROM   migrate.runs AS r
CROSS  JOIN LATERAL (
  SELECT count(*) FILTER (WHERE b.part = 0) AS batches,
         coalesce(sum(rows_read), 0)       AS rows_read,
         coalesce(sum(rows_changed), 0)    AS rows_changed,
         coalesce(sum(rows_unchanged), 0)  AS rows_unchanged,
         coalesce(sum(rows_rejected), 0)   AS rows_rejected,
         max(ended_at)                     AS last_batch_at
  FROM   migrate.batches AS b
  WHERE  b.run = r.run AND b.kind = r.direction) AS b
CROSS  JOIN LATERAL (
  -- Of parts of one batch, and of workers beside each other, the times overlap; where the clock went back in between, one ends
  -- before it begins.
  SELECT (l.rows_read / nullif(extract(epoch FROM (SELECT sum(upper(t) - lower(t)) FROM unnest(l.times) AS t)), 0))::float8 AS rows_per_second
  FROM  (SELECT sum(n.rows_read) AS rows_read, range_agg(tstzrange(least(n.started_at, n.ended_at), n.ended_at)) AS times
         FROM  (SELECT sum(b.rows_read) AS rows_read, min(b.started_at) AS started_at, max(b.ended_at) AS ended_at
                -- So many that no batch has more parts, as a rule.
                FROM  (SELECT b.*
                       FROM   migrate.batches AS b
                       WHERE  b.run = r.run AND b.kind = r.direction
                       ORDER  BY b.seq DESC
                       LIMIT  2000) AS b
                GROUP  BY b.slice, b.ordinal
                ORDER  BY max(b.seq) DESC
                LIMIT  20) AS n) AS l) AS p;
COMMENT ON VIEW migrate.progress IS 'Every run with what it has done so far; interrupted is a run whose workers are gone.';

CREATE VIEW migrate.history AS
SELECT r.run, r.name, r.state, r.direction, r.parameters, r.started_at, r.ended_at, r.reverted_at,
       r.session_user_ AS started_by, r.client_host, r.reason, r.revert_reason, r.version, r.back_end, r.definition_hash,
       p.rows_changed, p.rows_rejected, r.left_behind,
       r.held + greatest(clock_timestamp() - r.held_since, interval '0') AS held
FROM   migrate.runs     AS r
JOIN   migrate.progress AS p USING (run);
COMMENT ON VIEW migrate.history IS 'Who ran what, when and why.';

REVOKE ALL ON ALL TABLES    IN SCHEMA migrate FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA migrate FROM PUBLIC;
