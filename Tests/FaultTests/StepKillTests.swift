import Foundation
import MigratePostgres
import MigrateTestSupport
import RunTestSupport
import TestSupport
import Testing

/// P01 over several tables: whenever the client is killed, a batch is in all of them or in none.
@Suite struct `Steps that are killed` {
  /// Where the rows of the batches come from, and what is read with them.
  enum Source: CaseIterable {
    case live, frozen, joined

    var yaml: String {
      switch self {
      case .live: "source: grants"
      case .frozen: "source: {query: SELECT * FROM grants, key: id}"
      case .joined:
        """
        source: grants
        join:
          worth:
            query: SELECT n AS points FROM generate_series(0, 4) AS n
            match: worth.points = batch.points
        let: {cost: -worth.points}
        """
      }
    }

    var cost: String { self == .joined ? "cost" : "-points" }
    var isOwn: Bool { self != .frozen }
  }

  private static func definition(_ source: Source) -> String {
    """
    batch: prices
    \(source.yaml)
    where: state = 'active'
    batch_size: 10
    steps:
      - update: grants
    \(source.isOwn ? "" : "    match: grants.id = batch.id")
        set: {state: 'expired'}
      - insert: ledger
        values: {grant_id: id, delta: \(source.cost)}
      - delete: reminders
        match: reminders.grant_id = batch.id
      - update: balances
        from:
          lost: SELECT user_id, coalesce(sum(points), 0) AS points FROM batch GROUP BY user_id
        match: balances.user_id = lost.user_id
        set: {points: points - lost.points}
    """
  }

  private static let tables = """
    CREATE TABLE grants (id bigint PRIMARY KEY, user_id bigint NOT NULL, points integer NOT NULL, state text NOT NULL);
    INSERT INTO grants SELECT n, n % 7, n % 5, CASE n % 4 WHEN 0 THEN 'used' ELSE 'active' END FROM generate_series(1, 200) AS n;
    CREATE TABLE ledger (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, grant_id bigint NOT NULL, delta integer NOT NULL);
    CREATE TABLE reminders (id bigint PRIMARY KEY, grant_id bigint REFERENCES grants);
    INSERT INTO reminders SELECT n, n FROM generate_series(1, 200) AS n;
    CREATE TABLE balances (user_id bigint PRIMARY KEY, points bigint NOT NULL);
    INSERT INTO balances SELECT user_id, 1000 FROM grants GROUP BY user_id;
    """

  /// What the tables say of how far it has come; all say the same.
  private static let progress = """
    SELECT count(*) FROM grants WHERE state = 'expired'
    UNION ALL SELECT count(*) FROM ledger
    UNION ALL SELECT 200 - count(*) FROM reminders
    """
  private static let missing = """
    SELECT 7 * 1000 - (SELECT sum(points) FROM balances) - (SELECT coalesce(sum(points), 0) FROM grants WHERE state = 'expired')
    """
  private static let all = """
    SELECT md5(string_agg(t, ',' ORDER BY t))
    FROM  (SELECT g::text FROM grants AS g UNION ALL SELECT l::text FROM ledger AS l UNION ALL SELECT r::text FROM reminders AS r
           UNION ALL SELECT b::text FROM balances AS b) AS t(t)
    """

  /// Also of rows that were read once, which the kills find half-way into their table or not at all.
  @Test(arguments: [["apply", "prices", "--yes"], ["revert", "1", "--yes"]], Source.allCases)
  func `P01: leave a batch in all tables or in none`(command: [String], source: Source) async throws {
    var random = Torture.random("kills of \(command[0]) \(source)")
    try await withLedger { server in
      try await server.psql(Self.tables)
      let before = try await server.value(Self.all)
      try await withFolder { folder in
        let program = try Program(folder: folder, server: server, definition: Self.definition(source))
        if command[0] == "revert" {
          #expect(await (try program.start(["apply", "prices", "--yes"])).wait() == .exited(0))
        }
        var killed = 0
        while true {
          let process = try program.start(command)
          if killed < Torture.count(6, torture: 100) {
            try await Task.sleep(for: .milliseconds(Int.random(in: 20...140, using: &random)))
            process.kill()
          }
          let status = await process.wait()
          let told = try await server.rows(Self.progress)
          #expect(Set(told).count == 1, "\(told)")
          #expect(try await server.value(Self.missing) == "0")
          if status != .killed {
            // A revert that was killed behind its last commit has nothing left to do.
            #expect(status == .exited(0) || command[0] == "revert", "\(program.output)")
            break
          }
          killed += 1
        }
        if command[0] == "apply" {
          #expect(try await server.rows(Self.progress) == ["150", "150", "150"])
        } else {
          #expect(try await server.value(Self.all) == before)
        }
      }
    }
  }
}

extension Server {
  /// The rows of a query, the columns of each in a line.
  fileprivate func rows(_ query: String) async throws -> [String] {
    try await psql(query).map { row in row.map { $0 ?? "NULL" }.joined(separator: "|") }
  }

  fileprivate func value(_ query: String) async throws -> String? { try await rows(query).first }
}
