internal import MigrateLedger
internal import MigratePlan
package import MigratePostgres

/// Forward: batch after batch until the upper end.
extension Worker {
  /// Applies what is left of the run.
  package mutating func apply() throws(PostgresError) -> RunOutcome {
    try surviving { (worker) throws(PostgresError) in try worker.applyAll() }
  }

  private mutating func applyAll() throws(PostgresError) -> RunOutcome {
    let done = try Ledger.counts(connection, run.id, .apply)
    report(.started(run: run.id, name: run.name, direction: .apply, done: done, expected: run.estimatedRows))
    if let outcome = try persisting(0, { (worker) throws(PostgresError) in try worker.fixEnd() }) { return outcome }
    let upper = try isBounded().upper
    while true {
      if let outcome = try edge() { return outcome }
      let last = try Ledger.lastBatch(connection, run.id, slice: 0)
      guard let upper, last.through != upper else {
        if let outcome = try finishRun(upper: upper) { return outcome }
        continue
      }
      if let outcome = try batch(ordinal: last.ordinal + 1, after: last.through, upper: upper) { return outcome }
    }
  }

  /// One batch, tried until it is done. `nil`: go on.
  private mutating func batch(
    ordinal: Int, after: [String?]?, upper: [String?]
  ) throws(PostgresError) -> RunOutcome? {
    var number = 1
    var size = run.batchSize
    var repeated: SQLState?
    var wasSuppressed = false
    while true {
      let attempt = Attempt(ordinal: ordinal, after: after, upper: upper, number: number, size: size)
      let reason: String
      do throws(PostgresError) {
        switch try transact(attempt) {
        case .committed(let record):
          report(.batch(record))
          return nil
        case .takenOver: return .takenOver
        case .inexact:
          // With one snapshot for all statements no row can come in between.
          if attempt.guarded == .snapshot { return try fail(.keysChanged(after: after, through: nil)) }
          reason = "rows came in between"
        case .suppressed(let captured, let changed, let through):
          // Without one snapshot for both statements, what a value is looked up in may have changed between them, and a row
          // needs no change any more. A trigger does it again.
          guard attempt.guarded == .locked, !wasSuppressed else {
            return try fail(.suppressed(captured: captured, changed: changed, after: after, through: through))
          }
          wasSuppressed = true
          reason = "rows needed no change any more"
        case .found(let check, let rows, let through):
          return try fail(.check(check, rows: rows, after: after, through: through))
        }
      } catch {
        if error.endsConnection || error.origin == .lost { throw error }
        try connection.execute("ROLLBACK")
        if control.isCancelRequested { return try pauseBySignal() }
        let isSecond = repeated == error.sqlState
        repeated = error.sqlState
        // An array of the undo ends at a gigabyte: fewer rows fit, and a single one that does not is to blame itself.
        let isTooMuch = error.sqlState == SQLState("54000") && size > 1
        if isTooMuch { size /= 2 }
        guard isTooMuch || error.isWorthAnotherTry(isSecond: isSecond) else {
          var failure = Failure(error, after: after, through: through)
          if error.class == .environment { return try hold(failure) }
          failure.places = try Ledger.places(blamedFor: error, connection, run.id)
          return try fail(failure)
        }
        reason = error.message
      }
      number += 1
      // Six tries in vain: fewer rows meet fewer writers, down to a single one.
      if number > 6 { size = max(1, size / 2) }
      report(.again(ordinal: ordinal, attempt: number, reason: reason))
      pause(for: backoff(number))
      // The state may have changed, and the old backend of a lost connection may have ended this very batch.
      if let outcome = try edge() { return outcome }
      if try Ledger.lastBatch(connection, run.id, slice: 0).ordinal >= ordinal { return nil }
    }
  }

  /// What follows the last batch, tried until it is done; the batches stay what they are in any case.
  private mutating func finishRun(upper: [String?]?) throws(PostgresError) -> RunOutcome? {
    try persisting(0) { (worker) throws(PostgresError) in try worker.lookBack(upper: upper) }
  }

  /// Counts what is left behind, and runs the checks that hold for the whole.
  private mutating func lookBack(upper: [String?]?) throws(PostgresError) -> RunOutcome {
    let bindings = try ownTransactions().with(key: upper, as: "upper", count: run.keyCount)
    try begin("REPEATABLE READ READ ONLY", .apply)
    var leftBehind: Int?
    for statement in run.statements(.finish) where statement.name != .dropKeys {
      let rows = try connection.run(statement, bindings)
      if statement.name == .leftBehind {
        leftBehind = try rows.onlyRow.int(0)
      } else if !rows.isEmpty {
        let shown = try rows.map { (row) throws(PostgresError) in try row.text(0) }
        try connection.execute("ROLLBACK")
        return try fail(.check(statement.name, rows: shown, after: nil, through: nil))
      }
    }
    try connection.commit()
    let isOurs = try Ledger.holding(connection, run.id, epoch: run.epoch) { (connection) throws(PostgresError) in
      try connection.query(
        "UPDATE migrate.runs SET left_behind = $2::bigint WHERE run = $1::bigint", [runID, leftBehind.map(String.init)])
      if let drop = run.statements(.finish).first(where: { $0.name == .dropKeys }) {
        try connection.execute(drop.text)
      }
      try Ledger.advance(connection, run.id, .lastBatchCommitted)
    }
    return isOurs ? .completed(leftBehind: leftBehind) : .takenOver
  }

  /// The run's transactions, and the oldest one that was open when its upper end was fixed, for statements that tell by a row's
  /// version who has written it.
  borrowing func ownTransactions() throws(PostgresError) -> Bindings {
    let row = try connection.query(
      """
      SELECT CAST(r.horizon AS xid) AS horizon,
             ARRAY(SELECT CAST(b.xid AS xid) FROM migrate.batches AS b WHERE b.run = r.run AND b.kind = 'apply') AS transactions
      FROM   migrate.runs AS r
      WHERE  r.run = $1::bigint
      """, [runID]
    ).onlyRow
    return constants.with("horizon", try row["horizon"]).with("transactions", try row["transactions"])
  }

  mutating func fail(_ failure: Failure) throws(PostgresError) -> RunOutcome {
    try stand(failure, by: [.batchFailed]) ? .failed(failure) : .takenOver
  }

  /// The server cannot go on, and no row is to blame: pause.
  mutating func hold(_ failure: Failure) throws(PostgresError) -> RunOutcome {
    try stand(failure, by: [.pauseRequested, .batchEdgeReached]) ? .held(failure) : .takenOver
  }

  /// Writes down why the run stands still. `false`: it is another worker's by now, and stays as that one wants it.
  borrowing func stand(_ failure: Failure, by events: [RunTransition]) throws(PostgresError) -> Bool {
    try Ledger.holding(connection, run.id, epoch: run.epoch) { (connection) throws(PostgresError) in
      for (index, event) in events.enumerated() {
        if index == 0 {
          try Ledger.fail(connection, run.id, failure, event: event)
        } else {
          try Ledger.advance(connection, run.id, event)
        }
      }
    }
  }
}

extension PostgresError {
  /// Transient errors are always tried again. A foreign key or a unique key can also be the age of the snapshot: the row that
  /// is missing, or in the way, was committed since; so these are believed only when a fresh snapshot says the same. What a
  /// statement does not find, or cannot be done to the table, was there and could when it was planned: the next look at the table
  /// tells what has become of it (P21).
  func isWorthAnotherTry(isSecond: Bool) -> Bool {
    if self.class == .transient { return true }
    guard !isSecond, let state = report.sqlState else { return false }
    return state.code == "23503" || state.code == "23505" || state.family == "42" || state.family == "0A"
  }
}

extension Failure {
  init(_ error: PostgresError, after: [String?]?, through: [String?]?) {
    self.init(
      sqlState: error.sqlState?.code, message: error.message, detail: error.detail, hint: error.hint, after: after,
      through: through)
  }

  fileprivate static func suppressed(captured: Int, changed: Int, after: [String?]?, through: [String?]?) -> Failure {
    Failure(
      message: "a trigger kept \(captured - changed) of \(captured) rows from being changed",
      hint: "a BEFORE trigger that returns NULL leaves the row out without an error",
      after: after, through: through)
  }

  fileprivate static func keysChanged(after: [String?]?, through: [String?]?) -> Failure {
    Failure(
      message: "the rows changed have other keys than the rows meant",
      hint: "a BEFORE trigger that writes a column of the key moves rows behind or before the batches that walk it",
      after: after, through: through)
  }

  fileprivate static func check(_ name: Statement.Name, rows: [String], after: [String?]?, through: [String?]?)
    -> Failure
  {
    Failure(
      message: "\(name) found rows", detail: rows.joined(separator: "\n"),
      hint: "a check must return no row", after: after, through: through)
  }
}
