import Migrate
import MigrateLedger
import MigratePostgres
@testable import MigrateRunner
import RunTestSupport
import TestSupport
import MigrateTestSupport
import Testing

/// Whoever waits is let through by all that a run does with the rows, and nobody else is disturbed for it.
@Suite struct `What others wait for` {
  /// The second row takes ten seconds while there is a table `waited_for`, from the second time on that the first one is written:
  /// a sequence counts these, which no ROLLBACK takes back.
  private static func table(tries: Int) -> String {
    """
    CREATE TABLE products (id integer PRIMARY KEY, price integer NOT NULL, touched integer NOT NULL DEFAULT 0);
    INSERT INTO products (id, price) SELECT n, n FROM generate_series(1, 40) AS n;
    CREATE SEQUENCE tries;
    CREATE TABLE waited_for ();
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF NEW.id = 1 THEN
        PERFORM nextval('tries');
      ELSIF NEW.id = 2 AND to_regclass('waited_for') IS NOT NULL AND (SELECT last_value >= \(tries) FROM tries) THEN
        PERFORM pg_sleep(10);
      END IF;
      RETURN NEW;
    END $$;
    CREATE TRIGGER slow BEFORE UPDATE OF price ON products FOR EACH ROW EXECUTE FUNCTION slow();
    """
  }

  private static func definition(_ onError: String) -> String {
    """
    batch: prices
    source: products
    set: {price: price + 1}
    batch_size: 40
    on_error: \(onError)
    throttle: {max_blocking: 200ms}
    """
  }

  private static let nobodyWatches = """
    SELECT NOT EXISTS (SELECT FROM pg_stat_activity
                       WHERE application_name LIKE 'migrate watch%' AND datname = current_database())
    """

  private static let sleeps =
    "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database())"

  @Test func `is given up by the search for rows at fault`() async throws {
    try await withLedger { server in
      try await server.psql(Self.table(tries: 2) + "ALTER TABLE products ADD CHECK (price <> 41)")
      let trial = Trial(server)
      let run = try await trial.begin(try await trial.plan(Self.definition("stop")))
      let outcome = try await trial.applying(run) {
        try await trial.wait(until: Self.sleeps)
        try await server.psql("UPDATE products SET touched = touched + 1 WHERE id = 1")
      }
      guard case .failed(let failure) = outcome else {
        Issue.record("it has not failed: \(outcome)")
        return
      }
      #expect(failure.sqlState == "23514" && failure.culprits == nil)
      #expect(try await trial.value("SELECT count(*) FROM products WHERE price <> id OR touched = 1") == "1")
    }
  }

  @Test func `is given up by rows of quarantine that are tried again`() async throws {
    try await withLedger { server in
      try await server.psql(
        Self.table(tries: 1) + "ALTER TABLE products ADD CONSTRAINT few CHECK (id > 3 OR price <= 3)")
      try await server.psql("UPDATE products SET price = 3 WHERE id < 3; ALTER TABLE waited_for RENAME TO later")
      let trial = Trial(server)
      let run = try await trial.begin(try await trial.plan(Self.definition("continue")))
      #expect(try await trial.apply(run) == .completed(leftBehind: 0))
      #expect(try await trial.value("SELECT count(*) FROM migrate.rejects") == "3")
      try await server.psql("ALTER TABLE products DROP CONSTRAINT few; ALTER TABLE later RENAME TO waited_for")
      let events = Events()
      async let retried = onThread {
        let runs = try Runs(on: server)
        return try runs.retry(try runs.find(String(run)), control: RunControl()) { events.add($0) }
      }
      try await trial.wait(until: Self.sleeps)
      try await server.psql("UPDATE products SET touched = touched + 1 WHERE id = 1; DROP TABLE waited_for")
      #expect(try await retried == .done)
      #expect(events.retries.contains("somebody waited 200 ms for it"), "\(events.retries)")
      #expect(try await trial.value("SELECT count(*) FROM migrate.rejects WHERE state = 'open'") == "0")
      #expect(
        try await trial.value("SELECT string_agg(price::text, ' ' ORDER BY id) FROM products WHERE id < 5") == "4 4 4 5"
      )
    }
  }

  /// Behind a pooler the backend is another client's then.
  @Test func `cancels no statement behind the batch, however late the word of it comes`() async throws {
    try await withLedger { server in
      try await withFolder { folder in
        let proxy = try Proxy(folder: folder, to: try await TestCluster.shared.socketFolder)
        defer { proxy.close() }
        proxy.holdBack("pg_cancel_backend", for: .milliseconds(300))
        try await server.psql("CREATE TABLE held ()")
        try await withSessions("batch", "waiting", to: server) { sessions in
          let (batch, waiting) = (try #require(sessions["batch"]), try #require(sessions["waiting"]))
          let watch = BlockingWatch(proxy.through(server), limit: .milliseconds(50))
          for _ in 1...3 {
            let held = proxy.heldBack
            try await batch.execute("BEGIN; LOCK TABLE held")
            watch.begin(Int(try await batch.pid))
            try waiting.start("LOCK TABLE held IN SHARE MODE; SELECT FROM held")
            while proxy.heldBack == held { try await Task.sleep(for: .milliseconds(1)) }
            #expect(watch.end())
            try await batch.execute("ROLLBACK")
            await #expect(throws: Never.self) { try await batch.execute("SELECT pg_sleep(0.5)") }
            _ = try? await waiting.finish()
          }
        }
      }
    }
  }

  /// The role has as many connections as it takes to run without that, or may not ask what it asks.
  @Test(arguments: ["too many connections", "permission denied for function pg_blocking_pids"])
  func `is told when nobody can look, once, and the run goes on`(reason: String) async throws {
    try await withDatabase { server in
      let name = try await server.psql("SELECT current_database()")[0][0] ?? ""
      let few = "watched_\(name)"
      try await server.psql(
        Self.table(tries: 1_000)
          + """
          CREATE ROLE \(few) LOGIN CONNECTION LIMIT \(reason.hasPrefix("too") ? 2 : 9);
          \(reason.hasPrefix("too") ? "" : "REVOKE EXECUTE ON FUNCTION pg_blocking_pids FROM PUBLIC;")
          GRANT CREATE ON DATABASE \(name) TO \(few);
          GRANT SELECT, UPDATE ON products TO \(few);
          GRANT USAGE, UPDATE, SELECT ON SEQUENCE tries TO \(few);
          GRANT pg_read_all_stats TO \(few);
          CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.1); RETURN NEW; END $$;
          CREATE TRIGGER wait BEFORE UPDATE OF price ON products FOR EACH ROW EXECUTE FUNCTION wait();
          """)
      let trial = Trial(server.setting("user", few))
      let run = try await trial.begin(try await trial.plan(Self.definition("stop")))
      try await Trial(server).wait(until: "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE usename = '\(few)')")
      let events = Events()
      let outcome = try await trial.apply(run, events: events)
      try await server.psql("REASSIGN OWNED BY \(few) TO current_user; DROP OWNED BY \(few); DROP ROLE \(few)")
      #expect(outcome == .completed(leftBehind: 0))
      #expect(events.unwatched.count == 1 && events.unwatched.allSatisfy { $0.contains(reason) }, "\(events.unwatched)")
    }
  }

  @Test func `is looked at by no second connection on the way back`() async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE products (id integer PRIMARY KEY, price integer NOT NULL);
        INSERT INTO products (id, price) SELECT n, n FROM generate_series(1, 40) AS n;
        CREATE SEQUENCE watchers;
        CREATE FUNCTION seen() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          PERFORM pg_sleep(0.02), pg_stat_clear_snapshot();
          PERFORM nextval('watchers') FROM pg_stat_activity WHERE application_name LIKE 'migrate watch%' AND datname = current_database();
          RETURN NEW;
        END $$;
        CREATE TRIGGER seen BEFORE UPDATE ON products FOR EACH ROW EXECUTE FUNCTION seen();
        """)
      let trial = Trial(server)
      let run = try await trial.begin(try await trial.plan(Self.definition("stop")))
      #expect(try await trial.apply(run) == .completed(leftBehind: 0))
      #expect(try await trial.value("SELECT is_called FROM watchers") == "t")
      try await trial.wait(until: Self.nobodyWatches)
      try await server.psql("ALTER SEQUENCE watchers RESTART")
      #expect(try await trial.revert(run, .force) == .reverted(conflicts: 0))
      #expect(try await trial.value("SELECT is_called FROM watchers") == "f")
    }
  }
}
