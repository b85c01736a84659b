import Foundation
import MigrateLedger
import MigratePlan
import MigratePostgres
import MigrateRunner
import MigrateTestSupport
import RunTestSupport
import TestSupport
import Testing

/// What others do to the table of a whole run.
@Suite struct `A whole run whose table changes` {
  /// P21; the batch waits for who makes the trigger before it takes its snapshot, and sees it. The mutant, whose snapshot is older
  /// than the lock, writes ten rows more through a trigger that it does not see.
  @Test(arguments: [true, false]) func `P21: meets a trigger that comes between two batches before it writes`(
    isLockedFirst: Bool
  ) async throws {
    try await withShop { shop in
      try await shop.server.psql(
        "CREATE FUNCTION shop.nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$")
      let run = try await shop.begin(edit: { plan in
        isLockedFirst
          ? try plan.patient() : try plan.replacing("LOCK TABLE", by: "SELECT 1; LOCK TABLE", in: .lock).patient()
      })
      let (first, locked) = (Reply<Void>(), Reply<Void>())
      let events = Events { event in
        guard case .batch(let record) = event, record.ordinal == 1 else { return }
        first.give(.success(()))
        while !locked.isKnown { pauseBriefly() }
      }
      let outcome = try await withSessions("changer", to: shop.server) { sessions in
        let changer = try #require(sessions["changer"])
        return try await shop.trial.applying(run, events: events) {
          try await first.value
          try await changer.execute(
            "BEGIN; CREATE TRIGGER late BEFORE UPDATE ON shop.products FOR EACH ROW EXECUTE FUNCTION shop.nothing()")
          locked.give(.success(()))
          try await shop.trial.waitUntilWorkerBlocked(by: changer)
          try await changer.execute("COMMIT")
        }
      }
      guard case .failed(let failure) = outcome else {
        Issue.record("it has not stopped: \(outcome)")
        return
      }
      #expect(failure.sqlState == "55000" && failure.message.contains("trigger late fires"))
      #expect(events.retries.isEmpty, "\(events.retries)")
      #expect(
        try await shop.trial.value("SELECT count(*) FROM migrate.batches") == (isLockedFirst ? "1" : "2"))
    }
  }

  /// P21; a lock on a table does not keep its schema from being renamed.
  @Test func `P21: changes nothing in another table that comes to its name in the middle of a batch`() async throws {
    try await withShop { shop in
      try await shop.server.psql(
        """
        CREATE SCHEMA green;
        CREATE TABLE green.products (LIKE shop.products INCLUDING ALL);
        INSERT INTO green.products TABLE shop.products
        """)
      let gate = "SELECT FROM pg_advisory_xact_lock_shared(7) AS gate(held) WHERE gate.held IS NULL"
      let run = try await shop.begin(edit: { plan in
        try plan.patient().inserting(gate, before: .changeAsCaptured)
      })
      let outcome = try await withSessions("changer", to: shop.server) { sessions in
        let changer = try #require(sessions["changer"])
        try await changer.execute("SELECT pg_advisory_lock(7)")
        return try await shop.trial.applying(run) {
          try await shop.trial.waitUntilWorkerBlocked(by: changer)
          try await changer.execute(
            "BEGIN; ALTER SCHEMA shop RENAME TO blue; ALTER SCHEMA green RENAME TO shop; COMMIT; SELECT pg_advisory_unlock(7)"
          )
        }
      }
      guard case .failed(let failure) = outcome else {
        Issue.record("it has not stopped: \(outcome)")
        return
      }
      #expect(
        failure.sqlState == "55000"
          && failure.message.contains("another table now, the one of the run is called blue.products"))
      #expect(try await shop.trial.value("SELECT count(*) FROM migrate.batches") == "0")
      #expect(
        try await shop.trial.value(
          "SELECT count(*) FROM shop.products AS a JOIN blue.products AS b USING (id) WHERE a.price <> b.price") == "0")
    }
  }

  /// P21; who may update one column only cannot keep a trigger out, so what the rows became is asked of the change.
  @Test(arguments: [false, true]) func `P21: keeps what a trigger has made of a batch that it came into`(
    byProcedure: Bool
  ) async throws {
    try await withDatabase { server in
      try await server.psql(
        """
        DO $$ BEGIN CREATE ROLE clerk LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
        CREATE TABLE t (id integer PRIMARY KEY, v integer);
        INSERT INTO t SELECT n, n FROM generate_series(1, 20) AS n;
        CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.v := -NEW.v; RETURN NEW; END $$;
        GRANT SELECT, UPDATE (v) ON t TO clerk;
        DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO clerk', current_database()); END $$
        """)
      let clerk = Trial(server.setting("user", "clerk"))
      let gate = "SELECT FROM pg_advisory_xact_lock_shared(7) AS gate(held) WHERE gate.held IS NULL"
      let run = try await clerk.begin(
        clerk.plan("batch: b\nsource: t\nset: {v: v + 1}\nbatch_size: 10").patient()
          .inserting(gate, before: .changeAsCaptured))
      let late = "CREATE TRIGGER late BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION late()"
      let (state, message) = try await withSessions("changer", to: server) { sessions in
        let changer = try #require(sessions["changer"])
        try await changer.execute("SELECT pg_advisory_lock(7)")
        return try await byProcedure
          ? driving(run, as: clerk, meeting: late, of: changer) : applying(run, as: clerk, meeting: late, of: changer)
      }
      #expect(state == "55000" && message.contains("trigger late fires"), "\(message)")
      #expect(try await server.psql("SELECT count(*) FROM t WHERE v = -(id + 1)") == [["10"]])
      try await server.psql("DROP TRIGGER late ON t")
      if byProcedure {
        // A takeover: the epoch after the first.
        try await clerk.server.psql("SELECT migrate.enter_revert(\(run))")
        try await clerk.server.psql("CALL migrate.drive(\(run), 2)")
      } else {
        #expect(try await clerk.revert(run) == .reverted(conflicts: 0))
      }
      #expect(try await server.psql("SELECT count(*) FROM t WHERE v = id") == [["20"]])
      #expect(try await server.psql("SELECT state FROM migrate.runs") == [["reverted"]])
    }
  }

  /// The client meets `change` in its first batch; how it then failed.
  private func applying(
    _ run: Int64, as clerk: Trial, meeting change: String, of changer: NamedSession
  ) async throws -> (state: String?, message: String) {
    let outcome = try await clerk.applying(run) {
      try await clerk.waitUntilWorkerBlocked(by: changer)
      try await changer.execute(change)
      try await changer.execute("SELECT pg_advisory_unlock(7)")
    }
    guard case .failed(let failure) = outcome else { return (nil, "it has not stopped: \(outcome)") }
    return (failure.sqlState, failure.message)
  }

  /// The same of the procedure.
  private func driving(
    _ run: Int64, as clerk: Trial, meeting change: String, of changer: NamedSession
  ) async throws -> (state: String?, message: String) {
    try await withSessions("driver", to: clerk.server) { sessions in
      let driver = try #require(sessions["driver"])
      try driver.start("CALL migrate.drive(\(run), 1)")
      try await driver.waitUntilBlocked(by: changer)
      try await changer.execute(change)
      try await changer.execute("SELECT pg_advisory_unlock(7)")
      do {
        try await driver.finish()
        return (nil, "it has not stopped")
      } catch let error as PostgresError {
        return (error.sqlState?.code, error.message)
      }
    }
  }
}
