-- Rows that the database refuses: found by halving, kept in quarantine.

CREATE TABLE migrate.tallies (
  run           bigint  NOT NULL REFERENCES migrate.runs,
  slice         integer NOT NULL,
  rows_read     bigint  NOT NULL,
  rows_changed  bigint  NOT NULL,
  rows_rejected bigint  NOT NULL,
  PRIMARY KEY (run, slice)
);
COMMENT ON TABLE  migrate.tallies               IS 'Running sums of migrate.batches, of what is applied: what is asked before each batch must not read all batches before it.';
COMMENT ON COLUMN migrate.tallies.run           IS 'The run.';
COMMENT ON COLUMN migrate.tallies.slice         IS 'The chain of batches that they are of, so that workers do not wait for each other.';
COMMENT ON COLUMN migrate.tallies.rows_read     IS 'Eligible rows.';
COMMENT ON COLUMN migrate.tallies.rows_changed  IS 'Rows written.';
COMMENT ON COLUMN migrate.tallies.rows_rejected IS 'Rows in quarantine.';
REVOKE ALL ON migrate.tallies FROM PUBLIC;

CREATE FUNCTION migrate.tally() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO migrate.tallies AS t (run, slice, rows_read, rows_changed, rows_rejected)
  VALUES (NEW.run, NEW.slice, NEW.rows_read, NEW.rows_changed, NEW.rows_rejected)
  ON CONFLICT (run, slice) DO UPDATE
  -- Of an entry that is altered the difference counts.
  SET    rows_read     = t.rows_read     + excluded.rows_read     - coalesce(OLD.rows_read, 0),
         rows_changed  = t.rows_changed  + excluded.rows_changed  - coalesce(OLD.rows_changed, 0),
         rows_rejected = t.rows_rejected + excluded.rows_rejected - coalesce(OLD.rows_rejected, 0);
  RETURN NULL;
END $$;
COMMENT ON FUNCTION migrate.tally IS 'Adds a batch to the running sums of its chain, in its own transaction.';

CREATE TRIGGER tally AFTER INSERT OR UPDATE OF rows_read, rows_changed, rows_rejected ON migrate.batches
FOR EACH ROW WHEN (NEW.kind = 'apply') EXECUTE FUNCTION migrate.tally();

CREATE FUNCTION migrate.is_hopeless(_run bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  -- Below a full count nobody can tell; a single row that went well is an answer, too. Of several workers each may see others' rows
  -- come at once, so there can be more; 32 of them say enough, and cost the same however many there are.
  SELECT count(*) = 32 AND count(DISTINCT (r.kind, r.sqlstate, r.constraint_name, r.column_name)) = 1
         AND NOT EXISTS (SELECT FROM migrate.batches AS b WHERE b.run = _run AND b.kind = 'apply' AND b.rows_rejected < b.rows_read)
  FROM  (SELECT q.kind, q.sqlstate, q.constraint_name, q.column_name
         FROM   migrate.rejects AS q
         WHERE  q.run = _run
         ORDER  BY q.run, q.step, q.key
         LIMIT  32) AS r
$$;
COMMENT ON FUNCTION migrate.is_hopeless IS 'Whether the first 32 rows of a run have all failed alike: then it is the definition that is wrong.';

CREATE FUNCTION migrate.hopeless_hint(_run bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  -- What quarantine has of this batch goes with it, so the rows are to be seen in their table only.
  SELECT format('it is the definition that is wrong, or every row; no row has been changed so far; `SELECT * FROM %s WHERE %s IN (%s)` shows the first of them; `migrate cancel %s` ends the run, and then another definition can be applied',
                to_regclass(r.outline #>> '{tables,0,name}'),
                (SELECT CASE count(*) WHEN 1 THEN min(format('%I', k.name)) ELSE format('(%s)', string_agg(format('%I', k.name), ', ' ORDER BY k.place)) END
                 FROM   jsonb_array_elements_text(r.outline -> 'key') WITH ORDINALITY AS k(name, place)),
                (SELECT string_agg(CASE cardinality(f.key) WHEN 1 THEN quote_literal(f.key[1])
                                        ELSE (SELECT format('(%s)', string_agg(quote_literal(v.value), ', ' ORDER BY v.place))
                                              FROM   unnest(f.key) WITH ORDINALITY AS v(value, place)) END, ', ' ORDER BY f.rejected_at, f.key)
                 FROM  (SELECT q.key, q.rejected_at FROM migrate.rejects AS q WHERE q.run = _run ORDER BY q.rejected_at, q.key LIMIT 5) AS f), _run)
  FROM   migrate.runs AS r
  WHERE  r.run = _run
$$;
COMMENT ON FUNCTION migrate.hopeless_hint IS 'What to do about a run whose first rows all fail alike, with the query that shows five of them.';

CREATE FUNCTION migrate.halved(_part jsonb, _middle text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT jsonb_build_array(p.common || jsonb_build_object('after', _middle, 'through', _part -> 'through'),
                           p.common || jsonb_build_object('after', _part -> 'after', 'through', _middle, 'is_left', true))
  FROM  (SELECT jsonb_build_object('constraints', coalesce(_part -> 'constraints', '[]')) AS common) AS p
$$;
COMMENT ON FUNCTION migrate.halved IS 'The halves of a part, the left one last, which comes first.';

-- Planned for each row: a plan that holds for all would read from the beginning of the table to a key.
CREATE FUNCTION migrate.refused_rows(_run bigint, _given jsonb, _after text[], _through text[])
RETURNS TABLE (previous_key text[], key text[])
LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
DECLARE
  columns integer := cardinality(_through);
  given   jsonb := migrate.with_key(migrate.with_key(_given, 'after', _after, columns), 'through', _through, columns);
  keys    migrate.statements := migrate.statement(_run, 'batches', 'keys');
  change  migrate.statements;
  capture migrate.statements;
  -- What stands between the parentheses of EXECUTE, and where in it the key does.
  listed  text[];
  none    integer;
  afters  integer[];
  ends    integer[];
  found   json;
BEGIN
  -- The shorter of the two ways to change, where there are two.
  SELECT s.* INTO change FROM migrate.statements AS s
  WHERE  s.run = _run AND s.phase = 'batches' AND s.name IN ('change', 'change as captured')
  ORDER  BY s.name DESC
  LIMIT  1;
  listed := ARRAY(SELECT pg_catalog.quote_nullable(a.value)
                  FROM   unnest(migrate.arguments(change.arguments, given)) WITH ORDINALITY AS a(value, place) ORDER BY a.place);
  none := pg_catalog.array_position(change.arguments, 'after.none');
  IF none IS NULL THEN
    capture := migrate.statement(_run, 'batches', 'capture');
  END IF;
  FOR n IN 1 .. columns LOOP
    afters := afters || pg_catalog.array_position(change.arguments, 'after.' || n);
    ends := ends || pg_catalog.array_position(change.arguments, 'through.' || n);
  END LOOP;
  -- No ROLLBACK takes it back, so an attempt before can have left it.
  IF EXISTS (SELECT FROM pg_catalog.pg_prepared_statements AS p WHERE p.name = 'migrate_change') THEN
    DEALLOCATE migrate_change;
  END IF;
  EXECUTE 'PREPARE migrate_change AS ' || change.text;
  -- What is deferred fails at the row as well.
  SET CONSTRAINTS ALL IMMEDIATE;
  previous_key := _after;
  FOR found IN SELECT q FROM migrate.query(keys.text, migrate.arguments(keys.arguments, given)) AS q LOOP
    key := migrate.fields(found);
    given := migrate.with_key(migrate.with_key(_given, 'after', previous_key, columns), 'through', key, columns);
    FOR n IN 1 .. CASE WHEN none IS NOT NULL THEN columns ELSE 0 END LOOP
      listed[none] := pg_catalog.quote_literal(previous_key IS NULL);
      listed[afters[n]] := pg_catalog.quote_nullable(previous_key[n]);
      listed[ends[n]] := pg_catalog.quote_nullable(key[n]);
    END LOOP;
    BEGIN
      -- A change that asks for no stretch writes what the capture has computed of it.
      IF none IS NULL THEN
        PERFORM migrate.execute(capture.text, migrate.arguments(capture.arguments, given));
      END IF;
      EXECUTE 'EXECUTE migrate_change(' || pg_catalog.array_to_string(listed, ', ') || ')';
      -- The only way to undo it.
      RAISE EXCEPTION USING ERRCODE = 'MG006';
    EXCEPTION
      WHEN SQLSTATE 'MG006' THEN
        NULL;
      WHEN OTHERS OR ASSERT_FAILURE THEN
        IF migrate.error_class(SQLSTATE) <> 'row' THEN
          RAISE;
        END IF;
        RETURN NEXT;
    END;
    previous_key := key;
  END LOOP;
  SET CONSTRAINTS ALL DEFERRED;
  DEALLOCATE migrate_change;
END $$;
COMMENT ON FUNCTION migrate.refused_rows IS 'The rows of a stretch whose change fails when it is made for them alone, with the key before each. Nothing of it stays.';

CREATE FUNCTION migrate.violation(_relation regclass, _constraint text, _column text) RETURNS text
LANGUAGE sql STABLE AS $$
  -- In the caller's search path, which is that of the statement that it becomes a part of.
  SELECT coalesce(
    (SELECT CASE c.contype
              WHEN 'c' THEN format('NOT (%s)', pg_catalog.pg_get_expr(c.conbin, c.conrelid))
              WHEN 'f' THEN format('NOT EXISTS (SELECT FROM %s AS r WHERE %s) AND %s', c.confrelid::regclass, k.matched, k.filled)
            END
     FROM   pg_catalog.pg_constraint AS c
     CROSS  JOIN LATERAL (
       SELECT string_agg(format('r.%I = i.%I', p.attname, f.attname), ' AND ') AS matched,
              string_agg(format('i.%I IS NOT NULL', f.attname), ' AND ') AS filled
       FROM   unnest(c.conkey, c.confkey) AS n(ours, theirs)
       JOIN   pg_catalog.pg_attribute AS f ON f.attrelid = c.conrelid  AND f.attnum = n.ours
       JOIN   pg_catalog.pg_attribute AS p ON p.attrelid = c.confrelid AND p.attnum = n.theirs) AS k
     WHERE  c.conrelid = _relation AND c.conname = _constraint COLLATE "C"),
    'i.' || quote_ident(nullif(_column, '')) || ' IS NULL')
$$;
COMMENT ON FUNCTION migrate.violation IS 'The condition, over an image i of a row, under which it breaks a constraint, or holds no value where its column must; NULL when none is known.';

CREATE FUNCTION migrate.violating_rows(
  _run bigint, _given jsonb, _after text[], _through text[], _constraint text, _column text
) RETURNS TABLE (previous_key text[], key text[])
-- As in migrate.refused_rows each is planned for its stretch.
LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
DECLARE
  columns   integer := cardinality(_through);
  given     jsonb := migrate.with_key(migrate.with_key(_given, 'after', _after, columns), 'through', _through, columns);
  images    migrate.statements;
  condition text;
  broken    json[];
  found     json;
BEGIN
  -- The plan of an older version has none.
  SELECT s.* INTO images FROM migrate.statements AS s WHERE s.run = _run AND s.phase = 'batches' AND s.name = 'images';
  SELECT migrate.violation(to_regclass(r.outline #>> '{tables,0,name}'), _constraint, _column) INTO condition
  FROM   migrate.runs AS r
  WHERE  r.run = _run AND images.run IS NOT NULL;
  IF condition IS NULL THEN
    RETURN;
  END IF;
  BEGIN
    broken := ARRAY(
      SELECT q
      FROM   migrate.query(
               format('SELECT i."migrate previous" AS previous, i."migrate key" AS key FROM (%s) AS i WHERE %s ORDER BY i."migrate place"',
                      images.text, condition),
               migrate.arguments(images.arguments, given)) AS q);
  EXCEPTION WHEN OTHERS OR ASSERT_FAILURE THEN
    -- What it asks may not be computable of each of these rows, or not be allowed to be asked; the rows are halved then.
    IF migrate.error_class(SQLSTATE) NOT IN ('row', 'definition') THEN
      RAISE;
    END IF;
    RETURN;
  END;
  FOREACH found IN ARRAY broken LOOP
    previous_key := coalesce(migrate.key_of((found -> 'previous')::jsonb), _after);
    key := migrate.key_of((found -> 'key')::jsonb);
    RETURN NEXT;
  END LOOP;
END $$;
COMMENT ON FUNCTION migrate.violating_rows IS 'The rows of a stretch that would break a constraint, or hold no value in a column, with the key before each: all of them by one query. What triggers make of a row is not looked at, so it is a hint.';

CREATE FUNCTION migrate.cut_at(_refused jsonb, _after text[], _through text[], _constraints jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  common jsonb := jsonb_build_object('is_found', true, 'constraints', _constraints);
  parts  jsonb := '[]';
  behind text[] := _after;
  row_   jsonb;
BEGIN
  FOR row_ IN SELECT r FROM jsonb_array_elements(_refused) AS r LOOP
    IF migrate.key_of(row_ -> 'previous_key') IS DISTINCT FROM behind THEN
      parts := common || jsonb_build_object('after', behind, 'through', row_ -> 'previous_key') || parts;
    END IF;
    parts := common || jsonb_build_object('after', row_ -> 'previous_key', 'through', row_ -> 'key') || parts;
    behind := migrate.key_of(row_ -> 'key');
  END LOOP;
  IF behind IS DISTINCT FROM _through THEN
    parts := common || jsonb_build_object('after', behind, 'through', _through) || parts;
  END IF;
  RETURN parts;
END $$;
COMMENT ON FUNCTION migrate.cut_at IS 'A stretch in parts, the first one last: each of these rows alone, and what stands between them.';

CREATE FUNCTION migrate.cut_part(_run bigint, _given jsonb, _part jsonb, _refusal migrate.attempted) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
  name   text := coalesce(nullif(_refusal.constraint_name, ''), nullif(_refusal.column_name, ''));
  known  jsonb := coalesce(_part -> 'constraints', '[]');
  after   text[] := migrate.key_of(_part -> 'after');
  through text[] := migrate.key_of(_part -> 'through');
  broken jsonb;
BEGIN
  IF name IS NULL OR known ? name THEN
    RETURN jsonb_build_array(_part);
  END IF;
  known := known || to_jsonb(name);
  broken := (SELECT jsonb_agg(r) FROM migrate.violating_rows(_run, _given, after, through, _refusal.constraint_name,
                                                             _refusal.column_name) AS r);
  RETURN CASE WHEN broken IS NULL THEN jsonb_build_array(_part || jsonb_build_object('constraints', known))
              ELSE migrate.cut_at(broken, after, through, known) END;
END $$;
COMMENT ON FUNCTION migrate.cut_part IS 'A part that a constraint has refused, cut at the rows that break it, the first one last; the part as it is when that tells nothing, or was asked before.';

-- Each BEGIN ... EXCEPTION is a savepoint. Those that stay are sixty: a transaction's first 64 numbers are kept where every backend
-- sees them cheaply (PGPROC_MAX_CACHED_SUBXIDS in PostgreSQL's src/include/storage/proc.h).
CREATE FUNCTION migrate.perform_in_parts(
  _run bigint, _given jsonb, _after text[], _through text[], _locked boolean, _foresees boolean, _refusal migrate.attempted
) RETURNS migrate.attempted
LANGUAGE plpgsql AS $$
DECLARE
  columns integer := cardinality(_through);
  middle  migrate.statements := migrate.statement(_run, 'batches', 'middle');
  -- The stretches still to be done, the next one last: as JSON, since an array of keys of several columns has one shape only.
  -- As a whole the batch has failed just now.
  stack   jsonb := migrate.cut_part(_run, _given, jsonb_build_object('after', _after, 'through', _through, 'is_bad', true), _refusal);
  cut     jsonb;
  part    jsonb;
  given   jsonb;
  parts   integer := 0;
  tries   integer := 0;
  -- Rows that a search would cost as much as one try: as in Cutting.swift.
  rows_a_try CONSTANT integer := 40;
  is_searched boolean := false;
  reached  text[];
  rejected bigint := 0;
  after   text[];
  through text[];
  tried   migrate.attempted;
  halves  text[];
BEGIN
  WHILE parts < 60 AND jsonb_array_length(stack) > 0 LOOP
    part := stack -> -1;
    stack := stack - -1;
    after := migrate.key_of(part -> 'after');
    through := migrate.key_of(part -> 'through');
    given := _given || jsonb_build_object('part', parts, 'eligible', NULL, 'changed', NULL);
    given := migrate.with_key(given, 'after', after, columns);
    given := migrate.with_key(given, 'upper', through, columns);
    tried := NULL;
    tries := tries + CASE WHEN part ? 'is_found' THEN 0 ELSE 1 END;
    IF NOT is_searched AND tries * rows_a_try > (_given ->> 'size')::integer THEN
      is_searched := true;
      stack := migrate.cut_at(
        (SELECT coalesce(jsonb_agg(r), '[]') FROM migrate.refused_rows(_run, given, after, _through) AS r), after, _through, '[]');
      CONTINUE;
    END IF;
    -- It holds a row at fault, since its left neighbour holds none and both together do.
    IF part -> 'is_bad' = 'true' THEN
      halves := migrate.fields((SELECT q FROM migrate.query(middle.text, migrate.arguments(middle.arguments,
                                                            migrate.with_key(given, 'through', through, columns))) AS q));
      IF halves[1]::bigint > 1 THEN
        stack := stack || migrate.halved(part, halves[2:]);
        CONTINUE;
      END IF;
    END IF;
    BEGIN
      tried := migrate.perform(_run, given, through, _locked, false, _foresees);
      SET CONSTRAINTS ALL DEFERRED;
      IF tried.verdict = 'suppressed' THEN
        -- The only way to undo what the savepoint holds.
        RAISE EXCEPTION USING ERRCODE = 'MG003', MESSAGE = tried.message;
      END IF;
    EXCEPTION WHEN OTHERS OR ASSERT_FAILURE THEN
      IF tried.verdict IS DISTINCT FROM 'suppressed' THEN
        GET STACKED DIAGNOSTICS tried.sqlstate = RETURNED_SQLSTATE, tried.message = MESSAGE_TEXT,
                                tried.detail = PG_EXCEPTION_DETAIL, tried.hint = PG_EXCEPTION_HINT,
                                tried.column_name = COLUMN_NAME, tried.constraint_name = CONSTRAINT_NAME;
        IF migrate.error_class(tried.sqlstate) <> 'row' THEN
          RAISE;
        END IF;
      END IF;
      tried.verdict := 'refused';
    END;
    IF tried.verdict = 'done' THEN
      parts := parts + 1;
      reached := through;
      rejected := rejected + tried.rows_rejected;
      IF part -> 'is_left' = 'true' THEN
        stack := jsonb_set(stack, '{-1,is_bad}', 'true');
      END IF;
      CONTINUE;
    ELSIF tried.verdict <> 'refused' THEN
      RETURN tried;
    END IF;
    given := migrate.with_key(given, 'through', through, columns);
    halves := migrate.fields((SELECT q FROM migrate.query(middle.text, migrate.arguments(middle.arguments, given)) AS q));
    IF halves[1]::bigint = 0 THEN
      tried.verdict := 'inexact';
      RETURN tried;
    ELSIF halves[1]::bigint > 1 THEN
      cut := migrate.cut_part(_run, given, part, tried);
      stack := stack || CASE WHEN jsonb_array_length(cut) > 1 THEN cut ELSE migrate.halved(cut -> 0, halves[2:]) END;
    ELSIF migrate.is_of_snapshot(tried.sqlstate) AND current_setting('transaction_isolation') = 'repeatable read' THEN
      tried.verdict := 'outdated';
      RETURN tried;
    ELSIF tried.sqlstate IS NULL AND _locked AND part -> 'was_different' IS NULL THEN
      -- What a value is looked up in may have changed between the statements. A trigger keeps the row once more.
      stack := stack || jsonb_build_array(part || '{"was_different": true}');
    ELSIF NOT migrate.reject(_run, given, tried) THEN
      tried.verdict := 'taken over';
      RETURN tried;
    ELSIF migrate.is_hopeless(_run) THEN
      tried.verdict := 'stopped';
      tried.message := 'the first 32 rows all fail alike: ' || tried.message;
      tried.hint := migrate.hopeless_hint(_run);
      RETURN tried;
    ELSE
      parts := parts + 1;
      reached := through;
      rejected := rejected + 1;
    END IF;
  END LOOP;
  SELECT 'done', reached, rejected INTO tried.verdict, tried.through_key, tried.rows_rejected;
  RETURN tried;
END $$;
COMMENT ON FUNCTION migrate.perform_in_parts IS 'A batch with a row that the database refuses: cut in halves from left to right until the row is alone and goes to quarantine.';

CREATE FUNCTION migrate.reject(_run bigint, _given jsonb, _refusal migrate.attempted) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
  statement migrate.statements := migrate.statement(_run, 'batches', 'reject');
  given     jsonb := _given || jsonb_build_object(
    'refusal.sqlstate', _refusal.sqlstate, 'refusal.message', _refusal.message, 'refusal.detail', nullif(_refusal.detail, ''),
    'refusal.column', nullif(_refusal.column_name, ''), 'refusal.constraint', nullif(_refusal.constraint_name, ''));
  entry     json;
BEGIN
  PERFORM migrate.execute(statement.text, migrate.arguments(statement.arguments, given));
  statement := migrate.statement(_run, 'batches', 'finish');
  SELECT q INTO entry FROM migrate.query(statement.text, migrate.arguments(statement.arguments, given)) AS q;
  IF (entry ->> 'rows_read')::bigint <> 1 THEN
    -- It is gone, or another one has come that nobody has refused.
    RAISE EXCEPTION 'rows came in between' USING ERRCODE = 'serialization_failure';
  END IF;
  RETURN entry IS NOT NULL;
END $$;
COMMENT ON FUNCTION migrate.reject IS 'Puts the only row of a part in quarantine and enters the part; false when the run was taken over.';

CREATE FUNCTION migrate.key_of(_key jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE jsonb_typeof(_key) WHEN 'array' THEN ARRAY(SELECT jsonb_array_elements_text(_key)) END
$$;
COMMENT ON FUNCTION migrate.key_of IS 'A key that was written as JSON; NULL is the beginning.';

REVOKE ALL ON ALL ROUTINES IN SCHEMA migrate FROM PUBLIC;
