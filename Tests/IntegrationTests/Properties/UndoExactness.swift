import Migrate
import MigrateTestSupport
import TestSupport
import Testing

@Suite struct `Revert gives back every byte` {
  /// V01 V02 V11 V12 V13 V16 U04 X21 X22
  @Test(arguments: [1, 4, 1000])
  func `V01 V02 V11 V13 V16 X21 X22: of every type, under hostile names`(batchSize: Int) async throws {
    try await withLedger { server in
      try await server.psql(EveryType.creation)
      let before = try await image(of: EveryType.table, on: server)
      let expected = try await image(of: EveryType.table, on: server, after: EveryType.update)
      let applied = try await migrated(EveryType.definition, on: server, batchSize: batchSize)
      #expect(applied.outcome == .completed(leftBehind: 0))
      #expect(expected.differences(to: try await image(of: EveryType.table, on: server)) == [])
      #expect(try await reverted(applied.run, on: server) == .reverted(conflicts: 0))
      #expect(before.differences(to: try await image(of: EveryType.table, on: server)) == [])
    }
  }

  static let moods = """
    CREATE TYPE mood AS ENUM ('sad', 'happy');
    CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
    CREATE DOMAIN words AS text[];
    CREATE TABLE t (id integer PRIMARY KEY, mood mood, moods mood[], n positive, w words, other text);
    INSERT INTO t SELECT n, 'sad', '{sad,happy}', n, ARRAY['a', n::text], 'kept' FROM generate_series(1, 10) AS n
    """

  static let cheer = """
    batch: cheer
    source: t
    set:
      mood: 'happy'
      moods: {value: [happy]}
      n: n + 100
      w: array_append(w, 'x')
    """

  @Test(arguments: [
    ("a new column that is NOT NULL", "ALTER TABLE t ADD COLUMN extra integer NOT NULL DEFAULT 5"),
    ("a new constraint on a domain", "ALTER DOMAIN positive ADD CONSTRAINT small CHECK (VALUE < 1000)"),
    ("a new constraint on a domain of arrays", "ALTER DOMAIN words ADD CONSTRAINT few CHECK (cardinality(VALUE) < 9)"),
    ("a new label", "ALTER TYPE mood ADD VALUE 'angry' BEFORE 'sad'"),
    ("a renamed label", "ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'"),
    ("a column dropped that is none of ours", "ALTER TABLE t DROP COLUMN other"),
    ("a column renamed that is none of ours", "ALTER TABLE t RENAME COLUMN other TO others"),
    ("a new index and a new constraint", "CREATE INDEX ON t (n); ALTER TABLE t ADD CHECK (n < 1000)"),
  ])
  func `also when between apply and revert came`(_ change: (name: String, ddl: String)) async throws {
    try await withLedger { server in
      try await server.psql(Self.moods)
      // What the table is after the same change alone.
      let expected = try await image(of: "t", on: server, after: change.ddl)
      let applied = try await migrated(Self.cheer, on: server, batchSize: 4)
      #expect(applied.isComplete)
      try await server.psql(change.ddl)
      #expect(try await reverted(applied.run, on: server) == .reverted(conflicts: 0))
      #expect(expected.differences(to: try await image(of: "t", on: server)) == [])
    }
  }

  /// Computed by itself such a value would be another one than the one that is stored.
  @Test(arguments: [
    (
      "CREATE OPERATOR |+| (FUNCTION = another, LEFTARG = integer, RIGHTARG = integer)", "n |+| 1"
    ),
    (
      """
      CREATE TYPE boxed AS (n integer);
      CREATE FUNCTION unboxed(b boxed) RETURNS integer LANGUAGE sql AS 'SELECT another(b.n, 1)';
      CREATE CAST (boxed AS integer) WITH FUNCTION unboxed(boxed) AS ASSIGNMENT
      """, "CAST(ROW(n) AS boxed)"
    ),
  ])
  func `also when a value comes from an operator or a cast that never gives the same one twice`(
    objects: String, value: String
  ) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, n integer);
        INSERT INTO t SELECT n, n FROM generate_series(1, 10) AS n;
        CREATE FUNCTION another(a integer, b integer) RETURNS integer LANGUAGE sql AS
        'SELECT $1 + $2 + CAST(random() * 1e8 AS integer)';
        \(objects)
        """)
      let before = try await image(of: "t", on: server)
      let applied = try await migrated("batch: b\nsource: t\nset:\n  n: \(value)\n", on: server, batchSize: 4)
      #expect(applied.isComplete)
      #expect(try await reverted(applied.run, on: server) == .reverted(conflicts: 0))
      #expect(before.differences(to: try await image(of: "t", on: server)) == [])
    }
  }

  /// U09
  @Test(arguments: [
    ("ALTER TABLE t DROP COLUMN mood", "column mood is gone"),
    ("ALTER TABLE t RENAME COLUMN n TO m", "column n is gone"),
    ("ALTER TABLE t ALTER n TYPE bigint", "column n is bigint, was public.positive"),
    ("ALTER TABLE t RENAME TO u", "table public.t is called public.u now"),
    ("DROP TABLE t", "table public.t is gone"),
    (
      "ALTER TABLE t DROP COLUMN mood; ALTER TABLE t ALTER w TYPE text[]",
      "column mood is gone; column w is text[], was public.words"
    ),
  ])
  func `U09: or refuses before a row changes, and lists what is in the way`(ddl: String, says: String) async throws {
    try await withLedger { server in
      try await server.psql(Self.moods)
      let applied = try await migrated(Self.cheer, on: server)
      try await server.psql(ddl)
      let table = try await server.psql("SELECT to_regclass('t')")[0][0]
      let before = table == nil ? nil : try await image(of: "t", on: server)
      let refused = await #expect(throws: Refused.self) { try await reverted(applied.run, on: server) }
      #expect(refused?.description.contains(says) == true, "\(refused?.description ?? "")")
      #expect(refused?.description.contains("help: ") == true)
      if let before { #expect(before.differences(to: try await image(of: "t", on: server)) == []) }
      #expect(try await server.psql("SELECT state FROM migrate.runs") == [["completed"]])
    }
  }
}
