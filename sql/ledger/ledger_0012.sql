-- Rows of quarantine, mended -----------------------------------------------------------------------------------------------

CREATE TABLE migrate.fixes (
  run         bigint      NOT NULL REFERENCES migrate.runs,
  fix         integer     NOT NULL,
  step        integer     NOT NULL,
  key         text[]      NOT NULL,
  columns     text[]      NOT NULL,
  before      text[]      NOT NULL,
  after       text[],
  set_list    text        NOT NULL,
  fixed_by    text        NOT NULL DEFAULT session_user,
  fixed_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
  reverted    boolean     NOT NULL DEFAULT false,
  request     bigint,
  restored_at timestamptz,
  PRIMARY KEY (run, fix, step, key)
);
COMMENT ON TABLE  migrate.fixes             IS 'Source rows in quarantine that were mended by `migrate rejects --fix`: what takes it back.';
COMMENT ON COLUMN migrate.fixes.run         IS 'The run in whose quarantine they are.';
COMMENT ON COLUMN migrate.fixes.fix         IS 'Counts the commands; a revert goes through them backwards.';
COMMENT ON COLUMN migrate.fixes.step        IS 'The step that had failed.';
COMMENT ON COLUMN migrate.fixes.key         IS 'The row''s key, as in migrate.rejects.';
COMMENT ON COLUMN migrate.fixes.columns     IS 'The columns that were set, and those that triggers have changed with that.';
COMMENT ON COLUMN migrate.fixes.before      IS 'What they held, each as its type''s text.';
COMMENT ON COLUMN migrate.fixes.after       IS 'What they were set to, as it was stored.';
COMMENT ON COLUMN migrate.fixes.set_list    IS 'SET, as it was given.';
COMMENT ON COLUMN migrate.fixes.fixed_by    IS 'The role that did it.';
COMMENT ON COLUMN migrate.fixes.fixed_at    IS 'When.';
COMMENT ON COLUMN migrate.fixes.reverted    IS 'Whether a revert has come to it; what that has left as it was found stands in migrate.conflicts.';
COMMENT ON COLUMN migrate.fixes.request     IS 'migrate.requests.seq, where it is noted with its reason.';
COMMENT ON COLUMN migrate.fixes.restored_at IS 'When a revert came to it.';

CREATE TABLE migrate.mendings (
  run      bigint  NOT NULL REFERENCES migrate.runs,
  fix      integer NOT NULL,
  name     text    NOT NULL,
  number   integer NOT NULL,
  type     text    NOT NULL,
  type_oid oid     NOT NULL,
  behind   bigint  NOT NULL,
  PRIMARY KEY (run, fix, name)
);
COMMENT ON TABLE  migrate.mendings          IS 'The columns in which rows in quarantine were mended, as long as that is not taken back.';
COMMENT ON COLUMN migrate.mendings.run      IS 'The run.';
COMMENT ON COLUMN migrate.mendings.fix      IS 'migrate.fixes.fix.';
COMMENT ON COLUMN migrate.mendings.name     IS 'What the column was called.';
COMMENT ON COLUMN migrate.mendings.number   IS 'Its number in the table.';
COMMENT ON COLUMN migrate.mendings.type     IS 'Its type.';
COMMENT ON COLUMN migrate.mendings.type_oid IS 'The number of that.';
COMMENT ON COLUMN migrate.mendings.behind   IS 'migrate.batches.seq of the last batch that the run had then: a revert takes back those that came later first.';
REVOKE ALL ON migrate.fixes, migrate.mendings FROM PUBLIC;

CREATE FUNCTION migrate.text_of(_value anyelement) RETURNS text
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
  -- What the type's output function gives: a cast leaves out the blanks at the end of bpchar, and may be anybody's.
  SELECT format('%s', _value)
$$;
COMMENT ON FUNCTION migrate.text_of IS 'A value as text, from which its type reads the same value.';

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
  CROSS  JOIN LATERAL (SELECT ARRAY(SELECT jsonb_array_elements_text(r.outline -> 'key')) AS names) AS c
  CROSS  JOIN LATERAL unnest(c.names, migrate.key_values(to_regclass(r.outline #>> '{tables,0,name}'), c.names, _key)) AS k(name, value)
  WHERE  r.run = _run
$$;
COMMENT ON FUNCTION migrate.key_match IS 'SQL: the row t of a run''s table has the key that the expression _key gives as texts.';

CREATE FUNCTION migrate.unfixable(_run bigint, _columns text[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE
           WHEN a.attnum IS NULL           THEN format('%s has no column %I', r.outline #>> '{tables,0,name}', c.name)
           WHEN r.outline -> 'key' ? c.name   THEN format('%I is the key, by which quarantine knows the row', c.name)
           WHEN a.attgenerated <> ''       THEN format('%I is generated', c.name)
           WHEN a.attidentity <> ''        THEN format('%I is an identity, whose values the database gives', c.name)
           ELSE format('the key %I, by which quarantine knows the row, is computed from %I', led.name, c.name)
         END AS why
  FROM   migrate.runs AS r
  -- Where the table is gone, that is told by whoever holds it.
  JOIN   pg_class AS t ON t.oid = to_regclass(r.outline #>> '{tables,0,name}')
  CROSS  JOIN unnest(_columns) WITH ORDINALITY AS c(name, place)
  LEFT   JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attname = c.name
                               AND a.attnum > 0 AND NOT a.attisdropped
  -- The part of the key that PostgreSQL would compute anew.
  LEFT   JOIN LATERAL (
    SELECT k.attname AS name
    FROM   pg_attribute AS k
    WHERE  k.attrelid = t.oid AND r.outline -> 'key' ? k.attname::text AND c.name = ANY (migrate.computed_from(k.attrelid, k.attnum))
    ORDER  BY k.attnum
    LIMIT  1) AS led ON true
  WHERE  r.run = _run
    AND  (a.attnum IS NULL OR r.outline -> 'key' ? c.name OR a.attgenerated <> '' OR a.attidentity <> '' OR led.name IS NOT NULL)
  ORDER  BY c.place
  LIMIT  1
$$;
COMMENT ON FUNCTION migrate.unfixable IS 'Why one of these columns cannot be set to mend a row; NULL when all can.';

-- The condition stands by itself in a query of the table alone, so that the names in it are the table's.
CREATE FUNCTION migrate.those_where(_run bigint, _where text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT format(CASE WHEN _where IS NULL THEN '%s' ELSE E'(SELECT t.* FROM %s AS t WHERE (%s\n))' END, r.outline #>> '{tables,0,name}', _where)
  FROM   migrate.runs AS r
  WHERE  r.run = _run
$$;
COMMENT ON FUNCTION migrate.those_where IS 'SQL for the rows of a run''s table that fulfil a condition, which has been parsed; without one for the table.';

-- No SET clause here and below: the caller's settings, which are the plan's, decide about the meaning of _set and _where.
CREATE FUNCTION migrate.fixable(_run bigint, _where text) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
  found bigint;
BEGIN
  EXECUTE format('SELECT count(*) FROM migrate.rejects AS q JOIN %s AS t ON %s WHERE q.run = $1 AND q.state = $2',
                 migrate.those_where(_run, _where), migrate.key_match(_run, 'q.key'))
  INTO found USING _run, 'open';
  RETURN found;
END $$;
COMMENT ON FUNCTION migrate.fixable IS 'How many of the source rows that are in quarantine fulfil a condition.';

-- What triggers make of the rows besides is kept with what is set. Of a table that has them every column is looked at, and none of
-- another table.
CREATE FUNCTION migrate.fix_columns(_run bigint, _columns text[]) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT _columns || ARRAY(SELECT a.attname::text
                           FROM   pg_attribute AS a
                           WHERE  a.attrelid = l.table AND a.attnum > 0 AND NOT a.attisdropped
                             AND  a.attgenerated = '' AND a.attidentity = ''
                             AND  a.attname::text COLLATE "C" <> ALL (_columns) AND NOT r.outline -> 'key' ? a.attname::text
                             AND  EXISTS (SELECT
                                          FROM   pg_trigger AS g
                                          WHERE  g.tgrelid IN (SELECT l.table UNION SELECT d.relid FROM pg_partition_tree(l.table) AS d)
                                            -- TRIGGER_TYPE_UPDATE of PostgreSQL's src/include/catalog/pg_trigger.h.
                                            AND  NOT g.tgisinternal AND g.tgtype & 16 <> 0)
                           ORDER  BY a.attnum)
  FROM   migrate.runs AS r
  CROSS  JOIN LATERAL (SELECT to_regclass(r.outline #>> '{tables,0,name}') AS table) AS l
  WHERE  r.run = _run
$$;
COMMENT ON FUNCTION migrate.fix_columns IS 'The columns that are set, and behind them those that the table''s triggers may write.';

CREATE FUNCTION migrate.note_mending(_run bigint, _fix integer) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO migrate.mendings (run, fix, name, number, type, type_oid, behind)
  SELECT _run, _fix, a.attname, a.attnum, format_type(a.atttypid, a.atttypmod), a.atttypid,
         (SELECT max(b.seq) FROM migrate.batches AS b WHERE b.run = _run AND b.kind = 'apply')
  FROM   migrate.runs AS r
  JOIN   pg_attribute AS a ON a.attrelid = to_regclass(r.outline #>> '{tables,0,name}') AND a.attnum > 0 AND NOT a.attisdropped
  WHERE  r.run = _run
    AND  a.attname IN (SELECT c FROM migrate.fixes AS f, unnest(f.columns) AS c WHERE f.run = _run AND f.fix = _fix)
$$;
COMMENT ON FUNCTION migrate.note_mending IS 'Notes which columns rows in quarantine were mended in, and behind which batch.';

CREATE FUNCTION migrate.fix(
  _run bigint, _set text, _columns text[], _where text, _reason text, _client_host text
) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
  target text    := (SELECT r.outline #>> '{tables,0,name}' FROM migrate.runs AS r WHERE r.run = _run);
  number integer := (SELECT coalesce(max(f.fix), 0) + 1 FROM migrate.fixes AS f WHERE f.run = _run);
  names  text[]  := migrate.fix_columns(_run, _columns);
  texts  text    := (SELECT string_agg(format('migrate.text_of(t.%I)', c.name), ', ' ORDER BY c.place)
                     FROM   unnest(names) WITH ORDINALITY AS c(name, place));
  keys   text    := (SELECT string_agg(format('t.%I', k.name), ', ')
                     FROM   migrate.runs AS r, jsonb_array_elements_text(r.outline -> 'key') AS k(name)
                     WHERE  r.run = _run);
  same   text    := migrate.key_match(_run, 'q.key');
  mended bigint;
  moved  bigint;
  noted  bigint;
BEGIN
  IF EXISTS (SELECT FROM migrate.statements AS s WHERE s.run = _run AND s.name = 'image table') THEN
    PERFORM migrate.refuse(format('rows in quarantine of run %s cannot be mended so: a run with several steps does not keep what was mended', _run),
                           'mend them by an UPDATE of your own, then `migrate apply --rejects`');
  END IF;
  EXECUTE format($sql$
    INSERT INTO migrate.fixes (run, fix, step, key, columns, before, set_list)
    SELECT q.run, %s, q.step, q.key, $2, ARRAY[%s], $3
    FROM   migrate.rejects AS q
    JOIN   %s AS t ON %s
    WHERE  q.run = $1 AND q.state = 'open'
    FOR    NO KEY UPDATE OF t $sql$, number, texts, migrate.those_where(_run, _where), same)
  USING _run, names, _set;
  -- A later run may have written these rows while they were waited for.
  PERFORM migrate.refuse_covered(_run, _columns);
  -- No other relation beside the table, so that the names in _set are its own. What a trigger has kept from being changed is not
  -- mended.
  EXECUTE format($sql$
    WITH t AS (
      UPDATE %s AS t SET %s
      WHERE  EXISTS (SELECT FROM migrate.fixes AS q WHERE q.run = $1 AND q.fix = $2 AND %s)
      RETURNING %s
    ), unchanged AS (
      DELETE FROM migrate.fixes AS q WHERE q.run = $1 AND q.fix = $2 AND NOT EXISTS (SELECT FROM t WHERE %s)
    )
    SELECT count(*), count(*) FILTER (WHERE NOT EXISTS (SELECT FROM migrate.fixes AS q WHERE q.run = $1 AND q.fix = $2 AND %s))
    FROM   t $sql$, target, _set || E'\n', same, keys, same, same)
  INTO mended, moved USING _run, number;
  IF moved > 0 THEN
    PERFORM migrate.refuse(format('a trigger gives %s of the rows another key, by which nobody finds them again', moved),
                           'nothing has been mended');
  END IF;
  IF mended > 0 THEN
    -- On a line of its own where the list may end with a comment.
    noted := migrate.note_request(_run, 'mend', _reason, _client_host,
                                  'SET ' || btrim(_set)
                                  || coalesce(CASE WHEN _set LIKE '%--%' THEN E'\nWHERE ' ELSE ' WHERE ' END || btrim(_where), ''));
  END IF;
  EXECUTE format($sql$
    UPDATE migrate.fixes AS q
    SET    request = $3,
           (columns, before, after) = (SELECT array_agg(c.name ORDER BY c.place), array_agg(c.before ORDER BY c.place),
                                              array_agg(c.after ORDER BY c.place)
                                       FROM   unnest(q.columns, q.before, ARRAY[%s]) WITH ORDINALITY AS c(name, before, after, place)
                                       WHERE  c.name COLLATE "C" = ANY ($4) OR c.before COLLATE "C" IS DISTINCT FROM c.after)
    FROM   %s AS t
    WHERE  q.run = $1 AND q.fix = $2 AND %s $sql$, texts, target, same)
  USING _run, number, noted, _columns;
  PERFORM migrate.note_mending(_run, number);
  EXECUTE format($sql$
    UPDATE migrate.rejects AS q
    SET    fixed_row = migrate.row_image(t.*)
    FROM   migrate.fixes AS f, %s AS t
    WHERE  f.run = $1 AND f.fix = $2 AND (q.run, q.step, q.key) = (f.run, f.step, f.key) AND %s $sql$, target, same)
  USING _run, number;
  RETURN mended;
END $$;
COMMENT ON FUNCTION migrate.fix IS 'Sets columns of the source rows that are in quarantine, of all or of those that fulfil _where, keeps what they held and what they hold now, and notes who asked for it. _set has been parsed: assignments, and nothing behind them; so has _where, a condition. The number of rows.';

CREATE FUNCTION migrate.mend(
  _run bigint, _column text, _expression text, _reason text DEFAULT NULL, _where text DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
-- The plan's settings are made within; here they are named, so that the caller's are back behind it.
SET timezone = 'UTC' SET datestyle = 'ISO, YMD' SET intervalstyle = 'postgres' SET extra_float_digits = 1 SET bytea_output = 'hex'
SET xmloption = 'content' SET lc_numeric = 'C' SET lc_monetary = 'C' SET row_security = off SET standard_conforming_strings = on
SET jit = off SET synchronous_commit = on SET statement_timeout = 0 SET lock_timeout = 0 SET idle_in_transaction_session_timeout = 0
SET client_connection_check_interval = 0 AS $$
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
  PERFORM migrate.seize_applied(_run);
  PERFORM migrate.refuse_covered(_run, ARRAY[_column]);
  EXECUTE (migrate.statement(_run, 'batches', 'settings')).text;
  PERFORM migrate.guard_table(_run);
  -- It is one expression: a function of one argument takes no list. On a line of its own, since it may end with a comment.
  EXECUTE format(E'SELECT pg_typeof((%s\n)) FROM %s AS t LIMIT 0', _expression, this.plan #>> '{tables,0,name}');
  IF _where IS NOT NULL THEN
    EXECUTE format(E'SELECT pg_typeof((%s\n)) FROM %s AS t LIMIT 0', _where, this.plan #>> '{tables,0,name}');
  END IF;
  mended := migrate.fix(_run, format(CASE strpos(_expression, '--') WHEN 0 THEN '%I = (%s)' ELSE E'%I = (%s\n)' END, _column, _expression),
                        ARRAY[_column], _where, _reason, NULL);
  PERFORM migrate.confirm(_run);
  RETURN mended;
END $$;
COMMENT ON FUNCTION migrate.mend IS 'Sets a column of the source rows that are in quarantine, as `migrate rejects --fix` does: migrate.mend(17, ''email'', ''lower(email)''), then CALL migrate.drive_rejects(17). _reason is noted with it; _where, a condition, leaves out the rows that do not fulfil it. The number of rows.';

CREATE FUNCTION migrate.mended_ahead(_run bigint) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
  target    text     := (SELECT r.outline #>> '{tables,0,name}' FROM migrate.runs AS r WHERE r.run = _run);
  names     text[]   := ARRAY(SELECT DISTINCT c FROM migrate.fixes AS f, unnest(f.columns) AS c WHERE f.run = _run AND NOT f.reverted);
  undo      regclass := migrate.claims(_run);
  texts     text;
  conflicts bigint;
BEGIN
  IF names = '{}' THEN
    RETURN 0;
  END IF;
  -- A wrapped value comes out of its wrapper by itself, which has one column.
  SELECT string_agg(format(CASE WHEN o.attnum IS NULL THEN 'migrate.text_of(t.%1$I)'
                                ELSE 'CASE WHEN b.run IS NULL THEN migrate.text_of(t.%1$I) ELSE (SELECT migrate.text_of(o.v) FROM unnest(u.%2$I) AS o(v)) END' END,
                           n.name, o.attname), ', ' ORDER BY n.place)
  INTO   texts
  FROM   unnest(names) WITH ORDINALITY AS n(name, place)
  LEFT   JOIN LATERAL (SELECT (c.col ->> 'number')::integer AS number
                       FROM   migrate.runs AS r, jsonb_array_elements(r.outline #> '{tables,0,columns}') AS c(col)
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

CREATE FUNCTION migrate.mendings_due(_run bigint, _seq bigint) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN EXISTS (SELECT FROM migrate.mendings AS m WHERE m.run = _run AND m.behind >= coalesce(_seq, 0));
END $$;
COMMENT ON FUNCTION migrate.mendings_due IS 'Whether a revert has rows to take back that were mended behind the batch that it takes back next, NULL: behind any. What a row was before can be in the way of what another one was earlier.';

CREATE FUNCTION migrate.unfix_due(_run bigint, _policy text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  next      bigint;
  conflicts bigint;
BEGIN
  -- An old backend of ours may be at its COMMIT still; what it has taken back is not taken back twice.
  PERFORM FROM migrate.mendings AS m WHERE m.run = _run FOR UPDATE;
  next := (SELECT n.seq FROM migrate.next_to_restore(_run) AS n);
  IF migrate.mendings_due(_run, next) THEN
    EXECUTE (migrate.statement(_run, 'revert', 'settings')).text;
    PERFORM migrate.guard_table(_run);
    PERFORM migrate.unfix(_run, _policy, coalesce(next, 0));
    -- A row once, however often it was mended, and not again when its batch has met it.
    INSERT INTO migrate.batches (run, kind, slice, ordinal, part, through_key, rows_read, rows_changed, rows_unchanged,
                                 rows_rejected, epoch, exact)
    SELECT _run, 'revert', -2, e.entries + 1, 1, max(k.key), count(*) - e.rows, 0, 0, count(*) - e.rows, max(f.epoch), true
    FROM   migrate.fence AS f,
           (SELECT count(*) AS entries, coalesce(sum(b.rows_rejected), 0) AS rows
            FROM   migrate.batches AS b
            WHERE  b.run = _run AND b.kind = 'revert' AND b.slice = -2) AS e,
           (SELECT c.key
            FROM   migrate.conflicts AS c
            WHERE  c.run = _run AND c.reason <> 'overwritten'
            GROUP  BY c.key
            HAVING max(c.seq) < 0) AS k
    WHERE  f.run = _run
    GROUP  BY e.entries, e.rows
    HAVING count(*) > e.rows
    RETURNING rows_rejected INTO conflicts;
  END IF;
  RETURN coalesce(conflicts, 0);
END $$;
COMMENT ON FUNCTION migrate.unfix_due IS 'Takes back what was mended of a run''s rows behind the batch that is taken back next; how many were changed since and are left, for which the ledger gets an entry.';

REVOKE ALL ON ALL ROUTINES IN SCHEMA migrate FROM PUBLIC;
