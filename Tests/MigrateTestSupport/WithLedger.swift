import MigrateLedger
package import MigratePostgres
package import TestSupport

extension DatabaseTemplate {
  /// Nothing but the ledger, which takes longer to install than most tests.
  package static let withLedger = DatabaseTemplate("with_ledger") { server in
    try await withConnection(to: server) { connection in try Upgrade.run(connection) }
  }
}

/// Runs `body` with a database of its own that has the ledger in it, and nothing else.
@discardableResult
package func withLedger<Value: Sendable>(
  loggingStatements: Bool = false, _ body: (Server) async throws -> Value
) async throws -> Value {
  try await withDatabase(like: .withLedger, loggingStatements: loggingStatements, body)
}
