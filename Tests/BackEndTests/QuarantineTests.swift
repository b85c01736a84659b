import MigrateLedger
import MigratePostgres
import TestRuns
import TestSupport
import Testing

/// PROTOCOL §2: rows that the database refuses, found by halving.
@Suite struct `A row that the database refuses` {
  /// `bad` rows break a constraint when they are changed; ids have gaps, and the table has a trigger that writes elsewhere.
  private static func table(rows: Int, bad: [Int]) -> String {
    """
    CREATE TABLE items (id integer PRIMARY KEY, v integer NOT NULL CHECK (v < 1000000), note text);
    INSERT INTO items SELECT n * 3, CASE WHEN n = ANY ('{\(bad.map(String.init).joined(separator: ","))}') THEN 999999 ELSE n END, 'é' || n
    FROM generate_series(1, \(rows)) AS n
    """
  }

  private static let definition = """
    batch: items
    source: items
    set:
      v: v + 10
    on_error: continue
    """

  private static let all = "SELECT id, v, note FROM items ORDER BY id"
  private static let expected =
    "SELECT id, CASE WHEN v = 999999 THEN v ELSE v + 10 END AS v, note FROM items ORDER BY id"

  /// Which rows are bad, of forty.
  enum Bad: String, CaseIterable, Sendable {
    case none, first, last, five, neighbours

    var rows: [Int] {
      switch self {
      case .none: []
      case .first: [1]
      case .last: [40]
      case .five: [2, 11, 17, 30, 39]
      case .neighbours: [19, 20, 21]
      }
    }
  }

  @Test(arguments: BackEnd.allCases, Bad.allCases)
  func `goes to quarantine, and the others are done`(backEnd: BackEnd, bad: Bad) async throws {
    for size in [1, 2, 7, 40] {
      try await withDatabase { server in
        try await server.psql(Self.table(rows: 40, bad: bad.rows))
        let (before, expected) = (try await server.rows(Self.all), try await server.rows(Self.expected))
        let compiled = try await Compiled(Self.definition, on: server, batchSize: size)
        let told = try await backEnd.apply(compiled, on: server)
        #expect(told.isDone, "\(told.text)")
        #expect(try await server.rows(Self.all) == expected)
        #expect(
          try await server.rows(
            """
            SELECT r.key, r.row ->> 'v', r.sqlstate, r.constraint_name, r.message FROM migrate.rejects AS r
            ORDER  BY r.key[1]::integer
            """)
            == bad.rows.map {
              "{\($0 * 3)}|999999|23514|items_v_check|new row for relation \"items\" violates check constraint \"items_v_check\""
            })
        #expect(
          try await server.rows(
            """
            SELECT sum(rows_read), sum(rows_changed), sum(rows_unchanged), sum(rows_rejected), bool_and(exact)
            FROM   migrate.batches
            """) == ["40|\(40 - bad.rows.count)|0|\(bad.rows.count)|t"])
        #expect(try await server.rows("SELECT state, left_behind FROM migrate.runs") == ["completed|0"])
        #expect(try await Client.verify(1, on: server).holds)

        let back = try await backEnd.revert(compiled, on: server)
        #expect(back.isDone, "\(back.text)")
        #expect(try await server.rows(Self.all) == before)
      }
    }
  }
}
