import MigrateLedger
import MigratePlan
import MigratePostgres
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// What was mended and what the batches did goes back as it came about, the last first.
@Suite struct `A mended row on the way back` {
  /// The mended row has a value that another one had before the run, which comes back later.
  @Test(arguments: BackEnd.allCases, ConflictPolicy.allCases)
  func `is out of the way of what its value belonged to`(backEnd: BackEnd, policy: ConflictPolicy) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE p (id integer PRIMARY KEY, email text UNIQUE CHECK (email <> 'e2!'));
        INSERT INTO p SELECT n, 'e' || n FROM generate_series(1, 10) AS n; ANALYZE p
        """)
      let all = "SELECT id, email FROM p ORDER BY id"
      let before = try await server.rows(all)
      let compiled = try await Compiled(
        "batch: p\nsource: p\nset: {email: email || '!'}\non_error: continue", on: server, batchSize: 4)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(try await Client.fix(1, "email = 'e1'", on: server).text == "1 rows")
      let told = try await backEnd.revert(compiled, on: server, onConflict: policy)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.rows(all) == before)
      #expect(try await server.value("SELECT count(*) FROM migrate.conflicts") == "0")
    }
  }

  /// Mended, tried again, and mended once more: each free only by what was done before it.
  @Test(arguments: BackEnd.allCases)
  func `goes back in its place among those that were tried again`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE p (id integer PRIMARY KEY, email text UNIQUE CHECK (email NOT IN ('e2!', 'e3!')));
        INSERT INTO p SELECT n, 'e' || n FROM generate_series(1, 10) AS n; ANALYZE p
        """)
      let all = "SELECT id, email FROM p ORDER BY id"
      let before = try await server.rows(all)
      let compiled = try await Compiled(
        "batch: p\nsource: p\nset: {email: email || '!'}\non_error: continue", on: server, batchSize: 4)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(try await Client.fix(1, "email = 'f2'", where: "id = 2", on: server).text == "1 rows")
      #expect(try await backEnd.retry(1, on: server).isDone)
      #expect(try await Client.fix(1, "email = 'f2'", where: "id = 3", on: server).text == "1 rows")
      #expect(try await server.rows("SELECT email FROM p WHERE id IN (2, 3) ORDER BY id") == ["f2!", "f2"])
      let told = try await backEnd.revert(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.rows(all) == before)
      #expect(try await Client.verify(1, on: server).holds)
    }
  }

  /// Of two mendings, one behind and one before a row that was tried again, each is met by itself.
  @Test(arguments: BackEnd.allCases)
  func `counts each row in conflict once, whenever it was mended`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, v integer CHECK (v < 1000), note text);
        INSERT INTO t SELECT n, CASE WHEN n IN (3, 5, 7) THEN 995 ELSE n END, 'note ' || n FROM generate_series(1, 9) AS n; ANALYZE t
        """)
      let compiled = try await Compiled(
        "batch: t\nsource: t\nset: {v: v + 10}\non_error: continue", on: server, batchSize: 4)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(try await Client.fix(1, "note = 'once'", on: server).text == "3 rows")
      #expect(try await Client.fix(1, "v = 1", where: "id = 3", on: server).text == "1 rows")
      #expect(try await backEnd.retry(1, on: server).isDone)
      #expect(try await Client.fix(1, "note = 'twice'", on: server).text == "2 rows")
      try await server.psql("UPDATE t SET note = 'edited' WHERE id IN (3, 5)")
      let told = try await backEnd.revert(compiled, on: server, onConflict: .skip)
      #expect(told.text.contains(backEnd == .client ? "reverted(conflicts: 2)" : " 2 conflicts"), "\(told.text)")
      #expect(
        try await server.rows("SELECT id, v, note FROM t WHERE id IN (3, 5, 7) ORDER BY id")
          == ["3|995|edited", "5|995|edited", "7|995|note 7"])
    }
  }

  /// A cast to text leaves out the blanks at the end of bpchar, and one of an enum's is whatever somebody has made it.
  @Test(arguments: BackEnd.allCases)
  func `comes back byte by byte, and an edit of blanks alone is one, whatever a cast makes of a value`(
    backEnd: BackEnd
  ) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TYPE mood AS ENUM ('sad', 'glad');
        CREATE FUNCTION mood_text(mood) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'feels ' || enum_range(NULL, $1)::text $$;
        CREATE CAST (mood AS text) WITH FUNCTION mood_text(mood) AS ASSIGNMENT;
        CREATE TABLE t (id integer PRIMARY KEY, v integer CHECK (v < 1000), code bpchar, mood mood);
        INSERT INTO t SELECT n, CASE WHEN n IN (3, 5, 7) THEN 995 ELSE n END, 'ab   ', 'sad' FROM generate_series(1, 9) AS n;
        ANALYZE t
        """)
      let compiled = try await Compiled(
        "batch: t\nsource: t\nset: {v: v + 10}\non_error: continue", on: server, batchSize: 4)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(try await Client.fix(1, "code = 'z', mood = 'glad', v = 1", on: server).text == "3 rows")
      #expect(try await backEnd.retry(1, on: server).isDone)
      try await server.psql("UPDATE t SET code = 'z  ' WHERE id = 5")
      let told = try await backEnd.revert(compiled, on: server, onConflict: .skip)
      #expect(told.text.contains(backEnd == .client ? "reverted(conflicts: 1)" : " 1 conflicts"), "\(told.text)")
      #expect(
        try await server.rows(
          "SELECT id, v, format('%s', code), enum_out(mood) FROM t WHERE id IN (3, 5, 7) ORDER BY id")
          == ["3|995|ab   |sad", "5|1|z  |glad", "7|995|ab   |sad"])
      #expect(try await server.rows("SELECT found ->> 'code' FROM migrate.conflicts") == ["z  "])
    }
  }

  /// What a batch has done is done again; nobody mends again what was said to be mended.
  @Test(arguments: [true, false])
  func `is mended behind a crash when that was said`(bySQL: Bool) async throws {
    // Nothing is written to the disk besides what waits for it.
    try await TestCluster.withOwn(settings: ["wal_writer_delay": "10s"]) { cluster in
      let server = cluster.server
      try await server.psql(Items.table(rows: 20, bad: [5, 6]) + "ANALYZE items")
      #expect(try await Client.apply(try await Compiled(Items.continuing, on: server), on: server).isDone)
      try await server.psql("CHECKPOINT")
      if bySQL {
        #expect(try await server.value("SELECT migrate.mend(1, 'v', '5')") == "2")
      } else {
        #expect(try await Client.fix(1, "v = 5", on: server).text == "2 rows")
      }
      try await cluster.stop(immediately: true)
      try await cluster.start()
      #expect(try await server.rows("SELECT id, v FROM items WHERE id IN (15, 18) ORDER BY id") == ["15|5", "18|5"])
      #expect(try await server.value("SELECT count(*) FROM migrate.fixes") == "2")
    }
  }

  /// They work in the settings of the plan; what comes behind them in a transaction means what it would mean without them.
  @Test(arguments: ["migrate.mend(1, 'v', '5')", "migrate.verify(1)", "migrate.why('items', '{15}')"])
  func `is in a transaction that keeps its own settings`(call: String) async throws {
    try await withLedger { server in
      try await server.psql(Items.table(rows: 20, bad: [5, 6]) + "ANALYZE items")
      #expect(try await Client.apply(try await Compiled(Items.continuing, on: server), on: server).isDone)
      let changed = try await server.psql(
        """
        SET timezone = 'Asia/Tokyo'; SET datestyle = 'SQL, DMY'; SET lock_timeout = '7s'; SET statement_timeout = '70s';
        BEGIN;
        CREATE TEMP TABLE before AS SELECT name, setting FROM pg_settings;
        SELECT * FROM \(call);
        CREATE TEMP TABLE changed AS
        SELECT s.name, b.setting AS before, s.setting AS behind FROM pg_settings AS s JOIN before AS b USING (name) WHERE s.setting <> b.setting;
        COMMIT;
        SELECT * FROM changed
        """)
      #expect(changed.isEmpty, "\(changed)")
    }
  }

  /// Row 5 breaks the rule.
  @Test(arguments: BackEnd.allCases, ConflictPolicy.allCases)
  func `has columns of several collations`(backEnd: BackEnd, policy: ConflictPolicy) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE p (id integer PRIMARY KEY, a text COLLATE "C", b text COLLATE "de-x-icu", v text CHECK (v <> 'x5!'));
        INSERT INTO p SELECT n, 'a' || n, 'b' || n, 'x' || n FROM generate_series(1, 10) AS n; ANALYZE p
        """)
      let all = "SELECT id, a, b, v FROM p ORDER BY id"
      let before = try await server.rows(all)
      let compiled = try await Compiled(
        "batch: p\nsource: p\nset: {v: v || '!'}\non_error: continue", on: server, batchSize: 4)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(try await Client.fix(1, "a = 'A', b = 'B', v = 'ok'", on: server).text == "1 rows")
      #expect(try await backEnd.retry(1, on: server).isDone)
      let told = try await backEnd.revert(compiled, on: server, onConflict: policy)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.rows(all) == before)
    }
  }

  /// Row 20 is mended in a column that the run does not know.
  private static func mendedNote(_ backEnd: BackEnd, on server: Server) async throws -> Compiled {
    try await server.psql(
      """
      CREATE TABLE p (id integer PRIMARY KEY, label text, note varchar(100), k integer);
      INSERT INTO p SELECT n, CASE n WHEN 20 THEN 'none' ELSE n::text END, 'long note here ' || n, 0 FROM generate_series(1, 30) AS n;
      ANALYZE p
      """)
    let compiled = try await Compiled(
      "batch: p\nsource: p\nset: {k: label::integer * 10}\non_error: continue", on: server, batchSize: 10)
    #expect(try await backEnd.apply(compiled, on: server).isDone)
    #expect(try await Client.fix(1, "label = id::text, note = 'n' || id", on: server).text == "1 rows")
    #expect(try await backEnd.retry(1, on: server).isDone)
    return compiled
  }

  @Test(
    arguments: BackEnd.allCases,
    [
      ("ALTER TABLE p DROP note", "column note is gone"),
      (
        "ALTER TABLE p RENAME note TO remark; ALTER TABLE p ADD note varchar(100) DEFAULT 'n20'",
        "column note is another one now"
      ),
      ("ALTER TABLE p ALTER note TYPE text", "column note is text, was character varying(100)"),
    ])
  func `is not taken back where a column that was mended is another one`(
    backEnd: BackEnd, change: (script: String, words: String)
  ) async throws {
    try await withLedger { server in
      let compiled = try await Self.mendedNote(backEnd, on: server)
      try await server.psql(change.script)
      for policy in ConflictPolicy.allCases {
        let told = try await backEnd.revert(compiled, on: server, onConflict: policy)
        #expect(!told.isDone && told.text.contains(change.words), "\(told.text)")
      }
      #expect(try await server.state() == "completed")
      #expect(try await server.value("SELECT count(*) FROM migrate.batches WHERE kind = 'revert'") == "0")
      #expect(try await server.value("SELECT count(*) FROM p WHERE k = id * 10") == "30")
    }
  }

  /// The old value does not fit into the column any more, and is not cut.
  @Test(arguments: BackEnd.allCases)
  func `gets its value back whole or not at all`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      let compiled = try await Self.mendedNote(backEnd, on: server)
      try await server.psql("UPDATE p SET note = id WHERE id <> 20; ALTER TABLE p ALTER note TYPE varchar(10)")
      let stopped = try await backEnd.revert(compiled, on: server)
      #expect(
        !stopped.isDone && stopped.text.contains("row (20) cannot have back what it held before it was mended"),
        "\(stopped.text)")
      #expect(try await server.value("SELECT note FROM p WHERE id = 20") == "n20")
      let skipped = try await backEnd.revert(compiled, on: server, onConflict: .skip)
      #expect(skipped.text.contains(backEnd == .client ? "reverted(conflicts: 1)" : " 1 conflicts"), "\(skipped.text)")
      #expect(try await server.rows("SELECT label, note FROM p WHERE id = 20") == ["20|n20"])
      #expect(
        try await server.rows("SELECT key, reason, found ->> 'note' FROM migrate.conflicts") == ["{20}|refused|n20"])
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `fits into a column that is wider now`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      let compiled = try await Self.mendedNote(backEnd, on: server)
      try await server.psql("ALTER TABLE p ALTER note TYPE varchar(200)")
      let told = try await backEnd.revert(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.rows("SELECT label, note, k FROM p WHERE id = 20") == ["none|long note here 20|0"])
    }
  }
}
