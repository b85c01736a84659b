import Migrate
import RunTestSupport
import TestSupport
import Testing

/// Looking back for rows that came in behind the batches means reading the table. Where nobody but the run has written anything,
/// which the transactions' numbers tell, there is nothing to look for. In clusters of their own: numbers are given out for all
/// databases together.
@Suite struct `Whether others have written` {
  private func withQuietShop(_ body: @escaping @Sendable (Shop) async throws -> Void) async throws {
    try await TestCluster.withOwn(settings: ["autovacuum": "off"]) { cluster in
      try await cluster.withDatabase { server in try await body(Shop(server)) }
    }
  }

  /// Counts a row when the run says that others have written, and none when not.
  private static func telling(_ plan: Plan) -> Plan {
    plan.editing(.finish) { statement in
      guard statement.name == .leftBehind else { return [statement] }
      return [statement.with(text: "SELECT CASE WHEN $2::boolean THEN 1 ELSE 0 END")]
    }
  }

  @Test func `no: a run that was alone`() async throws {
    try await withQuietShop { shop in
      let run = try await shop.begin(edit: Self.telling)
      #expect(try await shop.trial.apply(run) == .completed(leftBehind: 0))
    }
  }

  @Test func `yes: somebody who wrote another table between two batches`() async throws {
    try await withQuietShop { shop in
      let run = try await shop.begin(edit: Self.telling)
      let (first, written) = (Reply<Void>(), Reply<Void>())
      let server = shop.server
      Task {
        _ = try? await first.value
        _ = try? await server.psql("CREATE TABLE elsewhere ()")
        written.give(.success(()))
      }
      let events = Events { event in
        guard case .batch(let record) = event, record.ordinal == 1 else { return }
        first.give(.success(()))
        while !written.isKnown { pauseBriefly() }
      }
      #expect(try await shop.trial.apply(run, events: events) == .completed(leftBehind: 1))
    }
  }

  @Test func `yes: somebody who had a number when the upper end was fixed, and has not written yet`() async throws {
    try await withQuietShop { shop in
      let run = try await shop.begin(edit: Self.telling)
      try await withSessions("writer", to: shop.server) { sessions in
        let writer = try #require(sessions["writer"])
        try await writer.execute("BEGIN; SELECT pg_current_xact_id()")
        #expect(try await shop.trial.apply(run) == .completed(leftBehind: 1))
        try await writer.execute("ROLLBACK")
      }
    }
  }

  @Test func `keeps the table from being read when not`() async throws {
    try await withQuietShop { shop in
      let plan = try await shop.trial.plan(Shop.definition)
      let statement = try #require(plan.phases.flatMap(\.statements).first { $0.name == .leftBehind })
      #expect(statement.arguments == ["upper.1", "others", "horizon", "transactions"])
      let run = try await shop.trial.begin(plan)
      let text = statement.text(ofRun: run)
      for (others, isRead) in [("false", false), ("true", true)] {
        let explained = try await shop.server.psql(
          """
          PREPARE look (bigint, boolean, bigint, xid[]) AS \(text);
          EXPLAIN (COSTS off) EXECUTE look(200, \(others), 0, '{}')
          """
        ).flatMap { $0.compactMap { $0 } }.joined(separator: "\n")
        #expect(explained.contains("on products") == isRead, "\(explained)")
        #expect(explained.contains("One-Time Filter: false") == !isRead, "\(explained)")
      }
    }
  }
}
