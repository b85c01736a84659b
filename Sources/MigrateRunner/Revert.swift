internal import MigrateLedger
package import MigratePlan
package import MigratePostgres

/// The way back: batch after batch, the last one first, by what the run has stored, and in their places among them the rows that
/// were mended in between.
extension Worker {
  package mutating func revert(onConflict policy: ConflictPolicy) throws(PostgresError) -> RunOutcome {
    try surviving { (worker) throws(PostgresError) in try worker.revertAll(policy) }
  }

  private mutating func revertAll(_ policy: ConflictPolicy) throws(PostgresError) -> RunOutcome {
    if let outcome = try standBehindCrashes() { return outcome }
    let done = try Ledger.counts(connection, run.id, .revert)
    let applied = try Ledger.counts(connection, run.id, .apply)
    report(.started(run: run.id, name: run.name, direction: .revert, done: done, expected: applied.written))
    if policy == .stop, let outcome = try lookAhead(done: done, applied: applied) { return outcome }
    let isMended = try hasMendings()
    while true {
      if let outcome = try edge() { return outcome }
      let place = try nextPlace()
      if run.revertsAtOnce, place != nil {
        if let outcome = try restoreAtOnce(policy) { return outcome }
      } else if isMended, try isDue(behind: place) {
        if let outcome = try unfix(policy) { return outcome }
      } else if let place {
        if let outcome = try restore(place, policy) { return outcome }
      } else {
        if let outcome = try finishRevert() { return outcome }
      }
    }
  }

  /// Where the next batch to take back stands: the last one that is not yet.
  private struct Place: Equatable {
    let slice: Int
    let ordinal: Int
    let part: Int
    let seq: Int
  }

  private borrowing func nextPlace() throws(PostgresError) -> Place? {
    let rows = try connection.query(
      "SELECT slice, ordinal, part, seq FROM migrate.next_to_restore($1::bigint)", [runID])
    guard let row = rows.first else { return nil }
    return Place(
      slice: try row.int("slice"), ordinal: try row.int("ordinal"), part: try row.int("part"), seq: try row.int("seq"))
  }

  /// Under `stop` nothing is written when a row was changed since. With nothing left to take back the undo may be gone already.
  private mutating func lookAhead(done: BatchCounts, applied: BatchCounts) throws(PostgresError) -> RunOutcome? {
    guard let place = try nextPlace() else { return nil }
    return try persisting(.none) { (worker) throws(PostgresError) in
      let count = try worker.unlessDone(place) { () throws(PostgresError) in
        try worker.conflictsAhead(done: done, applied: applied)
      }
      guard let count, count > 0 else { return nil }
      return try worker.stopped(count)
    }
  }

  private borrowing func conflictsAhead(done: BatchCounts, applied: BatchCounts) throws(PostgresError) -> Int {
    let own = try ownTransactions()
    try begin("READ COMMITTED READ ONLY", .revert)
    let quick = run.statements(.revert).first { $0.name == .untouched }
    // Before the first batch is back, that is: those that are back have a newer version.
    let isUntouched =
      if let quick, done.batches == 0 { try connection.run(quick, own).onlyRow.int(0) == applied.changed } else {
        false
      }
    let ahead = try run.statement(.revert, .conflictsAhead)
    let count = isUntouched ? 0 : try connection.run(ahead, constants).onlyRow.int(0)
    let mended = try connection.query("SELECT migrate.mended_ahead($1::bigint) AS conflicts", [runID])
    try connection.commit()
    return count + (try mended.onlyRow.int("conflicts"))
  }

  private mutating func restore(_ place: Place, _ policy: ConflictPolicy) throws(PostgresError) -> RunOutcome? {
    try persisting(BatchPlace(slice: place.slice, ordinal: place.ordinal)) { (worker) throws(PostgresError) in
      try worker.transact(place, policy)
    }
  }

  /// One batch back, as one transaction.
  private mutating func transact(_ place: Place, _ policy: ConflictPolicy) throws(PostgresError) -> RunOutcome? {
    let clock = ContinuousClock.now
    try begin("READ COMMITTED READ WRITE", .revert, batch: place.ordinal)
    switch try put(place, policy) {
    case .already: return nil
    case .ended(let outcome): return outcome
    case .back(let counts):
      // As after a batch forward: the schema may have got another name meanwhile.
      try connection.execute("SELECT migrate.confirm(\(runID))")
      try connection.commit()
      pacing.note(size: counts.read, read: counts.read, taken: ContinuousClock.now - clock, run.pace)
      tell(place, counts, since: clock)
      return nil
    }
  }

  private func tell(_ place: Place, _ counts: BatchCounts, since clock: ContinuousClock.Instant) {
    report(
      .batch(
        BatchRecord(
          place: BatchPlace(slice: place.slice, ordinal: place.ordinal), worker: number, through: [], counts: counts,
          duration: ContinuousClock.now - clock)))
  }

  /// What was shown at once is taken back at once: the same statements for each batch, in one transaction.
  private mutating func restoreAtOnce(_ policy: ConflictPolicy) throws(PostgresError) -> RunOutcome? {
    var tries = 0
    return try persisting(.none) { (worker) throws(PostgresError) in
      tries += 1
      return try worker.restoreAll(policy, alone: tries > 2)
    }
  }

  private mutating func restoreAll(_ policy: ConflictPolicy, alone: Bool) throws(PostgresError) -> RunOutcome? {
    try begin("READ COMMITTED READ WRITE", .revert)
    if alone { try lockAlone() }
    var back: [(place: Place, counts: BatchCounts, since: ContinuousClock.Instant)] = []
    let isMended = try hasMendings()
    while true {
      if control.isStopRequested {
        try connection.execute("ROLLBACK")
        return try pauseBySignal()
      }
      let place = try nextPlace()
      if isMended, try isDue(behind: place), let conflicts = try unfixDue(policy) { return try stopped(conflicts) }
      guard let place else { break }
      let clock = ContinuousClock.now
      switch try put(place, policy) {
      case .already: return nil
      case .ended(let outcome): return outcome
      case .back(let counts): back.append((place, counts, clock))
      }
    }
    try connection.execute("SELECT migrate.confirm(\(runID))")
    try connection.commit()
    for batch in back { tell(batch.place, batch.counts, since: batch.since) }
    return nil
  }

  /// What has become of a batch that is taken back; whatever has ended it is rolled back.
  private enum Put {
    case back(BatchCounts)
    /// Another revert has done it.
    case already
    case ended(RunOutcome)
  }

  /// One batch back, in the open transaction.
  private mutating func put(_ place: Place, _ policy: ConflictPolicy) throws(PostgresError) -> Put {
    let bindings = constants.with("slice", String(place.slice)).with("ordinal", String(place.ordinal))
      .with("part", String(place.part)).with("seq", String(place.seq))
    let marked = try unlessDone(place) { () throws(PostgresError) in
      try connection.run(run.statement(.revert, .mark), bindings).affectedRows
    }
    guard marked == 1 else {
      // Another revert has done this batch while we waited at the mark.
      if marked != nil { try connection.execute("ROLLBACK") }
      return .already
    }
    var keptRows = false
    for statement in run.statements(.revert) where Self.statements(policy).contains(statement.name) {
      // It looks at the rows that the restore before it has listed.
      if statement.name == .look, !keptRows { continue }
      // Some are two statements in one text, which only the simple protocol takes; those bind nothing.
      if statement.arguments.isEmpty {
        try connection.execute(statement.text)
      } else {
        let rows = try connection.run(statement, bindings)
        if [.restore, .restoreForced].contains(statement.name), rows.affectedRows != 0 { keptRows = true }
      }
    }
    guard let row = try connection.run(run.statement(.revert, .finish), bindings).first else {
      try connection.execute("ROLLBACK")
      return .ended(.takenOver)
    }
    let kept = try row.int("rows_rejected")
    if policy == .stop, kept > 0 {
      try connection.execute("ROLLBACK")
      return .ended(try stopped(kept))
    }
    // Its first part is the last one to go back.
    return .back(
      BatchCounts(
        batches: place.part == 0 ? 1 : 0, read: try row.int("rows_read"), changed: try row.int("rows_changed"),
        rejected: kept))
  }

  /// `body`, which reads the undo; `nil` when another revert has taken back the batch since, or all of them, and dropped the undo.
  private borrowing func unlessDone<Value>(
    _ place: Place, _ body: () throws(PostgresError) -> Value
  ) throws(PostgresError) -> Value? {
    do throws(PostgresError) {
      return try body()
    } catch {
      guard error.sqlState == .undefinedTable else { throw error }
      try connection.execute("ROLLBACK")
      if try nextPlace() == place { throw error }
      return nil
    }
  }

  /// Whether rows in quarantine were mended behind the batch at `place`, `nil` being before the first one, and are not taken back.
  /// Whether rows of its quarantine were ever mended. Which of them are back by now is asked each time: a crash that was not noticed can
  /// have taken that back.
  private borrowing func hasMendings() throws(PostgresError) -> Bool {
    try connection.query("SELECT EXISTS (SELECT FROM migrate.fixes WHERE run = $1::bigint) AS mended", [runID])
      .onlyRow.bool("mended")
  }

  private borrowing func isDue(behind place: Place?) throws(PostgresError) -> Bool {
    try connection.query(
      "SELECT migrate.mendings_due($1::bigint, $2::bigint) AS due", [runID, place.map { String($0.seq) }]
    ).onlyRow.bool("due")
  }

  /// Takes back what was mended behind the batch that is taken back next. `nil`: done.
  private mutating func unfix(_ policy: ConflictPolicy) throws(PostgresError) -> RunOutcome? {
    try persisting(.none) { (worker) throws(PostgresError) in
      try worker.begin("READ COMMITTED READ WRITE", .revert)
      guard try worker.keepsFence() else { return .takenOver }
      if let conflicts = try worker.unfixDue(policy) { return try worker.stopped(conflicts) }
      try worker.connection.commit()
      return nil
    }
  }

  /// In the open transaction. Under `stop` the rows that are in the way, with all rolled back; `nil`: done.
  private borrowing func unfixDue(_ policy: ConflictPolicy) throws(PostgresError) -> Int? {
    let conflicts = try connection.query(
      "SELECT migrate.unfix_due($1::bigint, $2::text) AS conflicts", [runID, policy.rawValue]
    ).onlyRow.int("conflicts")
    guard policy == .stop, conflicts > 0 else { return nil }
    try connection.execute("ROLLBACK")
    return conflicts
  }

  private static func statements(_ policy: ConflictPolicy) -> [Statement.Name] {
    switch policy {
    case .stop, .skip:
      [.hold, .choose, .heedChildren, .heedParents, .restore, .look, .triggersOff, .restoreRewritten, .triggersOn]
    case .force:
      [
        .hold, .choose, .heedChildren, .heedParents, .seize, .restoreForced, .look, .triggersOff, .restoreRewritten,
        .triggersOn,
      ]
    }
  }

  /// Under `stop` a row that was changed since ends the revert where it stands; what is back stays back.
  private mutating func stopped(_ conflicts: Int) throws(PostgresError) -> RunOutcome {
    let failure = Failure(message: "\(conflicts) \(conflicts == 1 ? "row was" : "rows were") changed since")
    return try stand(failure, by: .batchFailed) == nil ? .takenOver : .conflicts(conflicts)
  }

  /// Looks once more in each of its transactions, since a crash that was not noticed can have taken back the last batches. `nil`:
  /// it has.
  private mutating func finishRevert() throws(PostgresError) -> RunOutcome? {
    let counts = try Ledger.counts(connection, run.id, .revert)
    // Nothing is in conflict, so nobody needs the old values any more.
    if counts.rejected == 0 {
      try connection.execute("BEGIN; SET LOCAL lock_timeout = '5s'")
      do throws(PostgresError) {
        guard try keepsFence() else { return .takenOver }
        guard try nextPlace() == nil, try !isDue(behind: nil) else {
          try connection.execute("ROLLBACK")
          return nil
        }
        try connection.execute(run.statement(.revert, .dropUndo).text)
        try connection.commit()
      } catch {
        if error.endsConnection { throw error }
        try connection.execute("ROLLBACK")
        // Dropped before a crash, or locked by a reader: the rows are back either way.
      }
    }
    var hasEnded = true
    let isOurs = try Ledger.fenced(connection, run.id, epoch: run.epoch) { (connection) throws(PostgresError) in
      hasEnded = try !connection.query(
        """
        SELECT WHERE NOT EXISTS (SELECT FROM migrate.next_to_restore($1::bigint))
                 AND NOT migrate.mendings_due($1::bigint, NULL)
        """, [runID]
      ).isEmpty
      // Of a run that does not stand where it was left the edge tells more.
      if hasEnded { hasEnded = try Ledger.advance(connection, run.id, .lastBatchRestored) != nil }
    }
    guard hasEnded else { return nil }
    return isOurs ? .reverted(conflicts: counts.rejected) : .takenOver
  }
}
