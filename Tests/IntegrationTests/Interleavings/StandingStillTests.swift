import MigrateLedger
import MigrateRunner
import MigrateTestSupport
import RunTestSupport
import TestSupport
import Testing

/// Two workers, of whom one cannot go on while the other has a batch in hand.
@Suite struct `A worker that cannot go on` {
  /// Row 1 is refused by `code`, once lock 8 is free; row 501, of the other worker's first batch, waits for lock 7.
  private func withMates(
    _ code: String,
    _ body: (Trial, _ run: Int64, _ first: NamedSession, _ mate: NamedSession) async throws -> Void
  ) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, n integer NOT NULL);
        INSERT INTO t SELECT n, 1 FROM generate_series(1, 1000) AS n;
        ANALYZE t;
        CREATE FUNCTION meet() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          IF NEW.id = 1 THEN
            PERFORM pg_advisory_xact_lock_shared(8);
            RAISE 'no' USING ERRCODE = '\(code)';
          END IF;
          PERFORM pg_advisory_xact_lock_shared(7);
          RETURN NEW;
        END $$;
        CREATE TRIGGER meet BEFORE UPDATE ON t FOR EACH ROW WHEN (OLD.id IN (1, 501)) EXECUTE FUNCTION meet();
        """)
      let trial = Trial(server)
      let run = try await trial.begin(
        trial.plan("batch: b\nsource: t\nset: {n: n * 10}\nbatch_size: 100\nparallel: 2\non_error: stop").patient())
      try await withSessions("first", "mate", to: server) { sessions in
        let (first, mate) = (try #require(sessions["first"]), try #require(sessions["mate"]))
        try await first.execute("SELECT pg_advisory_lock(8)")
        try await mate.execute("SELECT pg_advisory_lock(7)")
        try await body(trial, run, first, mate)
      }
    }
  }

  @Test func `has the run pause when the other has ended its batch, and not before`() async throws {
    try await withMates("53100") { trial, run, first, mate in
      let outcome = try await trial.applying(run) {
        try await trial.waitUntilWorkerBlocked(by: first)
        try await trial.waitUntilWorkerBlocked(by: mate)
        try await first.execute("SELECT pg_advisory_unlock(8)")
        try await trial.wait(until: "SELECT failure IS NOT NULL FROM migrate.runs")
        #expect(try await trial.value("SELECT migrate.pause(\(run))") == "pausing")
        #expect(try await trial.value("SELECT count(*) FROM t WHERE n <> 1") == "0")
        try await mate.execute("SELECT pg_advisory_unlock(7)")
      }
      guard case .pausedByServer(let failure) = outcome else {
        Issue.record("\(outcome)")
        return
      }
      #expect(failure.sqlState == "53100")
      #expect(try await trial.state(run) == "paused")
      #expect(try await trial.value("SELECT count(*) FROM t WHERE n = 10") == "100")
    }
  }

  @Test func `fails the run, and who cancels it then finds what the other had in hand undone`() async throws {
    try await withMates("P0001") { trial, run, first, mate in
      let outcome = try await trial.applying(run) {
        try await trial.waitUntilWorkerBlocked(by: first)
        try await trial.waitUntilWorkerBlocked(by: mate)
        try await first.execute("SELECT pg_advisory_unlock(8)")
        try await trial.wait(until: "SELECT state = 'failed' FROM migrate.runs")
        #expect(try await trial.value("SELECT migrate.cancel(\(run))") == "cancelled")
        try await mate.execute("SELECT pg_advisory_unlock(7)")
      }
      guard case .failed = outcome else {
        Issue.record("\(outcome)")
        return
      }
      #expect(try await trial.state(run) == "cancelled")
      #expect(try await trial.value("SELECT count(*) FROM t WHERE n <> 1") == "0")
      #expect(try await trial.value("SELECT count(*) FROM migrate.batches") == "0")
    }
  }
}
