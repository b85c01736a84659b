package import MigratePostgres

/// Runs `body` with a connection of its own, on a thread of its own.
package func withConnection<Value: Sendable>(
  to server: Server, _ body: @escaping @Sendable (borrowing Connection) throws -> Value
) async throws -> Value {
  try await onThread { try body(Connection(to: server)) }
}

/// States that tests expect, by their names.
extension SQLState {
  package static let serializationFailure = SQLState("40001")
  package static let deadlockDetected = SQLState("40P01")
  package static let uniqueViolation = SQLState("23505")
}
