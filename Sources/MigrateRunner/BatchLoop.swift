internal import MigrateLedger
internal import MigratePlan
internal import MigratePostgres

/// What became of a batch in the end.
enum Batched {
  /// What is left of the slice now.
  case done(Slice)
  /// The server has lost what was done before.
  case lost
  case ended(RunOutcome)
}

/// What an attempt at a batch leads to.
private enum Verdict {
  case done(BatchRecord)
  case lost
  case ended(RunOutcome)
  /// The run ends by this batch.
  case gaveUp(RunOutcome)
  case again(reason: String, SQLState?)
  case gaveWay
}

extension Worker {
  /// One batch, tried until it is done.
  mutating func batch(behind last: Slice) throws(PostgresError) -> Batched {
    var ladder = Ladder(size: pacing.size(run.pace))
    let ordinal = last.ordinal + 1
    let place = BatchPlace(slice: last.number, ordinal: ordinal)
    while true {
      let clock = ContinuousClock.now
      var attempt = Attempt(
        slice: last.number, ordinal: ordinal, after: last.after, upper: last.through, number: ladder.number,
        size: ladder.size, isInParts: ladder.isInParts, refusal: ladder.refusal, isCanary: last.isCanary)
      if let unfinished = unfinished(at: attempt) {
        attempt.isInParts = true
        if unfinished.distrustsSnapshots { attempt.number = max(attempt.number, Attempt.firstLocked) }
      }
      switch try make(attempt, &ladder) {
      case .done(let record): return .done(last.behind(record.ordinal, record.through))
      case .lost: return .lost
      case .ended(let outcome): return .ended(outcome)
      case .gaveUp(let outcome):
        if let failure = outcome.failure {
          report(
            .gaveUp(
              FailedTry(
                place: place, next: ladder.made + 2, reason: failure.message, sqlState: failure.sqlState,
                duration: ContinuousClock.now - clock)))
        }
        return .ended(outcome)
      case .again(let reason, let state):
        let isInTheWay = ladder.count()
        report(
          .again(
            FailedTry(
              place: place, next: ladder.made + 1, reason: reason, sqlState: state?.code,
              duration: ContinuousClock.now - clock)))
        if isInTheWay { pause(for: backoff(ladder.number)) }
      case .gaveWay: giveWay(&ladder, place, since: clock)
      }
      try sign()
      // What shall be shorter now is cut anew.
      if ladder.size < attempt.size { unfinished = nil }
      // The state may have changed, and the old backend of a lost connection may have ended this very batch.
      if let outcome = try edge() { return .ended(outcome) }
      let now = try Ledger.lastBatch(connection, run.id, slice: last.number)
      if now.ordinal < last.ordinal { return .lost }
      if now.ordinal >= ordinal { return .done(last.behind(now.ordinal, now.through)) }
    }
  }

  private mutating func make(_ attempt: Attempt, _ ladder: inout Ladder) throws(PostgresError) -> Verdict {
    do throws(PostgresError) {
      let transacted = try transact(attempt)
      watch?.end()
      return try verdict(on: transacted, attempt, &ladder)
    } catch {
      if watch?.end() == true, error.sqlState == .queryCanceled, !control.isCancelRequested {
        try connection.execute("ROLLBACK")
        return .gaveWay
      }
      return try verdict(on: error, attempt, &ladder)
    }
  }

  private mutating func verdict(
    on transacted: Transacted, _ attempt: Attempt, _ ladder: inout Ladder
  ) throws(PostgresError) -> Verdict {
    switch transacted {
    case .committed(let record):
      signed = .now
      pacing.note(size: attempt.size, read: record.counts.read, taken: record.duration, run.pace)
      crew.note(rows: record.counts.read)
      if record.counts.read > record.counts.rejected { hasSucceeded = true }
      report(.batch(record))
      if record.counts.rejected > 0, let failure = try excess(behind: attempt.after, through: record.through) {
        return .ended(try fail(failure))
      }
      return .done(record)
    case .takenOver: return .ended(try beaten())
    case .gaveWay: return .gaveWay
    case .lost: return .lost
    case .inexact:
      // With one snapshot for all statements no row can come in between.
      guard attempt.guarded == .locked || !ladder.isDifferentAgain() else {
        return .gaveUp(try fail(.keysChanged(after: attempt.after, through: nil)))
      }
      return .again(reason: "rows came in between", nil)
    case .suppressed(let captured, let changed, let through):
      if case .quarantine = run.onError, ladder.cut(at: nil) {
        return .again(reason: "a trigger kept rows from being changed", nil)
      }
      // What a value is looked up in may have changed between the statements, and a row needs no change any more. A trigger does
      // it again.
      guard !ladder.isDifferentAgain() else {
        var failure = Failure.suppressed(
          captured: captured, changed: changed, after: attempt.after, through: through)
        failure.culprits = try culprits(attempt)
        return .gaveUp(try fail(failure))
      }
      return .again(reason: "rows needed no change any more", nil)
    case .outdated:
      ladder.distrustSnapshots()
      return .again(reason: "the row that another refers to may have come since", nil)
    case .hopeless(let failure): return .gaveUp(try fail(failure))
    case .found(let check, let rows, let through):
      return .gaveUp(try fail(.check(check, rows: rows, after: attempt.after, through: through)))
    }
  }

  private mutating func verdict(
    on error: PostgresError, _ attempt: Attempt, _ ladder: inout Ladder
  ) throws(PostgresError) -> Verdict {
    if error.endsConnection || error.origin == .lost { throw error }
    try connection.execute("ROLLBACK")
    if control.isCancelRequested { return .ended(try pauseBySignal()) }
    try forgetPlans(after: error)
    var failure = Failure(error, after: attempt.after, through: through)
    if ladder.ready(after: error, failure, run.onError) { return .again(reason: error.message, error.sqlState) }
    // What was to pass by itself and does not is the server's, too.
    if error.class == .environment || error.class == .transient { return .gaveUp(try pauseForServer(failure)) }
    if error.class == .rowBad { failure.culprits = try culprits(attempt) }
    failure.places = try Ledger.places(blamedFor: failure, connection, run.id)
    return .gaveUp(try fail(failure))
  }
}

extension Slice {
  /// What is left behind a batch.
  fileprivate func behind(_ ordinal: Int, _ key: [String?]?) -> Slice {
    Slice(number: number, ordinal: ordinal, after: key, through: through, isCanary: isCanary)
  }
}
