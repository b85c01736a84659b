-- What both back ends ask the ledger before and between their batches, said once.

CREATE FUNCTION migrate.fail(
  _run bigint, _event text, _sqlstate text, _message text, _detail text, _hint text,
  _column text, _constraint text, _after text[], _through text[], _rows text[] DEFAULT NULL, _are_all boolean DEFAULT NULL
) RETURNS text
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  UPDATE migrate.runs
  SET    failure = jsonb_build_object('sqlstate', _sqlstate, 'message', _message, 'detail', nullif(_detail, ''),
                                      'hint', nullif(_hint, ''), 'column', nullif(_column, ''),
                                      'constraint', nullif(_constraint, ''), 'after', _after, 'through', _through,
                                      'rows', (SELECT jsonb_agg(to_jsonb(k.key::text[]) ORDER BY k.place)
                                               FROM   unnest(_rows) WITH ORDINALITY AS k(key, place)),
                                      'rows_are_all', _are_all, 'at', clock_timestamp())
  -- Of two workers whose batches fail the first one is told of.
  WHERE  run = _run
    AND  EXISTS (SELECT FROM migrate.transitions AS t WHERE (t.state, t.direction, t.event) = (runs.state, runs.direction, _event));
  SELECT migrate.advance(_run, _event)
$$;
COMMENT ON FUNCTION migrate.fail IS 'Writes down why a run cannot go on, and where, and moves it by the event; the new state. _rows: the keys of the rows at fault, each an array''s text; _are_all: there are no others in the batch.';

CREATE FUNCTION migrate.bound(_run bigint, _upper text[], _horizon xid8) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  UPDATE migrate.runs SET upper_key = _upper, horizon = _horizon, bounded_at = clock_timestamp()
  WHERE  run = _run AND bounded_at IS NULL;
  -- Whoever has not cut the keys walks them as one.
  INSERT INTO migrate.slices (run, slice, through_key)
  SELECT _run, 0, _upper
  WHERE  _upper IS NOT NULL AND NOT EXISTS (SELECT FROM migrate.slices AS s WHERE s.run = _run)
$$;
COMMENT ON FUNCTION migrate.bound IS 'Fixes the upper end of a run''s keys, NULL for an empty table. A second time changes nothing.';

-- Whoever writes has a transaction number, and numbers are given in order: when as many have been given since the horizon as
-- the run has used (one for each batch, and one that fixed the bounds, after its look at the horizon), nobody else has
-- written. Numbers that were given and are still at work lie at or above xmax, where nobody sees what they write.
CREATE FUNCTION migrate.others_wrote(_run bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT s.xmax - r.horizon::text::bigint <> 1 + (SELECT count(DISTINCT b.xid)
                                                  FROM   migrate.batches AS b
                                                  WHERE  b.run = _run AND b.kind = 'apply'
                                                    AND  b.xid > r.horizon AND b.xid::text::bigint < s.xmax)
  FROM   migrate.runs AS r,
         (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS xmax) AS s
  WHERE  r.run = _run
$$;
COMMENT ON FUNCTION migrate.others_wrote IS 'Whether a transaction that is not the run''s own has been given a number since the run''s upper end was fixed, anywhere in the cluster.';

CREATE FUNCTION migrate.is_restored(_run bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT NOT EXISTS (SELECT FROM migrate.relations AS l
                     WHERE l.run = _run AND l.name = 'migrate.runs' AND l.relation = 'migrate.runs'::regclass)
$$;
COMMENT ON FUNCTION migrate.is_restored IS 'Whether the ledger came from a dump since the run was begun: its numbers of tables and transactions then mean others here.';

CREATE FUNCTION migrate.versions_since(_run bigint, OUT others boolean, OUT horizon xid, OUT transactions xid[])
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT w.restored OR migrate.others_wrote(_run),
         -- The rows of a partition that was attached since are as old as they are.
         CASE WHEN NOT w.restored AND NOT EXISTS (
           SELECT
           FROM   jsonb_array_elements(r.plan -> 'tables') AS t(item)
           CROSS  JOIN LATERAL pg_partition_tree(to_regclass(t.item ->> 'name')) AS p
           JOIN   pg_inherits AS i ON i.inhrelid = p.relid
           WHERE  ((i.xmin::text::bigint - r.horizon::xid::text::bigint) & 4294967295) < 2147483648)
         THEN r.horizon::xid END,
         CASE WHEN w.restored THEN '{}'
         ELSE ARRAY(SELECT b.xid::xid FROM migrate.batches AS b WHERE b.run = _run AND b.kind = 'apply') END
  FROM   migrate.runs AS r,
         (SELECT migrate.is_restored(_run) AS restored) AS w
  WHERE  r.run = _run
$$;
COMMENT ON FUNCTION migrate.versions_since IS 'What tells the versions of rows that others have written since the run''s upper end was fixed; no horizon: any version may be.';

-- The run is taken over -------------------------------------------------------------------------------------------------

CREATE FUNCTION migrate.relieve(
  _run bigint, _patience interval, _watched boolean DEFAULT false, OUT epoch integer, OUT pid integer, OUT client_host text
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  before   integer;
  beat     timestamptz;
  first    timestamptz;
  -- Not asked of the clock, which may jump.
  looks    integer := 0;
BEGIN
  SELECT f.epoch INTO before FROM migrate.fence AS f WHERE f.run = _run;
  SELECT max(w.heartbeat_at) INTO first FROM migrate.workers AS w WHERE w.run = _run;
  -- A backend can outlive a client that was killed by as long as the server needs to see that nobody is there. A client that lives
  -- gives a sign each second, whatever the clock says.
  WHILE migrate.is_working(_run) OR NOT _watched AND looks < 125 AND migrate.may_live(_run) LOOP
    SELECT w.heartbeat_at, w.pid, w.client_host INTO beat, pid, client_host
    FROM   migrate.workers AS w
    WHERE  w.run = _run
    ORDER  BY w.heartbeat_at DESC
    LIMIT  1;
    IF beat IS DISTINCT FROM first OR looks * interval '20 ms' >= _patience THEN
      RETURN;
    END IF;
    looks := looks + 1;
    PERFORM pg_sleep(0.02);
    PERFORM pg_stat_clear_snapshot();
  END LOOP;
  SELECT NULL, NULL INTO pid, client_host;
  -- A client that was stopped keeps its row locks, and between its last statement and COMMIT the fence, until its backend
  -- ends. Without the right to end it, the timeout of its idle transaction does.
  BEGIN
    PERFORM pg_terminate_backend(a.pid)
    FROM    migrate.workers  AS w
    JOIN    pg_stat_activity AS a ON a.pid = w.pid AND a.backend_start = w.backend_start
    WHERE   w.run = _run AND a.pid <> pg_backend_pid() AND a.state = 'idle in transaction';
  EXCEPTION WHEN insufficient_privilege THEN
    NULL;
  END;
  epoch := migrate.take_over(_run, before);
END $$;
COMMENT ON FUNCTION migrate.relieve IS 'Takes a run over from workers that are gone: the new epoch; else who works on it; else NULLs: another was faster. _watched: the caller has seen for two and a half seconds that none of them gives a sign.';

-- What forbids a run, or its way back -----------------------------------------------------------------------------------

CREATE FUNCTION migrate.missing(_needs text[]) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT n.name
  FROM   unnest(_needs) WITH ORDINALITY AS n(name, place)
  WHERE  NOT EXISTS (SELECT FROM migrate.runs AS r WHERE r.name = n.name AND r.state = 'completed')
  ORDER  BY n.place
$$;
COMMENT ON FUNCTION migrate.missing IS 'Of these definitions those that have no completed run.';

CREATE FUNCTION migrate.dependents(_run bigint) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT DISTINCT d.name
  FROM   migrate.runs AS r
  JOIN   migrate.runs AS d ON d.plan -> 'needs' ? r.name AND d.state = 'completed'
  WHERE  r.run = _run
    AND  NOT EXISTS (SELECT FROM migrate.runs AS o WHERE o.name = r.name AND o.run <> r.run AND o.state = 'completed')
  ORDER  BY d.name
$$;
COMMENT ON FUNCTION migrate.dependents IS 'Definitions that are applied and need the run''s definition, when no other run of it satisfies them.';

CREATE FUNCTION migrate.overlap(_run bigint, _other bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  WITH written AS (
    SELECT r.run, s.step -> 'table' AS table_name, c.col -> 'name' AS column_name
    FROM   migrate.runs AS r,
           jsonb_array_elements(r.plan -> 'steps')   AS s(step),
           jsonb_array_elements(s.step -> 'columns') AS c(col)
    WHERE  r.run IN (_run, _other)
  )
  SELECT EXISTS (SELECT FROM written AS theirs JOIN written AS mine USING (table_name, column_name)
                 WHERE mine.run = _run AND theirs.run = _other)
$$;
COMMENT ON FUNCTION migrate.overlap IS 'Whether two runs write the same column.';

CREATE FUNCTION migrate.concurrent_runs(_run bigint) RETURNS SETOF migrate.runs
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  -- Each plan that is looked into is read as a whole, so first those are left out that do not matter.
  SELECT o.*
  FROM   migrate.runs AS o
  WHERE  o.run <> _run
    AND  CASE WHEN o.state NOT IN ('completed', 'cancelled', 'reverted') THEN migrate.overlap(_run, o.run) END
  ORDER  BY o.run
$$;
COMMENT ON FUNCTION migrate.concurrent_runs IS 'Unfinished runs that write a column that the run writes.';

CREATE FUNCTION migrate.later_runs(_run bigint) RETURNS SETOF migrate.runs
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT o.*
  FROM   migrate.runs AS o
  WHERE  o.run > _run
    AND  CASE WHEN o.state <> 'reverted' AND EXISTS (SELECT FROM migrate.batches AS b WHERE b.run = o.run)
              THEN migrate.overlap(_run, o.run) END
  ORDER  BY o.run DESC
$$;
COMMENT ON FUNCTION migrate.later_runs IS 'Runs that came later and wrote the same columns, the newest first: theirs lies over it.';

CREATE FUNCTION migrate.relabelled(_run bigint) RETURNS SETOF text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  begun record;
  now   text[];
BEGIN
  FOR begun IN
    SELECT l.type, to_regtype(l.type) AS known, r.plan, ARRAY(SELECT jsonb_array_elements_text(l.labels)) AS labels
    FROM   migrate.runs AS r, jsonb_each(r.labels) AS l(type, labels)
    WHERE  r.run = _run AND r.direction = 'apply'
  LOOP
    IF begun.known IS NULL THEN
      RETURN NEXT format('enum %s is gone', begun.type);
      CONTINUE;
    -- It may be another one by now. Most are a column's own type, which is told sooner than what arrays and domains are of.
    ELSIF NOT EXISTS (SELECT
                      FROM   migrate.relations AS b
                      JOIN   pg_attribute AS a ON a.attrelid = to_regclass(b.name) AND NOT a.attisdropped
                      WHERE  b.run = _run AND a.atttypid = begun.known)
      AND NOT migrate.plan_labels(begun.plan) ? begun.type THEN
      RETURN NEXT format('the labels of enum %s are those of another type now', begun.type);
      CONTINUE;
    END IF;
    now := migrate.enum_labels(begun.known);
    -- One that was added is none of the rows' that there were.
    IF ARRAY(SELECT n.label FROM unnest(now) WITH ORDINALITY AS n(label, place) WHERE n.label = ANY (begun.labels) ORDER BY n.place)
       <> begun.labels THEN
      RETURN NEXT format('the labels of enum %s are %s, were %s', begun.type, now, begun.labels);
    END IF;
  END LOOP;
END $$;
COMMENT ON FUNCTION migrate.relabelled IS 'Enums of a run that is applied whose labels, or which themselves, are not called what they were when it was begun, in words.';

CREATE FUNCTION migrate.changes(_run bigint, _applying boolean) RETURNS TABLE (change text, remedy text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  planned record;
BEGIN
  FOR planned IN
    SELECT (SELECT string_agg(quote_ident(p), '.') FROM unnest(parse_ident(t.item ->> 'name')) AS p) AS name, to_regclass(t.item ->> 'name') AS now, b.relation::regclass AS begun,
           t.item -> 'columns' AS columns, t.item -> 'triggers' AS triggers, r.plan -> 'key' AS key, r.collations,
           ARRAY(SELECT c.col ->> 'name'
                 FROM   jsonb_array_elements(r.plan -> 'steps') AS s(step), jsonb_array_elements(s.step -> 'columns') AS c(col)) AS written
    FROM   migrate.runs AS r
    CROSS  JOIN LATERAL jsonb_array_elements(r.plan -> 'tables') AS t(item)
    -- Nothing is known of the table of the run where its number names none any more, or the ledger came from a dump.
    LEFT   JOIN migrate.relations AS b
           ON  b.run = r.run AND b.name = t.item ->> 'name'
           AND EXISTS (SELECT FROM pg_class AS c WHERE c.oid = b.relation AND c.relkind IN ('r', 'p'))
           AND NOT migrate.is_restored(r.run)
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
                    WHEN planned.begun IS NOT NULL AND a.attnum <> (c.item ->> 'number')::integer
                    THEN format('column %s is another one now', c.item ->> 'name')
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
          OR  (planned.begun IS NOT NULL AND a.attnum <> (c.item ->> 'number')::integer)
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
      -- Its writes would be in no undo, on the way there and on the way back.
      RETURN QUERY
        SELECT DISTINCT format('%s follows column %s by foreign key %I now', f.conrelid::regclass, a.attname, f.conname),
               'make it ON UPDATE NO ACTION'
        FROM  (SELECT planned.now::oid AS oid UNION SELECT p.relid FROM pg_partition_tree(planned.now) AS p) AS t
        -- By the triggers that do it, which an index leads to.
        JOIN   pg_trigger    AS g ON g.tgrelid = t.oid AND g.tgisinternal
        JOIN   pg_constraint AS f ON f.oid = g.tgconstraint AND f.confrelid = t.oid AND f.confupdtype IN ('c', 'n', 'd')
        JOIN   pg_attribute  AS a ON a.attrelid = f.confrelid AND a.attnum = ANY (f.confkey)
        WHERE  a.attname = ANY (planned.written);
      -- What the rows become was foreseen without it, and its own writes would be in no undo. On the way back one that fires
      -- before each row is written decides what comes back.
      RETURN QUERY
        SELECT DISTINCT format('trigger %I fires on updates of %s now', g.tgname, planned.name),
               'disable or drop it' || CASE WHEN _applying THEN ', or take the run back and apply anew' ELSE '' END
        FROM  (SELECT planned.now::oid AS oid UNION SELECT p.relid FROM pg_partition_tree(planned.now) AS p) AS t
        JOIN   pg_trigger AS g ON g.tgrelid = t.oid
        WHERE  NOT g.tgisinternal AND g.tgenabled IN ('O', 'A') AND g.tgtype & 16 > 0 AND (_applying OR g.tgtype & 3 = 3)
          AND  NOT planned.triggers ? g.tgname::text;
      -- It can write elsewhere and return each row as if it had been written.
      RETURN QUERY
        SELECT format('rule %I is applied to updates of %s now', w.rulename, planned.name),
               'disable or drop it' || CASE WHEN _applying THEN ', or take the run back and apply anew' ELSE '' END
        FROM   pg_rewrite AS w
        WHERE  w.ev_class = planned.now AND w.ev_type = '2' AND w.ev_enabled IN ('O', 'A');
      IF _applying THEN
        -- Batches of two orders pass rows over, and do others twice.
        RETURN QUERY
          SELECT 'the key is ordered by another collation now', 'give its columns their collations back'
          WHERE  ARRAY(SELECT DISTINCT format('%I.%I', n.nspname, l.collname) COLLATE "C"
                       FROM   pg_attribute AS a
                       JOIN   pg_collation AS l ON l.oid = a.attcollation AND l.collprovider <> 'd'
                       JOIN   pg_namespace AS n ON n.oid = l.collnamespace
                       WHERE  a.attrelid = planned.now AND planned.key ? a.attname::text
                       ORDER  BY 1)
                 <> ARRAY(SELECT o.name FROM jsonb_object_keys(planned.collations) AS o(name)
                          WHERE o.name NOT LIKE 'of database %' ORDER BY o.name COLLATE "C");
      END IF;
    END IF;
  END LOOP;
  -- What is compared as a text would silently not be eligible any more.
  IF _applying THEN
    RETURN QUERY SELECT e.change, 'rename them back, or take the run back and apply anew' FROM migrate.relabelled(_run) AS e(change);
  END IF;
END $$;
COMMENT ON FUNCTION migrate.changes IS 'What is not as it was when the run was begun: its table, the columns it writes, the index its batches walk, the triggers that fire, the labels of its enums; with what mends it.';

CREATE FUNCTION migrate.changed_columns(_run bigint) RETURNS SETOF text
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  SELECT c.change FROM migrate.changes(_run, false) AS c
$$;
COMMENT ON FUNCTION migrate.changed_columns IS 'What keeps a run from being taken back: what migrate.changes tells of the way back.';

CREATE FUNCTION migrate.may_lock(_run bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(bool_and(has_table_privilege(to_regclass(t.item ->> 'name'), 'UPDATE')), false)
  FROM   migrate.runs AS r, jsonb_array_elements(r.plan -> 'tables') AS t(item)
  WHERE  r.run = _run
$$;
COMMENT ON FUNCTION migrate.may_lock IS 'Whether the role may lock a run''s table as a writer does; who may update only some of its columns may not.';

CREATE FUNCTION migrate.late_triggers(_run bigint) RETURNS text
-- Asked once a batch on the way back: in this language its plan is kept.
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN (
    SELECT string_agg(DISTINCT quote_ident(g.tgname), ', ')
    FROM   migrate.relations AS b
    CROSS  JOIN LATERAL (SELECT to_regclass(b.name)::oid AS oid UNION SELECT p.relid FROM pg_partition_tree(to_regclass(b.name)) AS p) AS k
    JOIN   pg_trigger AS g ON g.tgrelid = k.oid
    WHERE  b.run = _run AND b.name <> 'migrate.runs'
      AND  NOT g.tgisinternal AND g.tgenabled IN ('O', 'A') AND g.tgtype & 16 > 0
      -- The plan is long, and read only where there is one.
      AND  NOT EXISTS (SELECT
                       FROM   migrate.runs AS r, jsonb_array_elements(r.plan -> 'tables') AS t(item)
                       WHERE  r.run = _run AND t.item ->> 'name' = b.name AND t.item -> 'triggers' ? g.tgname::text));
END $$;
COMMENT ON FUNCTION migrate.late_triggers IS 'Triggers that fire on updates of a run''s table and were not there when it was planned.';

CREATE FUNCTION migrate.rows_written(_run bigint) RETURNS bigint
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  SELECT sum(pg_stat_get_xact_tuples_inserted(k.oid) + pg_stat_get_xact_tuples_updated(k.oid) + pg_stat_get_xact_tuples_deleted(k.oid))
  FROM   migrate.relations AS b
  CROSS  JOIN LATERAL (SELECT to_regclass(b.name)::oid AS oid UNION SELECT p.relid FROM pg_partition_tree(to_regclass(b.name)) AS p) AS k
  WHERE  b.run = _run AND b.name <> 'migrate.runs'
$$;
COMMENT ON FUNCTION migrate.rows_written IS 'How many rows of a run''s table the backend has written that no statistics have yet: of two moments of a transaction the difference is what it wrote in between.';

CREATE FUNCTION migrate.hold(_run bigint, _undisturbed xid8 DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  held    regclass;
  broken  text;
  cure    text;
  applies boolean;
  -- Who only looks for conflicts writes nothing.
  restores boolean;
  may_lock boolean := true;
BEGIN
  IF current_setting('session_replication_role') = 'replica' THEN
    RAISE EXCEPTION 'session_replication_role is replica: foreign keys would not be checked, and other triggers fire than those of the plan'
    USING ERRCODE = 'object_not_in_prerequisite_state', HINT = format('ALTER ROLE %I RESET session_replication_role', session_user);
  END IF;
  -- Whoever changes a table has a transaction number. The batch before was alone, and no number but its own was given since, so
  -- the table is as that batch has found it.
  IF pg_snapshot_xmax(pg_current_snapshot())::text::bigint = _undisturbed::text::bigint + 1 THEN
    RETURN;
  END IF;
  SELECT r.direction = 'apply' INTO applies FROM migrate.runs AS r WHERE r.run = _run;
  restores := NOT applies AND current_setting('transaction_read_only') = 'off';
  FOR held IN
    SELECT c.oid
    FROM   migrate.runs AS r
    CROSS  JOIN LATERAL jsonb_array_elements(r.plan -> 'tables') AS t(item)
    JOIN   pg_class AS c ON c.oid = to_regclass(t.item ->> 'name') AND c.relkind IN ('r', 'p')
    WHERE  r.run = _run
  LOOP
    -- To who will write the lock that keeps new triggers out as well. Forward without a wait: the snapshot is older than what ends
    -- it. The client has it already, from before its snapshot; in a procedure no statement comes before the snapshot. On the way
    -- back each statement has a snapshot of its own.
    may_lock := may_lock AND has_table_privilege(held, 'UPDATE');
    EXECUTE format(CASE WHEN NOT (applies OR restores) OR NOT may_lock THEN 'LOCK TABLE %s IN ACCESS SHARE MODE'
                        WHEN applies THEN 'LOCK TABLE %s IN ROW EXCLUSIVE MODE NOWAIT'
                        ELSE 'LOCK TABLE %s IN ROW EXCLUSIVE MODE' END, held);
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
  SELECT string_agg(c.change, '; '), string_agg(DISTINCT c.remedy, '; ') INTO broken, cure FROM migrate.changes(_run, applies) AS c;
  IF broken IS NOT NULL THEN
    RAISE EXCEPTION 'the table has changed since run % was begun: %', _run, broken
    USING ERRCODE = 'object_not_in_prerequisite_state',
          HINT = format('%s; then %s run %s, which goes on at this batch. It has written nothing since the change', cure,
                        CASE WHEN applies THEN 'resume' ELSE 'revert' END, _run);
  END IF;
  -- What a trigger that came later does to the rows is told by their number, which confirm compares; the setting ends with the
  -- transaction. Who cannot keep one out counts in any case.
  IF restores AND (NOT may_lock OR migrate.late_triggers(_run) IS NOT NULL) THEN
    PERFORM set_config('migrate.rows_written', migrate.rows_written(_run)::text, true);
  END IF;
END $$;
COMMENT ON FUNCTION migrate.hold IS 'Keeps a run''s table as it is until the transaction ends, after a look whether it still is what the run was begun with; an error when not. Who has locked it and gives what confirm has told at the batch before may be spared the look.';

CREATE FUNCTION migrate.confirm_restored(_run bigint, _written_before bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  late     text;
  expected bigint;
BEGIN
  -- One that puts its work off does it here.
  SET CONSTRAINTS ALL IMMEDIATE;
  late := migrate.late_triggers(_run);
  IF late IS NULL THEN
    RETURN;
  END IF;
  -- Each row that came back was written once, and once more where known triggers write columns of it, which are then put right.
  SELECT b.rows_changed * (1 + (SELECT count(*) FROM migrate.statements AS s WHERE s.run = _run AND s.name = 'restore rewritten'))
  INTO   expected
  FROM   migrate.batches AS b
  WHERE  b.run = _run AND b.kind = 'revert'
  ORDER  BY b.seq DESC
  LIMIT  1;
  IF current_setting('track_counts') = 'off' OR migrate.rows_written(_run) - _written_before <> expected THEN
    RAISE EXCEPTION '%', CASE WHEN current_setting('track_counts') = 'off'
      THEN format('trigger %s came after run %s, and track_counts is off, so nothing tells whether it writes other rows', late, _run)
      ELSE format('rows of the table were written besides those that came back: trigger %s came after run %s', late, _run) END
    USING ERRCODE = 'object_not_in_prerequisite_state',
          HINT = format('disable or drop it; then revert run %s, which goes on at this batch. It has written nothing of it', _run);
  END IF;
END $$;
COMMENT ON FUNCTION migrate.confirm_restored IS 'Before a batch that was taken back commits, where triggers have come since the run: an error when the transaction has written other rows of the table than came back, or a row once more. _written_before is what migrate.rows_written told at its beginning.';

CREATE FUNCTION migrate.confirm(_run bigint) RETURNS xid8
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  written text := current_setting('migrate.rows_written', true);
BEGIN
  IF written <> '' THEN
    PERFORM migrate.confirm_restored(_run, written::bigint);
    -- Nor could who may not lock the table keep one out that decides about the old values.
    IF NOT migrate.may_lock(_run) THEN
      PERFORM migrate.hold(_run);
    END IF;
  END IF;
  -- Numbers that came with a dump are others, and the whole look is taken once more.
  IF EXISTS (SELECT FROM migrate.relations AS b WHERE b.run = _run AND to_regclass(b.name) IS DISTINCT FROM b.relation)
     OR EXISTS (SELECT FROM migrate.runs AS r WHERE r.run = _run AND r.labels <> '{}' AND EXISTS (SELECT FROM migrate.relabelled(_run))) THEN
    PERFORM migrate.hold(_run);
  END IF;
  -- Nothing was at work when the batch's snapshot was taken, and nothing came between that and its first write. In READ COMMITTED
  -- the snapshot is this statement's, which finds the batch itself at work.
  RETURN (SELECT pg_current_xact_id()
          FROM   pg_current_snapshot() AS s
          WHERE  pg_snapshot_xmin(s) = pg_snapshot_xmax(s) AND pg_snapshot_xmax(s) = pg_current_xact_id());
END $$;
COMMENT ON FUNCTION migrate.confirm IS 'Before a batch commits: no lock on a table keeps its schema from being renamed, nor the labels of an enum, and a name may mean something else by now; an error when it does. Its number when it was undisturbed, no other transaction being at work, else NULL.';

CREATE FUNCTION migrate.holders(_transactions text[])
RETURNS TABLE (pid integer, application_name text, seconds double precision, words text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT h.pid, h.application_name, h.seconds,
         CASE WHEN h.pid IS NULL THEN 'prepared transaction ' || coalesce(quote_literal(h.gid), h.virtualtransaction)
              ELSE concat('pid ', h.pid, ' (' || nullif(h.application_name, '') || ')') END
         || coalesce(format(', open for %s s', floor(h.seconds)), '')
  FROM  (SELECT l.pid, l.virtualtransaction, a.application_name, p.gid,
                extract(epoch FROM greatest(clock_timestamp(), coalesce(a.xact_start, p.prepared)) - coalesce(a.xact_start, p.prepared))::float8 AS seconds
         -- Once each, however many locks it holds.
         FROM  (SELECT DISTINCT k.pid, k.virtualtransaction FROM pg_locks AS k WHERE k.virtualtransaction = ANY (_transactions)) AS l
         LEFT   JOIN pg_stat_activity  AS a ON a.pid = l.pid
         -- A prepared one has no process any more; that it holds its own number tells which it is.
         LEFT   JOIN pg_locks AS x
                ON  l.pid IS NULL AND x.pid IS NULL AND x.locktype = 'transactionid' AND x.virtualtransaction = l.virtualtransaction
         LEFT   JOIN pg_prepared_xacts AS p ON p.transaction = x.transactionid) AS h
  ORDER  BY h.seconds DESC NULLS LAST, h.pid
$$;
COMMENT ON FUNCTION migrate.holders IS 'Who has these transactions open and since when; to a role that may not see that the time is NULL.';

CREATE FUNCTION migrate.has_undo(_run bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(bool_and(to_regclass(format('migrate.undo_%s_%s', r.run, s.step ->> 'number')) IS NOT NULL), true)
  FROM   migrate.runs AS r, jsonb_array_elements(r.plan -> 'steps') AS s(step)
  WHERE  r.run = _run
$$;
COMMENT ON FUNCTION migrate.has_undo IS 'Whether the tables are there that hold what a run has changed.';

CREATE FUNCTION migrate.next_to_restore(_run bigint) RETURNS SETOF migrate.batches
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  -- The batch that was taken back last: it is likely that all behind it are back, and there may be thousands.
  last bigint := (SELECT a.seq
                  FROM  (SELECT r.* FROM migrate.batches AS r WHERE r.run = _run AND r.kind = 'revert' ORDER BY r.seq DESC LIMIT 1) AS r
                  JOIN   migrate.batches AS a
                         ON (a.run, a.kind, a.slice, a.ordinal, a.part) = (r.run, 'apply', r.slice, r.ordinal, r.part));
BEGIN
  RETURN QUERY
    SELECT a.*
    FROM   migrate.batches AS a
    WHERE  a.run = _run AND a.kind = 'apply' AND a.seq < coalesce(last, 9223372036854775807)
      AND  NOT EXISTS (SELECT FROM migrate.batches AS r
                       WHERE (r.run, r.kind, r.slice, r.ordinal, r.part) = (a.run, 'revert', a.slice, a.ordinal, a.part))
    ORDER  BY a.seq DESC
    LIMIT  1;
  IF FOUND OR last IS NULL THEN
    RETURN;
  END IF;
  -- Before it is said that nothing is left, all of them are looked at.
  RETURN QUERY
    SELECT a.*
    FROM   migrate.batches AS a
    WHERE  a.run = _run AND a.kind = 'apply'
      AND  NOT EXISTS (SELECT FROM migrate.batches AS r
                       WHERE (r.run, r.kind, r.slice, r.ordinal, r.part) = (a.run, 'revert', a.slice, a.ordinal, a.part))
    ORDER  BY a.seq DESC
    LIMIT  1;
END $$;
COMMENT ON FUNCTION migrate.next_to_restore IS 'The batch that a revert takes back next: the last one that is not yet.';

CREATE FUNCTION migrate.last_batch(_run bigint, _slice integer) RETURNS SETOF migrate.batches
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT b.*
  FROM   migrate.batches AS b
  WHERE  b.run = _run AND b.kind = 'apply' AND b.slice = _slice
  ORDER  BY b.ordinal DESC, b.part DESC
  LIMIT  1
$$;
COMMENT ON FUNCTION migrate.last_batch IS 'The last batch of a slice, behind which the next one begins; none when nothing is done.';

CREATE FUNCTION migrate.open_slices(
  _run bigint, OUT slice integer, OUT ordinal integer, OUT after_key text[], OUT through_key text[], OUT canary boolean
) RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT s.slice, coalesce(b.ordinal, 0), coalesce(b.through_key, s.after_key), s.through_key, s.canary
  FROM   migrate.slices AS s
  LEFT   JOIN LATERAL migrate.last_batch(s.run, s.slice) AS b ON true
  WHERE  s.run = _run AND b.through_key IS DISTINCT FROM s.through_key
  ORDER  BY s.slice
$$;
COMMENT ON FUNCTION migrate.open_slices IS 'The slices of a run that are not done: the last batch of each, and the stretch of the key that is left of it.';

CREATE FUNCTION migrate.is_covered(_run bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT r.bounded_at IS NOT NULL AND NOT EXISTS (SELECT FROM migrate.open_slices(_run))
  FROM   migrate.runs AS r
  WHERE  r.run = _run
$$;
COMMENT ON FUNCTION migrate.is_covered IS 'Whether the batches of a run reach from its first key to its last.';

CREATE FUNCTION migrate.canary_done(_run bigint, OUT words text, OUT until timestamptz) RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT format('%s rows read, %s changed', sum(b.rows_read), sum(b.rows_changed)),
         max(b.ended_at) + (r.plan #>> '{canary,hold}')::interval
  FROM   migrate.runs    AS r
  JOIN   migrate.slices  AS s ON s.run = r.run AND s.canary
  JOIN   migrate.batches AS b ON b.run = r.run AND b.kind = 'apply' AND b.slice = s.slice
  WHERE  r.run = _run AND r.direction = 'apply' AND r.canary_ended_at IS NULL
    AND  NOT EXISTS (SELECT FROM migrate.open_slices(_run) AS o WHERE o.canary)
  GROUP  BY r.run
$$;
COMMENT ON FUNCTION migrate.canary_done IS 'What the canary of a run came to, and until when the run holds then, NULL until it is resumed. No row before it is done, nor once the rest may be done.';

CREATE FUNCTION migrate.meant(_identity text) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  newest bigint;
BEGIN
  SELECT r.run INTO newest
  FROM   migrate.runs AS r
  WHERE  r.identity = _identity
  ORDER  BY r.state <> 'reverted' DESC, r.run DESC
  LIMIT  1;
  IF newest IS NULL THEN
    RAISE EXCEPTION 'no run of this plan is known here'
    USING ERRCODE = 'MG002', HINT = 'the runs of this database: SELECT * FROM migrate.history';
  END IF;
  RETURN newest;
END $$;
COMMENT ON FUNCTION migrate.meant IS 'The newest run of a plan that is not taken back, else the newest that is.';

-- Verification ----------------------------------------------------------------------------------------------------------

CREATE FUNCTION migrate.gaps(_run bigint, _kind text) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  -- Each batch begins with the key at which the one before has ended; a part of the same batch likewise.
  SELECT count(*)
  FROM  (SELECT b.after_key,
                lag(b.through_key, 1, s.after_key) OVER (PARTITION BY b.slice ORDER BY b.ordinal, b.part) AS expected
         FROM   migrate.batches AS b
         LEFT   JOIN migrate.slices AS s ON s.run = b.run AND s.slice = b.slice
         WHERE  b.run = _run AND b.kind = _kind
            -- Rows that were tried again by themselves, out of quarantine.
            AND  b.slice >= 0
         UNION  ALL
         -- And each slice with the last key of the slice before it; a canary goes through all keys, and so does the rest.
         SELECT s.after_key, lag(s.through_key) OVER (PARTITION BY s.canary ORDER BY s.slice)
         FROM   migrate.slices AS s
         WHERE  s.run = _run) AS p
  WHERE  p.after_key IS DISTINCT FROM p.expected
$$;
COMMENT ON FUNCTION migrate.gaps IS 'Batches and slices of a run that do not begin where the one before them has ended.';

CREATE FUNCTION migrate.verify(_run bigint)
RETURNS TABLE (name text, verdict text, figure bigint, detail text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  this      migrate.runs;
  counts    record;
  statement migrate.statements;
  given     jsonb;
  found     json[];
BEGIN
  SELECT r.* INTO this FROM migrate.runs AS r WHERE r.run = _run;
  SELECT count(*) FILTER (WHERE b.part = 0) AS batches, coalesce(sum(b.rows_read), 0) AS rows_read, coalesce(sum(b.rows_changed), 0) AS rows_changed,
         coalesce(sum(b.rows_unchanged), 0) AS rows_unchanged, coalesce(sum(b.rows_rejected), 0) AS rows_rejected,
         count(*) FILTER (WHERE b.rows_read <> b.rows_changed + b.rows_unchanged + b.rows_rejected) AS wrong,
         bool_or(b.through_key = this.upper_key) AS is_through
  INTO   counts
  FROM   migrate.batches AS b
  WHERE  b.run = _run AND b.kind = this.direction;

  name := 'slices contiguous';
  figure := migrate.gaps(_run, this.direction);
  verdict := CASE WHEN figure = 0 AND (this.state IN ('completed', 'reverted')) THEN 'ok' ELSE 'not ok' END;
  detail := format('%s batches, %s gaps or overlaps', counts.batches, figure);
  IF this.state NOT IN ('completed', 'reverted') THEN
    detail := detail || format('; the run is %s', this.state);
  ELSIF this.state = 'completed' AND this.upper_key IS NOT NULL AND counts.is_through IS NOT TRUE THEN
    verdict := 'not ok';
    detail := detail || format('; no batch ends with the last key %s', this.upper_key);
  ELSIF this.state = 'completed' AND NOT migrate.is_covered(_run) THEN
    verdict := 'not ok';
    detail := detail || format('; of slices %s something is left', (SELECT string_agg(o.slice::text, ', ') FROM migrate.open_slices(_run) AS o));
  ELSIF this.state = 'reverted' AND EXISTS (SELECT FROM migrate.next_to_restore(_run)) THEN
    verdict := 'not ok';
    detail := detail || '; not every batch is taken back';
  END IF;
  RETURN NEXT;

  name := 'read = changed + unchanged + rejected';
  figure := counts.rows_read;
  verdict := CASE WHEN counts.wrong = 0 THEN 'ok' ELSE 'not ok' END;
  detail := format('%s = %s + %s + %s', counts.rows_read, counts.rows_changed, counts.rows_unchanged, counts.rows_rejected);
  RETURN NEXT;

  IF this.state = 'reverted' THEN
    RETURN QUERY SELECT 'conflicts', 'info', count(*), format('%s rows were changed since and not restored', count(*))
                 FROM migrate.conflicts AS c WHERE c.run = _run AND c.reason <> 'overwritten';
    RETURN;
  END IF;

  -- Who verifies wants the rows looked at, not a conclusion.
  given := migrate.final_values(_run, 0) || '{"others": true}';
  EXECUTE (migrate.statement(_run, 'batches', 'settings')).text;
  FOR statement IN
    SELECT s.*
    FROM   migrate.statements AS s
    WHERE  s.run = _run AND s.name <> 'drop keys' AND (s.phase = 'finish' OR (s.phase = 'revert' AND s.name = 'conflicts ahead'))
    ORDER  BY s.ordinal
  LOOP
    IF statement.name IN ('left behind', 'conflicts ahead') AND NOT migrate.has_undo(_run) THEN
      name := CASE statement.name WHEN 'conflicts ahead' THEN 'rows edited since' ELSE statement.name END;
      verdict := 'info';
      figure := 0;
      detail := 'not known: the undo of the run was dropped';
      RETURN NEXT;
      CONTINUE;
    END IF;
    found := ARRAY(SELECT q FROM migrate.query(statement.text, migrate.arguments(statement.arguments, given)) AS q);
    name := CASE statement.name WHEN 'conflicts ahead' THEN 'rows edited since' ELSE statement.name END;
    IF statement.name IN ('left behind', 'conflicts ahead') THEN
      figure := (migrate.fields(found[1]))[1]::bigint + CASE WHEN statement.phase = 'revert' THEN migrate.mended_ahead(_run) ELSE 0 END;
      verdict := CASE WHEN statement.phase = 'revert' THEN 'info' WHEN figure = 0 THEN 'ok' ELSE 'not ok' END;
      detail := format('%s rows', figure);
    ELSE
      figure := cardinality(found);
      verdict := CASE WHEN figure = 0 THEN 'ok' ELSE 'not ok' END;
      detail := CASE WHEN figure = 0 THEN 'finds no row' ELSE (migrate.stopped(name, found, NULL)).detail END;
    END IF;
    RETURN NEXT;
  END LOOP;
END $$;
COMMENT ON FUNCTION migrate.verify IS 'Whether a run holds what it promised: verdict ok, not ok, or info.';

REVOKE ALL ON ALL ROUTINES IN SCHEMA migrate FROM PUBLIC;
