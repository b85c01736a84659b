-- A run stays with the table that it was begun with: what has become of it is seen before a batch touches a row.

CREATE TABLE migrate.relations (
  run      bigint NOT NULL REFERENCES migrate.runs,
  name     text   NOT NULL,
  relation oid    NOT NULL,
  PRIMARY KEY (run, name)
);
COMMENT ON TABLE  migrate.relations          IS 'The tables of a run, and the ledger''s own migrate.runs, as they were when it was begun.';
COMMENT ON COLUMN migrate.relations.run      IS 'The run.';
COMMENT ON COLUMN migrate.relations.name     IS 'The table, as to_regclass reads it.';
COMMENT ON COLUMN migrate.relations.relation IS 'Its object identifier. A dump brings along the numbers but not what they stand for, which shows in that of migrate.runs.';

-- Under its old name a dump of the ledger could not be restored by psql, which waits for an END behind CREATE FUNCTION … begin.
DROP FUNCTION migrate.begin(jsonb, text, text, text, text, text);

CREATE FUNCTION migrate.start(
  _plan jsonb, _definition text, _back_end text, _version text, _client_host text, _reason text
) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  new_run bigint;
  new_hash text := encode(sha256(convert_to(_definition, 'UTF8')), 'hex');
BEGIN
  INSERT INTO migrate.definitions (hash, name, text)
  VALUES (new_hash, _plan ->> 'definition', _definition)
  ON CONFLICT (hash) DO NOTHING;

  -- A second start meets the unique index one_active here, whatever machine it comes from.
  INSERT INTO migrate.runs (definition_hash, name, identity, search_path, parameters, plan, back_end, version, client_host, reason,
                            collations)
  VALUES (new_hash, _plan ->> 'definition', _plan ->> 'identity', _plan ->> 'search_path', _plan -> 'parameters', _plan,
          _back_end, _version, _client_host, _reason,
          (SELECT coalesce(jsonb_object_agg(c.name, c.given), '{}') FROM migrate.key_collations(_plan) AS c))
  RETURNING run INTO new_run;

  INSERT INTO migrate.fence (run, epoch) VALUES (new_run, 1);

  INSERT INTO migrate.relations (run, name, relation)
  SELECT new_run, n.name, to_regclass(n.name)
  FROM  (SELECT 'migrate.runs' AS name
         UNION
         SELECT t.item ->> 'name' FROM jsonb_array_elements(_plan -> 'tables') AS t(item)) AS n
  WHERE  to_regclass(n.name) IS NOT NULL;

  INSERT INTO migrate.statements (run, ordinal, phase, step, name, text, arguments)
  SELECT new_run,
         row_number() OVER (ORDER BY p.place, s.place),
         p.phase ->> 'name',
         (s.statement ->> 'step')::integer,
         s.statement ->> 'name',
         migrate.numbered(s.statement ->> 'text',
                          ARRAY(SELECT jsonb_array_elements_text(s.statement -> 'run_at')::integer), new_run),
         ARRAY(SELECT jsonb_array_elements_text(s.statement -> 'arguments'))
  FROM   jsonb_array_elements(_plan -> 'phases') WITH ORDINALITY AS p(phase, place),
         jsonb_array_elements(p.phase -> 'statements') WITH ORDINALITY AS s(statement, place);
  RETURN new_run;
END $$;
COMMENT ON FUNCTION migrate.start IS 'Begins a run of a plan: its row, its fence, its tables, its statements with its number in them. Returns the number.';

CREATE OR REPLACE FUNCTION migrate.enter(
  _plan jsonb, _definition text, _version text, _reason text DEFAULT NULL, _again boolean DEFAULT false,
  _concurrent boolean DEFAULT false, OUT run bigint, OUT epoch integer
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  named text := _plan ->> 'definition';
  hash  text := encode(sha256(convert_to(_definition, 'UTF8')), 'hex');
  other migrate.runs;
  needed text;
  cure  text;
BEGIN
  IF (_plan ->> 'format')::integer > 1 THEN
    PERFORM migrate.refuse('the plan was made by a newer version of migrate',
      'run it with that version, which brings its own ledger');
  END IF;
  -- Strict: a lax path looks into the array by itself, and asks each argument for its size.
  IF jsonb_path_exists(_plan, 'strict $.phases[*].statements[*].arguments ? (@.size() > 32)') THEN
    PERFORM migrate.refuse('a statement binds more than 32 values, which migrate.drive cannot',
      'fewer parameters, or `migrate apply`');
  END IF;
  SELECT r.* INTO other
  FROM   migrate.runs AS r
  WHERE  r.name = named
    AND  r.search_path = _plan ->> 'search_path'
    AND  r.state NOT IN ('completed', 'cancelled', 'reverted');
  IF other.run IS NOT NULL THEN
    cure := format('SELECT migrate.cancel(%s) ends it; the same definition and parameters go on with it', other.run);
    IF other.direction <> 'apply' THEN
      PERFORM migrate.refuse(format('run %s of %s is being taken back', other.run, named), 'finish that: its revert.sql');
    ELSIF other.identity <> _plan ->> 'identity' THEN
      PERFORM migrate.refuse(format('run %s of %s is unfinished and has other parameters', other.run, named), cure);
    ELSIF other.definition_hash <> hash THEN
      PERFORM migrate.refuse(format('the definition has changed while run %s of %s is unfinished', other.run, named), cure);
    END IF;
    PERFORM migrate.check_order(other.plan, other.collations, other.run);
    epoch := migrate.seize(other.run);
    run := other.run;
    IF other.state = 'cancelling' THEN
      PERFORM migrate.advance(run, 'batch_edge_reached');
    END IF;
    PERFORM migrate.resume(run);
    RAISE NOTICE 'going on with run % of %, which is %', run, named, other.state;
    RETURN;
  END IF;
  SELECT r.* INTO other
  FROM   migrate.runs AS r
  WHERE  r.identity = _plan ->> 'identity' AND r.state = 'completed'
  ORDER  BY r.run DESC
  LIMIT  1;
  IF other.run IS NOT NULL AND NOT _again THEN
    RAISE NOTICE '% is already applied as run %', named, other.run
    USING HINT = CASE WHEN other.definition_hash = hash THEN 'again = true runs it once more'
                      ELSE 'its definition has changed since; again = true runs the new text' END;
    RETURN;
  END IF;
  needed := (SELECT string_agg(m, ', ')
             FROM   migrate.missing(ARRAY(SELECT jsonb_array_elements_text(_plan -> 'needs'))) AS m);
  IF needed IS NOT NULL THEN
    PERFORM migrate.refuse(format('%s needs %s, not complete yet', named, needed), 'apply that first');
  END IF;
  PERFORM migrate.check_order(_plan);
  PERFORM migrate.check_before(_plan);
  BEGIN
    run := migrate.start(_plan, _definition, 'procedure', _version, host(inet_client_addr()), _reason);
  EXCEPTION WHEN unique_violation THEN
    PERFORM migrate.refuse(format('a run of %s has begun in this moment', named), 'SELECT * FROM migrate.progress');
  END;
  epoch := 1;
  SELECT o.* INTO other FROM migrate.concurrent_runs(run) AS o LIMIT 1;
  IF other.run IS NOT NULL AND NOT _concurrent THEN
    PERFORM migrate.refuse(format('run %s of %s is unfinished and writes the same columns', other.run, other.name),
      'wait for it, cancel it, or say concurrent = true: the two then meet row by row');
  END IF;
  PERFORM migrate.prepare(run);
END $$;

-- What has become of the table -------------------------------------------------------------------------------------------

CREATE FUNCTION migrate.changes(_run bigint, _applying boolean) RETURNS TABLE (change text, remedy text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  planned record;
BEGIN
  FOR planned IN
    SELECT (SELECT string_agg(quote_ident(p), '.') FROM unnest(parse_ident(t.item ->> 'name')) AS p) AS name, to_regclass(t.item ->> 'name') AS now, b.relation::regclass AS begun,
           t.item -> 'columns' AS columns, r.plan -> 'key' AS key
    FROM   migrate.runs AS r
    CROSS  JOIN LATERAL jsonb_array_elements(r.plan -> 'tables') AS t(item)
    -- Nothing is known of the table of the run where its number names none any more, or the ledger came from a dump.
    LEFT   JOIN migrate.relations AS b
           ON  b.run = r.run AND b.name = t.item ->> 'name'
           AND EXISTS (SELECT FROM pg_class AS c WHERE c.oid = b.relation AND c.relkind IN ('r', 'p'))
           AND EXISTS (SELECT FROM migrate.relations AS l
                       WHERE l.run = r.run AND l.name = 'migrate.runs' AND l.relation = 'migrate.runs'::regclass)
    WHERE  r.run = _run
  LOOP
    IF planned.now IS NULL AND planned.begun IS NULL THEN
      RETURN QUERY SELECT format('table %s is gone', planned.name), 'bring it back';
    ELSIF planned.now IS NULL THEN
      RETURN QUERY SELECT format('table %s is called %s now', planned.name, planned.begun), 'rename it back';
    ELSIF planned.now <> planned.begun THEN
      RETURN QUERY SELECT format('%s is another table now, the one of the run is called %s', planned.name, planned.begun),
                          'rename them back';
    ELSE
      -- A type that was restored from a dump has another number under the same name. A revert writes old values, which fit
      -- whatever is wider; what is applied was computed and shown for the very type.
      RETURN QUERY
        SELECT CASE WHEN a.attnum IS NULL THEN format('column %s is gone', c.item ->> 'name')
                    WHEN a.atttypid <> type.wanted OR NOT type.is_same
                    THEN format('column %s is %s, was %s', c.item ->> 'name', type.now, c.item ->> 'type')
                    ELSE format('column %s of the key can be NULL', c.item ->> 'name') END,
               'bring it back to what it was'
        FROM   jsonb_array_elements(planned.columns) AS c(item)
        LEFT   JOIN pg_attribute AS a
               ON  a.attrelid = planned.now AND a.attname = (c.item ->> 'name') COLLATE "C" AND NOT a.attisdropped
        CROSS  JOIN LATERAL (
          SELECT format_type(a.atttypid, a.atttypmod) AS now,
                 CASE WHEN a.atttypid = (c.item ->> 'type_oid')::oid THEN a.atttypid
                      ELSE coalesce(to_regtype(c.item ->> 'type')::oid, 0) END AS wanted,
                 NOT _applying OR format_type(a.atttypid, a.atttypmod) = c.item ->> 'type' AS is_same) AS type
        WHERE  a.attnum IS NULL OR a.atttypid <> type.wanted OR NOT type.is_same
          OR  (NOT a.attnotnull AND planned.key ? (c.item ->> 'name'));
      IF NOT FOUND AND NOT EXISTS (
        SELECT
        FROM   pg_index AS i
        WHERE  i.indrelid = planned.now AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
          AND  planned.key = (SELECT jsonb_agg(a.attname ORDER BY k.place)
                              FROM   unnest(i.indkey) WITH ORDINALITY AS k(attnum, place)
                              LEFT   JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                              WHERE  k.place <= i.indnkeyatts))
      THEN
        RETURN QUERY
          SELECT format('no unique index on (%s) is there any more, so each batch would read all of %s', k.names, planned.name),
                 format('CREATE UNIQUE INDEX CONCURRENTLY ON %s (%s)', planned.now, k.names)
          FROM  (SELECT string_agg(quote_ident(k.name), ', ' ORDER BY k.place) AS names
                 FROM   jsonb_array_elements_text(planned.key) WITH ORDINALITY AS k(name, place)) AS k;
      END IF;
    END IF;
  END LOOP;
END $$;
COMMENT ON FUNCTION migrate.changes IS 'What is not as it was when the run was begun: its table, the columns it writes, the index its batches walk; with what mends it.';

CREATE OR REPLACE FUNCTION migrate.changed_columns(_run bigint) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT c.change FROM migrate.changes(_run, false) AS c
$$;
COMMENT ON FUNCTION migrate.changed_columns IS 'What keeps a run from being taken back, of its table, the columns it writes and the index of its key.';

CREATE FUNCTION migrate.hold(_run bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  held    regclass;
  broken  text;
  cure    text;
  applies boolean;
BEGIN
  FOR held IN
    SELECT c.oid
    FROM   migrate.runs AS r
    CROSS  JOIN LATERAL jsonb_array_elements(r.plan -> 'tables') AS t(item)
    JOIN   pg_class AS c ON c.oid = to_regclass(t.item ->> 'name') AND c.relkind IN ('r', 'p')
    WHERE  r.run = _run
  LOOP
    EXECUTE format('LOCK TABLE %s IN ACCESS SHARE MODE', held);
    -- A snapshot that is older than a rewrite of the table finds it empty, and the batch would end the run (PostgreSQL manual,
    -- 13.6). The catalog's tables show what the snapshot sees, its functions what is.
    IF EXISTS (SELECT
               FROM  (SELECT held::oid AS oid UNION SELECT p.relid FROM pg_partition_tree(held) AS p) AS t
               JOIN   pg_class AS c USING (oid)
               WHERE  c.relfilenode <> 0 AND c.relfilenode IS DISTINCT FROM pg_relation_filenode(t.oid))
    THEN
      RAISE EXCEPTION 'table % was written anew in this moment', held USING ERRCODE = 'serialization_failure';
    END IF;
  END LOOP;
  SELECT r.direction = 'apply' INTO applies FROM migrate.runs AS r WHERE r.run = _run;
  SELECT string_agg(c.change, '; '), string_agg(DISTINCT c.remedy, '; ') INTO broken, cure FROM migrate.changes(_run, applies) AS c;
  IF broken IS NOT NULL THEN
    RAISE EXCEPTION 'the table has changed since run % was begun: %', _run, broken
    USING ERRCODE = 'object_not_in_prerequisite_state',
          HINT = format('%s; then %s run %s, which goes on at this batch. It has written nothing since the change', cure,
                        CASE WHEN applies THEN 'resume' ELSE 'revert' END, _run);
  END IF;
END $$;
COMMENT ON FUNCTION migrate.hold IS 'Keeps a run''s table as it is until the transaction ends, after a look whether it still is what the run was begun with; an error when not.';

-- The start --------------------------------------------------------------------------------------------------------------

CREATE FUNCTION migrate.holders(_transactions text[])
RETURNS TABLE (pid integer, application_name text, seconds double precision, words text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT h.pid, h.application_name, h.seconds,
         CASE WHEN h.pid IS NULL THEN 'prepared transaction ' || coalesce(quote_literal(h.gid), h.virtualtransaction)
              ELSE concat('pid ', h.pid, ' (' || nullif(h.application_name, '') || ')') END
         || coalesce(format(', open for %s s', floor(h.seconds)), '')
  FROM  (SELECT DISTINCT l.pid, l.virtualtransaction, a.application_name, p.gid,
                extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, p.prepared))::float8 AS seconds
         FROM   pg_locks AS l
         LEFT   JOIN pg_stat_activity  AS a ON a.pid = l.pid
         -- A prepared one has no process any more; that it holds its own number tells which it is.
         LEFT   JOIN pg_locks AS x
                ON  l.pid IS NULL AND x.pid IS NULL AND x.locktype = 'transactionid' AND x.virtualtransaction = l.virtualtransaction
         LEFT   JOIN pg_prepared_xacts AS p ON p.transaction = x.transactionid
         WHERE  l.virtualtransaction = ANY (_transactions)) AS h
  ORDER  BY h.seconds DESC NULLS LAST, h.pid
$$;
COMMENT ON FUNCTION migrate.holders IS 'Who has these transactions open and since when; to a role that may not see that the time is NULL.';

CREATE OR REPLACE PROCEDURE migrate.drive(_run bigint, _epoch integer)
LANGUAGE plpgsql AS $$
-- No SET clause and no SECURITY DEFINER: neither could commit. Between COMMIT and SET TRANSACTION stands nothing that reads,
-- not even an assignment, since that would take the snapshot.
DECLARE
  work    migrate.work;
  before  migrate.work;
  ended   migrate.attempted;
  holders text[];
  told    integer;
  known   text;
  size    integer;
  tries   integer := 0;
  looked  boolean := false;
  class   text;
BEGIN
  BEGIN
    -- Always an error here; which one tells whether it is the caller's transaction that forbids it, or only this block.
    COMMIT;
  EXCEPTION WHEN invalid_transaction_termination THEN
    IF SQLERRM = 'invalid transaction termination' THEN
      RAISE EXCEPTION 'migrate.drive commits after each batch, so run it outside of a transaction'
      USING ERRCODE = 'invalid_transaction_termination',
            HINT = 'CALL it alone: without BEGIN, without psql -1, not in one message with other statements, not from a function';
    END IF;
  END;
  COMMIT;
  SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;
  PERFORM migrate.enlist(_run, 1, _epoch, NULL, 'procedure');
  LOOP
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;
    SET LOCAL search_path = pg_catalog, pg_temp;
    work := migrate.next_work(_run, _epoch);
    EXIT WHEN work.verb = 'end';
    IF (work.verb, work.ordinal, work.seq) IS DISTINCT FROM (before.verb, before.ordinal, before.seq) THEN
      tries := 0;
      known := NULL;
      size := work.size;
    END IF;
    before := work;
    tries := tries + 1;
    ended := NULL;

    IF work.verb = 'settle' THEN
      PERFORM migrate.settle(_run);
      CONTINUE;

    ELSIF work.verb = 'bound' THEN
      EXECUTE (migrate.statement(_run, 'batches', 'settings')).text;
      -- Only those of the first look: who came later is none of our concern, and there would always be somebody.
      holders := ARRAY(SELECT h FROM unnest(migrate.lockers(_run)) AS h WHERE holders IS NULL OR h = ANY (holders));
      IF cardinality(holders) > 0 THEN
        IF cardinality(holders) IS DISTINCT FROM told THEN
          told := cardinality(holders);
          RAISE NOTICE 'run % waits for % that may have written to the table: %', _run,
            CASE told WHEN 1 THEN 'a transaction' ELSE told || ' transactions' END,
            (SELECT string_agg(h.words, '; ') FROM migrate.holders(holders) AS h);
        END IF;
        PERFORM migrate.enlist(_run, 1, _epoch, NULL, 'procedure');
        PERFORM pg_sleep(0.05);
        CONTINUE;
      END IF;

    ELSIF work.verb = 'batch' THEN
      -- A snapshot costs nothing when nobody writes; from the second try the rows are locked first; from the third each
      -- statement sees what has been committed, which always ends; after six, fewer rows meet fewer writers.
      IF tries > 6 THEN
        size := greatest(1, size / 2);
      END IF;
      IF tries < 3 THEN
        COMMIT;
        SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE;
      END IF;

    ELSIF work.verb = 'finish' THEN
      COMMIT;
      SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;
    END IF;

    BEGIN
      SET LOCAL lock_timeout = '500ms';
      PERFORM migrate.hold(_run);
      IF work.verb = 'bound' THEN
        PERFORM migrate.fix_bounds(_run, _epoch);
        ended.verdict := 'done';
      END IF;
    EXCEPTION WHEN OTHERS THEN
      GET STACKED DIAGNOSTICS ended.sqlstate = RETURNED_SQLSTATE, ended.message = MESSAGE_TEXT,
                              ended.detail = PG_EXCEPTION_DETAIL, ended.hint = PG_EXCEPTION_HINT;
      ended.verdict := 'error';
    END;

    IF ended.verdict IS NOT NULL THEN
      NULL;
    ELSIF work.verb = 'batch' THEN
      ended := migrate.attempt(_run, _epoch, work, size, tries > 1);

    ELSIF work.verb = 'restore' THEN
      IF work.policy = 'stop' AND NOT looked THEN
        ended := migrate.look_ahead(_run, _epoch);
        looked := ended.verdict = 'done';
      END IF;
      IF ended.verdict IS NULL OR looked AND ended.verdict = 'done' THEN
        ended := migrate.attempt_restore(_run, _epoch, work);
      END IF;

    ELSIF work.verb = 'finish' THEN
      ended := migrate.look_back(_run, _epoch);
      IF ended.verdict = 'done' THEN
        COMMIT;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;
        UPDATE migrate.runs SET left_behind = ended.left_behind WHERE run = _run;
        PERFORM migrate.execute(s.text, '{}') FROM migrate.statements AS s WHERE s.run = _run AND s.phase = 'finish' AND s.name = 'drop keys';
        PERFORM migrate.advance(_run, 'last_batch_committed');
      END IF;
    END IF;

    CONTINUE WHEN ended.verdict = 'done';
    ROLLBACK;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;
    SET LOCAL search_path = pg_catalog, pg_temp;
    IF ended.verdict = 'taken over' THEN
      PERFORM migrate.taken_over(_run, _epoch);
    END IF;
    class := CASE ended.verdict
             WHEN 'inexact' THEN 'transient'
             WHEN 'stopped' THEN 'row'
             ELSE migrate.error_class(ended.sqlstate) END;
    -- An array of the undo ends at a gigabyte: fewer rows fit, and a single one that does not is to blame itself.
    IF work.verb = 'batch' AND ended.sqlstate = '54000' AND size > 1 THEN
      size := size / 2;
      CONTINUE;
    END IF;
    IF class = 'transient'
       -- These can be the age of the snapshot: the row that is missing, or in the way, was committed since; so was what the
       -- statement does not find any more, and the next look at the table tells what has become of it.
       OR (ended.sqlstate IN ('23503', '23505') OR left(ended.sqlstate, 2) = '42') AND ended.sqlstate IS DISTINCT FROM known THEN
      known := coalesce(ended.sqlstate, known);
      PERFORM migrate.enlist(_run, 1, _epoch, NULL, 'procedure');
      COMMIT;
      PERFORM pg_catalog.pg_sleep(pg_catalog.random() * least(0.01 * 2 ^ least(tries, 7), 1));
      CONTINUE;
    END IF;
    PERFORM migrate.fail(_run, CASE class WHEN 'environment' THEN 'pause_requested' ELSE 'batch_failed' END,
                         ended.sqlstate, ended.message, ended.detail, ended.hint, work.after_key, ended.through_key);
    IF class = 'environment' THEN
      PERFORM migrate.advance(_run, 'batch_edge_reached');
    END IF;
    COMMIT;
    RAISE EXCEPTION 'run % %: %', _run, CASE class WHEN 'environment' THEN 'is paused' ELSE 'failed' END, ended.message
    USING ERRCODE = coalesce(ended.sqlstate, 'MG003'),
          DETAIL  = concat_ws(E'\n', nullif(ended.detail, ''),
                      CASE work.verb
                      WHEN 'batch'   THEN format('batch: behind key %s through %s', coalesce(work.after_key::text, '(the beginning)'),
                                                 coalesce(ended.through_key::text, '(not known)'))
                      WHEN 'restore' THEN format('batch: %s, to be taken back', work.ordinal)
                      WHEN 'bound'   THEN 'before the first batch'
                      ELSE 'after the last batch' END),
          HINT    = coalesce(nullif(ended.hint, ''), 'mend it, then run it again: it goes on at this batch');
  END LOOP;
  COMMIT;
END $$;

REVOKE ALL ON ALL TABLES   IN SCHEMA migrate FROM PUBLIC;
REVOKE ALL ON ALL ROUTINES IN SCHEMA migrate FROM PUBLIC;
