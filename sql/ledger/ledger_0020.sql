-- What `migrate test` needs besides: of a source that is read once only the rows that come of those which a test has given.

CREATE FUNCTION migrate.keep_before(_run bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  EXECUTE format('CREATE TABLE migrate.before_%s AS TABLE migrate.source_%s; TRUNCATE migrate.source_%s', _run, _run, _run);
  DELETE FROM migrate.slices WHERE run = _run;
END $$;
COMMENT ON FUNCTION migrate.keep_before IS 'Keeps what the query of a source gives before a test has given rows, so that it can be read once more.';

CREATE FUNCTION migrate.forget_before(_run bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  EXECUTE format('DELETE FROM migrate.source_%s AS "migrate now" USING migrate.before_%s AS "migrate before" '
                 'WHERE to_jsonb("migrate now") = to_jsonb("migrate before")', _run, _run);
END $$;
COMMENT ON FUNCTION migrate.forget_before IS 'Leaves those rows of a source that it has not given before.';

CREATE FUNCTION migrate.last_key(_run bigint) RETURNS text[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  statement migrate.statements := migrate.statement(_run, 'bounds', 'upper');
BEGIN
  EXECUTE (migrate.statement(_run, 'batches', 'settings')).text;
  RETURN migrate.fields((SELECT q FROM migrate.query(statement.text, migrate.arguments(statement.arguments, migrate.constants(_run, 1))) AS q));
END $$;
COMMENT ON FUNCTION migrate.last_key IS 'The last key of the source of a run, as it is now; NULL where it has no row.';

REVOKE ALL ON ALL ROUTINES IN SCHEMA migrate FROM PUBLIC;
