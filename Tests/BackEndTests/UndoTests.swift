import MigrateLedger
import MigratePlan
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

@Suite struct `What was kept for the way back` {
  /// U11
  @Test(arguments: BackEnd.allCases)
  func `U11: and was dropped is said to be gone, before a row changes`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 40))
      let compiled = try await Compiled(Products.definition, on: server, batchSize: 10)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      let applied = try await server.rows(Products.all)
      try await server.psql("DROP TABLE migrate.undo_1_1")
      for policy in [ConflictPolicy.stop, .skip, .force] {
        let told = try await backEnd.revert(compiled, on: server, onConflict: policy)
        #expect(!told.isDone && told.text.contains("run 1 cannot be reverted: its undo was dropped"), "\(told.text)")
      }
      #expect(try await server.has(applied))
      #expect(try await server.state() == "completed")
      // What can be told without it still is.
      let found = try await Client.verify(1, on: server).findings
      #expect(found.first?.verdict == .ok)
      #expect(
        found.filter { $0.detail.contains("the undo of the run was dropped") }.map(\.name) == [
          "left behind", "rows edited since",
        ])
    }
  }

  /// U11: a revert drops it itself when all is back; a second one has another answer.
  @Test(arguments: BackEnd.allCases)
  func `U11: is dropped when all is back, and the run is reverted then`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 40))
      let before = try await server.rows(Products.all)
      let compiled = try await Compiled(Products.definition, on: server, batchSize: 10)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(try await backEnd.revert(compiled, on: server).isDone)
      #expect(try await server.has(before))
      #expect(try await server.value("SELECT to_regclass('migrate.undo_1_1')") == nil)
      #expect(try await server.value("SELECT count(*) > 0 FROM migrate.batches WHERE kind = 'revert'") == "t")
      #expect(try await server.state() == "reverted")
    }
  }

  /// V15: a gigabyte is the end of an array. Here a trigger says so of more than three rows.
  @Test(arguments: BackEnd.allCases)
  func `V15: and does not fit for all rows of a batch is kept for fewer`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, n integer);
        INSERT INTO t SELECT n, n FROM generate_series(1, 20) AS n;
        CREATE FUNCTION filled() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          IF (SELECT count(*) > 3 OR bool_or(id = 17 AND n > 100) FROM changed) THEN
            RAISE EXCEPTION 'array size exceeds the maximum allowed' USING ERRCODE = '54000';
          END IF;
          RETURN NULL;
        END $$;
        CREATE TRIGGER filled_ AFTER UPDATE ON t REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION filled()
        """)
      let compiled = try await Compiled("batch: b\nsource: t\nset: {n: n + 90}\n", on: server, batchSize: 10)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(!told.isDone && told.text.contains("array size exceeds"), "\(told.text)")
      // Ten, five and two rows at a time; and the one that is too big alone is where it stands.
      #expect(
        try await server.value("SELECT string_agg(id::text, ' ' ORDER BY id) FROM t WHERE n = id") == "17 18 19 20")
      #expect(try await server.state() == "failed")
      try await server.psql("DROP TRIGGER filled_ ON t")
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(try await server.value("SELECT count(*) FROM t WHERE n = id + 90") == "20")
      #expect(try await backEnd.revert(compiled, on: server).isDone)
      #expect(try await server.value("SELECT count(*) FROM t WHERE n = id") == "20")
    }
  }

  /// U12: before compression, so what it takes on disk is not more.
  @Test func `U12: is estimated by the plan, from the width of the values`() async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE t (id bigint PRIMARY KEY, thin integer, wide text);
        INSERT INTO t SELECT n, n, (SELECT string_agg(md5(n::text || m), '') FROM generate_series(1, 20) AS m) FROM generate_series(1, 1000) AS n;
        ANALYZE t
        """)
      for (set, old, new) in [("thin: thin + 1", "thin", "thin + 1"), ("wide: upper(wide)", "wide", "upper(wide)")] {
        let compiled = try await Compiled("batch: b\nsource: t\nset: {\(set)}\n", on: server)
        let kept = try await server.value("SELECT sum(8 + pg_column_size(\(old)) + pg_column_size(\(new))) FROM t")
          .flatMap(Int.init)
        let (estimated, bytes) = (compiled.plan.estimate.undoBytes, try #require(kept))
        #expect(bytes * 9 / 10 <= estimated && estimated <= bytes * 11 / 10, "\(set): \(estimated), \(bytes)")
      }
    }
  }
}
