-- Published at once: batches compute, one transaction shows what they have computed, and one takes it back.

CREATE FUNCTION migrate.is_unpublished(_run bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT r.outline ->> 'publish' IS NOT DISTINCT FROM 'at_once' AND r.published_at IS NULL
  FROM   migrate.runs AS r
  WHERE  r.run = _run
$$;
COMMENT ON FUNCTION migrate.is_unpublished IS 'Whether a run that is published at once is not yet: nobody can see anything of it.';

CREATE FUNCTION migrate.to_publish(_run bigint, OUT slice integer, OUT ordinal integer, OUT part integer, OUT rows bigint) RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT b.slice, b.ordinal, b.part, b.rows_changed
  FROM   migrate.batches AS b
  WHERE  b.run = _run AND b.kind = 'apply' AND b.slice >= 0 AND b.rows_changed > 0
  ORDER  BY b.slice, b.ordinal, b.part
$$;
COMMENT ON FUNCTION migrate.to_publish IS 'What the batches of a run have computed, in the order of the key.';

CREATE FUNCTION migrate.published(_run bigint) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  UPDATE migrate.runs SET published_at = clock_timestamp() WHERE run = _run
$$;
COMMENT ON FUNCTION migrate.published IS 'Writes down, in the transaction that shows all rows of a run, that it does.';

CREATE FUNCTION migrate.forget(_run bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF migrate.is_unpublished(_run) AND migrate.has_undo(_run) THEN
    EXECUTE (migrate.statement(_run, 'publish', 'forget')).text;
    UPDATE migrate.batches AS b
    SET    rows_changed = 0, rows_unchanged = b.rows_unchanged + b.rows_changed
    WHERE  b.run = _run AND b.kind = 'apply' AND b.slice >= 0 AND b.rows_changed > 0;
  END IF;
END $$;
COMMENT ON FUNCTION migrate.forget IS 'Lets go of what an unpublished run has computed, so that a revert has nothing to take back.';

CREATE FUNCTION migrate.show(_run bigint, _given jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  statement migrate.statements;
BEGIN
  FOR statement IN
    SELECT s.*
    FROM   migrate.statements AS s
    WHERE  s.run = _run AND s.phase = 'publish' AND s.name IN ('publish', 'image')
    ORDER  BY s.ordinal
  LOOP
    PERFORM migrate.execute(statement.text, migrate.arguments(statement.arguments, _given));
  END LOOP;
END $$;
COMMENT ON FUNCTION migrate.show IS 'Writes what one batch has computed, as far as nobody has changed the rows since.';

CREATE FUNCTION migrate.show_late(_run bigint, _epoch integer) RETURNS migrate.attempted
LANGUAGE plpgsql AS $$
DECLARE
  ended     migrate.attempted;
  given     jsonb := migrate.final_values(_run, _epoch)
                     || '{"slice": -3, "ordinal": 1, "part": 0, "canary": null, "snapshot": false, "eligible": null, "changed": null}';
  columns   integer := (SELECT jsonb_array_length(r.outline -> 'key') FROM migrate.runs AS r WHERE r.run = _run);
  statement migrate.statements;
  entry     json;
  leaves    boolean := false;
BEGIN
  given := migrate.with_key(given, 'after', NULL, columns);
  given := migrate.with_key(given, 'through', (SELECT r.upper_key FROM migrate.runs AS r WHERE r.run = _run), columns);
  FOR statement IN
    SELECT s.*
    FROM   migrate.statements AS s
    WHERE  s.run = _run AND s.phase = 'publish' AND s.name IN ('capture late', 'validate', 'change', 'image', 'finish')
    ORDER  BY CASE s.name WHEN 'capture late' THEN 1 WHEN 'validate' THEN 2 WHEN 'change' THEN 3 WHEN 'image' THEN 4 ELSE 5 END
  LOOP
    CASE
    WHEN statement.name = 'validate' AND NOT leaves THEN
      NULL;
    WHEN statement.name = 'capture late' AND statement.text LIKE '%AS leaves_out' THEN
      SELECT q INTO entry FROM migrate.query(statement.text, migrate.arguments(statement.arguments, given)) AS q;
      leaves := coalesce((entry ->> 'leaves_out')::boolean, false);
    WHEN statement.name = 'finish' THEN
      -- What is deferred would fail at COMMIT, where nobody can catch it.
      SET CONSTRAINTS ALL IMMEDIATE;
      SELECT q INTO entry FROM migrate.query(statement.text, migrate.arguments(statement.arguments, given)) AS q;
    ELSE
      PERFORM migrate.execute(statement.text, migrate.arguments(statement.arguments, given));
    END CASE;
  END LOOP;
  ended.verdict := CASE
    WHEN entry IS NULL THEN 'taken over'
    WHEN (entry ->> 'exact')::boolean THEN 'done'
    -- Its rows are locked, so that no other try would end otherwise.
    ELSE 'stopped' END;
  IF (entry ->> 'rows_changed')::bigint < (entry ->> 'rows_captured')::bigint THEN
    ended.message := format('a trigger kept %s from being changed',
      migrate.counted((entry ->> 'rows_captured')::bigint - (entry ->> 'rows_changed')::bigint, 'row'));
    ended.hint := 'a BEFORE trigger that returns NULL leaves the row out without an error';
  ELSIF ended.verdict = 'stopped' THEN
    ended.message := 'the rows changed have other keys than the rows meant';
    ended.hint := 'a trigger that moves rows to other keys, or deletes them, leaves what undo keeps without the rows that it is about';
  END IF;
  RETURN ended;
END $$;
COMMENT ON FUNCTION migrate.show_late IS 'Computes and writes the rows that others have changed since they were computed, and enters what was shown.';

CREATE FUNCTION migrate.attempt_publish(_run bigint, _epoch integer, _alone boolean) RETURNS migrate.attempted
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  ended migrate.attempted;
  place record;
BEGIN
  -- Who has committed the last of them may not have come to ask.
  ended.message := migrate.excess(_run);
  IF ended.message IS NOT NULL THEN
    ended.verdict := 'stopped';
    ended.hint := migrate.excess_cure(_run);
    RETURN ended;
  END IF;
  EXECUTE (migrate.statement(_run, 'batches', 'settings')).text;
  IF _alone AND migrate.may_lock(_run) THEN
    -- Longer than for a row: whoever waits behind this lock would wait for the rows, too.
    SET LOCAL lock_timeout = '5s';
    EXECUTE (migrate.statement(_run, 'publish', 'lock')).text;
  END IF;
  FOR place IN SELECT * FROM migrate.to_publish(_run) LOOP
    PERFORM migrate.show(_run, migrate.constants(_run, _epoch) || to_jsonb(place));
  END LOOP;
  ended.verdict := 'done';
  IF EXISTS (SELECT FROM migrate.runs AS r WHERE r.run = _run AND r.upper_key IS NOT NULL) THEN
    ended := migrate.show_late(_run, _epoch);
  END IF;
  -- Of the rows that were computed anew some may have gone to quarantine.
  IF ended.verdict = 'done' THEN
    ended.message := migrate.excess(_run);
    IF ended.message IS NOT NULL THEN
      ended.verdict := 'stopped';
      ended.hint := migrate.excess_cure(_run);
    END IF;
  END IF;
  IF ended.verdict = 'done' THEN
    PERFORM migrate.published(_run);
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
COMMENT ON FUNCTION migrate.attempt_publish IS 'One attempt to show all that a run has computed, _alone with the table locked against other writers; whatever it answers but done must be rolled back.';

REVOKE ALL ON ALL ROUTINES IN SCHEMA migrate FROM PUBLIC;
