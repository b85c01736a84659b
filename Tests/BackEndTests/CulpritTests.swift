import MigrateLedger
import MigratePostgres
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// Under `on_error: stop` the run says which rows it has stopped at.
@Suite struct `A batch that fails names its rows at fault` {
  private static let failure =
    "SELECT failure -> 'rows', failure -> 'rows_are_all', failure ->> 'sqlstate' FROM migrate.runs"

  @Test(arguments: BackEnd.allCases, ["", "\nundo: none", "\nundo: none\nwhere: id > 0", "\non_error: retry"])
  func `all of them when they are few`(backEnd: BackEnd, more: String) async throws {
    for (size, bad, named) in [
      (100, [37], "[[\"111\"]]"), (1, [1], "[[\"3\"]]"), (7, [100], "[[\"300\"]]"),
      (100, [50, 51], "[[\"150\"], [\"153\"]]"),
      (64, [1, 30, 64], "[[\"3\"], [\"90\"], [\"192\"]]"),
    ] {
      // After six tries a batch has fewer rows.
      if more.hasSuffix("retry"), bad.count > 1 { continue }
      try await withLedger { server in
        try await server.psql(Items.table(rows: 100, bad: bad))
        let before = try await server.value("SELECT sum(v) FROM items WHERE id >= \(bad[0] * 3)")
        let compiled = try await Compiled(Items.definition + more, on: server, batchSize: size)
        let told = try await backEnd.apply(compiled, on: server)
        #expect(!told.isDone)
        #expect(try await server.rows(Self.failure) == ["\(named)|true|23514"])
        #expect(try await server.value("SELECT sum(v) FROM items WHERE id >= \(bad[0] * 3)") == before)
        if backEnd == .procedure { #expect(told.text.contains("rows at fault: {\(bad[0] * 3)}"), "\(told.text)") }
      }
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `and not all of them when they are many`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Items.table(rows: 100, bad: [3, 11, 29, 31, 60, 61, 90]))
      let compiled = try await Compiled(Items.definition, on: server, batchSize: 100)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(!told.isDone)
      #expect(
        try await server.rows(Self.failure) == ["[[\"9\"], [\"33\"], [\"87\"], [\"93\"], [\"180\"]]|false|23514"])
      if backEnd == .procedure { #expect(told.text.contains("rows at fault: at least {9}, {33}"), "\(told.text)") }
    }
  }

  /// Each of the two is right alone; the search finds the one that comes second.
  @Test(arguments: BackEnd.allCases)
  func `also where they are in each other's way, or a trigger keeps them`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE items (shop text, line integer, mail text UNIQUE, PRIMARY KEY (shop, line));
        INSERT INTO items SELECT 'S "' || n % 3, n, CASE n WHEN 12 THEN 'Same' WHEN 30 THEN 'SAME' ELSE 'Mail ' || n END
        FROM   generate_series(1, 40) AS n;
        CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF NEW.line = 9 THEN RETURN NULL; END IF; RETURN NEW; END $$
        """)
      let compiled = try await Compiled(
        "batch: items\nsource: items\nset: {mail: lower(mail)}", on: server, batchSize: 40)
      #expect(!(try await backEnd.apply(compiled, on: server)).isDone)
      #expect(try await server.rows(Self.failure) == [#"[["S \"0", "30"]]|true|23505"#])
      #expect(try await backEnd.revert(compiled, on: server).isDone)
      try await server.psql(
        "UPDATE items SET mail = 'other' WHERE line = 30; CREATE TRIGGER keep BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION keep()"
      )
      let kept = try await Compiled(
        "batch: kept\nsource: items\nset: {mail: upper(mail)}", on: server, batchSize: 40)
      #expect(!(try await backEnd.apply(kept, on: server)).isDone)
      #expect(
        try await server.rows(Self.failure + " WHERE name = 'kept'") == [#"[["S \"0", "9"]]|true|NULL"#])
    }
  }
}
