internal import Glibc
internal import MigrateLedger
internal import MigratePostgres

/// What became of the wait for a run.
package enum Waited: Sendable, Equatable {
  /// The run has ended, or stands still and nobody is about to go on with it.
  case stands(Int64)
  /// The time was over first; the run, where one had begun.
  case timedOut(Int64?)
}

extension Runs {
  /// Waits until a run ends or stands still: that of a number, or the newest of a definition that is not reverted; where there is
  /// none, the next one that begins.
  ///
  /// Asks now and then, a statement by itself each time: no transaction stays open, and it is the same behind a pooler, where
  /// nobody can listen. A server that is away for a moment is waited for, too.
  /// - Parameter report: called once when nothing has begun yet.
  package borrowing func wait(
    for reference: String, timeout: Duration?, report: () -> Void
  ) throws(RunRefusal) -> Waited {
    if Int64(reference) != nil { _ = try find(reference) }
    let deadline = timeout.map { ContinuousClock.now + $0 }
    do throws(PostgresError) {
      var wait = try Wait(server, reference, deadline)
      return try wait.look(report)
    } catch { throw .database(error) }
  }
}

extension Runs {
  /// Of which definitions there have ever been runs.
  package borrowing func everRun() throws(RunRefusal) -> [String] {
    try asking { (connection) throws(PostgresError) in
      guard try Upgrade.version(connection) > 0 else { return [] }
      return try connection.query("SELECT DISTINCT r.name FROM migrate.runs AS r ORDER BY r.name")
        .map { (row) throws(PostgresError) in try row.text("name") }
    }
  }
}

/// A wait that goes on.
private struct Wait: ~Copyable {
  /// A worker that connects again is gone for a moment, and one that has just begun has not yet come.
  private static let grace = Duration.seconds(6)
  /// How long the server may be away.
  private static let patience = Duration.seconds(60)

  private let server: Server
  private let reference: String
  private let deadline: ContinuousClock.Instant?
  private var connection: Connection
  private var run: Int64?
  /// Since when nobody works on the run.
  private var abandoned: ContinuousClock.Instant?
  /// Since when the server does not answer.
  private var away: ContinuousClock.Instant?

  init(_ server: Server, _ reference: String, _ deadline: ContinuousClock.Instant?) throws(PostgresError) {
    self.server = server
    self.reference = reference
    self.deadline = deadline
    connection = try Connection(to: server)
    run = Int64(reference)
  }

  mutating func look(_ report: () -> Void) throws(PostgresError) -> Waited {
    var pause = Duration.milliseconds(50)
    var isTold = false
    while true {
      do throws(PostgresError) {
        if away != nil { connection = try Connection(to: server) }
        away = nil
        if try stands(), let run { return .stands(run) }
      } catch {
        guard error.endsConnection || error.origin == .connecting || error.origin == .lost,
          (away ?? .now) + Self.patience > .now
        else { throw error }
        away = away ?? .now
      }
      if run == nil, !isTold {
        report()
        isTold = true
      }
      let left = deadline.map { $0 - .now } ?? pause
      guard left > .zero else { return .timedOut(run) }
      let (seconds, attoseconds) = min(pause, left).components
      usleep(UInt32(seconds * 1_000_000 + attoseconds / 1_000_000_000_000) + 1)
      pause = min(pause * 2, .seconds(1))
    }
  }

  private mutating func stands() throws(PostgresError) -> Bool {
    guard try Upgrade.version(connection) > 0, let found = try found() else { return false }
    // Who waits for what was taken back means the next one.
    guard run != nil || found.state != .reverted else { return false }
    run = found.id
    if found.state.hasEnded || found.state == .paused || found.state == .failed { return true }
    abandoned = try Ledger.isWorking(connection, found.id) ? nil : abandoned ?? .now
    return abandoned.map { $0 + Self.grace <= .now } ?? false
  }

  private borrowing func found() throws(PostgresError) -> RunSummary? {
    guard let run else { return try Ledger.newestRun(connection, name: reference) }
    return try Ledger.summary(connection, run)
  }
}
