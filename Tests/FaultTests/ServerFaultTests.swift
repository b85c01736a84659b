import MigrateLedger
import MigratePostgres
import MigrateRunner
import MigrateTestSupport
import RunTestSupport
import TestSupport
import Testing

/// What a server does to those who use it.
@Suite struct `A server that` {
  /// P02; the worker connects again by itself.
  @Test(arguments: [1, 4]) func `P02: ends backends at random moments is come back to`(workers: Int) async throws {
    var random = Torture.random("terminations of \(workers)")
    let needed = Torture.count(10, torture: 200)
    try await withLedger { server in
      var ended = 0
      while ended < needed {
        let shop = try await Shop.fresh(server, rows: 200 * workers)
        let client = Client(server: server, definition: Shop.definition(workers: workers))
        ended += try await Self.terminating(shop, most: 5, &random) { _ = try await client.apply() }
        let run = try await shop.newestRun
        #expect(try await shop.complaints(afterApplying: run) == [])
        ended += try await Self.terminating(shop, most: 5, &random) { _ = try await client.revert(run) }
        #expect(try await shop.complaints(afterReverting: run) == [])
      }
    }
  }

  /// Ends the run's backends again and again while `body` goes on, each time after a few milliseconds, and `most` of them: on a busy
  /// machine none might ever come as far as its COMMIT.
  private static func terminating(
    _ shop: Shop, most: Int, _ random: inout SplitMix, _ body: @escaping @Sendable () async throws -> Void
  ) async throws -> Int {
    let done = Reply<Void>()
    async let finished: Void = {
      defer { done.give(.success(())) }
      try await body()
    }()
    var ended = 0
    while !done.isKnown, ended < most {
      try await Task.sleep(for: .milliseconds(Int.random(in: 1...80, using: &random)))
      ended += try await shop.server.psql(
        """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE  datname = current_database() AND application_name LIKE 'migrate run%'
        """
      ).count
    }
    try await finished
    return ended
  }

  /// P04
  @Test(arguments: [1, 4]) func `P04: crashes is waited for, and nothing is lost`(workers: Int) async throws {
    var random = Torture.random("crashes of \(workers)")
    let needed = Torture.count(2, torture: 20)
    try await TestCluster.withOwn { cluster in
      let server = cluster.server
      var crashes = 0
      while crashes < needed {
        let shop = try await Shop.fresh(server, rows: 400 * workers)
        let client = Client(server: server, definition: Shop.definition(workers: workers))
        async let outcome = client.apply()
        try await shop.waitForProgress(behind: 0)
        try await Task.sleep(for: .milliseconds(Int.random(in: 0...200, using: &random)))
        try await cluster.stop(immediately: true)
        try await cluster.start()
        crashes += 1
        #expect(try await outcome == .completed(leftBehind: 0))
        let run = try await shop.newestRun
        #expect(try await shop.complaints(afterApplying: run) == [])
        let applied = try await shop.batches
        async let reverted = client.revert(run)
        try await shop.waitForProgress(behind: applied)
        try await Task.sleep(for: .milliseconds(Int.random(in: 0...200, using: &random)))
        try await cluster.stop(immediately: true)
        try await cluster.start()
        crashes += 1
        #expect(try await reverted == .reverted(conflicts: 0))
        #expect(try await shop.complaints(afterReverting: run) == [])
      }
    }
  }

  /// A crash empties a table that is not logged, and a run that finds no rows would say that it is done.
  @Test func `X26: crashes while a run has rows left that it has read once`() async throws {
    try await TestCluster.withOwn { cluster in
      let server = cluster.server
      try await server.psql(
        """
        CREATE TABLE products (id integer PRIMARY KEY, place bigint);
        INSERT INTO products SELECT n FROM generate_series(1, 400) AS n
        """)
      let definition = """
        batch: places
        source: {query: "SELECT id, row_number() OVER (ORDER BY id DESC) AS place FROM products WHERE place IS NULL", key: id}
        update: products
        match: products.id = batch.id
        set: {place: batch.place}
        batch_size: 10
        throttle: {pause: 20ms}
        """
      let client = Client(server: server, definition: definition)
      async let outcome = client.apply()
      while try await server.psql("SELECT FROM products WHERE place IS NOT NULL LIMIT 1").isEmpty {
        try await Task.sleep(for: .milliseconds(10))
      }
      try await cluster.stop(immediately: true)
      try await cluster.start()
      #expect(try await outcome == .completed(leftBehind: 0))
      let wrong = try await server.psql("SELECT count(*) FROM products WHERE place IS DISTINCT FROM 401 - id")
      #expect(wrong == [["0"]])
    }
  }

  /// P04; each crash takes down all that others do there, so it is not called for again and again.
  @Test(arguments: [1, 2]) func `P04: crashes by one batch each time has the run pause`(workers: Int) async throws {
    try await TestCluster.withOwn { cluster in
      let server = cluster.server
      let shop = try await Shop.fresh(server, rows: 400)
      let client = Client(server: server, definition: Shop.definition(workers: workers))
      let crash = """
        CREATE OR REPLACE FUNCTION shop.crash() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          COPY (SELECT 1) TO PROGRAM 'kill -9 $PPID';
          RETURN NEW;
        END $$;
        CREATE TRIGGER crash BEFORE UPDATE ON shop.products FOR EACH ROW WHEN (OLD.id = 150) EXECUTE FUNCTION shop.crash();
        """
      let harmless =
        "CREATE OR REPLACE FUNCTION shop.crash() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$"
      try await server.psql(crash)
      guard case .pausedByServer(let failure) = try await client.apply() else {
        Issue.record("it is not held")
        return
      }
      #expect(failure.message.contains("went down 3 times without a batch done in between"), "\(failure.message)")
      let run = try await shop.newestRun
      #expect(try await shop.trial.state(run) == "paused")
      try await server.psql(harmless)
      #expect(try await client.apply() == .completed(leftBehind: 0))
      #expect(try await shop.complaints(afterApplying: run) == [])
    }
  }

  /// P04; the first worker waits for the other one, and has lost its connection when that one is through with it.
  @Test func `P04: crashes by the batch of another worker each time has the run pause`() async throws {
    try await TestCluster.withOwn { cluster in
      let server = cluster.server
      let shop = try await Shop.fresh(server, rows: 400)
      try await server.psql(
        """
        CREATE FUNCTION shop.crash() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          IF EXISTS (SELECT FROM migrate.workers WHERE pid = pg_backend_pid() AND worker > 1) THEN
            PERFORM pg_sleep(0.7);
            COPY (SELECT 1) TO PROGRAM 'kill -9 $PPID';
          ELSIF OLD.id % 50 = 0 THEN
            PERFORM pg_sleep(0.1);
          END IF;
          RETURN NEW;
        END $$;
        CREATE TRIGGER crash BEFORE UPDATE ON shop.products FOR EACH ROW EXECUTE FUNCTION shop.crash();
        """)
      let outcome = try await Client(server: server, definition: Shop.definition(workers: 2)).apply()
      guard case .pausedByServer(let failure) = outcome else {
        Issue.record("it is not held: \(outcome)")
        return
      }
      #expect(failure.message.contains("went down 3 times without a batch done in between"), "\(failure.message)")
      #expect(try await shop.trial.state(shop.newestRun) == "paused")
    }
  }

  /// P04; who restarts it has his reasons.
  @Test func `P04: is restarted again and again within one batch is come back to`() async throws {
    try await TestCluster.withOwn { cluster in
      let shop = try await Shop.fresh(cluster.server, rows: 60)
      try await cluster.server.psql(
        """
        CREATE FUNCTION shop.rest() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(2); RETURN NEW; END $$;
        CREATE TRIGGER rest BEFORE UPDATE ON shop.products FOR EACH ROW WHEN (OLD.id = 20) EXECUTE FUNCTION shop.rest();
        """)
      let events = Events()
      async let outcome = Client(server: cluster.server, definition: Shop.definition).apply(events: events)
      for _ in 1...4 {
        try await shop.trial.wait(
          until: """
            SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND application_name LIKE 'migrate run%')
            """)
        try await cluster.stop()
        try await cluster.start()
      }
      #expect(try await outcome == .completed(leftBehind: 0))
      #expect(events.reconnections == 4)
      #expect(try await shop.complaints(afterApplying: shop.newestRun) == [])
    }
  }

  /// C19; a cancelled wait for a standby leaves a warning and a commit, which must not be taken for one that failed.
  @Test func `C19: waits for a standby that is not there has committed what is cancelled`() async throws {
    try await TestCluster.withOwn { cluster in
      let server = cluster.server
      let shop = try await Shop.fresh(server, rows: 100)
      let client = Client(server: server, definition: Shop.definition(workers: 2))
      try await server.psql("ALTER SYSTEM SET synchronous_standby_names = 'ghost'")
      try await server.psql("SELECT pg_reload_conf()")
      let cancelled = try await Self.cancellingWaits(server) {
        #expect(try await client.apply() == .completed(leftBehind: 0))
        let run = try await shop.newestRun
        #expect(try await client.revert(run) == .reverted(conflicts: 0))
      }
      #expect(cancelled > 5)
      try await server.psql("ALTER SYSTEM RESET synchronous_standby_names")
      try await server.psql("SELECT pg_reload_conf()")
      let run = try await shop.newestRun
      #expect(try await shop.trial.value("SELECT count(*) FROM migrate.runs") == "1")
      #expect(try await shop.complaints(afterReverting: run) == [])
    }
  }

  /// Cancels who waits for a standby, while `body` goes on; how often.
  private static func cancellingWaits(
    _ server: Server, _ body: @escaping @Sendable () async throws -> Void
  ) async throws -> Int {
    let done = Reply<Void>()
    async let finished: Void = {
      defer { done.give(.success(())) }
      try await body()
    }()
    var cancelled = 0
    while !done.isKnown {
      try await Task.sleep(for: .milliseconds(30))
      cancelled += try await server.psql(
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
      ).count
    }
    try await finished
    return cancelled
  }

  /// P06; no row is to blame: paused, with the reason, and gone on with when there is room again.
  @Test(arguments: ["53100", "53200", "58030"]) func `P06 P07: has no room left pauses the run and blames no row`(
    code: String
  ) async throws {
    try await withShop { shop in
      let run = try await shop.begin(edit: { $0.overlooking("full_disk") })
      try await shop.server.psql(
        """
        CREATE FUNCTION shop.full() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE 'no space left on device' USING ERRCODE = '\(code)'; END $$;
        CREATE TRIGGER full_disk BEFORE UPDATE ON shop.products FOR EACH ROW WHEN (OLD.id = 150) EXECUTE FUNCTION shop.full();
        """)
      guard case .pausedByServer(let failure) = try await shop.trial.apply(run) else {
        Issue.record("it is not held")
        return
      }
      #expect(failure.sqlState == code)
      #expect(try await shop.trial.state(run) == "paused")
      #expect(try await shop.trial.value("SELECT failure ->> 'message' FROM migrate.runs") == "no space left on device")
      try await shop.server.psql("DROP TRIGGER full_disk ON shop.products")
      #expect(try await shop.trial.apply(run) == .completed(leftBehind: 0))
      #expect(try await shop.trial.value("SELECT failure FROM migrate.runs") == nil)
      #expect(try await shop.wrong(run) == Shop.Wrong())
    }
  }

  /// P08; the batch pins its own, and a passing one elsewhere is passed over.
  @Test func `P08: has a statement timeout does not stop a batch that takes longer`() async throws {
    try await withShop { shop in
      let run = try await shop.begin(edit: { $0.overlooking("slow") })
      let name = try await shop.trial.value("SELECT current_database()") ?? ""
      try await shop.server.psql(
        """
        CREATE FUNCTION shop.slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.06); RETURN NEW; END $$;
        CREATE TRIGGER slow BEFORE UPDATE ON shop.products FOR EACH ROW EXECUTE FUNCTION shop.slow();
        ALTER DATABASE \(name) SET statement_timeout = '500ms';
        ALTER DATABASE \(name) SET lock_timeout = '1ms';
        """)
      let events = Events()
      #expect(try await shop.trial.apply(run, events: events) == .completed(leftBehind: 0))
      #expect(events.retries.isEmpty)
      #expect(try await shop.wrong(run) == Shop.Wrong())
    }
  }

  /// P08; the fence is held by somebody for longer than the role's lock timeout allows.
  @Test func `P08: times out in the ledger's own statements is asked again`() async throws {
    try await withShop { shop in
      let run = try await shop.begin()
      let entered = try await shop.trial.run(run)
      let server = shop.server.applicationName("migrate run \(run)").setting("options", "-c lock_timeout=20ms")
      let again = Reply<Void>()
      try await withSessions("holder", to: shop.server) { sessions in
        let holder = try #require(sessions["holder"])
        try await holder.execute("BEGIN; SELECT FROM migrate.runs WHERE run = \(run) FOR UPDATE")
        async let outcome = onThread {
          var worker = try Worker(server: server, run: entered, control: RunControl()) { event in
            if case .reconnecting = event { again.give(.success(())) }
          }
          return try worker.apply()
        }
        _ = try await again.value
        try await holder.execute("COMMIT")
        #expect(try await outcome == .completed(leftBehind: 0))
      }
      #expect(try await shop.wrong(run) == Shop.Wrong())
    }
  }

  /// P03; the number that the server gave before it crashed is one that it has not given yet.
  @Test func `P03: has lost a transaction in a crash does not know its number, and it is over`() async throws {
    try await withShop { shop in
      try await onThread { [server = shop.server] in
        let asked = try Connection(to: server)
        let asking = try Connection(to: server)
        try asked.execute("BEGIN")
        let xid = try asked.query("SELECT pg_current_xact_id() AS xid").onlyRow.text(0)
        #expect(try Ledger.isInProgress(asking, transaction: xid))
        try asked.execute("ROLLBACK")
        #expect(try !Ledger.isInProgress(asking, transaction: xid))
        let future = String((Int(xid) ?? 0) + 1_000_000)
        #expect(try !Ledger.isInProgress(asking, transaction: future))
        #expect(asking.transactionStatus == .idle)
      }
    }
  }

  /// C18; there is nothing to do but say so, and nothing is changed.
  @Test func `C18: is read-only refuses with its own word`() async throws {
    try await withShop { shop in
      let run = try await shop.begin()
      let name = try await shop.trial.value("SELECT current_database()") ?? ""
      try await shop.server.psql("ALTER DATABASE \(name) SET default_transaction_read_only = on")
      let refusal = await #expect(throws: (any Error).self) { try await shop.trial.apply(run) }
      #expect("\(refusal.map { "\($0)" } ?? "")".contains("25006"))
      try await shop.server.database("postgres").psql("ALTER DATABASE \(name) RESET default_transaction_read_only")
      #expect(try await shop.strangers.isEmpty)
      #expect(try await shop.trial.apply(run) == .completed(leftBehind: 0))
    }
  }

  /// P29; a worker that was cut off waits until it may come in again.
  @Test func `P29: has no connection left is waited for`() async throws {
    try await withShop(rows: 60) { shop in
      let run = try await shop.begin()
      let role = "limited_\(try await shop.trial.value("SELECT current_database()") ?? "")"
      try await shop.server.psql(
        """
        CREATE ROLE \(role) LOGIN;
        GRANT USAGE ON SCHEMA shop, migrate, oracle TO \(role);
        GRANT ALL ON ALL TABLES IN SCHEMA shop, migrate, oracle TO \(role);
        GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA migrate TO \(role);
        """)
      let server = shop.server
      let limited = Trial(server.setting("user", role))
      let cut = Reply<Void>()
      async let restored: Void = {
        _ = try await cut.value
        try await server.psql(
          "ALTER ROLE \(role) CONNECTION LIMIT 0; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '\(role)'"
        )
        await #expect(throws: PostgresError.self) { try await limited.server.psql("SELECT 1") }
        try await server.psql("ALTER ROLE \(role) CONNECTION LIMIT -1")
      }()
      let events = Events { event in
        if case .batch(let record) = event, record.ordinal == 2 { cut.give(.success(())) }
      }
      #expect(try await limited.apply(run, events: events) == .completed(leftBehind: 0))
      try await restored
      #expect(events.reconnections > 0)
      #expect(try await shop.wrong(run) == Shop.Wrong())
      try await server.psql("DROP OWNED BY \(role); DROP ROLE \(role)")
    }
  }
}
