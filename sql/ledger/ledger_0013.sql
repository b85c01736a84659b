-- What others ask of the ledger: who has asked for what, and what has become of a row.

-- Quarantine ----------------------------------------------------------------------------------------------------------

CREATE FUNCTION migrate.unresolved_rejects(_run bigint) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT count(*) FROM migrate.rejects AS r WHERE r.run = _run AND r.state = 'open'
$$;
COMMENT ON FUNCTION migrate.unresolved_rejects IS 'How many rows of a run wait in quarantine.';

-- Who has asked for what, and why ---------------------------------------------------------------------------------------

CREATE TABLE migrate.requests (
  run          bigint      NOT NULL REFERENCES migrate.runs,
  seq          bigint      GENERATED ALWAYS AS IDENTITY,
  request      text        NOT NULL CHECK (request IN ('pause', 'resume', 'cancel', 'revert', 'retry', 'mend', 'tune')),
  requested_by text        NOT NULL DEFAULT session_user,
  client_host  text,
  reason       text,
  detail       text,
  requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  by_worker    boolean     NOT NULL DEFAULT false,
  PRIMARY KEY (run, seq)
);
COMMENT ON TABLE  migrate.requests              IS 'All that was ever asked of a run and has moved it, or its rows in quarantine, or its pace. migrate.control has what is not over.';
COMMENT ON COLUMN migrate.requests.run          IS 'The run.';
COMMENT ON COLUMN migrate.requests.seq          IS 'The order in which it was asked.';
COMMENT ON COLUMN migrate.requests.request      IS 'pause, resume, cancel, revert, retry: the rows in quarantine were tried again, mend: they were changed in their table, or tune: how fast it goes was changed.';
COMMENT ON COLUMN migrate.requests.requested_by IS 'The role that asked.';
COMMENT ON COLUMN migrate.requests.client_host  IS 'The machine that it was asked on, as the client calls it, else its address; NULL for a session of the same machine.';
COMMENT ON COLUMN migrate.requests.reason       IS 'Why, in the words of who asked.';
COMMENT ON COLUMN migrate.requests.detail       IS 'Of mend: the assignments, and which rows they were meant for where not for all, as SQL. Of tune: what was set.';
COMMENT ON COLUMN migrate.requests.requested_at IS 'When.';
COMMENT ON COLUMN migrate.requests.by_worker    IS 'Whether the run''s own worker has asked, which got a signal.';

CREATE VIEW migrate.control AS
SELECT r.run, q.request, q.requested_by, q.client_host, q.reason, q.requested_at, q.by_worker
FROM   migrate.runs AS r
CROSS  JOIN LATERAL (SELECT o.*
                     FROM   migrate.requests AS o
                     WHERE  o.run = r.run AND o.request IN ('pause', 'resume', 'cancel', 'revert')
                     ORDER  BY o.seq DESC
                     LIMIT  1) AS q
WHERE  q.request IN ('pause', 'cancel');
COMMENT ON VIEW migrate.control IS 'What was asked of a run and is not over, a pause or a cancel, for who looks at it; its workers go by its state.';
REVOKE ALL ON migrate.requests, migrate.control FROM PUBLIC;

CREATE FUNCTION migrate.note_request(
  _run bigint, _request text, _reason text, _client_host text, _detail text DEFAULT NULL, _by_worker boolean DEFAULT false
) RETURNS bigint
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO migrate.requests (run, request, reason, client_host, detail, by_worker)
  VALUES (_run, _request, _reason, coalesce(_client_host, host(inet_client_addr())), _detail, _by_worker)
  RETURNING seq
$$;
COMMENT ON FUNCTION migrate.note_request IS 'Notes who asks something of a run, and why; its place among the requests.';

CREATE FUNCTION migrate.request(
  _run bigint, _request text, _reason text, _client_host text, _by_worker boolean DEFAULT false
) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  reached text := migrate.advance(_run, _request || '_requested');
BEGIN
  IF reached IS NOT NULL THEN
    PERFORM migrate.note_request(_run, _request, _reason, _client_host, _by_worker => _by_worker);
  END IF;
  RETURN reached;
END $$;
COMMENT ON FUNCTION migrate.request IS 'Moves a run as it is asked for, and notes who asks and why; the new state, or NULL when it does not fit.';

CREATE FUNCTION migrate.paused_by(
  _run bigint, OUT requested_by text, OUT client_host text, OUT reason text, OUT requested_at timestamptz, OUT seconds float8
) RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT c.requested_by, c.client_host, c.reason, c.requested_at,
         greatest(extract(epoch FROM clock_timestamp() - c.requested_at), 0)::float8
  FROM   migrate.runs AS r
  JOIN   migrate.control AS c USING (run)
  WHERE  r.run = _run AND r.state IN ('pausing', 'paused') AND r.failure IS NULL AND c.request = 'pause' AND NOT c.by_worker
$$;
COMMENT ON FUNCTION migrate.paused_by IS 'Who has asked a run to pause that stands, or will at the edge of its batch, and how many seconds ago; no row where nobody has, but a signal or what the run has found.';

-- What has become of a row ----------------------------------------------------------------------------------------------

CREATE FUNCTION migrate.runs_over(_table regclass) RETURNS SETOF migrate.runs
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  -- Of a partition also those of what it is a part of. By number where that still counts, so that another name does not matter.
  WITH tables AS (SELECT _table AS relation UNION SELECT p.relid FROM pg_partition_ancestors(_table) AS p(relid))
  SELECT r.*
  FROM   migrate.runs AS r
  WHERE  EXISTS (SELECT
                 FROM   migrate.relations AS l
                 JOIN   tables AS t
                        ON t.relation = CASE WHEN migrate.is_restored(r.run) THEN to_regclass(l.name)
                                             ELSE l.relation::regclass END
                 WHERE  l.run = r.run AND l.name <> 'migrate.runs')
$$;
COMMENT ON FUNCTION migrate.runs_over IS 'The runs of a table, or of a table that it is a partition of.';

CREATE FUNCTION migrate.row_key(_table regclass) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(
    (SELECT array_agg(a.attname::text ORDER BY k.place)
     FROM   pg_index AS i
     CROSS  JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k(attnum, place)
     JOIN   pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
     WHERE  i.indrelid = _table AND i.indisprimary AND k.place <= i.indnkeyatts),
    (SELECT ARRAY(SELECT jsonb_array_elements_text(r.outline -> 'key'))
     FROM   migrate.runs_over(_table) AS r
     ORDER  BY r.run DESC
     LIMIT  1))
$$;
COMMENT ON FUNCTION migrate.row_key IS 'By which columns a row of a table is named: its primary key, else the key that its newest run has walked. NULL where there is neither.';

CREATE FUNCTION migrate.key_text(_table regclass, _columns text[], _source text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  -- An object is kept by its number. One collation for all, since the columns' own need not agree.
  SELECT format('ARRAY[%s]', string_agg(
    format(CASE WHEN v.value ~ ' AS reg[a-z]+[)]( END)?$' THEN 'CAST(CAST(%s AS oid) AS text)' ELSE 'CAST(%s AS text) COLLATE "default"' END, v.value),
    ', ' ORDER BY v.place))
  FROM   unnest(migrate.key_values(_table, _columns, _source)) WITH ORDINALITY AS v(value, place)
$$;
COMMENT ON FUNCTION migrate.key_text IS 'SQL for a key as the ledger keeps it, each column as its type''s text.';

CREATE FUNCTION migrate.plan_path(_run bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT substring(s.text FROM 'SET LOCAL search_path = (.*?), pg_temp;') || ', pg_temp'
  FROM   migrate.statements AS s
  WHERE  s.run = _run AND s.phase = 'batches' AND s.name = 'settings'
$$;
COMMENT ON FUNCTION migrate.plan_path IS 'The search_path that the statements of a run have, in which the operators of its key''s types are found.';

CREATE FUNCTION migrate.image_query(_run bigint, _table regclass, _undo regclass, _keys text[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  -- Only the one batch's arrays are opened. A wrapped value comes out of its wrapper by itself, which has one column.
  WITH kept AS (
    -- A row that was deleted has become nothing.
    SELECT substring(a.attname FROM 3)::integer AS number,
           EXISTS (SELECT FROM pg_attribute AS n WHERE n.attrelid = _undo AND n.attname = 'n' || substring(a.attname FROM 2)) AS becomes
    FROM   pg_attribute AS a
    WHERE  a.attrelid = _undo AND a.attname ~ '^o_[0-9]+$'
  ), named AS (
    SELECT k.number, k.becomes,
           coalesce((SELECT c.col ->> 'name'
                     FROM   migrate.runs AS r, jsonb_array_elements(r.outline #> '{tables,0,columns}') AS c(col)
                     WHERE  r.run = _run AND (c.col ->> 'number')::integer = k.number),
                    (SELECT a.attname FROM pg_attribute AS a WHERE a.attrelid = _table AND a.attnum = k.number)) AS name
    FROM   kept AS k
  ), names AS (
    SELECT (SELECT string_agg(format('k_%s', n), ', ' ORDER BY n) FROM generate_series(1, cardinality(_keys)) AS n)
           || coalesce((SELECT string_agg(format(CASE WHEN becomes THEN ', o_%1$s, n_%1$s' ELSE ', o_%1$s' END, number), '' ORDER BY number) FROM kept), '') AS list
  )
  SELECT format(
    $q$SELECT %s AS changes FROM %s AS u, unnest(%s) AS d(%s) WHERE (u.slice, u.ordinal, u.part) = ($2, $3, $4) AND %s LIMIT 1$q$,
    coalesce((SELECT format($q$(SELECT jsonb_agg(jsonb_build_object('column', c.name, 'before', c.before, 'after', c.after) ORDER BY c.place)
                               FROM (VALUES %s) AS c(place, name, before, after))$q$,
                            string_agg(format(CASE WHEN becomes THEN '(%s, %L, CAST(d.o_%3$s AS text), CAST(d.n_%3$s AS text))'
                                                   ELSE '(%s, %L, CAST(d.o_%s AS text), CAST(NULL AS text))' END,
                                              row_number, name, number), ', '))
              FROM  (SELECT row_number() OVER (ORDER BY number), number, name, becomes FROM named) AS n
              HAVING count(*) > 0), $q$'[]'::jsonb$q$),
    _undo, regexp_replace(n.list, '([kon]_[0-9]+)', E'u.\\1', 'g'), n.list,
    (SELECT string_agg(format('d.k_%s = %s', k.place, k.value), ' AND ') FROM unnest(_keys) WITH ORDINALITY AS k(value, place)))
  FROM   names AS n
$$;
COMMENT ON FUNCTION migrate.image_query IS 'SQL that finds the row with key $1 among what the batch of slice $2, ordinal $3, part $4 has kept: its columns before and after, none where only keys are kept.';

CREATE FUNCTION migrate.is_of_canary(_run bigint, _key text[]) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT (hashtextextended((CASE cardinality(_key) WHEN 1 THEN _key[1] ELSE _key::text END) COLLATE "C", 0) & 9223372036854775807)
         % (r.outline #>> '{canary,of}')::bigint < (r.outline #>> '{canary,part}')::bigint
  FROM   migrate.runs AS r
  WHERE  r.run = _run
$$;
COMMENT ON FUNCTION migrate.is_of_canary IS 'Whether a row belongs to the canary of a run, as its batches decide that; NULL in a run without one.';

CREATE FUNCTION migrate.spellings(_run bigint, _table regclass, _columns text[], _given text[]) RETURNS text[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  spellings text[];
BEGIN
  PERFORM set_config('search_path', coalesce(migrate.plan_path(_run), 'pg_catalog, pg_temp'), true);
  EXECUTE format(
    $q$SELECT array_agg(q.key::text)
       FROM  (SELECT r.key FROM migrate.rejects   AS r WHERE r.run = $1
              UNION
              SELECT f.key FROM migrate.fixes     AS f WHERE f.run = $1
              UNION
              SELECT c.key FROM migrate.conflicts AS c WHERE c.run = $1) AS q
       WHERE  ROW(%s) = ROW(%s)$q$,
    array_to_string(migrate.key_values(_table, _columns, 'q.key'), ', '),
    array_to_string(migrate.key_values(_table, _columns, '$2'), ', '))
  INTO spellings USING _run, _given;
  RETURN coalesce(spellings, '{}');
END $$;
COMMENT ON FUNCTION migrate.spellings IS 'How the ledger writes a key where a run has left a row out, mended it, or found it changed: equal values can have several texts, as 3.5 and 3.50.';

CREATE TYPE migrate.touch AS (
  run bigint, touch text, note text, changes jsonb, ordinal integer, seq bigint, at timestamptz, restored_at timestamptz,
  conflict text, instead jsonb, reject jsonb, done_by text, client_host text, reason text
);
COMMENT ON TYPE migrate.touch IS 'What a run has made of a row: changed, done, rejected or maybe; or mended, which somebody else than its batches has done, whom done_by, client_host and reason tell.';

CREATE FUNCTION migrate.touch_by(
  _batch migrate.batches, _table regclass, _keys text[], _given text[], _spellings text[], _column text
) RETURNS migrate.touch
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  touched migrate.touch;
  undo    regclass := migrate.claims(_batch.run);
  refused text;
BEGIN
  PERFORM set_config('search_path', coalesce(migrate.plan_path(_batch.run), 'pg_catalog, pg_temp'), true);
  IF undo IS NOT NULL THEN
    EXECUTE migrate.image_query(_batch.run, _table, undo, _keys)
    INTO touched.changes USING _given, _batch.slice, _batch.ordinal, _batch.part;
  END IF;
  IF migrate.is_unpublished(_batch.run) THEN
    touched.changes := NULL;
  END IF;
  IF touched.changes IS NULL AND _batch.slice >= 0 THEN
    SELECT r.state,
           to_jsonb(r) - ARRAY['run', 'step', 'key', 'reasons', 'kind', 'state', 'fixed_row', 'settled_at']
    INTO   refused, touched.reject
    FROM   migrate.rejects AS r
    WHERE  r.run = _batch.run AND r.key::text = ANY (_spellings)
    LIMIT  1;
  END IF;
  IF touched.changes IS NOT NULL THEN
    touched.touch := CASE WHEN touched.changes = '[]' THEN 'done' ELSE 'changed' END;
    touched.note := (SELECT CASE WHEN undo::text LIKE '%image_%' THEN 'its steps are done; what each of them has written is kept with it'
                                 ELSE 'written, or found as it should be: ' || coalesce(r.outline #>> '{steps,0,unavailable}', 'no values are kept') END
                     FROM   migrate.runs AS r
                     WHERE  r.run = _batch.run AND touched.touch = 'done');
    IF _column IS NOT NULL THEN
      touched.changes := jsonb_path_query_array(touched.changes, '$[*] ? (@.column == $name)', jsonb_build_object('name', _column));
    END IF;
  ELSIF refused = 'open' AND _batch.rows_rejected > 0 THEN
    touched.touch := 'rejected';
  -- It is not in the undo; it was left out; or it was tried again in vain.
  ELSIF undo IS NOT NULL OR refused IS NOT NULL OR NOT migrate.counts_for_revert(_batch) THEN
    RETURN NULL;
  ELSE
    touched.touch := 'maybe';
    touched.note := (SELECT CASE WHEN r.state = 'reverted' THEN 'it is taken back, and its undo, which had the values, went with that; a batch had gone over this key'
                                 ELSE 'its undo was dropped, and a batch went over this key' END
                     FROM   migrate.runs AS r
                     WHERE  r.run = _batch.run);
  END IF;
  touched.run := _batch.run;
  touched.ordinal := _batch.ordinal;
  touched.seq := _batch.seq;
  -- Its reason is the last one.
  touched.at := coalesce(CASE WHEN touched.touch = 'rejected' THEN (touched.reject ->> 'rejected_at')::timestamptz END, _batch.ended_at);
  SELECT b.ended_at INTO touched.restored_at
  FROM   migrate.batches AS b
  WHERE  (b.run, b.kind, b.slice, b.ordinal, b.part) = (_batch.run, 'revert', _batch.slice, _batch.ordinal, _batch.part);
  SELECT c.reason, c.found INTO touched.conflict, touched.instead
  FROM   migrate.conflicts AS c
  WHERE  c.run = _batch.run AND c.seq = _batch.seq AND c.key::text = ANY (_spellings);
  RETURN touched;
END $$;
COMMENT ON FUNCTION migrate.touch_by IS 'What a batch has made of a row whose key lies within its bounds; NULL: nothing.';

CREATE FUNCTION migrate.mendings_of(_run bigint, _spellings text[], _column text) RETURNS SETOF migrate.touch
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT f.run, 'mended', coalesce(q.detail, 'SET ' || f.set_list),
         (SELECT jsonb_agg(jsonb_build_object('column', c.name, 'before', c.before, 'after', c.after) ORDER BY c.place)
          FROM   unnest(f.columns, f.before, f.after) WITH ORDINALITY AS c(name, before, after, place)
          WHERE  _column IS NULL OR c.name = _column COLLATE "C"),
         CAST(NULL AS integer), CAST(NULL AS bigint), f.fixed_at, f.restored_at, c.reason, c.found, CAST(NULL AS jsonb),
         f.fixed_by, q.client_host, q.reason
  FROM   migrate.fixes AS f
  LEFT   JOIN migrate.requests  AS q ON (q.run, q.seq) = (f.run, f.request)
  LEFT   JOIN migrate.conflicts AS c ON (c.run, c.step, c.seq, c.key) = (f.run, f.step, -f.fix, f.key)
  WHERE  f.run = _run AND f.key::text = ANY (_spellings) AND (_column IS NULL OR _column = ANY (f.columns))
  ORDER  BY f.fix DESC
$$;
COMMENT ON FUNCTION migrate.mendings_of IS 'How a row was mended that waited in the quarantine of a run.';

CREATE FUNCTION migrate.is_there(_table regclass, _key text[]) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  meant text[] := migrate.row_key(_table);
  found boolean;
BEGIN
  PERFORM set_config('search_path', migrate.plan_path(max(r.run)), true) FROM migrate.runs_over(_table) AS r HAVING count(*) > 0;
  EXECUTE format('SELECT EXISTS (SELECT FROM %s AS t WHERE %s)', _table,
                 (SELECT string_agg(format('t.%I = %s', m.name, m.value), ' AND ')
                  FROM   unnest(meant, migrate.key_values(_table, meant, '$1')) AS m(name, value)))
  INTO found USING _key;
  RETURN found;
END $$;
COMMENT ON FUNCTION migrate.is_there IS 'Whether a table has a row with that key.';

CREATE FUNCTION migrate.why(_table regclass, _key text[], _column text DEFAULT NULL) RETURNS SETOF migrate.touch
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO, YMD' SET intervalstyle = 'postgres'
SET extra_float_digits = 1 SET bytea_output = 'hex' AS $$
DECLARE
  meant   text[] := migrate.row_key(_table);
  this    migrate.runs;
  columns text[];
  given   text[];
  keys    text[];
  kept    text[];
  known   text[];
  batch   migrate.batches;
  touched migrate.touch;
  -- Or what was mended in its quarantine did.
  writes  bigint[] := ARRAY(SELECT r.run
                            FROM   migrate.runs_over(_table) AS r
                            WHERE  _column IS NULL
                              OR   EXISTS (SELECT
                                           FROM   jsonb_array_elements(r.outline -> 'steps') AS s(step)
                                           WHERE  s.step -> 'captured' ? _column
                                             OR   EXISTS (SELECT
                                                          FROM   jsonb_array_elements(s.step -> 'columns') AS c(col)
                                                          WHERE  c.col ->> 'name' = _column)));
BEGIN
  IF cardinality(_key) IS DISTINCT FROM cardinality(meant) THEN
    RAISE EXCEPTION 'the key of % is (%), and % values are given', _table, array_to_string(meant, ', '), coalesce(cardinality(_key), 0)
    USING ERRCODE = 'MG002', HINT = 'one value for each column of the key, in their order';
  END IF;
  -- Of a table that is not the run's source it is kept by other keys.
  FOR touched IN
    SELECT r.run, 'maybe',
           format('step %s of it has written rows of this table; which ones, %s has kept', s.step ->> 'number',
                  coalesce(to_regclass(format('migrate.undo_%s_%s', r.run, s.step ->> 'number')), migrate.claims(r.run))),
           NULL::jsonb, NULL::integer, NULL::bigint, NULL::timestamptz, NULL::timestamptz, NULL::text, NULL::jsonb, NULL::jsonb, NULL::text, NULL::text, NULL::text
    FROM   migrate.runs AS r
    CROSS  JOIN LATERAL jsonb_array_elements(r.outline -> 'steps') AS s(step)
    WHERE  s.step ? 'captured' AND s.step ->> 'relation' IS NOT NULL AND r.state <> 'reverted'
      AND (migrate.visible_relation(s.step ->> 'relation') = _table OR migrate.shares_rows(s.step ->> 'relation', _table::text))
      AND (_column IS NULL OR s.step -> 'captured' ? _column)
      AND  NOT EXISTS (SELECT FROM migrate.runs_over(_table) AS o WHERE o.run = r.run)
  LOOP
    RETURN NEXT touched;
  END LOOP;
  FOR this IN
    SELECT r.*
    FROM   migrate.runs_over(_table) AS r
    WHERE  r.run = ANY (writes) OR EXISTS (SELECT FROM migrate.fixes AS f WHERE f.run = r.run AND _column = ANY (f.columns))
    ORDER  BY r.run DESC
  LOOP
    PERFORM set_config('search_path', coalesce(migrate.plan_path(this.run), 'pg_catalog, pg_temp'), true);
    columns := ARRAY(SELECT jsonb_array_elements_text(this.plan -> 'key'));
    touched := NULL;
    touched.run := this.run;
    touched.touch := 'maybe';
    keys := migrate.key_values(_table, columns, '$1');
    IF keys IS NULL THEN
      touched.note := format('its key (%s) is not there any more', array_to_string(columns, ', '));
      RETURN NEXT touched;
      CONTINUE;
    END IF;
    -- As the row writes it, 3.50 where 3.5 is asked for, for a canary goes by that; or another key, by which the run has gone.
    EXECUTE format('SELECT %s FROM %s AS t WHERE %s', (SELECT format('ARRAY[%s]', string_agg(format('CAST(t.%I AS text)', c), ', ')) FROM unnest(columns) AS c),
                   _table, (SELECT string_agg(format('t.%I = %s', m.name, m.value), ' AND ')
                            FROM unnest(meant, migrate.key_values(_table, meant, '$1')) AS m(name, value)))
    INTO given USING _key;
    IF given IS NULL AND columns <> meant THEN
      touched.note := format('it has walked (%s), which of a row that is gone nobody knows', array_to_string(columns, ', '));
      RETURN NEXT touched;
      CONTINUE;
    END IF;
    given := coalesce(given, _key);
    EXECUTE format('SELECT %s', migrate.key_text(_table, columns, '$1')) INTO kept USING given;
    known := migrate.spellings(this.run, _table, columns, given);
    RETURN QUERY SELECT * FROM migrate.mendings_of(this.run, known, _column);
    CONTINUE WHEN this.run <> ALL (writes);
    -- Both passes of a canary go over all keys, and a row belongs to one of them.
    FOR batch IN EXECUTE format(
      $q$SELECT b.*
         FROM   migrate.batches AS b
         LEFT   JOIN migrate.slices AS s USING (run, slice)
         WHERE  b.run = $2 AND b.kind = 'apply'
           AND  (b.after_key IS NULL OR ROW(%s) < ROW(%s)) AND ROW(%s) <= ROW(%s)
           AND  (s.canary IS NULL OR s.canary = $3)
         ORDER  BY b.seq DESC$q$,
      array_to_string(migrate.key_values(_table, columns, 'b.after_key'), ', '), array_to_string(keys, ', '),
      array_to_string(keys, ', '), array_to_string(migrate.key_values(_table, columns, 'b.through_key'), ', '))
      USING given, this.run, migrate.is_of_canary(this.run, kept)
    LOOP
      touched := migrate.touch_by(batch, _table, keys, given, known, _column);
      CONTINUE WHEN touched.touch IS NULL;
      RETURN NEXT touched;
    END LOOP;
  END LOOP;
END $$;
COMMENT ON FUNCTION migrate.why IS 'Every run that touched a row, the newest first: changed, done (its values were not kept), rejected (it waits in quarantine), mended (there, by whom done_by tells), or maybe (only the batch''s range is known), with columns before and after, when, and what a revert has made of it.';

REVOKE ALL ON ALL ROUTINES IN SCHEMA migrate FROM PUBLIC;
