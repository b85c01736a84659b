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

-- By their names, since ALL would reach those of tables that another step has still to put in order. Under the search path of the batch,
-- since triggers of the user's that were put off fire here.
CREATE FUNCTION migrate.settle(_table text, _now boolean) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  put_off record;
BEGIN
  FOR put_off IN
    SELECT DISTINCT n.nspname, c.conname
    FROM  (SELECT to_regclass(_table)::oid AS oid UNION SELECT p.relid FROM pg_partition_tree(to_regclass(_table)) AS p) AS t
    JOIN   pg_constraint AS c ON t.oid IN (c.conrelid, c.confrelid)
    JOIN   pg_namespace  AS n ON n.oid = c.connamespace
    WHERE  c.condeferrable AND (_now OR c.condeferred)
  LOOP
    EXECUTE format('SET CONSTRAINTS %I.%I %s', put_off.nspname, put_off.conname, CASE WHEN _now THEN 'IMMEDIATE' ELSE 'DEFERRED' END);
  END LOOP;
END $$;
COMMENT ON FUNCTION migrate.settle IS 'Checks what deferred constraints of a table have put off, at once; or lets them put it off again until COMMIT.';

REVOKE ALL ON ALL ROUTINES IN SCHEMA migrate FROM PUBLIC;
