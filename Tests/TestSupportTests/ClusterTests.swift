import MigratePostgres
import TestSupport
import Testing

@Suite struct `A test's database` {
  @Test func `is its own and empty`() async throws {
    try await withDatabase { first in
      try await withDatabase { second in
        try await first.psql("CREATE TABLE t (n int)")
        #expect(try await second.psql("SELECT to_regclass('t')") == [[nil]])
        #expect(try await first.psql("SELECT 1, NULL; SELECT count(*), 'x' FROM t") == [["0", "x"]])
      }
    }
  }

  @Test func `is dropped when the test fails, and under whoever is still connected`() async throws {
    let cluster = try await TestCluster.shared
    struct Failed: Error { let database: String }
    let failed = await #expect(throws: Failed.self) {
      try await withDatabase { server in
        _ = try await Session("left over", to: server)
        let name = try await server.psql("SELECT current_database()")
        throw Failed(database: name.first?.first.flatMap(\.self) ?? "")
      }
    }
    let name = try #require(failed?.database)
    #expect(try await cluster.server.psql("SELECT FROM pg_database WHERE datname = '\(name)'").isEmpty)
  }
}

@Suite struct `The server's log` {
  @Test func `holds the statements of an application, whole and in order`() async throws {
    let log = try await TestCluster.shared.log
    try await withDatabase(loggingStatements: true) { server in
      let mark = try await log.mark(server)
      let long = "SELECT '\(String(repeating: "é\n\"\\", count: 20_000))' AS long"
      try await withConnection(to: server.applicationName("subject")) { connection in
        try connection.execute("BEGIN; SET LOCAL lock_timeout = '7s'")
        try connection.query("SELECT $1::bigint,\n  $2::text", ["7", nil])
        try connection.execute(long)
        try connection.execute("COMMIT")
      }
      try await server.psql("SELECT 'another application'")
      let statements = try await log.statements(application: "subject", since: mark, server)
      #expect(
        statements.map(\.text) == [
          "BEGIN; SET LOCAL lock_timeout = '7s'", "SELECT $1::bigint,\n  $2::text", long, "COMMIT",
        ])
      #expect(statements.map(\.parameters) == [nil, "parameters: $1 = '7', $2 = NULL", nil, nil])
      #expect(Set(statements.map(\.pid)).count == 1)
      let later = try await log.mark(server)
      #expect(try await log.statements(application: "subject", since: later, server).isEmpty)
      #expect(try await log.statements(application: nil, since: mark, server).contains { $0.text.contains("another") })
    }
  }
}
