-- Rows as quarantine shows them, which rows a batch has failed by, and rows in quarantine that are tried again.

-- No SET clause: what an object of the database is called as text is decided by the caller's settings, which are the plan's.
CREATE FUNCTION migrate.row_image(_row anyelement) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN pg_catalog.to_jsonb(_row);
EXCEPTION WHEN OTHERS THEN
  -- Not all that json or bytea holds has room in jsonb, and no row shall be kept from quarantine by that. NUL is written as the
  -- six characters of its escape, and of what is too long the beginning.
  BEGIN
    RETURN (SELECT pg_catalog.jsonb_object_agg(c.key, CASE WHEN pg_catalog.length(c.value::text) < 1000000 THEN c.value::jsonb
                                                           ELSE pg_catalog.to_jsonb(pg_catalog.left(c.value #>> '{}', 1000) || ' ...') END)
            FROM  (SELECT pg_catalog.row_to_json(_row)::text AS text OFFSET 0) AS r,
                  pg_catalog.json_each(CASE WHEN pg_catalog.strpos(r.text, E'\\u0000') = 0 THEN r.text
                                            ELSE pg_catalog.regexp_replace(r.text, E'(?<!\\\\)((?:\\\\\\\\)*)\\\\u0000', E'\\1\\\\\\\\u0000', 'g') END::json) AS c);
  EXCEPTION WHEN OTHERS THEN
    RETURN pg_catalog.jsonb_build_object('cannot be shown', SQLERRM);
  END;
END $$;
COMMENT ON FUNCTION migrate.row_image IS 'A row as JSON for people to read, whatever it holds: what jsonb has no room for is shown in another way, or in part.';

CREATE FUNCTION migrate.nth_key(_run bigint, _given jsonb, _after text[], _through text[], _place integer) RETURNS text[]
LANGUAGE plpgsql AS $$
DECLARE
  bound migrate.statements := migrate.statement(_run, 'batches', 'bound');
  given jsonb := _given || jsonb_build_object('size', _place);
BEGIN
  given := migrate.with_key(given, 'after', _after, cardinality(_through));
  given := migrate.with_key(given, 'upper', _through, cardinality(_through));
  RETURN migrate.fields((SELECT q FROM migrate.query(bound.text, migrate.arguments(bound.arguments, given)) AS q));
END $$;
COMMENT ON FUNCTION migrate.nth_key IS 'The key of the row of this place in a stretch, from 1; NULL when there are not so many.';

-- Five rows and sixty parts keep it from costing much.
CREATE FUNCTION migrate.search_culprits(_run bigint, _epoch integer, _work migrate.work, _size integer)
RETURNS migrate.culprits
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  columns  integer := cardinality(_work.upper_key);
  foresees boolean := migrate.foresees(_run);
  given    jsonb := migrate.constants(_run, _epoch)
                    || jsonb_build_object('slice', _work.slice, 'ordinal', _work.ordinal, 'size', _size, 'changed', NULL,
                                          'eligible', NULL, 'canary', _work.canary);
  found    migrate.culprits;
  stack    jsonb;
  part     jsonb;
  after    text[];
  through  text[];
  middle   text[];
  size     integer;
  half     integer;
  tries    integer := 0;
  bound    jsonb;
  tried    migrate.attempted;
BEGIN
  EXECUTE (migrate.statement(_run, 'batches', 'settings')).text;
  PERFORM migrate.guard_table(_run);
  through := coalesce(migrate.nth_key(_run, given, _work.after_key, _work.upper_key, _size), _work.upper_key);
  stack := jsonb_build_array(jsonb_build_object('after', _work.after_key, 'through', through, 'size', _size));
  WHILE tries < 60 AND jsonb_array_length(stack) > 0 AND coalesce(cardinality(found.keys), 0) < 5 LOOP
    part := stack -> -1;
    stack := stack - -1;
    tries := tries + 1;
    after := migrate.key_of(part -> 'after');
    through := migrate.key_of(part -> 'through');
    size := (part ->> 'size')::integer;
    -- The batch as a whole has failed already.
    IF tries > 1 OR size = 1 THEN
      bound := migrate.with_key(given || jsonb_build_object('part', tries), 'after', after, columns);
      bound := migrate.with_key(bound, 'upper', through, columns);
      tried := NULL;
      BEGIN
        tried := migrate.perform(_run, bound, through, false, false, foresees);
        IF tried.verdict <> 'done' THEN
          RAISE EXCEPTION USING ERRCODE = 'MG003', MESSAGE = 'not done';
        END IF;
        SET CONSTRAINTS ALL DEFERRED;
        CONTINUE;
      EXCEPTION WHEN OTHERS OR ASSERT_FAILURE THEN
        IF tried.verdict IS NULL AND migrate.error_class(SQLSTATE) <> 'row' THEN
          RAISE;
        END IF;
      END;
    END IF;
    IF size = 1 THEN
      middle := migrate.nth_key(_run, given, after, through, 1);
      IF middle IS NOT NULL THEN
        found.keys := found.keys || middle::text;
      END IF;
      CONTINUE;
    END IF;
    half := (size + 1) / 2;
    middle := migrate.nth_key(_run, given, after, through, half);
    IF middle IS NULL OR middle = through THEN
      stack := stack || jsonb_build_array(jsonb_build_object('after', after, 'through', through, 'size', half));
    ELSE
      stack := stack || jsonb_build_array(jsonb_build_object('after', middle, 'through', through, 'size', size - half),
                                          jsonb_build_object('after', after, 'through', middle, 'size', half));
    END IF;
  END LOOP;
  IF found.keys IS NULL THEN
    RETURN NULL;
  END IF;
  found.are_all := jsonb_array_length(stack) = 0;
  RETURN found;
EXCEPTION WHEN OTHERS OR ASSERT_FAILURE THEN
  -- Something else keeps the search from its end; that the batch has failed is known.
  RETURN NULL;
END $$;
COMMENT ON FUNCTION migrate.search_culprits IS 'The rows by which a batch has failed, halved from left to right until each is alone; what it does must be rolled back.';

-- Rows of quarantine, tried again ------------------------------------------------------------------------------------------

-- No SET clause here and in the next: by the caller's settings, which are the plan's, keys are compared.
CREATE FUNCTION migrate.respell(_run bigint, _key text[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  same text;
  now  text[];
BEGIN
  SELECT string_agg(format('%s = %s', k.theirs, k.ours), ' AND ') INTO same
  FROM   migrate.runs AS r
  CROSS  JOIN LATERAL (SELECT ARRAY(SELECT jsonb_array_elements_text(r.outline -> 'key')) AS names, to_regclass(r.outline #>> '{tables,0,name}') AS id) AS t
  CROSS  JOIN LATERAL unnest(migrate.key_values(t.id, t.names, 'q.key'), migrate.key_values(t.id, t.names, '$2')) AS k(theirs, ours)
  WHERE  r.run = _run;
  EXECUTE format($q$SELECT q.key FROM migrate.rejects AS q WHERE q.run = $1 AND q.step = 1 AND q.state = 'open' AND q.key <> $2 AND %s$q$, same)
  INTO   now USING _run, _key;
  IF now IS NOT NULL THEN
    UPDATE migrate.rejects AS n
    SET    fixed_row = coalesce(n.fixed_row, o.fixed_row)
    FROM   migrate.rejects AS o
    WHERE (n.run, n.step, n.key) = (_run, 1, now) AND (o.run, o.step, o.key) = (_run, 1, _key);
    UPDATE migrate.fixes   SET key = now WHERE run = _run AND step = 1 AND key = _key;
    DELETE FROM migrate.rejects WHERE run = _run AND step = 1 AND key = _key;
  END IF;
END $$;
COMMENT ON FUNCTION migrate.respell IS 'Has quarantine know a row, which it has taken in once more, by its key as that is written now, and no longer as it was: to their type both can be equal, as with citext, or 2.0 and 2.00.';

CREATE FUNCTION migrate.book_retry(_run bigint, _ordinal integer, _part integer, _key text[]) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
  again boolean;
BEGIN
  -- The row was read and rejected before. What it comes to now is a difference to that: one less in quarantine, and one less read
  -- where it is gone or not eligible any more; so that read = changed + unchanged + rejected holds for each entry and for the run.
  UPDATE migrate.batches AS b
  SET    rows_read     = CASE WHEN b.rows_rejected > 0 THEN 0 ELSE b.rows_read - 1 END,
         rows_rejected = CASE WHEN b.rows_rejected > 0 THEN 0 ELSE -1 END
  WHERE  (b.run, b.kind, b.slice, b.ordinal, b.part) = (_run, 'apply', -1, _ordinal, _part)
  RETURNING b.rows_rejected = 0 INTO again;
  IF NOT again THEN
    UPDATE migrate.rejects SET state = 'resolved', settled_at = clock_timestamp()
    WHERE  run = _run AND step = 1 AND key = _key;
  ELSIF EXISTS (SELECT FROM migrate.rejects AS q
                WHERE q.run = _run AND q.step = 1 AND q.key = _key AND q.rejected_at < pg_catalog.transaction_timestamp()) THEN
    -- It was refused just now, and not under this key.
    PERFORM migrate.respell(_run, _key);
  END IF;
  RETURN NOT again;
END $$;
COMMENT ON FUNCTION migrate.book_retry IS 'After a row of quarantine was tried again: it is resolved, or stays with its new reason; whether it is resolved.';

CREATE FUNCTION migrate.attempt_retry(_run bigint, _epoch integer, _ordinal integer, _key text[]) RETURNS migrate.attempted
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  columns   integer := cardinality(_key);
  previous  migrate.statements := migrate.statement(_run, 'batches', 'previous');
  foresees  boolean := migrate.foresees(_run);
  given     jsonb := migrate.constants(_run, _epoch)
                     || jsonb_build_object('slice', -1, 'ordinal', _ordinal, 'size', 1, 'changed', NULL, 'eligible', NULL);
  ended     migrate.attempted;
BEGIN
  EXECUTE (migrate.statement(_run, 'batches', 'settings')).text;
  PERFORM migrate.guard_table(_run);
  -- A run can have come since the first look.
  PERFORM migrate.refuse_covered(_run);
  given := migrate.with_key(migrate.with_key(given, 'through', _key, columns), 'upper', _key, columns);
  given := migrate.with_key(given, 'after', migrate.fields(
    (SELECT q FROM migrate.query(previous.text, migrate.arguments(previous.arguments, given)) AS q)), columns);
  BEGIN
    ended := migrate.perform(_run, given, _key, false, false, foresees);
    IF ended.verdict IN ('suppressed', 'stopped') THEN
      -- The only way to undo what the savepoint holds.
      RAISE EXCEPTION USING ERRCODE = 'MG003', MESSAGE = ended.message;
    END IF;
  EXCEPTION WHEN OTHERS OR ASSERT_FAILURE THEN
    IF ended.verdict IS NULL THEN
      GET STACKED DIAGNOSTICS ended.sqlstate = RETURNED_SQLSTATE, ended.message = MESSAGE_TEXT,
                              ended.detail = PG_EXCEPTION_DETAIL, ended.hint = PG_EXCEPTION_HINT,
                              ended.column_name = COLUMN_NAME, ended.constraint_name = CONSTRAINT_NAME;
      IF migrate.error_class(ended.sqlstate) <> 'row' THEN
        RAISE;
      END IF;
    END IF;
    ended.verdict := CASE WHEN migrate.reject(_run, given, ended) THEN 'done' ELSE 'taken over' END;
  END;
  IF ended.verdict = 'inexact' THEN
    -- Under one snapshot no row can have come in between.
    ended.verdict := 'error';
    ended.sqlstate := 'MG003';
    ended.message := 'the rows changed have other keys than the rows meant';
  END IF;
  IF ended.verdict = 'done' THEN
    PERFORM migrate.book_retry(_run, _ordinal, 0, _key);
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
COMMENT ON FUNCTION migrate.attempt_retry IS 'One attempt at a row of quarantine, alone under one snapshot; whatever it answers but done must be rolled back.';

CREATE FUNCTION migrate.seize_applied(_run bigint) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  epoch integer;
BEGIN
  IF NOT EXISTS (SELECT FROM migrate.runs AS r WHERE r.run = _run AND r.direction = 'apply') THEN
    PERFORM migrate.refuse(format('there is no run %s, or it is taken back', _run), 'SELECT * FROM migrate.history');
  END IF;
  IF migrate.is_unpublished(_run) THEN
    PERFORM migrate.refuse(format('run %s is published at once, and nothing of it was yet', _run),
      'apply.sql goes on with it; then its quarantine can be tried again');
  END IF;
  epoch := migrate.seize(_run);
  -- Whoever has worked on it until now can have begun to take it back.
  IF EXISTS (SELECT FROM migrate.runs AS r WHERE r.run = _run AND r.direction <> 'apply') THEN
    PERFORM migrate.refuse(format('run %s is taken back', _run), 'SELECT * FROM migrate.history');
  END IF;
  RETURN epoch;
END $$;
COMMENT ON FUNCTION migrate.seize_applied IS 'Takes a run over that is not taken back, and is not about to be: its epoch.';

CREATE PROCEDURE migrate.drive_rejects(_run bigint, _reason text DEFAULT NULL)
LANGUAGE plpgsql AS $$
-- As in migrate.drive nothing that reads stands between COMMIT and SET TRANSACTION.
DECLARE
  epoch   integer;
  ordinal integer;
  keys    text[];
  this    text;
  ended   migrate.attempted;
  tries   integer;
  refusal text;
  refused text;
BEGIN
  COMMIT;
  SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;
  SET LOCAL search_path = pg_catalog, pg_temp;
  epoch := migrate.seize_applied(_run);
  PERFORM migrate.refuse_covered(_run);
  PERFORM migrate.enlist(_run, 1, epoch, NULL, 'procedure');
  PERFORM migrate.prepare_opening(_run);
  PERFORM migrate.note_request(_run, 'retry', _reason, NULL);
  -- What a row has missed may have come since.
  PERFORM migrate.stage(_run, migrate.constants(_run, epoch));
  keys := ARRAY(SELECT q.key::text FROM migrate.rejects AS q WHERE q.run = _run AND q.step = 1 AND q.state = 'open' ORDER BY q.key);
  ordinal := coalesce((SELECT max(b.ordinal) FROM migrate.batches AS b WHERE b.run = _run AND b.kind = 'apply' AND b.slice = -1), 0);
  FOREACH this IN ARRAY keys LOOP
    tries := 0;
    ordinal := ordinal + 1;
    LOOP
      refusal := NULL;
      CALL pg_temp.migrate_open(refusal, refused);
      IF refusal IS NULL THEN
        ended := migrate.attempt_retry(_run, epoch, ordinal, this::text[]);
      ELSE
        ended := NULL;
        ended.verdict := 'error';
        ended.sqlstate := refusal;
        ended.message := refused;
      END IF;
      EXIT WHEN ended.verdict = 'done';
      ROLLBACK;
      SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;
      IF ended.verdict = 'taken over' THEN
        PERFORM migrate.taken_over(_run, epoch);
      END IF;
      tries := tries + 1;
      IF tries >= 20 OR (ended.verdict = 'error' AND migrate.error_class(ended.sqlstate) <> 'transient') THEN
        -- Who has taken the run over has taken our places in its undo too.
        PERFORM migrate.keep_fence(_run, epoch);
        RAISE EXCEPTION 'row (%) of run % cannot be tried again: %', pg_catalog.array_to_string(this::text[], ', '), _run,
          coalesce(ended.message, ended.verdict)
        USING ERRCODE = coalesce(ended.sqlstate, 'MG003'), HINT = 'those before it are done, it and those behind it wait in quarantine';
      END IF;
      PERFORM pg_catalog.pg_sleep(pg_catalog.random() * 0.1);
    END LOOP;
  END LOOP;
  COMMIT;
END $$;
COMMENT ON PROCEDURE migrate.drive_rejects IS 'Tries the rows in quarantine of a run once more, a transaction a row; those that pass are resolved.';
