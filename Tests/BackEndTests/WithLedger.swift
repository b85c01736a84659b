import MigrateLedger
import MigratePostgres
import TestSupport

private let withLedger = DatabaseTemplate("with_ledger") { server in
  try await withConnection(to: server) { connection in try Upgrade.run(connection) }
}

/// A database of its own with nothing but the ledger in it, which takes longer to install than most of these tests.
@discardableResult
func withDatabase<Value: Sendable>(
  loggingStatements: Bool = false, _ body: (Server) async throws -> Value
) async throws -> Value {
  try await TestCluster.shared.withDatabase(like: withLedger, loggingStatements: loggingStatements, body)
}
