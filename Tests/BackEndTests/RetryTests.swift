import MigrateLedger
import MigratePlan
import MigratePostgres
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// Rows in quarantine are mended where they are, and tried again under the plan that has left them out.
@Suite struct `A row in quarantine` {
  private static let table = """
    CREATE TABLE items (id bigint PRIMARY KEY, email text, v integer CHECK (v < 1000), twice integer GENERATED ALWAYS AS (v * 2) STORED);
    INSERT INTO items
    SELECT n * 3, CASE WHEN n IN (4, 20) THEN 'No At ' || n ELSE 'É' || n || '@X' END, CASE WHEN n IN (9, 31) THEN 995 ELSE n END
    FROM   generate_series(1, 40) AS n
    """

  private static let definition = """
    batch: items
    source: items
    set:
      email: lower(email)
      v: v + 10
    validation: {it's an "address": email LIKE '%@%'}
    on_error: continue
    """

  /// To its type the key is the same, to quarantine it was another text.
  @Test(
    arguments: BackEnd.allCases,
    [("citext", "'a' || n", "upper(k::text)::citext"), ("numeric", "n + 0.0", "k + 0.000")])
  func `is known again when its key is written otherwise`(
    backEnd: BackEnd, key: (type: String, value: String, respelt: String)
  ) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE EXTENSION citext;
        CREATE TABLE t (k \(key.type) PRIMARY KEY, v integer CHECK (v < 100));
        INSERT INTO t SELECT \(key.value), CASE WHEN n IN (3, 7) THEN 50 ELSE 1 END FROM generate_series(1, 9) AS n;
        ANALYZE t
        """)
      let before = try await server.rows("SELECT k, v FROM t ORDER BY k")
      let compiled = try await Compiled("batch: t\nsource: t\nset: {v: v * 10}\non_error: continue", on: server)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(try await Client.fix(1, "SET v = 20", on: server).text == "2 rows")
      let undo = "UPDATE t SET k = \(key.respelt.replacing("upper", with: "lower"))"
      try await server.psql("UPDATE t SET k = \(key.respelt) WHERE v = 20")
      #expect(try await backEnd.retry(1, on: server).isDone)
      #expect(
        try await server.rows(
          """
          SELECT q.key[1] = t.k::text, q.fixed_row IS NOT NULL
          FROM   migrate.rejects AS q
          JOIN   t ON q.key[1]::\(key.type) = t.k
          WHERE  q.state = 'open'
          """
        ) == ["t|t", "t|t"])
      #expect(try await Client.fix(1, "SET v = 5", on: server).text == "2 rows")
      #expect(try await backEnd.retry(1, on: server).isDone)
      #expect(try await server.rows("SELECT v, count(*) FROM t GROUP BY 1 ORDER BY 1") == ["10|7", "50|2"])
      #expect(try await server.rows(Self.counts) == ["9|9|0|0|t"])
      #expect(try await Client.verify(1, on: server).holds)
      #expect(try await backEnd.revert(compiled, on: server).isDone)
      if key.type == "citext" { try await server.psql(undo) }
      let after = try await server.rows("SELECT k, v FROM t ORDER BY k")
      #expect(key.type == "citext" ? after == before : after.count == before.count)
    }
  }

  private static let all = "SELECT id, email, v FROM items ORDER BY id"
  private static let counts = """
    SELECT sum(rows_read), sum(rows_changed), sum(rows_unchanged), sum(rows_rejected),
           bool_and(rows_read = rows_changed + rows_unchanged + rows_rejected)
    FROM   migrate.batches WHERE kind = 'apply'
    """
  private static let open = "SELECT key[1], kind FROM migrate.rejects WHERE state = 'open' ORDER BY key[1]::bigint"

  @Test(arguments: BackEnd.allCases, [1, 7, 40])
  func `is done when it is mended, and goes back with the run`(backEnd: BackEnd, size: Int) async throws {
    try await withLedger { server in
      try await server.psql(Self.table)
      let before = try await server.rows(Self.all)
      let compiled = try await Compiled(Self.definition, on: server, batchSize: size)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(try await server.rows(Self.open) == ["12|validation", "27|error", "60|validation", "93|error"])

      // The one mistake is mended first: the rows with the other one stay, with what is said of them now.
      var told = try await Client.fix(1, "SET email = replace(email, ' ', '@')", on: server)
      #expect(told.text == "4 rows")
      told = try await backEnd.retry(1, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.rows(Self.open) == ["27|error", "93|error"])
      #expect(try await server.rows(Self.counts) == ["40|38|0|2|t"])
      #expect(
        try await server.rows(
          "SELECT row ->> 'email', fixed_row ->> 'email', state FROM migrate.rejects WHERE key = '{12}'")
          == ["No At 4|No@At@4|resolved"])

      // A second try without a change is as the first.
      #expect(try await backEnd.retry(1, on: server).isDone)
      #expect(try await server.rows(Self.open) == ["27|error", "93|error"])

      #expect(try await Client.fix(1, "v = least(v, 900) -- small enough", on: server).text == "2 rows")
      #expect(try await backEnd.retry(1, on: server).isDone)
      #expect(try await server.rows(Self.open) == [])
      #expect(try await server.rows(Self.counts) == ["40|40|0|0|t"])
      #expect(
        try await server.rows("SELECT id, email, v FROM items WHERE id IN (12, 27, 30) ORDER BY id")
          == ["12|no@at@4|14", "27|é9@x|910", "30|é10@x|20"])
      #expect(try await server.rows("SELECT rows_rejected, rows_changed FROM migrate.progress") == ["0|40"])
      #expect(try await Client.verify(1, on: server).holds)

      let back = try await backEnd.revert(compiled, on: server)
      #expect(back.isDone, "\(back.text)")
      #expect(try await server.rows(Self.all) == before)
      #expect(try await server.rows("SELECT DISTINCT state FROM migrate.rejects") == ["reverted"])
      #expect(!(try await backEnd.retry(1, on: server)).isDone)
    }
  }

  @Test func `is mended by assignments that the database can type, and by nothing else`() async throws {
    try await withLedger { server in
      try await server.psql(Self.table)
      let compiled = try await Compiled(Self.definition, on: server)
      #expect(try await Client.apply(compiled, on: server).isDone)
      let before = try await server.rows(Self.all)
      for (assignments, said) in [
        ("SET id = 1", "id is the key"), ("SET mail = 'x'", "public.items has no column "),
        ("SET twice = 1", "twice is generated"),
        ("SET v = 'x'", "invalid input syntax for type integer"),
        ("SET v = nosuch", "--fix: column "),
        ("SET v = 1 WHERE id = 1", "no list of columns"), ("SET v = 1; DELETE FROM items", "--fix: "),
        ("SET v = 1 FROM items AS i", "no list of columns"), ("SET (v, email) = (1, 'x')", "no list of columns"),
        ("SET v = 5000", "items_v_check"), ("v", "--fix: "),
      ] {
        let told = try await Client.fix(1, assignments, on: server)
        #expect(!told.isDone)
        #expect(told.text.contains(said), "\(assignments): \(told.text)")
      }
      #expect(try await server.rows(Self.all) == before)
      #expect(try await server.value("SELECT count(*) FROM migrate.fixes") == "0")
    }
  }

  /// What somebody has made of a mended row since is never overwritten, unless that is said.
  @Test(arguments: BackEnd.allCases)
  func `is in conflict when it was changed since it was mended`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Self.table)
      let before = try await server.rows(Self.all)
      let compiled = try await Compiled(Self.definition, on: server)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(try await Client.fix(1, "SET email = 'mended'", on: server).isDone)
      try await server.psql("UPDATE items SET email = 'edited' WHERE id = 12")
      #expect(!(try await backEnd.revert(compiled, on: server)).isDone)
      #expect(try await server.value("SELECT email FROM items WHERE id = 12") == "edited")
      let skipped = try await backEnd.revert(compiled, on: server, onConflict: .skip)
      #expect(skipped.isDone, "\(skipped.text)")
      #expect(try await server.value("SELECT email FROM items WHERE id = 12") == "edited")
      #expect(
        try await server.rows(Self.all + " LIMIT 3") == Array(before.prefix(3)))
      #expect(try await server.value("SELECT count(*) FROM items WHERE email = 'mended'") == "0")
    }
  }

  @Test func `is resolved when it is gone, and is tried alone`() async throws {
    try await withLedger { server in
      try await server.psql(Self.table)
      let compiled = try await Compiled(Self.definition, on: server)
      #expect(try await Client.apply(compiled, on: server).isDone)
      // A row behind the cursor is none of this run's, also when it stands beside one that is tried again.
      try await server.psql(
        "DELETE FROM items WHERE id = 12; INSERT INTO items VALUES (59, 'NEW@X', 1); UPDATE items SET v = 5 WHERE id = 27"
      )
      #expect(try await Client.retry(1, on: server).isDone)
      #expect(try await server.rows(Self.open) == ["60|validation", "93|error"])
      #expect(try await server.rows(Self.counts) == ["39|37|0|2|t"])
      #expect(
        try await server.rows("SELECT email, v FROM items WHERE id IN (27, 59) ORDER BY id") == ["é9@x|15", "NEW@X|1"])
    }
  }

  @Test func `is tried again without undo, and among collected keys`() async throws {
    try await withLedger { server in
      try await server.psql(
        Self.table + """
          ; CREATE TABLE many (id integer PRIMARY KEY, v integer NOT NULL);
          INSERT INTO many SELECT n, n FROM generate_series(1, 100000) AS n; ANALYZE many
          """)
      let kept = try await Compiled(Self.definition + "\nundo: none", on: server)
      #expect(try await Client.apply(kept, on: server).isDone)
      #expect(try await Client.fix(1, "SET v = 1", on: server).text.contains("keeps no values"))
      try await server.psql(
        "UPDATE items SET v = 1 WHERE v > 990; UPDATE items SET email = '@' WHERE email LIKE 'No At%'")
      #expect(try await Client.retry(1, on: server).isDone)
      #expect(try await server.rows(Self.counts) == ["40|40|0|0|t"])

      let collected = try await Compiled(
        """
        batch: many
        source: many
        where: v % 1000 = 0
        set: {v: v + 1000}
        validation: {small: v < 50000}
        """, on: server)
      #expect(try await Client.apply(collected, on: server).isDone)
      #expect(try await server.value("SELECT count(*) FROM migrate.rejects WHERE run = 2 AND state = 'open'") == "52")
      #expect(try await Client.fix(2, "SET v = 1000 WHERE true", on: server).text.contains("no list"))
      #expect(try await Client.fix(2, "SET v = 1000", on: server).text == "52 rows")
      let told = try await Client.retry(2, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.value("SELECT count(*) FROM many WHERE v = 2000") == "53")
      #expect(try await Client.verify(2, on: server).holds)
      #expect(try await Client.revert(collected, on: server).isDone)
      #expect(try await server.value("SELECT count(*) FROM many WHERE v <> id") == "0")
      #expect(try await server.value("SELECT to_regclass('migrate.keys_2')") == nil)
    }
  }

  /// Row 4 is at fault until it is mended, and then a trigger moves it to another key.
  private static let moving = """
    CREATE TABLE t (id bigint PRIMARY KEY, v integer NOT NULL, note text NOT NULL);
    INSERT INTO t SELECT n, n, CASE WHEN n IN (4, 8) THEN 'bad' ELSE 'good' END FROM generate_series(1, 9) AS n;
    CREATE FUNCTION move() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF NEW.v = 104 THEN NEW.id := 1004; END IF;
      IF NEW.note = 'steal' THEN UPDATE migrate.fence SET epoch = epoch + 1; END IF;
      RETURN NEW;
    END $$;
    CREATE TRIGGER move BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION move()
    """
  private static let checked = """
    batch: t
    source: t
    set: {v: v + 100}
    validation: {fine: note <> 'bad'}
    """

  @Test(arguments: BackEnd.allCases)
  func `whose key a trigger writes cannot be tried again, and nobody has taken the run over`(backEnd: BackEnd)
    async throws
  {
    try await withLedger { server in
      try await server.psql(Self.moving)
      // One before it, which is done in any case.
      try await server.psql("UPDATE t SET note = 'bad' WHERE id = 2")
      let compiled = try await Compiled(Self.checked, on: server)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(try await Client.fix(1, "SET note = 'good'", on: server).text == "3 rows")
      let told = try await backEnd.retry(1, on: server)
      #expect(!told.isDone)
      #expect(!told.text.contains("taken over") && !told.text.contains("takenOver"), "\(told.text)")
      #expect(told.text.contains("the rows changed have other keys than the rows meant"), "\(told.text)")
      if backEnd == .procedure {
        #expect(told.text.contains("row (4) of run 1 cannot be tried again: "), "\(told.text)")
      }
      #expect(try await server.rows("SELECT v FROM t WHERE id IN (2, 4, 8) ORDER BY id") == ["102", "4", "8"])
      #expect(try await server.value("SELECT count(*) FROM migrate.rejects WHERE state = 'open'") == "2")
    }
  }

  @Test func `is mended by nobody who was taken over, and is told so`() async throws {
    try await withLedger { server in
      try await server.psql(Self.moving)
      #expect(try await Client.apply(try await Compiled(Self.checked, on: server), on: server).isDone)
      let told = try await Client.fix(1, "SET note = 'steal'", on: server)
      #expect(told.text.contains("somebody else has just taken run 1 over"), "\(told.text)")
      #expect(!told.text.contains("set other columns"), "\(told.text)")
      #expect(try await server.rows("SELECT note FROM t WHERE id IN (4, 8)") == ["bad", "bad"])
    }
  }

  /// C11: behind a pooler the backend stays, and whoever comes next would wait for it to grow cold.
  @Test(arguments: [true, false])
  func `is tried again by a worker that takes back its sign of life, also when it fails`(fails: Bool) async throws {
    try await withLedger { server in
      try await server.psql(Self.moving)
      #expect(try await Client.apply(try await Compiled(Self.checked, on: server), on: server).isDone)
      if fails { #expect(try await Client.fix(1, "SET note = 'good'", on: server).isDone) }
      #expect(try await Client.retry(1, on: server).isDone != fails)
      #expect(try await server.value("SELECT count(*) FROM migrate.workers") == "0")
    }
  }
}
