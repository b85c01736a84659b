-- What a run must not go beyond without being asked: `expect`, compared before each batch with what the batches so far have found.

CREATE TABLE migrate.measures (
  run   bigint  NOT NULL REFERENCES migrate.runs,
  slice integer NOT NULL,
  name  text    NOT NULL,
  rows  bigint  NOT NULL,
  total numeric,
  lowest numeric,
  highest numeric,
  PRIMARY KEY (run, slice, name)
);
COMMENT ON TABLE  migrate.measures       IS 'Running figures of what a definition expects of its rows'' values, added up by each batch in its own transaction.';
COMMENT ON COLUMN migrate.measures.run   IS 'The run.';
COMMENT ON COLUMN migrate.measures.slice IS 'The chain of batches that they are of, so that workers do not wait for each other.';
COMMENT ON COLUMN migrate.measures.name  IS 'The name under expect.';
COMMENT ON COLUMN migrate.measures.rows  IS 'Changed rows for which the value is not NULL.';
COMMENT ON COLUMN migrate.measures.total IS 'The values'' sum.';
COMMENT ON COLUMN migrate.measures.lowest IS 'The least of them.';
COMMENT ON COLUMN migrate.measures.highest IS 'The greatest of them.';

CREATE FUNCTION migrate.figures(_run bigint)
RETURNS TABLE (name text, kind text, at_least numeric, least_included boolean, at_most numeric, most_included boolean, percent boolean,
               shown text, words text, figure numeric, read bigint, expected bigint)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT e.name, e.of, e.at_least, e.least_included, e.at_most, e.most_included, e.percent, e.text, e.words,
         CASE e.of
           WHEN 'rows'    THEN c.read
           WHEN 'changed' THEN CASE WHEN e.percent THEN c.changed  * 100.0 / nullif(c.read, 0) ELSE c.changed END
           WHEN 'rejects' THEN CASE WHEN e.percent THEN c.rejected * 100.0 / nullif(c.read, 0) ELSE c.rejected END
           WHEN 'avg'     THEN m.total / nullif(m.rows, 0)
           WHEN 'sum'     THEN m.total
           WHEN 'min'     THEN m.lowest
           WHEN 'max'     THEN m.highest
           WHEN 'count'   THEN coalesce(m.rows, 0) END,
         c.read, (r.outline #>> '{estimate,rows}')::bigint
  FROM   migrate.runs AS r
  CROSS  JOIN LATERAL jsonb_to_recordset(r.outline -> 'expect')
                AS e(name text, of text, text text, words text, at_least numeric, least_included boolean, at_most numeric,
                     most_included boolean, percent boolean)
  CROSS  JOIN LATERAL (SELECT coalesce(sum(t.rows_read), 0)::bigint AS read, coalesce(sum(t.rows_changed), 0) AS changed,
                              coalesce(sum(t.rows_rejected), 0) AS rejected
                       FROM   migrate.tallies AS t
                       WHERE  t.run = _run) AS c
  CROSS  JOIN LATERAL (SELECT sum(s.rows) AS rows, sum(s.total) AS total, min(s.lowest) AS lowest, max(s.highest) AS highest
                       FROM   migrate.measures AS s
                       WHERE  s.run = _run AND s.name = e.name) AS m
  WHERE  r.run = _run
$$;
COMMENT ON FUNCTION migrate.figures IS 'What a run expects, and what its batches so far have come to.';

CREATE FUNCTION migrate.figure_text(_figure numeric) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  -- A numeric has up to 131,072 digits, and to_char no word for what is no number.
  SELECT CASE WHEN _figure::text ~ '[a-z]'    THEN _figure::text
              WHEN abs(_figure) < 1e15        THEN trim_scale(round(_figure, 6))::text
              ELSE btrim(to_char(_figure, '9.99999EEEE')) END
$$;
COMMENT ON FUNCTION migrate.figure_text IS 'A figure as people read it.';

CREATE FUNCTION migrate.breach(_run bigint, _final boolean) RETURNS TABLE (name text, message text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT f.name,
         format('%s is %s%s%s, expected %s', f.name, migrate.figure_text(f.figure), CASE WHEN f.percent THEN '%' END,
                CASE WHEN f.shown <> f.name THEN format(' (%s)', f.shown) END, f.words)
         || CASE WHEN _final THEN '' ELSE ', after ' || migrate.counted(f.read::bigint, 'row') END
  FROM   migrate.figures(_run) AS f
  JOIN   migrate.runs AS r ON r.run = _run
  -- What only grows can be too much at any time and too little only at the end; what only falls, the other way round. A mean or a
  -- part says little of the first rows: of a thousand, or of as many as are expected, or of a whole canary, which is there to be judged.
  CROSS  JOIN LATERAL (SELECT _final OR (f.percent OR f.kind = 'avg')
                                        AND (f.read >= least(1000, f.expected)
                                             OR r.outline ? 'canary' AND EXISTS (SELECT FROM migrate.canary_done(_run))) AS is_settled) AS s
  WHERE  NOT f.name = ANY (r.accepted)
    AND (   (s.is_settled OR f.kind = 'min' ) AND (f.figure < f.at_least OR f.figure = f.at_least AND NOT f.least_included)
         OR (s.is_settled OR NOT f.percent AND f.kind IN ('rows', 'changed', 'rejects', 'count', 'sum', 'max'))
            AND (f.figure > f.at_most OR f.figure = f.at_most AND NOT f.most_included))
$$;
COMMENT ON FUNCTION migrate.breach IS 'What of a run is not as expected, in words; without _final what can be told before the last batch. What resume has accepted is left out.';

CREATE FUNCTION migrate.heed(_run bigint, _worker integer, _epoch integer, _final boolean) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  breached record;
BEGIN
  SELECT b.name, b.message INTO breached FROM migrate.breach(_run, _final) AS b LIMIT 1;
  IF breached.name IS NULL THEN
    RETURN NULL;
  END IF;
  -- The edge tells why not.
  IF NOT migrate.may_move(_run, _epoch) THEN
    RETURN '';
  END IF;
  PERFORM migrate.fail(_run, 'pause_requested', 'MG004', breached.message, NULL,
                       format('`migrate resume %s` accepts it and goes on; `migrate revert %s` takes back what is done', _run, _run),
                       NULL, breached.name, NULL, NULL);
  PERFORM migrate.reach_edge(_run, _worker, _epoch);
  RETURN breached.message;
END $$;
COMMENT ON FUNCTION migrate.heed IS 'Has a run pause that is not as expected; in words why, else NULL. Empty: it is not, and something else was asked of it, which the edge of the batch tells.';

REVOKE ALL ON ALL TABLES   IN SCHEMA migrate FROM PUBLIC;
REVOKE ALL ON ALL ROUTINES IN SCHEMA migrate FROM PUBLIC;
