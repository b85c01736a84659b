-- From inside of the server: all that is left of a run, a transaction a batch.

CREATE PROCEDURE migrate.refuse_block()
LANGUAGE plpgsql AS $$
BEGIN
  -- Always an error here; which one tells whether it is the caller's transaction that forbids it, or only this block.
  COMMIT;
EXCEPTION WHEN invalid_transaction_termination THEN
  IF SQLERRM = 'invalid transaction termination' THEN
    RAISE EXCEPTION 'migrate.drive commits after each batch, so run it outside of a transaction'
    USING ERRCODE = 'invalid_transaction_termination',
          HINT = 'CALL it alone: without BEGIN, without psql -1, not in one message with other statements, not from a function';
  END IF;
END $$;
COMMENT ON PROCEDURE migrate.refuse_block IS 'Refuses to be in a transaction that somebody else has begun.';

CREATE FUNCTION migrate.tell_hold(_run bigint, _told text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  reason text := (SELECT r.hold_reason FROM migrate.runs AS r WHERE r.run = _run);
BEGIN
  IF reason IS DISTINCT FROM _told AND reason IS NOT NULL THEN
    RAISE NOTICE 'run % holds: %', _run, reason USING HINT = migrate.hold_cure(_run, reason);
  END IF;
  RETURN reason;
END $$;
COMMENT ON FUNCTION migrate.tell_hold IS 'Tells why a run holds, unless that was told; what is told now.';

CREATE FUNCTION migrate.tell_holders(_run bigint, INOUT holders text[], INOUT told integer)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  EXECUTE (migrate.statement(_run, 'batches', 'settings')).text;
  -- Only those of the first look: who came later is none of our concern, and there would always be somebody.
  holders := ARRAY(SELECT h FROM unnest(migrate.lockers(_run)) AS h WHERE holders IS NULL OR h = ANY (holders));
  IF cardinality(holders) > 0 AND cardinality(holders) IS DISTINCT FROM told THEN
    told := cardinality(holders);
    RAISE NOTICE 'run % waits for % that may have written to the table: %', _run,
      CASE told WHEN 1 THEN 'a transaction' ELSE told || ' transactions' END,
      (SELECT string_agg(h.words, '; ') FROM migrate.holders(holders) AS h);
  END IF;
END $$;
COMMENT ON FUNCTION migrate.tell_holders IS 'Who is still waited for before the first batch, of those that were at the first look; told is of how many that was said.';

CREATE FUNCTION migrate.heed_all(
  _run bigint, _epoch integer, _work migrate.work, OUT again boolean, OUT state text, OUT message text, OUT hint text
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  again := false;
  IF EXISTS (SELECT FROM migrate.runs AS r WHERE r.run = _run AND r.outline ? 'expect') THEN
    message := migrate.heed(_run, 1, _epoch, _work.verb IN ('publish', 'finish'));
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

CREATE TYPE migrate.ladder AS (
  tries integer, size integer, refusal migrate.attempted, last_state text, differed boolean, doubted boolean, class text, next text
);
COMMENT ON TYPE migrate.ladder IS 'What the attempts at a batch have shown so far: how many there were, of how many rows the last one; by what the batch was refused as a whole, from when on the row at fault is looked for; by what the last one has failed; whether one has changed other rows than it had captured, and whether that is not believed yet; the class of its failure, and whether the next one comes at once, later, or (NULL) not at all.';

CREATE FUNCTION migrate.hold_table(
  _run bigint, _epoch integer, _work migrate.work, _lock_state text, _lock_message text
) RETURNS migrate.attempted
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  ended migrate.attempted;
BEGIN
  SET LOCAL lock_timeout = '500ms';
  IF _work.verb = 'end revert' THEN
    ended := migrate.end_revert(_run);
  ELSE
    -- A table that could not be locked can be another one by now, which this tells better.
    PERFORM migrate.guard_table(_run);
  END IF;
  IF _lock_state IS NOT NULL THEN
    RAISE EXCEPTION USING ERRCODE = _lock_state, MESSAGE = _lock_message;
  END IF;
  IF _work.verb = 'bound' THEN
    PERFORM migrate.fix_bounds(_run, _epoch);
    ended.verdict := 'done';
  END IF;
  RETURN ended;
EXCEPTION WHEN OTHERS OR ASSERT_FAILURE THEN
  GET STACKED DIAGNOSTICS ended.sqlstate = RETURNED_SQLSTATE, ended.message = MESSAGE_TEXT,
                          ended.detail = PG_EXCEPTION_DETAIL, ended.hint = PG_EXCEPTION_HINT,
                          ended.column_name = COLUMN_NAME, ended.constraint_name = CONSTRAINT_NAME;
  ended.verdict := 'error';
  RETURN ended;
END $$;
COMMENT ON FUNCTION migrate.hold_table IS 'What comes first in a transaction of a run: its table is kept as it is, or why that cannot be. What needs no more than that is done then; of all else the verdict is NULL.';

CREATE FUNCTION migrate.doubt(_ladder migrate.ladder, _ended migrate.attempted) RETURNS migrate.ladder
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  -- Believed at the second time: no lock keeps a label from being renamed, or what a value is looked up in from being changed,
  -- and the next look at the table tells of the former.
  _ladder.doubted := _ended.verdict IN ('inexact', 'suppressed') AND NOT _ladder.differed;
  _ladder.differed := _ladder.differed OR _ladder.doubted;
  RETURN _ladder;
END $$;
COMMENT ON FUNCTION migrate.doubt IS 'Whether an attempt at a batch has changed other rows than it had captured, for the first time.';

CREATE FUNCTION migrate.believe(_run bigint, _ended migrate.attempted, _ladder migrate.ladder) RETURNS migrate.attempted
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF _ended.verdict = 'inexact' AND _ladder.tries < 3 AND NOT _ladder.doubted THEN
    -- Under one snapshot no row can have come in between, and none would at the next try.
    _ended.verdict := 'stopped';
    _ended.message := 'the rows changed have other keys than the rows meant';
    _ended.hint := 'a BEFORE trigger that writes a column of the key moves rows behind or before the batches that walk it';
  ELSIF _ended.verdict = 'done' AND _ended.rows_rejected > 0 THEN
    _ended.message := migrate.excess(_run);
    IF _ended.message IS NOT NULL THEN
      _ended.verdict := 'too many rejects';
      _ended.hint := migrate.excess_cure(_run);
    END IF;
  END IF;
  RETURN _ended;
END $$;
COMMENT ON FUNCTION migrate.believe IS 'What an attempt at a batch comes to: it is stopped where a trigger moves rows, and has too many rejects where it is done and the run has.';

CREATE FUNCTION migrate.class_of(_ladder migrate.ladder, _work migrate.work, _policy text, _ended migrate.attempted) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE
         -- A single row that meets an error again and again which is said to pass, and which nobody else's work explains: a trigger
         -- that asks a server which is gone, or a timeout that is too short for it.
         WHEN c.class = 'transient' AND _work.verb = 'batch' AND _ladder.size = 1 AND _ladder.tries > 60
              AND _ended.verdict = 'error' AND _ended.sqlstate NOT IN ('40001', '40P01', '55P03') THEN 'environment'
         ELSE c.class END
  FROM  (SELECT CASE _ended.verdict
                WHEN 'inexact' THEN 'transient'
                WHEN 'stopped' THEN 'row'
                WHEN 'suppressed' THEN CASE WHEN _ladder.doubted AND _policy <> 'continue' THEN 'transient' ELSE 'row' END
                ELSE migrate.error_class(_ended.sqlstate) END AS class) AS c
$$;
COMMENT ON FUNCTION migrate.class_of IS 'What kind of failure an attempt has ended by, as migrate.error_class has them.';

CREATE FUNCTION migrate.climb(_ladder migrate.ladder, _work migrate.work, _policy text, _ended migrate.attempted) RETURNS migrate.ladder
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  is_batch boolean := _work.verb = 'batch';
BEGIN
  _ladder.next := NULL;
  IF _ended.verdict = 'outdated' THEN
    -- From now on each statement has its own snapshot.
    _ladder.tries := greatest(2, _ladder.tries - 1);
    _ladder.next := 'at once';
    RETURN _ladder;
  END IF;
  _ladder.class := migrate.class_of(_ladder, _work, _policy, _ended);
  -- An array of the undo ends at a gigabyte: fewer rows fit, and a single one that does not is to blame itself.
  IF is_batch AND _ended.sqlstate = '54000' AND _ladder.size > 1 THEN
    _ladder.size := _ladder.size / 2;
    _ladder.next := 'at once';
  ELSIF _ladder.class = 'transient'
     OR _ladder.class = 'row' AND is_batch AND _ended.verdict = 'error' AND _policy = 'retry' AND _ladder.tries < 10
     -- So can be what the statement does not find any more, and the next look at the table tells what has become of it.
     OR (migrate.is_of_snapshot(_ended.sqlstate) OR left(_ended.sqlstate, 2) IN ('42', '0A'))
        AND _ended.sqlstate IS DISTINCT FROM _ladder.last_state THEN
    _ladder.last_state := coalesce(_ended.sqlstate, _ladder.last_state);
    _ladder.next := 'later';
  ELSIF _ladder.class = 'row' AND is_batch AND _ended.verdict IN ('error', 'suppressed') AND _policy = 'continue'
        AND (_ladder.refusal).verdict IS NULL THEN
    _ladder.refusal := _ended;
    -- Nobody was in the way, so it need not guard itself better; but a snapshot gets old meanwhile.
    _ladder.tries := CASE WHEN migrate.is_of_snapshot(_ended.sqlstate) THEN greatest(2, _ladder.tries - 1) ELSE _ladder.tries - 1 END;
    _ladder.next := 'at once';
  END IF;
  RETURN _ladder;
END $$;
COMMENT ON FUNCTION migrate.climb IS 'Whether and how a run tries again after an attempt that has failed.';

CREATE PROCEDURE migrate.give_up(_run bigint, _epoch integer, _work migrate.work, _ladder migrate.ladder, _ended migrate.attempted)
LANGUAGE plpgsql AS $$
-- As in migrate.drive nothing that reads stands between COMMIT and SET TRANSACTION.
DECLARE
  culprits migrate.culprits;
  reached  text;
BEGIN
  IF _ladder.class = 'row' AND _work.verb = 'batch' AND _ended.verdict IN ('error', 'suppressed') THEN
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE;
    culprits := migrate.search_culprits(_run, _epoch, _work, _ladder.size);
    ROLLBACK;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;
    SET LOCAL search_path = pg_catalog, pg_temp;
  END IF;
  -- Whoever was taken over says nothing about the run any more.
  PERFORM migrate.keep_fence(_run, _epoch);
  reached := migrate.fail(_run, CASE _ladder.class WHEN 'environment' THEN 'pause_requested' ELSE 'batch_failed' END,
                          _ended.sqlstate, _ended.message, _ended.detail, _ended.hint, _ended.column_name, _ended.constraint_name,
                          _work.after_key, _ended.through_key, culprits.keys, culprits.are_all);
  IF _ladder.class = 'environment' THEN
    reached := coalesce(migrate.advance(_run, 'batch_edge_reached'), reached);
  END IF;
  -- Unless somebody has asked for its end before.
  IF reached IS DISTINCT FROM 'cancelled' THEN
    COMMIT;
    PERFORM migrate.raise_failure(_run, _work, _ended, _ladder.class, culprits);
  END IF;
END $$;
COMMENT ON PROCEDURE migrate.give_up IS 'Has a run fail, or pause where the server is to blame, after the last attempt at a batch; an error that says so, unless the run is cancelled.';

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
                    WHEN 'unfix'   THEN 'rows that were mended, to be taken back'
                    WHEN 'bound'   THEN 'before the first batch'
                    ELSE 'after the last batch' END,
                    CASE WHEN cardinality(_culprits.keys) > 0
                    THEN format(CASE WHEN _culprits.are_all THEN 'rows at fault: %s' ELSE 'rows at fault: at least %s' END,
                                array_to_string(_culprits.keys, ', ')) END),
        HINT    = coalesce(nullif(_ended.hint, ''),
                           format('%s then run it again: it goes on at this batch',
                                  CASE WHEN _class = 'environment' THEN 'no row is to blame: look at the server''s disk, memory and log;'
                                       -- One that was added NOT VALID, or since.
                                       WHEN _work.verb = 'restore' AND _ended.sqlstate LIKE '23%' AND _ended.constraint_name <> ''
                                       THEN format('constraint "%s" refuses what rows of that batch were before: drop it or mend what it asks for,',
                                                   _ended.constraint_name)
                                       ELSE 'mend it,' END));
END $$;
COMMENT ON FUNCTION migrate.raise_failure IS 'Ends a CALL by the error that has failed the run, or paused it.';

CREATE PROCEDURE migrate.drive(_run bigint, _epoch integer)
LANGUAGE plpgsql AS $$
-- No SET clause and no SECURITY DEFINER: neither could commit. Between COMMIT and SET TRANSACTION stands nothing that reads,
-- not even an assignment, since that would take the snapshot; nor does it until the table is locked.
DECLARE
  work    migrate.work;
  before  migrate.work;
  ended   migrate.attempted;
  ladder  migrate.ladder;
  policy  text    := (SELECT r.outline ->> 'on_error' FROM migrate.runs AS r WHERE r.run = _run);
  heeds   boolean := (SELECT r.outline ?| ARRAY['expect', 'canary'] FROM migrate.runs AS r WHERE r.run = _run);
  heeded  record;
  -- Who is waited for before the first batch, and how many of them were told.
  holders text[];
  told    integer;
  -- Why the run holds, as it was told.
  reason_told text;
  -- Why the table could not be locked before the snapshot.
  lock_state   text;
  lock_message text;
  opens        boolean := false;
  looked_ahead boolean := false;
BEGIN
  CALL migrate.refuse_block();
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
      reason_told := migrate.tell_hold(_run, reason_told);
      PERFORM migrate.enlist(_run, 1, _epoch, NULL, 'procedure');
      COMMIT;
      PERFORM pg_catalog.pg_sleep(work.seconds);
      CONTINUE;
    END IF;
    IF work.verb IN ('batch', 'publish', 'finish') AND heeds THEN
      heeded := migrate.heed_all(_run, _epoch, work);
      CONTINUE WHEN heeded.again;
      IF heeded.state IS NOT NULL THEN
        COMMIT;
        RAISE EXCEPTION 'run % is paused: %', _run, heeded.message USING ERRCODE = heeded.state, HINT = heeded.hint;
      END IF;
    END IF;
    IF (work.verb, work.slice, work.ordinal, work.seq) IS DISTINCT FROM (before.verb, before.slice, before.ordinal, before.seq) THEN
      ladder := (0, work.size, NULL, NULL, false, false, NULL, NULL)::migrate.ladder;
    END IF;
    before := work;
    ladder.tries := ladder.tries + 1;
    ladder.doubted := false;
    lock_state := NULL;
    IF work.verb IN ('batch', 'finish') AND NOT opens THEN
      PERFORM migrate.prepare_opening(_run);
      opens := true;
    END IF;

    IF work.verb = 'bound' THEN
      SELECT h.* INTO holders, told FROM migrate.tell_holders(_run, holders, told) AS h;
      IF cardinality(holders) > 0 THEN
        PERFORM migrate.enlist(_run, 1, _epoch, NULL, 'procedure');
        PERFORM pg_sleep(0.05);
        CONTINUE;
      END IF;
    ELSIF work.verb = 'batch' THEN
      -- A snapshot costs nothing when nobody writes; from the second try the rows are locked first; from the third each
      -- statement sees what has been committed, which always ends; after six, fewer rows meet fewer writers.
      IF ladder.tries > 6 THEN
        ladder.size := greatest(1, ladder.size / 2);
      END IF;
      IF ladder.tries < 3 THEN
        CALL pg_temp.migrate_open(lock_state, lock_message);
      END IF;
    ELSIF work.verb = 'finish' THEN
      CALL pg_temp.migrate_open(lock_state, lock_message);
      SET TRANSACTION READ ONLY;
    END IF;
    IF work.verb IN ('bound', 'unfix', 'end revert') THEN
      PERFORM migrate.keep_fence(_run, _epoch);
    END IF;

    ended := migrate.hold_table(_run, _epoch, work, lock_state, lock_message);
    IF ended.verdict IS NOT NULL THEN
      NULL;
    ELSIF work.verb = 'batch' THEN
      ended := migrate.attempt(_run, _epoch, work, ladder.size, ladder.tries > 1, ladder.refusal);
      ladder := migrate.doubt(ladder, ended);
      ended := migrate.believe(_run, ended, ladder);
      IF ended.verdict = 'too many rejects' THEN
        COMMIT;
        ended.verdict := 'stopped';
      END IF;
    ELSIF work.verb IN ('restore', 'unfix') THEN
      -- With no batch left to take back the undo may be gone.
      IF work.policy = 'stop' AND NOT looked_ahead AND work.seq IS NOT NULL THEN
        ended := migrate.look_ahead(_run, _epoch);
        looked_ahead := ended.verdict = 'done';
      END IF;
      IF ended.verdict IS NULL OR looked_ahead AND ended.verdict = 'done' THEN
        ended := CASE work.verb WHEN 'unfix' THEN migrate.attempt_unfix(_run, work.policy) ELSE migrate.attempt_restore(_run, _epoch, work) END;
      END IF;
    ELSIF work.verb = 'publish' THEN
      ended := migrate.attempt_publish(_run, _epoch, ladder.tries > 2);
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
    ladder := migrate.climb(ladder, work, policy, ended);
    CONTINUE WHEN ladder.next = 'at once';
    IF ladder.next = 'later' THEN
      -- A function of a trigger, or of the definition, keeps the plans of its statements with the session, and is refused when a
      -- type in them has changed since.
      IF left(ended.sqlstate, 2) IN ('42', '0A') THEN
        DISCARD PLANS;
      END IF;
      PERFORM migrate.enlist(_run, 1, _epoch, NULL, 'procedure');
      COMMIT;
      PERFORM pg_catalog.pg_sleep(pg_catalog.random() * least(0.01 * 2 ^ least(ladder.tries, 7), 1));
      CONTINUE;
    END IF;
    CALL migrate.give_up(_run, _epoch, work, ladder, ended);
  END LOOP;
  COMMIT;
END $$;
COMMENT ON PROCEDURE migrate.drive IS 'Does what is left of a run, a transaction a batch; ends when it is complete, paused or cancelled, by an error when it fails or is taken over, or pauses by itself.';

REVOKE ALL ON ALL ROUTINES IN SCHEMA migrate FROM PUBLIC;
