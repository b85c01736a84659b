import MigrateLedger
import MigratePlan
import MigrateRunner
import MigrateTestSupport
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
      try await withLedger { server in
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

  /// The row as JSON, by what the definition says of it.
  @Test(arguments: BackEnd.allCases, ["on_error: continue", "validation: {small: n < 100}"])
  func `holds what jsonb cannot`(backEnd: BackEnd, rule: String) async throws {
    try await withLedger { server in
      try await server.psql(
        #"""
        CREATE TABLE t (id integer PRIMARY KEY, n integer \#(rule == "on_error: continue" ? "CHECK (n < 100)" : ""), doc json);
        INSERT INTO t SELECT n, CASE WHEN n IN (5, 6) THEN 50 ELSE 1 END, '{}' FROM generate_series(1, 20) AS n;
        UPDATE t SET doc = '{"a": "\u0000 \\u0000 é"}' WHERE id = 5; ANALYZE t
        """#)
      let compiled = try await Compiled(
        "batch: t\nsource: t\nset: {n: n * 10, doc: doc}\n\(rule)", on: server, batchSize: 7)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.rows("SELECT id FROM t WHERE n <> 10 ORDER BY id") == ["5", "6"])
      #expect(
        try await server.rows("SELECT key, row ->> 'n', row #>> '{doc,a}' FROM migrate.rejects ORDER BY key")
          == [#"{5}|50|\u0000 \u0000 é"#, "{6}|50|NULL"])
      #expect(try await Client.fix(1, "SET n = 7", on: server).text == "2 rows")
      #expect(
        try await server.rows("SELECT fixed_row ->> 'n', fixed_row #>> '{doc,a}' FROM migrate.rejects ORDER BY key")
          == [#"7|\u0000 \u0000 é"#, "7|NULL"])
      #expect(try await backEnd.retry(1, on: server).isDone)
      #expect(try await backEnd.revert(compiled, on: server).isDone)
      #expect(try await server.value("SELECT count(*) FROM t WHERE n = 1") == "18")
    }
  }

  /// As hexadecimal digits, more than jsonb has room for.
  @Test func `holds a value that is too long for jsonb`() async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, n integer CHECK (n < 100), b bytea);
        INSERT INTO t SELECT n, CASE WHEN n = 5 THEN 50 ELSE 1 END, '' FROM generate_series(1, 9) AS n;
        UPDATE t SET b = decode(repeat('ab', 135000000), 'hex') WHERE id = 5; ANALYZE t
        """)
      let compiled = try await Compiled(Self.definition, on: server)
      let told = try await Client.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(
        try await server.rows(
          #"SELECT key, row ->> 'n', row ->> 'b' LIKE '\\xabab%ab ...', length(row ->> 'b') FROM migrate.rejects"#)
          == ["{5}|50|t|1004"])
    }
  }
}
