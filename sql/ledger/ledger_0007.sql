-- Which rows a batch has failed by, and rows in quarantine that are mended and tried again.

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
  foresees boolean := (SELECT r.plan #>> '{steps,0,unavailable}' IS NOT NULL OR migrate.may_lock(_run)
                       FROM   migrate.runs AS r
                       WHERE  r.run = _run);
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
  PERFORM migrate.hold(_run);
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
        tried := migrate.perform(_run, bound, through, false, true, foresees);
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

CREATE FUNCTION migrate.settle_retry(_run bigint, _ordinal integer, _part integer, _key text[]) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
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
  END IF;
  RETURN NOT again;
END $$;
COMMENT ON FUNCTION migrate.settle_retry IS 'After a row of quarantine was tried again: it is resolved, or stays with its new reason; whether it is resolved.';

CREATE FUNCTION migrate.attempt_retry(_run bigint, _epoch integer, _ordinal integer, _key text[]) RETURNS migrate.attempted
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  columns   integer := cardinality(_key);
  previous  migrate.statements := migrate.statement(_run, 'batches', 'previous');
  foresees  boolean := (SELECT r.plan #>> '{steps,0,unavailable}' IS NOT NULL OR migrate.may_lock(_run)
                        FROM   migrate.runs AS r
                        WHERE  r.run = _run);
  given     jsonb := migrate.constants(_run, _epoch)
                     || jsonb_build_object('slice', -1, 'ordinal', _ordinal, 'size', 1, 'changed', NULL, 'eligible', NULL);
  ended     migrate.attempted;
BEGIN
  EXECUTE (migrate.statement(_run, 'batches', 'settings')).text;
  PERFORM migrate.hold(_run);
  given := migrate.with_key(migrate.with_key(given, 'through', _key, columns), 'upper', _key, columns);
  given := migrate.with_key(given, 'after', migrate.fields(
    (SELECT q FROM migrate.query(previous.text, migrate.arguments(previous.arguments, given)) AS q)), columns);
  BEGIN
    ended := migrate.perform(_run, given, _key, false, true, foresees);
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
    PERFORM migrate.settle_retry(_run, _ordinal, 0, _key);
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
BEGIN
  COMMIT;
  SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;
  SET LOCAL search_path = pg_catalog, pg_temp;
  IF NOT EXISTS (SELECT FROM migrate.runs AS r WHERE r.run = _run AND r.direction = 'apply') THEN
    PERFORM migrate.refuse(format('there is no run %s, or it is taken back', _run), 'SELECT * FROM migrate.history');
  END IF;
  epoch := migrate.seize(_run);
  PERFORM migrate.enlist(_run, 1, epoch, NULL, 'procedure');
  PERFORM migrate.note_request(_run, 'retry', _reason, NULL);
  keys := ARRAY(SELECT q.key::text FROM migrate.rejects AS q WHERE q.run = _run AND q.step = 1 AND q.state = 'open' ORDER BY q.key);
  ordinal := coalesce((SELECT max(b.ordinal) FROM migrate.batches AS b WHERE b.run = _run AND b.kind = 'apply' AND b.slice = -1), 0);
  FOREACH this IN ARRAY keys LOOP
    tries := 0;
    ordinal := ordinal + 1;
    LOOP
      COMMIT;
      SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE;
      ended := migrate.attempt_retry(_run, epoch, ordinal, this::text[]);
      EXIT WHEN ended.verdict = 'done';
      ROLLBACK;
      SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;
      IF ended.verdict = 'taken over' THEN
        PERFORM migrate.taken_over(_run, epoch);
      END IF;
      tries := tries + 1;
      IF tries >= 20 OR (ended.verdict = 'error' AND migrate.error_class(ended.sqlstate) <> 'transient') THEN
        RAISE EXCEPTION 'row % of run % cannot be tried again: %', this, _run, coalesce(ended.message, ended.verdict)
        USING ERRCODE = coalesce(ended.sqlstate, 'MG003'), HINT = 'those before it are done, it and those behind it wait in quarantine';
      END IF;
      PERFORM pg_catalog.pg_sleep(pg_catalog.random() * 0.1);
    END LOOP;
  END LOOP;
  COMMIT;
END $$;
COMMENT ON PROCEDURE migrate.drive_rejects IS 'Tries the rows in quarantine of a run once more, a transaction a row; those that pass are resolved.';

-- Rows of quarantine, mended -----------------------------------------------------------------------------------------------

CREATE TABLE migrate.fixes (
  run      bigint      NOT NULL REFERENCES migrate.runs,
  fix      integer     NOT NULL,
  step     integer     NOT NULL,
  key      text[]      NOT NULL,
  columns  text[]      NOT NULL,
  before   text[]      NOT NULL,
  after    text[],
  set_list text        NOT NULL,
  fixed_by text        NOT NULL DEFAULT session_user,
  fixed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  reverted boolean     NOT NULL DEFAULT false,
  PRIMARY KEY (run, fix, step, key)
);
COMMENT ON TABLE  migrate.fixes          IS 'Source rows in quarantine that were mended by `migrate rejects --fix`: what takes it back.';
COMMENT ON COLUMN migrate.fixes.run      IS 'The run in whose quarantine they are.';
COMMENT ON COLUMN migrate.fixes.fix      IS 'Counts the commands; a revert goes through them backwards.';
COMMENT ON COLUMN migrate.fixes.step     IS 'The step that had failed.';
COMMENT ON COLUMN migrate.fixes.key      IS 'The row''s key, as in migrate.rejects.';
COMMENT ON COLUMN migrate.fixes.columns  IS 'The columns that were set.';
COMMENT ON COLUMN migrate.fixes.before   IS 'What they held, each as its type''s text.';
COMMENT ON COLUMN migrate.fixes.after    IS 'What they were set to, as it was stored.';
COMMENT ON COLUMN migrate.fixes.set_list IS 'SET, as it was given.';
COMMENT ON COLUMN migrate.fixes.fixed_by IS 'The role that did it.';
COMMENT ON COLUMN migrate.fixes.fixed_at IS 'When.';
COMMENT ON COLUMN migrate.fixes.reverted IS 'Whether a revert has come to it; what that has left as it was found stands in migrate.conflicts.';
REVOKE ALL ON migrate.fixes FROM PUBLIC;

CREATE FUNCTION migrate.key_values(_table regclass, _columns text[], _source text) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  -- As the batches compare them: the type that is under a domain, without a length, by the column's collation.
  WITH RECURSIVE bases AS (
    SELECT k.place, a.atttypid AS type, a.attcollation AS collation
    FROM   unnest(_columns) WITH ORDINALITY AS k(name, place)
    JOIN   pg_attribute AS a ON a.attrelid = _table AND a.attname = k.name COLLATE "C" AND NOT a.attisdropped
    UNION ALL
    SELECT b.place, t.typbasetype, b.collation
    FROM   bases AS b
    JOIN   pg_type AS t ON t.oid = b.type AND t.typtype = 'd'
  )
  SELECT array_agg(format(CASE b.type
                            -- Kept by its number, which this type does not read from a value of type text.
                            WHEN 'regclass'::regtype
                            THEN $q$CASE WHEN %1$s[%2$s] ~ '^[0-9]+$' THEN CAST(CAST(%1$s[%2$s] AS oid) AS %3$s) ELSE CAST(%1$s[%2$s] AS %3$s) END$q$
                            ELSE 'CAST(%1$s[%2$s] AS %3$s)%4$s' END,
                          _source, b.place, format_type(b.type, -1),
                          (SELECT format(' COLLATE %I.%I', n.nspname, l.collname)
                           FROM   pg_collation AS l
                           JOIN   pg_namespace AS n ON n.oid = l.collnamespace
                           WHERE  l.oid = b.collation)) ORDER BY b.place)
  FROM   bases AS b
  JOIN   pg_type AS t ON t.oid = b.type AND t.typtype <> 'd'
  HAVING count(*) = cardinality(_columns)
$$;
COMMENT ON FUNCTION migrate.key_values IS 'SQL for the columns of a key, of an array of texts that _source names; NULL when the table has not got all of them any more.';

CREATE FUNCTION migrate.key_match(_run bigint, _key text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT string_agg(format('t.%I = %s', k.name, k.value), ' AND ')
  FROM   migrate.runs AS r
  CROSS  JOIN LATERAL (SELECT ARRAY(SELECT jsonb_array_elements_text(r.plan -> 'key')) AS names) AS c
  CROSS  JOIN LATERAL unnest(c.names, migrate.key_values(to_regclass(r.plan #>> '{tables,0,name}'), c.names, _key)) AS k(name, value)
  WHERE  r.run = _run
$$;
COMMENT ON FUNCTION migrate.key_match IS 'SQL: the row t of a run''s table has the key that the expression _key gives as texts.';

CREATE FUNCTION migrate.unfixable(_run bigint, _columns text[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE
           WHEN a.attnum IS NULL           THEN format('%s has no column %I', r.plan #>> '{tables,0,name}', c.name)
           WHEN r.plan -> 'key' ? c.name   THEN format('%I is the key, by which quarantine knows the row', c.name)
           WHEN a.attgenerated <> ''       THEN format('%I is generated', c.name)
           WHEN a.attidentity <> ''        THEN format('%I is an identity, whose values the database gives', c.name)
         END AS why
  FROM   migrate.runs AS r
  CROSS  JOIN unnest(_columns) WITH ORDINALITY AS c(name, place)
  LEFT   JOIN pg_attribute AS a ON a.attrelid = to_regclass(r.plan #>> '{tables,0,name}') AND a.attname = c.name
                               AND a.attnum > 0 AND NOT a.attisdropped
  WHERE  r.run = _run
    AND  (a.attnum IS NULL OR r.plan -> 'key' ? c.name OR a.attgenerated <> '' OR a.attidentity <> '')
  ORDER  BY c.place
  LIMIT  1
$$;
COMMENT ON FUNCTION migrate.unfixable IS 'Why one of these columns cannot be set to mend a row; NULL when all can.';

-- No SET clause: the caller's settings, which are the plan's, decide about the meaning of _set.
CREATE FUNCTION migrate.fix(_run bigint, _set text, _columns text[]) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
  target text    := (SELECT r.plan #>> '{tables,0,name}' FROM migrate.runs AS r WHERE r.run = _run);
  number integer := (SELECT coalesce(max(f.fix), 0) + 1 FROM migrate.fixes AS f WHERE f.run = _run);
  texts  text    := (SELECT string_agg(format('CAST(t.%I AS text)', c.name), ', ' ORDER BY c.place)
                     FROM   unnest(_columns) WITH ORDINALITY AS c(name, place));
  mended bigint;
BEGIN
  EXECUTE format($sql$
    INSERT INTO migrate.fixes (run, fix, step, key, columns, before, set_list)
    SELECT q.run, %s, q.step, q.key, $2, ARRAY[%s], $3
    FROM   migrate.rejects AS q
    JOIN   %s AS t ON %s
    WHERE  q.run = $1 AND q.state = 'open'
    FOR    NO KEY UPDATE OF t $sql$, number, texts, target, migrate.key_match(_run, 'q.key'))
  USING _run, _columns, _set;
  -- No other relation beside the table, so that the names in _set are its own.
  EXECUTE format(E'UPDATE %s AS t SET %s\n WHERE EXISTS (SELECT FROM migrate.fixes AS q WHERE q.run = $1 AND q.fix = $2 AND %s)',
                 target, _set, migrate.key_match(_run, 'q.key'))
  USING _run, number;
  GET DIAGNOSTICS mended = ROW_COUNT;
  EXECUTE format('UPDATE migrate.fixes AS q SET after = ARRAY[%s] FROM %s AS t WHERE q.run = $1 AND q.fix = $2 AND %s',
                 texts, target, migrate.key_match(_run, 'q.key'))
  USING _run, number;
  EXECUTE format($sql$
    UPDATE migrate.rejects AS q
    SET    fixed_row = to_jsonb(t.*)
    FROM   migrate.fixes AS f, %s AS t
    WHERE  f.run = $1 AND f.fix = $2 AND (q.run, q.step, q.key) = (f.run, f.step, f.key) AND %s $sql$,
    target, migrate.key_match(_run, 'q.key'))
  USING _run, number;
  RETURN mended;
END $$;
COMMENT ON FUNCTION migrate.fix IS 'Sets columns of the source rows that are in quarantine, and keeps what they held and what they hold now. _set has been parsed: assignments, and nothing behind them. The number of rows.';

CREATE FUNCTION migrate.mend(_run bigint, _column text, _expression text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  this   migrate.runs := (SELECT r FROM migrate.runs AS r WHERE r.run = _run AND r.direction = 'apply');
  why    text         := migrate.unfixable(_run, ARRAY[_column]);
  mended bigint;
BEGIN
  IF this.run IS NULL THEN
    PERFORM migrate.refuse(format('there is no run %s, or it is taken back', _run), 'SELECT * FROM migrate.history');
  ELSIF this.plan #>> '{steps,0,unavailable}' IS NOT NULL THEN
    PERFORM migrate.refuse(format('run %s keeps no values, so it could not take back what is mended', _run),
                           format('mend the rows by UPDATE, then CALL migrate.drive_rejects(%s)', _run));
  ELSIF why IS NOT NULL THEN
    PERFORM migrate.refuse(why, 'set another column of the rows; the key stays what it is');
  END IF;
  PERFORM migrate.seize(_run);
  EXECUTE (migrate.statement(_run, 'batches', 'settings')).text;
  PERFORM migrate.hold(_run);
  -- It is one expression: a function of one argument takes no list. On a line of its own, since it may end with a comment.
  EXECUTE format(E'SELECT pg_typeof((%s\n)) FROM %s AS t LIMIT 0', _expression, this.plan #>> '{tables,0,name}');
  mended := migrate.fix(_run, format(E'%I = (%s\n)', _column, _expression), ARRAY[_column]);
  PERFORM migrate.confirm(_run);
  RETURN mended;
END $$;
COMMENT ON FUNCTION migrate.mend IS 'Sets a column of the source rows that are in quarantine, as `migrate rejects --fix` does: migrate.mend(17, ''email'', ''lower(email)''), then CALL migrate.drive_rejects(17). The number of rows.';

-- As the batches are taken back: what is overwritten is kept first, with the rows locked meanwhile; one statement compares and
-- writes; and only one behind it sees what that has waited for.
CREATE FUNCTION migrate.unfix(_run bigint, _policy text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  target   text := (SELECT r.plan #>> '{tables,0,name}' FROM migrate.runs AS r WHERE r.run = _run);
  same_key text := migrate.key_match(_run, 'q.key');
  this     record;
  texts    text;
  assigned text;
BEGIN
  FOR this IN
    SELECT f.fix, f.columns FROM migrate.fixes AS f WHERE f.run = _run AND NOT f.reverted GROUP BY f.fix, f.columns ORDER BY f.fix DESC
  LOOP
    SELECT format('ARRAY[%s]', string_agg(format('CAST(t.%I AS text)', c.name), ', ' ORDER BY c.place)),
           string_agg(format('%I = CAST(q.before[%s] AS %s)', c.name, c.place, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY c.place)
    INTO   texts, assigned
    FROM   unnest(this.columns) WITH ORDINALITY AS c(name, place)
    JOIN   pg_attribute AS a ON a.attrelid = to_regclass(target) AND a.attname = c.name;
    IF _policy = 'force' THEN
      EXECUTE format($sql$
        WITH d AS MATERIALIZED (
          SELECT q.step, q.key, q.columns, q.after, %s AS found
          FROM   migrate.fixes AS q
          JOIN   %s AS t ON %s
          WHERE  q.run = $1 AND q.fix = $2 AND NOT q.reverted
          FOR    NO KEY UPDATE OF t
        )
        INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
        SELECT $1, d.step, -$2, d.key, 'overwritten', jsonb_object(d.columns, d.found)
        FROM   d
        WHERE  d.after IS DISTINCT FROM d.found $sql$, texts, target, same_key)
      USING _run, this.fix;
    END IF;
    EXECUTE format($sql$
      WITH back AS (
        UPDATE %s AS t
        SET    %s
        FROM   migrate.fixes AS q
        WHERE  q.run = $1 AND q.fix = $2 AND NOT q.reverted AND %s
          AND  (q.after IS NOT DISTINCT FROM %s
                OR EXISTS (SELECT
                           FROM   migrate.conflicts AS c
                           WHERE  (c.run, c.step, c.seq, c.key) = (q.run, q.step, -q.fix, q.key)))
        RETURNING q.step, q.key
      )
      INSERT INTO migrate.conflicts AS c (run, step, seq, key, reason)
      SELECT q.run, q.step, -q.fix, q.key, 'gone'
      FROM   migrate.fixes AS q
      WHERE  q.run = $1 AND q.fix = $2 AND NOT q.reverted
        AND  NOT EXISTS (SELECT FROM back AS b WHERE (b.step, b.key) = (q.step, q.key))
      -- Kept, and then a trigger has kept it from being overwritten.
      ON CONFLICT (run, step, seq, key) DO UPDATE SET reason = 'edited' $sql$, target, assigned, same_key, texts)
    USING _run, this.fix;
    EXECUTE format($sql$
      UPDATE migrate.conflicts AS c
      SET    reason = 'edited',
             found  = jsonb_object(q.columns, %s)
      FROM   migrate.fixes AS q, %s AS t
      WHERE  q.run = $1 AND q.fix = $2 AND NOT q.reverted AND %s
        AND  (c.run, c.step, c.seq, c.key) = (q.run, q.step, -q.fix, q.key)
        AND  c.reason = 'gone' $sql$, texts, target, same_key)
    USING _run, this.fix;
    UPDATE migrate.fixes AS q SET reverted = true WHERE q.run = _run AND q.fix = this.fix;
  END LOOP;
END $$;
COMMENT ON FUNCTION migrate.unfix IS 'Takes back what was mended, the last first, where the rows still are as they were mended, under force wherever they are; what they were instead goes to migrate.conflicts.';

CREATE FUNCTION migrate.mended_ahead(_run bigint) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
  target    text     := (SELECT r.plan #>> '{tables,0,name}' FROM migrate.runs AS r WHERE r.run = _run);
  names     text[]   := ARRAY(SELECT DISTINCT c FROM migrate.fixes AS f, unnest(f.columns) AS c WHERE f.run = _run AND NOT f.reverted);
  undo      regclass := to_regclass(format('migrate.undo_%s_1', _run));
  texts     text;
  conflicts bigint;
BEGIN
  IF names = '{}' THEN
    RETURN 0;
  END IF;
  -- A wrapped value comes out of its wrapper by itself, which has one column.
  SELECT string_agg(format(CASE WHEN o.attnum IS NULL THEN 'CAST(t.%1$I AS text)'
                                ELSE 'CASE WHEN b.run IS NULL THEN CAST(t.%1$I AS text) ELSE (SELECT CAST(o.v AS text) FROM unnest(u.%2$I) AS o(v)) END' END,
                           n.name, o.attname), ', ' ORDER BY n.place)
  INTO   texts
  FROM   unnest(names) WITH ORDINALITY AS n(name, place)
  LEFT   JOIN LATERAL (SELECT (c.col ->> 'number')::integer AS number
                       FROM   migrate.runs AS r, jsonb_array_elements(r.plan #> '{tables,0,columns}') AS c(col)
                       WHERE  r.run = _run AND c.col ->> 'name' = n.name) AS c ON true
  LEFT   JOIN pg_attribute AS o ON o.attrelid = undo AND o.attname = format('o_%s', c.number);
  EXECUTE format($sql$
    WITH mended AS (
      SELECT f.key, c.name, c.after, lead(f.fix) OVER later AS next, lead(c.before) OVER later AS found
      FROM   migrate.fixes AS f
      CROSS  JOIN LATERAL unnest(f.columns, f.before, f.after) AS c(name, before, after)
      WHERE  f.run = $1 AND NOT f.reverted
      WINDOW later AS (PARTITION BY f.key, c.name ORDER BY f.fix)
    ), now AS (
      SELECT q.key, t.ctid IS NULL AS is_gone, b.run IS NOT NULL AS is_done, jsonb_object($2, ARRAY[%s]) AS row
      FROM  (SELECT DISTINCT f.key FROM migrate.fixes AS f WHERE f.run = $1 AND NOT f.reverted) AS q
      LEFT   JOIN %s AS t ON %s
      LEFT   JOIN (migrate.batches AS b JOIN %s AS u ON (u.slice, u.ordinal, u.part) = (b.slice, b.ordinal, b.part) AND NOT u.reverted)
             ON (b.run, b.kind, b.slice) = ($1, 'apply', -1) AND b.through_key = q.key AND b.rows_changed > 0
    )
    SELECT count(DISTINCT m.key)
    FROM   mended AS m
    JOIN   now AS n USING (key)
    -- One that is gone and was done is among the conflicts of its batch.
    WHERE  CASE WHEN n.is_gone THEN NOT n.is_done
                ELSE m.after IS DISTINCT FROM CASE WHEN m.next IS NULL THEN n.row ->> m.name ELSE m.found END END $sql$,
    texts, target, migrate.key_match(_run, 'q.key'),
    coalesce(undo::text, '(SELECT 0 AS slice, 0 AS ordinal, 0 AS part, true AS reverted)'))
  INTO conflicts USING _run, names;
  RETURN conflicts;
END $$;
COMMENT ON FUNCTION migrate.mended_ahead IS 'How many mended rows a revert will find changed since, when the batches are back: each column then holds what the second try found in it, or what it holds now, and each mending must find what it has made of it.';

CREATE FUNCTION migrate.unfix_all(_run bigint, _policy text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  conflicts bigint := 0;
BEGIN
  IF EXISTS (SELECT FROM migrate.fixes AS f WHERE f.run = _run AND NOT f.reverted) THEN
    EXECUTE (migrate.statement(_run, 'revert', 'settings')).text;
    PERFORM migrate.hold(_run);
    PERFORM migrate.unfix(_run, _policy);
    -- A row once, however often it was mended, and not again when its batch has met it.
    INSERT INTO migrate.batches (run, kind, slice, ordinal, part, through_key, rows_read, rows_changed, rows_unchanged,
                                 rows_rejected, epoch, exact)
    SELECT _run, 'revert', -2, 1, 1, max(k.key), count(*), 0, 0, count(*), max(f.epoch), true
    FROM   migrate.fence AS f,
           (SELECT c.key
            FROM   migrate.conflicts AS c
            WHERE  c.run = _run AND c.reason <> 'overwritten'
            GROUP  BY c.key
            HAVING max(c.seq) < 0) AS k
    WHERE  f.run = _run
    HAVING count(*) > 0
    RETURNING rows_rejected INTO conflicts;
  END IF;
  RETURN coalesce(conflicts, 0);
END $$;
COMMENT ON FUNCTION migrate.unfix_all IS 'Takes back what was mended of a run''s rows; how many were changed since and are left, for which the ledger gets an entry.';

REVOKE ALL ON ALL ROUTINES IN SCHEMA migrate FROM PUBLIC;
