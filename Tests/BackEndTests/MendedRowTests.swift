import Foundation
import MigrateLedger
import MigratePlan
import MigratePostgres
import MigrateRunner
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// What `--fix` has made of a row, and what a revert makes of that.
@Suite struct `A mended row` {
  /// Every fourth row breaks the rule.
  private static let definition = """
    batch: t
    source: t
    set: {v: v + 100}
    validation: {fine: v % 4 <> 0}
    """

  /// The columns of the key with their types, what they are called together, and the key of row n.
  @Test(arguments: [
    ("k character(6)", "k", "'c' || n"), ("k character(1)", "k", "chr(64 + n)"), ("k bit(6)", "k", "n::bit(6)"),
    ("k bit varying(6)", "k", "n::bit(6)"), ("k regclass", "k", "n::oid::regclass"), ("k padded", "k", "'d' || n"),
    ("k varchar(4)", "k", "'v' || n"), ("k numeric(6,2)", "k", "n / 4.0"),
    ("k \"Kind of\"", "k", "(ARRAY['b', 'a', 'C c', 'c', 'd', 'e', 'f', 'B', 'D'])[n]::\"Kind of\""),
    ("a character(3), k integer", "a, k", "'a' || n / 3, n"),
    ("a bit(3), k bit(2)", "a, k", "(n / 4)::bit(3), n::bit(2)"),
  ])
  func `is found by a key of any type`(columns: String, key: String, value: String) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE DOMAIN padded AS character(5); CREATE TYPE "Kind of" AS ENUM ('b', 'a', 'C c', 'c', 'd', 'e', 'f', 'B', 'D');
        CREATE TABLE t (\(columns), n integer NOT NULL, v integer NOT NULL, PRIMARY KEY (\(key)));
        INSERT INTO t SELECT \(value), n, n FROM generate_series(1, 9) AS n; ANALYZE t
        """)
      let all = "SELECT n, v FROM t ORDER BY n"
      let before = try await server.rows(all)
      let compiled = try await Compiled(Self.definition, on: server, batchSize: 4)
      #expect(try await Client.apply(compiled, on: server).isDone)
      #expect(try await Client.fix(1, "SET v = v + 50", on: server).text == "2 rows")
      #expect(
        try await server.rows(all) == (1...9).map { "\($0)|\($0 % 4 == 0 ? $0 + 50 : $0 + 100)" })
      #expect(try await Client.retry(1, on: server).isDone)
      #expect(try await server.rows(all) == (1...9).map { "\($0)|\($0 % 4 == 0 ? $0 + 150 : $0 + 100)" })
      #expect(try await Client.revert(compiled, on: server).isDone)
      #expect(try await server.rows(all) == before)
      #expect(try await server.value("SELECT count(*) FROM migrate.fixes WHERE NOT reverted") == "0")
    }
  }

  /// Rows 4 and 8 break the rule; v is what the run writes, and note is not.
  private static let table = """
    CREATE TABLE t (id bigint PRIMARY KEY, v integer NOT NULL, note text);
    INSERT INTO t SELECT n, n, 'note ' || n FROM generate_series(1, 9) AS n
    """
  private static let all = "SELECT id, v, note FROM t ORDER BY id"
  private static let conflicts = "SELECT key[1], seq < 0, reason, found FROM migrate.conflicts ORDER BY key[1], seq"

  /// Applied, and each of its rows in quarantine mended.
  private static func mended(
    _ backEnd: BackEnd, on server: Server, by assignments: [String], retry: Bool = false
  ) async throws -> (Compiled, before: [String]) {
    try await server.psql(table)
    let before = try await server.rows(all)
    let compiled = try await Compiled(definition, on: server, batchSize: 4)
    try #require(try await backEnd.apply(compiled, on: server).isDone)
    for list in assignments { try #require(try await Client.fix(1, list, on: server).text == "2 rows") }
    if retry { try #require(try await backEnd.retry(1, on: server).isDone) }
    return (compiled, before)
  }

  /// The mended columns as found, whatever else was changed.
  @Test(arguments: BackEnd.allCases)
  func `is kept as it was found before force overwrites it`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      let (compiled, before) = try await Self.mended(backEnd, on: server, by: ["note = 'mended', v = 50"])
      try await server.psql(
        "UPDATE t SET note = NULL WHERE id = 4; UPDATE t SET note = 'not a mended row' WHERE id = 5")
      let told = try await backEnd.revert(compiled, on: server, onConflict: .force)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.rows(Self.conflicts) == [#"4|t|overwritten|{"v": "50", "note": null}"#])
      try await server.psql("UPDATE t SET note = 'note 5' WHERE id = 5")
      #expect(try await server.rows(Self.all) == before)
      #expect(try await server.value("SELECT rows_rejected FROM migrate.progress") == "0")
    }
  }

  /// C10; who takes over may want it by another policy.
  @Test func `C10: is left alone by a worker that was taken over before it`() async throws {
    try await withLedger { server in
      let (compiled, before) = try await Self.mended(.client, on: server, by: ["note = 'mended'"])
      let locks = "LOCK TABLE t IN ACCESS EXCLUSIVE MODE"
      try await withSessions("holder", to: server) { sessions in
        let holder = try #require(sessions["holder"])
        // Under skip it does not look ahead, so that the first to wait is what is mended.
        let report: @Sendable (RunEvent) -> Void = { event in
          guard case .started = event else { return }
          try? holder.start("BEGIN; \(locks)")
          try? Self.waitForLock(on: server)
        }
        async let told = Client.revert(compiled, on: server, onConflict: .skip, report: report)
        try await server.wait(
          until: """
            EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE 'migrate run%' AND \(try await holder.pid) = ANY (pg_blocking_pids(pid)))
            """)
        try await server.psql("UPDATE migrate.fence SET epoch = epoch + 1")
        try await holder.finish()
        try await holder.execute("COMMIT")
        let end = try await told
        #expect(end.text == "takenOver")
      }
      #expect(try await server.rows("SELECT note FROM t WHERE id IN (4, 8)") == ["mended", "mended"])
      #expect(try await server.value("SELECT count(*) FROM migrate.fixes WHERE reverted") == "0")
      #expect(try await Client.revert(compiled, on: server).isDone)
      #expect(try await server.rows(Self.all) == before)
    }
  }

  /// On the thread of the worker, which goes on only then.
  private static func waitForLock(on server: Server) throws {
    let connection = try Connection(to: server)
    while try connection.query(
      "SELECT FROM pg_locks WHERE relation = 't'::regclass AND mode = 'AccessExclusiveLock' AND granted"
    ).isEmpty { usleep(2_000) }
  }

  @Test(arguments: BackEnd.allCases, [ConflictPolicy.skip, .force])
  func `is told as it was found, or as gone, and counted, where a revert has left it`(
    backEnd: BackEnd, policy: ConflictPolicy
  ) async throws {
    try await withLedger { server in
      let (compiled, _) = try await Self.mended(backEnd, on: server, by: ["note = 'mended'"])
      try await server.psql("UPDATE t SET note = 'edited' WHERE id = 4; DELETE FROM t WHERE id = 8")
      let told = try await backEnd.revert(compiled, on: server, onConflict: policy)
      let isForced = policy == .force
      #expect(
        try await server.rows(Self.conflicts)
          == [#"4|t|\#(isForced ? "overwritten" : "edited")|{"note": "edited"}"#, "8|t|gone|NULL"])
      #expect(try await server.value("SELECT note FROM t WHERE id = 4") == (isForced ? "note 4" : "edited"))
      let count = isForced ? 1 : 2
      #expect(
        told.text.contains(backEnd == .client ? "reverted(conflicts: \(count))" : " \(count) conflicts"), "\(told.text)"
      )
      #expect(try await server.rows("SELECT state, rows_rejected FROM migrate.progress") == ["reverted|\(count)"])
      let verified = try await Client.verify(1, on: server)
      #expect(verified.holds, "\(verified)")
    }
  }

  /// One row, however often it was mended, and though the second try of it is in conflict as well.
  @Test(arguments: BackEnd.allCases)
  func `counts once when it is in conflict`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      let (compiled, _) = try await Self.mended(
        backEnd, on: server, by: ["v = 5", "v = v + 1, note = 'mended'"], retry: true)
      #expect(try await server.rows("SELECT v FROM t WHERE id IN (4, 8)") == ["106", "106"])
      try await server.psql("UPDATE t SET v = 1 WHERE id = 4")
      let told = try await backEnd.revert(compiled, on: server, onConflict: .skip)
      #expect(told.text.contains(backEnd == .client ? "reverted(conflicts: 1)" : " 1 conflicts"), "\(told.text)")
      #expect(try await server.rows("SELECT id, v, note FROM t WHERE id IN (4, 8)") == ["4|1|mended", "8|8|note 8"])
    }
  }

  /// With the columns that the run writes, and with one that it leaves alone; mended once or twice; tried again or not.
  @Test(
    arguments: BackEnd.allCases,
    [
      ["v = 5"], ["note = 'mended'"], ["v = 5, note = 'mended'", "note = 'twice'"],
      ["v = 8, note = NULL", "v = 9"],
    ])
  func `keeps a revert under stop from writing anything when it was changed since`(
    backEnd: BackEnd, assignments: [String]
  ) async throws {
    for retry in [false, true] {
      for edit in ["v = 77", "note = 'edited'", nil] {
        try await withLedger { server in
          let (compiled, before) = try await Self.mended(backEnd, on: server, by: assignments, retry: retry)
          let left = try await server.rows(Self.all)
          let changes = edit.map { "UPDATE t SET \($0) WHERE id = 8" } ?? "DELETE FROM t WHERE id = 8"
          try await server.psql(changes)
          let edited = try await server.rows(Self.all)
          let told = try await backEnd.revert(compiled, on: server)
          // A column that was not mended is nobody's, and the run writes its own only where that was mended.
          let column = edit?.split(separator: " ")[0]
          let isForeign = column.map { column in !assignments.contains { $0.contains("\(column) =") } } ?? false
          #expect(told.isDone == isForeign, "\(retry) \(edit ?? "gone"): \(told.text)")
          guard !isForeign else { return }
          #expect(told.text.contains(backEnd == .client ? "conflicts(1)" : "1 row was changed since"), "\(told.text)")
          #expect(try await server.rows(Self.all) == edited)
          #expect(
            try await server.rows(
              "SELECT state, failure ->> 'message', (SELECT count(*) FROM migrate.batches WHERE kind = 'revert') FROM migrate.runs"
            )
              == ["failed|1 row was changed since|0"])
          #expect(try await server.value("SELECT count(*) FROM migrate.conflicts") == "0")
          // What is as it was mended is no conflict.
          try await server.psql("TRUNCATE t; INSERT INTO t VALUES \(left.map(Self.values).joined(separator: ", "))")
          let back = try await backEnd.revert(compiled, on: server)
          #expect(back.isDone, "\(back.text)")
          #expect(try await server.rows(Self.all) == before)
        }
      }
    }
  }

  private static func values(_ row: String) -> String {
    "(" + row.split(separator: "|").map { $0 == "NULL" ? "NULL" : "'\($0)'" }.joined(separator: ", ") + ")"
  }

  /// Whose edit was not there yet when the revert looked: it is met when its turn comes, and the run is told to have failed.
  @Test(arguments: BackEnd.allCases)
  func `that is changed while the run is taken back ends the revert`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      let (compiled, before) = try await Self.mended(backEnd, on: server, by: ["note = 'mended'"])
      let editor = try await Session("editor", to: server)
      try await editor.execute("BEGIN; UPDATE t SET note = 'edited' WHERE id = 4")
      async let told = backEnd.revert(compiled, on: server)
      let pid = try await editor.pid
      try await server.wait(until: "EXISTS (SELECT FROM pg_stat_activity WHERE \(pid) = ANY (pg_blocking_pids(pid)))")
      try await editor.execute("COMMIT")
      let outcome = try await told
      #expect(!outcome.isDone)
      #expect(
        try await server.rows("SELECT state, failure ->> 'message' FROM migrate.runs")
          == ["failed|1 row was changed since"])
      #expect(try await server.rows("SELECT note FROM t WHERE id IN (4, 8)") == ["edited", "mended"])
      try await server.psql("UPDATE t SET note = 'mended' WHERE id = 4")
      #expect(try await backEnd.revert(compiled, on: server).isDone)
      #expect(try await server.rows(Self.all) == before)
    }
  }

  /// Both columns are the run's; what it found at the second try was not what it was mended to.
  @Test(arguments: BackEnd.allCases)
  func `that was changed before it was tried again is in conflict`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      let (compiled, _) = try await Self.mended(backEnd, on: server, by: ["v = 5"])
      try await server.psql("UPDATE t SET v = 6 WHERE id = 4")
      #expect(try await backEnd.retry(1, on: server).isDone)
      let left = try await server.rows(Self.all)
      #expect(!(try await backEnd.revert(compiled, on: server)).isDone)
      #expect(try await server.rows(Self.all) == left)
      #expect(try await backEnd.revert(compiled, on: server, onConflict: .skip).isDone)
      #expect(try await server.rows("SELECT v FROM t WHERE id IN (4, 8)") == ["6", "8"])
      #expect(try await server.rows(Self.conflicts) == [#"4|t|edited|{"v": "6"}"#])
    }
  }

  /// The columns are called as those of quarantine.
  @Test func `is one of those that fulfil a condition, by its own columns`() async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE t (id bigint PRIMARY KEY, v integer NOT NULL, state text, run integer, key text, q text);
        INSERT INTO t SELECT n, n, 'note ' || n, n, 'k' || n, NULL FROM generate_series(1, 16) AS n
        """)
      let all = "SELECT id, v, state FROM t ORDER BY id"
      let before = try await server.rows(all)
      let compiled = try await Compiled(Self.definition, on: server, batchSize: 4)
      #expect(try await Client.apply(compiled, on: server).isDone)
      for (condition, said) in [
        ("stat = 'x'", "--fix or --where: column "), ("v", "must be type boolean"),
        ("v = 4; DELETE FROM t", "--where: "), ("true) OR (true", "--where: "), ("v = :four", ":four is a parameter"),
        ("v =", "--where: "), ("rejects.run = 1", "missing FROM-clause entry"),
        ("count(*) > 0", "not allowed in WHERE"),
      ] {
        let told = try await Client.fix(1, "SET v = 1", where: condition, on: server)
        #expect(!told.isDone && told.text.contains(said), "\(condition): \(told.text)")
      }
      #expect(try await server.rows("SELECT count(*) FROM migrate.fixes, migrate.requests") == ["0"])
      for (condition, rows, list) in [
        ("state = 'note 4' -- that one", 1, "state = 'one'"), ("run IN (8, 9) AND key = 'k8'", 1, "state = 'two'"),
        ("q IS NOT NULL", 0, "state = 'none'"), ("q = 'x'", 0, "state = 'none'"),
        ("t.v = (SELECT max(o.v) FROM t AS o WHERE o.v < 100)", 1, "v = 1 -- the greatest"),
      ] {
        #expect(try await Client.fix(1, list, where: condition, on: server).text == "\(rows) rows")
      }
      #expect(try await server.value("SELECT migrate.mend(1, 'state', '''three''', _where => 'id = 12 -- it')") == "1")
      #expect(
        !(try await Psql.run("SELECT migrate.mend(1, 'v', '1', _where => 'true) GROUP BY (v');", on: server)).isDone)
      #expect(
        try await server.rows("SELECT id, v, state FROM t WHERE id % 4 = 0 ORDER BY id")
          == ["4|4|one", "8|8|two", "12|12|three", "16|1|note 16"])
      // What moved nothing is not noted.
      #expect(
        try await server.rows("SELECT request, detail FROM migrate.requests ORDER BY seq")
          == [
            "mend|SET state = 'one' WHERE state = 'note 4' -- that one",
            "mend|SET state = 'two' WHERE run IN (8, 9) AND key = 'k8'",
            "mend|SET v = 1 -- the greatest\nWHERE t.v = (SELECT max(o.v) FROM t AS o WHERE o.v < 100)",
            "mend|SET state = ('three') WHERE id = 12 -- it",
          ])
      #expect(
        try await server.value(
          "SELECT count(*) FROM migrate.fixes AS f JOIN migrate.requests AS r ON r.seq = f.request") == "4")
      #expect(try await Client.revert(compiled, on: server).isDone)
      #expect(try await server.rows(all) == before)
    }
  }

  /// It would be another row than the one that waits.
  @Test func `is not mended by what its key is computed from`() async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE t (
          title text NOT NULL, slug text GENERATED ALWAYS AS (lower(title)) STORED PRIMARY KEY, n integer CHECK (n < 100));
        INSERT INTO t (title, n) SELECT 'R' || n, CASE WHEN n = 5 THEN 50 ELSE 1 END FROM generate_series(1, 9) AS n
        """)
      let compiled = try await Compiled(
        "batch: b\nsource: t\nset: {n: n * 10}\non_error: continue", on: server, batchSize: 4)
      #expect(try await Psql.apply(compiled, on: server).isDone)
      let words = "the key slug, by which quarantine knows the row, is computed from title"
      for told in [
        try await Client.fix(1, "SET n = 3, title = 'Five'", on: server),
        try await Psql.run("SELECT migrate.mend(1, 'title', $$'Five'$$);", on: server),
      ] {
        #expect(!told.isDone && told.text.contains(words), "\(told.text)")
      }
      #expect(try await Client.fix(1, "n = 3", on: server).text == "1 rows")
    }
  }

  /// For who has no client: one column, one expression, under the settings of the plan.
  @Test func `is mended by a function of the ledger, too`() async throws {
    try await withLedger { server in
      try await server.psql(Self.table)
      let before = try await server.rows(Self.all)
      let compiled = try await Compiled(Self.definition, on: server, batchSize: 4)
      #expect(try await Psql.apply(compiled, on: server).isDone)
      let left = try await server.rows(Self.all)
      for (column, expression, said) in [
        ("id", "1", "id is the key"), ("nosuch", "1", "has no column nosuch"),
        ("v", "nosuch", "column \"nosuch\" does not exist"),
        ("v", "1), note = ('x'", "does not exist"), ("v", "1) WHERE (true", "syntax error"),
        ("v", "'x'", "invalid input syntax"),
      ] {
        let told = try await Psql.run("SELECT migrate.mend(1, '\(column)', $$\(expression)$$);", on: server)
        #expect(!told.isDone && told.text.contains(said), "\(expression): \(told.text)")
      }
      #expect(try await server.rows(Self.all) == left)
      #expect(try await server.value("SELECT migrate.mend(1, 'v', 't.v + length(note) -- and more')") == "2")
      #expect(try await server.value("SELECT migrate.mend(1, 'note', 'NULL', _reason => 'why not')") == "2")
      #expect(try await server.rows("SELECT v, note FROM t WHERE id IN (4, 8)") == ["10|NULL", "14|NULL"])
      #expect(try await Psql.run("CALL migrate.drive_rejects(1, 'mended by SQL');", on: server).isDone)
      #expect(try await server.rows("SELECT v FROM t WHERE id IN (4, 8)") == ["110", "114"])
      #expect(
        try await server.rows(
          "SELECT request, reason, detail FROM migrate.requests WHERE requested_by = session_user ORDER BY seq")
          == [
            "mend|NULL|SET v = (t.v + length(note) -- and more\n)", "mend|why not|SET note = (NULL)",
            "retry|mended by SQL|NULL",
          ])
      #expect(try await Psql.revert(compiled, on: server).isDone)
      #expect(try await server.rows(Self.all) == before)
      #expect(!(try await Psql.run("SELECT migrate.mend(1, 'v', '1');", on: server)).isDone)
    }
  }
}
