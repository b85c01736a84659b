import Glibc
import MigrateLedger
import MigratePlan
import MigratePostgres
import MigrateRunner
import TestRuns
import TestSupport
import Testing

/// Who runs a plan.
enum BackEnd: String, CaseIterable, CustomTestStringConvertible {
  case client, procedure

  var other: BackEnd { self == .client ? .procedure : .client }
  var testDescription: String { rawValue }

  func apply(
    _ compiled: Compiled, on server: Server, again: Bool = false, control: RunControl = RunControl()
  ) async throws -> Told {
    switch self {
    case .client: try await Client.apply(compiled, on: server, again: again, control: control)
    case .procedure: try await Psql.apply(compiled, on: server, again: again)
    }
  }

  /// Tries the rows in the run's quarantine once more.
  func retry(_ run: Int64, on server: Server) async throws -> Told {
    switch self {
    case .client: try await Client.retry(run, on: server)
    case .procedure: try await Psql.run("CALL migrate.drive_rejects(\(run));", on: server)
    }
  }

  func revert(_ compiled: Compiled, on server: Server, onConflict policy: ConflictPolicy = .stop) async throws -> Told {
    switch self {
    case .client: try await Client.revert(compiled, on: server, onConflict: policy)
    case .procedure: try await Psql.revert(compiled, on: server, onConflict: policy)
    }
  }
}

extension Server {
  /// One value.
  func value(_ query: String) async throws -> String? { try await psql(query).first?.first ?? nil }

  /// Each row as text, in order.
  func rows(_ query: String) async throws -> [String] {
    try await psql(query).map { $0.map { $0 ?? "NULL" }.joined(separator: "|") }
  }

  /// Returns when the query's value is true, asking over one connection and not too often: others need the processors too. An
  /// error, of a table that is not there yet, is not true.
  func wait(until condition: String) async throws {
    try await withConnection(to: self) { connection in
      let deadline = ContinuousClock.now + .seconds(60)
      while (try? connection.query("SELECT \(condition) AS holds").onlyRow.bool("holds")) != true {
        guard ContinuousClock.now < deadline else { throw TestSupportError("in vain waited for \(condition)") }
        usleep(5_000)
      }
    }
  }

  /// Whether the products are these. Both are not shown when not: they are long.
  func has(_ products: [String]) async throws -> Bool { try await rows(Products.all) == products }

  func state(_ run: Int = 1) async throws -> String? {
    try await value("SELECT state FROM migrate.runs WHERE run = \(run)")
  }
}

/// Products with gaps in their keys, of which some are not eligible and some would not change.
enum Products {
  static func table(rows: Int) -> String {
    """
    CREATE TABLE products (id bigint PRIMARY KEY, price numeric NOT NULL, status text NOT NULL, note text);
    INSERT INTO products
    SELECT n * 3, CASE WHEN n % 5 = 0 THEN 0.00 ELSE n END, CASE WHEN n % 7 = 0 THEN 'gone' ELSE 'active' END, 'note ' || n
    FROM   generate_series(1, \(rows)) AS n;
    """
  }

  static let definition = """
    batch: prices
    source: products
    where: status = 'active'
    params: {multiplier: {type: numeric, default: 1.05}}
    set:
      price: round(price * :multiplier, 2)
    """

  /// What one statement would make of them.
  static let expected = """
    SELECT id, CASE WHEN status = 'active' AND price <> 0 THEN round(price * 1.05, 2) ELSE price END, status, note FROM products
    ORDER BY id
    """

  static let all = "SELECT id, price, status, note FROM products ORDER BY id"
}
