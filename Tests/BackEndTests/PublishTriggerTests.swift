import MigratePlan
import MigratePostgres
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// What triggers do while all rows are shown at once, and what is in the way of it.
@Suite struct `Publishing at once, beside triggers and rules` {
  private static let table = """
    CREATE TABLE p (id bigint PRIMARY KEY, v integer, c integer, w integer NOT NULL DEFAULT 0, note text);
    INSERT INTO p SELECT n, n, n, 0, 'n' FROM generate_series(1, 30) AS n;
    ANALYZE p;

    """
  private static let definition = "batch: shown\nsource: p\nset: {v: c + 100}\npublish: at_once\n"
  private static let all = "SELECT id, v, c, w, note FROM p ORDER BY id"

  private static func trigger(_ moment: String, _ body: String, of column: String = "v") -> String {
    """
    CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \(body) END $$;
    CREATE TRIGGER t \(moment) UPDATE OF \(column) ON p FOR EACH ROW EXECUTE FUNCTION f();
    """
  }

  /// What is in the undo would be about other rows than the table has.
  static let wrong = [
    (
      "moves a row to another key", trigger("BEFORE", "IF OLD.id = 3 THEN NEW.id := 1003; END IF; RETURN NEW;"),
      "other keys"
    ),
    ("deletes a row", trigger("AFTER", "DELETE FROM p WHERE id = 3; RETURN NULL;"), "other keys"),
    ("moves it afterwards", trigger("AFTER", "UPDATE p SET id = 1003 WHERE id = 3; RETURN NULL;"), "other keys"),
    (
      "keeps a row from being changed", trigger("BEFORE", "IF OLD.id = 3 THEN RETURN NULL; END IF; RETURN NEW;"),
      "a trigger kept 1"
    ),
  ]

  @Test(arguments: BackEnd.allCases, wrong)
  func `fails and shows nothing when a trigger`(
    by backEnd: BackEnd, _ trigger: (name: String, sql: String, says: String)
  ) async throws {
    try await withLedger { server in
      try await server.psql(Self.table + trigger.sql)
      let before = try await server.rows(Self.all)
      let compiled = try await Compiled(Self.definition, on: server, batchSize: 7)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(!told.isDone)
      #expect(told.text.contains(trigger.says), "\(told.text)")
      #expect(try await server.state() == "failed")
      #expect(try await server.rows(Self.all) == before)
      #expect(try await backEnd.revert(compiled, on: server).isDone)
      #expect(try await server.rows(Self.all) == before)
    }
  }

  static let chains = [
    trigger(
      "AFTER", "IF pg_trigger_depth() = 1 THEN UPDATE p SET c = c + 1000 WHERE id = OLD.id + 10; END IF; RETURN NULL;"),
    trigger(
      "AFTER", "IF pg_trigger_depth() = 1 THEN UPDATE p SET w = w + 10 WHERE id = NEW.id + 1; END IF; RETURN NULL;"),
  ]

  @Test(arguments: BackEnd.allCases, chains)
  func `writes rows that its own triggers have written before`(by backEnd: BackEnd, _ trigger: String) async throws {
    try await withLedger { server in
      try await server.psql(Self.table + trigger)
      let compiled = try await Compiled(Self.definition, on: server, batchSize: 7)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(try await server.rows("SELECT count(*) FROM p WHERE v = id") == ["0"])
      #expect(try await server.rows("SELECT left_behind FROM migrate.runs") != ["30"])
    }
  }

  /// Named by no column, and read all the same.
  @Test(arguments: [
    "set:\n  note: md5(CAST(p.* AS text))\n", "where: CAST(p.* AS text) NOT LIKE '%1003%'\nset: {note: 'x'}\n",
  ])
  func `knows what a row as a whole depends on`(body: String) async throws {
    try await withLedger { server in
      try await server.psql(Self.table)
      let compiled = try await Compiled(
        "batch: shown\nsource: p\n\(body)publish: at_once\nexpect: {rows: \">= 100000\"}\n", on: server, batchSize: 7)
      #expect(try await !BackEnd.client.apply(compiled, on: server).isDone)
      try await server.psql("UPDATE p SET c = c + 1000 WHERE id = 3; SELECT migrate.resume(1)")
      let expected = try await server.rows(
        body.hasPrefix("set")
          ? "SELECT md5(CAST(p AS text)) FROM p ORDER BY id"
          : "SELECT CASE WHEN id = 3 THEN 'n' ELSE 'x' END FROM p ORDER BY id")
      #expect(try await BackEnd.client.apply(compiled, on: server).isDone)
      #expect(try await server.rows("SELECT note FROM p ORDER BY id") == expected)
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `shows nothing when too many rows break a rule by then`(by backEnd: BackEnd) async throws {
    try await withComputed(backEnd, "validation: {small: v < 200}\nmax_rejects: 2\n") { server, compiled in
      try await server.psql("UPDATE p SET c = 1000 WHERE id < 10; SELECT migrate.resume(1)")
      let before = try await server.rows(Self.all)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(!told.isDone && told.text.contains("more than 2"), "\(told.text)")
      #expect(try await server.rows(Self.all) == before)
      #expect(try await server.rows("SELECT published_at IS NULL, state FROM migrate.runs") == ["t|failed"])
      #expect(
        try await server.rows("SELECT detail FROM migrate.verify(1) WHERE name = 'rows edited since'") == [
          "nothing of the run can be seen yet"
        ])
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `is first, and then what waits in quarantine is tried again`(by backEnd: BackEnd) async throws {
    try await withComputed(backEnd, "validation: {small: v < 125}\n") { server, compiled in
      try await server.psql("UPDATE p SET c = 1 WHERE id = 30")
      let before = try await server.rows(Self.all)
      let early: String
      do { early = try await backEnd.retry(1, on: server).text } catch { early = "\(error)" }
      #expect(early.contains("published at once, and nothing of it was yet"), "\(early)")
      #expect(try await server.rows(Self.all) == before)
      try await server.psql("SELECT migrate.resume(1)")
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(try await backEnd.retry(1, on: server).text.isEmpty == false)
      #expect(try await server.rows("SELECT v FROM p WHERE id = 30") == ["101"])
      #expect(try await backEnd.revert(compiled, on: server).isDone)
      #expect(try await server.rows(Self.all) == before)
    }
  }

  /// Of another type by the time: refused by a run, and told by who verifies.
  @Test func `is verified whatever has become of the table`() async throws {
    try await withComputed(.client) { server, compiled in
      try await server.psql("ALTER TABLE p ALTER v TYPE text; SELECT migrate.resume(1)")
      #expect(try await !BackEnd.client.apply(compiled, on: server).isDone)
      #expect(try await server.rows("SELECT count(*) > 1 FROM migrate.verify(1)") == ["t"])
    }
  }

  private static func hold(_ row: Int, behind rest: Double) -> String {
    """
    DO $$ BEGIN PERFORM pg_sleep(\(rest)); WHILE NOT EXISTS (SELECT FROM over) LOOP
      UPDATE p SET w = w + 1 WHERE id = \(row); PERFORM pg_sleep(0.7); COMMIT; END LOOP; END $$
    """
  }

  /// Each of them holds its row for longer than a row is waited for, and there is always another one.
  @Test func `comes to an end beside writers who are always there`() async throws {
    try await withComputed(.client) { server, compiled in
      try await server.psql("CREATE TABLE over (); SELECT migrate.resume(1)")
      async let one = server.psql(Self.hold(5, behind: 0))
      async let other = server.psql(Self.hold(20, behind: 0.35))
      let told = try await BackEnd.client.apply(compiled, on: server)
      try await server.psql("INSERT INTO over DEFAULT VALUES")
      _ = try await (one, other)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.rows("SELECT count(*) FROM p WHERE v <> c + 100") == ["0"])
    }
  }

  private func withComputed(
    _ backEnd: BackEnd, _ more: String = "", _ body: (Server, Compiled) async throws -> Void
  ) async throws {
    try await withLedger { server in
      try await server.psql(Self.table)
      let compiled = try await Compiled(
        Self.definition + more + "expect: {rows: \">= 100000\"}\n", on: server, batchSize: 7)
      #expect(try await !backEnd.apply(compiled, on: server).isDone)
      #expect(try await server.state() == "paused")
      try await body(server, compiled)
    }
  }
}
