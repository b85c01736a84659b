-- The tables that steps write: what has come there since the run was begun would be in no undo.

CREATE FUNCTION migrate.changes_of_written(_run bigint, _applying boolean) RETURNS TABLE (change text, remedy text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  target record;
BEGIN
  FOR target IN
    SELECT (SELECT string_agg(quote_ident(p), '.') FROM unnest(parse_ident(t.item ->> 'name')) AS p) AS name, to_regclass(t.item ->> 'name') AS now,
           -- A dump that was restored has other numbers.
           CASE WHEN NOT migrate.is_restored(r.run) THEN (t.item ->> 'oid')::oid END AS begun,
           -- What fires on its updates, and what has become of its columns, is told of the source already.
           EXISTS (SELECT FROM jsonb_array_elements(r.outline -> 'tables') AS s(item) WHERE s.item ->> 'name' = t.item ->> 'name') AS is_source,
           t.item -> 'columns' AS columns, t.item -> 'triggers' AS triggers, t.item -> 'followers' AS followers
    FROM   migrate.runs AS r
    CROSS  JOIN LATERAL jsonb_array_elements(r.outline -> 'written') AS t(item)
    WHERE  r.run = _run
  LOOP
    IF target.now IS NULL THEN
      RETURN QUERY SELECT format('table %s is gone', target.name), 'bring it back';
    ELSIF target.now::oid <> target.begun AND EXISTS (SELECT FROM pg_class AS c WHERE c.oid = target.begun) THEN
      RETURN QUERY SELECT format('%s is another table now, the one of the run is called %s', target.name, target.begun::regclass), 'rename them back';
    ELSIF target.now::oid <> target.begun AND _applying THEN
      RETURN QUERY SELECT format('table %s was dropped, and another one has its name', target.name), NULL;
    ELSE
      RETURN QUERY
        SELECT CASE WHEN a.attnum IS NULL THEN format('column %s of %s is gone', c.item ->> 'name', target.name)
                    WHEN target.now::oid = target.begun AND a.attnum <> (c.item ->> 'number')::integer
                    THEN format('column %s of %s is another one now', c.item ->> 'name', target.name)
                    ELSE format('column %s of %s is %s, was %s', c.item ->> 'name', target.name, format_type(a.atttypid, a.atttypmod), c.item ->> 'type') END,
               'bring it back to what it was'
        FROM   jsonb_array_elements(target.columns) AS c(item)
        LEFT   JOIN pg_attribute AS a
               ON  a.attrelid = target.now AND a.attname = (c.item ->> 'name') COLLATE "C" AND NOT a.attisdropped
        WHERE  a.attnum IS NULL
          OR  (target.now::oid = target.begun AND a.attnum <> (c.item ->> 'number')::integer)
          -- A revert compares before it writes, and old values fit whatever is wider.
          OR  (_applying AND format_type(a.atttypid, a.atttypmod) <> c.item ->> 'type');
      -- On the way back one that fires before each row is written decides what comes back.
      RETURN QUERY
        SELECT DISTINCT format('trigger %I fires on writes to %s now', g.tgname, target.name),
               'disable or drop it' || CASE WHEN _applying THEN ', or take the run back and apply anew' ELSE '' END
        FROM  (SELECT target.now::oid AS oid UNION SELECT p.relid FROM pg_partition_tree(target.now) AS p) AS t
        JOIN   pg_trigger AS g ON g.tgrelid = t.oid
        WHERE  NOT g.tgisinternal AND g.tgenabled IN ('O', 'A') AND (_applying OR g.tgtype & 3 = 3)
          AND (g.tgtype & 16 = 0 OR NOT target.is_source) AND NOT target.triggers ? g.tgname::text;
      RETURN QUERY
        SELECT DISTINCT format('%s follows rows of %s by foreign key %I now', f.conrelid::regclass, target.name, f.conname),
               'make it NO ACTION'
        FROM  (SELECT target.now::oid AS oid UNION SELECT p.relid FROM pg_partition_tree(target.now) AS p) AS t
        -- By the triggers that do it, which an index leads to.
        JOIN   pg_trigger    AS g ON g.tgrelid = t.oid AND g.tgisinternal
        JOIN   pg_constraint AS f ON f.oid = g.tgconstraint AND f.confrelid = t.oid AND f.conparentid = 0
        WHERE (f.confupdtype IN ('c', 'n', 'd') OR f.confdeltype IN ('c', 'n', 'd'))
          AND  NOT target.followers ? f.conname::text;
      RETURN QUERY
        SELECT format('rule %I is applied to writes to %s now', w.rulename, target.name),
               'disable or drop it' || CASE WHEN _applying THEN ', or take the run back and apply anew' ELSE '' END
        FROM   pg_rewrite AS w
        WHERE  w.ev_class = target.now AND w.ev_type <> '1' AND w.ev_enabled IN ('O', 'A');
    END IF;
  END LOOP;
END $$;
COMMENT ON FUNCTION migrate.changes_of_written IS 'What is not as it was when the run was begun of the tables that its steps write: the columns, the triggers that fire, the foreign keys that follow; with what mends it.';

REVOKE ALL ON ALL ROUTINES IN SCHEMA migrate FROM PUBLIC;
