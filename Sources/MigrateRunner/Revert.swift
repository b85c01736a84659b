package import MigrateLedger
package import MigratePostgres

/// The way back: batch after batch, the last one first, by what the run has stored.
extension Worker {
  package mutating func revert(onConflict policy: ConflictPolicy) throws(PostgresError) -> RunOutcome {
    try surviving { (worker) throws(PostgresError) in try worker.revertAll(policy) }
  }

  private mutating func revertAll(_ policy: ConflictPolicy) throws(PostgresError) -> RunOutcome {
    let done = try Ledger.rowsRead(connection, run.id, kind: .revert)
    let applied = try Ledger.rowsRead(connection, run.id, kind: .apply)
    report(.started(run: run.id, name: run.name, direction: .revert, done: done, expected: applied.changed))
    // With nothing left to take back the undo may be gone already.
    if policy == .stop, try nextPlace() != nil, let ahead = try conflictsAhead(), ahead > 0 {
      return try stopped(ahead)
    }
    while true {
      if let outcome = try edge() { return outcome }
      guard let place = try nextPlace() else { return try finishRevert() }
      if let outcome = try restore(place, policy) { return outcome }
    }
  }

  /// Where the next batch to take back stands: the last one that is not yet.
  private struct Place {
    let slice: String
    let ordinal: String
    let part: String
    let seq: String
  }

  private borrowing func nextPlace() throws(PostgresError) -> Place? {
    let rows = try connection.query(
      """
      SELECT a.slice, a.ordinal, a.part, a.seq
      FROM   migrate.batches AS a
      WHERE  a.run = $1::bigint AND a.kind = 'apply'
        AND  NOT EXISTS (SELECT FROM migrate.batches AS r
                         WHERE (r.run, r.kind, r.slice, r.ordinal, r.part) = (a.run, 'revert', a.slice, a.ordinal, a.part))
      ORDER  BY a.seq DESC
      LIMIT  1
      """, [runID])
    guard let row = rows.first else { return nil }
    return Place(
      slice: try row.text("slice"), ordinal: try row.text("ordinal"), part: try row.text("part"), seq: try row.text("seq"))
  }

  private borrowing func conflictsAhead() throws(PostgresError) -> Int? {
    try connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; " + (try run.statement("revert", "settings").text))
    let count = try connection.run(run.statement("revert", "conflicts ahead"), constants).onlyRow.int(0)
    try connection.commit()
    return count
  }

  private mutating func restore(_ place: Place, _ policy: ConflictPolicy) throws(PostgresError) -> RunOutcome? {
    var attempt = 1
    while true {
      do throws(PostgresError) {
        return try transact(place, policy)
      } catch {
        if error.endsConnection || error.origin == .lost { throw error }
        try connection.execute("ROLLBACK")
        if control.isCancelRequested { return try pauseBySignal() }
        guard error.class == .transient else {
          let failure = Failure(error, after: nil, through: nil)
          return error.class == .environment ? try hold(failure) : try fail(failure)
        }
        attempt += 1
        report(.again(ordinal: Int(place.ordinal) ?? 0, attempt: attempt, reason: error.message))
        pause(for: backoff(attempt))
        if let outcome = try edge() { return outcome }
      }
    }
  }

  /// One batch back, as one transaction.
  private mutating func transact(_ place: Place, _ policy: ConflictPolicy) throws(PostgresError) -> RunOutcome? {
    let clock = ContinuousClock.now
    let bindings = constants.with("slice", place.slice).with("ordinal", place.ordinal).with("part", place.part)
      .with("seq", place.seq)
    try connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; " + (try run.statement("revert", "settings").text))
    guard try connection.run(run.statement("revert", "mark"), bindings).affectedRows == 1 else {
      // Another revert has done this batch while we waited at the mark.
      try connection.execute("ROLLBACK")
      return nil
    }
    var written: Rows?
    for name in Self.statements(policy) { written = try connection.run(run.statement("revert", name), bindings) }
    // The last one has listed the rows that it did not restore.
    if written?.affectedRows != 0 { try connection.run(run.statement("revert", "look"), bindings) }
    guard let row = try connection.run(run.statement("revert", "finish"), bindings).first else {
      try connection.execute("ROLLBACK")
      return .takenOver
    }
    let kept = try row.int("rows_rejected")
    if policy == .stop, kept > 0 {
      try connection.execute("ROLLBACK")
      return try stopped(kept)
    }
    try connection.commit()
    let counts = BatchCounts(
      batches: 1, read: try row.int("rows_read"), changed: try row.int("rows_changed"), rejected: kept)
    report(
      .batch(
        BatchRecord(
          ordinal: Int(place.ordinal) ?? 0, through: [], counts: counts, duration: ContinuousClock.now - clock)))
    return nil
  }

  private static func statements(_ policy: ConflictPolicy) -> [String] {
    switch policy {
    case .stop, .skip: ["restore"]
    case .force: ["seize", "restore forced"]
    }
  }

  /// Under `stop` a row that was changed since ends the revert where it stands; what is back stays back.
  private mutating func stopped(_ conflicts: Int) throws(PostgresError) -> RunOutcome {
    let failure = Failure(
      sqlState: nil, message: "\(conflicts) rows were changed since", detail: nil, hint: nil, column: nil,
      constraint: nil, after: nil, through: nil)
    return try stand(failure, by: [.batchFailed]) ? .conflicts(conflicts) : .takenOver
  }

  private mutating func finishRevert() throws(PostgresError) -> RunOutcome {
    let counts = try Ledger.rowsRead(connection, run.id, kind: .revert)
    // Nothing is in conflict, so nobody needs the old values any more.
    if counts.rejected == 0 {
      try connection.execute("BEGIN; SET LOCAL lock_timeout = '5s'")
      do throws(PostgresError) {
        try connection.execute(run.statement("revert", "drop undo").text)
        try connection.commit()
      } catch {
        if error.endsConnection { throw error }
        try connection.execute("ROLLBACK")
        // Dropped before a crash, or locked by a reader: the rows are back either way.
      }
    }
    let isOurs = try Ledger.holding(connection, run.id, epoch: run.epoch) { (connection) throws(PostgresError) in
      try Ledger.advance(connection, run.id, .lastBatchRestored)
    }
    return isOurs ? .reverted(conflicts: counts.rejected) : .takenOver
  }
}
