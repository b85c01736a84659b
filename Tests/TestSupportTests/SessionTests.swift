import MigratePostgres
import TestSupport
import Testing

@Suite struct `A session` {
  @Test func `is seen to wait for another, and goes on when that lets go`() async throws {
    try await withDatabase { server in
      try await server.psql("CREATE TABLE t AS SELECT 1 AS n")
      try await withSessions("first", "second", to: server) { sessions in
        let (first, second) = (try #require(sessions["first"]), try #require(sessions["second"]))
        try await first.execute("BEGIN; UPDATE t SET n = 2")
        try second.start("UPDATE t SET n = n * 10 RETURNING n")
        try await second.waitUntilBlocked(by: first)
        try await first.execute("COMMIT")
        #expect(try await second.finish().onlyRow.int("n") == 20)
      }
    }
  }

  @Test func `that does not wait is reported, not waited for`() async throws {
    try await withDatabase { server in
      try await withSessions("first", "second", to: server) { sessions in
        let (first, second) = (try #require(sessions["first"]), try #require(sessions["second"]))
        try second.start("SELECT $1::int", ["1"])
        await #expect(throws: TestSupportError.self) { try await second.waitUntilBlocked(by: first) }
        #expect(throws: TestSupportError.self) { try second.start("SELECT 1") }
        try await second.finish()

        try second.start("SELECT pg_sleep(600)")
        let error = await #expect(throws: TestSupportError.self) {
          try await second.waitUntilBlocked(by: first, patience: .milliseconds(50))
        }
        #expect(error?.description.contains("pg_sleep(600)") == true)
        // The sessions are closed with the statement running.
      }
    }
  }

  @Test func `that loses a deadlock gives the error`() async throws {
    try await withDatabase { server in
      try await server.psql("CREATE TABLE t AS SELECT n FROM generate_series(1, 2) n")
      try await withSessions("first", "second", to: server) { sessions in
        let (first, second) = (try #require(sessions["first"]), try #require(sessions["second"]))
        for (session, n) in [(first, 1), (second, 2)] {
          try await session.execute("SET deadlock_timeout = '20ms'; BEGIN; UPDATE t SET n = n WHERE n = \(n)")
        }
        try first.start("UPDATE t SET n = n WHERE n = 2")
        try await first.waitUntilBlocked(by: second)
        try second.start("UPDATE t SET n = n WHERE n = 1")
        var errors: [PostgresError] = []
        for session in [first, second] {
          do { try await session.finish() } catch let error as PostgresError {
            errors.append(error)
            try await session.execute("ROLLBACK")
          }
        }
        #expect(errors.map(\.sqlState) == [.deadlockDetected] && errors.allSatisfy { $0.class == .transient })
      }
    }
  }

  @Test func `to a server that refuses is an error at once`() async throws {
    try await withDatabase { server in
      await #expect(throws: PostgresError.self) { try await Session("x", to: server.database("no such")) }
    }
  }
}
