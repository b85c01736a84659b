-- A canary: a part of the rows, spread over the whole table by a hash of their keys, is done before all others; then the run stands
-- still, so that somebody can look at them. Its slices are walked first, then those of the rest: both go through all keys.

CREATE FUNCTION migrate.end_canary(_run bigint, _reason text, _client_host text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  before text;
BEGIN
  UPDATE migrate.runs AS r
  SET    canary_ended_at = clock_timestamp()
  WHERE  r.run = _run AND r.state IN ('holding', 'pausing', 'paused') AND EXISTS (SELECT FROM migrate.canary_done(_run))
  RETURNING r.state INTO before;
  -- What else makes it hold is asked before its next batch.
  IF before = 'holding' THEN
    PERFORM migrate.advance(_run, 'hold_ended');
    DELETE FROM migrate.asking AS k WHERE k.run = _run;
    INSERT INTO migrate.requests (run, request, reason, client_host)
    VALUES (_run, 'resume', _reason, coalesce(_client_host, host(inet_client_addr())));
  END IF;
END $$;
COMMENT ON FUNCTION migrate.end_canary IS 'Ends the time for which a run stands still behind its canary, when it does, for who asks.';

CREATE FUNCTION migrate.heed_canary(_run bigint, _worker integer, _epoch integer) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  this   migrate.runs;
  canary record;
BEGIN
  SELECT r.* INTO this FROM migrate.runs AS r WHERE r.run = _run;
  IF this.canary_ended_at IS NOT NULL THEN
    RETURN 'over';
  END IF;
  -- The edge tells why not.
  IF NOT migrate.may_move(_run, _epoch) THEN
    RETURN 'holds';
  END IF;
  -- Who ends its time has the same lock, and may have been first.
  IF EXISTS (SELECT FROM migrate.runs AS r WHERE r.run = _run AND r.canary_ended_at IS NOT NULL) THEN
    RETURN 'over';
  END IF;
  SELECT * INTO canary FROM migrate.canary_done(_run);
  IF canary.until <= clock_timestamp() THEN
    UPDATE migrate.runs AS r SET canary_ended_at = clock_timestamp() WHERE r.run = _run;
    RETURN 'over';
  ELSIF canary.until IS NULL THEN
    PERFORM migrate.fail(_run, 'pause_requested', 'MG005', format('the canary is done: %s', canary.words), NULL,
                         format('`migrate resume %s` does the rest; `migrate revert %s` takes back what is done', _run, _run),
                         NULL, NULL, NULL, NULL);
    PERFORM migrate.reach_edge(_run, _worker, _epoch);
    RETURN 'paused';
  END IF;
  -- At once, however short a time ago it was asked last.
  DELETE FROM migrate.asking AS k WHERE k.run = _run;
  PERFORM migrate.ask_holds(_run, _epoch);
  RETURN 'holds';
END $$;
COMMENT ON FUNCTION migrate.heed_canary IS 'Before the first batch of the rest behind a canary: over, holds, or paused; it makes the run hold or pause.';

REVOKE ALL ON ALL ROUTINES IN SCHEMA migrate FROM PUBLIC;
