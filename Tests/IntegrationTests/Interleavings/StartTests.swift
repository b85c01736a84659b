import Migrate
import MigrateLedger
import MigrateRunner
import RunTestSupport
import TestSupport
import Testing

@Suite struct `The start of a run` {
  /// K22; a serial number is no commit order.
  @Test func `K22: waits for a transaction that holds a lower key`() async throws {
    try await withShop { shop in
      let run = try await shop.begin()
      try await withSessions("writer", "later", to: shop.server) { sessions in
        let writer = try #require(sessions["writer"])
        try await writer.execute("BEGIN; INSERT INTO shop.products VALUES (55, 5.5, 'active', 'new')")
        let events = Events()
        let outcome = try await shop.trial.applying(run, events: events) {
          try await events.waitUntilWaiting()
          // Whoever comes later is not waited for.
          try await sessions["later"]?.execute("BEGIN; INSERT INTO shop.products VALUES (65, 1, 'active', 'later')")
          try await writer.execute("COMMIT")
        }
        #expect(outcome == .completed(leftBehind: 0))
      }
      #expect(try await shop.trial.value("SELECT price FROM shop.products WHERE id = 55") == "11.0")
      #expect(try await shop.wrong(run) == Shop.Wrong())
    }
  }

  @Test func `K22: that waits for nobody leaves the lower key out: that mutant dies`() async throws {
    try await withShop { shop in
      let run = try await shop.begin(edit: Mutant.withoutWaitingForLockers)
      try await withSessions("writer", to: shop.server) { sessions in
        let writer = try #require(sessions["writer"])
        try await writer.execute("BEGIN; INSERT INTO shop.products VALUES (55, 5.5, 'active', 'new')")
        #expect(try await shop.trial.apply(run) == .completed(leftBehind: 0))
        try await writer.execute("COMMIT")
      }
      #expect(try await shop.trial.value("SELECT price FROM shop.products WHERE id = 55") == "5.5")
    }
  }

  /// K22; it has no process, and its lock all the same.
  @Test func `K22: waits for a prepared transaction`() async throws {
    try await TestCluster.withOwn(settings: ["max_prepared_transactions": "5"]) { cluster in
      try await cluster.withDatabase { server in
        let shop = try await Shop(server)
        let run = try await shop.begin()
        try await server.psql(
          "BEGIN; INSERT INTO shop.products VALUES (55, 5.5, 'active', 'new'); PREPARE TRANSACTION 'open'")
        let events = Events()
        let outcome = try await shop.trial.applying(run, events: events) {
          try await events.waitUntilWaiting()
          try await server.psql("COMMIT PREPARED 'open'")
        }
        #expect(events.holders.first?.words.hasPrefix("prepared transaction 'open', open for ") == true)
        #expect(events.holders.first?.pid == nil)
        #expect(outcome == .completed(leftBehind: 0))
        #expect(try await shop.trial.value("SELECT price FROM shop.products WHERE id = 55") == "11.0")
      }
    }
  }

  @Test func `does not wait for readers, for writers of other tables, or for who is idle`() async throws {
    try await withShop { shop in
      let run = try await shop.begin()
      try await withSessions("reader", "other", "locker", to: shop.server) { sessions in
        try await sessions["reader"]?.execute(
          "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM shop.products")
        try await sessions["other"]?.execute("BEGIN; INSERT INTO shop.twin VALUES (9999, 1, 'active', 'new')")
        try await sessions["locker"]?.execute("BEGIN; LOCK TABLE shop.products IN ACCESS SHARE MODE")
        let events = Events()
        #expect(try await shop.trial.apply(run, events: events) == .completed(leftBehind: 0))
        #expect(events.waitings == 0)
      }
    }
  }

  /// K20; keys that come in below the batches are counted, and those above the upper end are none of the run's concern.
  @Test func `K20: counts rows that came in behind the batches, and leaves those beyond its end alone`() async throws {
    try await withShop(rows: 40) { shop in
      let run = try await shop.begin()
      let server = shop.server
      let first = Reply<Void>()
      let inserted = Reply<Void>()
      Task {
        _ = try? await first.value
        _ = try? await server.psql(
          "INSERT INTO shop.products SELECT n, 1, 'active', 'behind' FROM unnest('{5, 15, 25, 100000}'::bigint[]) AS n")
        inserted.give(.success(()))
      }
      let events = Events { event in
        guard case .batch(let record) = event, record.ordinal == 2 else { return }
        first.give(.success(()))
        while !inserted.isKnown { pauseBriefly() }
      }
      #expect(try await shop.trial.apply(run, events: events) == .completed(leftBehind: 3))
      #expect(try await shop.trial.value("SELECT left_behind FROM migrate.runs WHERE run = \(run)") == "3")
      #expect(
        try await shop.trial.value("SELECT count(*) FROM shop.products WHERE note = 'behind' AND price = 1") == "4")
      #expect(try await shop.wrong(run) == Shop.Wrong())
    }
  }

  /// K21; a writer that is faster than the batches.
  @Test(.timeLimit(.minutes(5))) func `K21: comes to an end while somebody appends without pause`() async throws {
    try await withShop(rows: 200) { shop in
      let run = try await shop.begin()
      try await shop.server.psql(
        """
        CREATE PROCEDURE shop.append() LANGUAGE plpgsql AS $$
        BEGIN
          LOOP
            INSERT INTO shop.products SELECT max(id) + 1, 1, 'active', 'ahead' FROM shop.products;
            COMMIT;
          END LOOP;
        END $$
        """)
      try await withSessions("appender", to: shop.server) { sessions in
        let appender = try #require(sessions["appender"])
        try appender.start("CALL shop.append()")
        try await shop.trial.wait(until: "SELECT count(*) > 200 FROM shop.products")
        #expect(try await shop.trial.apply(run) == .completed(leftBehind: 0))
        try await appender.cancel()
        await #expect(throws: (any Error).self) { try await appender.finish() }
      }
      let upper = try await shop.trial.value("SELECT upper_key[1] FROM migrate.runs WHERE run = \(run)") ?? ""
      #expect(
        try await shop.trial.value("SELECT count(*) FROM shop.products WHERE id > \(upper) AND price <> 1") == "0")
      #expect(try await shop.wrong(run) == Shop.Wrong())
    }
  }

  /// C09; on a database without a ledger, which they also install at once.
  @Test func `C09: twenty times at once is one run and nineteen clear refusals`() async throws {
    try await withShop { shop in
      let server = shop.server
      let definition = try Definition(SourceText(path: "prices.yaml", bytes: Array(Shop.definition.utf8)))
      let answers = try await withThrowingTaskGroup(of: String.self) { group in
        for _ in 1...20 {
          group.addTask {
            try await onThread {
              let compilation = try Migrate.Session(to: server).compile(definition, CompileRequest())
              do { return "run \(try Runs(on: server).begin(compilation, definition, ApplyRequest()))" } catch let
                refusal as RunRefusal
              {
                guard case .refused(let message, _) = refusal else { throw refusal }
                return message
              }
            }
          }
        }
        return try await group.reduce(into: [String]()) { $0.append($1) }
      }
      #expect(answers.filter { $0.hasPrefix("run ") }.count == 1)
      #expect(answers.filter { $0 == "a run of prices has begun in this moment" }.count == 19, "\(answers)")
      #expect(try await shop.trial.value("SELECT count(*) FROM migrate.runs") == "1")
    }
  }

  /// C17
  @Test func `C17: says its isolation itself, whatever the role's default is`() async throws {
    for setting in ["default_transaction_isolation = 'serializable'", "default_transaction_deferrable = on"] {
      try await withShop { shop in
        let run = try await shop.begin()
        let name = try await shop.trial.value("SELECT current_database()") ?? ""
        try await shop.server.psql("ALTER DATABASE \(name) SET \(setting)")
        #expect(try await shop.trial.apply(run) == .completed(leftBehind: 0))
        #expect(try await shop.wrong(run) == Shop.Wrong())
        #expect(try await shop.differsFromOneStatement.isEmpty)
        #expect(try await shop.trial.revert(run) == .reverted(conflicts: 0))
        #expect(try await shop.strangers.isEmpty)
      }
    }
  }
}

extension Events {
  /// Returns when the start is seen to wait for others.
  func waitUntilWaiting() async throws {
    for _ in 1...10_000 where waitings == 0 { try await Task.sleep(for: .milliseconds(2)) }
    guard waitings > 0 else { throw TestSupportError("the start waits for nobody") }
  }
}
