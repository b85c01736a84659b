import Migrate
import MigrateTestSupport
import TestSupport
import Testing

/// What a trigger does is told from its text, and from what the tables that it writes lead to.
@Suite struct `A trigger that writes another table may come back to the row` {
  /// A trigger on `t`, and what it meets elsewhere.
  struct Way: CustomTestStringConvertible {
    let testDescription: String
    let elsewhere: String
    let body: String

    private static func trigger(_ name: String, on event: String, _ body: String) -> String {
      """
      CREATE FUNCTION \(name)() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \(body); RETURN NEW; END $$;
      CREATE TRIGGER \(name) AFTER \(event) FOR EACH ROW EXECUTE FUNCTION \(name)();
      """
    }

    private static let log = "CREATE TABLE log (t_id integer, at timestamptz DEFAULT now());"
    private static let flags = """
      CREATE TABLE flags (id integer PRIMARY KEY);
      INSERT INTO flags SELECT generate_series(1, 12);
      """
    private static let follows = "ALTER TABLE t ADD FOREIGN KEY (flag) REFERENCES flags ON DELETE SET NULL;"

    static let back = [
      Way(
        testDescription: "by a trigger there",
        elsewhere: log + trigger("more", on: "INSERT ON log", "UPDATE t SET changes = changes + 1 WHERE id = NEW.t_id"),
        body: "INSERT INTO log (t_id) VALUES (NEW.id)"),
      Way(
        testDescription: "by a trigger behind a trigger",
        elsewhere: log + "CREATE TABLE far (t_id integer);"
          + trigger("on_far", on: "INSERT ON far", "UPDATE t SET changes = changes + 1 WHERE id = NEW.t_id")
          + trigger("on_log", on: "INSERT ON log", "INSERT INTO public.far VALUES (NEW.t_id)"),
        body: "INSERT INTO public.log (t_id) VALUES (NEW.id)"),
      Way(
        testDescription: "by a trigger there that makes up its SQL",
        elsewhere: log
          + trigger(
            "more", on: "INSERT ON log",
            "EXECUTE format('UPDATE %I SET changes = changes + 1 WHERE id = $1', chr(116)) USING NEW.t_id"),
        body: "INSERT INTO log (t_id) VALUES (NEW.id)"),
      Way(
        testDescription: "by a function that a trigger there calls",
        elsewhere: log + """
          CREATE FUNCTION bump(integer) RETURNS void LANGUAGE sql AS 'UPDATE t SET changes = changes + 1 WHERE id = $1';
          """ + trigger("more", on: "INSERT ON log", "PERFORM bump(NEW.t_id)"),
        body: "INSERT INTO log (t_id) VALUES (NEW.id)"),
      Way(
        testDescription: "by a rule there",
        elsewhere: log
          + "CREATE RULE more AS ON INSERT TO log DO ALSO UPDATE t SET changes = changes + 1 WHERE id = NEW.t_id;",
        body: "INSERT INTO log (t_id) VALUES (NEW.id)"),
      Way(
        testDescription: "by a foreign key that follows", elsewhere: flags + follows,
        body: "DELETE FROM flags WHERE id = NEW.id"),
      Way(
        testDescription: "by a foreign key behind a foreign key",
        elsewhere: flags + follows + """
          CREATE TABLE owners (id integer PRIMARY KEY);
          INSERT INTO owners SELECT generate_series(1, 12);
          ALTER TABLE flags ADD owner integer REFERENCES owners ON DELETE CASCADE;
          UPDATE flags SET owner = id;
          """,
        body: """
          WITH gone AS (DELETE FROM ONLY owners WHERE id = NEW.id RETURNING id) SELECT id INTO found_id FROM gone
          """),
    ]

    static let elsewhere = [
      Way(testDescription: "a log", elsewhere: log, body: "INSERT INTO log (t_id) VALUES (NEW.id)"),
      Way(
        testDescription: "a table that keeps a time of its own",
        elsewhere: "CREATE TABLE sums (id integer, n integer, at timestamptz); INSERT INTO sums VALUES (1, 0);" + """
          CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.at := now(); RETURN NEW; END $$;
          CREATE TRIGGER touch BEFORE UPDATE ON sums FOR EACH ROW EXECUTE FUNCTION touch();
          """, body: "UPDATE sums SET n = n + 1"),
      Way(
        testDescription: "a counter of what it belongs to",
        elsewhere: flags + """
          ALTER TABLE flags ADD n integer;
          ALTER TABLE t ADD FOREIGN KEY (flag) REFERENCES flags ON DELETE CASCADE;
          """,
        body: "UPDATE flags SET n = n + 1 WHERE id = NEW.flag"),
    ]

    var schema: String {
      """
      CREATE TABLE t (id integer PRIMARY KEY, x integer, changes integer NOT NULL DEFAULT 0, flag integer);
      INSERT INTO t SELECT n, n, 0, n FROM generate_series(1, 12) AS n;
      \(elsewhere)
      CREATE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS
      $$ DECLARE found_id integer; BEGIN \(body); RETURN NULL; END $$;
      CREATE TRIGGER odd AFTER UPDATE OF x ON t FOR EACH ROW EXECUTE FUNCTION odd()
      """
    }
  }

  private static let definition = "batch: b\nsource: t\nset: {x: x + 1}"

  @Test(arguments: Way.back) func `X06: and what it makes of it is restored`(way: Way) async throws {
    try await withLedger { server in
      try await server.psql(way.schema)
      let warning = try await compiled(Self.definition, on: server).warnings.all.first
      #expect(warning?.message.hasSuffix("may write any column") == true, "\(String(describing: warning))")
      #expect(warning?.remedy == "what it writes to other tables and to other rows is its own and is not taken back")
      let before = try await server.psql("SELECT * FROM t ORDER BY id")
      let applied = try await migrated(Self.definition, on: server, batchSize: 5)
      #expect(applied.isComplete)
      let untouched = "SELECT count(*) FROM t WHERE changes = 0 AND flag = id"
      #expect(try await server.psql(untouched) == [["0"]])
      // A row that a foreign key leads to is the trigger's own, and gone.
      try await server.psql("ALTER TABLE t DROP CONSTRAINT IF EXISTS t_flag_fkey")
      #expect(try await reverted(applied.run, on: server) == .reverted(conflicts: 0))
      #expect(try await server.psql("SELECT * FROM t ORDER BY id") == before)
    }
  }

  @Test(arguments: Way.elsewhere) func `X07: unless nothing there leads to it, and then it is told so`(way: Way)
    async throws
  {
    try await withLedger { server in
      try await server.psql(way.schema)
      let warning = try await compiled(Self.definition, on: server).warnings.all.first
      #expect(warning?.message.hasSuffix("writes no column of the row") == true, "\(String(describing: warning))")
      #expect(warning?.remedy == "what it writes to other tables is its own and is not taken back")
    }
  }

  /// What a BEFORE ROW trigger writes besides its row, and how it is told.
  @Test(arguments: [
    ("NEW.note := now()", "may write note"), ("NEW.note := upper(NEW.note)", "may write note"),
    ("NEW.note := settled(NEW.id)", "may write note"), ("NEW.note := tidied(NEW.note)", "may write note"),
    ("PERFORM 1 FROM t WHERE id = NEW.id - 1", "writes no column of the row"),
    ("INSERT INTO log VALUES (NEW.id)", "writes no column of the row"),
    ("UPDATE t SET cur = false WHERE id = NEW.id - 1", "may write any column"),
    ("NEW.note := 'x'; UPDATE ONLY public.t AS o SET cur = false WHERE o.id = NEW.id - 1", "may write any column"),
    ("PERFORM retire(NEW.id - 1)", "may write any column"),
    ("PERFORM pensioned(NEW.id - 1)", "may write any column"),
    ("NEW.note := retire(NEW.id - 1)", "may write any column"),
    ("EXECUTE 'UPDATE t SET cur = false WHERE id = $1' USING NEW.id - 1", "may write any column"),
  ])
  func `X06: that a BEFORE trigger may write other rows is told`(body: String, effect: String) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, x integer, cur boolean DEFAULT true, note text);
        CREATE TABLE log (id integer);
        CREATE FUNCTION settled(integer) RETURNS text LANGUAGE sql STABLE AS 'SELECT note FROM t WHERE id = $1';
        CREATE FUNCTION retire(integer) RETURNS text LANGUAGE sql AS
          'UPDATE t SET cur = false WHERE id = $1 RETURNING note';
        CREATE FUNCTION pensioned(integer) RETURNS text LANGUAGE sql AS 'SELECT retire($1)';
        CREATE FUNCTION tidied(text) RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN btrim($1); END';
        CREATE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN \(body); RETURN NEW; END $f$;
        CREATE TRIGGER odd BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION odd()
        """)
      let warning = try await compiled(Self.definition, on: server).warnings.all.first
      #expect(warning?.message.hasSuffix(effect) == true, "\(String(describing: warning))")
      #expect(warning?.remedy.contains("other rows") == (effect == "may write any column"))
    }
  }

  /// X02; the image is read before it fires.
  @Test func `X06: that a deferred trigger writes the row at COMMIT is told, and its rows are conflicts`() async throws
  {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, x integer);
        INSERT INTO t SELECT n, n FROM generate_series(1, 12) AS n;
        CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN UPDATE t SET x = x + 100 WHERE id = NEW.id AND x < 100; RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON t
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late()
        """)
      let warning = try await compiled(Self.definition, on: server).warnings.all.first
      #expect(warning?.message.hasSuffix("may write any column at COMMIT, which is in no undo") == true)
      #expect(warning?.remedy.contains("a set column that it writes is a conflict of revert") == true)
      let applied = try await migrated(Self.definition, on: server, batchSize: 5)
      #expect(applied.isComplete)
      #expect(try await reverted(applied.run, on: server, onConflict: .skip) == .reverted(conflicts: 12))
      // Not deferred, it is in the undo.
      try await server.psql(
        """
        UPDATE t SET x = id; DROP TRIGGER late ON t;
        CREATE TRIGGER late AFTER UPDATE ON t FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION late()
        """)
      let again = try await migrated("batch: again\nsource: t\nset: {x: x + 1}", on: server, batchSize: 5)
      #expect(try await server.psql("SELECT count(*) FROM t WHERE x = id + 101") == [["12"]])
      #expect(try await reverted(again.run, on: server) == .reverted(conflicts: 0))
      #expect(try await server.psql("SELECT count(*) FROM t WHERE x = id") == [["12"]])
    }
  }
}
