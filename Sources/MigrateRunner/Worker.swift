internal import Glibc
package import MigrateLedger
internal import MigratePlan
package import MigratePostgres

/// Who does one batch after the other, and the connection that does them. Plain synchronous code on a thread of its own.
///
/// The ledger decides: after any fault the worker connects again, reads where the run stands, and goes on from there. What it
/// remembers only saves it a question.
package struct Worker: ~Copyable {
  let server: Server
  var connection: Connection
  let run: Run
  let number: Int
  let control: RunControl
  let report: @Sendable (RunEvent) -> Void
  /// How long it tries to connect again before it gives up; the run is then interrupted and can be resumed.
  let patience: Duration
  /// The workers of the run that this program has.
  let crew: Crew
  /// Where the batch in hand ends, once it is known.
  var through: [String?]?
  /// What is left of the batch before, of which as many parts are done as one transaction may have.
  var unfinished: Cutting?
  /// Whether the last batch that was searched had so many rows at fault that halving would have taken longer.
  var expectsMany = false
  /// Whether it has done a batch with a row that has gone well.
  var hasSucceeded = false
  /// Makes its batches give way to others; `nil` when they need not.
  let watch: BlockingWatch?
  /// How fast it goes.
  var pacing = Pacing()
  /// When it last gave a sign of life.
  var signed = ContinuousClock.now
  /// A transaction whose COMMIT got no answer.
  var unsettled: String?
  /// How often the server went down without a batch done in between.
  var crashes = Crashes()
  /// The number of the last batch's transaction, when no other one was at work in the cluster.
  var undisturbed: Int64?

  /// A worker of `run` in its present epoch. The first one starts the others when there is work for them.
  package init(
    server: Server, run: Run, number: Int = 1, control: RunControl, patience: Duration = .seconds(60),
    report: @escaping @Sendable (RunEvent) -> Void
  ) throws(PostgresError) {
    try self.init(
      server: server, run: run, number: number, control: control, patience: patience, crew: Crew(), report: report)
  }

  init(
    server: Server, run: Run, number: Int, control: RunControl, patience: Duration, crew: Crew,
    report: @escaping @Sendable (RunEvent) -> Void
  ) throws(PostgresError) {
    self.server = server
    self.run = run
    self.number = number
    self.control = control
    self.report = report
    self.patience = patience
    self.crew = crew
    connection = try Connection(to: server, warnings: crew.warnings)
    // Behind the worker's own connection, which is worth more where there are few.
    let limit = run.direction == .apply ? run.pace.maxBlocking : nil
    watch = limit.map { limit in
      BlockingWatch(server.applicationName("migrate watch \(run.id)"), limit: limit) { reason in
        if crew.isFirstUnwatched() { report(.unwatched(reason: reason)) }
      }
    }
    control.watch(connection.cancellation, of: number)
  }

  var runID: String { String(run.id) }

  /// The values that hold for every statement of the run.
  var constants: Bindings {
    var bindings = Bindings(run.parameters)
    bindings = bindings.with("run", runID).with("epoch", String(run.epoch)).with("worker", String(number))
    return bindings.with("part", "0").with("canary", nil)
  }

  /// Writes down that it works on the run: who looks can tell a worker from an interrupted run.
  mutating func enlist() throws(PostgresError) {
    try connection.query(
      "SELECT migrate.enlist($1::bigint, $2::integer, $3::integer, $4::text)",
      [runID, String(number), String(run.epoch), Self.hostName])
    signed = .now
  }

  /// Gives a sign of life where the last one is old: tries that are rolled back take theirs back with them.
  mutating func sign() throws(PostgresError) {
    if ContinuousClock.now - signed > .seconds(1) { try enlist() }
  }

  /// Takes its sign of life back. Behind a pooler its backend stays, and whoever comes next would wait for it to grow cold.
  borrowing func leave() {
    _ = try? connection.query(
      "DELETE FROM migrate.workers WHERE run = $1::bigint AND worker = $2::integer AND epoch = $3::integer",
      [runID, String(number), String(run.epoch)])
  }

  package static var hostName: String? {
    var buffer = [CChar](repeating: 0, count: 256)
    guard gethostname(&buffer, buffer.count - 1) == 0 else { return nil }
    return String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  /// Runs `body` until it ends without losing the connection. It begins anew each time, from what the ledger says; also when
  /// a statement of the ledger's own met a timeout or another transaction, which a batch survives too.
  mutating func surviving<Value>(
    _ body: (inout Worker) throws(PostgresError) -> Value
  ) throws(PostgresError) -> Value {
    defer { if number == 1 { for warning in crew.warnings.take() { report(.warned(warning)) } } }
    var attempt = 0
    var last = ContinuousClock.now
    var lost: ContinuousClock.Instant?
    while true {
      do throws(PostgresError) {
        try enlist()
        try awaitLostCommit()
        if let error = crashes.last { crashes.count(error, entries: try Ledger.entries(connection, run.id)) }
        if let moment = lost { report(.reconnected(after: .now - moment)) }
        lost = nil
        let value = try body(&self)
        leave()
        return value
      } catch {
        if error.endsConnection || error.origin == .lost {
          if lost == nil { report(.reconnecting(reason: error.message)) }
          lost = lost ?? .now
          let wasDown = try reconnect()
          if wasDown || error.sqlState == .crashShutdown { crashes.last = error }
          continue
        }
        attempt = ContinuousClock.now - last > patience ? 1 : attempt + 1
        last = .now
        // When this breaks the connection, the next statement says so.
        if connection.transactionStatus != .idle { _ = try? connection.execute("ROLLBACK") }
        guard error.class == .transient, attempt < 100 else {
          leave()
          throw error
        }
        if lost == nil { report(.reconnecting(reason: error.message)) }
        lost = lost ?? .now
        pause(for: backoff(attempt))
      }
    }
  }

  /// - Returns: whether the server was seen down meanwhile, and not only the connection.
  private mutating func reconnect() throws(PostgresError) -> Bool {
    let deadline = ContinuousClock.now + patience
    var attempt = 0
    var wasDown = false
    while true {
      do throws(PostgresError) {
        connection = try Connection(to: server, warnings: crew.warnings)
        // A crash can have taken back what had committed, and its transactions' numbers with it.
        undisturbed = nil
        control.watch(connection.cancellation, of: number)
        return wasDown
      } catch {
        guard error.class == .transient || error.class == .environment, ContinuousClock.now < deadline,
          !control.isStopRequested
        else { throw error }
        wasDown = wasDown || error.tellsOfDownServer
        attempt += 1
        pause(for: backoff(attempt))
      }
    }
  }

  /// Waits until the transaction whose COMMIT got no answer is over. Whether it took effect is then what the ledger says; it
  /// is never sent again blindly (P03).
  private mutating func awaitLostCommit() throws(PostgresError) {
    guard let xid = unsettled else { return }
    var attempt = 0
    while try Ledger.isInProgress(connection, transaction: xid) {
      attempt += 1
      pause(for: backoff(attempt))
    }
    unsettled = nil
  }

  /// Longer each time, and never the same for two workers that met: at most a second.
  borrowing func backoff(_ attempt: Int) -> Duration {
    let ceiling = min(10 << min(attempt, 7), 1_000)
    return .milliseconds(Int.random(in: 1...ceiling))
  }
}

extension Connection {
  /// Commits, and makes sure of it: in a transaction that has failed, COMMIT answers ROLLBACK and no error.
  borrowing func commit() throws(PostgresError) {
    let answer = try execute("COMMIT").commandTag
    guard answer == "COMMIT" else { throw .unreadable("COMMIT was answered by \(answer)") }
  }
}

/// Blocks this thread, which is the worker's own.
func pause(for duration: Duration) {
  let (seconds, attoseconds) = duration.components
  var left = timespec(tv_sec: Int(seconds), tv_nsec: Int(attoseconds / 1_000_000_000))
  var rest = timespec()
  while nanosleep(&left, &rest) == -1, errno == EINTR { left = rest }
}
