-- The database as the compiler needs to know it: one query, one document, read-only.
-- $1: {"search_path": [...], "tables": [{"schema": ..., "name": ...}], "functions": [...], "types": [...],
--      "rows": [{"name": ..., "type": oid, "modifier": ..., "collation": ...}]}; names exact. Rows are those of the source's query.
-- Rows are looked up from a table or an index to the next, in the order in which the joins are written: CatalogQuery.settings.
WITH asked AS (
  SELECT ARRAY(SELECT 'pg_catalog'::text UNION ALL
               SELECT p FROM jsonb_array_elements_text($1::jsonb -> 'search_path') AS p) AS search_path
), wanted AS (
  SELECT w.place, found.oid
  FROM   asked, jsonb_array_elements($1::jsonb -> 'tables') WITH ORDINALITY AS w(item, place)
  LEFT   JOIN LATERAL (
    SELECT c.oid
    FROM   pg_class AS c
    JOIN   pg_namespace AS n ON n.oid = c.relnamespace
    WHERE  c.relname = w.item ->> 'name' COLLATE "C"
      AND  c.relkind IN ('r', 'p', 'v', 'm', 'f')
      AND  n.nspname = ANY (CASE WHEN w.item ->> 'schema' IS NULL THEN asked.search_path ELSE ARRAY[w.item ->> 'schema'] END)
    ORDER  BY array_position(asked.search_path, n.nspname::text)
    LIMIT  1) AS found ON true
), tables AS (
  SELECT DISTINCT oid FROM wanted WHERE oid IS NOT NULL
), attributes AS (
  SELECT a.attrelid, a.attnum, a.atttypmod, a.atttypid
  FROM   tables JOIN pg_attribute AS a ON a.attrelid = tables.oid AND a.attnum > 0 AND NOT a.attisdropped
  UNION  ALL
  SELECT 0, r.place, (r.item ->> 'modifier')::integer, (r.item ->> 'type')::oid
  FROM   jsonb_array_elements($1::jsonb -> 'rows') WITH ORDINALITY AS r(item, place)
), types AS (
  -- A domain is read as what it is made of, an array of a domain as an array of that. `list` is the array whose element is
  -- being unwrapped, `of_domain` says whether that was a domain: int2vector is not the array of its element.
  WITH RECURSIVE unwrapped AS (
    SELECT a.attrelid, a.attnum, a.atttypmod AS typmod, a.atttypid AS inner_type, NULL::oid AS list, false AS of_domain
    FROM   attributes AS a
    UNION ALL
    SELECT u.attrelid, u.attnum,
           CASE WHEN t.typtype = 'd' AND u.list IS NULL AND t.typtypmod >= 0 THEN t.typtypmod ELSE u.typmod END,
           CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.typelem END,
           CASE WHEN t.typtype = 'd' THEN u.list ELSE t.oid END,
           t.typtype = 'd' AND u.list IS NOT NULL
    FROM   unwrapped AS u JOIN pg_type AS t ON t.oid = u.inner_type
    WHERE  t.typtype = 'd' OR (u.list IS NULL AND t.typcategory = 'A' AND t.typelem <> 0)
  )
  SELECT u.attrelid, u.attnum, u.typmod,
         CASE WHEN u.list IS NULL THEN t.oid WHEN u.of_domain THEN t.typarray ELSE u.list END AS base
  FROM   unwrapped AS u
  JOIN   pg_type AS t ON t.oid = u.inner_type AND t.typtype <> 'd'
  WHERE  u.list IS NOT NULL OR t.typcategory <> 'A' OR t.typelem = 0
), kinds AS (
  -- What there is to know of a column by its type.
  SELECT a.attrelid, a.attnum, b.typcollation,
         jsonb_build_object(
           'number', a.attnum, 'type', format_type(a.atttypid, a.atttypmod), 'type_oid', a.atttypid::bigint,
           'base', format_type(ty.base, -1), 'base_oid', ty.base::bigint,
           'image', format_type(ty.base, CASE WHEN ty.base IN ('varchar'::regtype, 'bpchar'::regtype, 'bit'::regtype, 'varbit'::regtype,
                                                               'varchar[]'::regtype, 'bpchar[]'::regtype, 'bit[]'::regtype,
                                                               'varbit[]'::regtype) THEN -1 ELSE ty.typmod END),
           'is_domain', t.typtype = 'd',
           'category', b.typcategory,
           'wrapped', b.typcategory = 'A' OR b.typtype = 'c'
                      OR b.typlen = -1 AND b.typelem <> 0 AND b.typsubscript = 'array_subscript_handler'::regproc,
           'typmod', ty.typmod,
           'precision', CASE WHEN ty.base = 'numeric'::regtype AND ty.typmod >= 4
                             THEN jsonb_build_array(((ty.typmod - 4) >> 16) & 65535, (((ty.typmod - 4) & 2047) # 1024) - 1024) END,
           'labels', (SELECT jsonb_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum AS e WHERE e.enumtypid = ty.base),
           'width', CASE WHEN t.typlen > 0 THEN t.typlen ELSE 32 END) AS document
  FROM   types AS ty
  JOIN   attributes AS a ON a.attrelid = ty.attrelid AND a.attnum = ty.attnum
  JOIN   pg_type AS t ON t.oid = a.atttypid
  JOIN   pg_type AS b ON b.oid = ty.base
)
SELECT jsonb_build_object(
  'server', jsonb_build_object(
    'user',           current_user,
    'may_replicate',  has_parameter_privilege('session_replication_role', 'SET'),
    'may_create',     has_database_privilege(current_database(), 'CREATE'),
    'ledger',         to_regclass('migrate.version') IS NOT NULL,
    -- What stands behind pg_settings, whose many columns would have to be read with each query.
    'lz4',            EXISTS (SELECT FROM pg_show_all_settings() WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals))),
  'search_path', (SELECT jsonb_agg(jsonb_build_object(
                    'name', s.name, 'exists', n.oid IS NOT NULL,
                    'open_to_others', coalesce(has_schema_privilege('public', n.oid, 'CREATE'), false)) ORDER BY s.place)
                  FROM jsonb_array_elements_text($1::jsonb -> 'search_path') WITH ORDINALITY AS s(name, place)
                  LEFT JOIN pg_namespace AS n ON n.nspname = s.name COLLATE "C"),
  'asked', (SELECT coalesce(jsonb_agg(jsonb_build_object('oid', oid::bigint) ORDER BY place), '[]') FROM wanted),
  'nearby', (SELECT coalesce(jsonb_agg(jsonb_build_object('schema', n.nspname, 'name', c.relname)), '[]')
             FROM   pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
             WHERE  c.relkind IN ('r', 'p', 'v', 'm', 'f')
               AND  n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'migrate')
               AND  EXISTS (SELECT FROM wanted AS w WHERE w.oid IS NULL)),
  'schemas', (SELECT jsonb_agg(nspname)
              FROM   pg_namespace
              WHERE  nspname !~ '^pg_' AND EXISTS (SELECT FROM wanted AS w WHERE w.oid IS NULL)),
  'tables', (SELECT coalesce(jsonb_agg(jsonb_build_object(
    'oid', c.oid::bigint, 'schema', n.nspname, 'name', c.relname, 'kind', c.relkind,
    'rows', c.reltuples, 'pages', c.relpages, 'bytes', pg_relation_size(c.oid),
    'owned', pg_has_role(c.relowner, 'USAGE'),
    'row_security', row_security_active(c.oid),
    'inherited', EXISTS (SELECT
                         FROM   pg_inherits AS i
                         WHERE  (i.inhparent = c.oid AND c.relkind <> 'p') OR (i.inhrelid = c.oid AND NOT c.relispartition)),
    -- What else has some of its rows: the rest of the tree that it is a partition of, or is parted into.
    'relatives', (SELECT coalesce(jsonb_agg(jsonb_build_object('schema', rn.nspname, 'name', r.relname) ORDER BY rn.nspname, r.relname), '[]')
                  FROM   pg_partition_tree(pg_partition_root(c.oid)) AS p
                  JOIN   pg_class AS r ON r.oid = p.relid AND r.oid <> c.oid
                  JOIN   pg_namespace AS rn ON rn.oid = r.relnamespace),
    'rules', (SELECT coalesce(jsonb_agg(r.rulename), '[]') FROM pg_rewrite AS r WHERE r.ev_class = c.oid AND r.ev_type <> '1'),
    -- Partitions and views, by which its rows can be written as well. Only a trigger asks, of this table or of another that is written.
    'other_names', CASE WHEN c.relhastriggers OR c.relkind = 'p' OR EXISTS (
        SELECT FROM tables AS w JOIN pg_trigger AS g ON g.tgrelid = w.oid AND NOT g.tgisinternal) THEN (
      WITH RECURSIVE reaching AS (
        SELECT u.oid FROM (SELECT c.oid UNION SELECT relid FROM pg_partition_tree(c.oid)) AS u(oid)
        UNION
        SELECT r.ev_class
        FROM   reaching AS b
        JOIN   pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = b.oid AND d.classid = 'pg_rewrite'::regclass
        JOIN   pg_rewrite AS r ON r.oid = d.objid
      )
      SELECT coalesce(jsonb_agg(DISTINCT o.relname), '[]') FROM reaching AS b JOIN pg_class AS o ON o.oid = b.oid AND o.oid <> c.oid) END,
    -- Writes elsewhere that may lead on to its rows: by a trigger that names it, or what leads to it, or does not tell what it
    -- writes; by a rule; by a foreign key that follows. Only a trigger asks, and no more is told of other tables than names.
    'led_to_by', CASE WHEN EXISTS (
        SELECT
        FROM  (SELECT w.oid FROM tables AS w UNION SELECT p.relid FROM tables AS w, pg_partition_tree(w.oid) AS p) AS part(oid)
        JOIN   pg_trigger AS g ON g.tgrelid = part.oid AND NOT g.tgisinternal) THEN (
      WITH RECURSIVE verbs AS (
        SELECT * FROM (VALUES ('insert', 4), ('delete', 8), ('update', 16)) AS v(verb, bit)
      ), functions AS MATERIALIZED (
        SELECT p.oid, p.prosrc AS body,
               l.lanname <> 'plpgsql' OR p.prosrc ~* '\m(execute|call)\M'
               OR EXISTS (
                 WITH RECURSIVE called AS (
                   SELECT p.oid, p.prosrc AS body, false AS writes
                   UNION
                   SELECT w.oid, w.prosrc,
                          wl.lanname NOT IN ('sql', 'plpgsql') OR w.prosqlbody IS NOT NULL
                          OR w.prosrc ~* '\m(insert|update|delete|merge|truncate|execute|call|copy)\M'
                   FROM   called AS k
                   CROSS  JOIN LATERAL regexp_matches(k.body, '(\w+)\s*\(', 'g') AS name
                   JOIN   pg_proc AS w ON w.proname = lower(name[1]) COLLATE "C" AND w.oid >= 16384 AND w.provolatile = 'v'
                   JOIN   pg_language AS wl ON wl.oid = w.prolang AND wl.lanname NOT IN ('internal', 'c')
                 )
                 SELECT FROM called WHERE writes) AS may_write_all
        FROM  (SELECT DISTINCT tgfoid FROM pg_trigger WHERE NOT tgisinternal AND tgenabled IN ('O', 'A') AND tgrelid <> c.oid) AS g
        JOIN   pg_proc AS p ON p.oid = g.tgfoid AND p.oid >= 16384
        JOIN   pg_language AS l ON l.oid = p.prolang AND l.lanname NOT IN ('internal', 'c')
      -- Looked up by name and by number, since tables without an index would be joined each row with each.
      ), mentions AS MATERIALIZED (
        SELECT coalesce(jsonb_object_agg(w.word, w.functions), '{}') AS by_word
        FROM  (SELECT lower(m.word) AS word, jsonb_agg(DISTINCT f.oid::text) AS functions
               FROM   functions AS f
               CROSS  JOIN LATERAL (
                 SELECT w[1] FROM regexp_matches(f.body, '\w+', 'g') AS w
                 UNION ALL
                 SELECT w[1] FROM regexp_matches(f.body, '"([^"]+)"', 'g') AS w) AS m(word)
               GROUP  BY 1) AS w
      ), firing AS MATERIALIZED (
        SELECT coalesce(jsonb_object_agg(g.tgfoid, g.writes), '{}') AS by_function
        FROM  (SELECT g.tgfoid, jsonb_agg(DISTINCT jsonb_build_array(g.tgrelid::bigint, v.verb)) AS writes
               FROM   pg_trigger AS g
               JOIN   verbs AS v ON g.tgtype & v.bit > 0
               WHERE  NOT g.tgisinternal AND g.tgenabled IN ('O', 'A') AND g.tgrelid <> c.oid
               GROUP  BY 1) AS g
      ), ways AS (
        SELECT part.oid, v.verb
        FROM  (SELECT c.oid UNION SELECT relid FROM pg_partition_tree(c.oid)) AS part(oid) CROSS JOIN verbs AS v
        UNION
        SELECT (w ->> 0)::oid, w ->> 1
        FROM   functions AS f, firing, jsonb_array_elements(firing.by_function -> f.oid::text) AS w
        WHERE  f.may_write_all
        UNION
        SELECT r.ev_class, CASE r.ev_type WHEN '2' THEN 'update' WHEN '3' THEN 'insert' ELSE 'delete' END
        FROM   pg_rewrite AS r
        WHERE  r.ev_type <> '1' AND r.oid >= 16384
        UNION
        SELECT n.oid, n.verb
        FROM   ways AS b
        CROSS  JOIN LATERAL (
          SELECT (w ->> 0)::oid, w ->> 1
          FROM   pg_class AS r, mentions, firing, jsonb_array_elements_text(mentions.by_word -> lower(r.relname)) AS f,
                 jsonb_array_elements(firing.by_function -> f) AS w
          WHERE  r.oid = b.oid
          UNION ALL
          SELECT k.confrelid, v.verb
          FROM   pg_constraint AS k
          CROSS  JOIN LATERAL (VALUES ('delete', k.confdeltype), ('update', k.confupdtype)) AS v(verb, action)
          WHERE  k.conrelid = b.oid AND k.contype = 'f'
            AND  b.verb = CASE WHEN v.action = 'c' THEN v.verb WHEN v.action IN ('n', 'd') THEN 'update' END
          UNION ALL
          SELECT i.inhparent, b.verb FROM pg_inherits AS i WHERE i.inhrelid = b.oid
          UNION ALL
          SELECT r.ev_class, b.verb
          FROM   pg_depend AS d
          JOIN   pg_rewrite AS r ON r.oid = d.objid
          WHERE  d.refclassid = 'pg_class'::regclass AND d.refobjid = b.oid AND d.classid = 'pg_rewrite'::regclass) AS n(oid, verb)
      )
      SELECT coalesce(jsonb_agg(DISTINCT jsonb_build_object('verb', b.verb, 'name', o.relname)), '[]')
      FROM   ways AS b
      JOIN   pg_class AS o ON o.oid = b.oid AND o.oid <> c.oid
      JOIN   pg_namespace AS os ON os.oid = o.relnamespace AND os.nspname NOT IN ('pg_catalog', 'information_schema', 'migrate')) END,
    -- PostgreSQL takes all generated columns for written where one is there, and be it disabled.
    'computes_all', EXISTS (
      SELECT
      FROM  (SELECT c.oid UNION SELECT relid FROM pg_partition_tree(c.oid)) AS part(oid)
      JOIN   pg_trigger AS g ON g.tgrelid = part.oid AND g.tgtype & 19 = 19),
    'reads', (SELECT coalesce(jsonb_agg(DISTINCT format('%s.%s', sn.nspname, sc.relname)), '[]')
              FROM   pg_rewrite AS r
              JOIN   pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
              JOIN   pg_class AS sc ON sc.oid = d.refobjid AND sc.oid <> c.oid AND sc.relkind IN ('r', 'p')
              JOIN   pg_namespace AS sn ON sn.oid = sc.relnamespace
              WHERE  r.ev_class = c.oid AND c.relkind IN ('v', 'm')),
    'published_without_identity', c.relreplident = 'n' AND EXISTS (
      SELECT FROM pg_publication AS p, pg_get_publication_tables(p.pubname) AS t WHERE t.relid = c.oid),
    'may', jsonb_build_object('schema', has_schema_privilege(n.oid, 'USAGE'), 'select', has_table_privilege(c.oid, 'SELECT'),
                              'update', has_table_privilege(c.oid, 'UPDATE'),
                              'insert', has_table_privilege(c.oid, 'INSERT'), 'delete', has_table_privilege(c.oid, 'DELETE')),
    'columns', (SELECT jsonb_agg(k.document || jsonb_build_object(
        'name', a.attname,
        'not_null', a.attnotnull, 'generated', a.attgenerated <> '',
        'expression', CASE WHEN a.attgenerated <> '' THEN (SELECT pg_get_expr(d.adbin, d.adrelid)
                                                           FROM   pg_attrdef AS d
                                                           WHERE  d.adrelid = a.attrelid AND d.adnum = a.attnum) END,
        -- What the expression depends on, as its default's entry has it; that it belongs to its own column is one of these, too.
        'computed_from', CASE WHEN a.attgenerated <> '' THEN (
          SELECT jsonb_agg(DISTINCT d.refobjsubid)
          FROM   pg_attrdef AS e
          JOIN   pg_depend AS d ON d.classid = 'pg_attrdef'::regclass AND d.objid = e.oid
                               AND d.refclassid = 'pg_class'::regclass AND d.refobjid = e.adrelid AND d.refobjsubid > 0
          WHERE  e.adrelid = a.attrelid AND e.adnum = a.attnum AND d.refobjsubid <> e.adnum) END,
        'identity', a.attidentity <> '', 'has_default', a.atthasdef OR a.attidentity <> '',
        -- That of an identity, or what its default takes the next number of.
        'sequence', (
          SELECT jsonb_build_object('schema', qn.nspname, 'name', q.relname,
                                    'may', has_table_privilege(q.oid, 'SELECT') AND has_table_privilege(q.oid, 'UPDATE'))
          FROM   pg_depend AS d
          JOIN   pg_class AS q ON q.relkind = 'S' AND q.oid IN (d.objid, d.refobjid)
          JOIN   pg_sequence AS s ON s.seqrelid = q.oid AND s.seqincrement > 0
          JOIN   pg_namespace AS qn ON qn.oid = q.relnamespace
          WHERE  d.classid = 'pg_class'::regclass AND d.objid = q.oid AND d.deptype = 'i'
                   AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid AND d.refobjsubid = a.attnum
             OR  d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass
                   AND d.objid = (SELECT e.oid FROM pg_attrdef AS e WHERE e.adrelid = c.oid AND e.adnum = a.attnum)
          ORDER  BY q.oid
          LIMIT  1),
        'collation', (SELECT jsonb_build_object('schema', ln.nspname, 'name', l.collname)
                      FROM   pg_collation AS l JOIN pg_namespace AS ln ON ln.oid = l.collnamespace
                      WHERE  l.oid = a.attcollation AND a.attcollation <> k.typcollation),
        'may_update', has_column_privilege(c.oid, a.attnum, 'UPDATE'), 'may_select', has_column_privilege(c.oid, a.attnum, 'SELECT'),
        'width', coalesce((SELECT s.avg_width
                           FROM   pg_stats AS s
                           WHERE  s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = a.attname
                           LIMIT  1),
                          (k.document ->> 'width')::integer)) ORDER BY a.attnum)
      FROM   kinds AS k
      JOIN   pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.attnum
      WHERE  k.attrelid = c.oid),
    'indexes', (SELECT coalesce(jsonb_agg(jsonb_build_object(
        'name', ic.relname, 'primary', i.indisprimary, 'unique', i.indisunique, 'valid', i.indisvalid, 'immediate', i.indimmediate,
        'partial', i.indpred IS NOT NULL, 'btree', am.amname = 'btree', 'summarizing', am.amname = 'brin',
        'ascending', NOT EXISTS (SELECT FROM unnest(i.indoption) AS o WHERE o <> 0),
        -- An operator class of the type's default family, and the collation of the column: what ORDER BY and > mean there.
        'in_order', NOT EXISTS (
          SELECT
          FROM   unnest(i.indkey::int2[], i.indcollation::oid[], i.indclass::oid[]) WITH ORDINALITY AS k(n, sorting, class, place)
          JOIN   pg_opclass AS oc ON oc.oid = k.class
          LEFT   JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.n
          WHERE  k.place <= i.indnkeyatts
            AND  (a.attcollation IS DISTINCT FROM k.sorting
                  OR NOT EXISTS (SELECT FROM pg_opclass AS d
                                 WHERE  d.opcdefault AND (d.opcfamily, d.opcintype) = (oc.opcfamily, oc.opcintype)))),
        -- Where > and = of the key's types are not found by their name, PostgreSQL takes those of a type that it can cast to.
        'hidden_operators', (
          SELECT coalesce(jsonb_agg(DISTINCT pn.nspname), '[]')
          FROM   asked, unnest(i.indclass::oid[]) AS k(class)
          JOIN   pg_opclass AS oc ON oc.oid = k.class
          JOIN   pg_amop AS o ON o.amopfamily = oc.opcfamily AND o.amoplefttype = oc.opcintype AND o.amoprighttype = oc.opcintype
          JOIN   pg_operator AS p ON p.oid = o.amopopr
          JOIN   pg_namespace AS pn ON pn.oid = p.oprnamespace
          WHERE  pn.nspname <> ALL (asked.search_path)),
        'columns', (SELECT jsonb_agg(k.n ORDER BY k.place)
                    FROM   unnest(i.indkey) WITH ORDINALITY AS k(n, place)
                    WHERE  k.place <= i.indnkeyatts),
        'all_columns', (SELECT jsonb_agg(n)
                        FROM  (SELECT k AS n FROM unnest(i.indkey) AS k WHERE k > 0
                               UNION
                               SELECT d.refobjsubid
                               FROM   pg_depend AS d
                               WHERE  d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
                                 AND  d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid AND d.refobjsubid > 0) AS n))
        -- Older servers have no such column, and two NULLs are two there.
        || CASE WHEN (to_jsonb(i) ->> 'indnullsnotdistinct')::boolean THEN '{"nulls_equal": true}' ELSE '{}' END::jsonb
        ORDER BY NOT i.indisprimary, ic.relname), '[]')
      FROM   pg_index AS i JOIN pg_class AS ic ON ic.oid = i.indexrelid JOIN pg_am AS am ON am.oid = ic.relam
      WHERE  i.indrelid = c.oid),
    'triggers', (SELECT coalesce(jsonb_agg(DISTINCT jsonb_build_object(
        'name', g.tgname,
        'timing', CASE WHEN g.tgtype & 2 > 0 THEN 'before' WHEN g.tgtype & 64 > 0 THEN 'instead' ELSE 'after' END,
        'row', g.tgtype & 1 > 0,
        'update', g.tgtype & 16 > 0, 'insert', g.tgtype & 4 > 0, 'delete', g.tgtype & 8 > 0,
        -- A partition may have its columns in other places: by their names.
        'of_columns', (SELECT coalesce(jsonb_agg(a.attnum ORDER BY a.attnum), '[]')
                       FROM   unnest(g.tgattr) AS x
                       JOIN   pg_attribute AS o ON o.attrelid = g.tgrelid AND o.attnum = x
                       JOIN   pg_attribute AS a ON a.attrelid = c.oid AND a.attname = o.attname),
        'function', fn.nspname || '.' || p.proname, 'language', l.lanname, 'body', p.prosrc,
        'always', g.tgenabled = 'A', 'deferred', g.tginitdeferred,
        -- Whether it seems to call what writes, or calls that in turn. What is not volatile may not write.
        'calls_writers', EXISTS (
          WITH RECURSIVE called AS (
            SELECT p.oid, p.prosrc AS body, false AS writes
            UNION
            SELECT w.oid, w.prosrc,
                   wl.lanname NOT IN ('sql', 'plpgsql') OR w.prosqlbody IS NOT NULL
                   OR w.prosrc ~* '\m(insert|update|delete|merge|truncate|execute|call|copy)\M'
            FROM   called AS k
            CROSS  JOIN LATERAL regexp_matches(k.body, '(\w+)\s*\(', 'g') AS name
            JOIN   pg_proc AS w ON w.proname = lower(name[1]) COLLATE "C" AND w.oid >= 16384 AND w.provolatile = 'v'
            JOIN   pg_language AS wl ON wl.oid = w.prolang AND wl.lanname NOT IN ('internal', 'c')
          )
          SELECT FROM called WHERE writes))), '[]')
      -- Those of all its partitions count as well.
      FROM   (SELECT c.oid UNION ALL SELECT relid FROM pg_partition_tree(c.oid)) AS part(oid)
      JOIN   pg_trigger AS g ON g.tgrelid = part.oid
      JOIN   pg_proc AS p ON p.oid = g.tgfoid
      JOIN   pg_namespace AS fn ON fn.oid = p.pronamespace
      JOIN   pg_language AS l ON l.oid = p.prolang
      WHERE  NOT g.tgisinternal AND g.tgenabled IN ('O', 'A')),
    'referenced_by', (SELECT coalesce(jsonb_agg(jsonb_build_object(
        'name', f.conname, 'schema', fns.nspname, 'table', fc.relname, 'oid', fc.oid::bigint,
        -- A partition may have its columns in other places: by their names.
        'columns', (SELECT jsonb_agg(a.attnum ORDER BY k.place)
                    FROM   unnest(f.confkey) WITH ORDINALITY AS k(n, place)
                    JOIN   pg_attribute AS o ON o.attrelid = f.confrelid AND o.attnum = k.n
                    JOIN   pg_attribute AS a ON a.attrelid = c.oid AND a.attname = o.attname),
        'referring', (SELECT jsonb_agg(a.attname ORDER BY k.place)
                      FROM   unnest(f.conkey) WITH ORDINALITY AS k(n, place)
                      JOIN   pg_attribute AS a ON a.attrelid = f.conrelid AND a.attnum = k.n),
        -- By its first columns an index finds the rows that refer to one.
        'is_indexed', EXISTS (
          SELECT
          FROM   pg_index AS i
          WHERE  i.indrelid = f.conrelid AND i.indisvalid AND i.indpred IS NULL
            AND  (i.indkey::smallint[])[0:cardinality(f.conkey) - 1] @> f.conkey),
        'rows', greatest(fc.reltuples, 0)::bigint,
        'on_update', f.confupdtype, 'on_delete', f.confdeltype)), '[]')
      FROM pg_constraint AS f JOIN pg_class AS fc ON fc.oid = f.conrelid JOIN pg_namespace AS fns ON fns.oid = fc.relnamespace
      -- Those of other tables to one of its partitions, or to what it is a partition of, count as well.
      WHERE f.confrelid IN (SELECT c.oid UNION SELECT relid FROM pg_partition_tree(c.oid) UNION SELECT relid FROM pg_partition_ancestors(c.oid)) AND f.contype = 'f' AND f.conparentid = 0)) ORDER BY c.oid), '[]')
    FROM tables JOIN pg_class AS c ON c.oid = tables.oid JOIN pg_namespace AS n ON n.oid = c.relnamespace),
  'functions', (SELECT coalesce(jsonb_agg(jsonb_build_object(
      'schema', n.nspname, 'name', p.proname, 'arguments', p.pronargs, 'defaults', p.pronargdefaults,
      'variadic', p.provariadic <> 0, 'volatile', p.provolatile, 'kind', p.prokind, 'returns_set', p.proretset,
      'replaceable', n.nspname <> 'pg_catalog'
                     AND (has_schema_privilege('public', n.oid, 'CREATE') OR NOT pg_has_role(p.proowner, 'USAGE')))
      ORDER BY array_position(asked.search_path, n.nspname::text), p.oid), '[]')
    FROM   asked,
           (SELECT DISTINCT f ->> 'schema' AS schema, f ->> 'name' AS name
            FROM   jsonb_array_elements($1::jsonb -> 'functions') AS f) AS w
    JOIN   pg_proc AS p ON p.proname = w.name COLLATE "C"
    JOIN   pg_namespace AS n ON n.oid = p.pronamespace
    WHERE  n.nspname = ANY (CASE WHEN w.schema IS NULL THEN asked.search_path ELSE ARRAY[w.schema] END)),
  'types', (SELECT coalesce(jsonb_object_agg(t, CASE WHEN to_regtype(t) IS NOT NULL THEN jsonb_build_object(
                     'name', format_type(to_regtype(t), -1), 'oid', to_regtype(t)::oid::bigint) END), '{}')
            FROM   jsonb_array_elements_text($1::jsonb -> 'types') AS t)
)
|| coalesce((
  SELECT jsonb_build_object('rows', jsonb_agg(k.document || jsonb_build_object(
           'name', r.item ->> 'name', 'not_null', false, 'generated', false, 'identity', false, 'has_default', false,
           'collation', (SELECT jsonb_build_object('schema', ln.nspname, 'name', l.collname)
                         FROM   pg_collation AS l JOIN pg_namespace AS ln ON ln.oid = l.collnamespace
                         WHERE  l.oid = to_regcollation(r.item ->> 'collation') AND l.oid <> k.typcollation),
           'may_update', true, 'may_select', true) ORDER BY r.place))
  FROM   jsonb_array_elements($1::jsonb -> 'rows') WITH ORDINALITY AS r(item, place)
  JOIN   kinds AS k ON k.attrelid = 0 AND k.attnum = r.place
  HAVING count(*) > 0), '{}')
-- Behind an operator or a cast may stand any function; one that is not immutable may give another value each time.
|| coalesce((
  SELECT jsonb_build_object('unsettled', jsonb_build_object('operators', u.operators, 'casts', u.casts))
  FROM  (SELECT (SELECT coalesce(jsonb_agg(DISTINCT o.oprname), '[]')
                 FROM   pg_operator AS o JOIN pg_proc AS p ON p.oid = o.oprcode
                 WHERE  o.oprcode::oid >= 16384 AND p.provolatile <> 'i') AS operators,
                EXISTS (SELECT FROM pg_cast AS k JOIN pg_proc AS p ON p.oid = k.castfunc
                        WHERE k.castfunc >= 16384 AND p.provolatile <> 'i') AS casts
         -- Kept apart; else both would be planned once for the members and once for the condition.
         OFFSET 0) AS u
  WHERE  u.casts OR u.operators <> '[]'), '{}') AS document
