import MigratePostgres
import Synchronization

/// The connections of ``Server/psql(_:)`` that nothing uses at the moment, each as it was when it began: what is set for a role or a
/// database since, only a new one has.
///
/// Most of what a test asks is short, and a process of the server for each question costs more than the answer. They live as long as
/// the database of a test.
final class IdleConnections: Sendable {
  /// Of the database that the task is for; without one each question has a connection of its own.
  @TaskLocal static var ofTask: IdleConnections?

  private final class Idle: @unchecked Sendable {
    let server: Server
    let connection: Connection

    init(_ server: Server) throws(PostgresError) {
      self.server = server
      connection = try Connection(to: server)
    }

    /// Whether it can be another one's: not in a transaction, and all that was set in it is undone. What it has done counts in the
    /// server's statistics as when it had ended.
    func isAsNew() -> Bool {
      guard connection.transactionStatus == .idle else { return false }
      return (try? connection.execute("SELECT pg_stat_force_next_flush()")) != nil
        && (try? connection.execute("DISCARD ALL")) != nil
    }

    /// A server may have been stopped meanwhile.
    func isAlive() -> Bool { (try? connection.execute("SELECT 1")) != nil }
  }

  private let idle = Mutex<[Idle]>([])

  /// Runs `body` with one that is free, or with a new one. Behind an error none is used again.
  func using<Value>(_ server: Server, _ body: (borrowing Connection) throws -> Value) throws -> Value {
    let taken = try take(server) ?? Idle(server)
    let value = try body(taken.connection)
    if taken.isAsNew() { idle.withLock { $0.append(taken) } }
    return value
  }

  private func take(_ server: Server) -> Idle? {
    while let found = idle.withLock({ idle in
      idle.lastIndex { $0.server == server }.map { idle.remove(at: $0) }
    }) {
      if found.isAlive() { return found }
    }
    return nil
  }

  func close() { idle.withLock { $0 = [] } }
}
