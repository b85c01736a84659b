import MigrateLedger
import MigratePlan
import MigrateRunner
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// What a revert meets with other values than the run has left, and cannot write.
@Suite struct `A row in conflict` {
  /// Kept, since it was to be overwritten, and then it was not.
  @Test(arguments: BackEnd.allCases)
  func `is left and counted when a trigger keeps force from overwriting it`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, n integer, locked boolean DEFAULT false);
        INSERT INTO t SELECT n, 1 FROM generate_series(1, 9) AS n; ANALYZE t;
        CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF OLD.locked THEN RETURN NULL; END IF; RETURN NEW; END $$;
        CREATE TRIGGER keep BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION keep()
        """)
      let compiled = try await Compiled("batch: t\nsource: t\nset: {n: n * 10}", on: server, batchSize: 4)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      try await server.psql("UPDATE t SET n = 77, locked = true WHERE id = 5; UPDATE t SET n = 78 WHERE id = 6")
      let told = try await backEnd.revert(compiled, on: server, onConflict: .force)
      #expect(
        told.text.contains(backEnd == .client ? "reverted(conflicts: 1)" : " 1 conflicts"), "\(told.text)")
      #expect(
        try await server.rows("SELECT key, reason, found FROM migrate.conflicts ORDER BY key")
          == [#"{5}|edited|{"n": "77"}"#, #"{6}|overwritten|{"n": "78"}"#])
      #expect(try await server.rows("SELECT id, n FROM t WHERE n <> 1") == ["5|77"])
      #expect(try await server.rows("SELECT state, rows_rejected FROM migrate.progress") == ["reverted|1"])
    }
  }

  /// A constraint that was added NOT VALID holds for whatever is written from then on: also for what was there before.
  @Test(arguments: BackEnd.allCases, ConflictPolicy.allCases)
  func `is told when a constraint refuses what it was before it was mended`(
    backEnd: BackEnd, policy: ConflictPolicy
  ) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, n integer, price integer);
        INSERT INTO t SELECT n, 1, CASE WHEN n = 5 THEN -1 ELSE 1 END FROM generate_series(1, 20) AS n; ANALYZE t;
        ALTER TABLE t ADD CONSTRAINT positive CHECK (price >= 0) NOT VALID;
        ALTER TABLE t ADD CHECK (n <> 60 AND price <> 60)
        """)
      let compiled = try await Compiled(
        "batch: t\nsource: t\nset: {n: CASE id WHEN 6 THEN 60 ELSE n * 10 END}\non_error: continue", on: server,
        batchSize: 7)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(try await Client.fix(1, "SET price = price + 1", on: server).text == "2 rows")
      #expect(try await backEnd.retry(1, on: server).isDone)
      let told = try await backEnd.revert(compiled, on: server, onConflict: policy)
      let rows = "SELECT id, n, price FROM t WHERE id IN (5, 6, 7) ORDER BY id"
      if policy == .stop {
        let said = "row (5) cannot have back what it held before it was mended: new row for relation "
        #expect(!told.isDone && told.text.contains(said), "\(told.text)")
        #expect(
          try await server.rows(
            "SELECT state, failure ->> 'message' LIKE '%constraint \"positive\"', failure ->> 'hint' FROM migrate.runs")
            == [
              "failed|t|`migrate revert 1 --on-conflict skip` leaves it as it was mended; "
                + "or drop the constraint, or widen the column, and `migrate revert 1` goes on"
            ])
        // Behind what was tried again, and before the batches.
        #expect(try await server.rows(rows) == ["5|1|0", "6|1|2", "7|10|1"])
        try await server.psql("ALTER TABLE t DROP CONSTRAINT positive")
        #expect(try await backEnd.revert(compiled, on: server).isDone)
        #expect(try await server.rows(rows) == ["5|1|-1", "6|1|1", "7|1|1"])
      } else {
        #expect(
          told.text.contains(backEnd == .client ? "reverted(conflicts: 1)" : " 1 conflicts"), "\(told.text)")
        #expect(try await server.rows(rows) == ["5|1|0", "6|1|1", "7|1|1"])
        #expect(
          try await server.rows("SELECT key, reason, found FROM migrate.conflicts")
            == [#"{5}|refused|{"price": "0"}"#])
        #expect(try await server.rows("SELECT state, rows_rejected FROM migrate.progress") == ["reverted|1"])
      }
    }
  }
}
