import MigrateLedger
import MigratePostgres
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// PROTOCOL §2: rows that the database refuses, found by halving.
@Suite struct `A row that the database refuses` {
  private static let expected =
    "SELECT id, CASE WHEN v = 999999 THEN v ELSE v + 10 END AS v, note FROM items ORDER BY id"

  /// Which rows are bad, of forty.
  enum Bad: String, CaseIterable, Sendable {
    case none, first, last, five, neighbours

    var rows: [Int] {
      switch self {
      case .none: []
      case .first: [1]
      case .last: [40]
      case .five: [2, 11, 17, 30, 39]
      case .neighbours: [19, 20, 21]
      }
    }
  }

  @Test(arguments: BackEnd.allCases, Bad.allCases)
  func `goes to quarantine, and the others are done`(backEnd: BackEnd, bad: Bad) async throws {
    for size in Sample.some([1, 2, 7, 40], 1, of: "quarantine \(backEnd) \(bad)") {
      try await withLedger { server in
        try await server.psql(Items.table(rows: 40, bad: bad.rows))
        let (before, expected) = (try await server.rows(Items.all), try await server.rows(Self.expected))
        let compiled = try await backEnd.complete(Items.continuing, on: server, batchSize: size)
        #expect(try await server.rows(Items.all) == expected)
        #expect(
          try await server.rows(
            """
            SELECT r.key, r.row ->> 'v', r.sqlstate, r.constraint_name, r.message FROM migrate.rejects AS r
            ORDER  BY r.key[1]::integer
            """)
            == bad.rows.map {
              "{\($0 * 3)}|999999|23514|items_v_check|new row for relation \"items\" violates check constraint \"items_v_check\""
            })
        #expect(
          try await server.rows(
            """
            SELECT sum(rows_read), sum(rows_changed), sum(rows_unchanged), sum(rows_rejected), bool_and(exact)
            FROM   migrate.batches
            """) == ["40|\(40 - bad.rows.count)|0|\(bad.rows.count)|t"])
        #expect(try await server.rows("SELECT state, left_behind FROM migrate.runs") == ["completed|0"])
        #expect(try await Client.verify(1, on: server).holds)

        let back = try await backEnd.revert(compiled, on: server)
        #expect(back.isDone, "\(back.text)")
        #expect(try await server.rows(Items.all) == before)
      }
    }
  }

  /// Nobody wants a quarantine of all rows.
  @Test(arguments: BackEnd.allCases)
  func `ends the run when the first 32 all fail alike, and nothing is written`(backEnd: BackEnd) async throws {
    try await withLedger(loggingStatements: true) { server in
      try await server.psql(Items.table(rows: 500, bad: Array(1...500)))
      let before = try await server.rows(Items.all)
      let compiled = try await Compiled(Items.continuing, on: server, batchSize: 200)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(!told.isDone)
      #expect(told.text.contains("the first 32 rows all fail alike: new row for relation"), "\(told.text)")
      #expect(try await server.rows(Items.all) == before)
      #expect(
        try await server.rows("SELECT state, failure ->> 'constraint', failure ->> 'sqlstate' FROM migrate.runs")
          == ["failed|items_v_check|23514"])
      #expect(try await server.value("SELECT count(*) FROM migrate.rejects") == "0")
      let hint = try #require(try await server.value("SELECT failure ->> 'hint' FROM migrate.runs"))
      #expect(
        hint.hasPrefix(
          "it is the definition that is wrong, or every row; no row has been changed so far; `SELECT * FROM public.items "
        ),
        "\(hint)")
      // What it says to look at is there.
      let query = try #require(hint.split(separator: "`").dropFirst().first)
      #expect(try await server.rows(String(query)).count == 5)
    }
  }

  @Test func `shows its first rows by keys of several columns and any text`() async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE "Odd, one" ("a b" text, n integer, v integer CHECK (v > 0), PRIMARY KEY ("a b", n));
        INSERT INTO "Odd, one" SELECT 'it''s, ' || n % 3, n, n FROM generate_series(1, 40) AS n; ANALYZE
        """)
      let compiled = try await Compiled(
        "batch: odd\nsource: '\"Odd, one\"'\nset: {v: -v}\non_error: continue\n", on: server)
      #expect(!(try await Client.apply(compiled, on: server)).isDone)
      let hint = try #require(try await server.value("SELECT failure ->> 'hint' FROM migrate.runs"))
      let query = try #require(hint.split(separator: "`").dropFirst().first)
      #expect(
        try await server.rows("\(query) ORDER BY n")
          == ["it's, 0|3|3", "it's, 0|6|6", "it's, 0|9|9", "it's, 0|12|12", "it's, 0|15|15"], "\(hint)")
    }
  }

  /// With several workers the count goes past 32 between two looks.
  @Test func `is told from its first 32 rows, also when there are more by then`() async throws {
    try await withLedger { server in
      try await server.psql(Items.table(rows: 1, bad: []))
      let compiled = try await Compiled(Items.continuing, on: server)
      #expect(try await Client.apply(compiled, on: server).isDone)
      try await server.psql("DELETE FROM migrate.batches")
      for (rows, isHopeless) in [(31, "f"), (32, "t"), (33, "t"), (200, "t")] {
        try await server.psql(
          """
          DELETE FROM migrate.rejects;
          INSERT INTO migrate.rejects (run, step, key, sqlstate, message) SELECT 1, 1, ARRAY[n::text], '23514', 'no' FROM generate_series(1, \(rows)) AS n
          """)
        #expect(try await server.value("SELECT migrate.is_hopeless(1)") == isHopeless, "\(rows)")
      }
      try await server.psql("UPDATE migrate.rejects SET sqlstate = '23505' WHERE key = '{1}'")
      #expect(try await server.value("SELECT migrate.is_hopeless(1)") == "f")
    }
  }

  /// A sequence counts them, which no ROLLBACK takes back.
  @Test(arguments: BackEnd.allCases) func `P11: stops within a hundred tries when all are bad`(backEnd: BackEnd)
    async throws
  {
    try await withLedger { server in
      try await server.psql(Items.table(rows: 20_000, bad: []) + "UPDATE items SET v = 999999; CREATE SEQUENCE tries")
      try await server.psql(
        """
        CREATE FUNCTION tried() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('tries'); RETURN NULL; END $$;
        CREATE TRIGGER tried BEFORE UPDATE ON items FOR EACH STATEMENT EXECUTE FUNCTION tried();
        """)
      let compiled = try await Compiled(Items.continuing, on: server, batchSize: 10_000)
      #expect(try await !backEnd.apply(compiled, on: server).isDone)
      let tries = try await server.value("SELECT last_value FROM tries").flatMap { Int($0) }
      #expect((33...100).contains(tries ?? 0), "\(tries ?? 0)")
    }
  }

  /// What the trigger writes goes back with the part; a sequence does not.
  @Test(arguments: BackEnd.allCases)
  func `leaves no trace of its failed attempts in other tables`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(
        Items.table(rows: 40, bad: [7, 33]) + """
          CREATE TABLE log (id integer, v integer);
          CREATE FUNCTION log() RETURNS trigger LANGUAGE plpgsql AS $$
          BEGIN INSERT INTO public.log VALUES (NEW.id, NEW.v); RETURN NULL; END $$;
          CREATE TRIGGER log AFTER UPDATE ON items FOR EACH ROW EXECUTE FUNCTION log()
          """)
      try await backEnd.complete(Items.continuing, on: server, batchSize: 15)
      #expect(
        try await server.rows("SELECT id, v FROM log ORDER BY id, v")
          == (try await server.rows("SELECT id, v FROM items WHERE v <> 999999 ORDER BY id, v")))
    }
  }

  /// Found at COMMIT, where nobody could tell the row.
  @Test(arguments: BackEnd.allCases)
  func `X02: is found when its constraint is deferred`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE targets (id integer PRIMARY KEY);
        INSERT INTO targets SELECT n FROM generate_series(1, 40) AS n WHERE n NOT IN (12, 31);
        CREATE TABLE items (id integer PRIMARY KEY, v integer REFERENCES targets DEFERRABLE INITIALLY DEFERRED,
                            code integer, UNIQUE (code) DEFERRABLE INITIALLY DEFERRED);
        INSERT INTO items SELECT n, NULL, n FROM generate_series(1, 40) AS n
        """)
      try await backEnd.complete(
        """
        batch: items
        source: items
        set:
          v: id
          code: CASE WHEN id = 20 THEN 40 ELSE code END
        on_error: continue
        """, on: server, batchSize: 25)
      #expect(
        try await server.rows("SELECT key, sqlstate FROM migrate.rejects ORDER BY key[1]::integer")
          == ["{12}|23503", "{20}|23505", "{31}|23503"])
      #expect(
        try await server.rows("SELECT id, v, code FROM items ORDER BY id")
          == (1...40).map { [12, 20, 31].contains($0) ? "\($0)|NULL|\($0)" : "\($0)|\($0)|\($0)" })
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `X08: is one that a trigger keeps from being changed, too`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(
        Items.table(rows: 40, bad: []) + """
          CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$
          BEGIN IF NEW.id IN (9, 60) THEN RETURN NULL; END IF; RETURN NEW; END $$;
          CREATE TRIGGER keep BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION keep()
          """)
      let compiled = try await backEnd.complete(Items.continuing, on: server, batchSize: 15)
      #expect(
        try await server.rows("SELECT key, sqlstate, message FROM migrate.rejects ORDER BY key[1]::integer")
          == ["{9}", "{60}"].map { "\($0)|NULL|a trigger kept 1 of 1 rows from being changed" })
      #expect(try await server.value("SELECT count(*) FROM items WHERE v = id / 3 + 10") == "38")
      #expect(try await backEnd.revert(compiled, on: server).isDone)
    }
  }

  /// Personal data that is erased must not live on in a quarantine.
  @Test(arguments: BackEnd.allCases)
  func `S05: leaves its key alone where undo is none`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Items.table(rows: 40, bad: [8]))
      for condition in ["", "\nwhere: id > 3"] {
        let name = condition.isEmpty ? "whole" : "part"
        let definition = Items.continuing.replacing("batch: items", with: "batch: \(name)")
        try await backEnd.complete(definition + "\nundo: none" + condition, on: server, batchSize: 15)
      }
      #expect(
        try await server.rows("SELECT run, key, row, sqlstate FROM migrate.rejects ORDER BY run")
          == ["1|{24}|NULL|23514", "2|{24}|NULL|23514"])
    }
  }

  /// Alone each of the two is right; together the one with the higher key loses, whatever the batches and the order on disk.
  @Test(arguments: BackEnd.allCases, ["", " DESC"])
  func `P12: is the higher one of two in each other's way`(backEnd: BackEnd, order: String) async throws {
    for size in Sample.some([1, 7, 40], 1, of: "higher \(backEnd) \(order)") {
      try await withLedger { server in
        try await server.psql(
          """
          CREATE TABLE items (id integer PRIMARY KEY, email text UNIQUE);
          INSERT INTO items SELECT n, CASE n WHEN 12 THEN 'Same' WHEN 15 THEN 'SAME' ELSE 'Mail ' || n END
          FROM   generate_series(1, 40) AS n ORDER BY n\(order)
          """)
        let compiled = try await backEnd.complete(
          "batch: items\nsource: items\nset: {email: lower(email)}\non_error: continue", on: server, batchSize: size)
        #expect(try await server.rows("SELECT key, sqlstate FROM migrate.rejects") == ["{15}|23505"])
        #expect(
          try await server.rows("SELECT id, email FROM items WHERE id IN (12, 15) ORDER BY id") == [
            "12|same", "15|SAME",
          ])
        #expect(try await backEnd.revert(compiled, on: server).isDone)
        #expect(try await server.value("SELECT count(*) FROM items WHERE email <> lower(email)") == "40")
      }
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `V06: is one of ten thousand`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE items (id integer PRIMARY KEY, v integer);
        INSERT INTO items SELECT n, CASE n WHEN 7654 THEN 2000000000 ELSE n END FROM generate_series(1, 10000) AS n
        """)
      try await backEnd.complete(
        "batch: items\nsource: items\nset: {v: v * 2}\non_error: continue", on: server, batchSize: 4_000)
      #expect(
        try await server.rows("SELECT key, sqlstate, message FROM migrate.rejects")
          == ["{7654}|22003|integer out of range"])
      #expect(try await server.value("SELECT count(*) FROM items WHERE v = 2 * id") == "9999")
    }
  }

  /// The quarantine takes whatever an error says.
  @Test(arguments: BackEnd.allCases)
  func `P10: is kept with ten megabytes of words about it`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(
        Items.table(rows: 20, bad: []) + """
          CREATE FUNCTION talks() RETURNS trigger LANGUAGE plpgsql AS $$
          BEGIN
            IF NEW.id = 27 THEN
              RAISE EXCEPTION '%', repeat('é', 1000000)
              USING ERRCODE = 'ZZ999', DETAIL = repeat('x', 10000000), COLUMN = 'v', CONSTRAINT = E'a "constraint"\n';
            END IF;
            RETURN NEW;
          END $$;
          CREATE TRIGGER talks BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION talks()
          """)
      try await backEnd.complete(Items.continuing, on: server, batchSize: 15)
      #expect(
        try await server.rows(
          "SELECT key, sqlstate, length(message), length(detail), column_name, to_json(constraint_name) FROM migrate.rejects"
        )
          == [#"{27}|ZZ999|1000000|10000000|v|"a \"constraint\"\n""#])
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `is named by all columns of its key`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE lines (shop text, line integer, v integer CHECK (v <> 33), PRIMARY KEY (shop, line));
        INSERT INTO lines SELECT 'S "' || n % 3, n, 2 * n FROM generate_series(1, 40) AS n
        """)
      let compiled = try await backEnd.complete(
        "batch: lines\nsource: lines\nset: {v: v + 1}\non_error: continue", on: server, batchSize: 15)
      #expect(try await server.rows("SELECT key FROM migrate.rejects") == [#"{"S \"1",16}"#])
      #expect(try await server.value("SELECT count(*) FROM lines WHERE v = 2 * line + 1") == "39")
      #expect(try await Client.verify(1, on: server).holds)
      #expect(try await backEnd.revert(compiled, on: server).isDone)
      #expect(try await server.value("SELECT count(*) FROM lines WHERE v = 2 * line") == "40")
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `is tried ten times under retry, and then ends the run`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(
        Items.table(rows: 10, bad: []) + """
          CREATE SEQUENCE tries;
          CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS $$
          BEGIN IF NEW.id = 15 AND nextval('public.tries') < 4 THEN RAISE 'not yet'; END IF; RETURN NEW; END $$;
          CREATE TRIGGER fails BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION fails()
          """)
      let definition = Items.definition + "\non_error: retry"
      try await backEnd.complete(definition, on: server, batchSize: 4)
      try await server.psql(
        "CREATE OR REPLACE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM nextval('public.tries'); RAISE 'never'; END $$; SELECT setval('tries', 1, false)"
      )
      let second = try await Compiled(
        definition.replacing("batch: items", with: "batch: again"), on: server, batchSize: 4)
      #expect(!(try await backEnd.apply(second, on: server)).isDone)
      let tries = try await server.rows("SELECT last_value, is_called FROM tries")
      // And once more to name the row.
      #expect(tries == ["11|t"])
    }
  }
}
