import MigrateLedger
import MigratePlan
import MigratePostgres
import MigrateRunner
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// What a run must not go beyond without being asked.
@Suite struct `A run that expects something` {
  /// 6,000 of 7,000 products are eligible, 1,200 of those cost nothing and stay as they are; batches of 500.
  private func withExpecting(
    _ expect: String, on: String = "", set: String = "round(price * :multiplier, 2)",
    _ body: (Server, Compiled) async throws -> Void
  ) async throws {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 7_000) + "ANALYZE products")
      let yaml = Products.definition.replacing("round(price * :multiplier, 2)", with: set)
        .replacing(
          "params: {multiplier: {type: numeric, default: 1.05}}",
          with: set.contains(":multiplier") ? "params: {multiplier: {type: numeric, default: 1.05}}" : "")
      try await body(
        server,
        try await Compiled(
          yaml + "\nbatch_size: 500\n\(on)\nexpect:\n"
            + expect.split(separator: "\n").map { "  \($0)" }.joined(separator: "\n") + "\n", on: server))
    }
  }

  private let standing = "SELECT state || ': ' || (failure ->> 'message') FROM migrate.runs"

  @Test(arguments: BackEnd.allCases)
  func `is completed when all is as expected`(by backEnd: BackEnd) async throws {
    let expect = """
      rows: 5900..6100
      changed: "75..85%"
      rejects: "< 0.1%"
      average factor: {of: avg(new.price / old.price), between: [1.04, 1.06]}
      total: {of: sum(new.price - old.price), between: "> 0"}
      lowest: {of: min(new.price), between: ">= 1"}
      highest: {of: max(new.price), between: "<= 7350"}
      touched: {of: count(*), between: "4800"}
      """
    try await withExpecting(expect) { server, compiled in
      let expected = try await server.rows(Products.expected)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.has(expected))
      // The running figures are what one query over old and new rows would say.
      let figures = try await server.rows(
        "SELECT name, figure::numeric(20, 4) FROM migrate.figures(1) WHERE kind NOT IN ('rows', 'changed', 'rejects') ORDER BY name"
      )
      let back = try await backEnd.revert(compiled, on: server)
      #expect(back.isDone, "\(back.text)")
      let asked = try await server.rows(
        """
        WITH image AS (SELECT price AS o, round(price * 1.05, 2) AS n FROM products WHERE status = 'active' AND price <> 0)
        SELECT 'average factor', avg(n / o)::numeric(20, 4) FROM image
        UNION ALL SELECT 'highest', max(n) FROM image
        UNION ALL SELECT 'lowest', min(n) FROM image
        UNION ALL SELECT 'total', sum(n - o) FROM image
        UNION ALL SELECT 'touched', count(*) FROM image
        """)
      #expect(Set(figures.map(Self.short)) == Set(asked.map(Self.short)))
    }
  }

  /// Without zeros at the end.
  private static func short(_ row: String) -> String {
    let parts = row.split(separator: "|")
    return "\(parts[0])|\(Double(parts[1]) ?? .nan)"
  }

  @Test(
    arguments: BackEnd.allCases,
    [
      ("changed: \">= 95%\"", "paused: changed is 80%, expected at least 95%, after 1000 rows", "1000"),
      ("rows: 100..1200", "paused: rows is 1500, expected from 100 to 1200, after 1500 rows", "1500"),
      (
        "factor: {of: avg(new.price / old.price), between: [1.1, 1.2]}",
        "paused: factor is 1.05 (avg(new.price / old.price)), expected from 1.1 to 1.2, after 1000 rows", "1000"
      ),
      (
        "dear: {of: max(new.price), between: \"< 600\"}",
        "paused: dear is 612.15 (max(new.price)), expected less than 600, after 500 rows", "500"
      ),
      // Too little of what grows is told at the end.
      ("rows: \">= 7000\"", "paused: rows is 6000, expected at least 7000", "6000"),
    ])
  func `pauses before its next batch, and says how to go on or back`(
    by backEnd: BackEnd, breach: (expect: String, said: String, read: String)
  ) async throws {
    try await withExpecting(breach.expect) { server, compiled in
      let (before, expected) = (try await server.rows(Products.all), try await server.rows(Products.expected))
      let told = try await backEnd.apply(compiled, on: server)
      #expect(!told.isDone)
      #expect(told.text.contains("accepts it"), "\(told.text)")
      let said = try await server.value(standing)
      #expect(said == breach.said)
      #expect(try await server.value("SELECT sum(rows_read) FROM migrate.batches") == breach.read, "\(said ?? "")")

      // To run it again is not to accept it.
      let again = try await backEnd.apply(compiled, on: server)
      #expect(!again.isDone && again.text.contains("is paused: "), "\(again.text)")
      #expect(try await server.value("SELECT sum(rows_read) FROM migrate.batches") == breach.read)

      try await server.psql("SELECT migrate.resume(1)")
      let accepted = try await backEnd.apply(compiled, on: server)
      #expect(accepted.isDone, "\(accepted.text)")
      #expect(try await server.has(expected))
      let back = try await backEnd.revert(compiled, on: server)
      #expect(back.isDone, "\(back.text)")
      #expect(try await server.has(before))
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `counts its rejects, also under a batch in parts`(by backEnd: BackEnd) async throws {
    let expect = """
      rejects: "< 0.5%"
      total: {of: count(new.price), between: "<= 10000"}
      """
    try await withExpecting(expect, on: "on_error: continue") { server, compiled in
      try await server.psql(
        "ALTER TABLE products ADD CHECK (id % 100 <> 3 OR price = 0 OR price > 20000 OR id % 5 = 0) NOT VALID")
      let told = try await backEnd.apply(compiled, on: server)
      #expect(!told.isDone && told.text.contains("rejects is "), "\(told.text)")
      // What the parts have changed is what was measured.
      #expect(
        try await server.value(
          "SELECT sum(rows_changed) = (SELECT sum(rows) FROM migrate.measures) FROM migrate.batches") == "t")
    }
  }

  @Test func `pays nothing when it expects nothing of values`() async throws {
    try await withExpecting("rows: \"< 100000\"") { server, compiled in
      #expect(!compiled.plan.statements(.batches).contains { $0.name == .measure })
      let told = try await BackEnd.client.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
    }
  }

  /// Somebody has asked for something else meanwhile, and the edge of the batch is where that is heard.
  @Test(arguments: ["pausing", "cancelling"])
  func `leaves a run alone that is asked to stand still`(state: String) async throws {
    try await withExpecting("rows: \"< 1000\"") { server, compiled in
      #expect(try await !BackEnd.client.apply(compiled, on: server).isDone)
      let read = try await server.value("SELECT sum(rows_read) FROM migrate.batches")
      try await server.psql("UPDATE migrate.runs SET state = '\(state)', failure = NULL")
      for final in ["false", "true"] {
        #expect(try await server.value("SELECT migrate.heed(run, 1, epoch, \(final)) FROM migrate.fence") == "")
        #expect(try await server.rows("SELECT state, failure FROM migrate.runs") == ["\(state)|NULL"])
      }
      try await server.psql("UPDATE migrate.runs SET state = 'holding'")
      let said = try await server.value("SELECT migrate.heed(run, 1, epoch, false) FROM migrate.fence")
      #expect(said == "rows is 1000, expected less than 1000, after 1000 rows")
      #expect(try await server.state() == "paused")
      #expect(try await server.value("SELECT sum(rows_read) FROM migrate.batches") == read)
    }
  }

  /// However many batches there are, they are not read again before each of them.
  @Test func `reads running sums, and no batch`() async throws {
    let onError = "max_rejects: 10%\non_error: continue"
    try await withExpecting("rows: \"< 100000\"", on: onError) { server, compiled in
      try await server.psql("ALTER TABLE products ADD CHECK (id % 3000 <> 3 OR price = 1) NOT VALID")
      let told = try await BackEnd.client.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(
        try await server.rows(
          """
          SELECT (sum(t.rows_read), sum(t.rows_changed), sum(t.rows_rejected))
                 = (SELECT sum(b.rows_read), sum(b.rows_changed), sum(b.rows_rejected) FROM migrate.batches AS b),
                 sum(t.rows_rejected) > 0
          FROM   migrate.tallies AS t
          """) == ["t|t"])
      let fetched = try await server.value(
        """
        BEGIN;
        SET LOCAL stats_fetch_consistency = none;
        CREATE TEMP TABLE before AS
        SELECT pg_stat_get_xact_tuples_returned('migrate.batches'::regclass) + pg_stat_get_xact_tuples_fetched('migrate.batches'::regclass) AS n;
        SELECT FROM migrate.figures(1); SELECT migrate.breach(1, true); SELECT migrate.excess(1);
        CREATE TEMP TABLE behind AS
        SELECT pg_stat_get_xact_tuples_returned('migrate.batches'::regclass) + pg_stat_get_xact_tuples_fetched('migrate.batches'::regclass) AS n;
        COMMIT;
        SELECT a.n - b.n FROM before AS b, behind AS a
        """)
      #expect(fetched == "0")
    }
  }

  /// No other type has room for it.
  @Test(
    arguments: BackEnd.allCases, [("1e400", "1.00000e+401"), ("'Infinity'", "Infinity"), ("123456789.5", "1234567895")])
  func `says a figure of any size`(by backEnd: BackEnd, value: (price: String, said: String)) async throws {
    let expect = "highest: {of: max(new.price), between: \"< 100\"}"
    try await withExpecting(expect, set: "CAST(\(value.price) AS numeric) * 10") { server, compiled in
      _ = try await backEnd.apply(compiled, on: server)
      #expect(
        try await server.value(standing)
          == "paused: highest is \(value.said) (max(new.price)), expected less than 100, after 500 rows")
    }
  }
}
