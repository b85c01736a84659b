internal import MigrateLedger
internal import MigratePlan
internal import MigratePostgres

/// What the attempts at a batch have shown so far, and how the next one is made.
struct Ladder {
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
    let isTooMuch = error.sqlState == .programLimitExceeded && size > 1
    if isTooMuch { size /= 2 }
    if isStuck(by: error) { return false }
    if isTooMuch || error.isWorthAnotherTry(isSecond: isSecond) { return true }
    switch policy {
    case .stop: return false
    case .retry: return error.class == .rowBad && number < 10
    case .quarantine:
      // A row that is too large for its page or its index fails in parts as well, and is the one at fault.
      guard error.class == .rowBad, cut(at: failure) else { return false }
      if error.sqlState == .foreignKeyViolation || error.sqlState == .uniqueViolation { distrustSnapshots() }
      return true
    }
  }

  /// Whether a single row has met an error again and again that is said to pass, and that nobody else's work explains: a trigger that
  /// asks a server which is gone, or a timeout that is too short for it.
  private func isStuck(by error: PostgresError) -> Bool {
    let ofOthers: [SQLState] = [.serializationFailure, .deadlockDetected, .lockNotAvailable]
    guard error.class == .transient, size == 1, number > 60, let state = error.sqlState else { return false }
    return !ofOthers.contains(state)
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

  /// What a foreign key refers to, or is in the way of a unique value, is looked up in the transaction's snapshot, which gets old while
  /// rows at fault are looked for; from now on each statement has its own.
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

extension PostgresError {
  /// Transient errors are always tried again. A foreign key or a unique key can also be the age of the snapshot: the row that
  /// is missing, or in the way, was committed since; so these are believed only when a fresh snapshot says the same. What a
  /// statement does not find, or cannot be done to the table, was there and could when it was planned: the next look at the table
  /// tells what has become of it (P21).
  func isWorthAnotherTry(isSecond: Bool) -> Bool {
    if self.class == .transient { return true }
    guard !isSecond, let state = report.sqlState else { return false }
    return state == .foreignKeyViolation || state == .uniqueViolation || state.family == "42" || state.family == "0A"
  }
}
