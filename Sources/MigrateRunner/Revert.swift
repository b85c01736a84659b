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
    if policy == .stop, let outcome = try lookAhead() { return outcome }
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
      "SELECT slice, ordinal, part, seq FROM migrate.next_to_restore($1::bigint)", [runID])
    guard let row = rows.first else { return nil }
    return Place(
      slice: try row.text("slice"), ordinal: try row.text("ordinal"), part: try row.text("part"),
      seq: try row.text("seq"))
  }

  /// Under `stop` nothing is written when a row was changed since.
  private mutating func lookAhead() throws(PostgresError) -> RunOutcome? {
    try persisting(0) { (worker) throws(PostgresError) in
      let settings = try worker.run.statement("revert", "settings").text
      try worker.connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; " + settings)
      let ahead = try worker.run.statement("revert", "conflicts ahead")
      let count = try worker.connection.run(ahead, worker.constants).onlyRow.int(0)
      try worker.connection.commit()
      return count > 0 ? try worker.stopped(count) : nil
    }
  }

  private mutating func restore(_ place: Place, _ policy: ConflictPolicy) throws(PostgresError) -> RunOutcome? {
    try persisting(Int(place.ordinal) ?? 0) { (worker) throws(PostgresError) in try worker.transact(place, policy) }
  }

  /// One batch back, as one transaction.
  private mutating func transact(_ place: Place, _ policy: ConflictPolicy) throws(PostgresError) -> RunOutcome? {
    let clock = ContinuousClock.now
    let bindings = constants.with("slice", place.slice).with("ordinal", place.ordinal).with("part", place.part)
      .with("seq", place.seq)
    try connection.execute(
      "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; " + (try run.statement("revert", "settings").text))
    guard try connection.run(run.statement("revert", "mark"), bindings).affectedRows == 1 else {
      // Another revert has done this batch while we waited at the mark.
      try connection.execute("ROLLBACK")
      return nil
    }
    for name in Self.statements(policy) { try connection.run(run.statement("revert", name), bindings) }
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
    let reason = FailureReason(message: "\(conflicts) rows were changed since")
    try Ledger.fail(connection, run.id, reason, event: .batchFailed)
    return .conflicts(conflicts)
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
    try Ledger.advance(connection, run.id, .lastBatchRestored)
    return .reverted(conflicts: counts.rejected)
  }
}
