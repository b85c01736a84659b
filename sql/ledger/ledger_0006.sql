-- The second back end: a run inside of the server, by the very statements that a client would send.
-- Errors of its own have SQLSTATEs of class MG: MG001 taken over, MG002 refused, MG003 a check or a trigger stopped it,
-- MG004 not as expected, MG005 the canary is done, MG006 (never seen outside) takes back a row that was tried.

CREATE FUNCTION migrate.error_class(_sqlstate text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  -- Source: PostgreSQL manual, appendix A. Codes that begin with 0 to 4 or A to H are the standard's, 54 and 55 are
  -- PostgreSQL's; all others were chosen by whoever wrote RAISE ... USING ERRCODE, usually in a trigger that refuses a row.
  SELECT CASE
    WHEN _sqlstate IN ('57014', '55P03', '57P03', '57P05', '25P03', '72000') THEN 'transient'
    WHEN _sqlstate IN ('25006', '3D000')                                     THEN 'environment'
    WHEN _sqlstate = '54000'                                                 THEN 'row'
    -- The ledger's own.
    WHEN left(_sqlstate, 2) = 'MG'                                           THEN 'definition'
    WHEN left(_sqlstate, 2) IN ('08', '40')                                  THEN 'transient'
    WHEN left(_sqlstate, 2) IN ('20', '21', '22', '23', '27', '2F', '38', '39', '44', 'P0') THEN 'row'
    WHEN left(_sqlstate, 2) IN ('28', '53', '57', '58', 'F0', 'HV', 'XX')    THEN 'environment'
    WHEN left(_sqlstate, 2) IN ('54', '55') OR _sqlstate ~ '^[0-4A-H]'       THEN 'definition'
    ELSE 'row' END
$$;
COMMENT ON FUNCTION migrate.error_class IS 'What an error asks for: transient (try again), row, environment (pause), definition.';

CREATE FUNCTION migrate.is_of_snapshot(_sqlstate text) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  -- What a foreign key refers to is looked up in the transaction's snapshot, and may have come since; what is in the way of a unique
  -- value may have come since, too, and a definition that looks for it would leave the row out.
  SELECT coalesce(_sqlstate IN ('23503', '23505'), false)
$$;
COMMENT ON FUNCTION migrate.is_of_snapshot IS 'Whether an error can be the age of the snapshot, so that it is believed in a newer one only.';

-- Statements and their values -------------------------------------------------------------------------------------------

CREATE FUNCTION migrate.arguments(_roles text[], _values jsonb) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  unknown text;
BEGIN
  SELECT r.role INTO unknown FROM unnest(_roles) AS r(role) WHERE NOT _values ? r.role LIMIT 1;
  IF unknown IS NOT NULL THEN
    RAISE EXCEPTION 'a statement asks for %, which nobody gave', unknown USING ERRCODE = 'MG002';
  END IF;
  RETURN ARRAY(SELECT _values ->> r.role FROM unnest(_roles) WITH ORDINALITY AS r(role, place) ORDER BY r.place);
END $$;
COMMENT ON FUNCTION migrate.arguments IS 'The values of $1 ... $n, found by their roles.';

CREATE FUNCTION migrate.with_key(_values jsonb, _role text, _key text[], _columns integer) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT _values || jsonb_build_object(_role, _key::text, _role || '.none', _key IS NULL) || jsonb_object_agg(_role || '.' || n, _key[n])
  FROM   generate_series(1, _columns) AS n
$$;
COMMENT ON FUNCTION migrate.with_key IS 'The values with a key under role.1, role.2, ... and whole under role; role.none tells that there is none.';

CREATE FUNCTION migrate.constants(_run bigint, _epoch integer) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT jsonb_build_object('run', r.run, 'epoch', _epoch, 'worker', 1, 'slice', 0, 'part', 0, 'canary', NULL, 'snapshot', true, 'written', NULL,
                            ':run_id', r.run, ':started_at', to_json(r.started_at) #>> '{}',
                            'since', to_json(r.since) #>> '{}', 'since.none', r.since IS NULL)
         || coalesce((SELECT jsonb_object_agg(':' || p.key, p.value -> 'value') FROM jsonb_each(r.parameters) AS p), '{}')
  FROM   migrate.runs AS r
  WHERE  r.run = _run
$$;
COMMENT ON FUNCTION migrate.constants IS 'The values that hold for every statement of a run, by role.';

CREATE FUNCTION migrate.final_values(_run bigint, _epoch integer) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT migrate.with_key(migrate.constants(_run, _epoch), 'upper', r.upper_key, jsonb_array_length(r.outline -> 'key'))
         || jsonb_build_object('others', v.others, 'horizon', v.horizon::text, 'transactions', v.transactions::text)
  FROM   migrate.runs AS r,
         migrate.versions_since(_run) AS v
  WHERE  r.run = _run
$$;
COMMENT ON FUNCTION migrate.final_values IS 'The values for statements that look at a run as a whole.';

-- These two have no SET clause: the statement runs with the settings of the plan, which the caller has made. They name
-- nothing that a search_path could lead astray.
CREATE FUNCTION migrate.execute(_text text, a text[]) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
  affected bigint;
BEGIN
  EXECUTE _text
  USING   a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15], a[16],
          a[17], a[18], a[19], a[20], a[21], a[22], a[23], a[24], a[25], a[26], a[27], a[28], a[29], a[30], a[31], a[32];
  GET DIAGNOSTICS affected = ROW_COUNT;
  RETURN affected;
END $$;
COMMENT ON FUNCTION migrate.execute IS 'Runs a statement of a plan, byte for byte; the number of rows that it wrote.';

CREATE FUNCTION migrate.query(_text text, a text[]) RETURNS SETOF json
LANGUAGE plpgsql AS $$
DECLARE
  found record;
BEGIN
  FOR found IN EXECUTE _text
  USING   a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15], a[16],
          a[17], a[18], a[19], a[20], a[21], a[22], a[23], a[24], a[25], a[26], a[27], a[28], a[29], a[30], a[31], a[32]
  LOOP
    RETURN NEXT pg_catalog.to_json(found);
  END LOOP;
END $$;
COMMENT ON FUNCTION migrate.query IS 'Runs a statement of a plan, byte for byte; its rows, the columns in their order.';

CREATE FUNCTION migrate.fields(_row json) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT array_agg(f.value ORDER BY f.place) FROM json_each_text(_row) WITH ORDINALITY AS f(name, value, place)
$$;
COMMENT ON FUNCTION migrate.fields IS 'The columns of a row as texts; NULL when there is no row.';

CREATE FUNCTION migrate.statement(_run bigint, _phase text, _name text) RETURNS migrate.statements
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  found migrate.statements;
BEGIN
  SELECT s.* INTO found FROM migrate.statements AS s WHERE s.run = _run AND s.phase = _phase AND s.name = _name;
  IF found.run IS NULL THEN
    RAISE EXCEPTION 'run % has no statement % in phase %', _run, _name, _phase
    USING ERRCODE = 'MG002', HINT = 'its plan was made by another version of migrate';
  END IF;
  RETURN found;
END $$;
COMMENT ON FUNCTION migrate.statement IS 'A statement of a run.';

-- The work ----------------------------------------------------------------------------------------------------------------

CREATE TYPE migrate.work AS (
  verb text, direction text, policy text, size integer, slice integer, ordinal integer, part integer, seq bigint,
  after_key text[], upper_key text[], seconds float8, canary boolean
);
COMMENT ON TYPE migrate.work IS 'What a run needs next: bound, batch, publish, finish, restore, unfix, end revert, wait for so many seconds, or end.';

CREATE FUNCTION migrate.next_work(_run bigint, _epoch integer) RETURNS migrate.work
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  work  migrate.work;
  state text;
  now   integer;
  is_bounded boolean;
  last  migrate.batches;
  size  text;
  throttle jsonb;
  tuned jsonb;
BEGIN
  SELECT r.state, f.epoch, r.direction, r.on_conflict, r.outline ->> 'batch_size', r.upper_key, r.bounded_at IS NOT NULL,
         r.outline -> 'throttle', to_jsonb(t)
  INTO   state, now, work.direction, work.policy, size, work.upper_key, is_bounded, throttle, tuned
  FROM   migrate.runs AS r
  JOIN   migrate.fence AS f USING (run)
  LEFT   JOIN migrate.tuning AS t USING (run)
  WHERE  r.run = _run;
  IF now IS DISTINCT FROM _epoch THEN
    PERFORM migrate.taken_over(_run, _epoch);
  END IF;
  IF state IN ('pausing', 'cancelling') THEN
    PERFORM migrate.keep_fence(_run, _epoch);
    PERFORM migrate.advance(_run, 'batch_edge_reached');
  END IF;
  IF state IN ('running', 'reverting', 'holding')
     AND EXISTS (SELECT FROM migrate.statements AS s WHERE s.run = _run AND s.phase = 'holds') THEN
    state := migrate.ask_holds(_run, _epoch);
  END IF;
  IF state = 'holding' THEN
    work.verb := 'wait';
    work.seconds := 1;
  ELSIF state NOT IN ('running', 'reverting') THEN
    work.verb := 'end';
  ELSIF work.direction = 'revert' THEN
    SELECT * INTO last FROM migrate.next_to_restore(_run);
    work.verb := CASE WHEN migrate.mendings_due(_run, last.seq) THEN 'unfix' WHEN last.run IS NULL THEN 'end revert' ELSE 'restore' END;
    work.slice := last.slice;
    work.ordinal := last.ordinal;
    work.part := last.part;
    work.seq := last.seq;
  ELSIF NOT is_bounded THEN
    work.verb := 'bound';
  ELSE
    -- One slice after the other: a CALL is one worker.
    SELECT 'batch', o.slice, o.ordinal + 1, o.after_key, o.through_key, o.canary
    INTO   work.verb, work.slice, work.ordinal, work.after_key, work.upper_key, work.canary
    FROM   migrate.open_slices(_run) AS o
    LIMIT  1;
    work.verb := coalesce(work.verb, CASE WHEN migrate.is_unpublished(_run) THEN 'publish' ELSE 'finish' END);
    work.size := migrate.size_of(_run, work.slice, coalesce(tuned ->> 'batch_size', size), (throttle ->> 'target_batch_time')::interval);
  END IF;
  IF work.verb IN ('batch', 'restore') AND (tuned IS NOT NULL OR throttle ?| ARRAY['pause', 'nice_ratio', 'max_rate']) THEN
    SELECT b.* INTO last FROM migrate.batches AS b WHERE b.run = _run AND b.kind = work.direction ORDER BY b.seq DESC LIMIT 1;
    -- Its parts forward have begun and ended together.
    IF work.direction = 'apply' THEN
      last.rows_read := (SELECT sum(b.rows_read)
                         FROM   migrate.batches AS b
                         WHERE  (b.run, b.kind, b.slice, b.ordinal) = (_run, 'apply', last.slice, last.ordinal));
    END IF;
    work.seconds := migrate.rest(last, coalesce((tuned ->> 'pause')::interval, (throttle ->> 'pause')::interval), (throttle ->> 'nice_ratio')::float8,
                                 coalesce((tuned ->> 'max_rate')::bigint, (throttle ->> 'max_rate')::bigint));
    IF work.seconds > 0 THEN
      -- Not longer, so that what is asked of the run meanwhile is heard.
      work.seconds := least(work.seconds, 1);
      work.verb := 'wait';
    END IF;
  END IF;
  RETURN work;
END $$;
COMMENT ON FUNCTION migrate.next_work IS 'What a run needs next, read from the ledger; reaches the edge for who asked for it.';

CREATE FUNCTION migrate.taken_over(_run bigint, _epoch integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'run % was taken over by somebody else: this worker belongs to epoch %', _run, _epoch
  USING ERRCODE = 'MG001', HINT = format('SELECT * FROM migrate.progress WHERE run = %s', _run);
END $$;
COMMENT ON FUNCTION migrate.taken_over IS 'Says that somebody else works on a run now.';

CREATE FUNCTION migrate.keep_fence(_run bigint, _epoch integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM migrate.fence AS f WHERE f.run = _run AND f.epoch = _epoch FOR SHARE) THEN
    PERFORM migrate.taken_over(_run, _epoch);
  END IF;
END $$;
COMMENT ON FUNCTION migrate.keep_fence IS 'Keeps others from taking a run over until the transaction ends; an error where somebody else works on it now.';

CREATE FUNCTION migrate.may_move(_run bigint, _epoch integer) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  -- Whoever was taken over has no say, and what was asked of the run comes first.
  RETURN EXISTS (SELECT FROM migrate.fence AS f WHERE f.run = _run AND f.epoch = _epoch FOR SHARE)
     AND EXISTS (SELECT FROM migrate.runs  AS r WHERE r.run = _run AND r.state IN ('running', 'holding') FOR NO KEY UPDATE);
END $$;
COMMENT ON FUNCTION migrate.may_move IS 'Whether a worker may make a run that goes on pause or hold; then nobody else moves it until the transaction ends.';

CREATE TYPE migrate.attempted AS (
  verdict text, through_key text[], sqlstate text, message text, detail text, hint text,
  column_name text, constraint_name text, left_behind bigint, rows_rejected bigint
);
COMMENT ON TYPE migrate.attempted IS 'How an attempt ended: done, inexact, error, stopped (by a check or conflicts), suppressed (by a trigger), refused (a row of it), outdated (its snapshot), too many rejects (it is done), or taken over.';

CREATE TYPE migrate.culprits AS (keys text[], are_all boolean);
COMMENT ON TYPE migrate.culprits IS 'Rows at fault by their keys, each an array''s text, and whether the batch has no others.';

CREATE FUNCTION migrate.stopped(_check text, _rows json[], _through text[]) RETURNS migrate.attempted
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT ('stopped', _through, NULL, _check || ' found rows',
          (SELECT string_agg((migrate.fields(r.found))[1], E'\n' ORDER BY r.place)
           FROM   unnest(_rows) WITH ORDINALITY AS r(found, place)),
          'a check must return no row', NULL, NULL, NULL, NULL)::migrate.attempted
$$;
COMMENT ON FUNCTION migrate.stopped IS 'A check has found rows.';

CREATE FUNCTION migrate.perform(
  _run bigint, _given jsonb, _through text[], _locked boolean, _bound_by_capture boolean, _foresees boolean
) RETURNS migrate.attempted
LANGUAGE plpgsql AS $$
DECLARE
  ended     migrate.attempted;
  given     jsonb := migrate.with_key(_given, 'through', _through, cardinality(_through))
                     || jsonb_build_object('written', NULL,
                                           'snapshot', current_setting('transaction_isolation') = 'repeatable read');
  written   bigint[];
  statement migrate.statements;
  found     json[];
  entry     json;
  captured  boolean := false;
  leaves    boolean := false;
BEGIN
  ended.through_key := _through;
  FOR statement IN
    SELECT s.* FROM migrate.statements AS s WHERE s.run = _run AND s.phase = 'batches' ORDER BY s.ordinal
  LOOP
    CASE
    -- Of the two ways to capture the attempt takes one, and of the two ways to change, by what the capture said.
    WHEN statement.name IN ('settings', 'lock', 'bound', 'middle', 'keys', 'images', 'reject', 'previous',
                            CASE WHEN _locked THEN 'capture' ELSE 'capture locked' END,
                            CASE WHEN captured THEN 'change' ELSE 'change as captured' END,
                            -- Nobody asks for reasons where no row breaks a rule.
                            CASE WHEN NOT leaves THEN 'validate' END) THEN
      NULL;
    -- Of several writes only the capture of the batch answers, and the others only where there are rules.
    WHEN statement.name = 'capture' AND statement.text LIKE '%AS as_captured%'
         OR statement.name IN ('capture locked', 'change') AND statement.text LIKE '%AS leaves_out' THEN
      SELECT q INTO entry FROM migrate.query(statement.text, migrate.arguments(statement.arguments, given)) AS q;
      captured := _foresees AND coalesce((entry ->> 'as_captured')::boolean, false);
      leaves := coalesce((entry ->> 'leaves_out')::boolean, false);
      IF _bound_by_capture AND entry ->> 'through_1' IS NOT NULL THEN
        ended.through_key := (migrate.fields(entry))[2:];
        given := migrate.with_key(given, 'through', ended.through_key, cardinality(_through));
      END IF;
    WHEN statement.name = 'change as captured' THEN
      given := given || jsonb_build_object('changed',
        migrate.execute(statement.text, migrate.arguments(statement.arguments, given)));
    WHEN statement.name = 'change' AND statement.step IS NOT NULL THEN
      written[statement.step] := migrate.execute(statement.text, migrate.arguments(statement.arguments, given));
      given := given || jsonb_build_object('written', written::text);
    WHEN statement.name LIKE 'check: %' THEN
      found := ARRAY(SELECT q FROM migrate.query(statement.text, migrate.arguments(statement.arguments, given)) AS q);
      IF cardinality(found) > 0 THEN
        RETURN migrate.stopped(statement.name, found, ended.through_key);
      END IF;
    WHEN statement.name = 'finish' THEN
      -- A row of quarantine that is tried again is shown at once, too.
      IF (given ->> 'slice')::integer = -1 THEN
        PERFORM migrate.show(_run, given);
      END IF;
      -- What is deferred would fail at COMMIT, where nobody can catch it.
      SET CONSTRAINTS ALL IMMEDIATE;
      SELECT q INTO entry FROM migrate.query(statement.text, migrate.arguments(statement.arguments, given)) AS q;
      ended.rows_rejected := coalesce((entry ->> 'rows_rejected')::bigint, 0);
      ended.verdict := CASE
        WHEN entry IS NULL THEN 'taken over'
        WHEN (entry ->> 'exact')::boolean THEN 'done'
        WHEN (entry ->> 'rows_changed')::bigint < (entry ->> 'rows_captured')::bigint THEN 'suppressed'
        ELSE 'inexact' END;
      IF ended.verdict = 'suppressed' THEN
        ended.message := format('a trigger kept %s of %s rows from being changed',
          (entry ->> 'rows_captured')::bigint - (entry ->> 'rows_changed')::bigint, entry ->> 'rows_captured');
        ended.hint := 'a BEFORE trigger that returns NULL leaves the row out without an error';
      ELSIF ended.verdict = 'inexact' THEN
        ended.message := 'rows came in between';
      END IF;
      RETURN ended;
    ELSE
      PERFORM migrate.execute(statement.text, migrate.arguments(statement.arguments, given));
    END CASE;
  END LOOP;
  RAISE EXCEPTION 'run % has no statement finish', _run USING ERRCODE = 'MG002';
END $$;
COMMENT ON FUNCTION migrate.perform IS 'The statements of a batch, or of a part of one, from the capture to the ledger''s entry. _bound_by_capture: it ends where the capture says, and not before _through.';

CREATE FUNCTION migrate.name_session(_run bigint, _ordinal integer) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  -- Behind it stands what the session is called otherwise; at a second try it has this name already.
  SELECT set_config('application_name',
                    format('migrate run %s batch %s%s', _run, _ordinal, ' (' || nullif(s.name, '') || ')'), true)
  FROM   current_setting('application_name') AS s(name)
  WHERE  s.name NOT LIKE 'migrate run %'
$$;
COMMENT ON FUNCTION migrate.name_session IS 'Lets pg_stat_activity show which batch a CALL is at, until its transaction ends.';

CREATE FUNCTION migrate.foresees(_run bigint) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  -- Who may not lock the table as a writer cannot keep a trigger from coming behind the capture, so what the rows became is
  -- asked of the change; without undo nobody asks.
  RETURN (SELECT r.outline #>> '{steps,0,unavailable}' IS NOT NULL OR migrate.may_lock(_run)
          FROM   migrate.runs AS r
          WHERE  r.run = _run);
END $$;
COMMENT ON FUNCTION migrate.foresees IS 'Whether a batch may take for what its rows became what its capture has foreseen.';

CREATE FUNCTION migrate.attempt(
  _run bigint, _epoch integer, _work migrate.work, _size integer, _locked boolean, _refusal migrate.attempted
) RETURNS migrate.attempted
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  ended     migrate.attempted;
  given     jsonb := migrate.constants(_run, _epoch)
                     || jsonb_build_object('slice', _work.slice, 'ordinal', _work.ordinal, 'size', _size,
                                           'changed', NULL, 'eligible', NULL, 'canary', _work.canary);
  columns   integer := cardinality(_work.upper_key);
  statement migrate.statements;
  foresees  boolean := migrate.foresees(_run);
  in_parts  boolean := _refusal.verdict IS NOT NULL;
  -- Whether the capture itself ends the batch after so many rows.
  bound_by_capture boolean := NOT _locked AND EXISTS (SELECT FROM migrate.statements AS s
                                                      WHERE s.run = _run AND s.name = 'capture' AND 'size' = ANY (s.arguments));
BEGIN
  EXECUTE (migrate.statement(_run, 'batches', 'settings')).text;
  PERFORM migrate.name_session(_run, _work.ordinal);
  given := migrate.with_key(given, 'after', _work.after_key, columns);
  given := migrate.with_key(given, 'upper', _work.upper_key, columns);
  ended.through_key := _work.upper_key;
  IF in_parts OR NOT bound_by_capture THEN
    statement := migrate.statement(_run, 'batches', 'bound');
    ended.through_key :=
      migrate.fields((SELECT q FROM migrate.query(statement.text, migrate.arguments(statement.arguments, given)) AS q));
    -- Under one snapshot a bound that was found stands behind just as many rows as it was asked for.
    IF ended.through_key IS NOT NULL AND current_setting('transaction_isolation') = 'repeatable read' THEN
      given := given || jsonb_build_object('eligible', _size);
    END IF;
    ended.through_key := coalesce(ended.through_key, _work.upper_key);
  END IF;
  ended := CASE WHEN in_parts THEN migrate.perform_in_parts(_run, given, _work.after_key, ended.through_key, _locked, foresees, _refusal)
                ELSE migrate.perform(_run, given, ended.through_key, _locked, bound_by_capture, foresees) END;
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
COMMENT ON FUNCTION migrate.attempt IS 'One attempt at a batch, in parts when it was refused as a whole before; whatever it answers but done must be rolled back.';
