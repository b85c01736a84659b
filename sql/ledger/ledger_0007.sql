-- Which rows a batch has failed by, and rows in quarantine that are mended and tried again.

CREATE FUNCTION migrate.nth_key(_run bigint, _given jsonb, _after text[], _through text[], _place integer) RETURNS text[]
LANGUAGE plpgsql AS $$
DECLARE
  bound migrate.statements := migrate.statement(_run, 'batches', 'bound');
  given jsonb := _given || jsonb_build_object('size', _place);
BEGIN
  given := migrate.with_key(given, 'after', _after, cardinality(_through));
  given := migrate.with_key(given, 'upper', _through, cardinality(_through));
  RETURN migrate.fields((SELECT q FROM migrate.query(bound.text, migrate.arguments(bound.arguments, given)) AS q));
END $$;
COMMENT ON FUNCTION migrate.nth_key IS 'The key of the row of this place in a stretch, from 1; NULL when there are not so many.';

-- A single row costs about three times the batch; five rows and sixty parts keep the worst from costing more.
CREATE FUNCTION migrate.search_culprits(_run bigint, _epoch integer, _work migrate.work, _size integer)
RETURNS migrate.culprits
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  columns  integer := cardinality(_work.upper_key);
  foresees boolean := (SELECT r.plan #>> '{steps,0,unavailable}' IS NOT NULL OR migrate.may_lock(_run)
                       FROM   migrate.runs AS r
                       WHERE  r.run = _run);
  given    jsonb := migrate.constants(_run, _epoch)
                    || jsonb_build_object('ordinal', _work.ordinal, 'size', _size, 'changed', NULL, 'eligible', NULL);
  found    migrate.culprits;
  stack    jsonb;
  part     jsonb;
  after    text[];
  through  text[];
  middle   text[];
  size     integer;
  half     integer;
  tries    integer := 0;
  bound    jsonb;
  tried    migrate.attempted;
BEGIN
  EXECUTE (migrate.statement(_run, 'batches', 'settings')).text;
  PERFORM migrate.hold(_run);
  through := coalesce(migrate.nth_key(_run, given, _work.after_key, _work.upper_key, _size), _work.upper_key);
  stack := jsonb_build_array(jsonb_build_object('after', _work.after_key, 'through', through, 'size', _size));
  WHILE tries < 60 AND jsonb_array_length(stack) > 0 AND coalesce(cardinality(found.keys), 0) < 5 LOOP
    part := stack -> -1;
    stack := stack - -1;
    tries := tries + 1;
    after := migrate.key_of(part -> 'after');
    through := migrate.key_of(part -> 'through');
    size := (part ->> 'size')::integer;
    -- The batch as a whole has failed already.
    IF tries > 1 OR size = 1 THEN
      bound := migrate.with_key(given || jsonb_build_object('part', tries), 'after', after, columns);
      bound := migrate.with_key(bound, 'upper', through, columns);
      tried := NULL;
      BEGIN
        tried := migrate.perform(_run, bound, through, false, true, foresees);
        IF tried.verdict <> 'done' THEN
          RAISE EXCEPTION USING ERRCODE = 'MG003', MESSAGE = 'not done';
        END IF;
        SET CONSTRAINTS ALL DEFERRED;
        CONTINUE;
      EXCEPTION WHEN OTHERS THEN
        IF tried.verdict IS NULL AND migrate.error_class(SQLSTATE) <> 'row' THEN
          RAISE;
        END IF;
      END;
    END IF;
    IF size = 1 THEN
      found.keys := found.keys || migrate.nth_key(_run, given, after, through, 1)::text;
      CONTINUE;
    END IF;
    half := (size + 1) / 2;
    middle := migrate.nth_key(_run, given, after, through, half);
    IF middle IS NULL OR middle = through THEN
      stack := stack || jsonb_build_array(jsonb_build_object('after', after, 'through', through, 'size', half));
    ELSE
      stack := stack || jsonb_build_array(jsonb_build_object('after', middle, 'through', through, 'size', size - half),
                                          jsonb_build_object('after', after, 'through', middle, 'size', half));
    END IF;
  END LOOP;
  found.are_all := jsonb_array_length(stack) = 0;
  RETURN found;
EXCEPTION WHEN OTHERS THEN
  -- Something else keeps the search from its end; that the batch has failed is known.
  RETURN NULL;
END $$;
COMMENT ON FUNCTION migrate.search_culprits IS 'The rows by which a batch has failed, halved from left to right until each is alone; what it does must be rolled back.';

REVOKE ALL ON ALL ROUTINES IN SCHEMA migrate FROM PUBLIC;
