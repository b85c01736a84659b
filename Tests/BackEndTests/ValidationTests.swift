import MigrateLedger
import MigratePlan
import MigratePostgres
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// `validation`: rules for the row as it would be written, against what plain SQL says of the same rows.
@Suite struct `A row that breaks a rule` {
  /// Keys have gaps; some prices rise too much, some become zero, some are NULL, some do not change.
  static func table(rows: Int) -> String {
    """
    CREATE TABLE items (id bigint PRIMARY KEY, price numeric(10,2), factor numeric NOT NULL, name text NOT NULL);
    INSERT INTO items
    SELECT n * 3,
           CASE WHEN n % 7 = 0 THEN NULL ELSE n END,
           CASE n % 5 WHEN 0 THEN 0 WHEN 1 THEN 1 WHEN 2 THEN 1.5 ELSE 1.1 END,
           CASE WHEN n % 11 = 0 THEN '' ELSE 'é' || n END
    FROM   generate_series(1, \(rows)) AS n
    """
  }

  private static let definition = """
    batch: items
    source: items
    set:
      price: round(price * factor, 2)
    validation:
      price stays positive: price > 0
      "höchstens ein Fünftel teurer (it's the rule)": price <= batch.price * 1.2 -- old and new
      named: name <> ''
    """

  /// What plain SQL says: the rows after the run, and the reasons.
  private static let judged = """
    SELECT i.*, n.price AS becomes,
           array_remove(ARRAY[
             CASE WHEN n.price > 0 THEN NULL WHEN n.price IS NULL THEN 'price stays positive: is NULL' ELSE 'price stays positive' END,
             CASE WHEN n.price <= i.price * 1.2 THEN NULL
                  WHEN n.price IS NULL THEN 'höchstens ein Fünftel teurer (it''s the rule): is NULL'
                  ELSE 'höchstens ein Fünftel teurer (it''s the rule)' END,
             CASE WHEN i.name <> '' THEN NULL ELSE 'named' END], NULL) AS reasons
    FROM   items AS i, LATERAL (SELECT round(i.price * i.factor, 2)::numeric(10,2) AS price) AS n
    """

  private static let all = "SELECT id, price, factor, name FROM items ORDER BY id"
  private static let expected =
    "SELECT id, CASE WHEN reasons = '{}' THEN becomes ELSE price END, factor, name FROM (\(judged)) AS j ORDER BY id"
  private static let expectedRejects =
    "SELECT id, price, reasons, becomes FROM (\(judged)) AS j WHERE reasons <> '{}' ORDER BY id"
  private static let rejects = """
    SELECT key[1], (row ->> 'price'), reasons, (new_values ->> 'price') FROM migrate.rejects
    WHERE new_values ? 'price' AND new_values - 'price' = '{}' AND kind = 'validation' AND state = 'open' AND sqlstate IS NULL AND message = array_to_string(reasons, '; ')
    ORDER BY key[1]::bigint
    """
  private static let expectedCounts = """
    SELECT count(*), count(*) FILTER (WHERE reasons = '{}' AND becomes IS DISTINCT FROM price),
           count(*) FILTER (WHERE reasons = '{}' AND becomes IS NOT DISTINCT FROM price), count(*) FILTER (WHERE reasons <> '{}'), true
    FROM  (\(judged)) AS j
    """
  static let counts = """
    SELECT sum(rows_read), sum(rows_changed), sum(rows_unchanged), sum(rows_rejected),
           bool_and(rows_read = rows_changed + rows_unchanged + rows_rejected)
    FROM   migrate.batches
    """

  /// How the definition is run: by the shapes that the statements of a batch can have.
  enum Shape: String, CaseIterable, Sendable {
    /// The capture computes the new values.
    case foreseen
    /// A trigger has a say, so the change tells what the rows became.
    case triggered
    /// A rule with a query of its own.
    case queried
    case withoutUndo, continuing, retrying

    var setup: String {
      switch self {
      case .triggered:
        """
        ; CREATE FUNCTION looks() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END $$;
        CREATE TRIGGER looks BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION looks()
        """
      case .queried: "; CREATE TABLE limits (name text, least numeric); INSERT INTO limits VALUES ('least', 0)"
      case .foreseen, .withoutUndo, .continuing, .retrying: ""
      }
    }

    func yaml(_ definition: String) -> String {
      switch self {
      case .foreseen, .triggered: definition
      case .queried:
        definition.replacing(
          "price stays positive: price > 0",
          with: "price stays positive: price > (SELECT least FROM limits WHERE name = 'least')")
      case .withoutUndo: definition + "\nundo: none"
      case .continuing: definition + "\non_error: continue"
      case .retrying: definition + "\non_error: retry"
      }
    }
  }

  @Test(arguments: BackEnd.allCases, Shape.allCases)
  func `goes to quarantine with every reason, and the others are done`(backEnd: BackEnd, shape: Shape) async throws {
    for size in [1, 2, 7, 40] {
      try await withLedger { server in
        try await server.psql(Self.table(rows: 40) + shape.setup)
        let before = try await server.rows(Self.all)
        let expected = try await server.rows(Self.expected)
        let rejects = try await server.rows(Self.expectedRejects)
        let counts = try await server.rows(Self.expectedCounts)
        #expect(rejects.count > 10 && rejects.count < 30)
        let compiled = try await Compiled(shape.yaml(Self.definition), on: server, batchSize: size)
        let told = try await backEnd.apply(compiled, on: server)
        #expect(told.isDone, "\(told.text)")
        #expect(try await server.rows(Self.all) == expected)
        if shape == .withoutUndo {
          #expect(
            try await server.rows(
              "SELECT key[1], row, reasons, new_values FROM migrate.rejects ORDER BY key[1]::bigint")
              == rejects.map { row in
                let parts = row.split(separator: "|", omittingEmptySubsequences: false)
                return "\(parts[0])|NULL|\(parts[2])|NULL"
              })
        } else {
          #expect(try await server.rows(Self.rejects) == rejects)
        }
        #expect(try await server.rows(Self.counts) == counts)
        #expect(try await server.rows("SELECT state, left_behind FROM migrate.runs") == ["completed|0"])
        #expect(try await Client.verify(1, on: server).holds)
        if shape == .withoutUndo { return }

        let back = try await backEnd.revert(compiled, on: server)
        #expect(back.isDone, "\(back.text)")
        #expect(try await server.rows(Self.all) == before)
        #expect(try await server.rows("SELECT DISTINCT state FROM migrate.rejects") == ["reverted"])
      }
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `is every one, or none`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Self.table(rows: 40))
      let before = try await server.rows(Self.all)
      for (name, rule, rejected) in [("all_bad", "price < -1", 40), ("none_bad", "coalesce(price, 1) >= 0", 0)] {
        let compiled = try await Compiled(
          """
          batch: \(name)
          source: items
          set:
            price: coalesce(price, 1) * 2
          validation:
            rule: \(rule)
          """, on: server, batchSize: 7)
        let told = try await backEnd.apply(compiled, on: server)
        #expect(told.isDone, "\(told.text)")
        #expect(
          try await server.rows(
            "SELECT rows_read, rows_changed, rows_rejected FROM migrate.progress ORDER BY run DESC LIMIT 1")
            == ["40|\(40 - rejected)|\(rejected)"])
        if rejected > 0 { #expect(try await server.rows(Self.all) == before) }
      }
    }
  }

  /// Nothing that a run without such rows does costs a statement.
  @Test func `is looked for only in a batch that has one`() async throws {
    try await withLedger(loggingStatements: true) { server in
      try await server.psql(Self.table(rows: 40))
      let compiled = try await Compiled(
        """
        batch: items
        source: items
        set: {name: name || '!'}
        validation: {one is bad: id <> 60}
        """, on: server, batchSize: 10)
      let validate = try #require(compiled.plan.statements(.batches).first { $0.name == .validate })
      let log = try await TestCluster.shared.log
      let mark = try await log.mark(server)
      #expect(try await Client.apply(compiled, on: server).isDone)
      #expect(try await server.value("SELECT count(*) FROM migrate.rejects") == "1")
      let sent = try await log.statements(application: nil, since: mark, server)
      #expect(sent.filter { $0.text == validate.text(ofRun: 1) }.count == 1)
      #expect(sent.filter { $0.text.hasPrefix("BEGIN") && $0.text.contains("LOCK TABLE") }.count >= 4)
    }
  }

  /// Both kinds in one batch, and in one part of it.
  @Test(arguments: BackEnd.allCases)
  func `stands beside one that the database refuses`(backEnd: BackEnd) async throws {
    for size in [1, 2, 7, 40] {
      try await withLedger { server in
        try await server.psql(
          """
          CREATE TABLE items (id integer PRIMARY KEY, v integer NOT NULL, CONSTRAINT small CHECK (v < 1000));
          INSERT INTO items SELECT n, CASE WHEN n IN (4, 20, 21) THEN 995 WHEN n IN (5, 22, 39) THEN -20 ELSE n END
          FROM   generate_series(1, 40) AS n
          """)
        let before = try await server.rows("SELECT * FROM items ORDER BY id")
        let compiled = try await Compiled(
          """
          batch: items
          source: items
          set: {v: v + 10}
          validation: {not negative: v >= 0}
          on_error: continue
          """, on: server, batchSize: size)
        let told = try await backEnd.apply(compiled, on: server)
        #expect(told.isDone, "\(told.text)")
        #expect(
          try await server.rows(
            "SELECT key, kind, sqlstate, reasons FROM migrate.rejects ORDER BY key[1]::integer")
            == [4, 5, 20, 21, 22, 39].map {
              [4, 20, 21].contains($0) ? "{\($0)}|error|23514|NULL" : "{\($0)}|validation|NULL|{\"not negative\"}"
            })
        #expect(try await server.rows(Self.counts) == ["40|34|0|6|t"])
        #expect(try await Client.verify(1, on: server).holds)
        #expect(try await backEnd.revert(compiled, on: server).isDone)
        #expect(try await server.rows("SELECT * FROM items ORDER BY id") == before)
      }
    }
  }

  /// A rule that cannot be computed is no rule that is broken: `on_error` decides.
  @Test(arguments: BackEnd.allCases)
  func `is refused by the database when the rule itself fails`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(
        "CREATE TABLE items (id integer PRIMARY KEY, v integer); INSERT INTO items SELECT n, n FROM generate_series(-5, 5) AS n"
      )
      let definition = """
        batch: items
        source: items
        set: {v: v + 1}
        validation: {share: 100 / v > -50}
        """
      let stopping = try await Compiled(definition, on: server, batchSize: 4)
      #expect(!(try await backEnd.apply(stopping, on: server)).isDone)
      #expect(try await server.rows("SELECT state, failure ->> 'sqlstate' FROM migrate.runs") == ["failed|22012"])
      #expect(try await backEnd.revert(stopping, on: server).isDone)
      let compiled = try await Compiled(definition + "\non_error: continue", on: server, batchSize: 4)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(
        try await server.rows(
          "SELECT key, kind, sqlstate FROM migrate.rejects WHERE run = 2 ORDER BY key[1]::integer")
          == ["{-3}|validation|NULL", "{-2}|validation|NULL", "{-1}|error|22012"])
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `ends the run beyond max_rejects, also under stop`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Self.table(rows: 100))
      let compiled = try await Compiled(
        """
        batch: items
        source: items
        set: {name: name || '!'}
        validation: {odd: id % 2 = 1}
        max_rejects: 10
        """, on: server, batchSize: 8)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(!told.isDone)
      #expect(told.text.contains("12 rows are in quarantine, more than 10"), "\(told.text)")
      #expect(try await server.state() == "failed")
      #expect(try await backEnd.revert(compiled, on: server).isDone)
    }
  }

  /// The locked attempts: who writes at the same time makes the first one fail.
  @Test func `is found when others write at the same time`() async throws {
    try await withLedger { server in
      try await server.psql(Self.table(rows: 300))
      let expected = try await server.rows(Self.expectedRejects)
      let compiled = try await Compiled(Self.definition, on: server, batchSize: 50)
      async let writing: Void = withConnection(to: server) { connection in
        for round in 0..<3_000 {
          try connection.execute("UPDATE items SET factor = factor WHERE id = \(900 - round % 300 * 3)")
        }
      }
      let told = try await Client.apply(compiled, on: server)
      try await writing
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.rows(Self.rejects) == expected)
      #expect(try await Client.verify(1, on: server).holds)
    }
  }

  /// Few rows are eligible and no index leads to them, so that their keys are collected.
  @Test(arguments: BackEnd.allCases)
  func `is found among collected keys`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE items (id integer PRIMARY KEY, v integer NOT NULL, pad text);
        INSERT INTO items SELECT n, n, 'p' FROM generate_series(1, 100000) AS n;
        ANALYZE items
        """)
      let compiled = try await Compiled(
        """
        batch: items
        source: items
        where: v % 1000 = 0
        set: {v: v + 1}
        validation: {not the fifth: "(v - 1) % 5000 <> 0"}
        """, on: server, batchSize: 7)
      #expect(compiled.plan.statements(.bounds).contains { $0.name == .collect })
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.rows(Self.counts) == ["100|80|0|20|t"])
      #expect(try await server.value("SELECT count(*) FROM migrate.rejects WHERE key[1]::integer % 5000 = 0") == "20")
      #expect(try await Client.verify(1, on: server).holds)
    }
  }
}
