import Migrate
import MigrateTestSupport
import TestSupport
import Testing

@Suite struct `What the database alone knows of a value is left to it` {
  static let moods = """
    CREATE TYPE mood AS ENUM ('sad', 'happy');
    CREATE TABLE t (id integer PRIMARY KEY, mood mood);
    INSERT INTO t SELECT n, 'sad' FROM generate_series(1, 10) AS n
    """

  /// V18: PostgreSQL refuses a label in the transaction that adds it (55P04); to all others it is not there yet.
  @Test func `V18: a label that is being added is not there, and one that was added is`() async throws {
    try await withLedger { server in
      try await server.psql(Self.moods)
      let yaml = "batch: b\nsource: t\nset: {mood: 'angry'}"
      try await withConnection(to: server) { connection in
        try connection.execute("BEGIN; ALTER TYPE mood ADD VALUE 'angry' BEFORE 'sad'")
        let other = try Connection(to: server)
        #expect(try other.query("SELECT count(*) FROM pg_enum").onlyRow.int(0) == 2)
        try connection.execute("ROLLBACK")
      }
      #expect(try await codes(of: yaml, on: server) == ["unknown-label"])
      try await server.psql("ALTER TYPE mood ADD VALUE 'angry' BEFORE 'sad'")
      let applied = try await migrated(yaml, on: server, batchSize: 3)
      #expect(applied.outcome == .completed(leftBehind: 0))
      #expect(try await server.psql("SELECT DISTINCT mood FROM t") == [["angry"]])
    }
  }

  /// V18: there is no DROP VALUE; a label goes by being renamed, or by a new type without it.
  @Test
  func `V18: a label that goes while a run stands still ends it at its batch, and does not keep it from going back`()
    async throws
  {
    try await withLedger { server in
      try await server.psql(Self.moods)
      let before = try await image(of: "t", on: server)
      let stopped = try await migrated(
        "batch: b\nsource: t\nset: {mood: 'happy'}", on: server, batchSize: 4, stopAfter: 1)
      try await server.psql("ALTER TYPE mood RENAME VALUE 'happy' TO 'glad'")
      let outcome = try await resumed(stopped.run, on: server)
      guard case .failed(let failure) = outcome else {
        Issue.record("\(outcome)")
        return
      }
      #expect(failure.sqlState == "55000" && failure.message.contains("the labels of enum public.mood"))
      #expect(
        try await server.psql("SELECT mood, count(*) FROM t GROUP BY 1 ORDER BY 1") == [["sad", "6"], ["glad", "4"]])
      #expect(try await reverted(stopped.run, on: server) == .reverted(conflicts: 0))
      #expect(before.differences(to: try await image(of: "t", on: server)) == [])
    }
  }

  /// V19
  @Test func `V19: a large object is not kept with the number of it, and the plan says so`() async throws {
    try await withLedger { server in
      try await server.psql(
        "CREATE TABLE t (id integer PRIMARY KEY, file oid, n integer); INSERT INTO t SELECT n, lo_from_bytea(0, 'x') FROM generate_series(1, 4) AS n"
      )
      for value in ["lo_unlink(file)", "length(lo_get(file)) + lo_unlink(file)", "lo_put(file, 0, 'y')::text::integer"]
      {
        let warnings = try await compiled("batch: b\nsource: t\nset:\n  n: |\n    \(value)", on: server).warnings
        #expect(warnings.all.map(\.code).contains("large-object"), "\(value)")
      }
      let reading = try await compiled("batch: b\nsource: t\nset:\n  n: length(lo_get(file))", on: server).warnings
      #expect(!reading.all.map(\.code).contains("large-object"))
      // The number itself is a value as any other: it comes back, and with it the object that it names.
      let before = try await image(of: "t", on: server)
      let applied = try await migrated("batch: b\nsource: t\nset: {file: null}", on: server)
      #expect(try await reverted(applied.run, on: server) == .reverted(conflicts: 0))
      #expect(before.differences(to: try await image(of: "t", on: server)) == [])
      #expect(try await server.psql("SELECT count(*) FROM t WHERE lo_get(file) = 'x'") == [["4"]])
    }
  }

  /// V22
  @Test(arguments: [
    ("row_number() OVER (ORDER BY id)", "window-over-batch"), ("sum(n) OVER (ORDER BY id)", "window-over-batch"),
    ("lag(n) OVER (ORDER BY id)", "window-over-batch"), ("max(n)", "aggregate-over-batch"),
    ("count(*)", "aggregate-over-batch"), ("n - avg(n)", "aggregate-over-batch"),
    ("generate_series(1, n)", "several-rows"),
  ])
  func `V22: what would depend on where a batch begins is refused`(value: String, code: String) async throws {
    try await withLedger { server in
      try await server.psql("CREATE TABLE t (id integer PRIMARY KEY, n integer)")
      let yaml = "batch: b\nsource: t\nset:\n  n: |\n    \(value)"
      #expect(try await codes(of: yaml, on: server) == [code])
    }
  }

  /// V22 K25: over all rows of a table, in an order that knows no ties, it may be asked for.
  @Test(arguments: ["id", "-id", "hashtext(id::text)"])
  func `V22 K25: a running number over all rows is the same in any batch size and any order of the rows on disk`(
    order: String
  )
    async throws
  {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, part integer, place integer);
        INSERT INTO t SELECT id, id % 3 FROM generate_series(1, 50) AS g(id) ORDER BY \(order);
        CREATE TABLE expected AS SELECT id, row_number() OVER (PARTITION BY part ORDER BY id) AS place FROM t
        """)
      let yaml = """
        batch: b
        source: t
        set:
          place: |
            (SELECT count(*)::integer FROM t AS o WHERE o.part = t.part AND o.id <= t.id)
        """
      for size in [1, 7, 1000] {
        let applied = try await migrated(yaml, on: server, batchSize: size)
        #expect(
          try await server.psql("SELECT count(*) FROM t JOIN expected USING (id, place)") == [["50"]], "size \(size)")
        #expect(try await reverted(applied.run, on: server) == .reverted(conflicts: 0))
      }
    }
  }

  /// K24
  @Test func `K24: a sub-select that finds two rows is an error, and not one of them`() async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, n integer);
        INSERT INTO t SELECT n, 0 FROM generate_series(1, 10) AS n;
        CREATE TABLE rates (id integer, rate integer);
        INSERT INTO rates SELECT n, n FROM generate_series(1, 10) AS n UNION ALL SELECT 7, 70
        """)
      let yaml = "batch: b\nsource: t\nset:\n  n: |\n    (SELECT r.rate FROM rates AS r WHERE r.id = t.id)"
      let applied = try await migrated(yaml, on: server, batchSize: 5)
      #expect(applied.failure?.sqlState == "21000", "\(applied.outcome)")
      #expect(try await server.psql("SELECT count(*) FROM t WHERE n = id") == [["5"]])
      #expect(try await server.psql("SELECT count(*) FROM t WHERE n <> 0") == [["5"]])
    }
  }

  /// U03: what an update gives back may be taken, too.
  @Test func `U03: a unique value that was taken meanwhile stops the way back whole, and it goes on when it is free`()
    async throws
  {
    try await withLedger { server in
      try await server.psql(
        "CREATE TABLE t (id integer PRIMARY KEY, code integer UNIQUE); INSERT INTO t SELECT n, n FROM generate_series(1, 12) AS n"
      )
      let before = try await image(of: "t", on: server)
      let applied = try await migrated("batch: b\nsource: t\nset: {code: code + 1000}", on: server, batchSize: 4)
      #expect(applied.outcome == .completed(leftBehind: 0))
      try await server.psql("INSERT INTO t VALUES (100, 6)")
      let outcome = try await reverted(applied.run, on: server)
      guard case .failed(let failure) = outcome else {
        Issue.record("\(outcome)")
        return
      }
      #expect(failure.sqlState == "23505")
      // The last batch is back, the one with the row that is in the way is not, and that row is untouched.
      #expect(
        try await server.psql("SELECT string_agg(id::text, ' ' ORDER BY id) FROM t WHERE code = id") == [["9 10 11 12"]]
      )
      #expect(try await server.psql("SELECT code FROM t WHERE id = 100") == [["6"]])
      try await server.psql("DELETE FROM t WHERE id = 100")
      #expect(try await reverted(applied.run, on: server) == .reverted(conflicts: 0))
      #expect(before.differences(to: try await image(of: "t", on: server)) == [])
    }
  }
}
