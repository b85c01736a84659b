import MigrateLedger
import MigratePostgres
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// What a constraint refuses is asked of all rows of a batch at once.
@Suite struct `Rows that break a constraint` {
  /// Four rows of forty.
  private static let table = Items.table(rows: 40, bad: [2, 20, 21, 39])

  /// What breaks a constraint is asked of all rows at once: a part for each of them, and one for what stands between two.
  @Test(
    arguments: BackEnd.allCases,
    [
      ("CHECK (v <> -1)", "23514"), ("NOT NULL", "23502"), ("REFERENCES targets", "23503"),
      ("REFERENCES targets DEFERRABLE INITIALLY DEFERRED", "23503"),
    ])
  func `are found by one query where a constraint tells them`(
    backEnd: BackEnd, constraint: (text: String, sqlState: String)
  ) async throws {
    try await withLedger { server in
      let broken = constraint.sqlState == "23502" ? "NULL" : "-1"
      try await server.psql(
        """
        CREATE TABLE targets (v integer PRIMARY KEY);
        INSERT INTO targets SELECT generate_series(1, 3100);
        CREATE TABLE items (v integer \(constraint.text), "r" integer, id integer PRIMARY KEY);
        INSERT INTO items SELECT n, n, n FROM generate_series(1, 3000) AS n
        """)
      let before = try await server.rows("SELECT id, v FROM items ORDER BY id")
      let compiled = try await backEnd.complete(
        """
        batch: items
        source: items
        set:
          v: CASE WHEN id IN (700, 1500, 1501, 2999) THEN \(broken) ELSE v + 1 END
        on_error: continue
        """, on: server, batchSize: 3_000)
      #expect(
        try await server.rows("SELECT key[1], sqlstate FROM migrate.rejects ORDER BY key[1]::integer")
          == [700, 1500, 1501, 2999].map { "\($0)|\(constraint.sqlState)" })
      #expect(try await server.value("SELECT count(*) FROM items WHERE v = id + 1") == "2996")
      #expect(try await server.value("SELECT count(*) FROM migrate.batches") == "8")
      #expect(try await Client.verify(1, on: server).holds)
      #expect(try await backEnd.revert(compiled, on: server).isDone)
      #expect(try await server.rows("SELECT id, v FROM items ORDER BY id") == before)
    }
  }

  /// Each constraint is asked for the stretch that it refuses.
  @Test(arguments: BackEnd.allCases) func `are found of two constraints`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE items (a integer, b integer, v integer CHECK (v % 100 <> 7), w integer CHECK (w % 90 <> 8), PRIMARY KEY (a, b));
        INSERT INTO items SELECT n / 100, n, n / 1000 * 1000, n / 900 * 900 FROM generate_series(1, 3000) AS n
        """)
      let compiled = try await Compiled(
        "batch: items\nsource: items\nset: {v: v + b % 1000, w: w + b % 900}\non_error: continue", on: server,
        batchSize: 1_000)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      let counts = "count(*) FILTER (WHERE b % 100 = 7 OR b % 90 = 8)"
      #expect(
        try await server.value("SELECT count(*) FROM migrate.rejects") == server.value("SELECT \(counts) FROM items"))
      #expect(
        try await server.value("SELECT count(*) FROM items WHERE v = b AND w = b AND (b % 100 = 7 OR b % 90 = 8)")
          == "0")
      #expect(try await Client.verify(1, on: server).holds)
      #expect(try await backEnd.revert(compiled, on: server).isDone)
      #expect(
        try await server.value("SELECT count(*) FROM items WHERE v = b / 1000 * 1000 AND w = b / 900 * 900") == "3000")
    }
  }

  /// What a refusal blames, and what a query says of it: where the search begins, and nothing that is believed. Of `early` a trigger
  /// makes good what it would break, `whole` cannot be asked of what is no row of the table yet, and two are no constraints at all.
  @Test(arguments: BackEnd.allCases, ["items_v_check", "early", "whole", "kept", "é", ""])
  func `is found by what it does, whatever is said of it`(backEnd: BackEnd, blamed: String) async throws {
    for size in [1, 7, 40] {
      try await withLedger { server in
        try await server.psql(Self.table)
        try await server.psql(
          """
          UPDATE items SET v = 100 - v WHERE v BETWEEN 35 AND 40;
          ALTER TABLE items ADD CONSTRAINT early CHECK (v NOT BETWEEN 35 AND 40);
          ALTER TABLE items ADD CONSTRAINT whole CHECK (items.* IS NOT NULL);
          CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
          BEGIN
            IF NEW.v > 1000000 THEN
              RAISE EXCEPTION 'no' USING ERRCODE = '23514', CONSTRAINT = '\(blamed)';
            ELSIF NEW.v BETWEEN 35 AND 40 THEN
              NEW.v := -NEW.v;
            END IF;
            RETURN NEW;
          END $$;
          CREATE TRIGGER refuse BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION refuse();
          """)
        let before = try await server.rows(Items.all)
        let expected = try await server.rows(
          "SELECT id, CASE WHEN v = 999999 THEN v WHEN v + 10 BETWEEN 35 AND 40 THEN -(v + 10) ELSE v + 10 END AS v, note FROM items ORDER BY id"
        )
        let compiled = try await backEnd.complete(Items.continuing, on: server, batchSize: size)
        #expect(try await server.rows(Items.all) == expected)
        #expect(
          try await server.rows("SELECT key FROM migrate.rejects ORDER BY key[1]::integer")
            == ["{6}", "{60}", "{63}", "{117}"])
        #expect(try await Client.verify(1, on: server).holds)
        #expect(try await backEnd.revert(compiled, on: server).isDone)
        #expect(try await server.rows(Items.all) == before)
      }
    }
  }
}
