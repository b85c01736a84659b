-- From inside of the server: begin a run, drive it, take it back, verify it. A client without this program needs no more than
--   SELECT run, epoch FROM migrate.enter(...);  CALL migrate.drive(run, epoch);

CREATE FUNCTION migrate.refuse(_message text, _hint text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION '%', _message USING ERRCODE = 'MG002', HINT = _hint;
END $$;
COMMENT ON FUNCTION migrate.refuse IS 'Refuses, before anything is changed.';

CREATE FUNCTION migrate.check_before(_plan jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  given jsonb := jsonb_build_object(':run_id', NULL, ':started_at', to_json(now()) #>> '{}')
    || coalesce((SELECT jsonb_object_agg(':' || p.key, p.value -> 'value') FROM jsonb_each(_plan -> 'parameters') AS p), '{}');
  named text;
  body  text;
  roles text[];
  found json[];
BEGIN
  -- A transaction inside of this one, so that it alone cannot write.
  BEGIN
    SET TRANSACTION READ ONLY;
    FOR named, body, roles IN
      SELECT s.item ->> 'name', s.item ->> 'text', ARRAY(SELECT jsonb_array_elements_text(s.item -> 'arguments'))
      FROM   jsonb_array_elements(_plan -> 'phases') AS p(phase),
             jsonb_array_elements(p.phase -> 'statements') WITH ORDINALITY AS s(item, place)
      WHERE  p.phase ->> 'name' = 'before' OR (p.phase ->> 'name' = 'batches' AND s.item ->> 'name' = 'settings')
      ORDER  BY s.item ->> 'name' = 'settings' DESC, s.place
    LOOP
      IF named = 'settings' THEN
        EXECUTE body;
      ELSE
        found := ARRAY(SELECT q FROM migrate.query(body, migrate.arguments(roles, given)) AS q);
        IF cardinality(found) > 0 THEN
          PERFORM migrate.refuse(
            format(E'%s found rows, so nothing has started:\n%s', named, (migrate.stopped(named, found, NULL)).detail),
            'mend the rows, or the check');
        END IF;
      END IF;
    END LOOP;
  EXCEPTION WHEN OTHERS OR ASSERT_FAILURE THEN
    RAISE;
  END;
END $$;
COMMENT ON FUNCTION migrate.check_before IS 'The checks of a plan that must find nothing before it starts.';

CREATE FUNCTION migrate.check_order(_plan jsonb, _since jsonb DEFAULT '{}', _run bigint DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  found record;
BEGIN
  SELECT * INTO found FROM migrate.moved_collations(_plan, _since) LIMIT 1;
  IF found.moved IS NOT NULL THEN
    PERFORM migrate.refuse(
      format('the order of the key has changed: %s', found.moved),
      found.cure || CASE WHEN _run IS NULL THEN '; then again'
                         ELSE format('; then take back run %s and apply anew: batches of two orders pass rows over', _run) END);
  END IF;
END $$;
COMMENT ON FUNCTION migrate.check_order IS 'Refuses to walk a key whose order has changed with the library that gives it.';

CREATE FUNCTION migrate.seize(_run bigint) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  taken record;
BEGIN
  SELECT * INTO taken FROM migrate.relieve(_run, interval '20 seconds');
  IF taken.epoch IS NULL THEN
    PERFORM migrate.refuse(
      CASE WHEN taken.pid IS NULL THEN format('run %s has just been taken over by somebody else', _run)
           ELSE format('run %s is being worked on by backend %s%s',
                       _run, taken.pid, ' for a client on ' || taken.client_host) END,
      format('SELECT migrate.pause(%s) stops it at the edge of its batch', _run));
  END IF;
  RETURN taken.epoch;
END $$;
COMMENT ON FUNCTION migrate.seize IS 'Takes a run over for the one who asks, or refuses; the new epoch.';

CREATE FUNCTION migrate.note_own_tables(_run bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  -- Of a table that the run has made itself nothing could be noted before.
  INSERT INTO migrate.relations (run, name, relation)
  SELECT _run, t.item ->> 'name', to_regclass(t.item ->> 'name')
  FROM   migrate.runs AS r, jsonb_array_elements(r.outline -> 'tables') AS t(item)
  WHERE  r.run = _run AND t.item ? 'run_at';
  IF FOUND THEN
    UPDATE migrate.runs AS r
    SET    collations = (SELECT coalesce(jsonb_object_agg(c.name, c.given), '{}') FROM migrate.key_collations(r.plan) AS c),
           labels     = migrate.plan_labels(r.plan)
    WHERE  r.run = _run;
  END IF;
END $$;
COMMENT ON FUNCTION migrate.note_own_tables IS 'Notes of the table that a run reads its source into what migrate.start notes of others.';

CREATE FUNCTION migrate.prepare(_run bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  statement text;
BEGIN
  FOR statement IN
    SELECT s.text FROM migrate.statements AS s WHERE s.run = _run AND s.phase = 'prepare' ORDER BY s.ordinal
  LOOP
    PERFORM migrate.execute(statement, '{}');
  END LOOP;
  PERFORM migrate.note_own_tables(_run);
END $$;
COMMENT ON FUNCTION migrate.prepare IS 'Makes the tables that a run keeps its undo in, and the one of its rows where it reads them once, in the transaction that begins it.';

CREATE FUNCTION migrate.lock_text(_run bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN migrate.may_lock(_run) THEN (migrate.statement(_run, 'batches', 'lock')).text
              ELSE (SELECT format('LOCK TABLE %s IN ACCESS SHARE MODE', string_agg(t.item ->> 'name', ', '))
                    FROM   migrate.runs AS r, jsonb_array_elements(r.outline -> 'tables') AS t(item)
                    WHERE  r.run = _run) END
$$;
COMMENT ON FUNCTION migrate.lock_text IS 'What a transaction that applies says before its snapshot is taken, which LOCK does not do: what others do to the table is then seen, or has to wait. Who may not lock as a writer keeps out at least those who change its columns.';

CREATE FUNCTION migrate.prepare_opening(_run bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  EXECUTE format('CREATE OR REPLACE PROCEDURE pg_temp.migrate_open(INOUT _sqlstate text, INOUT _message text) LANGUAGE plpgsql AS %L',
                 format($body$
    BEGIN
      COMMIT;
      SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE;
      BEGIN
        SET LOCAL lock_timeout = '500ms';
        %s;
      EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS _sqlstate = RETURNED_SQLSTATE, _message = MESSAGE_TEXT;
      END;
    END $body$, migrate.lock_text(_run)));
END $$;
COMMENT ON FUNCTION migrate.prepare_opening IS 'Makes the session the procedure pg_temp.migrate_open, which commits, and begins a transaction in which the run''s table is locked before its snapshot is taken. LOCK does not take it, but any expression does, so that EXECUTE of a text comes too late and the statement must stand in a body. It answers why the table could not be locked, or NULLs.';

CREATE FUNCTION migrate.enter(
  _plan jsonb, _definition text, _version text, _reason text DEFAULT NULL, _again boolean DEFAULT false,
  _concurrent boolean DEFAULT false, OUT run bigint, OUT epoch integer
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  named text := _plan ->> 'definition';
  hash  text := encode(sha256(convert_to(_definition, 'UTF8')), 'hex');
  other migrate.runs;
  needed text;
  waiting bigint;
  cure  text;
  pause record;
BEGIN
  IF (_plan ->> 'format')::integer > 1 THEN
    PERFORM migrate.refuse('the plan was made by a newer version of migrate',
      'run it with that version, which brings its own ledger');
  END IF;
  -- Strict: a lax path looks into the array by itself, and asks each argument for its size.
  IF jsonb_path_exists(_plan, 'strict $.phases[*].statements[*].arguments ? (@.size() > 32)') THEN
    PERFORM migrate.refuse('a statement binds more than 32 values, which migrate.drive cannot',
      'fewer parameters, or `migrate apply`');
  END IF;
  IF NOT has_database_privilege(current_database(), 'TEMPORARY') THEN
    PERFORM migrate.refuse(
      format('%I may make nothing temporary in database %I, where migrate.drive keeps how it begins a batch', current_user, current_database()),
      format('GRANT TEMPORARY ON DATABASE %I TO %I, or `migrate apply`', current_database(), current_user));
  END IF;
  SELECT r.* INTO other
  FROM   migrate.runs AS r
  WHERE  r.name = named
    AND  r.search_path = _plan ->> 'search_path'
    AND  r.state NOT IN ('completed', 'cancelled', 'reverted');
  IF other.run IS NOT NULL THEN
    cure := format('the same definition and parameters go on with it; SELECT migrate.cancel(%s) ends it, and its revert.sql takes back what it has done', other.run);
    IF other.direction <> 'apply' THEN
      PERFORM migrate.refuse(format('run %s of %s is being taken back', other.run, named), 'finish that: its revert.sql');
    ELSIF other.identity <> _plan ->> 'identity' THEN
      PERFORM migrate.refuse(format('run %s of %s is unfinished and has other parameters', other.run, named), cure);
    ELSIF other.definition_hash <> hash THEN
      PERFORM migrate.refuse(format('the definition has changed while run %s of %s is unfinished', other.run, named), cure);
    END IF;
    IF other.state = 'paused' AND other.failure ->> 'sqlstate' IN ('MG004', 'MG005') THEN
      PERFORM migrate.refuse(format('run %s of %s is paused: %s', other.run, named, other.failure ->> 'message'),
        format('SELECT migrate.resume(%s)%s; its revert.sql takes it back', other.run,
               CASE other.failure ->> 'sqlstate' WHEN 'MG004' THEN ' accepts it, and this goes on with it then'
                                                 ELSE ', and this does the rest then' END));
    END IF;
    PERFORM migrate.check_order(other.plan, other.collations, other.run);
    epoch := migrate.seize(other.run);
    run := other.run;
    SELECT * INTO pause FROM migrate.paused_by(run);
    IF other.state = 'cancelling' THEN
      PERFORM migrate.advance(run, 'batch_edge_reached');
    END IF;
    PERFORM migrate.go_on(run, _reason);
    RAISE NOTICE 'going on with run % of %, which %', run, named,
      CASE WHEN pause.requested_by IS NULL THEN 'is ' || other.state
           ELSE concat(pause.requested_by, ' on ' || pause.client_host,
                       format(' paused %s ago', justify_interval(date_trunc('second', pause.seconds * interval '1 s'))),
                       ': ' || to_json(pause.reason)) END;
    RETURN;
  END IF;
  SELECT r.* INTO other
  FROM   migrate.runs AS r
  WHERE  r.identity = _plan ->> 'identity' AND r.state = 'completed'
  ORDER  BY r.run DESC
  LIMIT  1;
  IF other.run IS NOT NULL AND NOT _again AND NOT _plan ? 'incremental' THEN
    waiting := migrate.unresolved_rejects(other.run);
    RAISE NOTICE '% is already applied as run %', named, other.run || CASE WHEN waiting > 0 THEN
      format('; %s in quarantine: SELECT * FROM migrate.rejects WHERE run = %s', migrate.counted(waiting, 'row'), other.run) ELSE '' END
    USING HINT = CASE WHEN other.definition_hash = hash THEN 'again = true runs it once more'
                      ELSE 'its definition has changed since; again = true runs the new text' END;
    RETURN;
  END IF;
  SELECT string_agg(m.name || CASE WHEN m.run IS NULL THEN ''
                                   ELSE format(' (run %s has %s in quarantine)', m.run, migrate.counted(m.rejects, 'row')) END, ', '),
         min(m.run)
  INTO   needed, waiting
  FROM   migrate.missing(ARRAY(SELECT jsonb_array_elements_text(_plan -> 'needs'))) AS m;
  IF needed IS NOT NULL THEN
    PERFORM migrate.refuse(format('%s needs %s, not complete yet', named, needed),
      CASE WHEN waiting IS NULL THEN 'apply that first'
           ELSE format('SELECT * FROM migrate.rejects WHERE run = %s; mend them, then CALL migrate.drive_rejects(%s)', waiting, waiting) END);
  END IF;
  PERFORM migrate.check_order(_plan);
  PERFORM migrate.check_before(_plan);
  BEGIN
    run := migrate.start(_plan, _definition, 'procedure', _version, host(inet_client_addr()), _reason);
  EXCEPTION WHEN unique_violation THEN
    PERFORM migrate.refuse(format('a run of %s has begun in this moment', named), 'SELECT * FROM migrate.progress');
  END;
  epoch := 1;
  SELECT o.* INTO other FROM migrate.concurrent_runs(run) AS o LIMIT 1;
  IF other.run IS NOT NULL AND NOT _concurrent THEN
    PERFORM migrate.refuse(format('run %s of %s is unfinished and writes the same columns', other.run, other.name),
      CASE other.direction WHEN 'revert' THEN 'finish it: its revert.sql, where rows were changed since with on_conflict skip or force'
      ELSE 'wait for it, cancel it, or say concurrent = true: the two then meet row by row' END);
  END IF;
  PERFORM migrate.prepare(run);
END $$;
COMMENT ON FUNCTION migrate.enter IS 'Begins a run of a plan, or goes on with its unfinished one; NULLs when it is complete. Refuses what must not run.';

CREATE FUNCTION migrate.refuse_covered(_run bigint, _columns text[] DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  other migrate.runs;
BEGIN
  SELECT o.* INTO other FROM migrate.later_runs(_run, _columns) AS o LIMIT 1;
  IF other.run IS NOT NULL THEN
    PERFORM migrate.refuse(format('run %s of %s came later and wrote the same columns', other.run, other.name),
      format('first take back run %s', other.run));
  END IF;
END $$;
COMMENT ON FUNCTION migrate.refuse_covered IS 'Refuses to change rows of a run that another one lies over; with _columns, where it does in one of these.';

CREATE FUNCTION migrate.turn_back(_run bigint, _on_conflict text, _reason text, _client_host text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  state text;
BEGIN
  -- Its workers are gone: it stands at the edge of a batch.
  SELECT r.state INTO state FROM migrate.runs AS r WHERE r.run = _run;
  IF state IN ('running', 'holding') THEN
    PERFORM migrate.advance(_run, 'pause_requested');
  END IF;
  IF state IN ('running', 'holding', 'pausing', 'cancelling') THEN
    PERFORM migrate.advance(_run, 'batch_edge_reached');
  END IF;
  -- As in go_on.
  DELETE FROM migrate.asking AS k WHERE k.run = _run;
  PERFORM migrate.request(_run, 'revert', _reason, _client_host);
  PERFORM migrate.forget(_run);
  UPDATE migrate.runs AS r SET on_conflict = _on_conflict, revert_reason = coalesce(_reason, r.revert_reason) WHERE r.run = _run;
  -- A run that has begun, written and ended since the first look. From here on none of this name begins.
  PERFORM migrate.refuse_covered(_run);
END $$;
COMMENT ON FUNCTION migrate.turn_back IS 'Makes a run that is taken over revert; 23505 where a later one of its name is unfinished.';

CREATE FUNCTION migrate.enter_revert(
  _run bigint, _on_conflict text DEFAULT 'stop', _reason text DEFAULT NULL, OUT run bigint, OUT epoch integer
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  this  migrate.runs;
  named text;
BEGIN
  SELECT r.* INTO this FROM migrate.runs AS r WHERE r.run = _run;
  IF this.run IS NULL THEN
    PERFORM migrate.refuse(format('there is no run %s', _run), 'SELECT * FROM migrate.history');
  ELSIF (_on_conflict IN ('stop', 'skip', 'force')) IS NOT TRUE THEN
    PERFORM migrate.refuse(format('on_conflict is stop, skip or force, not %s', _on_conflict),
      'stop writes nothing when a row was changed since');
  ELSIF this.state = 'reverted' THEN
    PERFORM migrate.refuse(format('run %s is reverted already', _run), format('to apply %s anew: its apply.sql', this.name));
  ELSIF this.plan #>> '{steps,0,unavailable}' IS NOT NULL THEN
    PERFORM migrate.refuse(format('run %s cannot be reverted: %s', _run, this.plan #>> '{steps,0,unavailable}'),
      'a definition that computes the old values from the new ones');
  END IF;
  -- With nothing left to take back the revert itself may have dropped it.
  IF NOT migrate.has_undo(_run) AND EXISTS (SELECT FROM migrate.next_to_restore(_run)) THEN
    PERFORM migrate.refuse(format('run %s cannot be reverted: its undo was dropped', _run),
      'nothing has been touched; the old values are in a backup, if anywhere');
  END IF;
  PERFORM migrate.refuse_covered(_run);
  SELECT d INTO named FROM migrate.dependents(_run) AS d LIMIT 1;
  IF named IS NOT NULL THEN
    PERFORM migrate.refuse(format('%s needs %s and is applied', named, this.name), format('first take back %s', named));
  END IF;
  named := (SELECT string_agg(c, '; ') FROM migrate.changed_columns(_run) AS c);
  IF named IS NOT NULL THEN
    PERFORM migrate.refuse(format('the table has changed since run %s: %s', _run, named),
      'bring it back to what it was, then revert; nothing has been touched');
  END IF;
  PERFORM migrate.check_order(this.plan);
  epoch := migrate.seize(_run);
  run := _run;
  BEGIN
    PERFORM migrate.turn_back(_run, _on_conflict, _reason, NULL);
  EXCEPTION WHEN unique_violation THEN
    -- One that has begun in this moment is no later run yet: it has not written.
    PERFORM migrate.refuse(format('a later run of %s is unfinished', this.name), 'SELECT * FROM migrate.progress shows it; end it, or take it back first');
  END;
  named := migrate.brakes(_run);
  IF named IS NOT NULL THEN
    RAISE NOTICE 'the revert of run % %', _run, named;
  END IF;
END $$;
COMMENT ON FUNCTION migrate.enter_revert IS 'Makes a run revert and takes it over; refuses what cannot be taken back, before a row changes.';

CREATE FUNCTION migrate.summary(_run bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT format('run %s %s %s rows %s %s', p.run, p.state, p.rows_changed, p.rows_rejected,
                CASE WHEN p.direction = 'revert' THEN 'conflicts' ELSE 'rejects' END)
  FROM   migrate.progress AS p
  WHERE  p.run = _run
$$;
COMMENT ON FUNCTION migrate.summary IS 'A run in one line that greps.';
