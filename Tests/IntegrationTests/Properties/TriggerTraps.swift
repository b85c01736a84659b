import Migrate
import MigrateTestSupport
import TestSupport
import Testing

@Suite struct `Triggers keep their word` {
  /// X06 B22: what BEFORE triggers write comes back, too, and their images are those after the trigger.
  @Test func `X06: columns that a BEFORE trigger writes are restored`() async throws {
    try await withLedger { server in
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
    try await withLedger { server in
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
    try await withLedger { server in
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
    try await withLedger { server in
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
    try await withLedger { server in
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
    try await withLedger { server in
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
    try await withLedger { server in
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
    try await withLedger { server in
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
}
