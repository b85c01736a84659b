package import MigrateLedger
internal import MigratePostgres
internal import MigrateRunner

/// The way back begins here: which run, whether it can be taken back, and that nobody else works on it.
extension Runs {
  /// The run meant by a number or by a definition's name.
  package borrowing func find(_ reference: String) throws(RunRefusal) -> RunSummary {
    let found = try asking { (connection) throws(PostgresError) -> RunSummary? in
      guard try Upgrade.version(connection) > 0 else { return nil }
      if let number = Int64(reference) { return try Ledger.summary(connection, number) }
      return try Ledger.newestRun(connection, name: reference)
    }
    guard let found else {
      throw .refused(
        Int64(reference) == nil ? "\(reference) has no run that could be meant" : "there is no run \(reference)",
        remedy: "the runs: `migrate history`")
    }
    return found
  }

  /// The run meant by who steers one or looks at it: that of a number, or of a definition's name the newest that is not finished,
  /// where there is one.
  package borrowing func steered(_ reference: String) throws(RunRefusal) -> RunSummary {
    let unfinished = try asking { (connection) throws(PostgresError) -> RunSummary? in
      guard Int64(reference) == nil, try Upgrade.version(connection) > 0 else { return nil }
      return try Ledger.unfinishedRun(connection, name: reference)
    }
    if let unfinished { return unfinished }
    return try find(reference)
  }

  /// Makes the run revert and returns it; refuses what cannot be taken back, before a row changes.
  package borrowing func enterRevert(
    _ summary: RunSummary, onConflict policy: ConflictPolicy, reason: String? = nil
  ) throws(RunRefusal) -> Run {
    let id = summary.id
    try upgrade()
    try refuseIrrevertible(summary)
    let isApplied = summary.direction == .apply && !summary.state.hasEnded
    let way = "`migrate cancel \(id) --revert` ends it and takes back what it has done"
    do throws(RunRefusal) {
      return try taking(id, whileWorkedOn: isApplied ? way : nil) { (connection) throws(PostgresError) in
        try connection.query(
          "SELECT migrate.turn_back($1::bigint, $2::text, $3::text, $4::text)",
          [String(id), policy.rawValue, reason, Worker.hostName])
      }
    } catch {
      guard case .database(let cause) = error else { throw error }
      // A run that has begun, written and ended since the look above is told of as if it had been seen there.
      if cause.sqlState == .refusedByLedger { try refuseIrrevertible(summary) }
      // One that has begun in this moment is no later run yet: it has not written.
      guard cause.constraint == "one_active" else { throw error }
      throw .refused(
        "a later run of \(summary.name) is unfinished",
        remedy: "`migrate status` shows it; end it by `migrate cancel`, or take it back first")
    }
  }

  /// What keeps the run from going as fast as it can, and how to lift it: the way back keeps to it, too. `nil`: nothing does.
  package borrowing func brakes(_ id: Int64) throws(RunRefusal) -> String? {
    try asking { (connection) throws(PostgresError) in try Ledger.brakes(connection, id) }
  }

  /// How many transactions a revert of the run has ahead.
  package borrowing func toRestore(_ id: Int64) throws(RunRefusal) -> Int {
    try asking { (connection) throws(PostgresError) in try Ledger.toRestore(connection, id) }
  }

  /// Why the run keeps no old values; `nil` when it does.
  package borrowing func undoReason(_ id: Int64) throws(RunRefusal) -> String? {
    try asking { (connection) throws(PostgresError) in try Ledger.run(connection, id)?.undoReason }
  }

  /// Refuses to change rows of a run that a later one lies over; it does where it has written a column of the run, or of `columns`.
  borrowing func refuseCovered(_ id: Int64, by columns: [String]? = nil) throws(RunRefusal) {
    let later = try asking { (connection) throws(PostgresError) in
      try Ledger.laterRuns(connection, than: id, writing: columns)
    }
    guard let newest = later.first else { return }
    throw .refused(
      "run \(newest.id) of \(newest.name) came later and wrote the same columns",
      remedy: "first: `migrate revert \(newest.id)`")
  }

  /// Refuses, before anything is asked of anybody, what cannot be taken back.
  package borrowing func refuseIrrevertible(_ summary: RunSummary) throws(RunRefusal) {
    let id = summary.id
    guard summary.state != .reverted else {
      throw .refused(
        "run \(id) is reverted already", remedy: "to apply \(summary.name) anew: `migrate apply \(summary.name)`")
    }
    let run = try asking { (connection) throws(PostgresError) in try Ledger.run(connection, id) }
    if let reason = run?.undoReason {
      throw .refused(
        "run \(id) cannot be reverted: \(reason)", remedy: "a definition that computes the old values from the new ones"
      )
    }
    if try asking({ (connection) throws(PostgresError) in try Ledger.lacksUndo(connection, id) }) {
      throw .refused(
        "run \(id) cannot be reverted: its undo was dropped",
        remedy: "nothing has been touched; the old values are in a backup, if anywhere")
    }
    try refuseCovered(id)
    let dependents = try asking { (connection) throws(PostgresError) in try Ledger.dependents(connection, of: id) }
    if let dependent = dependents.first {
      throw .refused(
        "\(dependent) needs \(summary.name) and is applied", remedy: "first: `migrate revert \(dependent)`")
    }
    let gone = try asking { (connection) throws(PostgresError) in try Ledger.changedColumns(connection, of: id) }
    if !gone.isEmpty {
      throw .refused(
        "the table has changed since run \(id): \(gone.joined(separator: "; "))",
        remedy: "bring it back to what it was, then revert; nothing has been touched")
    }
    let moved = try asking { (connection) throws(PostgresError) in
      try Ledger.movedCollations(connection, of: id, applying: false)
    }
    try refuse(moved, then: "`migrate revert \(id)`")
  }
}
