import MigrateLedger
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// What a revert costs, in what it reads and how often it commits.
@Suite struct `The way back` {
  /// PostgreSQL expects ten rows of an array; a join that is planned for them reads all of them for each.
  @Test func `over a key of several columns compares a row with no other`() async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE items (a integer, b integer, v integer, PRIMARY KEY (a, b));
        INSERT INTO items SELECT n / 3, n, n FROM generate_series(1, 3000) AS n;
        ANALYZE items
        """)
      let compiled = try await Compiled("batch: i\nsource: items\nset: {v: v + 1}", on: server, batchSize: 3_000)
      #expect(try await Client.apply(compiled, on: server).isDone)
      let statement = try #require(
        try await server.psql("SELECT text, arguments FROM migrate.statements WHERE name = 'restore'").first)
      let values = ["run": "1", "slice": "0", "ordinal": "1", "part": "0", "seq": "1"]
      let roles = (statement[1] ?? "").dropFirst().dropLast().split(separator: ",")
      let given = try roles.map { try #require(values[String($0)], "\($0)") }.joined(separator: ", ")
      let plan = try await server.rows(
        """
        PREPARE restore AS \(statement[0] ?? "");
        EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) EXECUTE restore(\(given))
        """)
      #expect(plan.contains { $0.contains("rows=3000") })
      #expect(!plan.contains { $0.contains("Rows Removed by Join Filter") }, "\(plan.joined(separator: "\n"))")
    }
  }

  /// It was added NOT VALID, so that the rows of before stood beside it.
  @Test(arguments: BackEnd.allCases)
  func `names the constraint that refuses what was before, and goes on without it`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, v integer);
        INSERT INTO t SELECT n, CASE n WHEN 50 THEN NULL ELSE n END FROM generate_series(1, 100) AS n;
        ALTER TABLE t ADD CONSTRAINT filled CHECK (v IS NOT NULL) NOT VALID;
        ANALYZE t
        """)
      let before = try await server.rows("SELECT id, v FROM t ORDER BY id")
      let compiled = try await Compiled(
        "batch: t\nsource: t\nset:\n  v: coalesce(v, 0) + 1", on: server, batchSize: 30)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      let refused = try await backEnd.revert(compiled, on: server)
      #expect(!refused.isDone && refused.text.contains("violates check constraint"), "\(refused.text)")
      if backEnd == .procedure {
        let why = #"constraint "filled" refuses what rows of that batch were before: drop it or mend what it asks "#
        #expect(refused.text.contains(why), "\(refused.text)")
      }
      // The batches behind it are back; its own rows are as they were applied.
      #expect(try await server.value("SELECT count(*) FROM t WHERE v = id + 1 OR id = 50 AND v = 1") == "60")
      try await server.psql("ALTER TABLE t DROP CONSTRAINT filled")
      #expect(try await backEnd.revert(compiled, on: server).isDone)
      #expect(try await server.rows("SELECT id, v FROM t ORDER BY id") == before)
    }
  }

  /// A row of quarantine that is refused once more leaves nothing to take back.
  @Test(arguments: BackEnd.allCases)
  func `has nothing to do for what was tried again in vain`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, v integer CHECK (v < 1000));
        INSERT INTO t SELECT n, CASE WHEN n % 10 = 0 THEN 995 ELSE n END FROM generate_series(1, 100) AS n;
        ANALYZE t
        """)
      let before = try await server.rows("SELECT id, v FROM t ORDER BY id")
      let compiled = try await Compiled("batch: t\nsource: t\nset: {v: v + 10}\non_error: continue", on: server)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      try await server.psql("UPDATE t SET v = 900 WHERE id = 50")
      #expect(try await backEnd.retry(1, on: server).isDone)
      let parts = try await server.value(
        "SELECT count(*) FROM migrate.batches WHERE slice >= 0 OR rows_changed > 0")
      #expect(try await server.value("SELECT count(*) FROM migrate.batches WHERE slice = -1") == "10")
      let told = try await backEnd.revert(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.value("SELECT count(*) FROM migrate.batches WHERE kind = 'revert'") == parts)
      #expect(try await Client.verify(1, on: server).holds)
      try await server.psql("UPDATE t SET v = 995 WHERE id = 50")
      #expect(try await server.rows("SELECT id, v FROM t ORDER BY id") == before)
    }
  }
}
