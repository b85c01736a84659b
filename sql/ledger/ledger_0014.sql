-- How fast a run goes: the size of its batches, rests between them, what makes it hold, when it may run at all, and what is asked of
-- it while it runs. Decided from the ledger alone, so that workers on several machines decide alike.

CREATE TABLE migrate.tuning (
  run         bigint      PRIMARY KEY REFERENCES migrate.runs,
  batch_size  integer     CHECK (batch_size BETWEEN 0 AND 10000000),
  workers     integer     CHECK (workers BETWEEN 1 AND 64),
  max_rate    bigint      CHECK (max_rate >= 0),
  pause       interval    CHECK (pause BETWEEN interval '0' AND interval '1 day'),
  holds       text        CHECK (holds IN ('none', 'plan')),
  max_rejects text        CHECK (max_rejects ~ '^([0-9]{1,9}|(100|[0-9]{1,2}([.][0-9]{1,6})?)%)$'),
  tuned_by    text        NOT NULL DEFAULT session_user,
  tuned_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE  migrate.tuning              IS 'What was asked of a run in place of what its plan says; read by its workers between two batches, together with the state. Written by migrate.tune.';
COMMENT ON COLUMN migrate.tuning.run          IS 'The run.';
COMMENT ON COLUMN migrate.tuning.batch_size   IS 'Rows of a batch; 0 is auto, NULL what the plan says.';
COMMENT ON COLUMN migrate.tuning.workers      IS 'Workers beside each other; NULL what the plan says.';
COMMENT ON COLUMN migrate.tuning.max_rate     IS 'Rows a second over all workers; 0 is as fast as it goes, NULL what the plan says.';
COMMENT ON COLUMN migrate.tuning.pause        IS 'Rest between two batches of a worker; 0 is none, NULL what the plan says.';
COMMENT ON COLUMN migrate.tuning.holds        IS 'none: nothing but its canary makes the run hold, on the way back neither; plan, or NULL, what the plan says.';
COMMENT ON COLUMN migrate.tuning.max_rejects  IS 'More rows in quarantine, or a larger part of those read, end the run: 1000 or 0.1%; NULL what the plan says.';
COMMENT ON COLUMN migrate.tuning.tuned_by     IS 'The role that asked last.';
COMMENT ON COLUMN migrate.tuning.tuned_at     IS 'When.';

CREATE TABLE migrate.asking (
  run        bigint      PRIMARY KEY REFERENCES migrate.runs,
  asked_at   timestamptz NOT NULL DEFAULT '-infinity',
  marked_lsn pg_lsn,
  marked_at  timestamptz
);
COMMENT ON TABLE  migrate.asking            IS 'When it was asked last whether a run shall hold, so that its workers together ask about once a second.';
COMMENT ON COLUMN migrate.asking.run        IS 'The run.';
COMMENT ON COLUMN migrate.asking.asked_at   IS 'When.';
COMMENT ON COLUMN migrate.asking.marked_lsn IS 'A place in the WAL, noted to see when every standby has come past it.';
COMMENT ON COLUMN migrate.asking.marked_at  IS 'When the WAL ended there.';

CREATE FUNCTION migrate.tune(
  _run bigint, _batch_size integer DEFAULT NULL, _workers integer DEFAULT NULL, _max_rate bigint DEFAULT NULL,
  _pause interval DEFAULT NULL, _holds text DEFAULT NULL, _max_rejects text DEFAULT NULL, _reason text DEFAULT NULL, _client_host text DEFAULT NULL
) RETURNS migrate.tuning
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  state text := migrate.state_of(_run);
  tuned migrate.tuning;
BEGIN
  IF state IN ('completed', 'cancelled', 'reverted') THEN
    PERFORM migrate.refuse(format('run %s is %s, so there is nothing to tune', _run, state), 'SELECT * FROM migrate.history');
  ELSIF _workers > 1 AND (SELECT count(*) = 1 FROM migrate.slices AS s WHERE s.run = _run AND s.canary IS NOT TRUE) THEN
    PERFORM migrate.refuse(format('the keys of run %s are one slice, which one worker walks', _run),
      'parallel in the definition, or --workers when it is applied, cuts them, unless migrate plan says why it does not');
  ELSIF _max_rejects IS NOT NULL AND (SELECT r.outline ->> 'max_rejects' IS NULL FROM migrate.runs AS r WHERE r.run = _run) THEN
    PERFORM migrate.refuse(format('run %s puts no row into quarantine, so none can be too many', _run),
      'on_error: continue, or validation, in the definition does');
  END IF;
  INSERT INTO migrate.tuning AS t (run, batch_size, workers, max_rate, pause, holds, max_rejects)
  VALUES (_run, _batch_size, _workers, _max_rate, _pause, _holds, _max_rejects)
  ON CONFLICT (run) DO UPDATE
  SET    batch_size  = coalesce(excluded.batch_size, t.batch_size),
         workers     = coalesce(excluded.workers, t.workers),
         max_rate    = coalesce(excluded.max_rate, t.max_rate),
         pause       = coalesce(excluded.pause, t.pause),
         holds       = coalesce(excluded.holds, t.holds),
         max_rejects = coalesce(excluded.max_rejects, t.max_rejects),
         tuned_by    = session_user,
         tuned_at    = clock_timestamp()
  RETURNING t.* INTO tuned;
  -- It is asked at once whether the run shall hold, however short a time ago it was asked last.
  IF _holds IS NOT NULL THEN
    DELETE FROM migrate.asking AS k WHERE k.run = _run;
  END IF;
  PERFORM migrate.note_request(_run, 'tune', _reason, _client_host, nullif(concat_ws(', ',
    'batch_size ' || CASE _batch_size WHEN 0 THEN 'auto' ELSE _batch_size::text END, 'workers ' || _workers,
    'max_rate ' || CASE _max_rate WHEN 0 THEN 'none' ELSE _max_rate::text END,
    'pause ' || (extract(epoch FROM _pause) * 1000)::bigint || 'ms', 'holds ' || _holds, 'max_rejects ' || _max_rejects), ''));
  RETURN tuned;
END $$;
COMMENT ON FUNCTION migrate.tune IS 'Changes how fast an unfinished run goes, from its next batch on; NULL leaves a figure as it is, batch size 0 is auto, rate 0 and pause 0 are none. Holds none lets it go on whatever its window and its conditions say, plan brings them back. Max_rejects is as in a definition: 1000 or 0.1%.';

-- How many rejects a run may have ------------------------------------------------------------------------------------------

CREATE FUNCTION migrate.excess(_run bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  -- A part is one of the rows read; of the first ones, which say little, one of a thousand, or of as many of which it is ten rows, or of
  -- as many as are expected.
  SELECT CASE
           WHEN right(m.max, 1) = '%' THEN
             CASE WHEN c.rejected * 100 > m.part * greatest(c.read, least(greatest(1000, 1000 / nullif(m.part, 0)), m.expected))
                  THEN format('%s of %s read %s in quarantine, more than %s', c.rejected, migrate.counted(c.read::bigint, 'row'),
                              CASE c.rejected WHEN 1 THEN 'is' ELSE 'are' END, m.max) END
           WHEN c.rejected > m.max::bigint THEN format('%s in quarantine, more than %s', migrate.counted(c.rejected::bigint, 'row is', 'rows are'), m.max)
         END
  FROM   migrate.runs AS r
  LEFT   JOIN migrate.tuning AS t USING (run)
  CROSS  JOIN LATERAL (SELECT l.max, CASE WHEN right(l.max, 1) = '%' THEN rtrim(l.max, '%')::numeric END AS part,
                              (r.outline #>> '{estimate,rows}')::bigint AS expected
                       FROM  (SELECT coalesce(t.max_rejects, r.outline ->> 'max_rejects')) AS l(max)) AS m
  CROSS  JOIN LATERAL (SELECT coalesce(sum(t.rows_rejected), 0) AS rejected, coalesce(sum(t.rows_read), 0) AS read
                       FROM   migrate.tallies AS t
                       WHERE  t.run = _run) AS c
  WHERE  r.run = _run
$$;
COMMENT ON FUNCTION migrate.excess IS 'In words, that more rows are in quarantine than the run allows; else NULL.';

CREATE FUNCTION migrate.excess_cure(_run bigint) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT format('SELECT * FROM migrate.rejects lists them, SELECT migrate.tune(%s, _max_rejects => ''N'') allows more; run again without '
                'that, it goes on to the end of the next batch that has one, and is not complete with so many', _run)
$$;
COMMENT ON FUNCTION migrate.excess_cure IS 'What to do when more rows are in quarantine than a run allows.';

-- The size of a batch ----------------------------------------------------------------------------------------------------

CREATE FUNCTION migrate.next_size(_size bigint, _taken interval, _target interval) RETURNS integer
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  -- Half the way to the target, on the scale of factors, at most to the double or the half: a batch's time is a fixed part and
  -- one for each row, so the way there never leads past the target. Within a fifth of it nothing changes.
  SELECT least(greatest(round((_size * CASE WHEN f.factor BETWEEN 0.8 AND 1.25 THEN 1
                                            ELSE least(greatest(sqrt(f.factor), 0.5), 2) END)::numeric), 100), 100000)::integer
  FROM  (SELECT extract(epoch FROM _target)::float8 / greatest(extract(epoch FROM _taken)::float8, 0.000001) AS factor) AS f
$$;
COMMENT ON FUNCTION migrate.next_size IS 'How many rows a batch shall have behind one of _size rows that has taken _taken, if it shall take _target.';

CREATE FUNCTION migrate.size_of(_run bigint, _slice integer, _batch_size text, _target interval) RETURNS integer
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE
           WHEN _batch_size NOT IN ('auto', '0') THEN _batch_size::integer
           -- A batch that was done in parts is one all the same. The last one of a slice is as short as the slice leaves it.
           ELSE coalesce((SELECT migrate.next_size(sum(b.rows_read)::bigint, max(b.ended_at) - min(b.started_at),
                                                   coalesce(_target, interval '500 ms'))
                          FROM   migrate.batches AS b
                          JOIN   migrate.last_batch(_run, _slice) AS l USING (run, kind, slice, ordinal)
                          HAVING sum(b.rows_read) > 0),
                         1000) END
$$;
COMMENT ON FUNCTION migrate.size_of IS 'The rows of a slice''s next batch: as said, or under auto by what the last one took. It is remembered nowhere else.';

-- Rests between batches --------------------------------------------------------------------------------------------------

CREATE FUNCTION migrate.rest(_ended migrate.batches, _pause interval, _nice_ratio float8, _max_rate bigint) RETURNS float8
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  -- The longest of them; GREATEST passes over what is not said. A batch that has ended in the future is as long ago as the clock
  -- went back, which nobody knows: behind that one there is no rest.
  SELECT CASE WHEN _ended.ended_at > clock_timestamp() THEN 0
         ELSE greatest(extract(epoch FROM greatest(
                _ended.ended_at + _pause,
                _ended.ended_at + _nice_ratio * (_ended.ended_at - _ended.started_at),
                least(_ended.started_at, _ended.ended_at) + _ended.rows_read / nullif(_max_rate, 0)::float8 * interval '1 s')
                - clock_timestamp()), 0) END
$$;
COMMENT ON FUNCTION migrate.rest IS 'Seconds that a run of one worker rests behind this batch.';

CREATE FUNCTION migrate.holds_at_all(_run bigint) RETURNS SETOF migrate.statements
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT s.*
  FROM   migrate.statements AS s
  JOIN   migrate.runs AS r USING (run)
  LEFT   JOIN migrate.tuning AS t USING (run)
  WHERE  s.run = _run AND s.phase = 'holds'
    -- Behind the canary somebody wants to look, which resume ends.
    AND (t.holds IS DISTINCT FROM 'none' OR s.name = 'hold when: canary' AND r.outline ? 'canary')
  ORDER  BY s.ordinal
$$;
COMMENT ON FUNCTION migrate.holds_at_all IS 'The queries that can make a run hold, as it is tuned.';

CREATE FUNCTION migrate.brakes(_run bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  WITH this AS (
    SELECT r.run, r.plan, r.outline -> 'throttle' AS throttle, t.max_rate, t.pause
    FROM   migrate.runs AS r
    LEFT   JOIN migrate.tuning AS t USING (run)
    WHERE  r.run = _run
  ), holds AS (
    SELECT h.ordinal, substr(h.name, length('hold when: ') + 1) AS name FROM migrate.holds_at_all(_run) AS h
  ), said AS (
    SELECT 1 AS place, format('max_rate %s', to_char(v.rate, 'FM999,999,999,999,999')) AS words, this.max_rate IS NOT NULL AS tuned,
           'max_rate' AS name, '--max-rate none' AS lift
    FROM   this, LATERAL (SELECT coalesce(this.max_rate, (this.throttle ->> 'max_rate')::bigint) AS rate) AS v
    WHERE  v.rate > 0
    UNION  ALL
    SELECT 2, format('pause %sms', round(extract(epoch FROM v.rest) * 1000)::bigint), this.pause IS NOT NULL, 'pause', '--pause 0s'
    FROM   this, LATERAL (SELECT coalesce(this.pause, (this.throttle ->> 'pause')::interval) AS rest) AS v
    WHERE  v.rest > interval '0'
    UNION  ALL
    SELECT 3, format('nice_ratio %s', throttle ->> 'nice_ratio'), false, NULL, NULL
    FROM   this
    WHERE  throttle ? 'nice_ratio'
    UNION  ALL
    SELECT 4, string_agg(CASE h.name WHEN 'window' THEN format('window %s-%s %s', w.said ->> 'opens', w.said ->> 'closes', w.said ->> 'zone')
                                     ELSE h.name END, ', ' ORDER BY h.name <> 'window', h.ordinal),
           false, string_agg(h.name, ', ' ORDER BY h.name <> 'window', h.ordinal), '--holds none'
    FROM   holds AS h, this, LATERAL (SELECT this.plan -> 'window' AS said) AS w
    WHERE  NOT (h.name = 'canary' AND this.plan ? 'canary')
    HAVING count(*) > 0
  )
  SELECT format('keeps to %s%s', string_agg(words || CASE WHEN tuned THEN ' as tuned' ELSE '' END, ', ' ORDER BY place),
                CASE count(lift) WHEN 0 THEN '' ELSE format('; `migrate tune %s %s` lifts %s', _run, string_agg(lift, ' ' ORDER BY place),
                  CASE WHEN count(lift) < count(*) THEN regexp_replace(string_agg(name, ', ' ORDER BY place), ', ([^,]*)$', E' and \\1')
                       WHEN count(*) = 1 AND bool_and(name NOT LIKE '%, %') THEN 'it' ELSE 'all of it' END) END)
  FROM   said
  HAVING count(*) > 0
$$;
COMMENT ON FUNCTION migrate.brakes IS 'What keeps a run from going as fast as it can, in words, and how to lift it; NULL: nothing does. A revert keeps to it as well.';

-- When a run may go on ---------------------------------------------------------------------------------------------------

CREATE FUNCTION migrate.next_window(
  _opens time, _closes time, _zone text, _now timestamptz, _needed interval, OUT opens_at timestamptz, OUT closes_at timestamptz
)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  -- Days of the zone, which have 23, 24 or 25 hours. Who needs more than half of a window gets it from its beginning on.
  SELECT w.opens_at, w.closes_at
  FROM  (SELECT (d.day + _opens) AT TIME ZONE _zone AS opens_at,
                (d.day + CASE WHEN _closes <= _opens THEN 1 ELSE 0 END + _closes) AT TIME ZONE _zone AS closes_at
         FROM  (SELECT (_now AT TIME ZONE _zone)::date + n AS day FROM generate_series(-1, 3) AS n) AS d) AS w
  -- One that would close before it opens, since summer time leaves out an hour between, is none on that day.
  WHERE  w.closes_at > w.opens_at
    AND  _now + least(_needed, (w.closes_at - w.opens_at) / 2) <= w.closes_at
  ORDER  BY w.opens_at
  LIMIT  1
$$;
COMMENT ON FUNCTION migrate.next_window IS 'The window of the day in which somebody who needs so long can begin: open when opens_at is not later than _now.';

CREATE FUNCTION migrate.batch_time(_run bigint) RETURNS interval
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT greatest(max(l.ended_at - l.started_at), interval '0')
  FROM  (SELECT b.started_at, b.ended_at
         FROM   migrate.batches AS b
         WHERE  b.run = _run
         ORDER  BY b.seq DESC
         LIMIT  5) AS l
$$;
COMMENT ON FUNCTION migrate.batch_time IS 'What the longest of the last five batches took.';

CREATE FUNCTION migrate.ends_at(_run bigint, _work interval) RETURNS timestamptz
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  said   jsonb       := (SELECT r.outline -> 'window'
                         FROM   migrate.runs AS r
                         WHERE  r.run = _run AND EXISTS (SELECT FROM migrate.holds_at_all(_run) AS h WHERE h.name = 'hold when: window'));
  left_  interval    := _work;
  moment timestamptz := clock_timestamp();
  open   record;
BEGIN
  IF said IS NULL THEN
    RETURN moment + left_;
  END IF;
  -- A year of windows; who needs more is told nothing.
  FOR day IN 1 .. 366 LOOP
    SELECT * INTO open
    FROM   migrate.next_window((said ->> 'opens')::time, (said ->> 'closes')::time, said ->> 'zone', moment, interval '1 ms');
    moment := greatest(moment, open.opens_at);
    IF moment + left_ <= open.closes_at THEN
      RETURN moment + left_;
    END IF;
    left_ := left_ - (open.closes_at - moment);
    moment := open.closes_at;
  END LOOP;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION migrate.ends_at IS 'When so much work of a run is done, if it begins now and its window, where it has one, is all the time it gets.';

CREATE FUNCTION migrate.short_of_disk(_least bigint) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  -- Which line is the first that has too little, as the exit status. A mount's name may have spaces, so what is free stands before
  -- the part in use, wherever that is.
  program constant text := $program$df -Pk . pg_wal pg_tblspc/* 2>/dev/null | awk -v least=%s '
    NR > 1 { for (i = 5; i <= NF; i++) if ($i ~ /^[0-9]+%%$/) { if ($(i - 1) + 0 < least) { line = NR; exit } else next } }
    END    { exit NR < 2 ? 3 : line > 20 ? 120 : line ? 100 + line : 0 }'$program$;
  status  integer;
  detail  text;
BEGIN
  IF NOT pg_has_role('pg_execute_server_program', 'USAGE') THEN
    RETURN format('this role may not ask df on the server: GRANT pg_execute_server_program TO %I', current_user);
  END IF;
  -- PostgreSQL itself does not know. Its processes work in the data directory; what is written to the program is nothing, so that
  -- a transaction which may only read may do it.
  EXECUTE format('COPY (SELECT 1 WHERE false) TO PROGRAM %L', format(program, _least / 1024));
  RETURN NULL;
EXCEPTION WHEN external_routine_exception THEN
  GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
  status := substring(detail FROM '[0-9]+')::integer;
  -- Numbers of signals are less.
  IF status BETWEEN 102 AND 120 THEN
    RETURN format('less than %s are free on the disk of %s', pg_size_pretty(_least),
                  CASE status WHEN 102 THEN 'the data directory' WHEN 103 THEN 'the WAL' ELSE 'a tablespace' END);
  END IF;
  RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = 'df cannot be asked on the server: ' || detail;
END $$;
COMMENT ON FUNCTION migrate.short_of_disk IS 'In words, which disk of the server has fewer bytes left than these; NULL: none. By df, with the right to run a program on the server.';

CREATE FUNCTION migrate.hold_reason(_run bigint, _epoch integer) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  given     jsonb := migrate.constants(_run, _epoch);
  statement migrate.statements;
  said      text;
BEGIN
  EXECUTE (migrate.statement(_run, 'batches', 'settings')).text;
  FOR statement IN
    SELECT h.* FROM migrate.holds_at_all(_run) AS h
  LOOP
    -- A transaction inside of this one, so that it cannot write, and that a query which fails, or takes longer than a client gives
    -- it, is a reason like another: nobody knows then whether the run may go on. Who cancels a CALL means the CALL.
    BEGIN
      SET TRANSACTION READ ONLY;
      SELECT (migrate.fields(q))[1] INTO said
      FROM   migrate.query(statement.text, migrate.arguments(statement.arguments, given)) AS q
      LIMIT  1;
    EXCEPTION WHEN OTHERS OR QUERY_CANCELED OR ASSERT_FAILURE THEN
      IF SQLSTATE = '57014' AND EXISTS (SELECT
                                        FROM   migrate.workers AS w
                                        WHERE  w.run = _run AND w.back_end = 'procedure' AND w.pid = pg_backend_pid())
      THEN
        RAISE;
      END IF;
      said := 'cannot be asked: ' || SQLERRM;
    END;
    IF said IS NOT NULL THEN
      RETURN format('%s: %s', substr(statement.name, length('hold when: ') + 1), said);
    END IF;
  END LOOP;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION migrate.hold_reason IS 'Why a run shall hold, in words; NULL: nothing keeps it.';

CREATE FUNCTION migrate.hold_cure(_run bigint, _reason text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN _reason LIKE 'canary: %' THEN format('it goes on by itself, and at once by SELECT migrate.resume(%s)', _run)
              ELSE format('it goes on by itself, and at once by SELECT migrate.tune(%s, _holds => %L)', _run, 'none') END
$$;
COMMENT ON FUNCTION migrate.hold_cure IS 'How somebody lets a run go on that holds for this reason.';

CREATE FUNCTION migrate.lets_go(_run bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT concat_ws(' ', t.holds, r.canary_ended_at) FROM migrate.runs AS r LEFT JOIN migrate.tuning AS t USING (run) WHERE r.run = _run
$$;
COMMENT ON FUNCTION migrate.lets_go IS 'What somebody has said of whether a run shall hold: how it is tuned, and when its canary was ended.';

CREATE FUNCTION migrate.ask_holds(_run bigint, _epoch integer) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  found_reason text;
  asked_for    text;
BEGIN
  -- Once a second, whoever asks; while it holds, after a quarter of the time for which it has, at most ten seconds.
  IF NOT EXISTS (SELECT
                 FROM   migrate.asking AS k
                 JOIN   migrate.runs   AS r USING (run)
                 WHERE  k.run = _run
                   AND  k.asked_at >= clock_timestamp()
                                      - least(greatest(interval '1 s', (clock_timestamp() - r.held_since) / 4), interval '10 s')
                   -- The clock did not go back.
                   AND  k.asked_at <= clock_timestamp())
  THEN
    asked_for := migrate.lets_go(_run);
    -- Before anything is locked, so that a query which takes long keeps nobody from steering the run.
    found_reason := migrate.hold_reason(_run, _epoch);
    -- Whoever was taken over has no say.
    IF EXISTS (SELECT FROM migrate.fence AS f WHERE f.run = _run AND f.epoch = _epoch FOR SHARE) THEN
      PERFORM FROM migrate.runs AS r WHERE r.run = _run FOR NO KEY UPDATE;
      -- Somebody has let it go on meanwhile, or has it hold again: this answer is to another question, and is asked for once more.
      IF migrate.lets_go(_run) IS DISTINCT FROM asked_for THEN
        RETURN (SELECT r.state FROM migrate.runs AS r WHERE r.run = _run);
      END IF;
      INSERT INTO migrate.asking AS k (run, asked_at, marked_lsn, marked_at)
      VALUES (_run, clock_timestamp(), pg_current_wal_lsn(), clock_timestamp())
      ON CONFLICT (run) DO UPDATE
      SET    asked_at = excluded.asked_at,
             (marked_lsn, marked_at) = (
               SELECT CASE WHEN m.is_passed THEN excluded.marked_lsn ELSE k.marked_lsn END,
                      CASE WHEN m.is_passed THEN excluded.marked_at  ELSE k.marked_at  END
               FROM  (SELECT NOT EXISTS (SELECT FROM pg_stat_replication AS s WHERE s.replay_lsn < k.marked_lsn) AS is_passed) AS m);
      PERFORM migrate.advance(_run, CASE WHEN found_reason IS NULL THEN 'hold_ended' ELSE 'hold_begun' END);
      UPDATE migrate.runs AS r
      SET    hold_reason = found_reason
      WHERE  r.run = _run AND r.state = 'holding' AND r.hold_reason IS DISTINCT FROM found_reason;
    END IF;
  END IF;
  RETURN (SELECT r.state FROM migrate.runs AS r WHERE r.run = _run);
END $$;
COMMENT ON FUNCTION migrate.ask_holds IS 'Makes a run hold, or go on, by what its plan says about that; the run''s state. Asked too soon it looks at nothing.';

REVOKE ALL ON ALL TABLES   IN SCHEMA migrate FROM PUBLIC;
REVOKE ALL ON ALL ROUTINES IN SCHEMA migrate FROM PUBLIC;
