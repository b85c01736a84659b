import MigrateLedger
import MigratePostgres
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// What a row becomes is computed of those that the definition chooses, as one UPDATE would: of another it may not be computable.
@Suite struct `A row that is left out` {
  private static let isNumber = """
    CREATE FUNCTION is_number(t text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN t ~ '^[0-9]+$'; END $$;
    """

  /// Labels of which every seventh is no number.
  private static func table(rows: Int) -> String {
    """
    \(isNumber)
    CREATE TABLE t (id integer PRIMARY KEY, label text);
    INSERT INTO t SELECT n, CASE n % 7 WHEN 0 THEN 'x' || n ELSE n::text END FROM generate_series(1, \(rows)) AS n;
    CREATE TABLE numbers AS SELECT label FROM t WHERE is_number(label);
    ANALYZE t, numbers
    """
  }

  enum Choice: String, CaseIterable {
    case function = "is_number(label)"
    case query = "EXISTS (SELECT FROM numbers AS n WHERE n.label = t.label)"
    case list = "label IN (SELECT label FROM numbers)"
  }

  @Test(arguments: BackEnd.allCases, Choice.allCases)
  func `is not computed, under any order in which conditions are asked`(backEnd: BackEnd, choice: Choice) async throws {
    for settings in [
      "on_error: continue", "on_error: stop", "undo: none", "validation: {positive: '(label::int) > 0'}",
    ] {
      try await withLedger { server in
        try await server.psql(Self.table(rows: 50))
        let compiled = try await Compiled(
          "batch: t\nsource: t\nwhere: \(choice.rawValue)\nset: {label: (label::int + 1)::text}\n\(settings)",
          on: server,
          batchSize: 20)
        let told = try await backEnd.apply(compiled, on: server)
        #expect(told.isDone, "\(settings): \(told.text)")
        #expect(
          try await server.rows("SELECT state, rows_changed, rows_rejected FROM migrate.progress")
            == ["completed|43|0"], "\(settings)")
        #expect(
          try await server.value(
            "SELECT count(*) FROM t WHERE label = CASE id % 7 WHEN 0 THEN 'x' || id ELSE (id + 1)::text END") == "50")
      }
    }
  }

  /// From the third try on each statement reads what was committed last, and a row that it has waited for must fit anew.
  @Test(arguments: BackEnd.allCases, ["undo: none", "undo: full"])
  func `since a writer has taken it out, while the batch waited, is left`(backEnd: BackEnd, undo: String) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, price integer, is_open boolean);
        INSERT INTO t SELECT n, 10, true FROM generate_series(1, 20) AS n;
        CREATE TABLE sold AS SELECT id FROM t; ANALYZE t, sold
        """)
      let compiled = try await Compiled(
        "batch: t\nsource: t\nwhere: is_open AND EXISTS (SELECT FROM sold AS s WHERE s.id = t.id)\n"
          + "set: {price: price * 2, is_open: false}\nthrottle: {pause: 1s}\n\(undo)", on: server, batchSize: 10)
      try await withSessions("writer", to: server) { sessions in
        let writer = try #require(sessions["writer"])
        async let told = backEnd.apply(compiled, on: server)
        try await server.wait(until: "EXISTS (SELECT FROM migrate.batches)")
        try await writer.execute("BEGIN; UPDATE t SET price = price * 2, is_open = false WHERE id = 15")
        try await server.wait(
          until: "EXISTS (SELECT FROM migrate.workers JOIN pg_stat_activity USING (pid) WHERE wait_event_type = 'Lock')"
        )
        // Longer than two tries take.
        try await Task.sleep(for: .seconds(2))
        try await writer.execute("COMMIT")
        let words = try await told
        #expect(words.isDone, "\(words.text)")
      }
      #expect(try await server.rows("SELECT DISTINCT price, is_open FROM t") == ["20|f"])
    }
  }

  /// A second look at a batch, and one in which a row is as it should be, ask each row whether it would change.
  @Test(arguments: BackEnd.allCases) func `is not computed where a row of the batch is as it should be`(
    backEnd: BackEnd
  ) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE w (id integer PRIMARY KEY, quantity integer, price integer, unit integer);
        INSERT INTO w SELECT n, n % 10, 5, CASE n WHEN 5 THEN 1 END FROM generate_series(1, 100) AS n; ANALYZE w
        """)
      let compiled = try await Compiled(
        "batch: w\nsource: w\nwhere: round(quantity * 1.5, 2) > 0\nset: {unit: price / quantity}", on: server,
        batchSize: 45)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.rows("SELECT rows_changed, rows_unchanged FROM migrate.progress") == ["89|1"])
    }
  }

  /// A table this small is read as a whole, and its rows are asked in any order.
  @Test(arguments: BackEnd.allCases) func `as another batch's is not taken for the row at fault`(backEnd: BackEnd)
    async throws
  {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE w (a integer, b integer, c integer, quantity integer, unit integer, PRIMARY KEY (a, b, c));
        INSERT INTO w SELECT n / 9, n / 3, n, n - 18, CASE n WHEN 5 THEN 0 END FROM generate_series(1, 20) AS n; ANALYZE w
        """)
      let compiled = try await Compiled(
        "batch: w\nsource: w\nset: {unit: 1 / quantity}\non_error: continue", on: server, batchSize: 4)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.rows("SELECT key FROM migrate.rejects") == ["{2,6,18}"])
    }
  }

  /// Row 5 has the batch looked at in parts, and what is in the way of row 15 comes while row 10 is waited for. A definition that looks
  /// for it leaves row 15 out, had the part been asked in a newer snapshot.
  @Test(arguments: BackEnd.allCases) func `since another has taken its unique value is not taken for one at fault`(
    backEnd: BackEnd
  ) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, email text UNIQUE CHECK (email <> 'a5'));
        INSERT INTO t SELECT n, 'b' || n FROM generate_series(1, 20) AS n;
        CREATE TABLE taken (email text); ANALYZE t, taken
        """)
      let compiled = try await Compiled(
        """
        batch: t
        source: t
        where: NOT EXISTS (SELECT FROM taken AS o WHERE o.email = 'a' || t.id)
        set:
          email: concat('a', id)
        on_error: continue
        throttle: {lock_timeout: 1s}
        """, on: server)
      try await withSessions("holder", to: server) { sessions in
        let holder = try #require(sessions["holder"])
        try await holder.execute("BEGIN; SELECT FROM t WHERE id = 10 FOR UPDATE")
        async let applied = backEnd.apply(compiled, on: server)
        try await server.wait(
          until: "EXISTS (SELECT FROM migrate.workers JOIN pg_stat_activity USING (pid) WHERE wait_event_type = 'Lock')"
        )
        try await server.psql("INSERT INTO t VALUES (100, 'a15'); INSERT INTO taken VALUES ('a15')")
        try await holder.execute("COMMIT")
        let told = try await applied
        #expect(told.isDone, "\(told.text)")
      }
      #expect(try await server.rows("SELECT key FROM migrate.rejects") == ["{5}"])
      #expect(try await server.value("SELECT email FROM t WHERE id = 15") == "b15")
    }
  }

  /// The batches are done, and the row is nobody's fault; it is the next run's.
  @Test(arguments: BackEnd.allCases) func `since it came in behind the batches does not fail the run, and is told of`(
    backEnd: BackEnd
  ) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE w (id integer PRIMARY KEY, quantity integer, unit integer);
        INSERT INTO w SELECT n, n, NULL FROM generate_series(1, 20) AS n; ANALYZE w
        """)
      let compiled = try await Compiled(
        "batch: w\nsource: w\nset: {unit: 100 / quantity}\nthrottle: {pause: 1s}", on: server, batchSize: 10)
      async let applied = backEnd.apply(compiled, on: server)
      try await server.wait(until: "EXISTS (SELECT FROM migrate.batches)")
      try await server.psql("INSERT INTO w VALUES (0, 0, NULL)")
      let told = try await applied
      #expect(told.isDone, "\(told.text)")
      let words = "rows that came in behind the batches cannot be counted: division by zero"
      #expect(told.text.contains(words), "\(told.text)")
      #expect(
        try await server.rows(
          "SELECT p.state, p.rows_changed, r.left_behind FROM migrate.progress AS p JOIN migrate.runs AS r USING (run)")
          == ["completed|20|NULL"])
      let verified = try await Client.verify(1, on: server)
      #expect(!verified.holds)
      #expect(
        try await server.rows(
          "SELECT name, verdict, detail FROM migrate.verify(1) WHERE name IN ('left behind', 'rows edited since')")
          == ["left behind|not ok|cannot be told: division by zero", "rows edited since|info|0 rows"])
      #expect(try await backEnd.revert(compiled, on: server).isDone)
      #expect(try await server.rows("SELECT DISTINCT unit FROM w") == ["NULL"])
    }
  }

  /// Behind the last batch those that came in behind it are counted; of a row that is done it may not be computable again.
  @Test(arguments: BackEnd.allCases, ["", "where: label <> ''", "on_error: continue"])
  func `since it is done is not computed again`(backEnd: BackEnd, setting: String) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE p (id integer PRIMARY KEY, label text CHECK (label <> '8 EUR'), updated_at timestamptz);
        INSERT INTO p SELECT n, n FROM generate_series(1, 100) AS n WHERE n <> 7 OR '\(setting)' LIKE 'on%'; ANALYZE p;
        CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN NEW.updated_at := clock_timestamp(); RETURN NEW; END $$;
        CREATE TRIGGER touch BEFORE UPDATE ON p FOR EACH ROW EXECUTE FUNCTION touch()
        """)
      let compiled = try await Compiled(
        "batch: p\nsource: p\nset:\n  label: (label::int + 1)::text || ' EUR'\n\(setting)", on: server, batchSize: 30)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(
        try await server.rows(
          "SELECT p.state, p.rows_changed, r.left_behind FROM migrate.progress AS p JOIN migrate.runs AS r USING (run)")
          == ["completed|99|0"])
      #expect(try await Client.verify(1, on: server).holds)
    }
  }

  /// What is assigned stands in a rule where the column stood.
  @Test(arguments: BackEnd.allCases) func `by a rule over an element is told by its element`(backEnd: BackEnd)
    async throws
  {
    try await withLedger { server in
      try await server.psql(
        "CREATE TABLE a (id integer PRIMARY KEY, list integer[]); INSERT INTO a VALUES (1, '{1}'), (2, '{-1}'), (3, '{}')"
      )
      let compiled = try await Compiled(
        "batch: a\nsource: a\nset:\n  list: array_append(list, 1)\nvalidation: {first: 'list[1] > 0'}", on: server)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.rows("SELECT key FROM migrate.rejects") == ["{2}"])
    }
  }
}
