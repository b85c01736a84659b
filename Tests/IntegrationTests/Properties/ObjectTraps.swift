import Migrate
import MigrateTestSupport
import TestSupport
import Testing

@Suite struct `Constraints and other objects keep their word` {
  /// X01
  @Test func `X01: a shift over a unique column fails and leaves the table as it was`() async throws {
    try await withLedger { server in
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

  /// X12 X21
  @Test func `X12 X21: generated columns follow, identities stay, dropped columns are passed over`() async throws {
    try await withLedger { server in
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
    try await withLedger { server in
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
    try await withLedger { server in
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
    try await withLedger { server in
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
