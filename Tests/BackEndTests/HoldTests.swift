import Foundation
import MigrateLedger
import MigratePostgres
import MigrateRunner
import MigrateTestSupport
import Synchronization
import TestRuns
import TestSupport
import Testing

/// A run that stands still for as long as something is so, and goes on by itself.
@Suite struct `A run that holds` {
  private static let held =
    Products.definition + """

      batch_size: 100
      throttle:
        hold_when:
          backup: SELECT 1 FROM backups WHERE finished IS NULL AND host <> :host
      """

  private func withBackups(_ body: (Server, Compiled) async throws -> Void) async throws {
    try await withLedger { server in
      try await server.psql(
        Products.table(rows: 1_000)
          + "CREATE TABLE backups (host text, finished date); INSERT INTO backups VALUES ('a')")
      let yaml = Self.held.replacing("{multiplier: {", with: "{host: {type: text, default: b}, multiplier: {")
      try await body(server, try await Compiled(yaml, on: server))
    }
  }

  /// Applies while `body` goes on. When that throws, the run is cancelled, so that the test fails and does not hang.
  func applying(_ compiled: Compiled, on server: Server, _ body: () async throws -> Void) async throws -> Told {
    async let applied = Client.apply(compiled, on: server)
    do { try await body() } catch {
      _ = try? await server.psql("SELECT migrate.cancel(1)")
      throw error
    }
    return try await applied
  }

  /// Where it does not come to that the run is cancelled, for the same reason.
  func waitUntilHolding(_ server: Server) async throws {
    do {
      try await server.wait(until: "(SELECT state = 'holding' AND hold_reason IS NOT NULL FROM migrate.progress)")
    } catch {
      _ = try? await server.psql("SELECT migrate.cancel(1)")
      throw error
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `says why and since when, and goes on when that is over`(by backEnd: BackEnd) async throws {
    try await withBackups { server, compiled in
      let expected = try await server.rows(Products.expected)
      async let applied = backEnd.apply(compiled, on: server)
      try await waitUntilHolding(server)
      #expect(
        try await server.rows("SELECT hold_reason, held_since <= clock_timestamp(), batches FROM migrate.progress") == [
          "backup: its query finds a row|t|0"
        ])
      try await server.psql("UPDATE backups SET finished = current_date")
      let told = try await applied
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.has(expected))
      #expect(
        try await server.rows(
          "SELECT r.hold_reason, r.held_since, h.held > '0', r.state FROM migrate.history AS h JOIN migrate.runs AS r USING (run)"
        ) == ["NULL|NULL|t|completed"])
    }
  }

  @Test(arguments: BackEnd.allCases, ["pause", "cancel"])
  func `hears within two seconds what is asked of it`(by backEnd: BackEnd, request: String) async throws {
    try await withBackups { server, compiled in
      async let applied = backEnd.apply(compiled, on: server)
      try await waitUntilHolding(server)
      let clock = ContinuousClock.now
      try await server.psql("SELECT migrate.\(request)(1)")
      let reached = request == "pause" ? "paused" : "cancelled"
      try await server.wait(until: "(SELECT state = '\(reached)' FROM migrate.runs)")
      #expect(ContinuousClock.now - clock < .seconds(2))
      if request == "pause" { try await server.psql("SELECT migrate.cancel(1)") }
      _ = try await applied
    }
  }

  /// The procedure ends at a pause, so its CALL is another one then.
  @Test(arguments: BackEnd.allCases)
  func `holds on the way back, too`(by backEnd: BackEnd) async throws {
    try await withBackups { server, compiled in
      let before = try await server.rows(Products.all)
      try await server.psql("UPDATE backups SET finished = current_date")
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      try await server.psql("UPDATE backups SET finished = NULL")
      // However short a time ago it was asked last.
      async let reverted = backEnd.revert(compiled, on: server)
      try await waitUntilHolding(server)
      #expect(try await server.value("SELECT direction FROM migrate.progress") == "revert")
      try await server.psql("DELETE FROM backups")
      let told = try await reverted
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.has(before))
    }
  }

  /// However short a time ago it was asked last whether it shall.
  @Test(arguments: BackEnd.allCases)
  func `holds at once when somebody goes on with it`(by backEnd: BackEnd) async throws {
    try await withBackups { server, compiled in
      let control = RunControl()
      async let first = Client.apply(compiled, on: server, control: control)
      try await waitUntilHolding(server)
      control.requestStop()
      #expect(try await first.text == "paused")
      #expect(try await server.state() == "paused")
      async let second = backEnd.apply(compiled, on: server)
      try await waitUntilHolding(server)
      #expect(try await server.value("SELECT count(*) FROM migrate.batches") == "0")
      try await server.psql("SELECT migrate.cancel(1)")
      _ = try await second
      #expect(try await server.state() == "cancelled")
    }
  }

  /// And holds again when it is told to keep to its plan.
  @Test(arguments: BackEnd.allCases)
  func `goes on when it is tuned to hold for nothing, until it is told to keep to its plan`(by backEnd: BackEnd)
    async throws
  {
    try await withLedger { server in
      try await server.psql(
        Products.table(rows: 1_000) + "CREATE TABLE backups (host text); INSERT INTO backups VALUES ('a')")
      let yaml =
        Products.definition + "\nbatch_size: 10\nthrottle: {pause: 100ms, hold_when: {backup: SELECT FROM backups}}\n"
      let compiled = try await Compiled(yaml, on: server)
      let expected = try await server.rows(Products.expected)
      async let applied = backEnd.apply(compiled, on: server)
      try await waitUntilHolding(server)
      try await server.psql("SELECT migrate.tune(1, _holds => 'none')")
      try await server.wait(until: "(SELECT count(*) > 1 FROM migrate.batches)")
      try await server.psql("SELECT migrate.tune(1, _holds => 'plan')")
      try await waitUntilHolding(server)
      try await server.psql("SELECT migrate.tune(1, _holds => 'none', _pause => '0')")
      let told = try await applied
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.has(expected))
      let refused = await #expect(throws: PostgresError.self) {
        try await server.psql("INSERT INTO migrate.tuning (run, holds) VALUES (1, 'some')")
      }
      #expect(refused?.sqlState?.code == "23514")
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `takes a query that fails for a reason to hold, and lets none write`(by backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(
        Products.table(rows: 100)
          + """
          CREATE TABLE asked (n integer);
          CREATE FUNCTION ask() RETURNS integer LANGUAGE plpgsql AS $$ BEGIN INSERT INTO asked VALUES (1); RETURN 1; END $$;
          """)
      let yaml = Products.definition + "\nthrottle: {hold_when: {writer: SELECT 1 WHERE ask() = 2}}\n"
      let compiled = try await Compiled(yaml, on: server)
      async let applied = backEnd.apply(compiled, on: server)
      try await waitUntilHolding(server)
      #expect(
        try await server.value("SELECT hold_reason FROM migrate.progress")
          == "writer: cannot be asked: cannot execute INSERT in a read-only transaction")
      try await server.psql("CREATE OR REPLACE FUNCTION ask() RETURNS integer LANGUAGE sql AS 'SELECT 1'")
      let told = try await applied
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.value("SELECT count(*) FROM asked") == "0")
    }
  }

  /// A definition that asks whether it shall hold, for longer than anybody waits.
  private func askingForLong(on server: Server) async throws -> Compiled {
    try await server.psql(
      Products.table(rows: 100)
        + "CREATE FUNCTION ask() RETURNS integer LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(600); RETURN 1; END $$;")
    return try await Compiled(
      Products.definition + "\nthrottle: {hold_when: {slow: SELECT 1 WHERE ask() = 2}}\n", on: server)
  }

  /// By one signal: a client's request to cancel is sent twice, to the process and to its group, and the second may come after the
  /// first was caught.
  private func cancelAsker(on server: Server) async throws {
    try await server.psql(
      """
      SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'asker' AND datname = current_database()
      """)
  }

  /// Nobody waits for what it asks: not who steers the run, nor the run itself, which holds then.
  @Test func `takes a query that takes long for a reason to hold, and is steered meanwhile`() async throws {
    try await withLedger { server in
      let compiled = try await askingForLong(on: server)
      let told = try await applying(compiled, on: server) {
        try await waitUntilHolding(server)
        #expect(
          try await server.value("SELECT hold_reason FROM migrate.progress")
            == "slow: cannot be asked: canceling statement due to statement timeout")
        try await withSessions("asker", to: server) { sessions in
          let asker = try #require(sessions["asker"])
          try await server.psql("DELETE FROM migrate.asking")
          try asker.start("SELECT migrate.ask_holds(run, epoch) FROM migrate.fence")
          try await server.wait(
            until:
              "EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'asker' AND wait_event = 'PgSleep' AND datname = current_database())"
          )
          for word in ["tune(1, _pause => '1ms')", "pause(1)", "resume(1)"] {
            try await server.psql("SELECT migrate.\(word)")
          }
          try await cancelAsker(on: server)
          let reached = try await asker.finish().onlyRow[0]
          #expect(reached == "holding", "\(reached ?? "")")
          try await asker.close()
        }
        try await server.psql("CREATE OR REPLACE FUNCTION ask() RETURNS integer LANGUAGE sql AS 'SELECT 1'")
      }
      #expect(told.isDone, "\(told.text)")
    }
  }

  /// Whether the run holds is asked for a while, in which somebody lets it go on.
  @Test func `takes no answer from before it was tuned`() async throws {
    try await withLedger { server in
      let compiled = try await askingForLong(on: server)
      let control = RunControl()
      async let applied = Client.apply(compiled, on: server, control: control)
      try await waitUntilHolding(server)
      control.requestStop()
      #expect(try await applied.text == "paused")
      try await withSessions("asker", to: server) { sessions in
        let asker = try #require(sessions["asker"])
        try await server.psql("DELETE FROM migrate.asking")
        try asker.start("SELECT migrate.ask_holds(run, epoch) FROM migrate.fence")
        try await server.wait(
          until:
            "EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'asker' AND wait_event = 'PgSleep' AND datname = current_database())"
        )
        try await server.psql("SELECT migrate.tune(1, _holds => 'none')")
        try await cancelAsker(on: server)
        try await asker.finish()
        #expect(try await server.value("SELECT count(*) FROM migrate.asking") == "0")
        // What was asked for then is believed.
        try await asker.execute("SELECT migrate.ask_holds(run, epoch) FROM migrate.fence")
        #expect(try await server.value("SELECT count(*) FROM migrate.asking") == "1")
        try await asker.close()
      }
      let told = try await Client.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
    }
  }

  @Test func `holds for the reason that its own workers have found, not for that of one that was taken over`()
    async throws
  {
    try await withBackups { server, compiled in
      let told = try await applying(compiled, on: server) {
        try await waitUntilHolding(server)
        let found = try await server.psql(
          """
          BEGIN;
          UPDATE backups SET finished = current_date;
          DELETE FROM migrate.asking;
          SELECT migrate.ask_holds(run, epoch - 1) FROM migrate.fence;
          CREATE TEMP TABLE found AS SELECT state, hold_reason FROM migrate.runs;
          COMMIT;
          SELECT * FROM found
          """)
        #expect(found == [["holding", "backup: its query finds a row"]])
      }
      #expect(told.isDone, "\(told.text)")
    }
  }

  /// What looks whether others wait is the run's own. In a server of its own, where nobody else is active.
  @Test func `does not count those who watch for it`() async throws {
    try await TestCluster.withOwn { cluster in
      try await cluster.withDatabase { server in
        try await server.psql(Products.table(rows: 100))
        let compiled = try await Compiled(
          Products.definition + "\nthrottle: {max_active_sessions: 1, max_blocking: 1s}\n", on: server)
        let watches = [
          try await Session("migrate watch 1", to: server), try await Session("migrate watch 1 (nightly)", to: server),
        ]
        for watch in watches { try watch.start("SELECT pg_sleep(60)") }
        try await server.wait(until: "(SELECT count(*) = 2 FROM pg_stat_activity WHERE wait_event = 'PgSleep')")
        let told = try await applying(compiled, on: server) {
          try await server.wait(until: "(SELECT state IN ('completed', 'holding') FROM migrate.runs)")
          #expect(try await server.state() == "completed")
          for watch in watches { try await watch.close() }
        }
        #expect(told.isDone, "\(told.text)")
      }
    }
  }

  /// Once a second over all that ask, however many batches there are.
  @Test func `is asked about once a second, not in each batch`() async throws {
    try await withLedger { server in
      try await server.psql(
        Products.table(rows: 5_000)
          + "CREATE FUNCTION ask() RETURNS integer LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END $$;")
      let compiled = try await Compiled(
        Products.definition + "\nbatch_size: 5\nthrottle: {hold_when: {q: SELECT 1 WHERE ask() = 2}}\n", on: server)
      let clock = ContinuousClock.now
      let asked = try await withFunctionCounts(server, "ask") {
        let told = try await Client.apply(compiled, on: server)
        #expect(told.isDone, "\(told.text)")
      }
      let seconds = (ContinuousClock.now - clock) / .seconds(1)
      #expect(asked >= 1 && Double(asked) <= seconds + 2)
      #expect(try await server.value("SELECT count(*) > 500 FROM migrate.batches") == "t")
    }
  }

  /// Calls of a function, as the server counts them.
  private func withFunctionCounts(_ server: Server, _ name: String, _ body: () async throws -> Void) async throws -> Int
  {
    try await server.psql(
      "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET track_functions = ''all''', current_database()); END $$")
    try await body()
    // The counters come when the client's backend is gone.
    try await server.wait(until: "(SELECT count(*) > 0 FROM pg_stat_user_functions WHERE funcname = '\(name)')")
    return Int(try await server.value("SELECT calls FROM pg_stat_user_functions WHERE funcname = '\(name)'") ?? "") ?? 0
  }
}
