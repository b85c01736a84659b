internal import MigratePostgres
internal import Synchronization

/// Makes a batch give way to whoever has waited for it too long: a thread with a connection of its own looks about each 50 ms,
/// and cancels the batch's statement. A batch that has come to its COMMIT is let through.
final class BlockingWatch: Sendable {
  private let shared: Shared
  let limit: Duration

  /// - Parameter limit: how long somebody may wait for a batch.
  init(_ server: Server, limit: Duration) {
    self.limit = limit
    shared = Shared()
    let shared = shared
    let started = startThread { Self.look(server.applicationName("migrate watch"), limit, shared) }
    // Without a thread nobody looks; the batch is as it would be without the limit, and says so by taking as long.
    if !started { shared.isOver.store(true, ordering: .relaxed) }
  }

  deinit { shared.isOver.store(true, ordering: .relaxed) }

  /// A batch has begun, in this backend.
  func begin(_ pid: Int) { shared.stage.withLock { $0 = .working(pid: pid) } }

  /// Whether the batch may be committed; from then on nobody cancels it.
  func mayCommit() -> Bool {
    shared.stage.withLock { stage in
      switch stage {
      case .cancelled: return false
      case .idle, .working, .committing:
        stage = .committing
        return true
      }
    }
  }

  /// The batch is over; whether it was made to give way.
  func end() -> Bool {
    shared.stage.withLock { stage in
      defer { stage = .idle }
      switch stage {
      case .cancelled: return true
      case .idle, .working, .committing: return false
      }
    }
  }

  /// Where the batch is. Changed under a lock, so that none is cancelled that has begun to commit.
  private enum Stage {
    case idle
    case working(pid: Int)
    /// Has to give way; the cancel is repeated, since between two statements there is nothing to cancel.
    case cancelled(pid: Int)
    case committing
  }

  /// What the thread outlives the watch by.
  private final class Shared: Sendable {
    let stage = Mutex<Stage>(.idle)
    let isOver = Atomic(false)
  }

  private static func look(_ server: Server, _ limit: Duration, _ shared: Shared) {
    while !shared.isOver.load(ordering: .relaxed) {
      do {
        let connection = try Connection(to: server)
        while !shared.isOver.load(ordering: .relaxed) { try look(connection, limit, shared) }
      } catch {
        pause(for: .milliseconds(200))
      }
    }
  }

  private static func look(
    _ connection: borrowing Connection, _ limit: Duration, _ shared: Shared
  ) throws(PostgresError) {
    switch shared.stage.withLock({ $0 }) {
    case .idle, .committing: pause(for: .milliseconds(10))
    case .working(let pid):
      if try isBlocking(connection, pid, limit) {
        shared.stage.withLock { stage in
          if case .working(pid) = stage { stage = .cancelled(pid: pid) }
        }
      } else {
        pause(for: .milliseconds(40))
      }
    case .cancelled(let pid):
      try connection.query("SELECT pg_cancel_backend($1::integer)", [String(pid)])
      pause(for: .milliseconds(5))
    }
  }

  /// Whether somebody has waited for longer than `limit` for what `pid` holds, or for what `pid` waits for before it.
  private static func isBlocking(
    _ connection: borrowing Connection, _ pid: Int, _ limit: Duration
  ) throws(PostgresError) -> Bool {
    // Who blocks whom is looked up only of those that have waited so long: that look stops the lock manager for a moment.
    try connection.query(
      """
      SELECT EXISTS (
        SELECT
        FROM   pg_catalog.pg_locks AS l
        WHERE  CASE WHEN NOT l.granted
                         AND l.waitstart NOT BETWEEN pg_catalog.clock_timestamp() - $2::interval AND pg_catalog.clock_timestamp()
                    THEN $1::integer = ANY (pg_catalog.pg_blocking_pids(l.pid)) END) AS blocking
      """, [String(pid), "\(Int(limit / .milliseconds(1)))ms"]
    ).onlyRow.bool("blocking")
  }
}

extension Worker {
  /// The batch has to give way to somebody who waits for it: fewer rows then, after a rest in which they are let through.
  mutating func giveWay(_ tries: inout Tries, _ place: BatchPlace) {
    tries.giveWay()
    pacing.giveWay(to: tries.size)
    let waited = watch.map { Int($0.limit / .milliseconds(1)) } ?? 0
    report(.again(place, attempt: tries.made + 1, reason: "somebody waited \(waited) ms for it"))
    pause(for: backoff(tries.timesGivenWay))
  }
}
