-- What others ask of the ledger: a schema migration whether a change of data is done, a person what has become of a row.

-- Requiring a run -------------------------------------------------------------------------------------------------------

CREATE FUNCTION migrate.unresolved_rejects(_run bigint) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT count(*) FROM migrate.rejects AS r WHERE r.run = _run
$$;
COMMENT ON FUNCTION migrate.unresolved_rejects IS 'How many rows of a run are in quarantine.';

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
      format('run %s has %s rows in quarantine: migrate rejects %s lists them; mend them, then: migrate apply %s --again',
             found.run, rejects, found.run, _name)
    WHEN found.state = 'completed' THEN
      NULL
    WHEN found.direction = 'revert' THEN
      format('run %s is being taken back; when that is done: migrate apply %s', found.run, _name)
    WHEN found.state = 'cancelled' THEN
      format('run %s was cancelled; first: migrate apply %s', found.run, _name)
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

-- Who has asked for what, and why ---------------------------------------------------------------------------------------

CREATE TABLE migrate.requests (
  run          bigint      NOT NULL REFERENCES migrate.runs,
  seq          bigint      GENERATED ALWAYS AS IDENTITY,
  request      text        NOT NULL CHECK (request IN ('pause', 'resume', 'cancel', 'revert')),
  requested_by text        NOT NULL DEFAULT session_user,
  client_host  text,
  reason       text,
  requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (run, seq)
);
COMMENT ON TABLE  migrate.requests              IS 'All that was ever asked of a run and has moved it. migrate.control has what is not over.';
COMMENT ON COLUMN migrate.requests.run          IS 'The run.';
COMMENT ON COLUMN migrate.requests.seq          IS 'The order in which it was asked.';
COMMENT ON COLUMN migrate.requests.request      IS 'pause, resume, cancel or revert.';
COMMENT ON COLUMN migrate.requests.requested_by IS 'The role that asked.';
COMMENT ON COLUMN migrate.requests.client_host  IS 'The machine that it was asked on, as the client calls it, else its address; NULL for a session of the same machine.';
COMMENT ON COLUMN migrate.requests.reason       IS 'Why, in the words of who asked.';
COMMENT ON COLUMN migrate.requests.requested_at IS 'When.';
REVOKE ALL ON migrate.requests FROM PUBLIC;

CREATE FUNCTION migrate.request(_run bigint, _request text, _reason text, _client_host text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  reached text := migrate.advance(_run, _request || '_requested');
BEGIN
  IF reached IS NOT NULL THEN
    INSERT INTO migrate.requests (run, request, reason, client_host)
    VALUES (_run, _request, _reason, coalesce(_client_host, host(inet_client_addr())));
  END IF;
  RETURN reached;
END $$;
COMMENT ON FUNCTION migrate.request IS 'Moves a run as it is asked for, and notes who asks and why; the new state, or NULL when it does not fit.';

CREATE FUNCTION migrate.name_session(_run bigint, _ordinal integer) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  -- Behind it stands what the session is called otherwise; at a second try it has this name already.
  SELECT set_config('application_name',
                    format('migrate run %s batch %s%s', _run, _ordinal, ' (' || nullif(s.name, '') || ')'), true)
  FROM   current_setting('application_name') AS s(name)
  WHERE  s.name NOT LIKE 'migrate run %'
$$;
COMMENT ON FUNCTION migrate.name_session IS 'Lets pg_stat_activity show which batch a CALL is at, until its transaction ends.';

REVOKE ALL ON ALL ROUTINES IN SCHEMA migrate FROM PUBLIC;
