import MigratePostgres
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// A table that another server has: its rows are read once, when the run begins.
@Suite struct `A foreign table as the source` {
  /// The other server is this one, reached from outside.
  private static let tables = """
    CREATE EXTENSION postgres_fdw;
    DO $$ BEGIN
      EXECUTE format('CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host %L, port %L, dbname %L)',
                     current_setting('unix_socket_directories'), current_setting('port'), current_database());
    END $$;
    CREATE USER MAPPING FOR CURRENT_USER SERVER elsewhere OPTIONS (user 'postgres');
    CREATE TABLE their_users (id bigint PRIMARY KEY, name text, since timestamptz NOT NULL);
    INSERT INTO their_users SELECT n * 3, CASE WHEN n % 7 > 0 THEN ' User ' || n END, '2026-01-01Z'::timestamptz + n * interval '1 day'
    FROM generate_series(1, 100) AS n;
    CREATE FOREIGN TABLE theirs (id bigint NOT NULL, name text, since timestamptz NOT NULL)
    SERVER elsewhere OPTIONS (table_name 'their_users');
    CREATE TABLE ours (id bigint PRIMARY KEY, name text NOT NULL, since date NOT NULL);
    INSERT INTO ours VALUES (3, 'was here', '2020-01-01');
    """
  private static let definition = """
    batch: users
    source: {table: theirs, key: id}
    where: name IS NOT NULL
    insert: ours
    values:
      id: id
      name: trim(name)
      since: CAST(since AS date)
    on_conflict: {key: id, do: skip}

    """
  private static let ours = "SELECT id, name, since FROM ours ORDER BY id"

  @Test(arguments: BackEnd.allCases, [1, 9, 1000])
  func `is read as it was when the run began, and what came of it goes back`(by backEnd: BackEnd, size: Int)
    async throws
  {
    try await withLedger { server in
      try await server.psql(Self.tables)
      let before = try await server.rows(Self.ours)
      let expected = try await server.rows(
        """
        SELECT id, name, since FROM ours
        UNION ALL
        SELECT id, trim(name), since::date FROM their_users WHERE name IS NOT NULL AND id NOT IN (SELECT id FROM ours) ORDER BY id
        """)
      // Their rows are others while the run goes on.
      let compiled = try await Compiled(Self.definition, on: server, batchSize: size)
      try await server.psql(
        """
        CREATE FUNCTION changed() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN UPDATE their_users SET name = 'later'; RETURN NULL; END $$;
        CREATE TRIGGER changed AFTER INSERT ON migrate.batches FOR EACH ROW EXECUTE FUNCTION changed();
        """)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.rows("SELECT count(*) FROM their_users WHERE name = 'later'") == ["100"])
      #expect(try await server.rows(Self.ours) == expected)
      let back = try await backEnd.revert(compiled, on: server)
      #expect(back.isDone, "\(back.text)")
      #expect(try await server.rows(Self.ours) == before)
    }
  }
}
