import MigrateLedger
import MigratePostgres
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// The times of day at which batches may run.
@Suite struct `A window of the day` {
  /// When it opens for who needs an hour, seen from a moment; `open` when it is.
  @Test(arguments: [
    // Over midnight.
    ("22:00", "05:30", "2026-01-15 12:00", "2026-01-15 22:00"), ("22:00", "05:30", "2026-01-15 23:00", "open"),
    ("22:00", "05:30", "2026-01-16 03:00", "open"), ("22:00", "05:30", "2026-01-16 04:30", "open"),
    ("22:00", "05:30", "2026-01-16 04:31", "2026-01-16 22:00"),
    // Within a day, and a whole one.
    ("01:00", "04:00", "2026-01-15 00:59", "2026-01-15 01:00"),
    ("01:00", "04:00", "2026-01-15 03:01", "2026-01-16 01:00"),
    ("00:00", "24:00", "2026-01-15 23:30", "2026-01-16 00:00"),
    // The clock goes on by an hour at two in the night to 29 March: the window has an hour less, and one inside of the gap comes an hour later.
    ("01:00", "04:00", "2026-03-29 03:01", "2026-03-30 01:00"), ("01:00", "04:00", "2026-03-29 03:00", "open"),
    ("02:10", "02:50", "2026-03-28 23:00", "2026-03-29 03:10"),
    // And back at three in the night to 25 October: an hour more.
    ("01:00", "04:00", "2026-10-25 01:30", "open"), ("01:00", "04:00", "2026-10-25 00:30", "2026-10-25 01:00"),
  ])
  func `opens at its own place's time`(opens: String, closes: String, now: String, expected: String) async throws {
    try await withLedger { server in
      try await withConnection(to: server) { try Upgrade.run($0) }
      let found = try await server.value(
        """
        SELECT CASE WHEN w.opens_at <= m.now THEN 'open' ELSE to_char(w.opens_at AT TIME ZONE 'Europe/Berlin', 'YYYY-MM-DD HH24:MI') END
        FROM  (SELECT timestamp '\(now)' AT TIME ZONE 'Europe/Berlin' AS now) AS m,
              LATERAL migrate.next_window(time '\(opens)', time '\(closes)', 'Europe/Berlin', m.now, interval '1 hour') AS w
        """)
      #expect(found == expected)
    }
  }

  /// Who needs longer than the window is would never begin; from its beginning on it may.
  @Test func `lets the longest batch begin when it opens`() async throws {
    try await withLedger { server in
      try await withConnection(to: server) { try Upgrade.run($0) }
      let rows = try await server.rows(
        """
        SELECT w.opens_at <= m.now
        FROM   unnest(ARRAY['2026-01-15 01:00Z', '2026-01-15 01:29Z', '2026-01-15 01:31Z']::timestamptz[]) AS m(now),
               LATERAL migrate.next_window('01:00', '02:00', 'UTC', m.now, interval '5 hours') AS w
        """)
      #expect(rows == ["t", "t", "f"])
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `keeps a run until it opens, and says when`(by backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 500))
      let window = try await closedWindow(server)
      let opens = try #require(
        try await server.value("SELECT to_char(now() AT TIME ZONE 'UTC' + interval '2 h', 'YYYY-MM-DD HH24:MI')"))
      let compiled = try await Compiled(Products.definition + "\nwindow: \(window) UTC\n", on: server)
      async let applied = backEnd.apply(compiled, on: server)
      try await server.wait(until: "(SELECT hold_reason IS NOT NULL FROM migrate.progress)")
      #expect(
        try await server.rows("SELECT state, hold_reason, batches FROM migrate.progress")
          == ["holding|window: opens at \(opens) UTC|0"])
      // An hour of work is done when the window closes, and what is more, a day later.
      let ends = try await server.value(
        """
        SELECT to_char(migrate.ends_at(1, interval '30 min') - interval '30 min', 'HH24:MI') = '\(opens.suffix(5))'
           AND migrate.ends_at(1, interval '90 min') - migrate.ends_at(1, interval '30 min') = interval '1 day'
        """)
      #expect(ends == "t")
      try await server.psql("SELECT migrate.cancel(1)")
      _ = try await applied
      #expect(try await server.state() == "cancelled")
    }
  }

  /// What somebody needs who must take a run back at noon.
  @Test(arguments: BackEnd.allCases)
  func `is nothing to a run that is tuned to hold for nothing, nor to its revert`(by backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 500))
      let before = try await server.rows(Products.all)
      let expected = try await server.rows(Products.expected)
      let compiled = try await Compiled(
        Products.definition + "\nwindow: \(try await closedWindow(server)) UTC\n", on: server)
      async let applied = backEnd.apply(compiled, on: server)
      try await waitUntilHolding(server)
      try await server.psql("SELECT migrate.tune(1, _holds => 'none', _reason => 'now')")
      try await waitUntil("completed", server)
      let told = try await applied
      #expect(told.isDone, "\(told.text)")
      if backEnd == .procedure {
        let cure = "HINT:  it goes on by itself, and at once by SELECT migrate.tune(1, _holds => 'none')"
        #expect(told.text.contains("run 1 holds: window: opens at ") && told.text.contains(cure), "\(told.text)")
      }
      #expect(try await server.has(expected))
      #expect(
        try await server.rows("SELECT request, requested_by = session_user, reason FROM migrate.requests")
          == ["tune|t|now"])

      async let reverted = backEnd.revert(compiled, on: server)
      try await waitUntil("reverted", server)
      let back = try await reverted
      #expect(back.isDone && !back.text.contains("holds: "), "\(back.text)")
      #expect(try await server.has(before))
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `keeps a revert, until that is tuned to hold for nothing`(by backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 500))
      let before = try await server.rows(Products.all)
      let compiled = try await Compiled(
        Products.definition + "\nwindow: \(try await closedWindow(server)) UTC\n", on: server)
      async let applied = backEnd.apply(compiled, on: server)
      try await waitUntilHolding(server)
      try await server.psql("SELECT migrate.tune(1, _holds => 'none')")
      try await waitUntil("completed", server)
      let told = try await applied
      #expect(told.isDone, "\(told.text)")
      // Nobody tunes a run that is complete; what it was told before holds on.
      try await server.psql("UPDATE migrate.tuning SET holds = 'plan'")
      try await server.psql("DELETE FROM migrate.asking")
      async let reverted = backEnd.revert(compiled, on: server)
      try await waitUntilHolding(server)
      #expect(try await server.value("SELECT count(*) FROM migrate.batches WHERE kind = 'revert'") == "0")
      try await server.psql("SELECT migrate.tune(1, _holds => 'none')")
      try await waitUntil("reverted", server)
      let back = try await reverted
      #expect(back.isDone, "\(back.text)")
      #expect(try await server.has(before))
    }
  }

  /// From in two hours until in three, by the server's own clock.
  private func closedWindow(_ server: Server) async throws -> String {
    try #require(
      try await server.value(
        "SELECT to_char(now() AT TIME ZONE 'UTC' + interval '2 h', 'HH24:MI') || '-' || to_char(now() AT TIME ZONE 'UTC' + interval '3 h', 'HH24:MI')"
      ))
  }

  private func waitUntilHolding(_ server: Server) async throws {
    try await server.wait(until: "(SELECT state = 'holding' AND hold_reason LIKE 'window: %' FROM migrate.progress)")
  }

  /// A run that stays where it is gets no window any more, so that the test fails and does not hang.
  private func waitUntil(_ state: String, _ server: Server) async throws {
    do { try await server.wait(until: "(SELECT state = '\(state)' FROM migrate.runs)") } catch {
      try await server.psql("DELETE FROM migrate.statements WHERE phase = 'holds'")
      throw error
    }
  }

  @Test func `of a zone that is not there is refused`() async throws {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 5))
      let refused = await #expect(throws: Refusal.self) {
        try await Compiled(Products.definition + "\nwindow: 22:00-05:30 Europe/Berln\n", on: server)
      }
      #expect(refused?.description.contains("no time zone \"Europe/Berln\" [bad-window]") == true)
    }
  }
}
