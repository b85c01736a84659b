import MigratePostgres
import MigrateRunner
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

  /// P16. What it fails by is written down with the state, and only then.
  @Test func `P16: are told with their reason when a batch fails between them`() async throws {
    try await withShop { shop in
      let run = try await shop.begin()
      try await withSessions("first", "second", to: shop.server) { sessions in
        let (first, second) = (try #require(sessions["first"]), try #require(sessions["second"]))
        for (request, event, state, message) in [
          ("pause", "batch_failed", "failed", "no"), ("pause", "pause_requested", "pausing", "no"),
          ("cancel", "batch_failed", "cancelled", ""), ("cancel", "pause_requested", "cancelling", ""),
        ] {
          try await shop.server.psql("UPDATE migrate.runs SET state = 'running', failure = NULL WHERE run = \(run)")
          try await first.execute("BEGIN; SELECT migrate.advance(\(run), '\(request)_requested')")
          try second.start(
            "SELECT migrate.fail(\(run), '\(event)', '53100', 'no', NULL, NULL, NULL, NULL, NULL, NULL)")
          try await second.waitUntilBlocked(by: first)
          try await first.execute("COMMIT")
          try await second.finish()
          #expect(
            try await shop.server.psql("SELECT state, coalesce(failure ->> 'message', '') FROM migrate.runs")
              == [[state, message]], "\(request), \(event)")
        }
      }
    }
  }

  /// P16. The one who works is told what has become of the run, and not what the batch would have made of it.
  @Test(arguments: [false, true]) func `P16: end the run as it was asked, though its last batch fails`(
    byProcedure: Bool
  ) async throws {
    try await withShop { shop in
      try await shop.server.psql(
        """
        CREATE FUNCTION shop.gate() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_advisory_xact_lock_shared(7); RAISE 'no'; END $$;
        CREATE TRIGGER gate BEFORE UPDATE ON shop.products FOR EACH ROW EXECUTE FUNCTION shop.gate()
        """)
      let run = try await shop.begin(edit: { try $0.patient() })
      try await withSessions("gate", "driver", to: shop.server) { sessions in
        let (gate, driver) = (try #require(sessions["gate"]), try #require(sessions["driver"]))
        try await gate.execute("SELECT pg_advisory_lock(7)")
        let meet: () async throws -> Void = {
          try await shop.server.psql("SELECT migrate.cancel(\(run))")
          try await gate.execute("SELECT pg_advisory_unlock(7)")
        }
        if byProcedure {
          try driver.start("CALL migrate.drive(\(run), 1)")
          try await driver.waitUntilBlocked(by: gate)
          try await meet()
          try await driver.finish()
        } else {
          let outcome = try await shop.trial.applying(run) {
            try await shop.trial.waitUntilWorkerBlocked(by: gate)
            try await meet()
          }
          #expect(outcome == .cancelled)
        }
      }
      #expect(try await shop.trial.state(run) == "cancelled")
    }
  }
}
