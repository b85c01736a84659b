import Migrate
import MigrateTestSupport
import TestSupport
import Testing

@Suite struct `A generated column counts as written with the columns that it is computed from` {
  /// K17
  @Test(arguments: ["k", "part, k"])
  func `K17: a definition that writes what the key is computed from is refused`(key: String) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE t (
          part integer NOT NULL, no integer, add integer, other integer, id integer NOT NULL,
          k integer GENERATED ALWAYS AS (no + coalesce(add, 0)) STORED NOT NULL, PRIMARY KEY (\(key)));
        INSERT INTO t SELECT 1, n * 10, 0, n, n FROM generate_series(1, 20) AS n
        """)
      for column in ["no", "add"] {
        let yaml = "batch: b\nsource: t\nset: {\(column): \(column) + 25}"
        let refused = try await refusal(of: Array(yaml.utf8), on: server)
        #expect(refused?.codes == ["key-is-written"])
        #expect(refused?.description.contains("batches walk \"k\" (computed from \"\(column)\")") == true)
      }
      let applied = try await migrated("batch: b\nsource: t\nset: {other: other + 1}", on: server, batchSize: 5)
      #expect(applied.isComplete)
      // Another key is one that stays.
      try await server.psql("CREATE UNIQUE INDEX also ON t (part, no, id); ALTER TABLE t ALTER no SET NOT NULL")
      try await server.psql("CREATE UNIQUE INDEX another ON t (id)")
      let refused = try await refusal(of: Array("batch: b\nsource: t\nset: {no: no + 25}".utf8), on: server)
      #expect(refused?.description.contains("key: id}") == true)
      let other = try await migrated(
        "batch: c\nsource: {table: t, key: id}\nset: {no: no + 25}", on: server, batchSize: 5)
      #expect(other.isComplete)
      #expect(try await server.psql("SELECT count(*) FROM t WHERE k = id * 10 + 25") == [["20"]])
    }
  }

  /// K17
  @Test func `K17: a trigger that writes what the key is computed from ends the run, and nothing is written`()
    async throws
  {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE t (no integer, v integer, k integer GENERATED ALWAYS AS (no) STORED PRIMARY KEY);
        INSERT INTO t SELECT n, n FROM generate_series(1, 20) AS n;
        CREATE FUNCTION move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.no := NEW.no + 1000; RETURN NEW; END $$;
        CREATE TRIGGER move BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION move()
        """)
      let before = try await image(of: "t", on: server)
      let applied = try await migrated("batch: b\nsource: t\nset: {v: v + 7}", on: server, batchSize: 5)
      #expect(applied.failure?.message.contains("key") == true, "\(applied.outcome)")
      #expect(before.differences(to: try await image(of: "t", on: server)) == [])
    }
  }

  @Test(arguments: ["CASCADE", "SET NULL", "SET DEFAULT", "NO ACTION"])
  func `a definition that other tables follow by what is computed is refused`(action: String) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE parent (
          id integer PRIMARY KEY, name text, v text, code text GENERATED ALWAYS AS (lower(name)) STORED UNIQUE);
        CREATE TABLE child (id integer PRIMARY KEY, code text REFERENCES parent (code) ON UPDATE \(action))
        """)
      let refused = action == "NO ACTION" ? [] : ["cascading-update"]
      #expect(try await codes(of: "batch: b\nsource: parent\nset: {name: upper(name)}", on: server) == refused)
      #expect(try await codes(of: "batch: b\nsource: parent\nset: {v: 'x'}", on: server) == [])
    }
  }

  /// P21; what it writes into the rows that follow would be in no undo.
  @Test func `P21: nor is a run taken back when such a foreign key has come since`() async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE parent (id integer PRIMARY KEY, name text, code text GENERATED ALWAYS AS (lower(name)) STORED UNIQUE);
        INSERT INTO parent SELECT n, 'N' || n FROM generate_series(1, 12) AS n
        """)
      let applied = try await migrated("batch: b\nsource: parent\nset: {name: name || 'x'}", on: server, batchSize: 5)
      #expect(applied.isComplete)
      try await server.psql(
        """
        CREATE TABLE child (id integer PRIMARY KEY, code text REFERENCES parent (code) ON UPDATE SET NULL);
        INSERT INTO child SELECT id, code FROM parent
        """)
      let told = await #expect(throws: Refused.self) { try await reverted(applied.run, on: server) }
      #expect(told?.description.contains("child follows column code by foreign key child_code_fkey now") == true)
      #expect(try await server.psql("SELECT count(code) FROM child") == [["12"]])
    }
  }

  /// X06; where a BEFORE ROW trigger is, PostgreSQL takes all generated columns for written.
  @Test(arguments: ["x", "y"])
  func `X06: columns that a trigger on a computed column writes are restored`(column: String) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, x integer, y integer, g integer GENERATED ALWAYS AS (x * 2) STORED, note text);
        INSERT INTO t (id, x, y, note) SELECT n, n, n, 'precious' FROM generate_series(1, 12) AS n;
        CREATE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := 'gone'; RETURN NEW; END $$;
        CREATE TRIGGER odd BEFORE UPDATE OF g ON t FOR EACH ROW EXECUTE FUNCTION odd()
        """)
      let before = try await image(of: "t", on: server)
      let applied = try await migrated("batch: b\nsource: t\nset: {\(column): \(column) + 1}", on: server, batchSize: 5)
      #expect(applied.isComplete)
      #expect(try await server.psql("SELECT count(*) FROM t WHERE note = 'gone'") == [["12"]])
      #expect(try await reverted(applied.run, on: server) == .reverted(conflicts: 0))
      #expect(before.differences(to: try await image(of: "t", on: server)) == [])
    }
  }

  @Test func `X06: a trigger on a column that nothing written leads to is not named`() async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, x integer, y integer, g integer GENERATED ALWAYS AS (x * 2) STORED);
        CREATE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
        CREATE TRIGGER odd AFTER UPDATE OF g ON t FOR EACH ROW EXECUTE FUNCTION odd()
        """)
      let codes = { (column: String) in
        try await compiled("batch: b\nsource: t\nset: {\(column): 1}", on: server).warnings.all.map(\.code)
      }
      #expect(try await codes("x") == ["trigger-fires"])
      #expect(try await codes("y") == [])
      // It need not even be on.
      try await server.psql(
        """
        CREATE TRIGGER off BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION odd();
        ALTER TABLE t DISABLE TRIGGER off
        """)
      #expect(try await codes("y") == ["trigger-fires"])
    }
  }

  @Test func `one worker does the batches where rows can want the same computed value`() async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE t (
          id integer PRIMARY KEY, name text, v text, code text GENERATED ALWAYS AS (lower(name)) STORED UNIQUE)
        """)
      let plan = { (column: String) in
        try await compiled(
          "batch: b\nsource: t\nset: {\(column): 'x'}\non_error: continue\nparallel: 4", on: server
        ).plan
      }
      #expect(try await plan("name").parallel == 1)
      #expect(try await plan("v").parallel == 4)
    }
  }
}
