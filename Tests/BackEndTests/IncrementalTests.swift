import MigratePlan
import MigratePostgres
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// Runs that do what has changed since the last one.
@Suite struct `Increments` {
  private static let tables = """
    CREATE TABLE orders (id bigint PRIMARY KEY, user_id bigint NOT NULL, net numeric(8,2) NOT NULL, gross numeric(8,2),
                         updated_at timestamptz NOT NULL);
    INSERT INTO orders SELECT n, n % 5, n, NULL, '2026-01-01' FROM generate_series(1, 50) AS n;
    """
  private static let definition = """
    batch: gross
    source: orders
    incremental: updated_at
    set: {gross: net * 1.2}

    """

  private static func gross(_ server: Server) async throws -> [String] {
    try await server.rows("SELECT id FROM orders WHERE gross IS DISTINCT FROM net * 1.2 ORDER BY id")
  }

  private static func read(_ server: Server) async throws -> [String] {
    try await server.rows(
      "SELECT coalesce(sum(b.rows_read), 0) FROM migrate.runs AS r LEFT JOIN migrate.batches AS b ON b.run = r.run AND b.kind = 'apply' GROUP BY r.run ORDER BY r.run"
    )
  }

  @Test(arguments: BackEnd.allCases, [1, 7, 100])
  func `read what has changed since the last one, and all when there is none`(backEnd: BackEnd, size: Int) async throws
  {
    try await withLedger { server in
      try await server.psql(Self.tables)
      let compiled = try await Compiled(Self.definition, on: server, batchSize: size)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(try await Self.gross(server) == [])
      try await server.psql(
        "UPDATE orders SET net = net + 1, updated_at = clock_timestamp() WHERE id IN (7, 30); INSERT INTO orders VALUES (99, 1, 5, NULL, clock_timestamp())"
      )
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(try await Self.gross(server) == [])
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      let read = try await Self.read(server)
      // In the third run those may come once more that were changed within the last second of the second.
      #expect(Array(read.prefix(2)) == ["50", "3"])
      #expect(["0", "3"].contains(read[2]))
    }
  }

  /// It has its time, and writes nothing until the run is over.
  @Test(arguments: BackEnd.allCases)
  func `miss no row of a transaction that had begun before the last one`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Self.tables)
      let compiled = try await Compiled(Self.definition, on: server, batchSize: 7)
      try await withSessions("writer", to: server) { sessions in
        guard let writer = sessions["writer"] else { return }
        try await writer.execute("BEGIN; SELECT 1")
        // Longer than what two increments overlap by in any case.
        try await writer.execute("SELECT pg_sleep(2)")
        #expect(try await backEnd.apply(compiled, on: server).isDone)
        try await writer.execute("UPDATE orders SET net = 1000, updated_at = now() WHERE id = 11; COMMIT")
      }
      #expect(try await Self.gross(server) == ["11"])
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(try await Self.gross(server) == [])
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `begin where the last one began that is not taken back`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Self.tables)
      let compiled = try await Compiled(Self.definition, on: server, batchSize: 7)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      try await server.psql(
        "UPDATE orders SET net = net + 1, updated_at = clock_timestamp() + interval '1 hour' WHERE id IN (7, 30)")
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(try await backEnd.revert(compiled, on: server).isDone)
      #expect(try await Self.gross(server) == ["7", "30"])
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(try await Self.gross(server) == [])
      #expect(try await Self.read(server) == ["50", "2", "2"])
      // Another text is another rule.
      let other = try await Compiled(Self.definition + "# by another rule\n", on: server, batchSize: 7)
      #expect(try await backEnd.apply(other, on: server).isDone)
      #expect(try await Self.read(server).last == "50")
    }
  }

  @Test func `do all rows again where nobody can know when others began`() async throws {
    try await withLedger { server in
      try await server.psql(Self.tables)
      let compiled = try await Compiled(Self.definition, on: server, batchSize: 7)
      #expect(try await BackEnd.client.apply(compiled, on: server).isDone)
      #expect(try await server.value("SELECT watermark < clock_timestamp() AND since IS NULL FROM migrate.runs") == "t")
      // A prepared transaction: what it holds may come at any time.
      let isAllowed = try await server.value("SELECT current_setting('max_prepared_transactions')::int > 0") == "t"
      if isAllowed {
        try await server.psql("BEGIN; CREATE TABLE other (id bigint); PREPARE TRANSACTION 'other'")
        #expect(try await server.value("SELECT migrate.settled_until('2020-01-01') = '2020-01-01'") == "t")
        try await server.psql("ROLLBACK PREPARED 'other'")
      }
      try await withSessions("other", to: server) { sessions in
        try await sessions["other"]?.execute("BEGIN; SELECT 1")
        // A role that may not see when others' transactions began.
        let role = "blind_\(UInt32.random(in: 0...999_999))"
        try await server.psql(
          "CREATE ROLE \(role); GRANT USAGE ON SCHEMA migrate TO \(role); GRANT EXECUTE ON FUNCTION migrate.settled_until TO \(role)"
        )
        #expect(
          try await server.value("SET ROLE \(role); SELECT migrate.settled_until('2020-01-01') = '2020-01-01'") == "t")
        #expect(
          try await server.value("SELECT migrate.settled_until('2020-01-01') > clock_timestamp() - interval '1 min'")
            == "t")
        try await server.psql("DROP OWNED BY \(role); DROP ROLE \(role)")
      }
    }
  }
}
