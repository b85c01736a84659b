import Migrate
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// P17; the server's clock jumps in the middle of a run: what the ledger has stamped before lies in the future then, or is older
/// than it is.
@Suite struct `The clock of the server` {
  private static func definition(_ window: String) -> String {
    Products.definition + "\nthrottle: {pause: 400ms, max_rate: 1000}\nwindow: \"\(window)\"\n"
  }

  /// Open for six hours to both sides.
  private static let window = """
    SELECT to_char(n - interval '6 hours', 'HH24:MI') || '-' || to_char(n + interval '6 hours', 'HH24:MI') || ' UTC'
    FROM   (SELECT now() AT TIME ZONE 'UTC' AS n) AS n
    """

  /// As if the clock had gone by so much: the other way round for what is stamped.
  private static func jump(_ stamps: String) -> String {
    """
    BEGIN;
    UPDATE migrate.batches SET started_at = started_at + '\(stamps)', ended_at = ended_at + '\(stamps)';
    UPDATE migrate.workers SET heartbeat_at = heartbeat_at + '\(stamps)', since = since + '\(stamps)';
    UPDATE migrate.asking SET asked_at = asked_at + '\(stamps)';
    UPDATE migrate.runs SET started_at = started_at + '\(stamps)';
    SELECT migrate.advance(1, 'hold_begun');
    UPDATE migrate.runs SET held_since = held_since + '\(stamps)';
    COMMIT
    """
  }

  @Test(arguments: BackEnd.allCases, ["1 hour", "-1 day"])
  func `P17: jumps, and a run that rests or holds goes on`(backEnd: BackEnd, stamps: String) async throws {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 60))
      let expected = try await server.rows(Products.expected)
      let window = try await server.value(Self.window) ?? ""
      let compiled = try await Compiled(Self.definition(window), on: server, batchSize: 10)
      async let told = backEnd.apply(compiled, on: server)
      try await server.wait(until: "(SELECT count(*) FROM migrate.batches) >= 2")
      try await server.psql(Self.jump(stamps))
      // Gives up sooner than after an hour.
      try await server.wait(until: "(SELECT state = 'completed' FROM migrate.runs)")
      let words = try await told
      #expect(words.isDone, "\(words.text)")
      #expect(try await server.has(expected))

      // A batch in which it went back ends before it begins.
      try await server.psql(
        "UPDATE migrate.batches SET started_at = ended_at + interval '1 hour' WHERE ordinal IN (2, 6)")
      try await server.psql("UPDATE migrate.runs SET started_at = ended_at + interval '1 hour'")
      #expect(try await server.value("SELECT rows_per_second > 0 FROM migrate.progress") == "t")
      #expect(try await server.value("SELECT held >= '0' FROM migrate.history") == "t")
      let entry = try await onThread { try Runs(on: server).history().first }
      #expect((entry?.seconds ?? -1) >= 0 && (entry?.secondsWorked ?? -1) >= 0, "\(String(describing: entry))")
    }
  }

  @Test(arguments: BackEnd.allCases, ["1 hour", "-1 day"])
  func `P17: jumps, and a run whose client rests is not taken over`(backEnd: BackEnd, stamps: String) async throws {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 40))
      let expected = try await server.rows(Products.expected)
      let compiled = try await Compiled(
        Products.definition + "\nthrottle: {pause: 800ms}\n", on: server, batchSize: 10)
      async let told = BackEnd.client.apply(compiled, on: server)
      try await server.wait(until: "(SELECT count(*) FROM migrate.batches) >= 1")
      try await server.psql("UPDATE migrate.workers SET heartbeat_at = heartbeat_at + '\(stamps)'")
      let other = try await backEnd.apply(compiled, on: server)
      #expect(!other.isDone && other.text.contains("run 1 is being worked on by backend"), "\(other.text)")
      let words = try await told
      #expect(words.isDone, "\(words.text)")
      #expect(try await server.has(expected))
      #expect(try await server.value("SELECT count(DISTINCT epoch) FROM migrate.batches") == "1")
    }
  }
}
