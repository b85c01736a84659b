import Foundation
import Migrate
import Synchronization
import TestSupport
import Testing

/// What docs/guarantees.md says of faults and of other sessions.
@Suite struct `What a run survives` {
  @Test func `a server that crashes under it: it connects again and goes on by itself`() async throws {
    try await TestCluster.withOwn { cluster in
      let shop = Shop(server: cluster.server)
      try await shop.server.psql("SET demo.size = 'small';\n" + Repository.text("migrations/demo/shop.sql"))
      let expected = try await shop.products(after: Shop.raise)
      let third = Moment()
      async let outcome = shop.apply("raise_prices", batchSize: 20) { event in
        if case .batch(let record) = event { third.has(come: record.ordinal >= 3) }
        usleep(5_000)
      }
      try await third.hasCome()
      try await cluster.stop(immediately: true)
      try await cluster.start()
      #expect(try await outcome == .completed(leftBehind: 0))
      #expect(try await shop.checksums()["products"] == expected)
    }
  }

  @Test func `a backend that is terminated: the same`() async throws {
    try await Shop.with { shop in
      let expected = try await shop.products(after: Shop.raise)
      let third = Moment()
      let lost = Moment()
      async let outcome = shop.apply("raise_prices", batchSize: 20) { event in
        if case .batch(let record) = event { third.has(come: record.ordinal >= 3) }
        if case .reconnecting = event { lost.has(come: true) }
        usleep(5_000)
      }
      try await third.hasCome()
      try await shop.server.psql(
        """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE  datname = current_database() AND application_name LIKE 'migrate run 1 %'
        """)
      #expect(try await outcome == .completed(leftBehind: 0))
      try await lost.hasCome()
      #expect(try await shop.checksums()["products"] == expected)
    }
  }

  @Test func `a COMMIT that gets no answer: it asks the ledger, and does the batch once`() async throws {
    try await Shop.with { shop in
      let expected = try await shop.products(after: Shop.raise)
      let id = try await shop.activeProduct()
      // The first COMMIT with this row in it ends its own backend; nobody tells the client what has become of it.
      try await shop.server.psql(
        """
        CREATE SEQUENCE shop.times;
        CREATE FUNCTION shop.cut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          IF nextval('shop.times') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()), pg_sleep(5); END IF;
          RETURN NULL;
        END $$;
        CREATE CONSTRAINT TRIGGER cut AFTER UPDATE ON shop.products DEFERRABLE INITIALLY DEFERRED
          FOR EACH ROW WHEN (NEW.id = \(id)) EXECUTE FUNCTION shop.cut()
        """)
      let lost = Moment()
      let outcome = try await shop.apply("raise_prices", batchSize: 200) { event in
        if case .reconnecting = event { lost.has(come: true) }
      }
      #expect(outcome == .completed(leftBehind: 0))
      try await lost.hasCome()
      #expect(try await shop.checksums()["products"] == expected)
      #expect(try await shop.server.psql("SELECT last_value FROM shop.times") == [["2"]])
    }
  }

  @Test func `a writer that holds a row: the batch waits its turn, and undo has what the writer wrote`() async throws {
    try await Shop.with { shop in
      try await withSessions("writer", to: shop.server) { sessions in
        let writer = try #require(sessions["writer"])
        let id = try await shop.activeProduct()
        try await writer.execute(
          "BEGIN; UPDATE shop.products SET price = 100 WHERE id = \(id)")
        let again = Moment()
        // A run begins when those who write to the table have ended; so this one begins before.
        let compilation = try await shop.plan("raise_prices", batchSize: 500)
        #expect(compilation.plan.pace.firstSize == 500)
        async let outcome = shop.apply("raise_prices", batchSize: 500) { event in
          if case .waiting(let holders) = event, holders.count == 1 { again.has(come: true) }
        }
        try await again.hasCome()
        try await writer.execute("COMMIT")
        #expect(try await outcome == .completed(leftBehind: 0))
        #expect(try await shop.server.psql("SELECT price FROM shop.products WHERE id = \(id)") == [["105.00"]])
        #expect(try await shop.revert("raise_prices") == .reverted(conflicts: 0))
        #expect(try await shop.server.psql("SELECT price FROM shop.products WHERE id = \(id)") == [["100.00"]])
      }
    }
  }

  @Test func `a writer that comes between: the batch is tried again, and no update of it is lost`() async throws {
    try await Shop.with { shop in
      try await withSessions("writer", to: shop.server) { sessions in
        let writer = try #require(sessions["writer"])
        let id = try await shop.activeProduct()
        let first = Moment()
        let again = Moment()
        async let outcome = shop.apply("raise_prices", batchSize: 500) { event in
          switch event {
          case .batch(let record) where record.ordinal == 1:
            first.has(come: true)
            // The worker's thread waits here until the writer holds its row.
            again.wait()
          case .again: first.has(come: true)
          default: break
          }
        }
        try await first.hasCome()
        try await writer.execute("BEGIN; UPDATE shop.products SET price = 100 WHERE id = \(id)")
        again.has(come: true)
        let deadline = ContinuousClock.now + .seconds(60)
        while try await shop.server.psql(
          "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ).isEmpty {
          try #require(ContinuousClock.now < deadline, "the batch does not wait for the writer")
          try await Task.sleep(for: .milliseconds(10))
        }
        try await writer.execute("COMMIT")
        #expect(try await outcome == .completed(leftBehind: 0))
        #expect(try await shop.server.psql("SELECT price FROM shop.products WHERE id = \(id)") == [["105.00"]])
        #expect(try await shop.revert("raise_prices") == .reverted(conflicts: 0))
        #expect(try await shop.server.psql("SELECT price FROM shop.products WHERE id = \(id)") == [["100.00"]])
      }
    }
  }
}

@Suite struct `Who steers a run` {
  @Test func `may do so from any SQL client`() async throws {
    try await Shop.with { shop in
      let paused = Moment()
      let second = Moment()
      async let outcome = shop.apply("raise_prices", batchSize: 20) { event in
        if case .paused = event { paused.has(come: true) }
        if case .batch(let record) = event { second.has(come: record.ordinal >= 2) }
        usleep(5_000)
      }
      try await second.hasCome()
      #expect(try await shop.server.psql("SELECT migrate.pause(1)") == [["pausing"]])
      try await paused.hasCome()
      let done = try await shop.server.psql("SELECT state, rows_changed FROM migrate.progress")
      #expect(done.first?.first == "paused")
      #expect(try await shop.server.psql("SELECT migrate.resume(1)") == [["running"]])
      #expect(try await outcome == .completed(leftBehind: 0))
      #expect(try await shop.server.psql("SELECT state FROM migrate.history") == [["completed"]])
    }
  }

  @Test func `is one at a time: a second apply of a run that is worked on is refused`() async throws {
    try await Shop.with { shop in
      let second = Moment()
      async let outcome = shop.apply("raise_prices", batchSize: 20) { event in
        if case .batch(let record) = event { second.has(come: record.ordinal >= 2) }
        usleep(20_000)
      }
      try await second.hasCome()
      let error = await #expect(throws: RunRefusal.self) { try await shop.apply("raise_prices", batchSize: 20) }
      guard case .refused(let message, _)? = error else { throw TestSupportError("\(String(describing: error))") }
      #expect(message.hasPrefix("run 1 is being worked on by backend "))
      #expect(try await outcome == .completed(leftBehind: 0))
    }
  }
}

@Suite(.serialized) struct `The role migrate_runner` {
  @Test func `has all that apply and revert need when docs/roles.md was followed`() async throws {
    try await Shop.with { shop in
      let name = try #require(await shop.server.psql("SELECT current_database()").first?.first.flatMap(\.self))
      for fence in try Fence.all(in: "docs/roles.md") where fence.language == "sql" {
        try await shop.server.psql(fence.text.replacing("DATABASE shop", with: "DATABASE \(name)"))
      }
      do {
        let before = try await shop.checksums()
        let alice = Shop(server: shop.server.setting("user", "alice"))
        let bob = Shop(server: shop.server.setting("user", "bob"))
        #expect(try await alice.plan("raise_prices").plan.warnings.filter { $0.code == "missing-privilege" } == [])
        #expect(try await alice.apply("raise_prices") == .completed(leftBehind: 0))
        // What one of them began another may take back.
        #expect(try await bob.revert("raise_prices") == .reverted(conflicts: 0))
        #expect(try await shop.checksums() == before)
        #expect(try await shop.server.psql("SELECT started_by FROM migrate.history") == [["alice"]])
        #expect(try await shop.server.psql("SELECT to_regclass('migrate.undo_1_1')") == [[nil]])
      }
      try await shop.server.psql(
        "DROP OWNED BY alice, bob, migrate_runner CASCADE; DROP ROLE alice; DROP ROLE bob; DROP ROLE migrate_runner")
    }
  }

  @Test func `is told which GRANT is missing`() async throws {
    try await Shop.with { shop in
      try await shop.server.psql(
        "CREATE ROLE carol LOGIN; GRANT USAGE ON SCHEMA shop TO carol; GRANT SELECT ON shop.products TO carol")
      let carol = Shop(server: shop.server.setting("user", "carol"))
      let failure = await #expect(throws: CompileFailure.self) { try await carol.plan("raise_prices") }
      guard case .refused(let diagnostics)? = failure else { throw TestSupportError("\(String(describing: failure))") }
      #expect(diagnostics.all.map(\.code) == ["missing-privilege"])
      #expect(diagnostics.all.map(\.remedy) == ["`GRANT UPDATE (price) ON shop.products TO carol`"])
      try await shop.server.psql("DROP OWNED BY carol; DROP ROLE carol")
    }
  }
}

extension Shop {
  /// The number of a product whose price is raised, in the middle of them all.
  fileprivate func activeProduct() async throws -> String {
    let rows = try await server.psql("SELECT min(id) FROM shop.products WHERE status = 'active' AND id > 2500")
    let text: String? = rows.first?.first ?? nil
    return try #require(text)
  }
}

/// Something that happens once, for threads and tasks that wait for it.
final class Moment: Sendable {
  private let come = Atomic(false)

  func has(come value: Bool) { if value { come.store(true, ordering: .sequentiallyConsistent) } }

  /// Suspends until then.
  func hasCome(patience: Duration = .seconds(60)) async throws {
    let deadline = ContinuousClock.now + patience
    while !come.load(ordering: .sequentiallyConsistent) {
      guard ContinuousClock.now < deadline else { throw TestSupportError("what was waited for has not happened") }
      try await Task.sleep(for: .milliseconds(2))
    }
  }

  /// Blocks this thread until then.
  func wait() {
    let deadline = ContinuousClock.now + .seconds(60)
    while !come.load(ordering: .sequentiallyConsistent), ContinuousClock.now < deadline { usleep(1_000) }
  }
}
