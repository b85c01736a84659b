import Foundation
import MigratePlan
import MigratePostgres
import MigrateRunner
import MigrateTestSupport
import RunTestSupport
import TestSupport
import Testing

/// Several workers, and sessions that count in the very rows: what one of them adds must be there at the end, once.
@Suite struct `Workers among writers who count` {
  /// What the run changes: the column that the writers count in, or another one, which they leave alone.
  enum Change: String, CaseIterable {
    case sameColumn = "n"
    case otherColumn = "m"

    /// The column's number in its table, by which undo calls it.
    fileprivate var number: Int { self == .sameColumn ? 2 : 3 }
  }

  /// C01, C06, C07. The writers' transactions touch their rows from the highest key to the lowest, each batch the other way round. A
  /// deadlock would be the run's doing, since no two writers can have one; a batch gives way before the server looks for it.
  @Test(.serialized, .timeLimit(.minutes(30)), arguments: [4, 8], Change.allCases)
  func `C01 C06 C07: lose no count, change no row twice, and bring nobody into a deadlock`(
    workers: Int, change: Change
  ) async throws {
    let seconds = (ProcessInfo.processInfo.environment["MIGRATE_TORTURE"] ?? "").isEmpty ? 3 : 60
    let seed = ProcessInfo.processInfo.environment["SEED"].flatMap { Int($0) } ?? Int.random(in: 1...999_999)
    print("writers who count: SEED=\(seed)")
    try await withLedger { server in
      let counters = try await Counters(server, change: change, workers: workers)
      var tally = Counters.Tally()
      try await withWriters(server, seed: seed) {
        let deadline = ContinuousClock.now + .seconds(seconds)
        while ContinuousClock.now < deadline || tally.runs == 0 { try await counters.goThereAndBack(&tally) }
      }
      print("writers who count: \(tally)")
      #expect(tally.rows > 0)
      #expect(try await counters.trial.value("SELECT count(*) > 100 FROM counters.added") == "t")
      #expect(try await counters.trial.value("SELECT count(*) FROM counters.harm") == "0")
      #expect(tally.retries.keys.allSatisfy { !$0.contains("deadlock") }, "\(tally)")
      #expect(try await counters.complaints() == [])
    }
  }

  /// The same with pgbench, whose clients end at the first error: what reaches the application ends it.
  @Test(.serialized, .timeLimit(.minutes(30)), arguments: Change.allCases)
  func `C01 C06: lose nothing of what pgbench writes, and give it no error`(change: Change) async throws {
    let seconds = (ProcessInfo.processInfo.environment["MIGRATE_TORTURE"] ?? "").isEmpty ? 3 : 60
    try await withLedger { server in
      let counters = try await Counters(server, change: change, workers: 4)
      var tally = Counters.Tally()
      async let bench = PgBench.run(PgBench.scripts, clients: 4, seconds: seconds, on: server)
      let deadline = ContinuousClock.now + .seconds(seconds)
      while ContinuousClock.now < deadline || tally.runs == 0 { try await counters.goThereAndBack(&tally) }
      let told = try await bench
      print("pgbench: \(tally)")
      #expect(told.isDone && told.text.contains("number of failed transactions: 0 "), "\(told.text)")
      #expect(try await counters.trial.value("SELECT count(*) > 100 FROM counters.added") == "t")
      #expect(tally.conflicts > 0)
      #expect(tally.retries.keys.allSatisfy { !$0.contains("deadlock") }, "\(tally)")
      #expect(try await counters.complaints() == [])
    }
  }

  private func withWriters(_ server: Server, seed: Int, _ body: () async throws -> Void) async throws {
    try await withSessions("w1", "w2", "w3", "w4", to: server) { sessions in
      for (number, session) in sessions.values.enumerated() {
        try session.start("CALL counters.write(\(seed + number))")
      }
      try await body()
      try await server.psql("UPDATE counters.stop SET now = true")
      for session in sessions.values { try await session.finish() }
    }
  }
}

/// Rows that are counted in, each known by its birth: a key comes again when its row was deleted, a birth does not. Two logs say
/// what a row must hold: what the writers have added, and what the server saw the run change.
private struct Counters {
  struct Tally: CustomStringConvertible {
    var runs = 0
    var rows = 0
    var conflicts = 0
    var retries: [String: Int] = [:]
    var description: String { "\(runs) runs, \(rows) rows, \(conflicts) not taken back, \(retries)" }
  }

  let trial: Trial
  private let change: `Workers among writers who count`.Change
  private let definition: String

  init(_ server: Server, change: `Workers among writers who count`.Change, workers: Int) async throws {
    trial = Trial(server)
    self.change = change
    definition = """
      batch: thousands
      source: {table: counters.rows, as: c}
      set: {\(change.rawValue): c.\(change.rawValue) + 1000}
      batch_size: 10
      parallel: \(workers)
      """
    try await server.psql(Self.tables)
  }

  /// A run and its way back, both while others write.
  func goThereAndBack(_ tally: inout Tally) async throws {
    let plan = try await trial.plan(definition).overlooking("a_oracle")
    let born = try await trial.value("SELECT max(birth) FROM counters.rows") ?? ""
    let run = try await trial.begin(plan)
    let events = Events()
    guard case .completed = try await trial.apply(run, events: events) else {
      throw TestSupportError("run \(run) is not complete: \(try await trial.state(run) ?? "")")
    }
    // Somebody counts on what the run has left.
    try await Task.sleep(for: .milliseconds(50))
    guard case .reverted(let conflicts) = try await trial.revert(run, .skip, events: events) else {
      throw TestSupportError("run \(run) is not taken back: \(try await trial.state(run) ?? "")")
    }
    tally.runs += 1
    tally.conflicts += conflicts
    tally.rows +=
      Int(try await trial.value("SELECT sum(rows_changed) FROM migrate.batches WHERE run = \(run)") ?? "") ?? 0
    for reason in events.retries { tally.retries[reason, default: 0] += 1 }
    #expect(events.workers.count > 1)
    // When nothing is in conflict undo is gone; nobody has written meanwhile then.
    guard conflicts > 0 else { return }
    #expect(try await complaints(of: run, conflicts: conflicts, born: born) == [])
  }

  /// What is wrong when nobody writes any more: rows that do not hold what the logs say.
  func complaints() async throws -> [String] {
    let wrong = try await trial.server.psql(
      """
      SELECT r.id, r.n, r.m, a.n, o.n, o.m
      FROM   counters.rows AS r
      LEFT   JOIN (SELECT birth, sum(n) AS n FROM counters.added GROUP BY birth) AS a USING (birth)
      LEFT   JOIN (SELECT birth, sum(new_n - old_n) AS n, sum(new_m - old_m) AS m
                   FROM counters.changed GROUP BY birth) AS o USING (birth)
      WHERE  r.n <> coalesce(a.n, 0) + coalesce(o.n, 0) OR r.m <> coalesce(o.m, 0)
      """)
    return wrong.map { "key, n, m, added, changed n, changed m: \($0.map { $0 ?? "NULL" })" }
  }

  /// What the run did to each row: a thousand more, once; then perhaps a thousand less, once; undo of just that. Rows that were
  /// there when the run began, up to the birth `born`, and are still there were all met.
  private func complaints(of run: Int64, conflicts: Int, born: String) async throws -> [String] {
    let (column, number) = (change.rawValue, change.number)
    let rows = try await trial.server.psql(
      """
      WITH seen AS (
        SELECT c.birth, c.id, b.kind, c.old_\(column) AS old, c.new_\(column) AS new
        FROM   counters.changed AS c JOIN migrate.batches AS b USING (xid)
        WHERE  b.run = \(run)
      ), kept AS (
        SELECT d.k AS id, d.o AS old, d.n AS new
        FROM   migrate.undo_\(run)_1 AS u, unnest(u.k_1, u.o_\(number), u.n_\(number)) AS d(k, o, n)
      )
      SELECT (SELECT count(*) FROM seen WHERE new - old <> CASE kind WHEN 'apply' THEN 1000 ELSE -1000 END),
             (SELECT count(*) FROM (SELECT FROM seen GROUP BY birth, kind HAVING count(*) > 1) AS twice),
             (SELECT count(*) FROM (SELECT id, old, new FROM seen WHERE kind = 'apply' EXCEPT ALL TABLE kept) AS unkept),
             (SELECT count(*) FROM (TABLE kept EXCEPT ALL SELECT id, old, new FROM seen WHERE kind = 'apply') AS unseen),
             (SELECT count(*) FROM counters.changed WHERE xid NOT IN (SELECT xid FROM migrate.batches)),
             (SELECT count(*) FROM counters.rows AS r
              WHERE  r.birth <= \(born) AND r.id <= (SELECT upper_key[1]::bigint FROM migrate.runs WHERE run = \(run))
                AND  NOT EXISTS (SELECT FROM seen AS s WHERE s.birth = r.birth AND s.kind = 'apply')),
             (SELECT count(*) FILTER (WHERE kind = 'apply') - count(*) FILTER (WHERE kind = 'revert') - \(conflicts) FROM seen)
      """)
    let names = [
      "not a thousand", "twice", "without undo", "undo without a change", "covered by no entry", "not met",
      "neither back nor a conflict",
    ]
    return zip(names, rows.first ?? []).filter { $1 != "0" }.map { "run \(run): \($0): \($1 ?? "NULL")" }
  }

  /// A thousand rows, which the writers may delete; what they put in their place has a later birth.
  private static let tables = """
    SET client_min_messages = error;
    CREATE SCHEMA counters;
    CREATE TABLE counters.rows (
      id bigint PRIMARY KEY, n bigint NOT NULL, m bigint NOT NULL DEFAULT 0, note text,
      birth bigint GENERATED ALWAYS AS IDENTITY
    );
    CREATE TABLE counters.added (birth bigint, n bigint);
    CREATE TABLE counters.changed (
      xid xid8, birth bigint, id bigint, old_n bigint, new_n bigint, old_m bigint, new_m bigint
    );
    CREATE TABLE counters.harm (message text);
    CREATE TABLE counters.stop AS SELECT false AS now;
    INSERT INTO counters.rows (id, n) SELECT k * 10, k * 1000000 FROM generate_series(1, 1000) AS k;
    INSERT INTO counters.added SELECT birth, n FROM counters.rows;
    ANALYZE counters.rows;
    CREATE FUNCTION counters.log() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      INSERT INTO counters.changed VALUES (pg_current_xact_id(), OLD.birth, OLD.id, OLD.n, NEW.n, OLD.m, NEW.m);
      RETURN NULL;
    END $$;
    CREATE TRIGGER a_oracle AFTER UPDATE ON counters.rows
    FOR EACH ROW WHEN (current_setting('application_name') LIKE 'migrate run%') EXECUTE FUNCTION counters.log();
    CREATE PROCEDURE counters.write(seed int) LANGUAGE plpgsql AS $$
    DECLARE
      k bigint;
    BEGIN
      PERFORM setseed(seed % 1000 / 1000.0);
      WHILE NOT (SELECT now FROM counters.stop) LOOP
        BEGIN
          FOR k IN SELECT DISTINCT 10 * (1 + (random() * 999)::bigint) FROM generate_series(1, 4) ORDER BY 1 DESC LOOP
            CASE (random() * 12)::int
              WHEN 0 THEN DELETE FROM counters.rows WHERE id = k;
              WHEN 1 THEN
                WITH born AS (
                  INSERT INTO counters.rows (id, n) VALUES (k, -1000000 * nextval('counters.rows_birth_seq'))
                  ON CONFLICT DO NOTHING RETURNING birth, n)
                INSERT INTO counters.added TABLE born;
              WHEN 2 THEN UPDATE counters.rows SET note = 'other' WHERE id = k;
              WHEN 3 THEN PERFORM FROM counters.rows WHERE id = k FOR UPDATE;
              ELSE
                WITH counted AS (UPDATE counters.rows SET n = n + 1 WHERE id = k RETURNING birth)
                INSERT INTO counters.added SELECT birth, 1 FROM counted;
            END CASE;
            -- Long enough for a batch to meet what is held, and to be met.
            PERFORM pg_sleep(random() * 0.003);
          END LOOP;
        EXCEPTION WHEN OTHERS THEN INSERT INTO counters.harm VALUES (SQLSTATE || ' ' || SQLERRM);
        END;
        COMMIT;
        PERFORM pg_sleep(random() * 0.02);
      END LOOP;
    END $$
    """
}
