import MigrateLedger
import MigratePostgres
import MigrateRunner
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// Others write while rows at fault are looked for.
@Suite struct `While rows at fault are looked for` {
  /// Rows by tens; the change of `waits` stands still at its second try until `go` is called. A sequence, since a snapshot does not
  /// hide what becomes of one.
  private static func table(bad: Int, waits: Int, columns: String = "") -> String {
    """
    CREATE TABLE items (id integer PRIMARY KEY, v integer CHECK (v < 1000)\(columns));
    INSERT INTO items SELECT 10 * n, CASE 10 * n WHEN \(bad) THEN 999 ELSE n END FROM generate_series(1, 40) AS n;
    CREATE SEQUENCE reached;
    CREATE SEQUENCE go;
    CREATE SEQUENCE tries;
    CREATE FUNCTION waits() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF NEW.id = \(waits) AND nextval('public.reached') = 2 THEN
        WHILE NOT (SELECT is_called FROM public.go) LOOP PERFORM pg_sleep(0.01); END LOOP;
      END IF;
      RETURN NEW;
    END $$;
    CREATE TRIGGER waits BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION waits();
    """
  }

  private static func apply(
    _ backEnd: BackEnd, _ compiled: Compiled, on server: Server, meanwhile: String
  ) async throws -> Told {
    async let told = backEnd.apply(compiled, on: server)
    try await server.wait(until: "(SELECT is_called AND last_value = 2 FROM reached)")
    try await server.psql(meanwhile)
    _ = try await server.value("SELECT nextval('go')")
    return try await told
  }

  /// Each statement has its own snapshot here, since others were in the way of the first two attempts.
  @Test(arguments: BackEnd.allCases)
  func `a row that comes beside one is not taken for it`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(
        Self.table(bad: 60, waits: 60) + """
          CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$
          BEGIN
            IF NEW.id = 10 AND nextval('public.tries') <= 2 THEN RAISE 'again' USING ERRCODE = '40001'; END IF;
            RETURN NEW;
          END $$;
          CREATE TRIGGER again BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION again();
          """)
      let compiled = try await Compiled(
        "batch: items\nsource: items\nset: {v: v + 1}\non_error: continue", on: server, batchSize: 100)
      let told = try await Self.apply(
        backEnd, compiled, on: server, meanwhile: "INSERT INTO items VALUES (55, 5), (57, 7)")
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.rows("SELECT key FROM migrate.rejects") == ["{60}"])
      #expect(try await server.rows("SELECT v FROM items WHERE id IN (55, 57) ORDER BY id") == ["6", "8"])
      #expect(try await Client.verify(1, on: server).holds)
    }
  }

  /// Where a foreign key was the first to refuse, each statement has its own snapshot. The value of row 70 is looked up, and just once
  /// it is what it was: a sequence counts how often it was asked for.
  @Test(arguments: BackEnd.allCases, 1...12)
  func `a row whose new value has become its old one is kept by no trigger`(backEnd: BackEnd, once: Int) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE parents (id integer PRIMARY KEY);
        INSERT INTO parents SELECT n FROM generate_series(1, 400) AS n WHERE n <> 90;
        CREATE TABLE items (id integer PRIMARY KEY, v integer NOT NULL, parent integer REFERENCES parents);
        INSERT INTO items VALUES (70, 7, 70), (90, 9, NULL);
        CREATE SEQUENCE asked;
        CREATE FUNCTION looked_up(_id integer, _v integer) RETURNS integer LANGUAGE plpgsql STABLE AS $$
        BEGIN
          IF _id <> 70 OR current_setting('transaction_read_only') = 'on' THEN RETURN 100; END IF;
          RETURN CASE nextval('public.asked') WHEN \(once) THEN _v ELSE 100 END;
        END $$;
        """)
      let compiled = try await Compiled(
        "batch: items\nsource: items\nset:\n  v: looked_up(id, v)\n  parent: id\non_error: continue", on: server,
        batchSize: 100)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.rows("SELECT key, sqlstate FROM migrate.rejects") == ["{90}|23503"])
    }
  }

  /// A foreign key is looked up in the transaction's snapshot.
  @Test(arguments: BackEnd.allCases, ["", " DEFERRABLE INITIALLY DEFERRED"])
  func `a row that another refers to may come`(backEnd: BackEnd, deferred: String) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE parents (id integer PRIMARY KEY);
        INSERT INTO parents SELECT n FROM generate_series(1, 400) AS n WHERE n NOT IN (60, 90);
        """ + Self.table(bad: 10, waits: 30, columns: ", parent integer REFERENCES parents\(deferred)"))
      let compiled = try await Compiled(
        "batch: items\nsource: items\nset: {v: v + 1, parent: id}\non_error: continue", on: server, batchSize: 100)
      let told = try await Self.apply(backEnd, compiled, on: server, meanwhile: "INSERT INTO parents VALUES (60)")
      #expect(told.isDone, "\(told.text)")
      #expect(
        try await server.rows("SELECT key, sqlstate FROM migrate.rejects ORDER BY rejected_at") == [
          "{10}|23514", "{90}|23503",
        ])
      #expect(try await server.value("SELECT count(*) FROM items WHERE parent = id") == "38")
      #expect(try await Client.verify(1, on: server).holds)
    }
  }
}
