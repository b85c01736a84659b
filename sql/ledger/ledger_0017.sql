-- Rows that were mended, taken back: as the batches are, and row by row where a constraint refuses what was there before.

-- As the batches are taken back: what is overwritten is kept first, with the rows locked meanwhile; one statement compares and
-- writes; and only one behind it sees what that has waited for. Then what triggers have written on the way is put right without them.
CREATE FUNCTION migrate.unfix_rows(_run bigint, _fix integer, _columns text[], _policy text, _key text[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  target    text := (SELECT r.outline #>> '{tables,0,name}' FROM migrate.runs AS r WHERE r.run = _run);
  same_key  text := migrate.key_match(_run, 'q.key');
  meant     CONSTANT text := 'q.run = $1 AND q.fix = $2 AND q.columns = $3 AND ($4 IS NULL OR q.key = $4) AND NOT q.reverted';
  off       text := (SELECT s.text FROM migrate.statements AS s WHERE s.run = _run AND s.phase = 'revert' AND s.name = 'triggers off');
  texts     text;
  assigned  text;
  fits      text;
  misfit    text[];
  rewritten text;
  is_rewritten boolean;
BEGIN
  -- Compared byte by byte, whatever the columns' collations are. No cast to a length, which would cut.
  SELECT format('ARRAY[%s]', string_agg(format('migrate.text_of(t.%I) COLLATE "C"', c.name), ', ' ORDER BY c.place)),
         string_agg(format('%I = CAST(q.before[%s] AS %s)', c.name, c.place, format_type(a.atttypid, -1)), ', ' ORDER BY c.place),
         string_agg(format(CASE a.atttypid WHEN 'numeric'::regtype THEN 'CAST(q.before[%1$s] AS numeric) IS NOT DISTINCT FROM CAST(q.before[%1$s] AS %2$s)'
                           ELSE 'q.before[%1$s] COLLATE "C" IS NOT DISTINCT FROM migrate.text_of(CAST(q.before[%1$s] AS %2$s))' END,
                           c.place, format_type(a.atttypid, a.atttypmod)), ' AND ' ORDER BY c.place) FILTER (WHERE a.atttypmod <> -1)
  INTO   texts, assigned, fits
  FROM   unnest(_columns) WITH ORDINALITY AS c(name, place)
  JOIN   pg_attribute AS a ON a.attrelid = to_regclass(target) AND a.attname = c.name;
  IF fits IS NOT NULL THEN
    EXECUTE format('SELECT q.key FROM migrate.fixes AS q WHERE %s AND NOT (%s) LIMIT 1', meant, fits)
    INTO misfit USING _run, _fix, _columns, _key;
    IF misfit IS NOT NULL THEN
      RAISE EXCEPTION 'a column is too short now, or not as exact, for the value that it held' USING ERRCODE = 'string_data_right_truncation';
    END IF;
  END IF;
  IF _policy = 'force' THEN
    EXECUTE format($sql$
      WITH d AS MATERIALIZED (
        SELECT q.step, q.key, q.columns, q.after, %s AS found
        FROM   migrate.fixes AS q
        JOIN   %s AS t ON %s
        WHERE  %s
        FOR    NO KEY UPDATE OF t
      )
      INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
      SELECT $1, d.step, -$2, d.key, 'overwritten', jsonb_object(d.columns, d.found)
      FROM   d
      WHERE  d.after IS DISTINCT FROM d.found $sql$, texts, target, same_key, meant)
    USING _run, _fix, _columns, _key;
  END IF;
  EXECUTE format($sql$
    WITH back AS (
      UPDATE %s AS t
      SET    %s
      FROM   migrate.fixes AS q
      WHERE  %s AND %s
        AND  (q.after IS NOT DISTINCT FROM %s
              OR EXISTS (SELECT
                         FROM   migrate.conflicts AS c
                         WHERE  (c.run, c.step, c.seq, c.key) = (q.run, q.step, -q.fix, q.key)))
      RETURNING q.step, q.key
    )
    INSERT INTO migrate.conflicts AS c (run, step, seq, key, reason)
    SELECT q.run, q.step, -q.fix, q.key, 'gone'
    FROM   migrate.fixes AS q
    WHERE  %s
      AND  NOT EXISTS (SELECT FROM back AS b WHERE (b.step, b.key) = (q.step, q.key))
    -- Kept, and then a trigger has kept it from being overwritten.
    ON CONFLICT (run, step, seq, key) DO UPDATE SET reason = 'edited' $sql$, target, assigned, meant, same_key, texts, meant)
  USING _run, _fix, _columns, _key;
  EXECUTE format($sql$
    UPDATE migrate.conflicts AS c
    SET    reason = 'edited',
           found  = jsonb_object(q.columns, %s)
    FROM   migrate.fixes AS q, %s AS t
    WHERE  %s AND %s
      AND  (c.run, c.step, c.seq, c.key) = (q.run, q.step, -q.fix, q.key)
      AND  c.reason = 'gone' $sql$, texts, target, meant, same_key)
  USING _run, _fix, _columns, _key;
  IF off IS NOT NULL THEN
    rewritten := format($sql$ %s AND %s AND q.before IS DISTINCT FROM %s
      AND  NOT EXISTS (SELECT
                       FROM   migrate.conflicts AS c
                       WHERE  (c.run, c.step, c.seq, c.key) = (q.run, q.step, -q.fix, q.key) AND c.reason <> 'overwritten') $sql$,
      meant, same_key, texts);
    EXECUTE format('SELECT EXISTS (SELECT FROM migrate.fixes AS q, %s AS t WHERE %s)', target, rewritten)
    INTO is_rewritten USING _run, _fix, _columns, _key;
    IF is_rewritten THEN
      EXECUTE off;
      EXECUTE format('UPDATE %s AS t SET %s FROM migrate.fixes AS q WHERE %s', target, assigned, rewritten)
      USING _run, _fix, _columns, _key;
      EXECUTE (migrate.statement(_run, 'revert', 'triggers on')).text;
    END IF;
  END IF;
  -- What is deferred fails here as well.
  SET CONSTRAINTS ALL IMMEDIATE;
  SET CONSTRAINTS ALL DEFERRED;
END $$;
COMMENT ON FUNCTION migrate.unfix_rows IS 'Takes back those rows of a mending whose columns these are, or the one with a key.';

-- A constraint that was added NOT VALID refuses what was there before, and an exclusive one what has come since.
CREATE FUNCTION migrate.unfix(_run bigint, _policy text, _next bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  this   record;
  row_   record;
  detail text;
BEGIN
  FOR this IN
    SELECT f.fix, f.columns
    FROM   migrate.fixes AS f
    WHERE  f.run = _run AND NOT f.reverted
      AND  f.fix IN (SELECT m.fix FROM migrate.mendings AS m WHERE m.run = _run AND m.behind >= _next)
    GROUP  BY f.fix, f.columns
    ORDER  BY f.fix DESC, f.columns
  LOOP
    BEGIN
      PERFORM migrate.unfix_rows(_run, this.fix, this.columns, _policy, NULL);
    EXCEPTION WHEN OTHERS OR ASSERT_FAILURE THEN
      IF migrate.error_class(SQLSTATE) <> 'row' THEN
        RAISE;
      END IF;
      FOR row_ IN
        SELECT f.step, f.key
        FROM   migrate.fixes AS f
        WHERE  f.run = _run AND f.fix = this.fix AND f.columns = this.columns
        ORDER  BY f.key
      LOOP
        BEGIN
          PERFORM migrate.unfix_rows(_run, this.fix, this.columns, _policy, row_.key);
        EXCEPTION WHEN OTHERS OR ASSERT_FAILURE THEN
          IF migrate.error_class(SQLSTATE) <> 'row' THEN
            RAISE;
          ELSIF _policy = 'stop' THEN
            GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
            RAISE EXCEPTION 'row (%) cannot have back what it held before it was mended: %', array_to_string(row_.key, ', '), SQLERRM
            USING ERRCODE = 'MG003', DETAIL = detail,
                  HINT = format('`migrate revert %s --on-conflict skip` leaves it as it was mended; or drop the constraint, or widen the column, and `migrate revert %s` goes on', _run, _run);
          END IF;
          EXECUTE format($sql$
            INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
            SELECT $1, $2, -$3, $4, 'refused', jsonb_object($5, ARRAY[%s])
            FROM   %s AS t, (SELECT $4 AS key) AS q
            WHERE  %s $sql$,
            (SELECT string_agg(format('migrate.text_of(t.%I)', c.name), ', ' ORDER BY c.place)
             FROM   unnest(this.columns) WITH ORDINALITY AS c(name, place)),
            (SELECT r.outline #>> '{tables,0,name}' FROM migrate.runs AS r WHERE r.run = _run), migrate.key_match(_run, 'q.key'))
          USING _run, row_.step, this.fix, row_.key, this.columns;
        END;
      END LOOP;
    END;
    UPDATE migrate.fixes AS q SET reverted = true, restored_at = clock_timestamp()
    WHERE  q.run = _run AND q.fix = this.fix AND q.columns = this.columns;
  END LOOP;
  DELETE FROM migrate.mendings AS m WHERE m.run = _run AND m.behind >= _next;
END $$;
COMMENT ON FUNCTION migrate.unfix IS 'Takes back what was mended behind batch _next, the last first, where the rows still are as they were mended, under force wherever they are; what they were instead goes to migrate.conflicts, and so do rows of which the database refuses what they were.';

REVOKE ALL ON ALL ROUTINES IN SCHEMA migrate FROM PUBLIC;
