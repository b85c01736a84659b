-- What a schema migration asks: whether a change of data is done.

-- With the rights of the ledger's owner, so that the role of a schema migration needs EXECUTE on it and nothing else.
CREATE FUNCTION migrate.require(_name text, _search_path text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  newest  bigint;
  found   migrate.runs;
  rejects bigint;
  lack    text;
BEGIN
  SELECT r.run INTO newest
  FROM   migrate.runs AS r
  WHERE  r.name = _name AND r.state <> 'reverted' AND (_search_path IS NULL OR r.search_path = _search_path)
  ORDER  BY r.run DESC
  LIMIT  1;
  -- Locked, the run stays what it is until the transaction that requires it ends: a revert waits for that. Read by its number:
  -- what changes while we wait shall be told, and not another run be taken instead.
  IF current_setting('transaction_read_only') = 'off' THEN
    SELECT r.* INTO found FROM migrate.runs AS r WHERE r.run = newest FOR SHARE;
  ELSE
    SELECT r.* INTO found FROM migrate.runs AS r WHERE r.run = newest;
  END IF;
  rejects := migrate.unresolved_rejects(newest);
  lack := CASE
    WHEN found.run IS NULL THEN
      format('no run of it that is not reverted is known here%s; first: migrate apply %s',
             ' with search_path ' || _search_path, _name)
    WHEN found.state = 'completed' AND rejects > 0 THEN
      format('run %s has %s in quarantine: migrate rejects %s lists them; mend them, then: migrate apply --rejects %s',
             found.run, migrate.counted(rejects, 'row'), found.run, found.run)
    WHEN found.state = 'completed' THEN
      NULL
    WHEN found.direction = 'revert' THEN
      format('run %s is being taken back; when that is done: migrate apply %s', found.run, _name)
    WHEN found.state = 'cancelled' THEN
      format('run %s was cancelled; first: migrate apply %s', found.run, _name)
    -- To resume it is to accept that, which nobody does unseen.
    WHEN found.state = 'paused' AND found.failure ->> 'sqlstate' IN ('MG004', 'MG005') THEN
      format('run %s is paused: %s; look at it: migrate status %s', found.run, found.failure ->> 'message', found.run)
    WHEN found.state IN ('paused', 'failed') THEN
      format('run %s %s; first: migrate resume %s', found.run, CASE found.state WHEN 'paused' THEN 'is paused' ELSE 'has failed' END, found.run)
    WHEN NOT migrate.is_working(found.run) THEN
      format('run %s is interrupted; first: migrate resume %s', found.run, found.run)
    ELSE
      format('run %s is %s; first: migrate wait %s', found.run, found.state, found.run) END;
  IF lack IS NOT NULL THEN
    RAISE EXCEPTION '% is required and not complete: %', _name, lack
    USING ERRCODE = 'MG002', HINT = format('SELECT * FROM migrate.history WHERE name = %L', _name);
  END IF;
END $$;
COMMENT ON FUNCTION migrate.require IS 'For schema migrations: raises MG002, with what to do, unless the newest run of that definition that is not reverted, or the newest with that search_path, is completed and has no row in quarantine. Until the transaction ends nobody can take that run back.';

REVOKE ALL ON ALL ROUTINES IN SCHEMA migrate FROM PUBLIC;
