internal import MigrateLedger
internal import MigratePlan
internal import MigratePostgres

/// What has been done of a batch that is done in parts.
private struct Done {
  var counts = BatchCounts(batches: 1)
  var through: [String?]?
  var parts = 0
  var xid: String?
}

/// A batch with a row that the database refuses: cut in halves until the row is alone. It goes to quarantine, the others are done.
///
/// From left to right, so that what is done is one stretch from the beginning, and of two rows in each other's way the one with the
/// lower key wins.
extension Worker {
  /// Parts that stay. A transaction's first 64 numbers are kept where every backend sees them cheaply; beyond, all snapshots of the
  /// cluster get slower. Source: PGPROC_MAX_CACHED_SUBXIDS in PostgreSQL's src/include/storage/proc.h.
  private static var mostParts: Int { 60 }

  mutating func performInParts(
    _ attempt: Attempt, _ bindings: Bindings, through end: [String?]
  ) throws(PostgresError) -> Performed {
    var cutting = try cutting(attempt, through: end, bindings)
    cutting.distrustsSnapshots = attempt.guarded == .locked
    var done = Done()
    try connection.execute("SAVEPOINT part")
    while done.parts < Self.mostParts, var part = cutting.parts.popLast() {
      if !part.isFound { cutting.tries += 1 }
      if cutting.isDueForSearch {
        try search(&cutting, behind: part.after, bindings)
        continue
      }
      if part.isBad, try split(&part, on: &cutting.parts, bindings, attempt) { continue }
      let given = self.bindings(of: part, bindings).with("part", String(done.parts))
      switch try perform(part, attempt, given) {
      case .done(let counts, _, let xid):
        done.add(counts, part, xid)
        if part.isLeft { cutting.parts[cutting.parts.endIndex - 1].isBad = true }
      case .notDone(let transacted): return .notDone(transacted)
      case .refused(let refusal):
        if let parts = try cut(&part, at: refusal, bindings, attempt) {
          cutting.parts += parts.reversed()
          continue
        }
        if try split(&part, on: &cutting.parts, bindings, attempt) { continue }
        // Under one snapshot the row is there that has failed; under another it may be gone.
        guard part.rows == 1 else { return .notDone(.inexact) }
        if attempt.guarded != .locked, refusal.isOfSnapshot { return .notDone(.outdated) }
        // What a value is looked up in may have changed between the statements. A trigger keeps the row once more.
        if attempt.guarded == .locked, refusal.isOfTrigger, !part.wasDifferent {
          part.wasDifferent = true
          cutting.parts.append(part)
          continue
        }
        switch try reject(given, part, refusal) {
        case .done(let counts, _, let xid): done.add(counts, part, xid)
        case .notDone(let transacted): return .notDone(transacted)
        }
      }
    }
    guard let through = done.through, let xid = done.xid else { return .notDone(.inexact) }
    unfinished = cutting.isDone ? nil : cutting.inAnotherSnapshot
    return .done(done.counts, through: through, xid: xid)
  }

  /// Goes on with a batch, or cuts one that has failed as a whole just now.
  private borrowing func cutting(
    _ attempt: Attempt, through end: [String?], _ bindings: Bindings
  ) throws(PostgresError) -> Cutting {
    if let unfinished = unfinished(at: attempt) { return unfinished }
    var whole = Part(after: attempt.after, through: end, isBad: true)
    var cutting = Cutting(
      slice: attempt.slice, isCanary: attempt.isCanary, size: attempt.size, end: end, parts: [],
      searchesAtOnce: expectsMany)
    let parts = try attempt.refusal.flatMap { (refusal) throws(PostgresError) in
      try cut(&whole, at: refusal, bindings, attempt)
    }
    cutting.parts = parts?.reversed() ?? [whole]
    return cutting
  }

  private func bindings(of part: Part, _ bindings: Bindings) -> Bindings {
    bindings.with("eligible", nil).with(key: part.after, as: "after", count: run.keyCount)
      .with(key: part.through, as: "upper", count: run.keyCount)
      .with(key: part.through, as: "through", count: run.keyCount)
  }

  /// Puts the halves of a part on the stack; `false` when it has no two rows, and then `rows` tells how many.
  private borrowing func split(
    _ part: inout Part, on stack: inout [Part], _ bindings: Bindings, _ attempt: Attempt
  ) throws(PostgresError) -> Bool {
    if part.rows == 1 { return false }
    let middle = try connection.run(run.statement(.batches, .middle), self.bindings(of: part, bindings)).onlyRow
    let rows = try middle.int("rows")
    part.rows = rows
    guard rows > 1 else { return false }
    let key = Array(try middle.values.dropFirst())
    let isFixed = attempt.guarded != .locked
    stack.append(Part(after: key, through: part.through, rows: isFixed ? rows / 2 : nil, constraints: part.constraints))
    stack.append(
      Part(
        after: part.after, through: key, rows: isFixed ? (rows + 1) / 2 : nil, isLeft: true,
        constraints: part.constraints))
    return true
  }

  enum PartEnd {
    case done(BatchCounts, through: [String?], xid: String)
    case notDone(Transacted)
    /// A row of the part is at fault.
    case refused(Failure)
  }

  /// A part, in the savepoint that whoever calls has opened: the capture with the change, since what is undone of the one must be of
  /// the other. Each message leaves the savepoint for the next part behind.
  mutating func perform(_ part: Part, _ attempt: Attempt, _ bindings: Bindings) throws(PostgresError) -> PartEnd {
    do throws(PostgresError) {
      switch try perform(attempt, bindings, through: part.through, isBoundByCapture: false) {
      case .done(let counts, let through, let xid):
        // What is deferred would fail at COMMIT, outside of every savepoint.
        try connection.execute(
          "SET CONSTRAINTS ALL IMMEDIATE; RELEASE SAVEPOINT part; SET CONSTRAINTS ALL DEFERRED; SAVEPOINT part")
        return .done(counts, through: through, xid: xid)
      case .notDone(.suppressed(let captured, let changed, let through)):
        try connection.execute("ROLLBACK TO SAVEPOINT part")
        return .refused(.suppressed(captured: captured, changed: changed, after: part.after, through: through))
      case .notDone(let transacted): return .notDone(transacted)
      }
    } catch {
      guard !error.endsConnection, error.origin != .lost, error.class == .rowBad else { throw error }
      try connection.execute("ROLLBACK TO SAVEPOINT part")
      return .refused(Failure(error, after: part.after, through: part.through))
    }
  }

  /// The only row of a part goes to quarantine.
  private mutating func reject(
    _ bindings: Bindings, _ part: Part, _ refusal: Failure
  ) throws(PostgresError) -> Performed {
    let said = bindings.refused(by: refusal)
    try connection.run(run.statement(.batches, .reject), said)
    guard let row = try connection.run(run.statement(.batches, .finish), said).first else {
      return .notDone(.takenOver)
    }
    // It is alone no more: another one has come that nobody has refused.
    guard try row.int("rows_read") == 1 else { return .notDone(.inexact) }
    // Once a row has gone well it is not.
    let asked = hasSucceeded ? "" : "; SELECT migrate.is_hopeless(\(runID)) AS hopeless"
    let answer = try connection.execute("RELEASE SAVEPOINT part; SAVEPOINT part\(asked)")
    let isHopeless = hasSucceeded ? false : try answer.onlyRow.bool("hopeless")
    if isHopeless {
      let hint = try connection.query("SELECT migrate.hopeless_hint($1::bigint) AS hint", [runID]).onlyRow["hint"]
      return .notDone(.hopeless(.hopeless(refusal, hint: hint)))
    }
    let counts = BatchCounts(batches: 0, read: 1, rejected: 1)
    return .done(counts, through: part.through, xid: try row.text("xid"))
  }
}

extension Worker {
  /// What ends the run when more rows are in quarantine than it allows.
  borrowing func excess(behind after: [String?]?, through: [String?]?) throws(PostgresError) -> Failure? {
    let found = try connection.query("SELECT migrate.excess($1::bigint) AS excess", [runID]).onlyRow["excess"]
    return found.map {
      Failure(
        message: $0,
        hint:
          "`migrate rejects \(run.id)` lists them, `migrate tune \(run.id) --max-rejects N` allows more; a run that goes on "
          + "without that stops behind the next batch that has one, and is not complete with so many",
        after: after, through: through)
    }
  }
}

extension Done {
  mutating func add(_ more: BatchCounts, _ part: Part, _ xid: String) {
    counts.read += more.read
    counts.changed += more.changed
    counts.unchanged += more.unchanged
    counts.rejected += more.rejected
    through = part.through
    parts += 1
    self.xid = xid
  }
}

extension Failure {
  /// Of a trigger that left the row out without an error.
  fileprivate var isOfTrigger: Bool { sqlState == nil }

  /// What a foreign key refers to is looked up in the transaction's snapshot, and may have come since; so may what is in the way of a
  /// unique value, and a definition that looks for it would leave the row out.
  fileprivate var isOfSnapshot: Bool {
    [SQLState.foreignKeyViolation, .uniqueViolation].contains { $0.code == sqlState }
  }

  /// Nobody wants a quarantine of all rows.
  fileprivate static func hopeless(_ last: Failure, hint: String?) -> Failure {
    Failure(
      sqlState: last.sqlState, message: "the first 32 rows all fail alike: \(last.message)", detail: last.detail,
      hint: hint,
      column: last.column, constraint: last.constraint, after: last.after, through: last.through)
  }
}
