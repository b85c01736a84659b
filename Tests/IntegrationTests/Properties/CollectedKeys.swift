import MigrateLedger
import MigratePlan
import MigrateTestSupport
import TestSupport
import Testing

/// Where few rows of a table are expected their keys are collected first, and each part of a batch asks for its own.
@Suite struct `Collected keys` {
  private static let events = """
    CREATE TABLE events (day date, n integer, kind integer, amount integer NOT NULL CHECK (amount < 1000000 OR n % 1000 <> 7), PRIMARY KEY (day, n));
    INSERT INTO events SELECT date '2026-01-01' + n / 400, n, n % 200, 1 FROM generate_series(1, 100000) AS n;
    ANALYZE events;
    """

  /// For each key that is not of the part, PostgreSQL would read the index from one end of the part to the other.
  @Test func `of several columns read as much of the index as there are rows in a part`() async throws {
    try await withLedger { server in
      try await server.psql(Self.events)
      var way = Way()
      way.batchSize = 100
      let applied = try await migrated(
        "batch: b\nsource: events\nwhere: kind = 7\nset: {amount: 1000000}\non_error: continue", on: server, way)
      #expect(applied.isComplete)
      #expect(applied.plan.statements(.bounds).map(\.name).contains(.collect))
      #expect(applied.counts.rejected == 100 && applied.counts.changed == 400)
      // What the run has read is told when its connections are gone.
      let working =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'migrate run%'"
      while try await server.psql(working) != [["0"]] { try await Task.sleep(for: .milliseconds(20)) }
      let read = try await server.psql(
        "SELECT idx_tup_read < 20000 FROM pg_stat_user_indexes WHERE indexrelname = 'events_pkey'")
      #expect(read == [["t"]])
    }
  }
}
