import MigratePostgres
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// A run whose rows another run has written since.
@Suite struct `A run that another one lies over` {
  private static func definition(_ name: String, source: String = "t", set: String, where condition: String? = nil)
    -> String
  {
    "batch: \(name)\nsource: \(source)\n\(condition.map { "where: \($0)\n" } ?? "")set: {\(set)}\non_error: continue"
  }

  /// Rows 3 and 6 wait in the quarantine of the run.
  private static func quarantined(_ backEnd: BackEnd, on server: Server) async throws -> Compiled {
    try await server.psql(
      """
      CREATE TABLE t (id integer PRIMARY KEY, v integer, note text, CONSTRAINT odd CHECK (v NOT IN (31, 61)));
      INSERT INTO t SELECT n, n * 10, 'note ' || n FROM generate_series(1, 9) AS n; ANALYZE t
      """)
    let first = try await Compiled(Self.definition("first", set: "v: v + 1"), on: server, batchSize: 4)
    #expect(try await backEnd.apply(first, on: server).isDone)
    try await server.psql("ALTER TABLE t DROP CONSTRAINT odd")
    return first
  }

  private static let all = "SELECT id, v, note FROM t ORDER BY id"
  private static let words = "run 2 of second came later and wrote the same columns"

  @Test(arguments: BackEnd.allCases)
  func `does not try its rows in quarantine again, nor mend what the other one has written`(
    backEnd: BackEnd
  ) async throws {
    try await withLedger { server in
      let first = try await Self.quarantined(backEnd, on: server)
      let before = try await server.rows(Self.all)
      let second = try await Compiled(
        Self.definition("second", set: "v: v + 10", where: "id < 8"), on: server, batchSize: 4)
      #expect(try await backEnd.apply(second, on: server).isDone)
      let between = try await server.rows(Self.all)
      for told in [
        try await backEnd.retry(1, on: server), try await Client.fix(1, "v = 1", on: server),
        try await Psql.run("SELECT migrate.mend(1, 'v', '1');", on: server),
      ] {
        #expect(!told.isDone && told.text.contains(Self.words), "\(told.text)")
      }
      #expect(try await server.rows(Self.all) == between)
      #expect(try await server.value("SELECT count(*) FROM migrate.requests WHERE request <> 'revert'") == "0")

      #expect(try await backEnd.revert(second, on: server).isDone)
      #expect(try await server.rows(Self.all) == before)
      #expect(try await backEnd.retry(1, on: server).isDone)
      #expect(try await backEnd.revert(first, on: server).isDone)
      #expect(try await server.value("SELECT count(*) FROM t WHERE v = id * 10") == "9")
    }
  }

  /// The retry waits for row 70 when the other run comes.
  @Test(arguments: BackEnd.allCases)
  func `has its rows tried again only until the other one comes`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, v integer, CONSTRAINT odd CHECK (v % 20 <> 1));
        INSERT INTO t SELECT n, n * 10 FROM generate_series(1, 80) AS n; ANALYZE t
        """)
      let first = try await Compiled(Self.definition("first", set: "v: v + 1"), on: server, batchSize: 20)
      let second = try await Compiled(Self.definition("second", set: "v: v + 10", where: "id < 8"), on: server)
      #expect(try await backEnd.apply(first, on: server).isDone)
      try await server.psql("ALTER TABLE t DROP CONSTRAINT odd")
      try await withSessions("holder", to: server) { sessions in
        let holder = try #require(sessions["holder"])
        try await holder.execute("BEGIN; SELECT FROM t WHERE id = 70 FOR UPDATE")
        async let retried = backEnd.retry(1, on: server)
        try await server.wait(
          until: "EXISTS (SELECT FROM migrate.workers JOIN pg_stat_activity USING (pid) WHERE wait_event_type = 'Lock')"
        )
        #expect(try await backEnd.apply(second, on: server).isDone)
        let told = try await retried
        #expect(!told.isDone && told.text.contains(Self.words), "\(told.text)")
        try await holder.execute("COMMIT")
      }
      #expect(try await server.value("SELECT count(*) > 0 FROM t WHERE id >= 70 AND v = id * 10") == "t")
      #expect(try await backEnd.revert(second, on: server).isDone)
      #expect(try await backEnd.retry(1, on: server).isDone)
      #expect(try await server.value("SELECT count(*) FROM t WHERE v = id * 10 + 1") == "80")
      #expect(try await backEnd.revert(first, on: server).isDone)
      #expect(try await server.value("SELECT count(*) FROM t WHERE v = id * 10") == "80")
    }
  }

  /// It waits in its first batch for row 9, and nothing of it is to be seen.
  @Test(arguments: BackEnd.allCases)
  func `is known as soon as the other one is at work`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      let first = try await Self.quarantined(backEnd, on: server)
      let before = try await server.rows(Self.all)
      let second = try await Compiled(Self.definition("second", set: "v: v + 10"), on: server)
      try await withSessions("holder", to: server) { sessions in
        let holder = try #require(sessions["holder"])
        try await holder.execute("BEGIN; SELECT FROM t WHERE id = 9 FOR UPDATE")
        async let applied = backEnd.apply(second, on: server)
        try await server.wait(
          until: "EXISTS (SELECT FROM migrate.workers JOIN pg_stat_activity USING (pid) WHERE wait_event_type = 'Lock')"
        )
        for told in [
          try await Client.fix(1, "v = 1", on: server), try await backEnd.retry(1, on: server),
          try await backEnd.revert(first, on: server),
        ] {
          #expect(!told.isDone && told.text.contains(Self.words), "\(told.text)")
        }
        try await holder.execute("COMMIT")
        #expect(try await applied.isDone)
      }
      #expect(try await backEnd.revert(second, on: server).isDone)
      #expect(try await server.rows(Self.all) == before)
    }
  }

  /// A column that the first run has only mended.
  @Test(arguments: BackEnd.allCases)
  func `goes back behind one that has written what was mended`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      let first = try await Self.quarantined(backEnd, on: server)
      #expect(try await Client.fix(1, "note = 'mended'", on: server).text == "2 rows")
      let second = try await Compiled(
        Self.definition("second", set: "note: upper(note)"), on: server, batchSize: 4)
      #expect(try await backEnd.apply(second, on: server).isDone)
      for told in [
        try await backEnd.revert(first, on: server), try await Client.fix(1, "note = 'again'", on: server),
      ] {
        #expect(!told.isDone && told.text.contains(Self.words), "\(told.text)")
      }
      // Another column is nobody's.
      #expect(try await Client.fix(1, "v = 20", on: server).text == "2 rows")
      #expect(try await backEnd.revert(second, on: server).isDone)
      #expect(try await backEnd.revert(first, on: server).isDone)
      #expect(try await server.value("SELECT count(*) FROM t WHERE v = id * 10 AND note = 'note ' || id") == "9")
    }
  }

  /// The rows of a partition are those of its table.
  @Test(arguments: BackEnd.allCases, [("pk", "pk1"), ("pk1", "pk"), ("pk", "pk11")])
  func `is known by a table of which the other one is a partition`(
    backEnd: BackEnd, tables: (first: String, second: String)
  ) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE pk (id integer PRIMARY KEY, v integer) PARTITION BY RANGE (id);
        CREATE TABLE pk1 PARTITION OF pk FOR VALUES FROM (1) TO (51) PARTITION BY RANGE (id);
        CREATE TABLE pk11 PARTITION OF pk1 FOR VALUES FROM (1) TO (51);
        CREATE TABLE pk2 PARTITION OF pk FOR VALUES FROM (51) TO (101);
        INSERT INTO pk SELECT n, n FROM generate_series(1, 100) AS n; ANALYZE pk
        """)
      let first = try await Compiled(
        Self.definition("first", source: tables.first, set: "v: v + 1"), on: server, batchSize: 20)
      let second = try await Compiled(
        Self.definition("second", source: tables.second, set: "v: v + 10"), on: server, batchSize: 20)
      #expect(try await backEnd.apply(first, on: server).isDone)
      #expect(try await backEnd.apply(second, on: server).isDone)
      let told = try await backEnd.revert(first, on: server)
      #expect(!told.isDone && told.text.contains(Self.words), "\(told.text)")
      #expect(try await backEnd.revert(second, on: server).isDone)

      // Nor beside each other. Of two partitions neither has rows of the other.
      try await server.psql("UPDATE migrate.runs SET state = 'paused' WHERE run = 1")
      let beside = try await backEnd.apply(second, on: server)
      #expect(
        !beside.isDone && beside.text.contains("run 1 of first is unfinished and writes the same columns"),
        "\(beside.text)")
      let other = try await Compiled(Self.definition("other", source: "pk2", set: "v: v + 10"), on: server)
      let isApart = tables.first != "pk"
      #expect(try await backEnd.apply(other, on: server).isDone == isApart)
    }
  }
}
