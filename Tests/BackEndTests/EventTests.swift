import MigratePlan
import MigratePostgres
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// What `emit` says, and what a revert says of it.
@Suite struct `Events` {
  private static let tables = """
    CREATE TABLE grants (id bigint PRIMARY KEY, user_id bigint NOT NULL, state text NOT NULL);
    INSERT INTO grants SELECT n, n % 3, 'active' FROM generate_series(1, 12) AS n;
    CREATE TABLE outbox (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind text NOT NULL, users bigint[], rows bigint NOT NULL,
                         at timestamptz NOT NULL DEFAULT clock_timestamp());
    """
  private static let definition = """
    batch: expire
    source: grants
    where: state = 'active'
    steps:
      - update: grants
        set: {state: 'expired'}
      - emit: outbox
        from:
          seen: SELECT array_agg(id ORDER BY id) AS users, count(*) AS n FROM batch
        values: {kind: 'expired', users: seen.users, rows: seen.n}
        on_revert: {kind: 'restored'}
      - emit: {notify: grants}
        values: {payload: user_id::text}
        on_revert: {payload: 'restored'}

    """

  @Test(arguments: BackEnd.allCases, [1, 5, 100])
  func `are repeated by a revert as what takes them back, once for each batch`(backEnd: BackEnd, size: Int) async throws
  {
    try await withLedger { server in
      try await server.psql(Self.tables)
      let compiled = try await Compiled(Self.definition, on: server, batchSize: size)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      let said = try await server.rows("SELECT users, rows FROM outbox WHERE kind = 'expired' ORDER BY id")
      #expect(said.count == (12 + size - 1) / size)
      #expect(try await backEnd.revert(compiled, on: server).isDone)
      // From the last batch to the first.
      let repeated = try await server.rows("SELECT users, rows FROM outbox WHERE kind = 'restored' ORDER BY id DESC")
      #expect(repeated == said)
      #expect(try await server.value("SELECT count(*) FROM outbox") == "\(2 * said.count)")
    }
  }

  /// A sum over no rows is a row to SQL, and whether there is a batch of none depends on the size.
  @Test(arguments: BackEnd.allCases, [4, 6, 12])
  func `are none of a batch without rows`(backEnd: BackEnd, size: Int) async throws {
    try await withLedger { server in
      // Eligible are twelve, and rows behind them are not.
      try await server.psql(Self.tables + "INSERT INTO grants SELECT n, 1, 'closed' FROM generate_series(13, 20) AS n")
      let compiled = try await Compiled(Self.definition, on: server, batchSize: size)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(try await server.rows("SELECT count(*), min(rows) FROM outbox") == ["\(12 / size)|\(size)"])
    }
  }

  /// What is not done is not said either, and what is said is said with it.
  @Test(arguments: BackEnd.allCases, [ConflictPolicy.stop, .skip, .force])
  func `are repeated with their batch, or not at all`(backEnd: BackEnd, policy: ConflictPolicy) async throws {
    try await withLedger { server in
      try await server.psql(Self.tables)
      let compiled = try await Compiled(Self.definition, on: server, batchSize: 5)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      try await server.psql("UPDATE grants SET state = 'closed' WHERE id = 3")
      _ = try await backEnd.revert(compiled, on: server, onConflict: policy)
      let repeated = try await server.value("SELECT count(*) FROM outbox WHERE kind = 'restored'")
      let active = try await server.value("SELECT count(*) FROM grants WHERE state = 'active'")
      switch policy {
      case .stop: #expect((repeated, active) == ("0", "0"))
      case .skip: #expect((repeated, active) == ("3", "11"))
      case .force: #expect((repeated, active) == ("3", "12"))
      }
    }
  }

  @Test func `are heard by who listens, when their batch comes back`() async throws {
    try await withLedger { server in
      try await server.psql(Self.tables)
      let compiled = try await Compiled(Self.definition, on: server, batchSize: 100)
      #expect(try await BackEnd.client.apply(compiled, on: server).isDone)
      let texts = compiled.plan.statements(.revert).filter { $0.text.contains("pg_notify('grants', 'restored')") }
      #expect(texts.map(\.name) == [.restore, .restoreForced])
      #expect(try await BackEnd.client.revert(compiled, on: server).isDone)
    }
  }
}
