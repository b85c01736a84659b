import MigrateLedger
import MigratePlan
import MigrateRunner
import TestRuns
import TestSupport
import Testing

/// Rows whose key or values the ledger has trouble to hold.
@Suite struct `A row that is hard to keep` {
  private static let definition = "batch: t\nsource: t\nset: {n: n * 10}\non_error: continue"

  /// An object is kept by its number, which its type reads as a name where it comes from a text.
  @Test(arguments: BackEnd.allCases, ["regclass", "regtype", "regproc", "kind"])
  func `has a key that is an object of the database`(backEnd: BackEnd, type: String) async throws {
    for size in [1, 3, 100] {
      try await withDatabase { server in
        try await server.psql(
          """
          CREATE DOMAIN kind AS regclass;
          CREATE TABLE t (k \(type) PRIMARY KEY, id integer, n integer CHECK (n < 1000));
          INSERT INTO t SELECT (1240 + id)::oid::regclass::\(type == "kind" ? "kind" : "oid::\(type)"), id, CASE WHEN id IN (3, 9) THEN 500 ELSE id END
          FROM   generate_series(1, 20) AS id; ANALYZE t
          """)
        let all = "SELECT id, n FROM t ORDER BY id"
        let before = try await server.rows(all)
        let compiled = try await Compiled(Self.definition, on: server, batchSize: size)
        let told = try await backEnd.apply(compiled, on: server)
        #expect(told.isDone, "\(told.text)")
        #expect(
          try await server.rows("SELECT key FROM migrate.rejects ORDER BY key") == ["{1243}", "{1249}"])
        #expect(
          try await server.rows(all) == (1...20).map { "\($0)|\([3, 9].contains($0) ? 500 : $0 * 10)" })
        try await server.psql("UPDATE t SET n = 3 WHERE id = 3")
        #expect(try await backEnd.retry(1, on: server).isDone)
        #expect(try await server.value("SELECT n FROM t WHERE id = 3") == "30")
        try await server.psql("UPDATE t SET n = 77 WHERE id = 5")
        _ = try await backEnd.revert(compiled, on: server, onConflict: .skip)
        #expect(
          try await server.rows("SELECT key, reason, found FROM migrate.conflicts")
            == [#"{1245}|edited|{"n": "77"}"#])
        try await server.psql("UPDATE t SET n = 5 WHERE id = 5; UPDATE t SET n = 500 WHERE id = 3")
        #expect(try await server.rows(all) == before)
      }
    }
  }
}
