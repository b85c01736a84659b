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
    while true {
      if let outcome = try applyFromLedger() { return outcome }
    }
  }

  /// From where the ledger says that the run stands; `nil`: what this worker remembers is not what counts any more.
  private mutating func applyFromLedger() throws(PostgresError) -> RunOutcome? {
    let done = try Ledger.counts(connection, run.id, .apply)
    report(.started(run: run.id, name: run.name, direction: .apply, done: done, expected: run.estimatedRows))
    if let outcome = try persisting(0, { (worker) throws(PostgresError) in try worker.fixEnd() }) { return outcome }
    let upper = try isBounded().upper
    var last = try Ledger.lastBatch(connection, run.id, slice: 0)
    while true {
      if let outcome = try edge() { return outcome }
      if let outcome = try heedExpectations(isFinal: upper == nil || last.through == upper) { return outcome }
      guard let upper, last.through != upper else {
        guard try Ledger.lastBatch(connection, run.id, slice: 0) == last else { return nil }
        if let outcome = try finishRun(upper: upper, last: last.ordinal) { return outcome }
        continue
      }
      try knowSize(slice: 0)
      switch try batch(ordinal: last.ordinal + 1, after: last.through, upper: upper) {
      case .done(let ordinal, let through): last = (ordinal, through)
      case .lost: return nil
      case .ended(let outcome): return outcome
      }
    }
  }

  /// What follows the last batch, tried until it is done; the batches stay what they are in any case.
  private mutating func finishRun(upper: [String?]?, last: Int) throws(PostgresError) -> RunOutcome? {
    try persisting(0) { (worker) throws(PostgresError) in try worker.lookBack(upper: upper, last: last) }
  }

  /// Counts what is left behind, and runs the checks that hold for the whole. `nil`: the last batch is not there any more.
  private mutating func lookBack(upper: [String?]?, last: Int) throws(PostgresError) -> RunOutcome? {
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
    var isWhole = true
    let isOurs = try Ledger.holding(connection, run.id, epoch: run.epoch) { (connection) throws(PostgresError) in
      isWhole = try connection.query("SELECT \(Ledger.isDone(run.id, through: last)) AS done").onlyRow.bool("done")
      guard isWhole else { return }
      try connection.query(
        "UPDATE migrate.runs SET left_behind = $2::bigint WHERE run = $1::bigint", [runID, leftBehind.map(String.init)])
      if let drop = run.statements(.finish).first(where: { $0.name == .dropKeys }) {
        try connection.execute(drop.text)
      }
      try Ledger.advance(connection, run.id, .lastBatchCommitted)
    }
    guard isWhole else { return nil }
    return isOurs ? .completed(leftBehind: leftBehind) : .takenOver
  }

  /// For statements that tell by a row's version who has written it: the run's transactions, the oldest one that was open when
  /// the upper end was fixed, and whether others have written since.
  borrowing func ownTransactions() throws(PostgresError) -> Bindings {
    let row = try connection.query(
      """
      SELECT others, horizon, transactions FROM migrate.versions_since($1::bigint)
      """, [runID]
    ).onlyRow
    return constants.with("horizon", try row["horizon"]).with("transactions", try row["transactions"])
      .with("others", try row["others"])
  }
}
