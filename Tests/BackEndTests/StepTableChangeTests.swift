import MigratePlan
import MigratePostgres
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// What others do to the tables that steps write, while a run stands half-way.
@Suite struct `A run with steps stays with its tables` {
  private static let tables = """
    CREATE TABLE s (id integer PRIMARY KEY, v integer NOT NULL);
    INSERT INTO s SELECT n, n FROM generate_series(1, 30) AS n;
    CREATE TABLE o (id integer PRIMARY KEY, sid integer NOT NULL, x integer CHECK (x < 1000));
    INSERT INTO o SELECT n, n, CASE n WHEN 17 THEN 999 ELSE n END FROM generate_series(1, 30) AS n;
    CREATE TABLE logged (id integer PRIMARY KEY, x integer);
    CREATE TABLE notes (id integer PRIMARY KEY, sid integer NOT NULL);
    INSERT INTO notes SELECT n, n FROM generate_series(1, 30) AS n;
    CREATE TABLE children (id integer PRIMARY KEY, note integer);
    CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN coalesce(NEW, OLD); END $$
    """

  private static let definition = """
    batch: stays
    source: s
    steps:
      - update: o
        match: o.sid = batch.id
        set: {x: o.x + 10}
      - insert: logged
        values: {id: id, x: v}
      - delete: notes
        match: notes.sid = batch.id
    """

  struct Change: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let change: String
    let words: String
    let back: String
    /// Whether it keeps the run from being taken back, too.
    var holdsBack = true
  }

  static let changes = [
    Change(
      testDescription: "another table takes the name of one",
      change: "CREATE TABLE twin (LIKE o INCLUDING ALL); ALTER TABLE o RENAME TO old; ALTER TABLE twin RENAME TO o",
      words: "public.o is another table now, the one of the run is called public.old",
      back: "DROP TABLE o; ALTER TABLE old RENAME TO o"),
    Change(
      testDescription: "one is gone", change: "ALTER TABLE logged RENAME TO away", words: "table public.logged is gone",
      back: "ALTER TABLE away RENAME TO logged"),
    Change(
      testDescription: "a column is another one",
      change: "ALTER TABLE logged RENAME x TO y; ALTER TABLE logged ADD x integer",
      words: "column x of public.logged is another one now",
      back: "ALTER TABLE logged DROP x; ALTER TABLE logged RENAME y TO x"),
    Change(
      testDescription: "a column is wider", change: "ALTER TABLE logged ALTER x TYPE bigint",
      words: "column x of public.logged is bigint, was integer", back: "ALTER TABLE logged ALTER x TYPE integer",
      holdsBack: false),
    Change(
      testDescription: "a trigger has come",
      change: "CREATE TRIGGER late BEFORE INSERT OR DELETE ON notes FOR EACH ROW EXECUTE FUNCTION nothing()",
      words: "trigger late fires on writes to public.notes now", back: "DROP TRIGGER late ON notes"),
    Change(
      testDescription: "rows have come to follow",
      change: "ALTER TABLE children ADD CONSTRAINT led FOREIGN KEY (note) REFERENCES notes ON DELETE CASCADE",
      words: "children follows rows of public.notes by foreign key led now",
      back: "ALTER TABLE children DROP CONSTRAINT led"),
    Change(
      testDescription: "a rule has come", change: "CREATE RULE swallow AS ON DELETE TO notes DO INSTEAD NOTHING",
      words: "rule swallow is applied to writes to public.notes now", back: "DROP RULE swallow ON notes"),
    Change(
      testDescription: "a trigger has come that fires behind the rows",
      change: "CREATE TRIGGER late AFTER INSERT ON logged FOR EACH ROW EXECUTE FUNCTION nothing()",
      words: "trigger late fires on writes to public.logged now", back: "DROP TRIGGER late ON logged", holdsBack: false),
  ]

  private static let all = [
    "TABLE s ORDER BY id", "TABLE o ORDER BY id", "TABLE logged ORDER BY id", "TABLE notes ORDER BY id",
  ]

  @Test(arguments: BackEnd.allCases, changes)
  func `P21: and writes nothing while they are others`(backEnd: BackEnd, change: Change) async throws {
    try await withLedger { server in
      try await server.psql(Self.tables)
      let compiled = try await Compiled(Self.definition, on: server, batchSize: 5)
      #expect(!(try await backEnd.apply(compiled, on: server).isDone))
      try await server.psql("UPDATE o SET x = 5 WHERE id = 17")
      #expect(try await server.value("SELECT count(*) FROM logged") == "15")
      try await server.psql(change.change)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(!told.isDone && told.text.contains(change.words), "\(told.text)")
      if change.holdsBack {
        let back = try await backEnd.revert(compiled, on: server)
        #expect(!back.isDone && back.text.contains(change.words), "\(back.text)")
      }
      try await server.psql(change.back)
      #expect(try await server.value("SELECT count(*) FROM logged") == "15")
      let resumed = try await backEnd.apply(compiled, on: server)
      #expect(resumed.isDone || change.holdsBack, "\(resumed.text)")
      let back = try await backEnd.revert(compiled, on: server)
      #expect(back.isDone, "\(back.text)")
      #expect(try await server.rows("TABLE logged") == [])
      #expect(try await server.value("SELECT count(*) FROM o WHERE x = CASE id WHEN 17 THEN 5 ELSE id END") == "30")
      #expect(try await server.value("SELECT count(*) FROM notes") == "30")
    }
  }
}
