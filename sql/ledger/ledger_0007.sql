-- The second back end, besides its batches: what is taken back, where a run ends, and what follows its last batch.

-- No SET clause: its statements run with the settings of the plan, which the caller has made.
CREATE FUNCTION migrate.restore_batch(_run bigint, _epoch integer, _work migrate.work) RETURNS migrate.attempted
LANGUAGE plpgsql AS $$
DECLARE
  ended     migrate.attempted;
  given     jsonb := migrate.constants(_run, _epoch)
                     || jsonb_build_object('slice', _work.slice, 'ordinal', _work.ordinal, 'part', _work.part,
                                           'seq', _work.seq);
  statement migrate.statements := migrate.statement(_run, 'revert', 'mark');
  entry     json;
BEGIN
  IF migrate.execute(statement.text, migrate.arguments(statement.arguments, given)) = 0 THEN
    -- Another revert has done this batch while we waited at the mark.
    ended.verdict := 'inexact';
    ended.message := 'another revert has done this batch';
    RETURN ended;
  END IF;
  FOR statement IN
    SELECT s.*
    FROM   migrate.statements AS s
    WHERE  s.run = _run AND s.phase = 'revert'
      AND  s.name = ANY (ARRAY['hold', 'choose', 'heed children', 'heed parents', 'look', 'triggers off', 'restore rewritten', 'triggers on']
                         || CASE WHEN _work.policy = 'force' THEN ARRAY['seize', 'restore forced'] ELSE ARRAY['restore'] END)
    ORDER  BY s.ordinal
  LOOP
    PERFORM migrate.execute(statement.text, migrate.arguments(statement.arguments, given));
  END LOOP;
  SET CONSTRAINTS ALL IMMEDIATE;
  statement := migrate.statement(_run, 'revert', 'finish');
  SELECT q INTO entry FROM migrate.query(statement.text, migrate.arguments(statement.arguments, given)) AS q;
  ended.verdict := CASE WHEN entry IS NULL THEN 'taken over' ELSE 'done' END;
  IF _work.policy = 'stop' AND (entry ->> 'rows_rejected')::bigint > 0 THEN
    RETURN migrate.conflicting((entry ->> 'rows_rejected')::bigint);
  END IF;
  RETURN ended;
END $$;
COMMENT ON FUNCTION migrate.restore_batch IS 'Takes one batch back.';

CREATE FUNCTION migrate.attempt_restore(_run bigint, _epoch integer, _work migrate.work) RETURNS migrate.attempted
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  ended     migrate.attempted;
  next      migrate.batches;
  conflicts bigint;
  at_once   boolean := (SELECT r.published_at IS NOT NULL FROM migrate.runs AS r WHERE r.run = _run);
BEGIN
  EXECUTE (migrate.statement(_run, 'revert', 'settings')).text;
  PERFORM migrate.name_session(_run, _work.ordinal);
  LOOP
    ended := migrate.restore_batch(_run, _epoch, _work);
    EXIT WHEN ended.verdict <> 'done' OR NOT at_once;
    -- What was shown at once is taken back at once.
    SELECT * INTO next FROM migrate.next_to_restore(_run);
    IF migrate.mendings_due(_run, next.seq) THEN
      conflicts := migrate.unfix_due(_run, _work.policy);
      IF _work.policy = 'stop' AND conflicts > 0 THEN
        RETURN migrate.conflicting(conflicts);
      END IF;
    END IF;
    EXIT WHEN next.run IS NULL;
    _work.slice := next.slice;
    _work.ordinal := next.ordinal;
    _work.part := next.part;
    _work.seq := next.seq;
  END LOOP;
  IF ended.verdict = 'done' THEN
    PERFORM migrate.confirm(_run);
  END IF;
  RETURN ended;
EXCEPTION WHEN OTHERS OR ASSERT_FAILURE THEN
  GET STACKED DIAGNOSTICS ended.sqlstate = RETURNED_SQLSTATE, ended.message = MESSAGE_TEXT,
                          ended.detail = PG_EXCEPTION_DETAIL, ended.hint = PG_EXCEPTION_HINT,
                          ended.column_name = COLUMN_NAME, ended.constraint_name = CONSTRAINT_NAME;
  ended.verdict := 'error';
  RETURN ended;
END $$;
COMMENT ON FUNCTION migrate.attempt_restore IS 'One attempt to take a batch back, or all that was shown at once; whatever it answers but done must be rolled back.';

CREATE FUNCTION migrate.conflicting(_rows bigint) RETURNS migrate.attempted
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT ('stopped', NULL, NULL, migrate.counted(_rows, 'row was', 'rows were') || ' changed since', 'nothing of them is touched',
          'on_conflict skip restores the others, force all', NULL, NULL, NULL, NULL)::migrate.attempted
$$;
COMMENT ON FUNCTION migrate.conflicting IS 'A revert under stop has met rows that were changed since.';

CREATE FUNCTION migrate.look_ahead(_run bigint, _epoch integer) RETURNS migrate.attempted
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  ended     migrate.attempted;
  statement migrate.statements := migrate.statement(_run, 'revert', 'conflicts ahead');
  entry     json;
  conflicts bigint;
BEGIN
  EXECUTE (migrate.statement(_run, 'revert', 'settings')).text;
  SELECT q INTO entry
  FROM   migrate.query(statement.text, migrate.arguments(statement.arguments, migrate.constants(_run, _epoch))) AS q;
  conflicts := (entry ->> 'conflicts')::bigint + migrate.mended_ahead(_run);
  IF conflicts > 0 THEN
    RETURN migrate.conflicting(conflicts);
  END IF;
  ended.verdict := 'done';
  RETURN ended;
EXCEPTION WHEN OTHERS OR ASSERT_FAILURE THEN
  GET STACKED DIAGNOSTICS ended.sqlstate = RETURNED_SQLSTATE, ended.message = MESSAGE_TEXT,
                          ended.detail = PG_EXCEPTION_DETAIL, ended.hint = PG_EXCEPTION_HINT,
                          ended.column_name = COLUMN_NAME, ended.constraint_name = CONSTRAINT_NAME;
  ended.verdict := 'error';
  RETURN ended;
END $$;
COMMENT ON FUNCTION migrate.look_ahead IS 'Under stop a revert writes nothing when a row was changed since.';

CREATE FUNCTION migrate.lockers(_run bigint) RETURNS text[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN ARRAY(SELECT (migrate.fields(q))[1]
               FROM   migrate.query((migrate.statement(_run, 'bounds', 'lockers')).text, '{}') AS q);
END $$;
COMMENT ON FUNCTION migrate.lockers IS 'The transactions that hold a write lock on the source of a run.';

CREATE FUNCTION migrate.stage(_run bigint, _given jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  EXECUTE (migrate.statement(_run, 'batches', 'settings')).text;
  PERFORM migrate.execute(s.text, migrate.arguments(s.arguments, _given))
  FROM   (SELECT * FROM migrate.statements WHERE run = _run AND phase = 'bounds' AND name LIKE 'stage: %' ORDER BY ordinal) AS s;
END $$;
COMMENT ON FUNCTION migrate.stage IS 'Reads into tables what the batches of a run would read as a whole each time; anew where that has been done before.';

CREATE FUNCTION migrate.fix_bounds(_run bigint, _epoch integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  -- In a snapshot of its own, before the upper end: whoever is invisible to a batch is not older than this.
  horizon   xid8 := pg_snapshot_xmin(pg_current_snapshot());
  statement migrate.statements := migrate.statement(_run, 'bounds', 'upper');
  given     jsonb := migrate.constants(_run, _epoch);
  upper     text[];
  r         migrate.runs;
BEGIN
  SELECT * INTO r FROM migrate.runs WHERE run = _run;
  EXECUTE (migrate.statement(_run, 'batches', 'settings')).text;
  PERFORM migrate.execute(s.text, migrate.arguments(s.arguments, given))
  FROM   (SELECT * FROM migrate.statements WHERE run = _run AND phase = 'bounds' AND name = 'freeze' ORDER BY ordinal) AS s;
  upper := migrate.fields((SELECT q FROM migrate.query(statement.text, migrate.arguments(statement.arguments, given)) AS q));
  SELECT s.* INTO statement FROM migrate.statements AS s WHERE s.run = _run AND s.phase = 'bounds' AND s.name = 'collect';
  IF statement.run IS NOT NULL AND upper IS NOT NULL THEN
    given := migrate.with_key(given || jsonb_build_object('size', CASE WHEN r.outline ->> 'batch_size' = 'auto' THEN 1000 ELSE (r.outline ->> 'batch_size')::integer END), 'upper', upper, cardinality(upper));
    PERFORM migrate.execute(statement.text, migrate.arguments(statement.arguments, given));
  END IF;
  SELECT s.* INTO statement FROM migrate.statements AS s WHERE s.run = _run AND s.phase = 'bounds' AND s.name = 'slices';
  IF statement.run IS NOT NULL AND upper IS NOT NULL THEN
    PERFORM migrate.execute(statement.text, migrate.arguments(statement.arguments, migrate.with_key(given, 'upper', upper, cardinality(upper))));
  END IF;
  PERFORM migrate.stage(_run, given);
  PERFORM migrate.bound(_run, upper, horizon);
END $$;
COMMENT ON FUNCTION migrate.fix_bounds IS 'Fixes where a run ends, and collects its keys where the plan says so.';

CREATE FUNCTION migrate.warn_uncounted(_message text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE WARNING 'rows that came in behind the batches cannot be counted: %', _message
  USING HINT = 'the run has done all others; mend them and apply it once more';
END $$;
COMMENT ON FUNCTION migrate.warn_uncounted IS 'Of a row that came in behind the batches it cannot be told what it would become, so none of them is counted.';

CREATE FUNCTION migrate.look_back(_run bigint, _epoch integer) RETURNS migrate.attempted
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  ended     migrate.attempted;
  statement migrate.statements;
  given     jsonb := migrate.final_values(_run, _epoch);
  found     json[];
BEGIN
  -- Who has committed the last of them may not have come to ask.
  ended.message := migrate.excess(_run);
  IF ended.message IS NOT NULL THEN
    ended.verdict := 'stopped';
    ended.hint := migrate.excess_cure(_run);
    RETURN ended;
  END IF;
  EXECUTE (migrate.statement(_run, 'batches', 'settings')).text;
  FOR statement IN
    SELECT s.* FROM migrate.statements AS s WHERE s.run = _run AND s.phase = 'finish' AND s.name <> 'drop keys' ORDER BY s.ordinal
  LOOP
    IF statement.name = 'left behind' THEN
      BEGIN
        found := ARRAY(SELECT q FROM migrate.query(statement.text, migrate.arguments(statement.arguments, given)) AS q);
        ended.left_behind := (migrate.fields(found[1]))[1]::bigint;
      EXCEPTION WHEN OTHERS OR ASSERT_FAILURE THEN
        IF migrate.error_class(SQLSTATE) <> 'row' THEN
          RAISE;
        END IF;
        PERFORM migrate.warn_uncounted(SQLERRM);
      END;
      CONTINUE;
    END IF;
    found := ARRAY(SELECT q FROM migrate.query(statement.text, migrate.arguments(statement.arguments, given)) AS q);
    IF cardinality(found) > 0 THEN
      RETURN migrate.stopped(statement.name, found, NULL);
    END IF;
  END LOOP;
  ended.verdict := 'done';
  RETURN ended;
EXCEPTION WHEN OTHERS OR ASSERT_FAILURE THEN
  GET STACKED DIAGNOSTICS ended.sqlstate = RETURNED_SQLSTATE, ended.message = MESSAGE_TEXT,
                          ended.detail = PG_EXCEPTION_DETAIL, ended.hint = PG_EXCEPTION_HINT,
                          ended.column_name = COLUMN_NAME, ended.constraint_name = CONSTRAINT_NAME;
  ended.verdict := 'error';
  RETURN ended;
END $$;
COMMENT ON FUNCTION migrate.look_back IS 'After the last batch: the rows left behind, and the checks that hold for the whole.';

CREATE FUNCTION migrate.complete(_run bigint, _left_behind bigint) RETURNS migrate.attempted
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  ended migrate.attempted;
BEGIN
  UPDATE migrate.runs SET left_behind = _left_behind WHERE run = _run;
  -- Who reads the collected keys is waited for, not for ever: nobody can take the run over meanwhile.
  SET LOCAL lock_timeout = '5s';
  PERFORM migrate.execute(s.text, '{}')
  FROM    migrate.statements AS s
  WHERE   s.run = _run AND s.phase = 'finish' AND s.name = 'drop keys'
    AND   NOT EXISTS (SELECT FROM migrate.rejects AS q WHERE q.run = _run AND q.state = 'open');
  PERFORM migrate.advance(_run, 'last_batch_committed');
  ended.verdict := 'done';
  RETURN ended;
EXCEPTION WHEN OTHERS OR ASSERT_FAILURE THEN
  GET STACKED DIAGNOSTICS ended.sqlstate = RETURNED_SQLSTATE, ended.message = MESSAGE_TEXT,
                          ended.detail = PG_EXCEPTION_DETAIL, ended.hint = PG_EXCEPTION_HINT;
  ended.verdict := 'error';
  RETURN ended;
END $$;
COMMENT ON FUNCTION migrate.complete IS 'Ends a run that has done its last batch and looked back; whatever it answers but done must be rolled back.';

CREATE FUNCTION migrate.attempt_unfix(_run bigint, _policy text) RETURNS migrate.attempted
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  ended     migrate.attempted;
  conflicts bigint;
BEGIN
  conflicts := migrate.unfix_due(_run, _policy);
  IF _policy = 'stop' AND conflicts > 0 THEN
    RETURN migrate.conflicting(conflicts);
  END IF;
  ended.verdict := 'done';
  RETURN ended;
EXCEPTION WHEN OTHERS OR ASSERT_FAILURE THEN
  GET STACKED DIAGNOSTICS ended.sqlstate = RETURNED_SQLSTATE, ended.message = MESSAGE_TEXT,
                          ended.detail = PG_EXCEPTION_DETAIL, ended.hint = PG_EXCEPTION_HINT,
                          ended.column_name = COLUMN_NAME, ended.constraint_name = CONSTRAINT_NAME;
  ended.verdict := 'error';
  RETURN ended;
END $$;
COMMENT ON FUNCTION migrate.attempt_unfix IS 'One attempt to take back what was mended behind the next batch; whatever it answers but done must be rolled back.';

CREATE FUNCTION migrate.end_revert(_run bigint) RETURNS migrate.attempted
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  ended migrate.attempted;
BEGIN
  -- Nothing is in conflict, so nobody needs the old values any more. Dropped before a crash, or locked by a reader: the rows
  -- are back either way.
  IF NOT EXISTS (SELECT FROM migrate.batches AS b WHERE b.run = _run AND b.kind = 'revert' AND b.rows_rejected > 0) THEN
    BEGIN
      SET LOCAL lock_timeout = '5s';
      EXECUTE (migrate.statement(_run, 'revert', 'drop undo')).text;
    EXCEPTION WHEN OTHERS THEN
      NULL;
    END;
  END IF;
  PERFORM migrate.advance(_run, 'last_batch_restored');
  ended.verdict := 'done';
  RETURN ended;
EXCEPTION WHEN OTHERS OR ASSERT_FAILURE THEN
  GET STACKED DIAGNOSTICS ended.sqlstate = RETURNED_SQLSTATE, ended.message = MESSAGE_TEXT,
                          ended.detail = PG_EXCEPTION_DETAIL, ended.hint = PG_EXCEPTION_HINT,
                          ended.column_name = COLUMN_NAME, ended.constraint_name = CONSTRAINT_NAME;
  ended.verdict := 'error';
  RETURN ended;
END $$;
COMMENT ON FUNCTION migrate.end_revert IS 'Ends a revert that has taken back every batch; whatever it answers but done must be rolled back.';
