-- A batch whose capture tells, under the snapshot of the change, all that is kept: the change then only changes.

CREATE OR REPLACE FUNCTION migrate.attempt(_run bigint, _epoch integer, _work migrate.work, _size integer, _locked boolean)
RETURNS migrate.attempted
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  ended     migrate.attempted;
  given     jsonb := migrate.constants(_run, _epoch)
                     || jsonb_build_object('ordinal', _work.ordinal, 'size', _size, 'changed', NULL);
  columns   integer := cardinality(_work.upper_key);
  statement migrate.statements;
  found     json[];
  entry     json;
  captured  boolean := false;
BEGIN
  EXECUTE (migrate.statement(_run, 'batches', 'settings')).text;
  given := migrate.with_key(given, 'after', _work.after_key, columns);
  given := migrate.with_key(given, 'upper', _work.upper_key, columns);
  FOR statement IN
    SELECT s.* FROM migrate.statements AS s WHERE s.run = _run AND s.phase = 'batches' ORDER BY s.ordinal
  LOOP
    CASE
    -- Of the two ways to capture the attempt takes one, and of the two ways to change, by what the capture said. A plan of
    -- version 0.1 has another change for it, in whose place the usual one is right as well.
    WHEN statement.name IN ('settings', 'change every row', CASE WHEN _locked THEN 'capture' ELSE 'capture locked' END,
                            CASE WHEN captured THEN 'change' ELSE 'change as captured' END) THEN
      NULL;
    WHEN statement.name = 'capture' THEN
      SELECT coalesce((q ->> 'as_captured')::boolean, false) INTO captured
      FROM   migrate.query(statement.text, migrate.arguments(statement.arguments, given)) AS q;
      captured := coalesce(captured, false);
    WHEN statement.name = 'change as captured' THEN
      given := given || jsonb_build_object('changed',
        migrate.execute(statement.text, migrate.arguments(statement.arguments, given)));
    WHEN statement.name = 'bound' THEN
      ended.through_key :=
        migrate.fields((SELECT q FROM migrate.query(statement.text, migrate.arguments(statement.arguments, given)) AS q));
      -- Under one snapshot a bound that was found stands behind just as many rows as it was asked for.
      given := given || jsonb_build_object('eligible',
        CASE WHEN ended.through_key IS NOT NULL AND current_setting('transaction_isolation') = 'repeatable read' THEN _size END);
      ended.through_key := coalesce(ended.through_key, _work.upper_key);
      given := migrate.with_key(given, 'through', ended.through_key, columns);
    WHEN statement.name LIKE 'check: %' THEN
      found := ARRAY(SELECT q FROM migrate.query(statement.text, migrate.arguments(statement.arguments, given)) AS q);
      IF cardinality(found) > 0 THEN
        RETURN migrate.stopped(statement.name, found, ended.through_key);
      END IF;
    WHEN statement.name = 'finish' THEN
      -- What is deferred would fail at COMMIT, where nobody can catch it.
      SET CONSTRAINTS ALL IMMEDIATE;
      SELECT q INTO entry FROM migrate.query(statement.text, migrate.arguments(statement.arguments, given)) AS q;
      ended.verdict := CASE
        WHEN entry IS NULL THEN 'taken over'
        WHEN (entry ->> 'exact')::boolean THEN 'done'
        WHEN (entry ->> 'rows_changed')::bigint < (entry ->> 'rows_captured')::bigint THEN 'stopped'
        ELSE 'inexact' END;
      IF ended.verdict = 'stopped' THEN
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
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS ended.sqlstate = RETURNED_SQLSTATE, ended.message = MESSAGE_TEXT,
                          ended.detail = PG_EXCEPTION_DETAIL, ended.hint = PG_EXCEPTION_HINT;
  ended.verdict := 'error';
  RETURN ended;
END $$;
