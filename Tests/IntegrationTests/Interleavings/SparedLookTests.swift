import Migrate
import MigratePlan
import RunTestSupport
import TestSupport
import Testing

/// A batch may be spared the look at its table when nobody can have changed it since the last one: the transactions' numbers tell.
/// In clusters of their own: numbers are given out for all databases together.
@Suite struct `The look at the table before a batch` {
  private func withQuietCluster(_ body: @escaping @Sendable (TestCluster) async throws -> Void) async throws {
    try await TestCluster.withOwn(settings: ["autovacuum": "off", "track_functions": "all"]) { try await body($0) }
  }

  /// How often it was taken, by all workers that have gone.
  private func looks(_ shop: Shop) async throws -> Int {
    try await shop.trial.wait(
      until: "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE 'migrate run%')")
    let calls = try await shop.trial.value(
      "SELECT coalesce(pg_stat_get_function_calls('migrate.changes(bigint, boolean)'::regprocedure), 0)")
    return calls.flatMap { Int($0) } ?? 0
  }

  @Test func `is left out by a run that is alone, but for the first batch`() async throws {
    try await withQuietCluster { cluster in
      let shop = try await Shop(cluster.server, rows: 50)
      #expect(try await shop.trial.apply(try await shop.begin()) == .completed(leftBehind: 0))
      let alone = try await looks(shop)
      // While it waits for writers, when the upper end is fixed, for the first batch, and at the end.
      #expect(alone == 4)
      try await withSessions("other", to: shop.server) { sessions in
        try await sessions["other"]?.execute("BEGIN; SELECT pg_current_xact_id()")
        let run = try await shop.trial.begin(try await shop.trial.plan(Shop.definition).overlooking("a_oracle"))
        #expect(try await shop.trial.apply(run) == .completed(leftBehind: 0))
      }
      // With another one at work the four batches behind the first look as well.
      #expect(try await looks(shop) - alone == alone + 4)
    }
  }

  /// When a transaction gets its number, and when it changes the table and commits.
  struct Other: CustomTestStringConvertible {
    enum Moment {
      case start
      /// In the first batch, behind its snapshot and before its number.
      case beforeNumber
      /// In the first batch, behind its number.
      case behindNumber
      case behindBatch(Int)
    }

    let testDescription: String
    let number: Moment
    /// Another one gets a number in between.
    var isSecond = false
    let commitsBehind: Int

    static let all = [
      Other(testDescription: "has its number from before the run", number: .start, commitsBehind: 1),
      Other(testDescription: "has its number from before the run, two batches later", number: .start, commitsBehind: 2),
      Other(
        testDescription: "gets its number between snapshot and number of the batch", number: .beforeNumber,
        commitsBehind: 1),
      Other(testDescription: "gets its number in the batch, behind it", number: .behindNumber, commitsBehind: 1),
      Other(
        testDescription: "gets its number in the batch, two batches later", number: .behindNumber, commitsBehind: 2),
      Other(testDescription: "gets its number between two batches", number: .behindBatch(1), commitsBehind: 1),
      Other(
        testDescription: "gets its number between two batches, one later", number: .behindBatch(1), commitsBehind: 2),
      Other(
        testDescription: "gets its number between two batches, behind one that is open", number: .behindBatch(1),
        isSecond: true, commitsBehind: 1),
    ]
  }

  static let changes = [
    "CREATE TRIGGER late BEFORE UPDATE ON shop.products FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    """
    ALTER SCHEMA shop RENAME TO blue; CREATE SCHEMA shop; CREATE TABLE shop.products (LIKE blue.products INCLUDING ALL);
    INSERT INTO shop.products TABLE blue.products
    """,
  ]

  /// P21; one case after the other, since each must be alone.
  @Test(arguments: changes) func `P21: is taken when another transaction may have changed it`(change: String)
    async throws
  {
    try await withQuietCluster { cluster in
      for other in Other.all {
        try await cluster.withDatabase { server in try await meet(other, change, Shop(server, rows: 50)) }
      }
    }
  }

  private func meet(_ other: Other, _ change: String, _ shop: Shop) async throws {
    let gate = "SELECT FROM pg_advisory_xact_lock_shared(7) AS gate(held) WHERE gate.held IS NULL"
    let run = try await shop.begin(edit: { plan in
      switch other.number {
      case .beforeNumber: try plan.patient().inserting(gate, before: .capture)
      case .behindNumber: try plan.patient().inserting(gate, before: .finish)
      case .start, .behindBatch: plan
      }
    })
    try await withSessions("other", "open", to: shop.server) { sessions in
      let session = try #require(sessions["other"])
      let open = try #require(sessions["open"])
      try await session.execute("BEGIN")
      let events = Events { event in
        guard case .batch(let record) = event else { return }
        waiting {
          if case .behindBatch(record.ordinal) = other.number {
            if other.isSecond { try await open.execute("BEGIN; SELECT pg_current_xact_id()") }
            try await session.execute("SELECT pg_current_xact_id()")
          }
          if record.ordinal == other.commitsBehind { try await session.execute("\(change); COMMIT") }
        }
      }
      if case .start = other.number { try await session.execute("SELECT pg_current_xact_id()") }
      let outcome: RunOutcome
      switch other.number {
      case .start, .behindBatch: outcome = try await shop.trial.apply(run, events: events)
      case .beforeNumber, .behindNumber:
        try await open.execute("SELECT pg_advisory_lock(7)")
        outcome = try await shop.trial.applying(run, events: events) {
          try await shop.trial.waitUntilWorkerBlocked(by: open)
          try await session.execute("SELECT pg_current_xact_id()")
          try await open.execute("SELECT pg_advisory_unlock(7)")
        }
      }
      guard case .failed(let failure) = outcome else {
        Issue.record("\(other): it has not stopped: \(outcome)")
        return
      }
      #expect(failure.sqlState == "55000")
      #expect(
        failure.message.contains("trigger late fires") || failure.message.contains("is another table now"),
        "\(other): \(failure.message)")
    }
    #expect(try await shop.trial.value("SELECT count(*) FROM migrate.batches") == "\(other.commitsBehind)")
  }
}

/// Blocks the thread, which is a worker's, until `body` is done.
private func waiting(_ body: @escaping @Sendable () async throws -> Void) {
  let reply = Reply<Void>()
  Task {
    do { try await body() } catch { Issue.record(error) }
    reply.give(.success(()))
  }
  while !reply.isKnown { pauseBriefly() }
}
