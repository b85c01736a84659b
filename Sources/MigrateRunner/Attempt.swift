internal import MigrateLedger
internal import MigratePlan
internal import MigratePostgres

/// Which batch, and how it is tried this time.
struct Attempt {
  let slice: Int
  let ordinal: Int
  /// The key behind which the batch begins; `nil` is the beginning.
  let after: [String?]?
  let upper: [String?]
  /// From 1.
  var number: Int
  let size: Int
  /// Whether a row that the database refuses is looked for, and goes to quarantine.
  var isInParts: Bool
  /// By what the database has refused the batch as a whole.
  var refusal: Failure?
  /// Whether it does the rows of the canary, or the rest; `nil` does both.
  var isCanary: Bool?

  /// How the attempt guards itself against those who write at the same time.
  ///
  /// A snapshot costs nothing when nobody writes. From the second try the rows are locked before anything is computed, so a
  /// conflict shows in the first millisecond; from the third each statement sees what has been committed, which always ends,
  /// also on rows that others never leave alone. What it promises: docs/guarantees.md.
  enum Guard { case snapshot, lockedSnapshot, locked }

  /// The first attempt without one snapshot for all statements.
  static let firstLocked = 3

  var guarded: Guard {
    switch number {
    case ...1: .snapshot
    case ..<Self.firstLocked: .lockedSnapshot
    default: .locked
    }
  }

  var isolation: String {
    switch guarded {
    case .snapshot, .lockedSnapshot: "REPEATABLE READ READ WRITE"
    case .locked: "READ COMMITTED READ WRITE"
    }
  }

  /// Whether the capture itself ends the batch after so many rows, and tells the key of the last one.
  func isBoundByCapture(_ run: Run) -> Bool {
    guarded == .snapshot && !isInParts
      && run.statements(.batches).contains { $0.name == .capture && $0.arguments.contains("size") }
  }

  /// Whether the attempt runs this statement: of the two ways to capture it takes one, and of the two ways to change, by what
  /// the capture said; it asks for reasons only where rows break a rule.
  func runs(_ statement: RunStatement, isCaptured: Bool, leavesOut: Bool = false) -> Bool {
    switch statement.name {
    case .capture: guarded == .snapshot
    case .captureLocked: guarded != .snapshot
    case .change: !isCaptured
    case .changeAsCaptured: isCaptured
    case .validate: leavesOut
    case .middle, .keys, .images, .reject, .previous: false
    case .settings, .lock, .bound, .image, .moveOn, .measure, .finish, .check: true
    // Of other phases.
    case .undoTable, .imageTable, .sourceTable, .wrapper, .keysTable, .lockers, .freeze, .upper, .collect, .slices,
      .stage, .holdWhen,
      .publish, .captureLate, .forget, .leftBehind, .dropKeys,
      .untouched, .conflictsAhead, .mark, .hold, .choose, .heedChildren, .heedParents, .restore, .seize, .restoreForced,
      .look, .triggersOff,
      .restoreRewritten, .triggersOn, .dropUndo:
      false
    }
  }
}

/// How an attempt has ended when no error ended it.
enum Transacted {
  case committed(BatchRecord)
  /// Rows came in between the capture and the change; try again.
  case inexact
  /// A trigger kept rows from being changed.
  case suppressed(captured: Int, changed: Int, through: [String?])
  /// A check found rows.
  case found(check: Statement.Name, rows: [String], through: [String?])
  /// What a row refers to is not in the snapshot, and may have come since.
  case outdated
  /// The first rows of the run all fail alike.
  case hopeless(Failure)
  case takenOver
  /// Somebody has waited for it too long.
  case gaveWay
  /// What was done before is not there any more, so the batch would leave a gap.
  case lost
}

/// What the statements of a batch, or of a part of it, have come to; nothing of it is committed.
enum Performed {
  case done(BatchCounts, through: [String?], xid: String)
  case notDone(Transacted)
}

extension Worker {
  /// The batch, as one transaction. Whatever ends it early, nothing of it stays.
  mutating func transact(_ attempt: Attempt) throws(PostgresError) -> Transacted {
    let clock = ContinuousClock.now
    self.through = nil
    let before = undisturbed
    undisturbed = nil
    let pid = try begin(attempt.isolation, .apply, batch: attempt.ordinal, undisturbed: before)
    if let pid { watch?.begin(pid) }
    var bindings = bindings(of: attempt)
    let isBoundByCapture = attempt.isBoundByCapture(run)
    let through: [String?]
    if isBoundByCapture {
      through = attempt.upper
    } else if let cutting = unfinished(at: attempt) {
      through = cutting.end
    } else {
      through = try bound(attempt, &bindings)
    }
    self.through = through
    bindings = bindings.with(key: through, as: "through", count: run.keyCount)
    let performed =
      attempt.isInParts
      ? try performInParts(attempt, bindings, through: through)
      : try perform(attempt, bindings, through: through, isBoundByCapture: isBoundByCapture)
    switch performed {
    case .notDone(let transacted):
      watch?.end()
      try connection.execute("ROLLBACK")
      return transacted
    case .done(let counts, let through, let xid):
      // No lock on a table keeps its schema from being renamed: by now the name may mean another one, whose rows these were.
      let confirmed = try connection.execute(
        "SELECT migrate.confirm(\(runID)) AS undisturbed, \(follows(attempt)) AS follows"
      ).onlyRow
      guard try confirmed.bool("follows") else {
        watch?.end()
        try connection.execute("ROLLBACK")
        return .lost
      }
      guard watch?.mayCommit() != false else {
        try connection.execute("ROLLBACK")
        return .gaveWay
      }
      unsettled = xid
      try connection.commit()
      unsettled = nil
      undisturbed = try confirmed.ifPresent("undisturbed", confirmed.int64)
      return .committed(
        BatchRecord(
          place: BatchPlace(slice: attempt.slice, ordinal: attempt.ordinal), worker: number, through: through,
          counts: counts,
          duration: ContinuousClock.now - clock))
    }
  }

  /// A condition: whether the batch before is still there.
  private func follows(_ attempt: Attempt) -> String {
    Ledger.isDone(run.id, slice: attempt.slice, through: attempt.ordinal - 1)
  }

  /// Whether a capture's word for the new values is taken. Who may not lock the table before the snapshot cannot keep a trigger
  /// from coming behind it, so what the rows became is asked of the change; without undo nobody asks.
  private var mayForesee: Bool { run.mayLock || run.undoReason != nil }

  /// What is known before the first statement.
  func bindings(of attempt: Attempt) -> Bindings {
    constants.with("slice", String(attempt.slice)).with("ordinal", String(attempt.ordinal))
      .with("size", String(attempt.size))
      .with(key: attempt.after, as: "after", count: run.keyCount)
      .with(key: attempt.upper, as: "upper", count: run.keyCount)
      .with("eligible", nil).with("changed", nil).with("canary", attempt.isCanary.map { String($0) })
  }

  /// The key of the batch's last row, and in `bindings` how many rows are eligible up to it, where that is known.
  private borrowing func bound(_ attempt: Attempt, _ bindings: inout Bindings) throws(PostgresError) -> [String?] {
    guard let bound = try connection.run(run.statement(.batches, .bound), bindings).first?.values else {
      return attempt.upper
    }
    // Under one snapshot a bound that was found stands behind just as many rows as it was asked for.
    if attempt.guarded != .locked { bindings = bindings.with("eligible", String(attempt.size)) }
    return bound
  }

  /// The statements of a batch, or of a part of one, from the capture to the ledger's entry.
  ///
  /// - Parameter isBoundByCapture: the batch ends where the capture says, and not before `through`.
  mutating func perform(
    _ attempt: Attempt, _ given: Bindings, through end: [String?], isBoundByCapture: Bool
  ) throws(PostgresError) -> Performed {
    var (bindings, through) = (given, end)
    var isCaptured = false
    var leavesOut = false
    var written: [String?] = []
    bindings = bindings.with("snapshot", String(attempt.guarded != .locked)).with("written", nil)
    for statement in run.statements(.batches)
    where attempt.runs(statement, isCaptured: isCaptured, leavesOut: leavesOut) {
      // Done before.
      if [.settings, .lock, .bound].contains(statement.name) { continue }
      if statement.name == .finish {
        // A row of quarantine that is tried again is shown at once.
        if attempt.slice == -1 { try show(bindings) }
        return try finish(connection.run(statement, bindings), through: through)
      }
      let rows = try connection.run(statement, bindings)
      if let row = rows.first, rows.hasColumn("leaves_out") { leavesOut = try row.bool("leaves_out") }
      if statement.name == .capture, let row = rows.first {
        isCaptured = try row.bool("as_captured") && mayForesee
        // Without a row it went to the upper end in vain.
        if isBoundByCapture, try row["through_1"] != nil {
          through = Array(try row.values.dropFirst())
          self.through = through
          bindings = bindings.with(key: through, as: "through", count: run.keyCount)
        }
      }
      if statement.name == .changeAsCaptured {
        bindings = bindings.with("changed", rows.affectedRows.map(String.init))
      }
      if statement.name == .change, let step = statement.step {
        written += Array(repeating: nil, count: max(0, step - written.count))
        written[step - 1] = rows.affectedRows.map(String.init)
        bindings = bindings.with("written", ArrayText.literal(written))
      }
      if case .check = statement.name, !rows.isEmpty {
        let shown = try rows.map { (row) throws(PostgresError) in try row.text(0) }
        return .notDone(.found(check: statement.name, rows: shown, through: through))
      }
    }
    throw .unreadable("run \(run.id) has no statement finish; its plan was made by another version")
  }

  /// What the ledger's entry tells.
  private func finish(_ rows: Rows, through: [String?]) throws(PostgresError) -> Performed {
    guard let row = rows.first else { return .notDone(.takenOver) }
    let changed = try row.int("rows_changed")
    guard try row.bool("exact") else {
      let captured = try row.int("rows_captured")
      return .notDone(
        changed < captured ? .suppressed(captured: captured, changed: changed, through: through) : .inexact)
    }
    let read = try row.int("rows_read")
    let rejected = rows.hasColumn("rows_rejected") ? try row.int("rows_rejected") : 0
    let counts = BatchCounts(
      batches: 1, read: read, changed: changed, unchanged: read - changed - rejected, rejected: rejected)
    return .done(counts, through: through, xid: try row.text("xid"))
  }
}
