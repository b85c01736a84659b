import Migrate
import TestSupport
import Testing

/// What the demo's definitions come to, against one statement that somebody else has written for the same.
@Suite struct `What a definition of the demo comes to` {
  struct Case: Sendable, CustomTestStringConvertible {
    let name: String
    /// One statement for all of it, or a few that are one transaction.
    let statement: String
    /// The rows that it changes, behind FROM.
    let rows: [String]

    var testDescription: String { name }

    var goesBack: Bool {
      get throws { if case .none = try Shop.definition(name).operation.undo { false } else { true } }
    }
  }

  static let cases = [
    Case(
      name: "total_spent",
      statement: """
        UPDATE shop.users SET spent = t.paid
        FROM  (SELECT user_id, sum(CASE state WHEN 'paid' THEN amount END) AS paid FROM shop.orders GROUP BY user_id) AS t
        WHERE  t.user_id = users.id AND t.paid > 0
        """,
      rows: ["shop.users"]),
    Case(
      name: "vip_level",
      statement: """
        UPDATE shop.users
        SET    vip_level = CAST(CASE WHEN spent >= 20000 THEN 'diamond' WHEN spent >= 14000 THEN 'gold'
                                     WHEN spent >= 8000 THEN 'silver' ELSE 'bronze' END AS shop.vip_level)
        """,
      rows: ["shop.users"]),
    Case(
      name: "price_by_category",
      statement: """
        UPDATE shop.products AS p
        SET    price = CASE WHEN round(p.price * s.factor, 2) > s.smallest THEN round(p.price * s.factor, 2) ELSE s.smallest END
        FROM   shop.price_strategies AS s
        WHERE  s.category = p.category AND p.status = 'active'
        """,
      rows: ["shop.products"]),
    Case(
      name: "expire_points",
      statement: """
        CREATE TEMP TABLE gone AS SELECT * FROM shop.point_grants WHERE expires_at <= '2026-01-01Z' AND state = 'active';
        UPDATE shop.point_grants SET state = 'expired' WHERE id IN (SELECT id FROM gone);
        INSERT INTO shop.point_ledger (user_id, delta, reason, booked_at)
        SELECT user_id, -points, 'expired', '2026-01-01Z' FROM gone;
        UPDATE shop.balances AS b SET points = b.points - g.points
        FROM  (SELECT user_id, sum(points) AS points FROM gone GROUP BY user_id) AS g WHERE g.user_id = b.user_id
        """,
      // The ledger's numbers depend on who comes first.
      rows: [
        "shop.point_grants", "shop.balances", "(SELECT user_id, delta, reason, booked_at FROM shop.point_ledger)",
      ]),
  ]

  @Test(arguments: cases + moreCases)
  func `is what one statement gives, in one go or stopped in the middle, and goes back`(definition: Case) async throws {
    let ways = [(size: 97, workers: 1), (700, 4), (100_000, 2)]
    for way in Sample.some(ways, 1, of: "oracle \(definition)") { try await compare(definition, way) }
  }

  private func compare(_ definition: Case, _ way: (size: Int, workers: Int)) async throws {
    try await Shop.with { shop in
      for needed in try Shop.definition(definition.name).operation.needs {
        #expect(try await shop.apply(needed.value) == .completed(leftBehind: 0))
      }
      let before = try await shop.sum(definition.rows)
      let expected = try await shop.sum(definition.rows, after: definition.statement)
      #expect(before != expected)
      let control = RunControl()
      let first = try await shop.apply(
        definition.name, batchSize: way.size, workers: way.workers, control: control
      ) { event in
        // At the edge of the first batch.
        if case .batch = event { control.requestStop() }
      }
      if first == .paused {
        // The largest has all rows in its first batch.
        let rows = try await shop.plan(definition.name).plan.estimate.rows
        if way.size < 100, rows > way.size { #expect(try await shop.sum(definition.rows) != expected) }
        #expect(
          try await shop.apply(definition.name, batchSize: way.size, workers: way.workers) == .completed(leftBehind: 0))
      } else {
        // All rows were in the first batch.
        #expect(first == .completed(leftBehind: 0))
      }
      #expect(try await shop.sum(definition.rows) == expected)
      guard try definition.goesBack else { return }
      #expect(try await shop.revert(definition.name) == .reverted(conflicts: 0))
      #expect(try await shop.sum(definition.rows) == before)
    }
  }
}

extension Shop {
  /// Numbers of which one is another when a byte of the rows is, also of what `statement` would make of it.
  func sum(_ rows: [String], after statement: String? = nil) async throws -> String? {
    let sums = rows.map {
      "SELECT count(*) AS rows, coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) AS sum FROM \($0) AS t"
    }
    let sum = "SELECT string_agg(rows || ' ' || sum, ', ') FROM (\(sums.joined(separator: " UNION ALL "))) AS s"
    // The connection ends without a COMMIT.
    let rows = try await server.psql(statement.map { "BEGIN;\n\($0);\n\(sum)" } ?? sum)
    return rows.first?.first.flatMap(\.self)
  }
}
