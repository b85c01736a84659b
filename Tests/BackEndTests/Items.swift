import MigratePostgres
import TestRuns
import Testing

/// Items with gaps in their keys, of which some break a constraint when they are changed.
enum Items {
  /// - Parameter bad: the rows that do, by their places from 1.
  static func table(rows: Int, bad: [Int]) -> String {
    """
    CREATE TABLE items (id integer PRIMARY KEY, v integer NOT NULL CHECK (v < 1000000), note text);
    INSERT INTO items SELECT n * 3, CASE WHEN n = ANY ('{\(bad.map(String.init).joined(separator: ","))}') THEN 999999 ELSE n END, 'é' || n
    FROM generate_series(1, \(rows)) AS n;

    """
  }

  static let definition = "batch: items\nsource: items\nset: {v: v + 10}"
  /// The bad ones go to quarantine.
  static let continuing = definition + "\non_error: continue"

  static let all = "SELECT id, v, note FROM items ORDER BY id"
}

extension BackEnd {
  /// Applies a definition, which must come to its end.
  @discardableResult
  func complete(
    _ definition: String, on server: Server, batchSize: Int, sourceLocation: SourceLocation = #_sourceLocation
  ) async throws -> Compiled {
    let compiled = try await Compiled(definition, on: server, batchSize: batchSize)
    let told = try await apply(compiled, on: server)
    #expect(told.isDone, "\(told.text.prefix(2_000))", sourceLocation: sourceLocation)
    return compiled
  }
}
