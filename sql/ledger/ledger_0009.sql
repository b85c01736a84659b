-- From inside of the server: all that is left of a run, a transaction a batch.

CREATE FUNCTION migrate.lock_text(_run bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN migrate.may_lock(_run) THEN (migrate.statement(_run, 'batches', 'lock')).text
              ELSE (SELECT format('LOCK TABLE %s IN ACCESS SHARE MODE', string_agg(t.item ->> 'name', ', '))
                    FROM   migrate.runs AS r, jsonb_array_elements(r.plan -> 'tables') AS t(item)
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

CREATE FUNCTION migrate.raise_failure(
  _run bigint, _work migrate.work, _ended migrate.attempted, _class text, _culprits migrate.culprits
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'run % %: %', _run, CASE _class WHEN 'environment' THEN 'is paused' ELSE 'failed' END, _ended.message
  USING ERRCODE = coalesce(_ended.sqlstate, 'MG003'),
        DETAIL  = concat_ws(E'\n', nullif(_ended.detail, ''),
                    CASE _work.verb
                    WHEN 'batch'   THEN format('batch: behind key %s through %s', coalesce(_work.after_key::text, '(the beginning)'),
                                               coalesce(_ended.through_key::text, '(not known)'))
                    WHEN 'restore' THEN format('batch: %s, to be taken back', _work.ordinal)
                    WHEN 'bound'   THEN 'before the first batch'
                    ELSE 'after the last batch' END,
                    CASE WHEN cardinality(_culprits.keys) > 0
                    THEN format(CASE WHEN _culprits.are_all THEN 'rows at fault: %s' ELSE 'rows at fault: at least %s' END,
                                array_to_string(_culprits.keys, ', ')) END),
        HINT    = coalesce(nullif(_ended.hint, ''),
                           format('%s then run it again: it goes on at this batch',
                                  CASE _class WHEN 'environment' THEN 'no row is to blame: look at the server''s disk, memory and log;'
                                              ELSE 'mend it,' END));
END $$;
COMMENT ON FUNCTION migrate.raise_failure IS 'Ends a CALL by the error that has failed the run, or paused it.';

CREATE FUNCTION migrate.heed_all(
  _run bigint, _epoch integer, _work migrate.work, OUT again boolean, OUT state text, OUT message text, OUT hint text
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  again := false;
  IF EXISTS (SELECT FROM migrate.runs AS r WHERE r.run = _run AND r.plan ? 'expect') THEN
    message := migrate.heed(_run, 1, _epoch, _work.verb = 'finish');
    again := coalesce(message = '', false);
    IF message <> '' THEN
      state := 'MG004';
      hint := format('SELECT migrate.resume(%s) accepts it, and apply.sql goes on with it then; revert.sql takes it back', _run);
    END IF;
  END IF;
  IF message IS NULL AND _work.verb = 'batch' AND _work.canary IS FALSE THEN
    CASE migrate.heed_canary(_run, 1, _epoch)
    WHEN 'holds' THEN
      again := true;
    WHEN 'paused' THEN
      state := 'MG005';
      message := (SELECT r.failure ->> 'message' FROM migrate.runs AS r WHERE r.run = _run);
      hint := format('SELECT migrate.resume(%s), and apply.sql does the rest then; revert.sql takes it back', _run);
    ELSE
      NULL;
    END CASE;
  END IF;
END $$;
COMMENT ON FUNCTION migrate.heed_all IS 'Before a batch, and behind the last one: an error, by which the run is paused since it is not as expected or its canary is done; or again: something was asked of it, which is to be looked at first.';

CREATE PROCEDURE migrate.drive(_run bigint, _epoch integer)
LANGUAGE plpgsql AS $$
-- No SET clause and no SECURITY DEFINER: neither could commit. Between COMMIT and SET TRANSACTION stands nothing that reads,
-- not even an assignment, since that would take the snapshot; nor does it until the table is locked.
DECLARE
  work    migrate.work;
  before  migrate.work;
  ended   migrate.attempted;
  heeds   boolean := (SELECT r.plan ?| ARRAY['expect', 'canary'] FROM migrate.runs AS r WHERE r.run = _run);
  heeded  record;
  -- Who is waited for before the first batch, and how many of them were told.
  holders text[];
  told    integer;
  -- Why the run holds, and what was told of that.
  reason      text;
  reason_told text;
  -- By what the last attempt has failed.
  last_state text;
  -- Whether an attempt has changed other rows than it had captured, and whether that is not believed yet.
  differed boolean := false;
  doubted  boolean;
  size    integer;
  tries   integer := 0;
  -- Why the table could not be locked before the snapshot.
  lock_state   text;
  lock_message text;
  opens        boolean := false;
  looked_ahead boolean := false;
  -- By what the batch was refused as a whole; from then on the row at fault is looked for.
  refusal migrate.attempted;
  policy  text    := (SELECT r.plan ->> 'on_error' FROM migrate.runs AS r WHERE r.run = _run);
  class   text;
  culprits migrate.culprits;
  reached  text;
BEGIN
  BEGIN
    -- Always an error here; which one tells whether it is the caller's transaction that forbids it, or only this block.
    COMMIT;
  EXCEPTION WHEN invalid_transaction_termination THEN
    IF SQLERRM = 'invalid transaction termination' THEN
      RAISE EXCEPTION 'migrate.drive commits after each batch, so run it outside of a transaction'
      USING ERRCODE = 'invalid_transaction_termination',
            HINT = 'CALL it alone: without BEGIN, without psql -1, not in one message with other statements, not from a function';
    END IF;
  END;
  COMMIT;
  SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;
  PERFORM migrate.enlist(_run, 1, _epoch, NULL, 'procedure');
  LOOP
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;
    SET LOCAL search_path = pg_catalog, pg_temp;
    work := migrate.next_work(_run, _epoch);
    EXIT WHEN work.verb = 'end';
    IF work.verb = 'wait' THEN
      reason := (SELECT r.hold_reason FROM migrate.runs AS r WHERE r.run = _run);
      IF reason IS DISTINCT FROM reason_told AND reason IS NOT NULL THEN
        RAISE NOTICE 'run % holds: %', _run, reason USING HINT = migrate.hold_cure(_run, reason);
      END IF;
      reason_told := reason;
      PERFORM migrate.enlist(_run, 1, _epoch, NULL, 'procedure');
      COMMIT;
      PERFORM pg_catalog.pg_sleep(work.seconds);
      CONTINUE;
    END IF;
    IF work.verb IN ('batch', 'finish') AND heeds THEN
      heeded := migrate.heed_all(_run, _epoch, work);
      CONTINUE WHEN heeded.again;
      IF heeded.state IS NOT NULL THEN
        COMMIT;
        RAISE EXCEPTION 'run % is paused: %', _run, heeded.message USING ERRCODE = heeded.state, HINT = heeded.hint;
      END IF;
    END IF;
    IF (work.verb, work.slice, work.ordinal, work.seq) IS DISTINCT FROM (before.verb, before.slice, before.ordinal, before.seq) THEN
      tries := 0;
      last_state := NULL;
      differed := false;
      size := work.size;
      refusal := NULL;
    END IF;
    before := work;
    tries := tries + 1;
    ended := NULL;
    lock_state := NULL;
    doubted := false;
    IF work.verb IN ('batch', 'finish') AND NOT opens THEN
      PERFORM migrate.prepare_opening(_run);
      opens := true;
    END IF;

    IF work.verb = 'bound' THEN
      EXECUTE (migrate.statement(_run, 'batches', 'settings')).text;
      -- Only those of the first look: who came later is none of our concern, and there would always be somebody.
      holders := ARRAY(SELECT h FROM unnest(migrate.lockers(_run)) AS h WHERE holders IS NULL OR h = ANY (holders));
      IF cardinality(holders) > 0 THEN
        IF cardinality(holders) IS DISTINCT FROM told THEN
          told := cardinality(holders);
          RAISE NOTICE 'run % waits for % that may have written to the table: %', _run,
            CASE told WHEN 1 THEN 'a transaction' ELSE told || ' transactions' END,
            (SELECT string_agg(h.words, '; ') FROM migrate.holders(holders) AS h);
        END IF;
        PERFORM migrate.enlist(_run, 1, _epoch, NULL, 'procedure');
        PERFORM pg_sleep(0.05);
        CONTINUE;
      END IF;

    ELSIF work.verb = 'batch' THEN
      -- A snapshot costs nothing when nobody writes; from the second try the rows are locked first; from the third each
      -- statement sees what has been committed, which always ends; after six, fewer rows meet fewer writers.
      IF tries > 6 THEN
        size := greatest(1, size / 2);
      END IF;
      IF tries < 3 THEN
        CALL pg_temp.migrate_open(lock_state, lock_message);
      END IF;

    ELSIF work.verb = 'finish' THEN
      CALL pg_temp.migrate_open(lock_state, lock_message);
      SET TRANSACTION READ ONLY;
    END IF;
    IF work.verb IN ('bound', 'end revert') THEN
      PERFORM migrate.keep_fence(_run, _epoch);
    END IF;

    BEGIN
      SET LOCAL lock_timeout = '500ms';
      IF work.verb = 'end revert' THEN
        ended := migrate.end_revert(_run);
      ELSE
        -- A table that could not be locked can be another one by now, which this tells better.
        PERFORM migrate.guard_table(_run);
      END IF;
      IF lock_state IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = lock_state, MESSAGE = lock_message;
      END IF;
      IF work.verb = 'bound' THEN
        PERFORM migrate.fix_bounds(_run, _epoch);
        ended.verdict := 'done';
      END IF;
    EXCEPTION WHEN OTHERS OR ASSERT_FAILURE THEN
      GET STACKED DIAGNOSTICS ended.sqlstate = RETURNED_SQLSTATE, ended.message = MESSAGE_TEXT,
                              ended.detail = PG_EXCEPTION_DETAIL, ended.hint = PG_EXCEPTION_HINT,
                              ended.column_name = COLUMN_NAME, ended.constraint_name = CONSTRAINT_NAME;
      ended.verdict := 'error';
    END;

    IF ended.verdict IS NOT NULL THEN
      NULL;
    ELSIF work.verb = 'batch' THEN
      ended := migrate.attempt(_run, _epoch, work, size, tries > 1, refusal);
      -- Believed at the second time: no lock keeps a label from being renamed, or what a value is looked up in from being changed,
      -- and the next look at the table tells of the former.
      doubted := ended.verdict IN ('inexact', 'suppressed') AND NOT differed;
      differed := differed OR doubted;
      IF ended.verdict = 'inexact' AND tries < 3 AND NOT doubted THEN
        -- Under one snapshot no row can have come in between, and none would at the next try.
        ended.verdict := 'stopped';
        ended.message := 'the rows changed have other keys than the rows meant';
        ended.hint := 'a BEFORE trigger that writes a column of the key moves rows behind or before the batches that walk it';
      END IF;
      IF ended.verdict = 'done' AND ended.rows_rejected > 0 THEN
        ended.message := migrate.excess(_run);
        IF ended.message IS NOT NULL THEN
          COMMIT;
          ended.verdict := 'stopped';
          ended.hint := format('SELECT * FROM migrate.rejects lists them, SELECT migrate.tune(%s, _max_rejects => ''N'') allows more; '
                               'run again without that, it goes on to the end of the next batch that has one', _run);
        END IF;
      END IF;

    ELSIF work.verb = 'restore' THEN
      IF work.policy = 'stop' AND NOT looked_ahead THEN
        ended := migrate.look_ahead(_run, _epoch);
        looked_ahead := ended.verdict = 'done';
      END IF;
      IF ended.verdict IS NULL OR looked_ahead AND ended.verdict = 'done' THEN
        ended := migrate.attempt_restore(_run, _epoch, work);
      END IF;

    ELSIF work.verb = 'finish' THEN
      ended := migrate.look_back(_run, _epoch);
      IF ended.verdict = 'done' THEN
        COMMIT;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;
        PERFORM migrate.keep_fence(_run, _epoch);
        ended := migrate.complete(_run, ended.left_behind);
      END IF;
    END IF;

    CONTINUE WHEN ended.verdict = 'done';
    ROLLBACK;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;
    SET LOCAL search_path = pg_catalog, pg_temp;
    IF ended.verdict = 'taken over' THEN
      PERFORM migrate.taken_over(_run, _epoch);
    END IF;
    IF ended.verdict = 'outdated' THEN
      -- From now on each statement has its own snapshot.
      tries := greatest(2, tries - 1);
      CONTINUE;
    END IF;
    class := CASE ended.verdict
             WHEN 'inexact' THEN 'transient'
             WHEN 'stopped' THEN 'row'
             WHEN 'suppressed' THEN CASE WHEN doubted AND policy <> 'continue' THEN 'transient' ELSE 'row' END
             ELSE migrate.error_class(ended.sqlstate) END;
    -- A single row that meets an error again and again which is said to pass, and which nobody else's work explains: a trigger that
    -- asks a server which is gone, or a timeout that is too short for it.
    IF class = 'transient' AND work.verb = 'batch' AND size = 1 AND tries > 60
       AND ended.verdict = 'error' AND ended.sqlstate NOT IN ('40001', '40P01', '55P03') THEN
      class := 'environment';
    END IF;
    -- An array of the undo ends at a gigabyte: fewer rows fit, and a single one that does not is to blame itself.
    IF work.verb = 'batch' AND ended.sqlstate = '54000' AND size > 1 THEN
      size := size / 2;
      CONTINUE;
    END IF;
    IF class = 'transient'
       OR class = 'row' AND work.verb = 'batch' AND ended.verdict = 'error' AND policy = 'retry' AND tries < 10
       -- These can be the age of the snapshot: the row that is missing, or in the way, was committed since; so was what the
       -- statement does not find any more, and the next look at the table tells what has become of it.
       OR (ended.sqlstate IN ('23503', '23505') OR left(ended.sqlstate, 2) IN ('42', '0A')) AND ended.sqlstate IS DISTINCT FROM last_state THEN
      last_state := coalesce(ended.sqlstate, last_state);
      -- A function of a trigger, or of the definition, keeps the plans of its statements with the session, and is refused when a
      -- type in them has changed since.
      IF left(ended.sqlstate, 2) IN ('42', '0A') THEN
        DISCARD PLANS;
      END IF;
      PERFORM migrate.enlist(_run, 1, _epoch, NULL, 'procedure');
      COMMIT;
      PERFORM pg_catalog.pg_sleep(pg_catalog.random() * least(0.01 * 2 ^ least(tries, 7), 1));
      CONTINUE;
    END IF;
    IF class = 'row' AND work.verb = 'batch' AND ended.verdict IN ('error', 'suppressed') AND policy = 'continue'
       AND refusal.verdict IS NULL THEN
      refusal := ended;
      -- Nobody was in the way, so it need not guard itself better; but what a foreign key refers to is looked up in the
      -- transaction's snapshot, which gets old meanwhile.
      tries := CASE ended.sqlstate WHEN '23503' THEN greatest(2, tries - 1) ELSE tries - 1 END;
      CONTINUE;
    END IF;
    culprits := NULL;
    IF class = 'row' AND work.verb = 'batch' AND ended.verdict IN ('error', 'suppressed') THEN
      COMMIT;
      SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE;
      culprits := migrate.search_culprits(_run, _epoch, work, size);
      ROLLBACK;
      SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;
      SET LOCAL search_path = pg_catalog, pg_temp;
    END IF;
    -- Whoever was taken over says nothing about the run any more.
    PERFORM migrate.keep_fence(_run, _epoch);
    reached := migrate.fail(_run, CASE class WHEN 'environment' THEN 'pause_requested' ELSE 'batch_failed' END,
                            ended.sqlstate, ended.message, ended.detail, ended.hint, ended.column_name, ended.constraint_name,
                            work.after_key, ended.through_key, culprits.keys, culprits.are_all);
    IF class = 'environment' THEN
      reached := coalesce(migrate.advance(_run, 'batch_edge_reached'), reached);
    END IF;
    -- Somebody has asked for its end before.
    CONTINUE WHEN reached = 'cancelled';
    COMMIT;
    PERFORM migrate.raise_failure(_run, work, ended, class, culprits);
  END LOOP;
  COMMIT;
END $$;
COMMENT ON PROCEDURE migrate.drive IS 'Does what is left of a run, a transaction a batch; ends when it is complete, paused or cancelled, by an error when it fails or is taken over, or pauses by itself.';

REVOKE ALL ON ALL ROUTINES IN SCHEMA migrate FROM PUBLIC;
