import MigrateLedger
import MigratePlan
import MigratePostgres
import MigrateRunner
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// What triggers make of `--fix`.
@Suite struct `A mended row whose table has triggers` {
  /// Rows 5 and 6 are in quarantine. `body` is what a trigger does to each row that is written.
  private static func quarantined(_ backEnd: BackEnd, on server: Server, body: String) async throws -> Compiled {
    try await server.psql(
      """
      CREATE TABLE t (id integer PRIMARY KEY, n integer CHECK (n < 100), note text, "a b" bit(3)[]);
      INSERT INTO t SELECT n, CASE WHEN n IN (5, 6) THEN 50 ELSE 1 END, 'note ' || n, '{101}' FROM generate_series(1, 20) AS n;
      CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \(body); RETURN NEW; END $$;
      CREATE TRIGGER touch BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION touch(); ANALYZE t
      """)
    let compiled = try await Compiled(
      "batch: t\nsource: t\nset: {n: n * 10}\non_error: continue", on: server, batchSize: 7)
    #expect(try await backEnd.apply(compiled, on: server).isDone)
    return compiled
  }

  private static let all = #"SELECT id, n, note, "a b" FROM t ORDER BY id"#
  private static let found = (1...20).map { "\($0)|\([5, 6].contains($0) ? 50 : 1)|note \($0)|{101}" }

  @Test(arguments: BackEnd.allCases, [false, true])
  func `gets back what the triggers have written, too`(backEnd: BackEnd, retry: Bool) async throws {
    try await withLedger { server in
      let compiled = try await Self.quarantined(
        backEnd, on: server,
        body: #"NEW.note := 'touched'; IF NEW.id = 6 THEN NEW."a b" := ARRAY[B'111', NULL]; END IF"#)
      #expect(try await Client.fix(1, "SET n = 7", on: server).text == "2 rows")
      #expect(try await Client.fix(1, "SET n = n + 1, note = 'again'", on: server).text == "2 rows")
      #expect(
        try await server.rows("SELECT fix, key, columns, before FROM migrate.fixes ORDER BY fix, key")
          == [
            #"1|{5}|{n,note}|{50,"note 5"}"#, #"1|{6}|{n,note,"a b"}|{50,"note 6","{101}"}"#,
            "2|{5}|{n,note}|{7,touched}",
            "2|{6}|{n,note}|{7,touched}",
          ])
      if retry { #expect(try await backEnd.retry(1, on: server).isDone) }
      let told = try await backEnd.revert(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.rows(Self.all) == Self.found)
      #expect(try await server.value("SELECT count(*) FROM migrate.conflicts") == "0")
    }
  }

  @Test(arguments: BackEnd.allCases, [ConflictPolicy.stop, .skip, .force])
  func `is in conflict when somebody has edited what they had written`(
    backEnd: BackEnd, policy: ConflictPolicy
  ) async throws {
    try await withLedger { server in
      let compiled = try await Self.quarantined(backEnd, on: server, body: "NEW.note := coalesce(NEW.note, '') || '!'")
      #expect(try await Client.fix(1, "SET n = 7", on: server).text == "2 rows")
      try await server.psql(
        """
        ALTER TABLE t DISABLE TRIGGER touch;
        UPDATE t SET note = 'edited' WHERE id = 5;
        ALTER TABLE t ENABLE TRIGGER touch
        """)
      let told = try await backEnd.revert(compiled, on: server, onConflict: policy)
      if policy == .stop {
        #expect(told.text.contains(backEnd == .client ? "conflicts(1)" : "1 row was changed since"), "\(told.text)")
        return
      }
      let isForced = policy == .force
      #expect(
        try await server.rows("SELECT key, reason, found FROM migrate.conflicts")
          == [#"{5}|\#(isForced ? "overwritten" : "edited")|{"n": "7", "note": "edited"}"#])
      let rows = Self.found.map { $0.hasPrefix("5|") && !isForced ? "5|7|edited|{101}" : $0 }
      #expect(try await server.rows(Self.all) == rows)
    }
  }

  @Test func `is not mended where a trigger keeps it from being changed`() async throws {
    try await withLedger { server in
      let compiled = try await Self.quarantined(
        BackEnd.client, on: server, body: "IF NEW.id = 5 AND NEW.n = 7 THEN RETURN NULL; END IF")
      #expect(try await Client.fix(1, "SET n = 7", on: server).text == "1 rows")
      #expect(try await Client.fix(1, "SET n = 7", where: "id = 5", on: server).text == "0 rows")
      #expect(try await server.rows("SELECT key, columns, before, after FROM migrate.fixes") == ["{6}|{n}|{50}|{7}"])
      #expect(
        try await server.rows("SELECT key, fixed_row ->> 'n' FROM migrate.rejects ORDER BY key") == [
          "{5}|NULL", "{6}|7",
        ])
      #expect(try await server.value("SELECT count(*) FROM migrate.requests") == "1")
      #expect(try await Client.revert(compiled, on: server).isDone)
      #expect(try await server.rows(Self.all) == Self.found)
    }
  }

  /// It would not be found again.
  @Test func `keeps its key, whatever a trigger makes of it`() async throws {
    try await withLedger { server in
      let body = "IF NEW.n = 7 THEN NEW.id := NEW.id + 100; END IF"
      _ = try await Self.quarantined(BackEnd.client, on: server, body: body)
      let told = try await Client.fix(1, "SET n = 7", on: server)
      #expect(!told.isDone && told.text.contains("a trigger gives 2 of the rows another key"), "\(told.text)")
      #expect(try await server.value("SELECT count(*) FROM migrate.fixes") == "0")
      #expect(try await server.value("SELECT count(*) FROM t WHERE n = 7") == "0")
    }
  }
}
