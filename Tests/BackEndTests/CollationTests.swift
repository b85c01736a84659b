import MigrateLedger
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

@Suite struct `The library that orders texts is upgraded` {
  private static let table = """
    CREATE TABLE words (word text COLLATE "en-x-icu" PRIMARY KEY, n integer);
    INSERT INTO words SELECT 'w' || n, n FROM generate_series(1, 40) AS n;
    CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not yet'; END $$;
    CREATE TRIGGER stop BEFORE UPDATE ON words FOR EACH ROW WHEN (OLD.n = 33) EXECUTE FUNCTION stop()
    """
  private static let definition = "batch: raise\nsource: words\nset: {n: n + 100}\n"
  private static let none = "SELECT count(*) FROM words WHERE n > 100"

  /// K09
  @Test(arguments: BackEnd.allCases)
  func `K09: a run that stands still does not go on in another order, and goes back when the index is right`(
    backEnd: BackEnd
  ) async throws {
    try await withLedger { server in
      try await server.psql(Self.table)
      let compiled = try await Compiled(Self.definition, on: server, batchSize: 10)
      #expect(try await backEnd.apply(compiled, on: server).isDone == false)
      try await server.psql("DROP TRIGGER stop ON words")
      // The ledger knows what the library gave; what it gives now is another version to it, as after an upgrade.
      #expect(
        try await server.value(
          "SELECT collations ->> 'pg_catalog.\"en-x-icu\"' = pg_collation_actual_version('\"en-x-icu\"'::regcollation) FROM migrate.runs"
        )
          == "t")
      try await server.psql("UPDATE migrate.runs SET collations = jsonb_build_object('pg_catalog.\"en-x-icu\"', '1.0')")
      let done = try await server.value(Self.none)

      let told = try await backEnd.apply(compiled, on: server)
      #expect(!told.isDone && told.text.contains("was 1.0, is "), "\(told.text)")
      #expect(told.text.contains("REINDEX TABLE"), "\(told.text)")
      #expect(try await server.value(Self.none) == done)
      #expect(try await server.state() == "failed")

      // PostgreSQL's own record says that the index is of the older version: there is no way back through it either.
      try await server.psql("UPDATE pg_collation SET collversion = '1.0' WHERE collname = 'en-x-icu'")
      let before = try await backEnd.revert(compiled, on: server)
      #expect(
        !before.isDone && before.text.contains("REFRESH VERSION"),
        "\(before.text)")
      try await server.psql("REINDEX TABLE words; ALTER COLLATION pg_catalog.\"en-x-icu\" REFRESH VERSION")
      #expect(try await backEnd.apply(compiled, on: server).isDone == false)
      #expect(try await backEnd.revert(compiled, on: server).isDone)
      #expect(try await server.value(Self.none) == "0")
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(try await server.value(Self.none) == "40")
    }
  }

  /// K09
  @Test(arguments: BackEnd.allCases)
  func `K09: an index of an older version is not walked, whosever order it is`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(
        "\(Self.table); DROP TRIGGER stop ON words; ALTER TABLE words ALTER word TYPE text COLLATE \"de-x-icu\"")
      let compiled = try await Compiled(Self.definition, on: server)
      try await server.psql("UPDATE pg_collation SET collversion = '1.0' WHERE collname = 'de-x-icu'")
      let told = try await backEnd.apply(compiled, on: server)
      #expect(!told.isDone && told.text.contains("was 1.0, is "), "\(told.text)")
      #expect(try await server.value(Self.none) == "0")
      #expect(try await server.value("SELECT count(*) FROM migrate.runs") == "0")
    }
  }
}

/// The texts of a key whose columns are ordered differently.
@Suite struct `A key of several collations` {
  @Test(arguments: BackEnd.allCases) func `is one in quarantine, too`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE k (
          n name, a text COLLATE "C", b text COLLATE "de-x-icu", v text CHECK (v NOT IN ('x5!', 'x9!')), PRIMARY KEY (a, b, n));
        INSERT INTO k SELECT 'n' || n, 'K' || n, 'é' || n, 'x' || n FROM generate_series(1, 20) AS n; ANALYZE k
        """)
      let all = "SELECT a, b, v FROM k ORDER BY a, b"
      let before = try await server.rows(all)
      let compiled = try await Compiled(
        "batch: k\nsource: k\nset: {v: v || '!'}\non_error: continue", on: server, batchSize: 6)
      let applied = try await backEnd.apply(compiled, on: server)
      #expect(applied.isDone, "\(applied.text)")
      #expect(
        try await server.rows("SELECT key FROM migrate.rejects ORDER BY key") == ["{K5,é5,n5}", "{K9,é9,n9}"])
      for (row, touch) in [("5", "rejected"), ("6", "changed")] {
        let key = "ARRAY['K\(row)', 'é\(row)', 'n\(row)']"
        #expect(try await server.rows("SELECT touch FROM migrate.why('k', \(key))") == [touch])
      }
      #expect(try await Client.fix(1, "v = 'ok'", where: "a = 'K5'", on: server).text == "1 rows")
      #expect(try await backEnd.retry(1, on: server).isDone)
      #expect(try await server.value("SELECT v FROM k WHERE a = 'K5'") == "ok!")
      #expect(try await Client.verify(1, on: server).holds)
      let told = try await backEnd.revert(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.rows(all) == before)
    }
  }
}
