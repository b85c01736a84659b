import MigrateLedger
import MigratePostgres
import MigrateSQLFiles
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// A database need not know all characters.
@Suite struct `A database in an encoding of one byte a character` {
  /// Of another one not even that is known of Latin.
  @Test func `meets nothing but ASCII in what the program brings along`() {
    for script in Scripts.ledger + [Scripts.catalog] {
      #expect(script.split(separator: "\n").filter { !$0.utf8.allSatisfy { $0 < 128 } } == [])
    }
  }

  /// Nor does it say whether a backslash in a literal escapes: standard_conforming_strings may be off.
  @Test func `meets no backslash in a plain literal either`() throws {
    let literal = /(?:^|[^A-Za-z0-9_'])'(?:[^']|'')*'/
    for script in Scripts.ledger {
      for line in script.split(separator: "\n") where !line.drop(while: { $0 == " " }).hasPrefix("--") {
        #expect(!line.matches(of: literal).contains { $0.output.contains("\\") }, "\(line)")
      }
    }
  }

  @Test func `has the ledger, and runs`() async throws {
    try await withDatabase { server in
      let name = "latin_\(UInt32.random(in: 0 ... .max))"
      try await server.psql(
        "CREATE DATABASE \(name) TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'")
      let latin = server.database(name)
      do {
        try await withConnection(to: latin) { connection in try Upgrade.run(connection) }
        try await latin.psql(
          "CREATE TABLE t (id integer PRIMARY KEY, v text); INSERT INTO t SELECT n, 'é' FROM generate_series(1, 9) AS n; ANALYZE t"
        )
        for backEnd in BackEnd.allCases {
          let compiled = try await Compiled("batch: t\nsource: t\nset: {v: v || '!'}", on: latin, batchSize: 4)
          #expect(try await backEnd.apply(compiled, on: latin).isDone)
          #expect(try await latin.rows("SELECT DISTINCT v FROM t") == ["é!"])
          #expect(try await backEnd.revert(compiled, on: latin).isDone)
        }
      } catch { Issue.record(error) }
      try await server.psql("DROP DATABASE \(name) WITH (FORCE)")
    }
  }
}
