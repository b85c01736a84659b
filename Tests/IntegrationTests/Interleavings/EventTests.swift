import MigratePostgres
import RunTestSupport
import TestSupport
import Testing

/// What happens to a run, from two sessions at once.
@Suite struct `Events that meet` {
  /// P16. The second waits for the first; all pairs of which the second fits what the first has made of the run.
  @Test func `P16: follow one upon the other, and none is lost`() async throws {
    try await withShop { shop in
      let run = try await shop.begin()
      let pairs = try await shop.server.psql(
        """
        SELECT a.state, CASE a.event WHEN 'revert_requested' THEN 'apply' ELSE a.direction END, a.event, b.event, b.next
        FROM   migrate.transitions AS a
        JOIN   migrate.transitions AS b ON b.state = a.next AND b.direction = CASE b.event WHEN 'revert_requested' THEN 'revert' ELSE a.direction END
        ORDER  BY 1, 2, 3, 4
        """)
      #expect(pairs.count > 100)
      try await withSessions("first", "second", to: shop.server) { sessions in
        let (first, second) = (try #require(sessions["first"]), try #require(sessions["second"]))
        for pair in pairs {
          let words = pair.map { $0 ?? "" }
          try await shop.server.psql(
            "UPDATE migrate.runs SET state = '\(words[0])', direction = '\(words[1])' WHERE run = \(run)")
          try await first.execute("BEGIN; SELECT migrate.advance(\(run), '\(words[2])')")
          try second.start("SELECT migrate.advance(\(run), '\(words[3])')")
          try await second.waitUntilBlocked(by: first)
          try await first.execute("COMMIT")
          try await second.finish()
          #expect(try await shop.trial.state(run) == words[4], "\(words)")
        }
      }
    }
  }
}
