import Migrate
import TestSupport
import Testing

/// What the demo's definitions come to, against one statement that somebody else has written for the same.
@Suite struct `What a definition of the demo comes to` {
  struct Case: Sendable, CustomTestStringConvertible {
    let name: String
    /// One statement for all of it.
    let statement: String
    /// The table that it changes.
    let table: String

    var testDescription: String { name }
  }

  static let cases = [
    Case(
      name: "total_spent",
      statement: """
        UPDATE shop.users SET spent = t.paid
        FROM  (SELECT user_id, sum(CASE state WHEN 'paid' THEN amount END) AS paid FROM shop.orders GROUP BY user_id) AS t
        WHERE  t.user_id = users.id AND t.paid > 0
        """,
      table: "users"),
    Case(
      name: "price_by_category",
      statement: """
        UPDATE shop.products AS p
        SET    price = CASE WHEN round(p.price * s.factor, 2) > s.smallest THEN round(p.price * s.factor, 2) ELSE s.smallest END
        FROM   shop.price_strategies AS s
        WHERE  s.category = p.category AND p.status = 'active'
        """,
      table: "products"),
  ]

  @Test(arguments: cases, [(97, 1), (700, 4), (100_000, 2)])
  func `is what one statement gives, in one go or stopped in the middle, and goes back`(
    definition: Case, way: (size: Int, workers: Int)
  ) async throws {
    try await Shop.with { shop in
      let before = try await shop.sum(definition.table)
      let expected = try await shop.sum(definition.table, after: definition.statement)
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
        if way.size < 1_000 { #expect(try await shop.sum(definition.table) != expected) }
        #expect(
          try await shop.apply(definition.name, batchSize: way.size, workers: way.workers) == .completed(leftBehind: 0))
      } else {
        // All rows were in the first batch.
        #expect(first == .completed(leftBehind: 0))
      }
      #expect(try await shop.sum(definition.table) == expected)
      #expect(try await shop.revert(definition.name) == .reverted(conflicts: 0))
      #expect(try await shop.sum(definition.table) == before)
    }
  }
}

extension Shop {
  /// A number that is another one when a byte of the table is, also of what `statement` would make of it.
  fileprivate func sum(_ table: String, after statement: String? = nil) async throws -> String? {
    let sum = "SELECT count(*) || ' ' || sum(hashtextextended(t::text, 0)::numeric) FROM shop.\(table) AS t"
    // The connection ends without a COMMIT.
    let rows = try await server.psql(statement.map { "BEGIN;\n\($0);\n\(sum)" } ?? sum)
    return rows.first?.first.flatMap(\.self)
  }
}
