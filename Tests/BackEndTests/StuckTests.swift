import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// What is said to pass by itself, and does not.
@Suite struct `A row that meets the same passing error again and again` {
  /// A trigger that asks a server which is gone would have the run try for ever.
  @Test(arguments: BackEnd.allCases)
  func `has the run pause, which goes on when that is over`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(
        Products.table(rows: 20)
          + """
          CREATE FUNCTION ask() RETURNS trigger LANGUAGE plpgsql AS $$
          BEGIN RAISE 'the other server is gone' USING ERRCODE = '08006'; END $$;
          CREATE TRIGGER ask BEFORE UPDATE ON products FOR EACH ROW WHEN (OLD.id = 33) EXECUTE FUNCTION ask();
          """)
      let expected = try await server.rows(Products.expected)
      let compiled = try await Compiled(Products.definition + "\non_error: continue", on: server, batchSize: 4)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(!told.isDone && told.text.contains("the other server is gone"), "\(told.text)")
      #expect(try await server.state() == "paused")
      #expect(try await server.value("SELECT count(*) FROM migrate.rejects") == "0")
      try await server.psql("DROP TRIGGER ask ON products")
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(try await server.has(expected))
    }
  }
}
