import MigrateLedger
import MigratePlan
import MigrateRunner
import TestRuns
import TestSupport
import Testing

/// What a revert meets with other values than the run has left, and cannot write.
@Suite struct `A row in conflict` {
  /// Kept, since it was to be overwritten, and then it was not.
  @Test(arguments: BackEnd.allCases)
  func `is left and counted when a trigger keeps force from overwriting it`(backEnd: BackEnd) async throws {
    try await withDatabase { server in
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
}
