internal import MigrateLedger
internal import MigratePlan
internal import MigratePostgres

/// What the attempts at a batch have shown so far, and how the next one is made.
struct Tries {
  /// The next attempt's, from 1: by it the attempt guards itself against others.
  private(set) var number = 1
  /// How many there were.
  private(set) var made = 0
  /// Whether the next attempt differs in what it looks for, and not in how it guards itself: there is nothing to wait for.
  private var isAtOnce = false
  /// The next attempt's rows.
  private(set) var size: Int
  /// Whether an attempt has changed other rows than it had captured. It is believed at the second time: no lock keeps a label from
  /// being renamed, or what a value is looked up in from being changed, and the next look at the table tells of the former (P21).
  private var wasDifferent = false
  /// Whether the row at fault is looked for.
  private(set) var isInParts = false
  /// By what the database has refused the batch as a whole; a trigger refuses in silence.
  private(set) var refusal: Failure?
  /// How often it had to give way to somebody who waited for it.
  private(set) var timesGivenWay = 0
  private var last: SQLState?

  init(size: Int) { self.size = size }

  /// Readies the next attempt after `error`; `false` when there is none. Told of every error, since some are believed only at the
  /// second time.
  mutating func ready(after error: PostgresError, _ failure: Failure, _ policy: OnError) -> Bool {
    let isSecond = last == error.sqlState
    last = error.sqlState
    // An array of the undo ends at a gigabyte: fewer rows fit, and a single one that does not is to blame itself.
    let isTooMuch = error.sqlState == SQLState("54000") && size > 1
    if isTooMuch { size /= 2 }
    if isTooMuch || error.isWorthAnotherTry(isSecond: isSecond) { return true }
    switch policy {
    case .stop: return false
    case .retry: return error.class == .rowBad && number < 10
    case .quarantine:
      // A row that is too large for its page or its index fails in parts as well, and is the one at fault.
      guard error.class == .rowBad, cut(at: failure) else { return false }
      if error.sqlState == .foreignKeyViolation { distrustSnapshots() }
      return true
    }
  }

  /// Whether it is the second time that other rows were changed than were captured.
  mutating func isDifferentAgain() -> Bool {
    defer { wasDifferent = true }
    return wasDifferent
  }

  /// Looks for the row at fault from now on; `false` when that is done already.
  mutating func cut(at refusal: Failure?) -> Bool {
    guard !isInParts else { return false }
    isInParts = true
    self.refusal = refusal
    isAtOnce = true
    return true
  }

  /// What a foreign key refers to is looked up in the transaction's snapshot, which gets old while rows at fault are looked for; from
  /// now on each statement has its own.
  mutating func distrustSnapshots() {
    number = max(number, Attempt.firstLocked)
    isAtOnce = true
  }

  /// Fewer rows are held for a shorter time, down to a single one, which is tried again for as long as it takes.
  mutating func giveWay() {
    timesGivenWay += 1
    size = max(1, size / 2)
  }

  /// Counts an attempt that was in vain; whether others have been in its way, so that it is better to wait.
  mutating func count() -> Bool {
    made += 1
    if isAtOnce {
      isAtOnce = false
      return false
    }
    number += 1
    // Six tries in vain: fewer rows meet fewer writers, down to a single one.
    if number > 6 { size = max(1, size / 2) }
    return true
  }
}

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
    var tries = Tries(size: pacing.size(run.pace))
    let ordinal = last.ordinal + 1
    let place = BatchPlace(slice: last.number, ordinal: ordinal)
    while true {
      let clock = ContinuousClock.now
      var attempt = Attempt(
        slice: last.number, ordinal: ordinal, after: last.after, upper: last.through, number: tries.number,
        size: tries.size, isInParts: tries.isInParts, refusal: tries.refusal, isCanary: last.isCanary)
      if let unfinished = unfinished(at: attempt) {
        attempt.isInParts = true
        if unfinished.distrustsSnapshots { attempt.number = max(attempt.number, Attempt.firstLocked) }
      }
      switch try tried(attempt, &tries) {
      case .done(let record): return .done(last.behind(record.ordinal, record.through))
      case .lost: return .lost
      case .ended(let outcome): return .ended(outcome)
      case .gaveUp(let outcome):
        if let failure = outcome.failure {
          report(
            .gaveUp(
              FailedTry(
                place: place, next: tries.made + 2, reason: failure.message, sqlState: failure.sqlState,
                duration: ContinuousClock.now - clock)))
        }
        return .ended(outcome)
      case .again(let reason, let state):
        let isInTheWay = tries.count()
        report(
          .again(
            FailedTry(
              place: place, next: tries.made + 1, reason: reason, sqlState: state?.code,
              duration: ContinuousClock.now - clock)))
        if isInTheWay { pause(for: backoff(tries.number)) }
      case .gaveWay: giveWay(&tries, place, since: clock)
      }
      // What shall be shorter now is cut anew.
      if tries.size < attempt.size { unfinished = nil }
      // The state may have changed, and the old backend of a lost connection may have ended this very batch.
      if let outcome = try edge() { return .ended(outcome) }
      let now = try Ledger.lastBatch(connection, run.id, slice: last.number)
      if now.ordinal < last.ordinal { return .lost }
      if now.ordinal >= ordinal { return .done(last.behind(now.ordinal, now.through)) }
    }
  }

  private mutating func tried(_ attempt: Attempt, _ tries: inout Tries) throws(PostgresError) -> Verdict {
    do throws(PostgresError) {
      let transacted = try transact(attempt)
      watch?.end()
      return try verdict(on: transacted, attempt, &tries)
    } catch {
      if watch?.end() == true, error.sqlState == .queryCanceled, !control.isCancelRequested {
        try connection.execute("ROLLBACK")
        return .gaveWay
      }
      return try verdict(on: error, attempt, &tries)
    }
  }

  private mutating func verdict(
    on transacted: Transacted, _ attempt: Attempt, _ tries: inout Tries
  ) throws(PostgresError) -> Verdict {
    switch transacted {
    case .committed(let record):
      pacing.note(size: attempt.size, read: record.counts.read, taken: record.duration, run.pace)
      crew.note(rows: record.counts.read)
      if record.counts.read > record.counts.rejected { hasSucceeded = true }
      report(.batch(record))
      if record.counts.rejected > 0, let failure = try excess(behind: attempt.after, through: record.through) {
        return .ended(try fail(failure))
      }
      return .done(record)
    case .takenOver: return .ended(.takenOver)
    case .gaveWay: return .gaveWay
    case .lost: return .lost
    case .inexact:
      // With one snapshot for all statements no row can come in between.
      guard attempt.guarded == .locked || !tries.isDifferentAgain() else {
        return .gaveUp(try fail(.keysChanged(after: attempt.after, through: nil)))
      }
      return .again(reason: "rows came in between", nil)
    case .suppressed(let captured, let changed, let through):
      if case .quarantine = run.onError, tries.cut(at: nil) {
        return .again(reason: "a trigger kept rows from being changed", nil)
      }
      // What a value is looked up in may have changed between the statements, and a row needs no change any more. A trigger does
      // it again.
      guard !tries.isDifferentAgain() else {
        var failure = Failure.suppressed(
          captured: captured, changed: changed, after: attempt.after, through: through)
        failure.culprits = try culprits(attempt)
        return .gaveUp(try fail(failure))
      }
      return .again(reason: "rows needed no change any more", nil)
    case .outdated:
      tries.distrustSnapshots()
      return .again(reason: "the row that another refers to may have come since", nil)
    case .hopeless(let failure): return .gaveUp(try fail(failure))
    case .found(let check, let rows, let through):
      return .gaveUp(try fail(.check(check, rows: rows, after: attempt.after, through: through)))
    }
  }

  private mutating func verdict(
    on error: PostgresError, _ attempt: Attempt, _ tries: inout Tries
  ) throws(PostgresError) -> Verdict {
    if error.endsConnection || error.origin == .lost { throw error }
    try connection.execute("ROLLBACK")
    if control.isCancelRequested { return .ended(try pauseBySignal()) }
    try forgetPlans(after: error)
    var failure = Failure(error, after: attempt.after, through: through)
    guard !tries.ready(after: error, failure, run.onError) else { return .again(reason: error.message, error.sqlState) }
    if error.class == .environment { return .gaveUp(try hold(failure)) }
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
