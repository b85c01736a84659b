import Migrate
import MigrateTestSupport
import Synchronization
import TestSupport
import Testing

@Suite struct `Values become what one statement makes of them` {
  static let table = """
    CREATE TABLE t (
      id integer PRIMARY KEY, i integer, f double precision, n numeric, n2 numeric(10,2), s text, d date, at timestamptz,
      ts timestamp, b boolean);
    INSERT INTO t
    SELECT n, n - 15, (n - 15) / 2.0, (n - 15) / 2.0, NULL, CASE WHEN n % 4 = 0 THEN NULL ELSE 's' || n END,
           date '2026-03-29' + n, timestamptz '2025-10-26 00:00:00+00' + n * interval '10 minutes',
           timestamp '2026-03-29 01:00:00' + n * interval '10 minutes', nullif(n % 3, 1) = 0
    FROM   generate_series(1, 30) AS n
    """

  /// What a column of this type becomes; the numbers are those of the traps.
  static let values: [(trap: String, type: String, value: String)] = [
    ("V03", "numeric(10,2)", "n * 1.005"),
    ("V04", "integer", "f"),
    ("V04", "integer", "n"),
    ("V04", "numeric", "round(n)"),
    ("V04", "double precision", "round(f)"),
    ("V05", "integer", "i / 2 + i % 3"),
    ("V07", "boolean", "s NOT IN (SELECT NULL::text)"),
    ("V07", "text", "concat(s, 'x')"),
    ("V07", "text", "s || 'x'"),
    ("V07", "integer", "CASE WHEN b THEN 1 END"),
    ("V08", "timestamp", "at AT TIME ZONE 'America/New_York'"),
    ("V08", "timestamp", "at"),
    ("V08", "timestamptz", "ts AT TIME ZONE 'Europe/Berlin'"),
    ("V08", "timestamptz", "ts"),
    ("V08", "text", "at::text"),
    ("V09", "text", "d::text || to_char(d, 'TMMon')"),
    ("V09", "date", "to_date('03/02/2026', 'DD/MM/YYYY')"),
    ("V10", "text", "to_char(n, '9G999D9') || n::text::money::text"),
    ("V14", "text", "decode(md5(id::text), 'hex')::text"),
    ("V23", "text", "upper('ß' || s) || lower('I')"),
  ]

  /// JSON is the same JSON whether it stands in `set` or comes as a parameter's default or from a file.
  @Test func `V13: a map and a list mean one thing as a value, as a default and in a file of parameters`() async throws
  {
    try await withLedger { server in
      try await server.psql(
        "CREATE TABLE t (id integer PRIMARY KEY, a jsonb, b jsonb, c jsonb, d jsonb, e text[]); INSERT INTO t VALUES (1)"
      )
      let map = "{n: 1, yes: true, no: null, list: [1, 'x'], text: '1'}"
      let yaml = """
        batch: b
        source: t
        params:
          map: {type: jsonb, default: \(map)}
          list: {type: jsonb, default: [1, 'x', null]}
          given: {type: jsonb}
          texts: {type: 'text[]', default: [1, 'x', null]}
        set:
          a: {value: \(map)}
          b: :map
          c: :list
          d: :given
          e: :texts
        """
      let file = SourceText(path: "values.yaml", bytes: Array("given: \(map)".utf8))
      let definition = try Definition(SourceText(path: "b.yaml", bytes: Array(yaml.utf8)))
      var request = CompileRequest()
      request.parameters = try GivenParameters(file: file, arguments: []).values(for: definition, among: [definition])
      let plan = try await onThread { [request] in try Session(to: server).compile(definition, request).plan }
      let expected = #"{"n": 1, "no": null, "yes": true, "list": [1, "x"], "text": "1"}"#
      let values = Dictionary(uniqueKeysWithValues: plan.parameters.map { ($0.name, $0.value) })
      #expect(values["map"] == expected && values["given"] == expected)
      #expect(values["list"] == #"[1, "x", null]"# && values["texts"] == "{1,x,NULL}")
      let applied = try await migrated(
        yaml, on: server, parameters: [("given", #"{"n": 1, "no": null, "yes": true, "list": [1, "x"], "text": "1"}"#)])
      #expect(applied.outcome == .completed(leftBehind: 0))
      #expect(
        try await server.psql("SELECT a = b AND a = d, b, c, e FROM t") == [
          ["t", expected, #"[1, "x", null]"#, "{1,x,NULL}"]
        ])
    }
  }

  @Test(arguments: ["UTC", "Asia/Kathmandu"])
  func `V03 V04 V05 V07 V08 V09 V10 V14 V23: in whatever zone the server is`(zone: String) async throws {
    try await withLedger { server in
      let columns = Self.values.enumerated().map { "ADD c\($0) \($1.type)" }.joined(separator: ", ")
      try await server.psql("\(Self.table); ALTER TABLE t \(columns)")
      try await server.psql(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = %L', current_database(), '\(zone)'); END $$")
      let before = try await image(of: "t", on: server)
      let list = Self.values.enumerated().map { "c\($0) = \($1.value)" }.joined(separator: ", ")
      let expected = try await image(
        of: "t", on: server, after: "SET LOCAL lc_monetary = 'C'; SET LOCAL lc_numeric = 'C'; UPDATE t SET \(list)")
      let lines = Self.values.enumerated().map { "  c\($0): |\n    \($1.value)" }.joined(separator: "\n")
      let applied = try await migrated("batch: b\nsource: t\nset:\n\(lines)", on: server, batchSize: 11)
      #expect(applied.outcome == .completed(leftBehind: 0))
      #expect(expected.differences(to: try await image(of: "t", on: server)) == [])
      #expect(try await reverted(applied.run, on: server) == .reverted(conflicts: 0))
      #expect(before.differences(to: try await image(of: "t", on: server)) == [])
    }
  }

  /// V03 V08
  @Test func `V03 V08: a loss is said before`() async throws {
    try await withLedger { server in
      try await server.psql(Self.table)
      for (column, value) in [
        ("n2", "n * 1.005"), ("n2", "round(n, 3)"), ("n2", "trunc(n, 3) + 1"), ("i", "n"), ("i", "f"),
        ("ts", "at"), ("d", "at"),
      ] {
        let plan = try await compiled("batch: b\nsource: t\nset:\n  \(column): \(value)", on: server)
        #expect(plan.warnings.all.map(\.code) == ["lossy-assignment"], "\(column) = \(value)")
      }
      for (column, value) in [
        ("n2", "round(n * 1.005, 2)"), ("n2", "round(n) + trunc(n, 2)"), ("i", "round(n)"), ("i", "i + 1"), ("n", "n2"),
        ("f", "i"),
      ] {
        let plan = try await compiled("batch: b\nsource: t\nset:\n  \(column): \(value)", on: server)
        #expect(plan.warnings.all.map(\.code) == [], "\(column) = \(value)")
      }
    }
  }

  /// B5 V03 V06
  @Test func `V03 V06: and how many rows of a sample lose something or do not fit`() async throws {
    try await withLedger { server in
      try await server.psql(
        "\(Self.table); ALTER TABLE t ADD small smallint, ADD code varchar(2), ADD tiny numeric(3,1)")
      for (column, value, said) in [
        ("n2", "n * 1.005", "digits beyond scale 2 are rounded, in 23 of 30 sampled rows"),
        ("i", "n", "digits behind the point are rounded, in 15 of 30 sampled rows"),
        ("i", "f", "digits behind the point are rounded, in 15 of 30 sampled rows"),
        ("n2", "f / 4", "only its 15 significant digits arrive, in 15 of 30 sampled rows"),
        ("d", "at", "the time of day is dropped, in 30 of 30 sampled rows"),
        ("ts", "at", "two moments of the hour that a zone repeats become one, in 0 of 30 sampled rows"),
        ("i", "id::bigint * 100000000", "does not fit in 9 of 30 sampled rows"),
        ("small", "i * 3000", "does not fit in 9 of 30 sampled rows"),
        ("tiny", "i * 10", "does not fit in 11 of 30 sampled rows"),
        ("code", "s", "does not fit in 16 of 30 sampled rows"),
        ("n2", "n / (id - 3)", "a sample cannot be counted: division by zero"),
      ] {
        let plan = try await compiled("batch: b\nsource: t\nset:\n  \(column): \(value)", on: server)
        #expect(plan.warnings.all.map(\.code) == ["lossy-assignment"], "\(column) = \(value)")
        #expect(plan.warnings.all.contains { $0.message.contains(said) }, "\(plan.warnings.all.map(\.message))")
      }
      for (column, value) in [
        ("code", "left(s, 2)"), ("small", "i"), ("i", "id::bigint"), ("tiny", "i"), ("s", "code"),
      ] {
        let plan = try await compiled("batch: b\nsource: t\nset:\n  \(column): \(value)", on: server)
        #expect(plan.warnings.all.map(\.code) == [], "\(column) = \(value)")
      }
      let eligible = try await compiled(
        "batch: b\nsource: t\nwhere: id <= 12\nset: {i: n, small: n / (id - 3)}", on: server)
      #expect(eligible.warnings.all.first?.message.contains("in 6 of 12 sampled rows") == true)
      let none = try await compiled("batch: b\nsource: t\nwhere: id > 99\nset: {i: n}", on: server)
      #expect(none.warnings.all.first?.message.contains("no row of a sample is eligible") == true)
    }
  }

  /// V05
  @Test func `V05: a division of whole numbers is said before, wherever it stands`() async throws {
    try await withLedger { server in
      try await server.psql(Self.table)
      for (value, count) in [
        ("i / 2", 1), ("(t.i / id)::numeric", 1), ("CASE WHEN b THEN n ELSE i / 2 + id / 3 END", 2), ("n / 2", 0),
        ("i / 2.0", 0), ("div(i, 2)", 0), ("i / n", 0), ("i::numeric / 2", 0), ("length(s) / n::int", 1), ("f / 2", 0),
      ] {
        let plan = try await compiled("batch: b\nsource: t\nwhere: i / 3 = 1\nset:\n  f: \(value)", on: server)
        let said = plan.warnings.all.filter { $0.code == "integer-division" }
        #expect(said.count == count + 1, "\(value)")
      }
    }
  }

  /// V06
  @Test(arguments: [
    ("i", "i + CASE WHEN id = 17 THEN 2147483647 ELSE 0 END + 15", "22003"),
    ("n2", "CASE WHEN id = 17 THEN 1e9 ELSE 1 END", "22003"),
    ("i", "10 / (id - 17)", "22012"),
    ("d", "('2026-02-' || (id + 12))::date", "22008"),
    ("code", "CASE WHEN id = 17 THEN 'abcd' ELSE 'abc' END", "22001"),
    ("codes", "ARRAY[CASE WHEN id = 17 THEN 'abcd' ELSE 'abc' END]", "22001"),
    ("padded", "CASE WHEN id = 17 THEN 'abcd' ELSE 'abc' END", "22001"),
  ])
  func `V06: one row that does not fit ends the run at its batch, whatever was there before`(
    column: String, value: String, sqlState: String
  ) async throws {
    try await withLedger { server in
      try await server.psql(Self.table)
      // Cut, the value would be what is there already.
      try await server.psql(
        "ALTER TABLE t ADD code varchar(3) DEFAULT 'abc', ADD codes varchar(3)[] DEFAULT '{abc}', ADD padded char(3) DEFAULT 'abc'"
      )
      let yaml = "batch: b\nsource: t\nset:\n  s: 'done'\n  \(column): |\n    \(value)"
      let applied = try await migrated(yaml, on: server, batchSize: 10)
      #expect(applied.failure?.sqlState == sqlState, "\(applied.outcome)")
      #expect(applied.failure?.after == ["10"])
      #expect(try await server.psql("SELECT count(*), max(id) FROM t WHERE s = 'done'") == [["10", "10"]])
    }
  }

  /// V21
  @Test func `V21: the moment of the beginning is the same after a pause, a lost backend and a resume`() async throws {
    try await withLedger { server in
      try await server.psql(
        "CREATE TABLE t (id integer PRIMARY KEY, at timestamptz, run bigint); INSERT INTO t SELECT n FROM generate_series(1, 40) AS n"
      )
      let yaml = "batch: b\nsource: t\nset:\n  at: :started_at\n  run: :run_id"
      let paused = try await migrated(yaml, on: server, batchSize: 4, stopAfter: 3)
      #expect(paused.outcome == .paused)
      let killed = Atomic(false)
      var way = Way()
      way.watch = { event in
        guard case .batch = event, !killed.exchange(true, ordering: .relaxed) else { return }
        let other = try? Connection(to: server)
        _ = try? other?.execute(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'migrate run%' AND datname = current_database()"
        )
      }
      #expect(try await resumed(paused.run, on: server, way) == .completed(leftBehind: 0))
      let wasKilled = killed.load(ordering: .relaxed)
      #expect(wasKilled)
      #expect(
        try await server.psql(
          "SELECT count(*), count(DISTINCT t.at), bool_and(t.at = r.started_at), bool_and(t.run = r.run) FROM t, migrate.runs AS r"
        )
          == [["40", "1", "t", "t"]])
      #expect(try await server.psql("SELECT count(*), sum(rows_changed) FROM migrate.batches") == [["10", "40"]])
    }
  }
}
