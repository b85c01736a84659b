internal import MigrateLedger
internal import MigratePlan
internal import MigratePostgres

/// Between two batches: what was asked of the run, and by whom.
extension Worker {
  /// `nil`: go on. A worker that was asked to pause in the database stays and waits for `resume`; one that got a signal leaves.
  mutating func edge() throws(PostgresError) -> RunOutcome? {
    if control.isStopRequested { return try pauseBySignal() }
    var isWaiting = false
    while true {
      if crew.isDismissed { return .paused }
      let orders = try Ledger.orders(connection, run)
      guard orders.epoch == run.epoch else { return try beaten() }
      pacing.take(orders)
      switch orders.state {
      case .running, .reverting:
        if control.isStopRequested { return try pauseBySignal() }
        guard let rest = try restBeforeBatch() else {
          if isWaiting { try enlist() }
          if crew.isFirst(toSee: nil) { report(.resumed) }
          return nil
        }
        self.rest(for: rest)
        if rest > .seconds(1) { try enlist() }
      case .holding:
        if control.isStopRequested { return try pauseBySignal() }
        let reason = orders.holdReason ?? "a throttle"
        if crew.isFirst(toSee: .holding(reason)) { report(.holding(reason: reason)) }
        rest(for: .seconds(1))
        try enlist()
        _ = try Ledger.askHolds(connection, run)
      case .pausing, .cancelling:
        // Until the last of them has ended its batch.
        if isWaiting { pause(for: .milliseconds(20)) }
        isWaiting = true
        try reachEdge()
      case .paused:
        if control.isStopRequested { return .paused }
        if crew.isFirst(toSee: .paused) { report(.paused(by: try Ledger.pausedBy(connection, run.id)?.request)) }
        isWaiting = true
        pause(for: .seconds(1))
        try reachEdge()
      case .cancelled, .completed, .reverted, .failed: return try stood()
      }
    }
  }

  /// Opens a transaction with the settings of the plan, in which the table stays what the run was begun with (P21). One message.
  ///
  /// Whoever applies locks the table before the transaction's snapshot is taken, which LOCK does not do: what somebody else does to
  /// the table is then either in the snapshot or has to wait. A table that cannot be locked is another one by now, which
  /// `migrate.guard_table` tells better, or was in this moment.
  ///
  /// - Parameters:
  ///   - batch: what the session is called after, as long as the transaction lasts.
  ///   - undisturbed: what `migrate.confirm` told before the last batch was committed; with it the look at the table is left out
  ///     where nobody can have changed it.
  /// - Throws: 55000 for whatever `migrate.changes` tells of it; 40001 when it was written anew
  ///   since the transaction's snapshot, which would find it empty.
  /// - Returns: the backend that serves the transaction, which behind a pooler is another one each time; `nil` when nobody asks.
  @discardableResult
  borrowing func begin(
    _ isolation: String, _ direction: RunDirection, batch: Int? = nil, undisturbed: Int64? = nil
  ) throws(PostgresError) -> Int? {
    let (settings, lock): (RunStatement, String?) =
      switch direction {
      case .apply: (try run.statement(.batches, .settings), run.lock)
      case .revert: (try run.statement(.revert, .settings), nil)
      }
    let opening = "BEGIN ISOLATION LEVEL \(isolation); \(naming(batch))\(settings.text); "
    let pid = watch == nil ? "" : ", pg_backend_pid() AS pid"
    let hold = "SELECT migrate.guard_table(\(runID))\(pid)"
    let sparing = undisturbed.map { "SELECT migrate.guard_table(\(runID), CAST('\($0)' AS xid8))\(pid)" } ?? hold
    guard let lock else {
      return try backend(connection.execute(opening + hold))
    }
    do throws(PostgresError) {
      return try backend(connection.execute("\(opening)\(lock); \(sparing)"))
    } catch {
      guard let family = error.sqlState?.family, family == "42" || family == "3F" else { throw error }
      try connection.execute("ROLLBACK")
      try connection.execute(opening + hold)
      throw error
    }
  }

  private borrowing func backend(_ rows: Rows) throws(PostgresError) -> Int? {
    watch == nil ? nil : try rows.onlyRow.int("pid")
  }

  /// Asks for a pause of the run as long as it is ours: a worker that was stopped can wake with the signal when it is another's.
  mutating func pauseBySignal() throws(PostgresError) -> RunOutcome {
    let isOurs = try Ledger.fenced(connection, run.id, epoch: run.epoch) { (connection) throws(PostgresError) in
      try connection.query("SELECT migrate.pause($1::bigint, _by_worker => true)", [runID])
    }
    guard isOurs else { return .takenOver }
    try reachEdge()
    return try stood()
  }

  /// In a transaction that writes besides batches: whether the run is still ours, and then it is until the transaction ends. Else
  /// the transaction is rolled back.
  borrowing func keepsFence() throws(PostgresError) -> Bool {
    if try Ledger.keepsFence(connection, run.id, epoch: run.epoch) { return true }
    try connection.execute("ROLLBACK")
    return false
  }

  /// How a run stands at the edge that has ended or was to pause: somebody may have asked for its end before.
  ///
  /// Nobody else ends a run in our epoch: we have, and the connection broke before the answer came; or it had ended when we took
  /// it over.
  borrowing func stood() throws(PostgresError) -> RunOutcome {
    switch try Ledger.standing(connection, run.id).state {
    case .cancelled: .cancelled
    case .completed: .completed(leftBehind: try Ledger.leftBehind(connection, run.id))
    case .reverted: .reverted(conflicts: try Ledger.counts(connection, run.id, .revert).rejected)
    // Nothing is written down about one that somebody has let go on in this moment.
    case .failed: try Ledger.failure(connection, run.id).map { .failed($0) } ?? .paused
    case .running, .holding, .pausing, .paused, .cancelling, .reverting: .paused
    }
  }

  /// Our epoch is over: somebody else works on the run, or has ended it while it stood still.
  borrowing func beaten() throws(PostgresError) -> RunOutcome {
    try Ledger.standing(connection, run.id).state == .cancelled ? .cancelled : .takenOver
  }

  borrowing func reachEdge() throws(PostgresError) {
    try Ledger.reachEdge(connection, run.id, worker: number, epoch: run.epoch)
  }
}
