-- What a schema migration asks: whether a change of data is done; and what the columns of the views are.

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

-- What the columns of the views are --------------------------------------------------------------------------------------

COMMENT ON COLUMN migrate.progress.run             IS 'The run.';
COMMENT ON COLUMN migrate.progress.name            IS 'The definition''s name.';
COMMENT ON COLUMN migrate.progress.state           IS 'As in runs, or interrupted: its workers are gone.';
COMMENT ON COLUMN migrate.progress.direction       IS 'apply or revert; the figures that follow are this way''s.';
COMMENT ON COLUMN migrate.progress.rows_expected   IS 'As the statistics promised when it was begun.';
COMMENT ON COLUMN migrate.progress.batches         IS 'Done so far.';
COMMENT ON COLUMN migrate.progress.rows_read       IS 'Met by them: changed, unchanged or rejected.';
COMMENT ON COLUMN migrate.progress.rows_changed    IS 'Written.';
COMMENT ON COLUMN migrate.progress.rows_unchanged  IS 'Found as they should be.';
COMMENT ON COLUMN migrate.progress.rows_rejected   IS 'In quarantine; on the way back, not restored.';
COMMENT ON COLUMN migrate.progress.last_batch_at   IS 'When the last batch ended.';
COMMENT ON COLUMN migrate.progress.rows_per_second IS 'While its last twenty batches were worked on: a rest or a pause between them does not weigh on it.';
COMMENT ON COLUMN migrate.progress.failure         IS 'Why it stands still; as in runs.';
COMMENT ON COLUMN migrate.progress.started_at      IS 'When it was begun.';
COMMENT ON COLUMN migrate.progress.ended_at        IS 'When it ended; NULL while it goes.';
COMMENT ON COLUMN migrate.progress.hold_reason     IS 'Why it holds; NULL when it does not.';
COMMENT ON COLUMN migrate.progress.held_since      IS 'Since when.';
COMMENT ON COLUMN migrate.history.run             IS 'The run.';
COMMENT ON COLUMN migrate.history.name            IS 'The definition''s name.';
COMMENT ON COLUMN migrate.history.state           IS 'As in runs.';
COMMENT ON COLUMN migrate.history.direction       IS 'apply or revert.';
COMMENT ON COLUMN migrate.history.parameters      IS 'Their values, by name.';
COMMENT ON COLUMN migrate.history.started_at      IS 'When it was begun.';
COMMENT ON COLUMN migrate.history.ended_at        IS 'When it ended.';
COMMENT ON COLUMN migrate.history.reverted_at     IS 'When it was taken back.';
COMMENT ON COLUMN migrate.history.started_by      IS 'The role that began it.';
COMMENT ON COLUMN migrate.history.client_host     IS 'The machine that it was begun on.';
COMMENT ON COLUMN migrate.history.reason          IS 'Why, in the words of who began it.';
COMMENT ON COLUMN migrate.history.revert_reason   IS 'Why it was taken back, in the words of who did.';
COMMENT ON COLUMN migrate.history.version         IS 'Of the program that began it.';
COMMENT ON COLUMN migrate.history.back_end        IS 'client, or procedure: a CALL within the server.';
COMMENT ON COLUMN migrate.history.definition_hash IS 'SHA-256 of the text that was applied; definitions has it.';
COMMENT ON COLUMN migrate.history.rows_changed    IS 'Written; once it goes back, restored.';
COMMENT ON COLUMN migrate.history.rows_rejected   IS 'In quarantine; once it goes back, not restored.';
COMMENT ON COLUMN migrate.history.left_behind     IS 'Rows that came to fit behind its batches; NULL where nobody has counted them.';
COMMENT ON COLUMN migrate.history.held            IS 'How long it has held, all together.';
COMMENT ON COLUMN migrate.control.run          IS 'The run.';
COMMENT ON COLUMN migrate.control.request      IS 'pause or cancel.';
COMMENT ON COLUMN migrate.control.requested_by IS 'The role that asked.';
COMMENT ON COLUMN migrate.control.client_host  IS 'The machine that it was asked on.';
COMMENT ON COLUMN migrate.control.reason       IS 'Why, in the words of who asked.';
COMMENT ON COLUMN migrate.control.requested_at IS 'When.';
COMMENT ON COLUMN migrate.control.by_worker    IS 'Whether its own worker asked, which got a signal.';

REVOKE ALL ON ALL ROUTINES IN SCHEMA migrate FROM PUBLIC;
