package import MigratePostgres

/// Runs `body` with a connection of its own, on a thread of its own.
package func withConnection<Value: Sendable>(
  to server: Server, _ body: @escaping @Sendable (borrowing Connection) throws -> Value
) async throws -> Value {
  try await onThread { try body(Connection(to: server)) }
}
