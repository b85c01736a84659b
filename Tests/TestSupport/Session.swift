import Dispatch
import Glibc
package import MigratePostgres
import Synchronization

/// A connection with a name, on a thread of its own, that does what it is told while the test goes on. For interleavings:
/// one session holds a lock, another is seen to wait for it.
package final class Session: Sendable {
  package let name: String
  private let server: Server
  private let jobs = Mutex<[Job?]>([])
  private let arrived = DispatchSemaphore(value: 0)
  private let running = Mutex<Reply<Rows>?>(nil)
  private let opened = Reply<(pid: Int32, cancellation: Cancellation)>()
  private let closed = Reply<Void>()

  private typealias Job = @Sendable (borrowing Connection) -> Void

  /// Its `application_name` is `name`.
  package init(_ name: String, to server: Server) async throws {
    self.name = name
    self.server = server.applicationName(name)
    Task { try? await onThread { self.work() } }
    _ = try await opened.value
  }

  /// Begins `script` and does not wait. The session is busy until ``finish()``.
  package func start(_ script: String) throws {
    try begin { (connection) throws(PostgresError) in try connection.execute(script) }
  }

  /// Begins one statement with arguments and does not wait.
  package func start(_ text: String, _ arguments: [String?]) throws {
    try begin { (connection) throws(PostgresError) in try connection.query(text, arguments) }
  }

  /// Waits for what was started.
  @discardableResult
  package func finish() async throws -> Rows {
    guard let reply = running.withLock({ $0 }) else { throw TestSupportError("\(name): nothing was started") }
    defer { running.withLock { $0 = nil } }
    return try await reply.value
  }

  /// Runs `script` and waits for its end.
  @discardableResult
  package func execute(_ script: String) async throws -> Rows {
    try start(script)
    return try await finish()
  }

  /// The process that serves the session.
  package var pid: Int32 { get async throws { try await opened.value.pid } }

  /// Cancels what is running, from outside.
  package func cancel() async throws {
    let cancellation = try await opened.value.cancellation
    try await onThread { _ = cancellation.cancel() }
  }

  /// Returns when the started statement waits for a lock that `other` holds.
  /// - Throws: when the statement ends without waiting, or `patience` runs out.
  package func waitUntilBlocked(by other: Session, patience: Duration = .seconds(10)) async throws {
    let (mine, theirs) = (try await pid, try await other.pid)
    guard let reply = running.withLock({ $0 }) else { throw TestSupportError("\(name): nothing was started") }
    try await withConnection(to: server.applicationName("monitor")) { [name] connection in
      let deadline = ContinuousClock.now + patience
      while true {
        let blocked = try connection.query(
          "SELECT $1::int = ANY (pg_blocking_pids($2::int)) AS blocked", ["\(theirs)", "\(mine)"])
        if try blocked.onlyRow.bool("blocked") { return }
        if reply.isKnown { throw TestSupportError("\(name) did not wait for \(other.name): its statement has ended") }
        guard ContinuousClock.now < deadline else {
          throw TestSupportError("\(name) does not wait for \(other.name): \(try Self.activity(connection))")
        }
        usleep(2_000)
      }
    }
  }

  /// Ends the session, cancelling what is running; an open transaction is rolled back.
  package func close() async throws {
    jobs.withLock { $0.append(nil) }
    arrived.signal()
    // The cancel can come before the statement, so one is not enough.
    while !closed.isKnown {
      try await cancel()
      try await Task.sleep(for: .milliseconds(2))
    }
  }

  private func begin(_ body: @escaping @Sendable (borrowing Connection) throws(PostgresError) -> Rows) throws {
    let reply = Reply<Rows>()
    try running.withLock { running in
      guard running == nil else { throw TestSupportError("\(name) is busy: finish() what was started first") }
      running = reply
    }
    jobs.withLock { jobs in
      jobs.append { connection in reply.give(Result { () throws(PostgresError) in try body(connection) }) }
    }
    arrived.signal()
  }

  /// The thread's life.
  private func work() {
    defer { closed.give(.success(())) }
    do {
      let connection = try Connection(to: server)
      opened.give(.success((connection.backendPID, connection.cancellation)))
      while true {
        arrived.wait()
        guard let job = jobs.withLock({ $0.removeFirst() }) else { return }
        job(connection)
      }
    } catch {
      opened.give(.failure(error))
    }
  }

  private static func activity(_ connection: borrowing Connection) throws -> String {
    let rows = try connection.query(
      """
      SELECT application_name, state, wait_event_type, wait_event, query
      FROM   pg_stat_activity
      WHERE  datname = current_database()
      """)
    return try rows.map { try $0.values.map { $0 ?? "-" }.joined(separator: " | ") }.joined(separator: "\n")
  }
}

/// Opens a session for each name, runs `body` with them, and closes them whatever happens.
@discardableResult
package func withSessions<Value: Sendable>(
  _ names: String..., to server: Server, _ body: ([String: Session]) async throws -> Value
) async throws -> Value {
  var sessions: [String: Session] = [:]
  let result: Result<Value, any Error>
  do {
    for name in names { sessions[name] = try await Session(name, to: server) }
    result = .success(try await body(sessions))
  } catch {
    result = .failure(error)
  }
  for session in sessions.values { try await session.close() }
  return try result.get()
}
