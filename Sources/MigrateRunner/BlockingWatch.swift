internal import MigratePostgres
internal import Synchronization

/// Makes a batch give way to whoever has waited for it too long: a thread with a connection of its own looks about each 50 ms,
/// and cancels the batch's statement. A batch that has come to its COMMIT is let through.
///
/// A cancel is for a backend and not for a transaction, and behind a pooler the backend is another client's as soon as the
/// transaction is over. So a batch does not end while a cancel is on its way, and a cancel that comes late is none.
final class BlockingWatch: Sendable {
  private let shared: Shared
  let limit: Duration

  /// - Parameters:
  ///   - limit: how long somebody may wait for a batch.
  ///   - tell: is told why nobody looks, at most once.
  init(_ server: Server, limit: Duration, tell: @escaping @Sendable (String) -> Void = { _ in }) {
    self.limit = limit
    shared = Shared()
    let shared = shared
    if !startThread({ Self.look(server, limit, shared, tell) }) { tell("the system gives no further thread") }
  }

  deinit { shared.isOver.store(true, ordering: .relaxed) }

  /// A batch has begun, in this backend.
  func begin(_ pid: Int) {
    shared.settled { state in
      state.batch += 1
      state.stage = .working(pid: pid)
    }
  }

  /// Whether the batch may be committed; from then on nobody cancels it, nor a batch that may not.
  func mayCommit() -> Bool {
    shared.settled { state in
      switch state.stage {
      case .cancelled, .gaveWay:
        state.stage = .gaveWay
        return false
      case .idle, .working, .committing:
        state.stage = .committing
        return true
      }
    }
  }

  /// The batch is over, or is about to be rolled back: nobody cancels it any more. Whether it was made to give way.
  @discardableResult
  func end() -> Bool {
    shared.settled { state in
      defer { state.stage = .idle }
      switch state.stage {
      case .cancelled, .gaveWay: return true
      case .idle, .working, .committing: return false
      }
    }
  }

  /// Where the batch is. Changed under a lock, so that none is cancelled that has begun to commit.
  private enum Stage {
    case idle
    case working(pid: Int)
    /// Has to give way; the cancel is repeated, since between two statements there is nothing to cancel. `seen`: the server's clock
    /// when the watch heard from it last.
    case cancelled(pid: Int, seen: String)
    /// Has seen that it has to.
    case gaveWay
    case committing
  }

  private struct State {
    var stage = Stage.idle
    /// Counts the batches: what was found out about one is not done to the next.
    var batch = 0
    /// Whether a cancel is on its way.
    var isSending = false
  }

  /// What the thread outlives the watch by.
  private final class Shared: Sendable {
    let state = Mutex(State())
    let isOver = Atomic(false)

    /// Changes the state once no cancel is on its way. One that has got no answer for so long would come too late to be one.
    func settled<Value>(_ change: (inout State) -> Value) -> Value {
      let deadline = ContinuousClock.now + BlockingWatch.validity * 2
      while true {
        let value: Value? = state.withLock { state in
          state.isSending && ContinuousClock.now < deadline ? nil : change(&state)
        }
        if let value { return value }
        pause(for: .milliseconds(1))
      }
    }

    var isIdle: Bool { state.withLock { if case .idle = $0.stage { true } else { false } } }

    /// Whether the batch is still to be cancelled; then it does not end before ``endSending(_:_:seen:)``.
    func beginSending(_ batch: Int) -> Bool {
      state.withLock { state in
        guard state.batch == batch, case .cancelled = state.stage else { return false }
        state.isSending = true
        return true
      }
    }

    func endSending(_ batch: Int, _ pid: Int, seen: String) {
      state.withLock { state in
        state.isSending = false
        if state.batch == batch, case .cancelled = state.stage { state.stage = .cancelled(pid: pid, seen: seen) }
      }
    }
  }

  /// For how long the server takes a cancel, from when the watch heard of the server last.
  private static let validity = Duration.seconds(1)
}

extension BlockingWatch {
  private static func look(
    _ server: Server, _ limit: Duration, _ shared: Shared, _ tell: @Sendable (String) -> Void
  ) {
    var isTold = false
    while !shared.isOver.load(ordering: .relaxed) {
      var isConnected = false
      do throws(PostgresError) {
        let connection = try Connection(to: server)
        isConnected = true
        while !shared.isOver.load(ordering: .relaxed) { try look(connection, limit, shared) }
      } catch {
        // A server that is gone is the batch's trouble, too, which ends by it.
        let isBlind = !isConnected || !error.endsConnection && error.origin != .lost
        if isBlind, !isTold, !shared.isIdle {
          isTold = true
          tell(error.message)
        }
        pause(for: .milliseconds(200))
      }
    }
  }

  private static func look(
    _ connection: borrowing Connection, _ limit: Duration, _ shared: Shared
  ) throws(PostgresError) {
    let (stage, batch) = shared.state.withLock { ($0.stage, $0.batch) }
    switch stage {
    case .idle, .committing, .gaveWay: pause(for: .milliseconds(10))
    case .working(let pid):
      if let seen = try blocking(connection, pid, limit) {
        shared.state.withLock { state in
          if state.batch == batch, case .working = state.stage { state.stage = .cancelled(pid: pid, seen: seen) }
        }
      } else {
        pause(for: .milliseconds(40))
      }
    case .cancelled(let pid, let seen):
      guard shared.beginSending(batch) else { return }
      do throws(PostgresError) {
        let now = try cancel(connection, pid, seen)
        shared.endSending(batch, pid, seen: now)
      } catch {
        // Whether it gets there is not known.
        pause(for: validity)
        shared.endSending(batch, pid, seen: seen)
        throw error
      }
      pause(for: .milliseconds(5))
    }
  }

  /// The server's clock, when somebody has waited for longer than `limit` for what `pid` holds, or for what `pid` waits for before it.
  private static func blocking(
    _ connection: borrowing Connection, _ pid: Int, _ limit: Duration
  ) throws(PostgresError) -> String? {
    // Who blocks whom is looked up only of those that have waited so long: that look stops the lock manager for a moment.
    let row = try connection.query(
      """
      SELECT extract(epoch FROM pg_catalog.clock_timestamp()) AS seen, EXISTS (
        SELECT
        FROM   pg_catalog.pg_locks AS l
        WHERE  CASE WHEN NOT l.granted
                         AND l.waitstart NOT BETWEEN pg_catalog.clock_timestamp() - $2::interval AND pg_catalog.clock_timestamp()
                    THEN $1::integer = ANY (pg_catalog.pg_blocking_pids(l.pid)) END) AS blocking
      """, [String(pid), "\(Int(limit / .milliseconds(1)))ms"]
    ).onlyRow
    return try row.bool("blocking") ? row.text("seen") : nil
  }

  /// Cancels what `pid` does, unless the server's clock says that this comes too late; that clock.
  private static func cancel(
    _ connection: borrowing Connection, _ pid: Int, _ seen: String
  ) throws(PostgresError) -> String {
    try connection.query(
      """
      SELECT extract(epoch FROM pg_catalog.clock_timestamp()) AS seen,
             CASE WHEN extract(epoch FROM pg_catalog.clock_timestamp()) < $2::numeric + \(Int(validity / .seconds(1)))
                  THEN pg_catalog.pg_cancel_backend($1::integer) END
      """, [String(pid), seen]
    ).onlyRow.text("seen")
  }
}

extension Worker {
  /// The batch has to give way to somebody who waits for it: fewer rows then, after a rest in which they are let through.
  mutating func giveWay(_ ladder: inout Ladder, _ place: BatchPlace, since clock: ContinuousClock.Instant) {
    ladder.giveWay()
    pacing.giveWay(to: ladder.size)
    giveWay(at: place, since: clock, next: ladder.made + 1, times: ladder.timesGivenWay)
  }

  /// Tells that something has to give way to somebody who waits, and rests, longer each time.
  borrowing func giveWay(at place: BatchPlace, since clock: ContinuousClock.Instant, next: Int, times: Int) {
    let waited = watch.map { Int($0.limit / .milliseconds(1)) } ?? 0
    // It was cancelled by ourselves, which is no error that anybody has met.
    report(
      .again(
        FailedTry(
          place: place, next: next, reason: "somebody waited \(waited) ms for it", sqlState: nil,
          duration: ContinuousClock.now - clock)))
    letThrough()
    pause(for: backoff(times))
  }

  /// Waits until those who waited for a row have it. Who is woken finds the row free and not yet its own, and whoever is quicker takes
  /// it; until then it keeps its place in the row's queue, which is a lock that all can see. Not for long: it may wait for somebody
  /// else next.
  private borrowing func letThrough() {
    let deadline = ContinuousClock.now + (watch?.limit ?? .zero)
    while ContinuousClock.now < deadline {
      let answer = try? connection.query(
        """
        SELECT EXISTS (
          SELECT
          FROM   pg_catalog.pg_locks AS l
          WHERE  l.locktype = 'tuple' AND l.granted
            AND  l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
            AND  NOT EXISTS (SELECT FROM migrate.workers AS w WHERE w.pid = l.pid)) AS queues
        """)
      guard let answer, (try? answer.onlyRow.bool("queues")) == true else { return }
      pause(for: .milliseconds(2))
    }
  }
}
