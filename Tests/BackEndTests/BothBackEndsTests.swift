import MigrateLedger
import MigratePlan
import MigratePostgres
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// One plan, two ways to run it.
@Suite struct `Both back ends` {
  /// P28
  @Test(arguments: BackEnd.allCases, [1, 7, 1_000])
  func `P28: make of the rows what one statement would, and count them`(backEnd: BackEnd, size: Int) async throws {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 150))
      let (before, expected) = (try await server.rows(Products.all), try await server.rows(Products.expected))
      let compiled = try await Compiled(Products.definition, on: server, batchSize: size)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.has(expected))
      #expect(
        try await server.rows(
          """
          SELECT count(*), sum(rows_read), sum(rows_changed), sum(rows_unchanged), bool_and(exact)
          FROM   migrate.batches
          """) == ["\((129 + size - 1) / size)|129|103|26|t"])
      #expect(
        try await server.rows("SELECT state, left_behind, back_end FROM migrate.runs") == ["completed|0|\(backEnd)"])
      #expect(try await Client.verify(1, on: server).holds)

      let back = try await backEnd.revert(compiled, on: server)
      #expect(back.isDone, "\(back.text)")
      #expect(try await server.has(before))
      #expect(try await server.state() == "reverted")
      #expect(try await Client.verify(1, on: server).holds)
    }
  }

  @Test(arguments: BackEnd.allCases) func `P28: do nothing to an empty table`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 0))
      let compiled = try await Compiled(Products.definition, on: server)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.rows("SELECT state, left_behind, upper_key FROM migrate.runs") == ["completed|0|NULL"])
      #expect(try await server.value("SELECT count(*) FROM migrate.batches") == "0")
      #expect(try await backEnd.revert(compiled, on: server).isDone)
    }
  }

  @Test func `write the same ledger`() async throws {
    var ledgers: [BackEnd: [[String]]] = [:]
    for backEnd in BackEnd.allCases {
      try await withLedger { server in
        // The object identifiers are the same too: both tables are the first in a database of the same template.
        try await server.psql(Products.table(rows: 500))
        let compiled = try await Compiled(Products.definition, on: server, batchSize: 100)
        #expect(try await backEnd.apply(compiled, on: server).isDone)
        #expect(try await backEnd.revert(compiled, on: server).isDone)
        ledgers[backEnd] = [
          try await server.rows("SELECT * FROM migrate.definitions"),
          try await server.rows(
            "SELECT run, name, identity, search_path, parameters, state, direction, upper_key, left_behind FROM migrate.runs"
          ),
          try await server.rows(
            """
            SELECT ordinal, phase, step, name, arguments,
                   regexp_replace(text, '_test_\\d+', '')
            FROM   migrate.statements
            ORDER  BY ordinal
            """),
          try await server.rows(
            """
            SELECT kind, slice, ordinal, part, after_key, through_key, rows_read, rows_changed, rows_unchanged, rows_rejected,
                   exact
            FROM   migrate.batches
            ORDER  BY seq
            """),
        ]
      }
    }
    // Not shown when they differ: they are long.
    let areEqual = ledgers[.client] == ledgers[.procedure]
    #expect(areEqual)
    #expect(ledgers[.client]?.last?.count == 10)
  }

  @Test(arguments: BackEnd.allCases)
  func `store the statements that the plan prints, byte for byte`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 10))
      let compiled = try await Compiled(
        Products.definition + "\nchecks:\n  after:\n    none is {run}: SELECT 1 WHERE '{run}' = ':x'\n", on: server)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      let stored = try await server.psql("SELECT phase, name, text FROM migrate.statements ORDER BY ordinal")
      let planned = compiled.plan.phases.flatMap { phase in
        phase.statements.map { [phase.name.rawValue, $0.name.description, $0.text(ofRun: 1)] }
      }
      let areEqual = stored == planned
      #expect(areEqual)
      #expect(stored.contains { $0.last??.contains("'{run}'") == true })
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `go on with what the other has begun, and take it back`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 200) + "ALTER TABLE products ADD CHECK (price <> 106.05);")
      let (before, expected) = (try await server.rows(Products.all), try await server.rows(Products.expected))
      let compiled = try await Compiled(Products.definition, on: server, batchSize: 10)
      // 101 * 1.05: product 303 stops it half-way.
      let told = try await backEnd.apply(compiled, on: server)
      #expect(!told.isDone)
      try await server.psql("ALTER TABLE products DROP CONSTRAINT products_price_check")
      let onward = try await backEnd.other.apply(compiled, on: server)
      #expect(onward.isDone, "\(onward.text)")
      #expect(try await server.has(expected))
      #expect(try await server.rows("SELECT count(*), count(DISTINCT epoch) FROM migrate.batches") == ["18|2"])
      let back = try await backEnd.revert(compiled, on: server)
      #expect(back.isDone, "\(back.text)")
      #expect(try await server.has(before))
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `say that a definition is applied already, and apply it again when told to`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 20))
      let compiled = try await Compiled(Products.definition, on: server)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      let once = try await server.rows(Products.all)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone && told.text.contains("is already applied as run 1"))
      #expect(try await server.rows(Products.all) == once)
      #expect(try await backEnd.apply(compiled, on: server, again: true).isDone)
      #expect(try await server.rows(Products.all) != once)
      #expect(try await server.value("SELECT max(run) FROM migrate.runs") == "2")
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `K22: wait for who writes to the table, and do his rows`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 20))
      let compiled = try await Compiled(Products.definition, on: server)
      try await withSessions("writer", to: server) { sessions in
        let writer = try #require(sessions["writer"])
        try await writer.execute("BEGIN; INSERT INTO products VALUES (1000, 100, 'active')")
        async let told = backEnd.apply(compiled, on: server)
        try await server.wait(until: "EXISTS (SELECT FROM migrate.workers)")
        try await Task.sleep(for: .milliseconds(200))
        #expect(try await server.value("SELECT bounded_at IS NULL FROM migrate.runs") == "t")
        try await writer.execute("COMMIT")
        #expect(try await told.isDone)
      }
      #expect(try await server.value("SELECT price FROM products WHERE id = 1000") == "105.00")
    }
  }

  /// C04
  @Test(.timeLimit(.minutes(5)), arguments: BackEnd.allCases)
  func `C04: converge while others write the very rows`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql("CREATE TABLE counters (id int PRIMARY KEY, hits bigint NOT NULL, seen bigint)")
      try await server.psql("INSERT INTO counters SELECT n, 0 FROM generate_series(1, 400) AS n")
      let definition = "batch: seen\nsource: counters\nset: {seen: hits}\n"
      let compiled = try await Compiled(definition, on: server, batchSize: 50)
      let ended = Reply<Void>()
      let writer = Task {
        try await withConnection(to: server) { connection in
          var rounds = 0
          while !ended.isKnown {
            try connection.execute("UPDATE counters SET hits = hits + 1 WHERE id % 10 = 0")
            rounds += 1
          }
          return rounds
        }
      }
      let told = try await backEnd.apply(compiled, on: server)
      ended.give(.success(()))
      #expect(told.isDone, "\(told.text)")
      let rounds = try await writer.value
      // No hit is lost.
      #expect(try await server.value("SELECT sum(hits) FROM counters") == "\(rounds * 40)")
      #expect(try await server.value("SELECT bool_and(exact) FROM migrate.batches") == "t")
    }
  }
}

extension Statement {
  /// The text with the run's number where the compiler has left room for it.
  fileprivate func text(ofRun run: Int) -> String {
    var bytes = Array(text.utf8)
    for place in runAt.reversed() { bytes.replaceSubrange(place..<place + "{run}".utf8.count, with: String(run).utf8) }
    return String(decoding: bytes, as: UTF8.self)
  }
}
