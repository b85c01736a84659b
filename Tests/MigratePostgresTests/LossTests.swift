import MigratePostgres
import TestSupport
import Testing

@Suite struct `A lost connection` {
  /// P02
  @Test func `P02: is known by its error when an administrator ends the backend`() async throws {
    try await withDatabase { server in
      try await withConnection(to: server) { connection in
        let other = try Connection(to: server)
        try other.query("SELECT pg_terminate_backend($1::int, 10000)", ["\(connection.backendPID)"])
        let error = #expect(throws: PostgresError.self) { try connection.query("SELECT 1") }
        #expect(error?.sqlState == .adminShutdown && error?.class == .environment && error?.origin == .server)
        #expect(error?.endsConnection == true && connection.isBroken && connection.transactionStatus == .unknown)

        let again = #expect(throws: PostgresError.self) { try connection.execute("SELECT 1") }
        #expect(again?.origin == .lost && again?.sqlState == nil && again?.class == .transient)
        #expect(again?.endsConnection == true)
      }
    }
  }

  /// P04
  @Test func `P04: is told from a failed statement when the server crashes, and the server comes back`() async throws {
    try await TestCluster.withOwn { cluster in
      try await cluster.server.psql("CREATE TABLE t AS SELECT 1 AS n")
      let session = try await Session("victim", to: cluster.server)
      try session.start("SELECT pg_sleep(60)")
      try await cluster.stop(immediately: true)
      let error = await #expect(throws: PostgresError.self) { try await session.finish() }
      #expect(error?.endsConnection == true)
      #expect(error?.origin == .lost || error?.sqlState == .crashShutdown)
      try await session.close()

      let refused = await #expect(throws: PostgresError.self) { try await cluster.server.psql("SELECT 1") }
      #expect(refused?.origin == .connecting && refused?.class == .transient && refused?.sqlState == nil)
      #expect(refused?.tellsOfDownServer == true)

      try await cluster.start()
      #expect(try await cluster.server.psql("SELECT n FROM t") == [["1"]])
    }
  }

  @Test func `has a state when the server refuses it`() async throws {
    try await withDatabase { server in
      let refusals = [
        (server.database("no such"), SQLState("3D000"), "database \"no such\" does not exist"),
        (server.setting("user", "no such"), SQLState("28000"), "role \"no such\" does not exist"),
        // The same over libpq's own way of trying several hosts.
        (server.setting("host", "/nonexistent,/nonexistent"), nil, "No such file or directory"),
      ]
      for (refusing, state, text) in refusals {
        let error = await #expect(throws: PostgresError.self) { try await refusing.psql("SELECT 1") }
        #expect(error?.origin == .connecting && error?.sqlState == state && error?.endsConnection == true)
        #expect(error?.message.hasSuffix(text) == true || error?.message.contains(text) == true)
        #expect(error?.message.contains("LOCATION") == false && error?.message.contains("3D000") == false)
        #expect(error?.tellsOfDownServer == (state == nil))
      }
    }
  }

  @Test(.timeLimit(.minutes(5))) func `does not wait for ever for a server that is silent`() async throws {
    // A socket that nobody accepts from.
    let silent = try SilentServer()
    let server = Server().setting("host", "127.0.0.1").setting("port", "\(silent.port)").setting("connect_timeout", "1")
    let error = await #expect(throws: PostgresError.self) { try await server.psql("SELECT 1") }
    #expect(error?.origin == .connecting && error?.class == .transient)
    #expect(error?.tellsOfDownServer == false)
  }
}

@Suite struct `A cancellation` {
  /// P08
  @Test func `P08: from another thread ends the statement and leaves the connection`() async throws {
    try await withDatabase { server in
      try await withSessions("sleeper", to: server) { sessions in
        let sleeper = try #require(sessions["sleeper"])
        try sleeper.start("SELECT pg_sleep(600)")
        try await waitUntilActive(sleeper, server)
        try await sleeper.cancel()
        let error = await #expect(throws: PostgresError.self) { try await sleeper.finish() }
        #expect(error?.sqlState == .queryCanceled && error?.endsConnection == false)
        #expect(try await sleeper.execute("SELECT 1").onlyRow[0] == "1")
      }
    }
  }

  private func waitUntilActive(_ session: Session, _ server: Server) async throws {
    let pid = try await session.pid
    try await withConnection(to: server) { connection in
      let question = "SELECT FROM pg_stat_activity WHERE pid = $1::int AND wait_event = 'PgSleep'"
      while try connection.query(question, ["\(pid)"]).isEmpty { try connection.execute("SELECT pg_sleep(0.002)") }
    }
  }

  @Test func `without a statement, or after the connection's end, does nothing`() async throws {
    try await withDatabase { server in
      let cancellation = try await withConnection(to: server) { connection in
        #expect(connection.cancellation.cancel())
        return connection.cancellation
      }
      try await onThread { _ = cancellation.cancel() }
    }
  }
}

@Suite struct `Threads of connections` {
  @Test(.timeLimit(.minutes(10))) func `are more than Swift's pool has, and wait for each other`() async throws {
    try await withDatabase { server in
      let count = 40
      try await server.psql("CREATE TABLE t AS SELECT 0 AS n")
      // The first has the lock until all others are seen to wait for it: on the pool they would never all get there.
      try await withThrowingTaskGroup(of: Void.self) { group in
        let holder = try await Session("holder", to: server)
        try await holder.execute("BEGIN; LOCK t")
        for _ in 1...count {
          group.addTask { try await withConnection(to: server) { _ = try $0.execute("UPDATE t SET n = n + 1") } }
        }
        try await withConnection(to: server) { connection in
          let question = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 't'::regclass"
          while try connection.query(question).onlyRow.int(0) < count {
            try connection.execute("SELECT pg_sleep(0.002)")
          }
        }
        try await holder.execute("COMMIT")
        try await holder.close()
        try await group.waitForAll()
      }
      #expect(try await server.psql("SELECT n FROM t") == [["\(count)"]])
    }
  }

  @Test func `pass on what the body throws`() async throws {
    struct Odd: Error {}
    try await withDatabase { server in
      await #expect(throws: Odd.self) { try await withConnection(to: server) { _ in throw Odd() } }
    }
  }
}
