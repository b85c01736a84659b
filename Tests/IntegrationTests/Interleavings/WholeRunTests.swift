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
