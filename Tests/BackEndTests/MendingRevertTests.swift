import MigrateLedger
import MigratePlan
import MigratePostgres
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// What was mended and what the batches did goes back as it came about, the last first.
@Suite struct `A mended row on the way back` {
  /// The mended row has a value that another one had before the run, which comes back later.
  @Test(arguments: BackEnd.allCases, ConflictPolicy.allCases)
  func `is out of the way of what its value belonged to`(backEnd: BackEnd, policy: ConflictPolicy) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE p (id integer PRIMARY KEY, email text UNIQUE CHECK (email <> 'e2!'));
        INSERT INTO p SELECT n, 'e' || n FROM generate_series(1, 10) AS n; ANALYZE p
        """)
      let all = "SELECT id, email FROM p ORDER BY id"
      let before = try await server.rows(all)
      let compiled = try await Compiled(
        "batch: p\nsource: p\nset: {email: email || '!'}\non_error: continue", on: server, batchSize: 4)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(try await Client.fix(1, "email = 'e1'", on: server).text == "1 rows")
      let told = try await backEnd.revert(compiled, on: server, onConflict: policy)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.rows(all) == before)
      #expect(try await server.value("SELECT count(*) FROM migrate.conflicts") == "0")
    }
  }

  /// Mended, tried again, and mended once more: each free only by what was done before it.
  @Test(arguments: BackEnd.allCases)
  func `goes back in its place among those that were tried again`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE p (id integer PRIMARY KEY, email text UNIQUE CHECK (email NOT IN ('e2!', 'e3!')));
        INSERT INTO p SELECT n, 'e' || n FROM generate_series(1, 10) AS n; ANALYZE p
        """)
      let all = "SELECT id, email FROM p ORDER BY id"
      let before = try await server.rows(all)
      let compiled = try await Compiled(
        "batch: p\nsource: p\nset: {email: email || '!'}\non_error: continue", on: server, batchSize: 4)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(try await Client.fix(1, "email = 'f2'", where: "id = 2", on: server).text == "1 rows")
      #expect(try await backEnd.retry(1, on: server).isDone)
      #expect(try await Client.fix(1, "email = 'f2'", where: "id = 3", on: server).text == "1 rows")
      #expect(try await server.rows("SELECT email FROM p WHERE id IN (2, 3) ORDER BY id") == ["f2!", "f2"])
      let told = try await backEnd.revert(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.rows(all) == before)
      #expect(try await Client.verify(1, on: server).holds)
    }
  }

  /// Of two mendings, one behind and one before a row that was tried again, each is met by itself.
  @Test(arguments: BackEnd.allCases)
  func `counts each row in conflict once, whenever it was mended`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, v integer CHECK (v < 1000), note text);
        INSERT INTO t SELECT n, CASE WHEN n IN (3, 5, 7) THEN 995 ELSE n END, 'note ' || n FROM generate_series(1, 9) AS n; ANALYZE t
        """)
      let compiled = try await Compiled(
        "batch: t\nsource: t\nset: {v: v + 10}\non_error: continue", on: server, batchSize: 4)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(try await Client.fix(1, "note = 'once'", on: server).text == "3 rows")
      #expect(try await Client.fix(1, "v = 1", where: "id = 3", on: server).text == "1 rows")
      #expect(try await backEnd.retry(1, on: server).isDone)
      #expect(try await Client.fix(1, "note = 'twice'", on: server).text == "2 rows")
      try await server.psql("UPDATE t SET note = 'edited' WHERE id IN (3, 5)")
      let told = try await backEnd.revert(compiled, on: server, onConflict: .skip)
      #expect(told.text.contains(backEnd == .client ? "reverted(conflicts: 2)" : " 2 conflicts"), "\(told.text)")
      #expect(
        try await server.rows("SELECT id, v, note FROM t WHERE id IN (3, 5, 7) ORDER BY id")
          == ["3|995|edited", "5|995|edited", "7|995|note 7"])
    }
  }
}
