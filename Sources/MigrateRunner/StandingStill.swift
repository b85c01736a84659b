internal import MigrateLedger
internal import MigratePlan
internal import MigratePostgres

/// A run that cannot go on: what it is told, and what is written down.
extension Worker {
  mutating func fail(_ failure: Failure) throws(PostgresError) -> RunOutcome {
    switch try stand(failure, by: .batchFailed) {
    case nil: .takenOver
    case .failed: .failed(failure)
    // Somebody has asked for its end before.
    case .running, .holding, .pausing, .paused, .cancelling, .cancelled, .completed, .reverting, .reverted: try stood()
    }
  }

  /// The server cannot go on, and no row is to blame: pause, once every worker has ended its batch.
  mutating func pauseForServer(_ failure: Failure) throws(PostgresError) -> RunOutcome {
    switch try stand(failure, by: .pauseRequested) {
    case nil: .takenOver
    case .pausing, .paused: .pausedByServer(failure)
    case .running, .holding, .failed, .cancelling, .cancelled, .completed, .reverting, .reverted: try stood()
    }
  }

  /// Writes down why the run stands still; its state then. `nil`: it is another worker's by now, and stays as that one wants it.
  borrowing func stand(_ failure: Failure, by event: RunTransition) throws(PostgresError) -> RunState? {
    var reached: RunState?
    _ = try Ledger.fenced(connection, run.id, epoch: run.epoch) { (connection) throws(PostgresError) in
      try Ledger.fail(connection, run.id, failure, event: event)
      try reachEdge()
      reached = try Ledger.standing(connection, run.id).state
    }
    return reached
  }
}

extension Failure {
  init(_ error: PostgresError, after: [String?]?, through: [String?]?) {
    self.init(
      sqlState: error.sqlState?.code, message: error.message, detail: error.detail, hint: error.hint,
      column: error.column, constraint: error.constraint, after: after, through: through)
  }

  static func suppressed(captured: Int, changed: Int, after: [String?]?, through: [String?]?) -> Failure {
    Failure(
      message: "a trigger kept \(captured - changed) of \(captured) rows from being changed",
      hint: "a BEFORE trigger that returns NULL leaves the row out without an error",
      after: after, through: through)
  }

  static func keysChanged(after: [String?]?, through: [String?]?) -> Failure {
    Failure(
      message: "the rows changed have other keys than the rows meant",
      hint: "a BEFORE trigger that writes a column of the key moves rows behind or before the batches that walk it",
      after: after, through: through)
  }

  static func check(_ name: Statement.Name, rows: [String], after: [String?]?, through: [String?]?)
    -> Failure
  {
    Failure(
      message: "\(name) found rows", detail: rows.joined(separator: "\n"),
      hint: "a check must return no row", after: after, through: through)
  }
}
