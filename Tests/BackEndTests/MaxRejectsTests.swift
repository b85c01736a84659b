import MigratePostgres
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// `max_rejects`, and what it is tuned to.
@Suite struct `A run with rows in quarantine` {
  /// Seven of six hundred rows, each in a batch of its own.
  private static let table = Items.table(rows: 600, bad: Array(stride(from: 5, to: 130, by: 20))) + "ANALYZE items"

  @Test(arguments: BackEnd.allCases, ["3", "0.5%"])
  func `ends when there are more than max_rejects`(backEnd: BackEnd, limit: String) async throws {
    try await withLedger { server in
      try await server.psql(Self.table)
      let compiled = try await Compiled(Items.continuing + "\nmax_rejects: \(limit)", on: server, batchSize: 20)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(!told.isDone)
      #expect(
        told.text.contains(limit == "3" ? "4 rows are in quarantine" : "4 of 80 rows read are in quarantine"),
        "\(told.text)")
      // The batch with the one too many is done, and it can be looked at.
      #expect(
        try await server.rows("SELECT state, (SELECT count(*) FROM migrate.rejects) FROM migrate.runs") == ["failed|4"])
      #expect(try await server.value("SELECT sum(rows_read) FROM migrate.batches") == "80")
      #expect(
        try await server.value(
          """
          SELECT failure #>> '{after,0}' = (SELECT max(through_key[1]::integer)::text FROM migrate.batches WHERE ordinal = 3)
             AND failure #>> '{through,0}' = (SELECT max(through_key[1]::integer)::text FROM migrate.batches)
          FROM   migrate.runs
          """) == "t")
      let again = try await backEnd.apply(compiled, on: server)
      #expect(!again.isDone)
      #expect(try await server.value("SELECT count(*) FROM migrate.rejects") == "5")
      #expect(try await backEnd.revert(compiled, on: server).isDone)
    }
  }

  /// Whoever has committed the last batch asks behind it, and may have died before.
  @Test(arguments: BackEnd.allCases)
  func `is not complete with more than max_rejects, also when nobody was left to ask`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Items.table(rows: 40, bad: [35, 36, 37, 38]) + "ANALYZE items")
      let compiled = try await Compiled(Items.continuing + "\nmax_rejects: 3", on: server, batchSize: 20)
      #expect(try await !backEnd.apply(compiled, on: server).isDone)
      #expect(try await server.value("SELECT sum(rows_read) FROM migrate.batches") == "40")
      let again = try await backEnd.apply(compiled, on: server)
      #expect(!again.isDone && again.text.contains("4 rows are in quarantine, more than 3"), "\(again.text)")
      #expect(again.text.contains("and is not complete with so many"), "\(again.text)")
      #expect(try await server.state() == "failed")
      try await server.psql("SELECT migrate.tune(1, _max_rejects => '4')")
      let done = try await backEnd.apply(compiled, on: server)
      #expect(done.isDone, "\(done.text)")
    }
  }

  /// Of the first rows a small part is less than a row; that there are two among a thousand says nothing of all.
  @Test(arguments: BackEnd.allCases)
  func `is judged by a small part of its rows when that is ten of them`(backEnd: BackEnd) async throws {
    for (bad, isDone) in [(2, true), (10, true), (11, false)] {
      try await withLedger { server in
        try await server.psql(Items.table(rows: 20_000, bad: Array(1...bad)) + "ANALYZE items")
        let compiled = try await Compiled(Items.continuing + "\nmax_rejects: 0.1%", on: server, batchSize: 1_000)
        let told = try await backEnd.apply(compiled, on: server)
        #expect(told.isDone == isDone, "\(bad): \(told.text)")
        let read = isDone ? "20000" : "1000"
        #expect(try await server.value("SELECT sum(rows_read) FROM migrate.batches") == read, "\(bad)")
        guard !isDone else { return }
        #expect(told.text.contains("11 of 1000 rows read are in quarantine, more than 0.1%"), "\(told.text)")
      }
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `keeps what needs it from beginning until they are mended`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Items.table(rows: 20, bad: [5]))
      try await backEnd.complete(Items.continuing, on: server, batchSize: 10)
      if backEnd == .procedure {
        let again = try await backEnd.apply(try await Compiled(Items.continuing, on: server, batchSize: 10), on: server)
        #expect(again.isDone && again.text.contains("is already applied as run 1; 1 row in quarantine: SELECT * FROM "))
      }
      let needing = try await Compiled(
        "batch: notes\nneeds: items\nsource: items\nset: {note: upper(note)}\n", on: server)
      let told = try await backEnd.apply(needing, on: server)
      #expect(
        !told.isDone && told.text.contains("notes needs items (run 1 has 1 row in quarantine), not complete yet"),
        "\(told.text)")
      #expect(told.text.contains("mend them, then"), "\(told.text)")
      #expect(try await server.value("SELECT count(*) FROM migrate.runs") == "1")
      try await server.psql("SELECT migrate.mend(1, 'v', '5 -- as it was')")
      try await server.psql("CALL migrate.drive_rejects(1)")
      #expect(try await backEnd.apply(needing, on: server).isDone)
    }
  }

  /// A number in place of a part, and the other way.
  @Test(arguments: BackEnd.allCases, [("3", "1.1%", "6.6%"), ("0.5%", "5", "20")])
  func `goes on when it is tuned to allow more, as far as that allows`(
    backEnd: BackEnd, limits: (planned: String, few: String, enough: String)
  ) async throws {
    try await withLedger { server in
      try await server.psql(Self.table)
      let compiled = try await Compiled(
        Items.continuing + "\nmax_rejects: \(limits.planned)", on: server, batchSize: 20)
      let told = try await backEnd.apply(compiled, on: server)
      let way = backEnd == .client ? "`migrate tune 1 --max-rejects N`" : "SELECT migrate.tune(1, _max_rejects => 'N')"
      #expect(!told.isDone && told.text.contains("\(way) allows more"), "\(told.text)")
      #expect(try await server.value("SELECT count(*) FROM migrate.rejects") == "4")

      try await server.psql("SELECT migrate.tune(1, _max_rejects => '\(limits.few)', _reason => 'old ones')")
      let further = try await backEnd.apply(compiled, on: server)
      #expect(!further.isDone && further.text.contains("are in quarantine, more than \(limits.few)"), "\(further.text)")
      #expect(try await server.value("SELECT count(*) FROM migrate.rejects") == (limits.few == "5" ? "6" : "7"))

      try await server.psql("SELECT migrate.tune(1, _max_rejects => '\(limits.enough)')")
      let done = try await backEnd.apply(compiled, on: server)
      #expect(done.isDone, "\(done.text)")
      #expect(
        try await server.rows("SELECT state, (SELECT count(*) FROM migrate.rejects) FROM migrate.runs") == [
          "completed|7"
        ])
      for wrong in ["many", "-1", "1000%", "1e3"] {
        let refused = await #expect(throws: PostgresError.self) {
          try await server.psql("INSERT INTO migrate.tuning (run, max_rejects) VALUES (1, '\(wrong)')")
        }
        #expect(refused?.sqlState?.code == "23514", "\(wrong)")
      }
    }
  }

  @Test func `is what one that puts no row there cannot be tuned to be`() async throws {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 10))
      let compiled = try await Compiled(Products.definition, on: server)
      try await server.psql("ALTER TABLE products ADD CHECK (price < 9) NOT VALID")
      #expect(try await !BackEnd.client.apply(compiled, on: server).isDone)
      let refused = await #expect(throws: PostgresError.self) {
        try await server.psql("SELECT migrate.tune(1, _max_rejects => '5')")
      }
      #expect(refused?.message == "run 1 puts no row into quarantine, so none can be too many")
    }
  }
}
