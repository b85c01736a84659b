import Migrate
import MigrateTestSupport
import TestSupport
import Testing

@Suite struct `Constraints, triggers and other objects keep their word` {
  /// X01
  @Test func `X01: a shift over a unique column fails and leaves the table as it was`() async throws {
    try await withDatabase { server in
      try await server.psql(
        "CREATE TABLE t (id integer PRIMARY KEY, pos integer UNIQUE); INSERT INTO t SELECT n, n FROM generate_series(1, 9) AS n"
      )
      let before = try await image(of: "t", on: server)
      let applied = try await migrated("batch: shift\nsource: t\nset: {pos: pos + 1}", on: server)
      #expect(applied.failure?.sqlState == "23505")
      #expect(applied.failure?.message.contains("\"t_pos_key\"") == true)
      #expect(before.differences(to: try await image(of: "t", on: server)) == [])
      #expect(try await server.psql("SELECT state, failure ->> 'sqlstate' FROM migrate.runs") == [["failed", "23505"]])
      #expect(try await reverted(applied.run, on: server) == .reverted(conflicts: 0))
    }
  }

  /// X06 B22: what BEFORE triggers write comes back, too, and their images are those after the trigger.
  @Test func `X06: columns that a BEFORE trigger writes are restored`() async throws {
    try await withDatabase { server in
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, v integer, version integer, touched timestamptz);
        INSERT INTO t SELECT n, n, 1, '2000-01-01' FROM generate_series(1, 12) AS n;
        CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          NEW.v := NEW.v + 1000;
          NEW.version := OLD.version + 1;
          NEW.touched := clock_timestamp();
          RETURN NEW;
        END $$;
        CREATE TRIGGER touch BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION touch()
        """)
      let before = try await image(of: "t", on: server)
      let applied = try await migrated("batch: b\nsource: t\nset: {v: v * 2}", on: server, batchSize: 5)
      #expect(applied.isComplete)
      #expect(try await server.psql("SELECT count(*) FROM t WHERE v = id * 2 + 1000 AND version = 2") == [["12"]])
      #expect(try await reverted(applied.run, on: server) == .reverted(conflicts: 0))
      let after = try await image(of: "t", on: server)
      #expect(before.differences(to: after) == [])
    }
  }

  @Test(arguments: ["low", "seen", "seen_again"])
  func `X06: columns that an AFTER trigger writes by another name of the table are restored`(name: String) async throws
  {
    try await withDatabase { server in
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, v integer, note text) PARTITION BY RANGE (id);
        CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (100);
        CREATE VIEW seen AS SELECT * FROM t;
        CREATE VIEW seen_again AS SELECT * FROM seen;
        INSERT INTO t SELECT n, n, 'old' FROM generate_series(1, 12) AS n;
        CREATE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN UPDATE public.\(name) SET note = 'x' WHERE id = NEW.id; RETURN NULL; END $$;
        CREATE TRIGGER odd AFTER UPDATE OF v ON t FOR EACH ROW EXECUTE FUNCTION odd()
        """)
      let before = try await image(of: "t", on: server)
      let applied = try await migrated("batch: b\nsource: t\nset: {v: v * 2}", on: server, batchSize: 5)
      #expect(applied.isComplete)
      #expect(try await server.psql("SELECT count(*) FROM t WHERE note = 'x'") == [["12"]])
      #expect(try await reverted(applied.run, on: server) == .reverted(conflicts: 0))
      #expect(before.differences(to: try await image(of: "t", on: server)) == [])
    }
  }

  /// What it wrote then is kept for no batch. Nothing tells yet that the function is another one.
  @Test func `X06: a trigger whose function was replaced since writes other columns on the way back`() async throws {
    try await withDatabase { server in
      let function = { (column: String) in
        """
        CREATE OR REPLACE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN NEW.\(column) := 'x'; RETURN NEW; END $$;
        """
      }
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, v integer, note text, other text);
        INSERT INTO t SELECT n, n, 'old', 'old' FROM generate_series(1, 12) AS n;
        \(function("note"))
        CREATE TRIGGER odd BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION odd()
        """)
      let before = try await image(of: "t", on: server)
      let applied = try await migrated("batch: b\nsource: t\nset: {v: v * 2}", on: server, batchSize: 5)
      #expect(applied.isComplete)
      try await server.psql(function("other"))
      _ = try await reverted(applied.run, on: server)
      let after = try await image(of: "t", on: server)
      withKnownIssue { #expect(before.differences(to: after) == []) }
    }
  }

  /// Only the images of the batch's own rows are kept. Nothing tells yet that there were others.
  @Test func `X06: a trigger that writes other rows of the table leaves them as they became`() async throws {
    try await withDatabase { server in
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, v integer, note text);
        INSERT INTO t SELECT n, n, 'old' FROM generate_series(1, 20) AS n;
        CREATE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN UPDATE public.t SET note = 'x' WHERE id = 21 - NEW.id; RETURN NULL; END $$;
        CREATE TRIGGER odd AFTER UPDATE OF v ON t FOR EACH ROW EXECUTE FUNCTION odd()
        """)
      let before = try await image(of: "t", on: server)
      let applied = try await migrated("batch: b\nsource: t\nset: {v: v * 2}", on: server, batchSize: 5)
      #expect(applied.isComplete)
      _ = try await reverted(applied.run, on: server)
      let after = try await image(of: "t", on: server)
      withKnownIssue { #expect(before.differences(to: after) == []) }
    }
  }

  struct Writer: CustomTestStringConvertible {
    let testDescription: String
    let body: String
    var declared = ""
    var isAfter = false

    /// All of them write a column that the definition does not.
    static let all = [
      Writer(
        testDescription: "behind a string with an escaped quote",
        body: #"RAISE DEBUG E'it\'s'; NEW.note := 'x'; RAISE DEBUG E'it\'s';"#),
      Writer(
        testDescription: "behind a string in dollars",
        body: "RAISE DEBUG '%', $q$don't$q$; NEW.note := 'x'; RAISE DEBUG '%', $q$don't$q$;"),
      Writer(
        testDescription: "behind a comment in a comment", body: "/* /* */ don't */ NEW.note := 'x'; /* don't */"),
      Writer(testDescription: "by a quoted name", body: #"NEW."Big" := 9;"#),
      Writer(testDescription: "an element", body: "NEW.tags[1] := 9;"),
      Writer(testDescription: "a field", body: "NEW.pair.x := 9;"),
      Writer(testDescription: "INTO STRICT", body: "SELECT 'x' INTO STRICT NEW.note;"),
      Writer(
        testDescription: "INTO, as the second", body: "SELECT 1, 'x' INTO other, NEW.note;", declared: "other integer;"),
      Writer(testDescription: "GET DIAGNOSTICS", body: "PERFORM 1, 2; GET DIAGNOSTICS NEW.hits = ROW_COUNT;"),
      Writer(testDescription: "in a loop", body: "FOR NEW.note IN SELECT 'x' LOOP NULL; END LOOP;"),
      Writer(
        testDescription: "by another row", body: "other := NEW; other.note := 'x'; RETURN other;", declared: "other t;"),
      Writer(
        testDescription: "by a function of the row", body: #"RETURN jsonb_populate_record(NEW, '{"note": "x"}');"#),
      Writer(testDescription: "by another name", body: "row_.note := 'x';", declared: "row_ ALIAS FOR NEW;"),
      Writer(testDescription: "by a procedure", body: "CALL fill(NEW.note);"),
      Writer(testDescription: "by a function that writes", body: "PERFORM public.touch(NEW.id);", isAfter: true),
      Writer(testDescription: "by a function in an expression", body: "NEW.v := touched(NEW.id);", isAfter: true),
    ]
  }

  @Test(arguments: Writer.all) func `X06: columns that a trigger writes in an odd way are restored`(writer: Writer)
    async throws
  {
    try await withDatabase { server in
      try await server.psql(
        """
        CREATE TYPE pair AS (x integer, y integer);
        CREATE TABLE t (
          id integer PRIMARY KEY, v integer, note text, "Big" integer, hits bigint, tags integer[], pair pair);
        INSERT INTO t SELECT n, n, 'old', n, n + 100, ARRAY[n], ROW(n, n)::pair FROM generate_series(1, 12) AS n;
        CREATE PROCEDURE fill(INOUT note text) LANGUAGE plpgsql AS $$ BEGIN note := 'x'; END $$;
        CREATE FUNCTION touch(integer) RETURNS void LANGUAGE sql AS 'UPDATE public.t SET note = ''x'' WHERE id = $1';
        CREATE FUNCTION touched(integer) RETURNS integer LANGUAGE sql AS
          'UPDATE public.t SET note = ''x'' WHERE id = $1 RETURNING 1';
        CREATE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $body$
        DECLARE \(writer.declared)
        BEGIN \(writer.body)
          RETURN NEW;
        END $body$;
        CREATE TRIGGER odd \(writer.isAfter ? "AFTER" : "BEFORE") UPDATE OF v ON t FOR EACH ROW EXECUTE FUNCTION odd()
        """)
      let before = try await image(of: "t", on: server)
      let untouched = "SELECT id, note, \"Big\", hits, tags, pair FROM t ORDER BY id"
      let were = try await server.psql(untouched)
      let applied = try await migrated("batch: b\nsource: t\nset: {v: v * 2}", on: server, batchSize: 5)
      #expect(applied.isComplete)
      #expect(try await server.psql(untouched) != were)
      #expect(try await reverted(applied.run, on: server) == .reverted(conflicts: 0))
      #expect(before.differences(to: try await image(of: "t", on: server)) == [])
    }
  }

  /// X06: a partition may have its columns in other places than the table that it belongs to.
  @Test func `X06: columns that a trigger of a partition writes are restored, wherever they stand in it`() async throws
  {
    try await withDatabase { server in
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, price integer, touched integer NOT NULL DEFAULT 0) PARTITION BY RANGE (id);
        CREATE TABLE t_1 (gone text, touched integer NOT NULL DEFAULT 0, id integer NOT NULL, price integer);
        ALTER TABLE t_1 DROP COLUMN gone;
        ALTER TABLE t ATTACH PARTITION t_1 FOR VALUES FROM (1) TO (100);
        INSERT INTO t (id, price) SELECT n, n FROM generate_series(1, 10) AS n;
        CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN NEW.touched := NEW.touched + 1; RETURN NEW; END $$;
        CREATE TRIGGER touch BEFORE UPDATE OF price ON t_1 FOR EACH ROW EXECUTE FUNCTION touch()
        """)
      let before = try await image(of: "t", on: server)
      let applied = try await migrated("batch: b\nsource: t\nset: {price: price + 1}\n", on: server, batchSize: 4)
      #expect(applied.isComplete)
      #expect(try await server.psql("SELECT sum(touched) FROM t") == [["10"]])
      #expect(try await reverted(applied.run, on: server) == .reverted(conflicts: 0))
      #expect(before.differences(to: try await image(of: "t", on: server)) == [])
    }
  }

  /// PROTOCOL 1: RETURNING does not see AFTER triggers.
  @Test func `X06: what an AFTER trigger makes of the rows is their image`() async throws {
    try await withDatabase { server in
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, v integer);
        INSERT INTO t SELECT n, n FROM generate_series(1, 12) AS n;
        CREATE FUNCTION more() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          UPDATE t SET v = v + 500 WHERE id = NEW.id;
          RETURN NULL;
        END $$;
        CREATE TRIGGER more AFTER UPDATE ON t FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION more()
        """)
      let applied = try await migrated("batch: b\nsource: t\nset: {v: v + 1}", on: server, batchSize: 5)
      #expect(applied.isComplete)
      #expect(try await server.psql("SELECT count(*) FROM t WHERE v = id + 501") == [["12"]])
      let outcome = try await reverted(applied.run, on: server)
      #expect(outcome == .reverted(conflicts: 0))
      let restored = try await server.psql("SELECT count(*) FROM t WHERE v = id")
      #expect(restored == [["12"]])
    }
  }

  /// X08
  @Test func `X08: a trigger that leaves rows out silently ends the run at that batch`() async throws {
    try await withDatabase { server in
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, v integer);
        INSERT INTO t SELECT n, n FROM generate_series(1, 20) AS n;
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
        CREATE TRIGGER refuse BEFORE UPDATE ON t FOR EACH ROW WHEN (OLD.id IN (7, 8)) EXECUTE FUNCTION refuse()
        """)
      let applied = try await migrated("batch: b\nsource: t\nset: {v: 0}", on: server, batchSize: 5)
      #expect(applied.failure?.message == "a trigger kept 2 of 5 rows from being changed")
      #expect(applied.failure?.after == ["5"])
      #expect(applied.failure?.through == ["10"])
      // The batch before it stands, and goes back.
      #expect(try await server.psql("SELECT count(*) FROM t WHERE v = 0") == [["5"]])
      #expect(try await reverted(applied.run, on: server) == .reverted(conflicts: 0))
      #expect(try await server.psql("SELECT count(*) FROM t WHERE v = id") == [["20"]])
    }
  }

  /// X12 X21
  @Test func `X12 X21: generated columns follow, identities stay, dropped columns are passed over`() async throws {
    try await withDatabase { server in
      try await server.psql(
        """
        CREATE TABLE t (
          gone integer, id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, net numeric, gone_too text, tax numeric,
          total numeric GENERATED ALWAYS AS (net + tax) STORED);
        ALTER TABLE t DROP COLUMN gone, DROP COLUMN gone_too;
        INSERT INTO t (net, tax) SELECT n, n / 10.0 FROM generate_series(1, 12) AS n;
        ALTER TABLE t ADD COLUMN late text DEFAULT 'd'
        """)
      let before = try await image(of: "t", on: server)
      let expected = try await image(
        of: "t", on: server, after: "UPDATE t SET net = net * 2, late = 'x' WHERE total > 5")
      let applied = try await migrated(
        "batch: b\nsource: t\nwhere: total > 5\nset: {net: net * 2, late: 'x'}", on: server, batchSize: 5)
      #expect(expected.differences(to: try await image(of: "t", on: server)) == [])
      #expect(try await reverted(applied.run, on: server) == .reverted(conflicts: 0))
      #expect(before.differences(to: try await image(of: "t", on: server)) == [])
    }
  }

  /// X16
  @Test func `X16: where policies hide rows the run is refused, and one that comes later is loud`() async throws {
    try await withDatabase { server in
      try await server.psql(
        """
        DO $$ BEGIN CREATE ROLE clerk LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
        CREATE TABLE t (id integer PRIMARY KEY, owner text, v integer);
        INSERT INTO t SELECT n, CASE WHEN n % 2 = 0 THEN 'clerk' ELSE 'boss' END, n FROM generate_series(1, 10) AS n;
        GRANT SELECT, UPDATE ON t TO clerk;
        DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO clerk', current_database()); END $$
        """)
      let clerk = server.setting("user", "clerk")
      let yaml = "batch: b\nsource: t\nset: {v: v + 1}"
      let secure = "CREATE POLICY own ON t USING (owner = current_user); ALTER TABLE t ENABLE ROW LEVEL SECURITY"
      var way = Way()
      way.begun = { _ in
        let connection = try Connection(to: server)
        try connection.execute(secure)
      }
      let applied = try await migrated(yaml, on: clerk, way)
      #expect(applied.failure?.sqlState == "42501", "\(applied.outcome)")
      #expect(try await server.psql("SELECT count(*) FROM t WHERE v = id") == [["10"]])
      #expect(try await codes(of: yaml, on: clerk) == ["row-security"])
      #expect(try await codes(of: yaml, on: server) == [])
    }
  }

  /// A column's type may lie in a schema that a role has no right to, and its rows can be written all the same.
  @Test func `X16: an enum of a schema that the role may not use keeps no run from beginning`() async throws {
    try await withDatabase { server in
      try await server.psql(
        """
        DO $$ BEGIN CREATE ROLE clerk LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
        CREATE SCHEMA types;
        CREATE TYPE types.mood AS ENUM ('glad', 'sad');
        CREATE TABLE t (id integer PRIMARY KEY, m types.mood, v integer);
        INSERT INTO t SELECT n, 'glad', n FROM generate_series(1, 10) AS n;
        GRANT SELECT, UPDATE ON t TO clerk;
        DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO clerk', current_database()); END $$
        """)
      let clerk = server.setting("user", "clerk")
      let applied = try await migrated("batch: b\nsource: t\nwhere: m::text = 'glad'\nset: {v: v + 1}", on: clerk)
      #expect(applied.isComplete, "\(applied.outcome)")
      #expect(try await server.psql("SELECT count(*) FROM t WHERE v = id + 1") == [["10"]])
      #expect(try await reverted(applied.run, on: clerk) == .reverted(conflicts: 0))
    }
  }

  /// X23
  @Test func `X23: an object of somebody else under a name of ours stops the begin, and is left alone`() async throws {
    try await withDatabase { server in
      try await server.psql(
        "CREATE TABLE t (id integer PRIMARY KEY, v integer); INSERT INTO t SELECT n, n FROM generate_series(1, 9) AS n")
      let first = try await migrated("batch: first\nsource: t\nset: {v: 1}", on: server)
      try await server.psql(
        "CREATE TABLE migrate.undo_\(first.run + 1)_1 (theirs text); INSERT INTO migrate.undo_\(first.run + 1)_1 VALUES ('x')"
      )
      let second = "batch: second\nsource: t\nset: {v: 2}"
      let refused = await #expect(throws: Refused.self) { try await migrated(second, on: server) }
      #expect(refused?.sqlState == "42P07")
      #expect(try await server.psql("SELECT * FROM migrate.undo_\(first.run + 1)_1") == [["x"]])
      #expect(try await server.psql("SELECT count(*) FROM t WHERE v = 1") == [["9"]])
      // No run of it is left; the next number is free.
      #expect(try await migrated(second, on: server).isComplete)
    }
    try await withDatabase { server in
      try await server.psql(
        "CREATE SCHEMA migrate; CREATE TABLE migrate.theirs (); CREATE TABLE t (id integer PRIMARY KEY, v integer)")
      let refused = await #expect(throws: Refused.self) {
        try await migrated("batch: b\nsource: t\nset: {v: 1}", on: server)
      }
      #expect(refused?.sqlState == "42P06")
      #expect(
        try await server.psql("SELECT count(*) FROM pg_class WHERE relnamespace = 'migrate'::regnamespace") == [["1"]])
    }
  }

  /// C09
  @Test func `C09: of many first runs at once each finds the ledger that one of them has installed`() async throws {
    try await withDatabase { server in
      let tables = 1...8
      try await server.psql(
        tables.map { "CREATE TABLE t\($0) (id integer PRIMARY KEY, v integer); INSERT INTO t\($0) VALUES (1, 0);" }
          .joined())
      try await withThrowingTaskGroup(of: Bool.self) { group in
        for table in tables {
          group.addTask {
            try await migrated("batch: b\(table)\nsource: t\(table)\nset: {v: 1}", on: server).isComplete
          }
        }
        for try await isComplete in group { #expect(isComplete) }
      }
      #expect(try await server.psql("SELECT count(*) FROM migrate.runs WHERE state = 'completed'") == [["8"]])
    }
  }

  /// X18
  @Test func `X18: an old row that breaks a constraint NOT VALID ends the run with the constraint's name`() async throws
  {
    try await withDatabase { server in
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, v integer, w integer);
        INSERT INTO t SELECT n, 0, CASE WHEN n = 8 THEN -1 ELSE 1 END FROM generate_series(1, 12) AS n;
        ALTER TABLE t ADD CONSTRAINT positive CHECK (w > 0) NOT VALID
        """)
      let applied = try await migrated("batch: b\nsource: t\nset: {v: 1}", on: server, batchSize: 5)
      #expect(applied.failure?.sqlState == "23514")
      #expect(applied.failure?.message.contains("\"positive\"") == true)
      #expect(try await server.psql("SELECT count(*) FROM t WHERE v = 1") == [["5"]])
    }
  }

  /// X02 P13
  @Test func `X02 P13: a deferred constraint that fails at COMMIT ends the run at its batch`() async throws {
    try await withDatabase { server in
      try await server.psql(
        """
        CREATE TABLE parent (id integer PRIMARY KEY);
        INSERT INTO parent SELECT n FROM generate_series(1, 12) AS n WHERE n <> 8;
        CREATE TABLE t (id integer PRIMARY KEY, parent integer REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
        INSERT INTO t SELECT n FROM generate_series(1, 12) AS n
        """)
      let applied = try await migrated("batch: b\nsource: t\nset: {parent: id}", on: server, batchSize: 5)
      #expect(applied.failure?.sqlState == "23503", "\(applied.outcome)")
      #expect(try await server.psql("SELECT count(*) FROM t WHERE parent IS NOT NULL") == [["5"]])
      #expect(try await server.psql("SELECT state FROM migrate.runs") == [["failed"]])
    }
  }
}
