import MigratePlan
import MigratePostgres
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// What `=` says in the condition of a join holds, whatever an index or a type would say.
@Suite struct `A join by values` {
  /// Values that are one to the condition, and two to the index of the joined table; rows that its index does not cover.
  @Test(
    arguments: [
      ("f double precision", "k numeric UNIQUE", "(1, 'one'), (1.00000000000000000001, 'uno'), (2, 'two')", ""),
      ("f char(3)", "k varchar(5) UNIQUE", "('1', 'one'), ('1 ', 'uno'), ('2', 'two')", ""),
      (
        "f integer", "k integer PRIMARY KEY", "(1, 'one'), (2, 'two')",
        "CREATE TABLE more () INHERITS (j); INSERT INTO more VALUES (1, 'uno')"
      ),
    ], ["full", "none"])
  func `K24: that two rows fit is seen, also where an index has them for one`(
    columns: (String, String, String, String), undo: String
  ) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, \(columns.0), y text); INSERT INTO t VALUES (1, '1'), (2, '2');
        CREATE TABLE j (\(columns.1), v text); INSERT INTO j VALUES \(columns.2); \(columns.3)
        """)
      for rows in ["table: j", "query: 'SELECT k, max(v) AS v FROM j GROUP BY k, v'"] {
        let compiled = try await Compiled(
          "batch: t\nsource: t\njoin:\n  s: {\(rows), match: s.k = f, missing: null}\nset: {y: s.v}\nundo: \(undo)",
          on: server)
        #expect(try await Client.apply(compiled, on: server, again: true).isDone, "\(rows)")
        #expect(try await server.rows("SELECT y FROM t ORDER BY id") == ["NULL", "two"], "\(rows)")
        #expect(
          try await server.rows("SELECT DISTINCT key[1], message FROM migrate.rejects") == ["1|s: 2 rows match"],
          "\(rows)")
        try await server.psql("UPDATE t SET y = NULL")
      }
    }
  }

  /// What the server refuses without saying which row: each is tried by itself.
  @Test(arguments: BackEnd.allCases, ["s.name", "named"])
  func `goes on beside rows that do not fit their columns`(backEnd: BackEnd, value: String) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE t (id bigint PRIMARY KEY, code varchar(3)); INSERT INTO t SELECT n FROM generate_series(1, 200) AS n;
        CREATE TABLE names AS SELECT n::integer AS id, CASE n % 4 WHEN 3 THEN 'toolong' ELSE 'v' || n % 10 END AS name
        FROM generate_series(1, 200) AS n;
        """)
      let compiled = try await Compiled(
        "batch: t\nsource: t\njoin:\n  s: {table: names, match: s.id = t.id}\n"
          + (value == "named" ? "let: {named: s.name}\n" : "") + "set: {code: \(value)}\non_error: continue",
        on: server,
        batchSize: 100)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.rows("SELECT sqlstate, count(*) FROM migrate.rejects GROUP BY 1") == ["22001|50"])
      #expect(try await server.value("SELECT count(*) FROM t WHERE code = 'v' || id % 10") == "150")
      #expect(try await backEnd.revert(compiled, on: server).isDone)
      #expect(try await server.value("SELECT count(code) FROM t") == "0")
    }
  }

  /// By the types of the values: lists, areas, moments where clocks are set; and a query of whose columns some have no name.
  @Test(
    arguments: [
      ("f text[]", "'{' || n || ',a}'", "k text[]", "key"), ("f box", "box(point(0,0), point(n,n))", "k box", "key"),
      ("f timestamp", "timestamp '2026-03-08 01:00' + n * interval '30 min'", "k timestamptz", "id"),
    ], [10, 150_000])
  func `takes values of any type`(columns: (String, String, String, String), rows: Int) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        SET timezone = 'America/New_York';
        CREATE TABLE t (id integer, \(columns.0), y bigint); INSERT INTO t SELECT n, CAST(\(columns.1) AS \(columns.0.dropFirst(2))) FROM generate_series(1, 8) AS n;
        ALTER TABLE t ADD PRIMARY KEY (\(columns.3 == "id" ? "f" : "id"));
        CREATE TABLE j (\(columns.2), v bigint);
        INSERT INTO j SELECT CAST(CAST(\(columns.1) AS \(columns.0.dropFirst(2))) AS \(columns.2.dropFirst(2))), n FROM generate_series(1, 8) AS n;
        INSERT INTO j SELECT NULL, n FROM generate_series(1, \(rows)) AS n; ANALYZE t, j
        """)
      // Boxes are equal by their areas, and cannot be grouped.
      let query =
        columns.2 == "k box"
        ? "SELECT k, v FROM j WHERE k IS NOT NULL" : "SELECT k, max(v) AS v, count(*), count(v) FROM j GROUP BY k, v"
      let compiled = try await Compiled(
        "batch: t\ntimezone: America/New_York\nsource: t\njoin:\n  s: {query: '\(query)', match: s.k = t.f, missing: null}\nset: {y: s.v}",
        on: server, batchSize: 3)
      #expect(compiled.plan.warnings.map(\.code) == (rows > 1_000 ? ["staged-join"] : []))
      let told = try await Client.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      // Half past two and half past three are one moment when clocks go forward.
      let found = try await server.rows("SELECT id FROM t WHERE y IS DISTINCT FROM id ORDER BY id")
      #expect(found == (columns.3 == "id" ? ["2", "3", "4", "5"] : []))
    }
  }
}
