import MigratePostgres
import MigrateTestSupport
import TestSupport

/// A database of its own with the ledger in it, for all tests here.
@discardableResult
func withDatabase<Value: Sendable>(
  loggingStatements: Bool = false, _ body: (Server) async throws -> Value
) async throws -> Value {
  try await TestSupport.withDatabase(like: .withLedger, loggingStatements: loggingStatements, body)
}
