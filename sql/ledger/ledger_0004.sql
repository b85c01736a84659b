-- What has become of a run's table since it was planned, asked by each batch before its first statement and behind its last. No
-- plan of it would be better for knowing the run, and to make one for each of the first five batches takes longer than they do.

CREATE FUNCTION migrate.relabelled(_run bigint) RETURNS SETOF text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
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

CREATE FUNCTION migrate.computed_from(_table oid, _column smallint) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(array_agg(DISTINCT a.attname::text), '{}')
  FROM   pg_attrdef   AS e
  JOIN   pg_depend    AS d ON d.classid = 'pg_attrdef'::regclass AND d.objid = e.oid
                          AND d.refclassid = 'pg_class'::regclass AND d.refobjid = e.adrelid
  JOIN   pg_attribute AS a ON a.attrelid = e.adrelid AND a.attnum = d.refobjsubid
  WHERE  e.adrelid = _table AND e.adnum = _column AND a.attnum <> e.adnum
    AND  EXISTS (SELECT FROM pg_attribute AS g WHERE g.attrelid = e.adrelid AND g.attnum = e.adnum AND g.attgenerated <> '')
$$;
COMMENT ON FUNCTION migrate.computed_from IS 'The columns that a generated column is computed from; none of any other.';

CREATE FUNCTION migrate.changes(_run bigint, _applying boolean) RETURNS TABLE (change text, remedy text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  planned record;
BEGIN
  FOR planned IN
    SELECT (SELECT string_agg(quote_ident(p), '.') FROM unnest(parse_ident(t.item ->> 'name')) AS p) AS name, to_regclass(t.item ->> 'name') AS now,
           b.relation::regclass AS begun, d.relation IS NOT NULL AND b.relation IS NULL AND NOT migrate.is_restored(r.run) AS is_dropped,
           t.item -> 'columns' AS columns, t.item -> 'triggers' AS triggers, r.outline -> 'key' AS key, r.collations,
           ARRAY(SELECT c.col ->> 'name'
                 FROM   jsonb_array_elements(r.outline -> 'steps') AS s(step), jsonb_array_elements(s.step -> 'columns') AS c(col)
                 WHERE  coalesce(s.step ->> 'relation', t.item ->> 'name') = t.item ->> 'name') AS written
    FROM   migrate.runs AS r
    CROSS  JOIN LATERAL jsonb_array_elements(r.outline -> 'tables') AS t(item)
    LEFT   JOIN migrate.relations AS d ON d.run = r.run AND d.name = t.item ->> 'name'
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
    -- On the way back values are compared: what was restored from a dump of the table is taken back as well.
    ELSIF planned.is_dropped AND _applying THEN
      RETURN QUERY SELECT format('table %s was dropped, and another one has its name', planned.name), NULL;
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
        FROM  (SELECT p.item
               FROM   jsonb_array_elements(planned.columns) AS p(item)
               UNION  ALL
               -- What was mended comes back as well.
               SELECT DISTINCT jsonb_build_object('name', m.name, 'number', m.number, 'type', m.type, 'type_oid', m.type_oid)
               FROM   migrate.mendings AS m
               WHERE  m.run = _run AND NOT _applying
                 AND  NOT EXISTS (SELECT FROM jsonb_array_elements(planned.columns) AS p(item) WHERE p.item ->> 'name' = m.name)) AS c
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
        WHERE  a.attname = ANY (planned.written) OR migrate.computed_from(a.attrelid, a.attnum) && planned.written;
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
COMMENT ON FUNCTION migrate.changes IS 'What is not as it was when the run was begun: its table, the columns it writes, on the way back those that were mended, the index its batches walk, the triggers that fire, the labels of its enums; with what mends it.';

CREATE FUNCTION migrate.changed_columns(_run bigint) RETURNS SETOF text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN QUERY SELECT c.change FROM migrate.changes(_run, false) AS c UNION ALL SELECT c.change FROM migrate.changes_of_written(_run, false) AS c;
END $$;
COMMENT ON FUNCTION migrate.changed_columns IS 'What keeps a run from being taken back: what migrate.changes tells of the way back.';

CREATE FUNCTION migrate.may_lock(_run bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(bool_and(has_table_privilege(to_regclass(t.item ->> 'name'), 'UPDATE')), false)
  FROM   migrate.runs AS r, jsonb_array_elements(r.outline -> 'tables') AS t(item)
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
                       FROM   migrate.runs AS r, jsonb_array_elements(r.outline -> 'tables') AS t(item)
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

CREATE FUNCTION migrate.guard_table(_run bigint, _undisturbed xid8 DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
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
    CROSS  JOIN LATERAL jsonb_array_elements(r.outline -> 'tables') AS t(item)
    JOIN   pg_class AS c ON c.oid = to_regclass(t.item ->> 'name') AND c.relkind IN ('r', 'p')
    WHERE  r.run = _run
  LOOP
    -- To who will write the lock that keeps new triggers out as well. Forward without a wait: it is there already, by
    -- migrate.lock_text, and had it to be waited for, the snapshot would be older than what ends the wait. On the way back each
    -- statement has a snapshot of its own.
    may_lock := may_lock AND has_table_privilege(held, 'UPDATE');
    EXECUTE format('LOCK TABLE %s IN %s MODE%s', held,
                   CASE WHEN may_lock AND (applies OR restores) THEN 'ROW EXCLUSIVE' ELSE 'ACCESS SHARE' END,
                   CASE WHEN applies THEN ' NOWAIT' END);
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
  SELECT string_agg(c.change, '; '), string_agg(DISTINCT c.remedy, '; ') INTO broken, cure 
  FROM  (SELECT * FROM migrate.changes(_run, applies) UNION ALL SELECT * FROM migrate.changes_of_written(_run, applies)) AS c;
  IF broken IS NOT NULL THEN
    RAISE EXCEPTION 'the table has changed since run % was begun: %', _run, broken
    USING ERRCODE = 'object_not_in_prerequisite_state',
          HINT = CASE WHEN cure IS NULL THEN format('cancel run %s, and apply anew', _run)
                      ELSE format('%s; then %s run %s, which goes on at this batch. It has written nothing since the change', cure,
                                  CASE WHEN applies THEN 'resume' ELSE 'revert' END, _run) END;
  END IF;
  -- What a trigger that came later does to the rows is told by their number, which confirm compares; the setting ends with the
  -- transaction. Who cannot keep one out counts in any case.
  IF restores AND (NOT may_lock OR migrate.late_triggers(_run) IS NOT NULL) THEN
    PERFORM set_config('migrate.rows_written', migrate.rows_written(_run)::text, true);
  END IF;
END $$;
COMMENT ON FUNCTION migrate.guard_table IS 'Keeps a run''s table as it is until the transaction ends, after a look whether it still is what the run was begun with; an error when not. Who has locked it and gives what confirm has told at the batch before may be spared the look.';

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
  -- What was shown at once comes back at once, so there may be several batches of this transaction.
  SELECT sum(b.rows_changed) * (1 + (SELECT count(*) FROM migrate.statements AS s WHERE s.run = _run AND s.name = 'restore rewritten'))
  INTO   expected
  FROM   migrate.batches AS b
  WHERE  b.run = _run AND b.kind = 'revert' AND b.xid = pg_current_xact_id();
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
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  written text := current_setting('migrate.rows_written', true);
BEGIN
  IF written <> '' THEN
    PERFORM migrate.confirm_restored(_run, written::bigint);
    -- Nor could who may not lock the table keep one out that decides about the old values.
    IF NOT migrate.may_lock(_run) THEN
      PERFORM migrate.guard_table(_run);
    END IF;
  END IF;
  -- Numbers that came with a dump are others, and the whole look is taken once more.
  IF EXISTS (SELECT FROM migrate.relations AS b WHERE b.run = _run AND to_regclass(b.name) IS DISTINCT FROM b.relation)
     OR EXISTS (SELECT FROM migrate.runs AS r WHERE r.run = _run AND r.labels <> '{}' AND EXISTS (SELECT FROM migrate.relabelled(_run))) THEN
    PERFORM migrate.guard_table(_run);
  END IF;
  -- Nothing was at work when the batch's snapshot was taken, and nothing came between that and its first write. In READ COMMITTED
  -- the snapshot is this statement's, which finds the batch itself at work.
  RETURN (SELECT pg_current_xact_id()
          FROM   pg_current_snapshot() AS s
          WHERE  pg_snapshot_xmin(s) = pg_snapshot_xmax(s) AND pg_snapshot_xmax(s) = pg_current_xact_id());
END $$;
COMMENT ON FUNCTION migrate.confirm IS 'Before a batch commits: no lock on a table keeps its schema from being renamed, nor the labels of an enum, and a name may mean something else by now; an error when it does. Its number when it was undisturbed, no other transaction being at work, else NULL.';
