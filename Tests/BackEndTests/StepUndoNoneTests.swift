import MigratePlan
import MigratePostgres
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// `undo: none` beside steps: nothing of what rows held is left in the ledger, and nothing comes back.
@Suite struct `Steps without undo` {
  private static let tables = """
    CREATE TABLE people (id bigint PRIMARY KEY, name text NOT NULL, born date, bad integer NOT NULL DEFAULT 1);
    INSERT INTO people SELECT n, 'secret ' || n, '1970-01-01', CASE n WHEN 17 THEN 0 WHEN 18 THEN -1 ELSE 1 END FROM generate_series(1, 60) AS n;
    CREATE TABLE letters (id bigint PRIMARY KEY, name text NOT NULL, body text);
    INSERT INTO letters SELECT n, 'secret ' || n, 'secret ' || n || ' of letters' FROM generate_series(1, 60) AS n;
    CREATE TABLE calls (id bigint PRIMARY KEY, person bigint NOT NULL, note text NOT NULL);
    INSERT INTO calls SELECT n, 1 + n % 60, 'secret call' FROM generate_series(1, 180) AS n;
    CREATE TABLE gone (person bigint PRIMARY KEY, born date, was text);
    """

  private static func definition(frozen: Bool, _ rest: String) -> String {
    """
    batch: forget
    source: \(frozen ? "{query: SELECT * FROM people, key: id}" : "people")
    where: born IS NOT NULL
    let:
      kept: born + 1
    steps:
      - update: letters
        match: letters.id = batch.id AND batch.name <> ''
        set: {name: '', body: null}
      - insert: gone
        values: {person: id, born: kept}
      - update: calls
        match: calls.person = batch.id
        set:
          note: "forgotten"
      - delete: people
    \(frozen ? "    match: people.id = batch.id" : "")
    validation:
      is no bad one: 10 / bad > 0
    undo: none
    \(rest)
    """
  }

  private static let secrets = """
    SELECT format('SELECT %L FROM %s AS t WHERE t::text ~ ''secret|1970''', c.oid::regclass, c.oid::regclass)
    FROM   pg_class AS c
    WHERE  c.relnamespace = 'migrate'::regnamespace AND c.relkind = 'r' AND c.relname NOT IN ('statements', 'runs')
    """

  @Test(arguments: BackEnd.allCases, [(false, 7), (false, 1_000), (true, 9)])
  func `keep no value of a row`(backEnd: BackEnd, way: (frozen: Bool, size: Int)) async throws {
    try await withLedger { server in
      try await server.psql(Self.tables)
      // Rows that were read once stay while some of them are in quarantine.
      try await server.psql("UPDATE people SET bad = 1 WHERE bad = 0 OR \(way.frozen)")
      let rejected = way.frozen ? "0" : "18"
      let compiled = try await Compiled(Self.definition(frozen: way.frozen, ""), on: server, batchSize: way.size)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.rows("SELECT id FROM people") == (way.frozen ? [] : [rejected]))
      #expect(
        try await server.value("SELECT count(*) FROM letters WHERE name ~ 'secret' AND name <> 'secret \(rejected)'")
          == "0")
      #expect(
        try await server.value("SELECT count(*) FROM gone WHERE born = '1970-01-02'") == (way.frozen ? "60" : "59"))
      #expect(
        try await server.value("SELECT count(*) FROM calls WHERE note = 'forgotten'") == (way.frozen ? "180" : "177"))
      for query in try await server.rows(Self.secrets) { #expect(try await server.rows(query) == [], "\(query)") }
      #expect(
        try await server.rows("SELECT key, row, new_values FROM migrate.rejects")
          == (way.frozen ? [] : ["{18}|NULL|NULL"]))
      #expect(try await server.value("SELECT count(*) FROM migrate.verify(1) WHERE verdict = 'not ok'") == "0")
      let back = try await backEnd.revert(compiled, on: server)
      #expect(!back.isDone && back.text.contains("undo: none"), "\(back.text)")
      #expect(try await server.rows("SELECT id FROM people") == (way.frozen ? [] : [rejected]))
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `keep none of a row that the database refuses`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Self.tables)
      let compiled = try await Compiled(
        Self.definition(frozen: false, "on_error: continue"), on: server, batchSize: 25)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.rows("SELECT id FROM people ORDER BY id") == ["17", "18"])
      #expect(
        try await server.rows("SELECT key, row, detail FROM migrate.rejects ORDER BY key") == [
          "{17}|NULL|NULL", "{18}|NULL|NULL",
        ])
      for query in try await server.rows(Self.secrets) { #expect(try await server.rows(query) == [], "\(query)") }
    }
  }

  /// What the database says in detail of a failure is the row, too.
  @Test(arguments: BackEnd.allCases)
  func `keep none of one that ends the run`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Self.tables + "; CREATE TABLE names (id bigint, name text UNIQUE, PRIMARY KEY (id))")
      try await server.psql("INSERT INTO names VALUES (1000, 'secret 3')")
      let definition = """
        batch: forget
        source: people
        steps:
          - insert: names
            values: {id: id, name: name}
          - delete: people
        undo: none
        """
      let compiled = try await Compiled(definition, on: server, batchSize: 2)
      #expect(!(try await backEnd.apply(compiled, on: server).isDone))
      #expect(try await server.value("SELECT state FROM migrate.runs") == "failed")
      #expect(try await server.value("SELECT count(*) FROM migrate.runs AS r WHERE r.failure::text ~ 'secret'") == "0")
      #expect(try await server.value("SELECT count(*) FROM people") == "58")
    }
  }
}
