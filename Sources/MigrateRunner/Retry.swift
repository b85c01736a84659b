package import MigrateLedger
internal import MigratePlan
package import MigratePostgres

/// Rows of quarantine, tried again under the plan that they were rejected by, each by itself.
///
/// What they come to belongs to the run: chain -1 of its batches has their undo and their entries, and a revert takes them back
/// with the others. The state of the run stays what it is.
extension Worker {
  /// Rows that commit together: of each two subtransactions stay, and a transaction's first 64 are cheap.
  private static var rowsTogether: Int { 30 }
  private static var mostAttempts: Int { 20 }

  /// Tries each row once that was open when it began.
  package mutating func retry() throws(PostgresError) -> RetryOutcome {
    try enlist()
    do throws(PostgresError) {
      let outcome = try stageAnew() ? try retryAll() : .takenOver
      leave()
      return outcome
    } catch {
      if connection.transactionStatus != .idle { _ = try? connection.execute("ROLLBACK") }
      leave()
      throw error
    }
  }

  /// What a row has missed may have come since.
  private mutating func stageAnew() throws(PostgresError) -> Bool {
    guard !run.staging.isEmpty else { return true }
    try begin("READ COMMITTED READ WRITE", .apply)
    guard try keepsFence() else {
      try connection.execute("ROLLBACK")
      return false
    }
    try stage()
    try connection.commit()
    return true
  }

  private mutating func retryAll() throws(PostgresError) -> RetryOutcome {
    var behind: [String?]?
    // Fewer when somebody has waited for them, until as many as before go through again.
    var together = Self.rowsTogether
    var timesGivenWay = 0
    rows: while true {
      if control.isStopRequested { return .paused }
      let keys = try Ledger.openRejects(connection, run.id, behind: behind, limit: together)
      guard let last = keys.last else { return .done }
      var attempt = 1
      while true {
        let clock = ContinuousClock.now
        do throws(PostgresError) {
          switch try watched(keys) {
          case .done: report(.tried(rows: keys.count))
          case .ended(.failed) where keys.count > 1:
            // Those before it went back with it. Each by itself they stay done.
            together = 1
            continue rows
          case .ended(let outcome): return outcome
          case .gaveWay:
            together = max(1, keys.count / 2)
            timesGivenWay += 1
            giveWay(
              at: BatchPlace(slice: -1, ordinal: 0), since: clock, next: timesGivenWay + 1, times: timesGivenWay)
            continue rows
          }
          break
        } catch {
          if error.endsConnection || error.origin == .lost { throw error }
          try connection.execute("ROLLBACK")
          if control.isStopRequested { return .paused }
          guard error.class == .transient, attempt < Self.mostAttempts else {
            // Who has taken the run over has taken our places in its undo too.
            if try !Ledger.keepsFence(connection, run.id, epoch: run.epoch) { return .takenOver }
            throw error
          }
          attempt += 1
          report(
            .again(
              FailedTry(
                place: BatchPlace(slice: -1, ordinal: 0), next: attempt, reason: error.message,
                sqlState: error.sqlState?.code, duration: ContinuousClock.now - clock)))
          pause(for: backoff(attempt))
          try sign()
        }
      }
      behind = last
      together = min(2 * together, Self.rowsTogether)
    }
  }

  /// What rows that commit together have come to.
  private enum Together {
    /// Each of them is done, or in quarantine once more.
    case done
    /// Somebody has waited for them too long.
    case gaveWay
    case ended(RetryOutcome)
  }

  private mutating func watched(_ keys: [[String?]]) throws(PostgresError) -> Together {
    do throws(PostgresError) {
      let together = try transact(keys)
      watch?.end()
      return together
    } catch {
      guard watch?.end() == true, error.sqlState == .queryCanceled, !control.isCancelRequested else { throw error }
      try connection.execute("ROLLBACK")
      return .gaveWay
    }
  }

  /// Under one snapshot, so that a stretch that holds one row holds no other.
  private mutating func transact(_ keys: [[String?]]) throws(PostgresError) -> Together {
    let ordinal = try Ledger.lastBatch(connection, run.id, slice: -1).ordinal + 1
    if let pid = try begin("REPEATABLE READ READ WRITE", .apply) { watch?.begin(pid) }
    // A run can have come since; what it writes after this snapshot it finds as these rows become.
    try connection.query("SELECT migrate.refuse_covered($1::bigint)", [runID])
    try connection.execute("SAVEPOINT part")
    for (part, key) in keys.enumerated() {
      let found = constants.with("slice", "-1").with("ordinal", String(ordinal)).with("part", String(part))
        .with(key: key, as: "through", count: run.keyCount).with(key: key, as: "upper", count: run.keyCount)
      let before = try connection.run(run.statement(.batches, .previous), found).first?.values
      let given = found.with(key: before, as: "after", count: run.keyCount)
        .with("size", "1").with("eligible", nil).with("changed", nil)
      let attempt = Attempt(slice: -1, ordinal: ordinal, after: before, upper: key, number: 1, size: 1, isInParts: true)
      if let outcome = try end(of: attempt, given, key) {
        watch?.end()
        try connection.execute("ROLLBACK")
        return .ended(outcome)
      }
      try connection.query(
        "SELECT migrate.book_retry($1::bigint, $2::integer, $3::integer, $4::text[])",
        [runID, String(ordinal), String(part), ArrayText.literal(key)])
      try connection.execute("RELEASE SAVEPOINT part; SAVEPOINT part")
    }
    try connection.execute("SELECT migrate.confirm(\(runID))")
    guard watch?.mayCommit() != false else {
      try connection.execute("ROLLBACK")
      return .gaveWay
    }
    try connection.commit()
    return .done
  }

  /// `nil`: the row is done, or in quarantine once more.
  private mutating func end(
    of attempt: Attempt, _ given: Bindings, _ key: [String?]
  ) throws(PostgresError) -> RetryOutcome? {
    switch try perform(Part(after: attempt.after, through: key), attempt, given) {
    case .done: return nil
    case .refused(let refusal): return try isRejected(given, refusal) ? nil : .takenOver
    case .notDone(.found(let check, let rows, let through)):
      try connection.execute("ROLLBACK TO SAVEPOINT part")
      let refusal = Failure.check(check, rows: rows, after: attempt.after, through: through)
      return try isRejected(given, refusal) ? nil : .takenOver
    // Under one snapshot no row can have come in between.
    case .notDone(.inexact):
      var failure = Failure.keysChanged(after: attempt.after, through: key)
      failure.culprits = Culprits(keys: [key], areAll: true)
      return .failed(failure)
    case .notDone(.takenOver), .notDone(.lost), .notDone(.committed), .notDone(.hopeless), .notDone(.gaveWay),
      .notDone(.suppressed), .notDone(.outdated):
      return .takenOver
    }
  }

  private borrowing func isRejected(_ given: Bindings, _ refusal: Failure) throws(PostgresError) -> Bool {
    let said = given.refused(by: refusal)
    try connection.run(run.statement(.batches, .reject), said)
    return try !connection.run(run.statement(.batches, .finish), said).isEmpty
  }
}

/// How far rows of quarantine were tried again.
package enum RetryOutcome: Sendable, Equatable {
  case done
  /// It was asked to stop.
  case paused
  /// A row can be neither done nor rejected; nothing is known of those behind it.
  case failed(Failure)
  /// Somebody else has taken the run over.
  case takenOver
}

extension Bindings {
  /// With what has been said of a row at fault.
  func refused(by refusal: Failure) -> Bindings {
    with("refusal.sqlstate", refusal.sqlState).with("refusal.message", refusal.message)
      .with("refusal.detail", refusal.detail).with("refusal.column", refusal.column)
      .with("refusal.constraint", refusal.constraint)
  }
}
