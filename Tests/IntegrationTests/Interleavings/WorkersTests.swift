import MigratePostgres
import MigrateRunner
import MigrateTestSupport
import RunTestSupport
import TestSupport
import Testing

/// Four workers, and one session that is in their way.
@Suite struct `Four workers` {
  /// C05, P09. All batches of other slices are done by then; the one is tried no more than twice a second, and not passed over.
  @Test func `C05 P09: come back to a row that somebody held over the whole pass, and try it seldom`() async throws {
    try await withShop(rows: 400) { shop in
      let run = try await shop.begin(Shop.definition(workers: 4))
      let events = Events()
      let clock = ContinuousClock()
      let outcome = try await withSessions("holder", to: shop.server) { sessions in
        let holder = try #require(sessions["holder"])
        try await holder.execute("BEGIN; SELECT FROM shop.products WHERE id = 50 FOR UPDATE")
        return try await shop.trial.applying(run, events: events) {
          try await shop.trial.wait(
            until: "SELECT coalesce(sum(rows_changed), 0) = 299 FROM migrate.batches WHERE run = \(run)",
            patience: .seconds(60))
          try await shop.trial.waitUntilWorkerBlocked(by: holder)
          let (before, begun) = (events.retries.count, clock.now)
          try await Task.sleep(for: .seconds(2))
          let seconds = (clock.now - begun) / .seconds(1)
          let tries = Double(events.retries.count - before)
          #expect(tries >= 1 && tries <= seconds / 0.5 + 1, "\(tries) tries in \(seconds) s")
          #expect(try await shop.trial.state(run) == "running")
          #expect(
            try await shop.trial.value("SELECT price FROM shop.products WHERE id = 50") == "5", "the row is held")
          try await holder.execute("COMMIT")
        }
      }
      #expect(outcome == .completed(leftBehind: 0))
      #expect(events.workers.count > 1)
      #expect(try await shop.trial.value("SELECT price FROM shop.products WHERE id = 50") == "10")
      #expect(try await shop.wrong(run) == Shop.Wrong())
      #expect(try await shop.differsFromOneStatement.isEmpty)
    }
  }

  /// P15. The first waits for the other, who comes to the edge of a batch: there is nobody that both would have to wait for.
  @Test func `P15: of whom the first has nothing left to do are paused when the other is at rest`() async throws {
    try await withShop(rows: 400) { shop in
      let run = try await shop.begin(Shop.definition(workers: 2))
      let outcome = try await withSessions("first", "last", to: shop.server) { sessions in
        let (first, last) = (try #require(sessions["first"]), try #require(sessions["last"]))
        try await first.execute("BEGIN; SELECT FROM shop.products WHERE id = 10 FOR UPDATE")
        try await last.execute("BEGIN; SELECT FROM shop.products WHERE id = 4000 FOR UPDATE")
        return try await shop.trial.applying(run) {
          try await shop.trial.waitUntilWorkerBlocked(by: first)
          try await shop.trial.waitUntilWorkerBlocked(by: last)
          try await first.execute("COMMIT")
          try await shop.trial.wait(
            until: "SELECT count(*) = 1 FROM migrate.slices JOIN migrate.batches USING (run, slice, through_key)")
          // To its next look, and beyond it.
          try await Task.sleep(for: .milliseconds(500))
          try await shop.server.psql("SELECT migrate.pause(\(run))")
          try await shop.trial.wait(
            until: "SELECT state = 'paused' FROM migrate.runs WHERE run = \(run)", patience: .seconds(10))
          try await last.execute("COMMIT")
          try await shop.server.psql("SELECT migrate.resume(\(run))")
        }
      }
      #expect(outcome == .completed(leftBehind: 0))
      #expect(try await shop.wrong(run) == Shop.Wrong())
      #expect(try await shop.differsFromOneStatement.isEmpty)
    }
  }

  /// C08. Each batch takes a share lock on the one parent row, all workers at once; who wants to delete it waits for them, and they
  /// for him.
  @Test func `C08: share the parent of all their rows, and outlast who locks it`() async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE parents (id int PRIMARY KEY);
        CREATE TABLE children (id int PRIMARY KEY, parent int NOT NULL REFERENCES parents);
        INSERT INTO parents VALUES (1), (2);
        INSERT INTO children SELECT n, 1 FROM generate_series(1, 2000) AS n;
        ANALYZE children;
        """)
      let trial = Trial(server)
      let plan = try await trial.plan(
        "batch: adopt\nsource: children\nset: {parent: 2}\nbatch_size: 10\nparallel: 4")
      let run = try await trial.begin(plan)
      let events = Events()
      let outcome = try await withSessions("locker", to: server) { sessions in
        let locker = try #require(sessions["locker"])
        try await locker.execute("BEGIN; SELECT FROM parents WHERE id = 2 FOR UPDATE")
        return try await trial.applying(run, events: events) {
          try await trial.waitUntilWorkerBlocked(by: locker)
          try await Task.sleep(for: .milliseconds(700))
          #expect(try await trial.value("SELECT count(*) FROM migrate.batches") == "0")
          try await locker.execute("COMMIT")
          // It waits for whoever holds the row now, and then finds what refers to it.
          try await trial.wait(until: "SELECT EXISTS (SELECT FROM migrate.batches)")
          let refused = await #expect(throws: PostgresError.self) {
            try await locker.execute("DELETE FROM parents WHERE id = 2")
          }
          #expect(refused?.sqlState?.code == "23503")
        }
      }
      #expect(outcome == .completed(leftBehind: 0))
      #expect(events.workers.count > 1)
      #expect(events.retries.contains { $0.contains("lock timeout") }, "\(events.retries)")
      #expect(try await server.psql("SELECT parent, count(*) FROM children GROUP BY parent") == [["2", "2000"]])
      #expect(try await trial.revert(run) == .reverted(conflicts: 0))
      #expect(try await server.psql("SELECT parent, count(*) FROM children GROUP BY parent") == [["1", "2000"]])
    }
  }

  /// C15, C16. A client that is slow after each batch would be cut off by the database's timeout for idle transactions, and hold
  /// back vacuum, if it had one open.
  @Test func `C15 C16: have no transaction open between two batches, however slow the client is`() async throws {
    try await withShop(rows: 200) { shop in
      let run = try await shop.begin(Shop.definition(workers: 4))
      let name = try await shop.trial.value("SELECT current_database()") ?? ""
      try await shop.server.psql("ALTER DATABASE \(name) SET idle_in_transaction_session_timeout = '100ms'")
      let server = shop.server
      let events = Events { event in
        guard case .batch(let batch) = event, batch.ordinal == 1 else { return }
        do {
          let asking = try Connection(to: server.applicationName("monitor"))
          try asking.execute("SELECT pg_sleep(0.2)")
          let row = try asking.query(
            """
            SELECT a.state, a.xact_start IS NULL AND a.backend_xmin IS NULL AS holds_nothing
            FROM   migrate.workers AS w JOIN pg_stat_activity AS a USING (pid)
            WHERE  w.run = $1::bigint AND w.worker = $2::integer
            """, ["\(run)", "\(batch.worker)"]
          ).onlyRow
          #expect(try row.text("state") == "idle")
          #expect(try row.bool("holds_nothing"))
        } catch { Issue.record(error) }
      }
      #expect(try await shop.trial.apply(run, events: events) == .completed(leftBehind: 0))
      #expect(events.reconnections == 0)
      #expect(try await shop.wrong(run) == Shop.Wrong())
    }
  }
}
