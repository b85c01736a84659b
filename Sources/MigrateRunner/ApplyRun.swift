internal import MigrateLedger
internal import MigratePlan
package import MigratePostgres

/// Forward: batch after batch until the upper end.
extension Worker {
  /// Applies what is left of the run.
  package mutating func apply() throws(PostgresError) -> RunOutcome {
    do throws(PostgresError) {
      return try surviving { (worker) throws(PostgresError) in try worker.applyAll() }
    } catch {
      crew.dismiss()
      _ = crew.join()
      throw error
    }
  }

  private mutating func applyAll() throws(PostgresError) -> RunOutcome {
    // The connection was lost behind that.
    if let outcome = crew.outcome { return try standing(behind: crew.join() ?? outcome) }
    if let outcome = try standBehindCrashes() {
      crew.conclude(outcome)
      return try standing(behind: crew.join() ?? outcome)
    }
    while true {
      if let outcome = try applyFromLedger() { return outcome }
    }
  }

  /// From where the ledger says that the run stands; `nil`: what the workers remember is not what counts any more.
  private mutating func applyFromLedger() throws(PostgresError) -> RunOutcome? {
    // Else only this worker had lost its connection, and the others walk on.
    if !crew.hasMates {
      let done = try Ledger.counts(connection, run.id, .apply)
      report(.started(run: run.id, name: run.name, direction: .apply, done: done, expected: run.estimatedRows))
      if let outcome = try persisting(.none, { (worker) throws(PostgresError) in try worker.fixEnd() }) {
        return outcome
      }
      let open = try Ledger.openSlices(connection, run.id)
      let isCanary = open.first?.isCanary
      if isCanary == false, let outcome = try standBehindCanary() { return outcome }
      crew.begin(open.filter { $0.isCanary == isCanary }.map(\.number), of: run)
    }
    let own = try walk()
    let hadMates = crew.hasMates
    // Whoever asks for a pause waits for those only that still have a batch in hand.
    if hadMates { try reachEdge() }
    if let outcome = crew.join() ?? own { return try standing(behind: outcome) }
    if hadMates { try enlist() }
    if let outcome = try edge() { return outcome }
    guard try Ledger.openSlices(connection, run.id).isEmpty else { return nil }
    if let outcome = try heedExpectations(isFinal: true) { return outcome }
    // Who has committed the last of them may not have come to ask.
    if let failure = try excess(behind: nil, through: nil) { return try fail(failure) }
    let upper = try isBounded().upper
    if let outcome = try publish(upper: upper) { return outcome }
    return try finishRun(upper: upper)
  }

  /// How the run stands once its workers have left. Of several that stop at once each may have seen the other at work.
  private borrowing func standing(behind outcome: RunOutcome) throws(PostgresError) -> RunOutcome {
    switch outcome {
    case .paused:
      try reachEdge()
      return try stood()
    case .pausedByServer:
      try reachEdge()
      return outcome
    case .completed, .cancelled, .failed, .conflicts, .takenOver, .reverted: return outcome
    }
  }

  /// What follows the last batch, tried until it is done; the batches stay what they are in any case.
  private mutating func finishRun(upper: [String?]?) throws(PostgresError) -> RunOutcome? {
    try persisting(.none) { (worker) throws(PostgresError) in try worker.lookBack(upper: upper) }
  }

  /// Counts what is left behind, and runs the checks that hold for the whole. `nil`: not every batch is there any more.
  private mutating func lookBack(upper: [String?]?) throws(PostgresError) -> RunOutcome? {
    let bindings = try ownTransactions().with(key: upper, as: "upper", count: run.keyCount)
    try begin("REPEATABLE READ READ ONLY", .apply)
    var leftBehind: Int?
    for statement in run.statements(.finish) where statement.name != .dropKeys {
      if statement.name == .leftBehind {
        leftBehind = try count(by: statement, bindings)
        continue
      }
      let rows = try connection.run(statement, bindings)
      if !rows.isEmpty {
        let shown = try rows.map { (row) throws(PostgresError) in try row.text(0) }
        try connection.execute("ROLLBACK")
        return try fail(.check(statement.name, rows: shown, after: nil, through: nil))
      }
    }
    try connection.commit()
    var hasEnded = true
    let isOurs = try Ledger.fenced(connection, run.id, epoch: run.epoch) { (connection) throws(PostgresError) in
      hasEnded = try connection.query("SELECT migrate.is_covered($1::bigint) AS whole", [runID]).onlyRow.bool(0)
      guard hasEnded else { return }
      try connection.query(
        "UPDATE migrate.runs SET left_behind = $2::bigint WHERE run = $1::bigint", [runID, leftBehind.map(String.init)])
      if let drop = run.statements(.finish).first(where: { $0.name == .dropKeys }),
        try Ledger.openRejects(connection, run.id, behind: nil, limit: 1).isEmpty
      {
        // Who reads them is waited for, not for ever: nobody can take the run over meanwhile.
        try connection.execute("SET LOCAL lock_timeout = '5s'; \(drop.text)")
      }
      // Of a run that does not stand where it was left the edge tells more.
      hasEnded = try Ledger.advance(connection, run.id, .lastBatchCommitted) != nil
    }
    guard hasEnded else { return nil }
    return isOurs ? .completed(leftBehind: leftBehind) : .takenOver
  }

  /// Rows behind the batches; `nil` when of one of them it cannot be told what it would become. The batches are done all the same.
  private borrowing func count(by statement: RunStatement, _ bindings: Bindings) throws(PostgresError) -> Int? {
    try connection.execute("SAVEPOINT counted")
    do throws(PostgresError) { return try connection.run(statement, bindings).onlyRow.int(0) } catch {
      guard error.class == .rowBad else { throw error }
      try connection.execute("ROLLBACK TO SAVEPOINT counted")
      try connection.query("SELECT migrate.warn_uncounted($1::text)", [error.message])
      return nil
    }
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
