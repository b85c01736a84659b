import Migrate
import MigrateTestSupport
import TestSupport
import Testing

@Suite struct `Batches walk only what leads past each row once` {
  /// K02 K03 K04
  @Test func `K02 K03 K04: keys that are not unique, may be NULL, or have another order are refused`() async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE t (
          id integer, nullable integer UNIQUE, checked integer UNIQUE, many integer NOT NULL, late integer NOT NULL,
          part integer NOT NULL, down integer NOT NULL, word text NOT NULL, bad integer NOT NULL, hashed integer NOT NULL, v integer);
        ALTER TABLE t ADD CONSTRAINT not_null CHECK (checked IS NOT NULL) NOT VALID;
        ALTER TABLE t ADD CONSTRAINT late UNIQUE (late) DEFERRABLE;
        CREATE UNIQUE INDEX ON t (part) WHERE part > 0;
        CREATE UNIQUE INDEX ON t (down DESC);
        CREATE UNIQUE INDEX ON t (lower(word));
        CREATE INDEX ON t (many);
        ALTER TABLE t ADD CONSTRAINT alone EXCLUDE USING btree (hashed WITH =);
        CREATE UNIQUE INDEX broken ON t (bad);
        UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'broken'::regclass
        """)
      for (key, code) in [
        ("nullable", "nullable-key"), ("checked", "nullable-key"), ("many", "key-not-unique"),
        ("late", "key-not-unique"),
        ("part", "key-not-unique"), ("down", "key-not-unique"), ("word", "key-not-unique"), ("bad", "key-not-unique"),
        ("hashed", "key-not-unique"), ("[many, late]", "key-not-unique"),
      ] {
        let yaml = "batch: b\nsource: {table: t, key: \(key)}\nset: {v: 1}"
        #expect(try await codes(of: yaml, on: server) == [code], "\(key)")
      }
      #expect(try await codes(of: "batch: b\nsource: t\nset: {v: 1}", on: server) == ["no-key"])
    }
  }

  @Test(arguments: ["integer[]", "pair", "pairs", "integers"])
  func `a key that undo could not keep is refused, and another one found where there is one`(type: String) async throws
  {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TYPE pair AS (a integer, b text);
        CREATE DOMAIN pairs AS pair[];
        CREATE DOMAIN integers AS integer[];
        CREATE TABLE alone (k \(type), m integer, v integer, PRIMARY KEY (m, k));
        CREATE TABLE other (k \(type) PRIMARY KEY, id integer NOT NULL UNIQUE, v integer)
        """)
      #expect(try await codes(of: "batch: b\nsource: alone\nset: {v: 1}", on: server) == ["unkept-key"])
      #expect(
        try await codes(of: "batch: b\nsource: {table: other, key: k}\nset: {v: 1}", on: server) == ["unkept-key"])
      #expect(try await compiled("batch: b\nsource: other\nset: {v: 1}", on: server).plan.key == ["id"])
    }
  }

  /// K17 X13
  @Test
  func `K17 X13: a definition that writes the key is refused, and so is one that would move rows to another partition`()
    async throws
  {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE p (paid date, id integer, v integer, PRIMARY KEY (paid, id)) PARTITION BY RANGE (paid);
        CREATE TABLE parent (id integer PRIMARY KEY, code integer UNIQUE);
        CREATE TABLE child (id integer PRIMARY KEY, code integer REFERENCES parent (code) ON UPDATE CASCADE)
        """)
      #expect(try await codes(of: "batch: b\nsource: p\nset: {paid: paid + 1}", on: server) == ["key-is-written"])
      #expect(try await codes(of: "batch: b\nsource: parent\nset: {id: id + 1}", on: server) == ["key-is-written"])
      #expect(
        try await codes(of: "batch: b\nsource: parent\nset: {code: code + 1}", on: server) == ["cascading-update"])
    }
  }

  /// K17
  @Test func `K17: a trigger that changes the key ends the run, and nothing is written`() async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, v integer);
        INSERT INTO t SELECT n, n FROM generate_series(1, 20) AS n;
        CREATE FUNCTION move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.id := NEW.id + 1000; RETURN NEW; END $$;
        CREATE TRIGGER move BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION move()
        """)
      let before = try await image(of: "t", on: server)
      let applied = try await migrated("batch: b\nsource: t\nset: {v: v + 7}", on: server, batchSize: 5)
      #expect(applied.failure?.message.contains("key") == true, "\(applied.outcome)")
      #expect(before.differences(to: try await image(of: "t", on: server)) == [])
    }
  }

  /// K18
  @Test func `K18: a condition that the change makes false loses no row`() async throws {
    try await withLedger { server in
      try await server.psql(
        "CREATE TABLE t (id integer PRIMARY KEY, status text); INSERT INTO t SELECT n, 'old' FROM generate_series(1, 40) AS n; ANALYZE t"
      )
      let applied = try await migrated(
        "batch: b\nsource: t\nwhere: status = 'old'\nset: {status: 'new'}", on: server, batchSize: 3)
      #expect(applied.outcome == .completed(leftBehind: 0))
      #expect(applied.counts == BatchCounts(batches: 14, read: 40, changed: 40))
      #expect(try await server.psql("SELECT count(*) FROM t WHERE status = 'old'") == [["0"]])
    }
  }

  /// K19 K20 K21
  @Test
  func `K19 K20 K21: rows that become eligible behind or beyond the batches are counted or not met, and the run ends`()
    async throws
  {
    try await withLedger { server in
      // Each row that is changed makes one behind it eligible, inserts one behind it, and one beyond the end.
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, ready boolean, done boolean NOT NULL DEFAULT false);
        INSERT INTO t SELECT n, n > 20 FROM generate_series(1, 40) AS n;
        CREATE FUNCTION spread() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          IF NEW.done AND NOT OLD.done THEN
            UPDATE t SET ready = true WHERE id = NEW.id - 20;
            INSERT INTO t VALUES (-NEW.id, true), (NEW.id + 1000, true);
          END IF;
          RETURN NULL;
        END $$;
        CREATE TRIGGER spread AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION spread()
        """)
      let applied = try await migrated(
        "batch: b\nsource: t\nwhere: ready\nset: {done: true}", on: server, batchSize: 3)
      // 20 made eligible, 20 inserted behind; those beyond the end are no part of the run.
      #expect(applied.outcome == .completed(leftBehind: 40))
      #expect(applied.counts.changed == 20)
      #expect(try await server.psql("SELECT left_behind FROM migrate.runs") == [["40"]])
      #expect(try await server.psql("SELECT count(*) FROM t WHERE ready AND NOT done AND id < 1000") == [["40"]])
    }
  }
}
