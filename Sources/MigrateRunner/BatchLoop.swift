internal import MigrateLedger
package import MigratePostgres

/// Forward: batch after batch until the upper end.
extension Worker {
  /// Applies what is left of the run.
  package mutating func apply() throws(PostgresError) -> RunOutcome {
    try surviving { (worker) throws(PostgresError) in try worker.applyAll() }
  }

  private mutating func applyAll() throws(PostgresError) -> RunOutcome {
    let done = try Ledger.rowsRead(connection, run.id, kind: .apply)
    report(.started(run: run.id, name: run.name, direction: .apply, done: done, expected: run.estimatedRows))
    if let outcome = try awaitLockers() { return outcome }
    let upper = try upperEnd()
    while true {
      if let outcome = try edge() { return outcome }
      guard let upper else { return try finishRun() }
      let last = try Ledger.lastBatch(connection, run.id, slice: 0)
      if let through = last.through, through == upper { return try finishRun() }
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
    while true {
      let attempt = Attempt(ordinal: ordinal, after: after, upper: upper, number: number, size: size)
      let reason: String
      do throws(PostgresError) {
        switch try transact(attempt) {
        case .committed(let record):
          report(.batch(record))
          return nil
        case .takenOver: return .takenOver
        case .inexact: reason = "rows came in between"
        case .suppressed(let captured, let changed, let through):
          return try fail(.suppressed(captured: captured, changed: changed, after: after, through: through))
        case .found(let check, let rows, let through):
          return try fail(.check(check, rows: rows, after: after, through: through))
        }
      } catch {
        if error.endsConnection || error.origin == .lost { throw error }
        try connection.execute("ROLLBACK")
        if control.isCancelRequested { return try pauseBySignal() }
        let isSecond = repeated == error.sqlState
        repeated = error.sqlState
        guard error.isWorthAnotherTry(isSecond: isSecond) else {
          let failure = Failure(error, after: after, through: tried)
          return error.class == .environment ? try hold(failure) : try fail(failure)
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

  private mutating func finishRun() throws(PostgresError) -> RunOutcome {
    try connection.execute(
      "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; " + (try run.statement("batches", "settings").text))
    var leftBehind: Int?
    let upper = try connection.query("SELECT upper_key FROM migrate.runs WHERE run = $1::bigint", [runID]).onlyRow
    let bindings = constants.with(key: try upper.ifPresent("upper_key", upper.array), as: "upper", count: run.keyCount)
    for statement in run.statements("finish") {
      let rows = try connection.run(statement, bindings)
      if statement.name == "left behind" {
        leftBehind = try rows.onlyRow.int(0)
      } else if !rows.isEmpty {
        let shown = try rows.map { (row) throws(PostgresError) in try row.text(0) }
        try connection.execute("ROLLBACK")
        return try fail(.check(statement.name, rows: shown, after: nil, through: nil))
      }
    }
    try connection.commit()
    try connection.query(
      "UPDATE migrate.runs SET left_behind = $2::bigint WHERE run = $1::bigint", [runID, leftBehind.map(String.init)])
    try Ledger.advance(connection, run.id, .lastBatchCommitted)
    return .completed(leftBehind: leftBehind)
  }

  mutating func fail(_ failure: Failure) throws(PostgresError) -> RunOutcome {
    try Ledger.fail(
      connection, run.id, sqlState: failure.sqlState, message: failure.message, after: failure.after,
      through: failure.through, event: .batchFailed)
    return .failed(failure)
  }

  /// The server cannot go on, and no row is to blame: pause.
  mutating func hold(_ failure: Failure) throws(PostgresError) -> RunOutcome {
    try Ledger.fail(
      connection, run.id, sqlState: failure.sqlState, message: failure.message, after: failure.after,
      through: failure.through, event: .pauseRequested)
    try Ledger.advance(connection, run.id, .batchEdgeReached)
    return .held(failure)
  }
}

extension PostgresError {
  /// Transient errors are always tried again. A foreign key or a unique key can also be the age of the snapshot: the row that
  /// is missing, or in the way, was committed since; so these are believed only when a fresh snapshot says the same.
  func isWorthAnotherTry(isSecond: Bool) -> Bool {
    if self.class == .transient { return true }
    return !isSecond && (report.sqlState == SQLState("23503") || report.sqlState == SQLState("23505"))
  }
}

extension Failure {
  init(_ error: PostgresError, after: [String?]?, through: [String?]?) {
    self.init(
      sqlState: error.sqlState?.code, message: error.message, detail: error.detail, hint: error.hint,
      column: error.column, constraint: error.constraint, after: after, through: through)
  }

  fileprivate static func suppressed(captured: Int, changed: Int, after: [String?]?, through: [String?]?) -> Failure {
    Failure(
      sqlState: nil, message: "a trigger kept \(captured - changed) of \(captured) rows from being changed",
      detail: nil,
      hint: "a BEFORE trigger that returns NULL leaves the row out without an error", column: nil, constraint: nil,
      after: after, through: through)
  }

  fileprivate static func check(_ name: String, rows: [String], after: [String?]?, through: [String?]?) -> Failure {
    Failure(
      sqlState: nil, message: "\(name) found rows", detail: rows.joined(separator: "\n"),
      hint: "a check must return no row", column: nil, constraint: nil, after: after, through: through)
  }
}
