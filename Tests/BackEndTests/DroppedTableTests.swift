import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// A table that is made anew has the name of the one that is gone, and none of its rows.
@Suite struct `A table that is dropped under a run` {
  private static let table = """
    CREATE TABLE t (id integer PRIMARY KEY, v integer);
    INSERT INTO t SELECT n, n * 10 FROM generate_series(1, 40) AS n
    """

  @Test(arguments: BackEnd.allCases)
  func `P21: is not taken for the one that has its name then`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Self.table)
      let compiled = try await Compiled(
        "batch: t\nsource: t\nset: {v: v + 1}\nthrottle: {pause: 1s}", on: server, batchSize: 10)
      async let applied = backEnd.apply(compiled, on: server)
      try await server.wait(until: "EXISTS (SELECT FROM migrate.batches)")
      try await server.psql("DROP TABLE t; \(Self.table)")
      let told = try await applied
      let words = "table public.t was dropped, and another one has its name"
      #expect(!told.isDone && told.text.contains(words), "\(told.text)")
      #expect(told.text.contains("cancel run 1, and apply anew"), "\(told.text)")
      #expect(try await server.value("SELECT count(*) FROM t WHERE v = id * 10") == "40")
      let again = try await backEnd.apply(compiled, on: server)
      #expect(!again.isDone, "\(again.text)")

      try await server.psql("SELECT migrate.cancel(1)")
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(try await server.value("SELECT count(*) FROM t WHERE v = id * 10 + 1") == "40")
    }
  }
}
