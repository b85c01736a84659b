import Foundation
import MigrateLedger
import MigratePlan
import MigrateRunner
import RunTestSupport
import TestSupport
import Testing

/// Six writers that do all that is in the table, at random and without pause, and runs among them.
@Suite struct `Runs among six writers` {
  /// C07 and all the others. The seed is said; `SEED=…` gives the writers the same dice.
  @Test(.timeLimit(.minutes(3)), arguments: [false, true])
  func `C07: have undo of every row that they changed, and of no other`(slowly: Bool) async throws {
    let seconds = (ProcessInfo.processInfo.environment["MIGRATE_TORTURE"] ?? "").isEmpty ? 3 : 60
    let seed = ProcessInfo.processInfo.environment["SEED"].flatMap { Int($0) } ?? Int.random(in: 1...999_999)
    print("six writers: SEED=\(seed)")
    try await withShop(rows: 400) { shop in
      try await shop.server.psql(Self.writers)
      var tally = Tally()
      try await withWriters(shop, seed: seed) {
        let deadline = ContinuousClock.now + .seconds(seconds)
        while ContinuousClock.now < deadline || tally.runs == 0 { try await Self.applyOnce(shop, slowly, &tally) }
      }
      print("six writers: \(tally)")
      #expect(tally.changed > 0)
      // Nobody writes any more: what is still as the last run left it comes back, the rest is listed.
      let last = try await shop.trial.value("SELECT max(run) FROM migrate.runs").flatMap { Int64($0) } ?? 0
      try await Self.checkRevert(of: last, shop)
    }
  }

  private struct Tally: CustomStringConvertible {
    var runs = 0
    var changed = 0
    var retries: [String: Int] = [:]
    var mostTries = 1
    var description: String { "\(runs) runs, \(changed) rows, most tries \(mostTries), \(retries)" }
  }

  private static func applyOnce(_ shop: Shop, _ slowly: Bool, _ tally: inout Tally) async throws {
    let definition = shop.definitionOfSmallSteps
    var plan = try await shop.trial.plan(definition).overlooking("a_oracle")
    // Two milliseconds between the two statements that must agree.
    if slowly { plan = plan.inserting("SELECT FROM pg_sleep(0.002) OFFSET 1", before: .change) }
    if tally.runs == 0 { try await shop.watch() }
    let run = try await shop.trial.begin(plan)
    let events = Events()
    let outcome = try await shop.trial.apply(run, events: events)
    guard case .completed = outcome else { throw TestSupportError("the run is \(outcome)") }
    #expect(try await shop.wrong(run) == Shop.Wrong())
    tally.runs += 1
    tally.changed += Int(try await shop.counts(run)[1] ?? "") ?? 0
    tally.mostTries = max(tally.mostTries, events.mostTries)
    for reason in events.retries { tally.retries[reason, default: 0] += 1 }
  }

  private static func checkRevert(of run: Int64, _ shop: Shop) async throws {
    let expected = try await shop.server.psql(
      """
      SELECT d.k, CASE WHEN p.price IS NOT NULL AND record_image_eq(ROW(p.price), ROW(d.n)) THEN d.o ELSE p.price END
      FROM   migrate.undo_\(run)_1 AS u, unnest(u.k_1, u.o_2, u.n_2) AS d(k, o, n)
      LEFT   JOIN shop.products AS p ON p.id = d.k
      ORDER  BY d.k
      """)
    let conflicts = try await shop.trial.value(
      """
      SELECT count(*) FROM migrate.undo_\(run)_1 AS u, unnest(u.k_1, u.n_2) AS d(k, n)
      LEFT   JOIN shop.products AS p ON p.id = d.k
      WHERE  p.id IS NULL OR record_image_ne(ROW(p.price), ROW(d.n))
      """)
    let keys = expected.map { $0[0] ?? "" }.joined(separator: ", ")
    let reverted = try await shop.trial.revert(run, .skip)
    #expect(reverted == .reverted(conflicts: conflicts.flatMap { Int($0) } ?? -1))
    let found = try await shop.server.psql(
      """
      SELECT d.k, p.price FROM unnest('{\(keys)}'::bigint[]) AS d(k) LEFT JOIN shop.products AS p ON p.id = d.k ORDER BY d.k
      """)
    #expect(found == expected)
  }

  private func withWriters(_ shop: Shop, seed: Int, _ body: () async throws -> Void) async throws {
    try await withSessions("w1", "w2", "w3", "w4", "w5", "w6", to: shop.server) { sessions in
      for (number, session) in sessions.values.enumerated() {
        try session.start("CALL shop.write(\(seed + number))")
      }
      try await body()
      try await shop.server.psql("UPDATE shop.stop SET now = true")
      // The dice of one can bring it into a deadlock with another; it goes on then, so an error here is one.
      for session in sessions.values { try await session.finish() }
    }
  }

  /// Everything in the table of interleavings, by dice, until it is told to stop.
  private static let writers = """
    CREATE TABLE shop.stop AS SELECT false AS now;
    CREATE PROCEDURE shop.write(seed int) LANGUAGE plpgsql AS $$
    DECLARE k bigint;
    BEGIN
      PERFORM setseed(seed % 1000 / 1000.0);
      WHILE NOT (SELECT now FROM shop.stop) LOOP
        BEGIN
          FOR step IN 1 .. 1 + (random() * 2)::int LOOP
            k := 1 + (random() * 4000)::bigint;
            IF random() < 0.8 THEN k := k / 10 * 10; END IF;
            CASE (random() * 10)::int
              WHEN 0 THEN DELETE FROM shop.products WHERE id = k;
              WHEN 1 THEN INSERT INTO shop.products VALUES (k, k, 'active', 'new') ON CONFLICT DO NOTHING;
              WHEN 2 THEN UPDATE shop.products SET status = CASE status WHEN 'active' THEN 'idle' ELSE 'active' END WHERE id = k;
              WHEN 3 THEN UPDATE shop.products SET id = 1 + (random() * 4000)::bigint WHERE id = k;
              WHEN 4 THEN
                DELETE FROM shop.products WHERE id = k;
                INSERT INTO shop.products VALUES (k, -k, 'active', 'again') ON CONFLICT DO NOTHING;
              WHEN 5 THEN PERFORM FROM shop.products WHERE id = k FOR UPDATE;
              WHEN 6 THEN INSERT INTO shop.items SELECT id FROM shop.products WHERE id = k;
              WHEN 7 THEN UPDATE shop.products SET note = 'other' WHERE id = k;
              ELSE UPDATE shop.products SET price = price + 1 WHERE id = k;
            END CASE;
          END LOOP;
        -- The last is the server's own: in a minute of this PostgreSQL 15.18 now and then tells a writer, whose subtransaction
        -- then is rolled back, that "new multixact has more than one updating member". To a run it may not happen in silence.
        EXCEPTION WHEN unique_violation OR foreign_key_violation OR deadlock_detected OR internal_error THEN NULL;
        END;
        COMMIT;
      END LOOP;
    END $$
    """
}

extension Shop {
  /// A change that never reaches a number too large, however often it is made.
  fileprivate var definitionOfSmallSteps: String {
    Shop.definition.replacing("p.price * 2", with: "p.price + 1000").replacing("batch_size: 10", with: "batch_size: 25")
  }
}
