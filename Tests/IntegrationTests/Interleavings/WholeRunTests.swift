import Foundation
import MigrateLedger
import MigratePlan
import MigratePostgres
import MigrateRunner
import RunTestSupport
import TestSupport
import Testing

/// For a thread that waits for a test; a few milliseconds.
func pauseBriefly() { usleep(2_000) }

@Suite struct `A whole run among writers` {
  /// The parent was committed after the snapshot: a foreign key error that is only the snapshot's age.
  @Test func `tries again when a foreign key is missing only in its snapshot`() async throws {
    try await withShop { shop in
      try await shop.server.psql(
        """
        CREATE TABLE shop.shelves (shelf numeric PRIMARY KEY);
        INSERT INTO shop.shelves SELECT n FROM generate_series(1, 40) AS n WHERE n <> 38;
        ALTER TABLE shop.products ADD FOREIGN KEY (price) REFERENCES shop.shelves;
        """)
      let events = Events()
      let run = try await shop.applyMeeting(
        lock: "SELECT FROM shop.products WHERE id = 190 FOR UPDATE", then: "INSERT INTO shop.shelves VALUES (38)",
        events: events)
      #expect(events.retries.count == 1 && events.retries[0].contains("violates foreign key constraint"))
      #expect(try await shop.wrong(run) == Shop.Wrong())
      #expect(try await shop.differsFromOneStatement.isEmpty)
    }
  }

  /// The value was taken after the snapshot, and what the value is computed from with it.
  @Test func `tries again when a unique key is taken only beyond its snapshot`() async throws {
    try await withShop(rows: 1) { shop in
      try await shop.server.psql(
        """
        CREATE UNIQUE INDEX ON shop.products (price);
        CREATE TABLE shop.taken (price numeric); INSERT INTO shop.taken VALUES (500);
        """)
      let events = Events()
      let run = try await shop.applyMeeting(
        Shop.definition.replacing("p.price * 2", with: "(SELECT max(t.price) + 1 FROM shop.taken AS t)"),
        lock: "SELECT FROM shop.products WHERE id = 10 FOR UPDATE",
        then: "INSERT INTO shop.products VALUES (5000, 501, 'idle', ''); INSERT INTO shop.taken VALUES (501)",
        events: events)
      #expect(events.retries.count == 1 && events.retries[0].contains("violates unique constraint"))
      #expect(try await shop.trial.value("SELECT price FROM shop.products WHERE id = 10") == "502")
      #expect(try await shop.wrong(run) == Shop.Wrong())
    }
  }

  /// Believed at the second time, with the place.
  @Test func `fails when a unique key is really taken`() async throws {
    try await withShop { shop in
      try await shop.server.psql("CREATE UNIQUE INDEX ON shop.products (price) WHERE id > 100")
      let run = try await shop.begin(Shop.definition.replacing("p.price * 2", with: "7"))
      let events = Events()
      guard case .failed(let failure) = try await shop.trial.apply(run, events: events) else {
        Issue.record("it has not failed")
        return
      }
      #expect(failure.sqlState == "23505" && events.retries.count == 1)
      #expect(try await shop.trial.value("SELECT failure ->> 'sqlstate' FROM migrate.runs") == "23505")
    }
  }

  /// The batch, which takes its rows in order, gives way to who takes them the other way round.
  @Test func `gives way to a writer in reverse order before either is chosen as a deadlock's victim`() async throws {
    try await withShop { shop in
      let run = try await shop.begin()
      // Otherwise the start would wait for the writer.
      try await shop.trial.bound(run)
      let events = Events()
      let outcome = try await withSessions("writer", to: shop.server) { sessions in
        let writer = try #require(sessions["writer"])
        try await writer.execute("BEGIN; UPDATE shop.products SET note = 'new' WHERE id = 100")
        return try await shop.trial.applying(run, events: events) {
          try await shop.trial.waitUntilWorkerBlocked(by: writer)
          // 10 is the batch's by now, 100 the writer's: a deadlock, unless somebody gives up.
          try await writer.execute("UPDATE shop.products SET note = 'new' WHERE id = 10")
          try await writer.execute("COMMIT")
        }
      }
      #expect(outcome == .completed(leftBehind: 0))
      #expect(events.retries.contains { $0.contains("lock timeout") }, "\(events.retries)")
      #expect(try await shop.wrong(run) == Shop.Wrong())
      #expect(try await shop.differsFromOneStatement.isEmpty)
    }
  }

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

  /// X06; RETURNING does not see what they do, so the images are read back.
  @Test func `keeps what AFTER triggers have made of its rows, and takes that back`() async throws {
    try await withShop { shop in
      try await shop.server.psql(
        """
        CREATE FUNCTION shop.whole() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          UPDATE shop.products SET price = ceil(price) WHERE id = NEW.id AND price <> ceil(price);
          RETURN NULL;
        END $$;
        CREATE TRIGGER whole AFTER UPDATE OF price ON shop.products FOR EACH ROW EXECUTE FUNCTION shop.whole();
        """)
      let run = try await shop.begin(Shop.definition.replacing("p.price * 2", with: "p.price * 1.5"), knowing: true)
      #expect(try await shop.trial.apply(run) == .completed(leftBehind: 0))
      #expect(try await shop.wrong(run) == Shop.Wrong())
      #expect(try await shop.trial.value("SELECT count(*) FROM shop.products WHERE price <> ceil(price)") == "0")
      #expect(try await shop.trial.revert(run) == .reverted(conflicts: 0))
      #expect(try await shop.strangers.isEmpty)
    }
  }

  /// C04; four writers that never leave the last rows alone.
  @Test(.timeLimit(.minutes(10))) func `C04: ends on rows that others change without pause`() async throws {
    try await withShop(rows: 60) { shop in
      let run = try await shop.begin()
      try await shop.server.psql(
        """
        CREATE PROCEDURE shop.hammer() LANGUAGE plpgsql AS $$
        BEGIN
          LOOP
            UPDATE shop.products SET note = 'hot ' || clock_timestamp() WHERE id = 10 * (41 + floor(random() * 20)::int);
            COMMIT;
          END LOOP;
        END $$
        """)
      let events = Events()
      try await withSessions("hammer 1", "hammer 2", "hammer 3", "hammer 4", to: shop.server) { sessions in
        for session in sessions.values { try session.start("CALL shop.hammer()") }
        try await shop.trial.wait(until: "SELECT count(*) > 10 FROM shop.products WHERE note LIKE 'hot%'")
        #expect(try await shop.trial.apply(run, events: events) == .completed(leftBehind: 0))
      }
      #expect(events.mostTries <= 6, "\(events.retries)")
      #expect(try await shop.wrong(run) == Shop.Wrong())
      #expect(try await shop.differsFromOneStatement.isEmpty)
      #expect(try await shop.trial.revert(run) == .reverted(conflicts: 0))
    }
  }

  /// C02; the writer changes the row and what is looked up for it. EvalPlanQual would take the new row and the old price.
  @Test(arguments: Level.allCases) func `C02: looks up what belongs to the row that it changes`(level: Level)
    async throws
  {
    try await withShop { shop in
      try await shop.server.psql("CREATE TABLE shop.list AS SELECT id, price * 2 AS price FROM shop.products")
      let definition = Shop.definition.replacing(
        "p.price * 2", with: "(SELECT l.price FROM shop.list AS l WHERE l.id = p.id)")
      let run = try await shop.begin(definition)
      let end = try await withSessions("migrate run by hand", "writer", to: shop.server) { sessions in
        let (hand, writer) = (try #require(sessions["migrate run by hand"]), try #require(sessions["writer"]))
        var batch = try await SteppedBatch(shop.trial, run: run, on: hand, number: level.rawValue)
        try await writer.execute(
          "BEGIN; UPDATE shop.products SET note = 'new' WHERE id = 50; UPDATE shop.list SET price = 200 WHERE id = 50")
        try await batch.run(upTo: .statement(level == .snapshot ? .change : level.capture))
        try batch.start()
        try await hand.waitUntilBlocked(by: writer)
        try await writer.execute("COMMIT")
        try await batch.finish()
        return try await batch.conclude()
      }
      #expect(end == (level == .locked ? .committed : .failed(.serializationFailure)))
      #expect(try await shop.trial.apply(run) == .completed(leftBehind: 0))
      #expect(try await shop.trial.value("SELECT price FROM shop.products WHERE id = 50") == "200")
      #expect(try await shop.wrong(run) == Shop.Wrong())
    }
  }

  /// C02; between capture and change what is looked up comes to be what the row holds already. That is no trigger's doing.
  @Test func `C02: goes on when a row needs no change any more`() async throws {
    try await withShop { shop in
      try await shop.server.psql(
        """
        CREATE TABLE shop.list AS SELECT id, price * 2 AS price FROM shop.products;
        CREATE SEQUENCE shop.tries;
        CREATE FUNCTION shop.third_time() RETURNS void LANGUAGE plpgsql AS $$
        BEGIN
          IF nextval('shop.tries') <= 2 THEN RAISE 'not yet' USING ERRCODE = '40001'; END IF;
          PERFORM pg_advisory_xact_lock_shared(7);
        END $$
        """)
      let definition = Shop.definition.replacing(
        "p.price * 2", with: "(SELECT l.price FROM shop.list AS l WHERE l.id = p.id)")
      let run = try await shop.begin(definition) {
        try $0.patient().inserting("SELECT FROM shop.third_time() OFFSET 1", before: .change)
      }
      let events = Events()
      let outcome = try await withSessions("holder", to: shop.server) { sessions in
        let holder = try #require(sessions["holder"])
        try await holder.execute("SELECT pg_advisory_lock(7)")
        return try await shop.trial.applying(run, events: events) {
          try await shop.trial.waitUntilWorkerBlocked(by: holder)
          try await shop.server.psql("UPDATE shop.list SET price = 5 WHERE id = 50")
          try await holder.execute("SELECT pg_advisory_unlock(7)")
        }
      }
      #expect(outcome == .completed(leftBehind: 0))
      #expect(events.retries.last == "rows needed no change any more")
      #expect(try await shop.trial.value("SELECT price FROM shop.products WHERE id = 50") == "5")
      #expect(try await shop.wrong(run) == Shop.Wrong())
    }
  }

  /// X03; and what is a trigger's doing is said.
  @Test func `fails when a trigger keeps rows from being changed`() async throws {
    try await withShop { shop in
      try await shop.server.psql(
        """
        CREATE FUNCTION shop.never() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
        CREATE TRIGGER never BEFORE UPDATE ON shop.products FOR EACH ROW WHEN (OLD.id = 50) EXECUTE FUNCTION shop.never();
        """)
      let run = try await shop.begin()
      guard case .failed(let failure) = try await shop.trial.apply(run) else {
        Issue.record("it has not failed")
        return
      }
      #expect(failure.message == "a trigger kept 1 of 10 rows from being changed")
      #expect(try await shop.strangers.isEmpty)
    }
  }

  /// C05b
  @Test(arguments: Level.allCases) func `C05b: does the row that came into the predicate for one that left it`(
    level: Level
  ) async throws {
    try await withShop { shop in
      try await shop.server.psql("UPDATE shop.products SET status = 'idle' WHERE id <> 10")
      let run = try await shop.begin()
      let end = try await withSessions("migrate run by hand", "writer", to: shop.server) { sessions in
        let (hand, writer) = (try #require(sessions["migrate run by hand"]), try #require(sessions["writer"]))
        var batch = try await SteppedBatch(shop.trial, run: run, on: hand, number: level.rawValue)
        try await writer.execute(
          "BEGIN; UPDATE shop.products SET status = CASE id WHEN 10 THEN 'idle' ELSE 'active' END WHERE id IN (10, 20)")
        try await batch.run(upTo: .statement(level == .snapshot ? .change : level.capture))
        try batch.start()
        try await hand.waitUntilBlocked(by: writer)
        try await writer.execute("COMMIT")
        try await batch.finish()
        return try await batch.conclude()
      }
      #expect(end == (level == .locked ? .inexact : .failed(.serializationFailure)))
      #expect(try await shop.trial.apply(run) == .completed(leftBehind: 0))
      #expect(
        try await shop.server.psql("SELECT price FROM shop.products WHERE id IN (10, 20) ORDER BY id") == [
          ["1"], ["4"],
        ])
      #expect(try await shop.wrong(run) == Shop.Wrong())
    }
  }
}

extension Shop {
  /// Applies while one session holds `lock` until the run waits for it; `script` commits before that session lets go.
  func applyMeeting(
    _ definition: String = Shop.definition, lock: String, then script: String, events: Events
  ) async throws -> Int64 {
    let run = try await begin(definition, edit: { try $0.patient() })
    try await withSessions("holder", to: server) { sessions in
      let holder = try #require(sessions["holder"])
      try await holder.execute("BEGIN; \(lock)")
      let outcome = try await trial.applying(run, events: events) {
        try await trial.waitUntilWorkerBlocked(by: holder)
        try await server.psql(script)
        try await holder.execute("COMMIT")
      }
      #expect(outcome == .completed(leftBehind: 0))
    }
    return run
  }
}
