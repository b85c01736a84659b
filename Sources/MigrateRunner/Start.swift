internal import MigrateLedger
internal import MigratePlan
internal import MigratePostgres

/// The start of a run: who must end first, and where the keys end.
extension Worker {
  /// Fixes the last key once, after the transactions that held a write lock on the source when the wait began. A serial number
  /// is no commit order: a key below the last one may belong to a transaction that has not committed yet (K22). What is asked of
  /// the run meanwhile is heard, and the end is not fixed before its time: `nil` means go on.
  mutating func fixEnd() throws(PostgresError) -> RunOutcome? {
    guard try !isBounded().bounded else { return nil }
    let statement = try run.statement(.bounds, .lockers)
    var holders = try virtualTransactions(statement)
    var told = 0
    while !holders.isEmpty {
      if let outcome = try edge() { return outcome }
      if holders.count != told { report(.waiting(try Ledger.holders(connection, of: Array(holders)))) }
      told = holders.count
      pause(for: .milliseconds(50))
      try enlist()
      // Only those of the first look: who came later is none of our concern, and there would always be somebody.
      holders.formIntersection(try virtualTransactions(statement))
    }
    return try fixUpperEnd()
  }

  private borrowing func fixUpperEnd() throws(PostgresError) -> RunOutcome? {
    try begin("READ COMMITTED READ WRITE", .apply)
    guard try keepsFence() else { return .takenOver }
    // Before the upper end, in a snapshot of its own: whoever is invisible to a batch is not older than this.
    let horizon = try connection.query("SELECT pg_snapshot_xmin(pg_current_snapshot()) AS horizon").onlyRow.text(0)
    for statement in run.statements(.bounds) where statement.name == .freeze {
      try connection.run(statement, constants)
    }
    let upper = try connection.run(run.statement(.bounds, .upper), constants).first?.values
    if let upper, let collect = run.statements(.bounds).first(where: { $0.name == .collect }) {
      let bindings = constants.with("size", String(run.pace.firstSize)).with(
        key: upper, as: "upper", count: run.keyCount)
      try connection.run(collect, bindings)
    }
    if let upper, let slices = run.statements(.bounds).first(where: { $0.name == .slices }) {
      try connection.run(slices, constants.with(key: upper, as: "upper", count: run.keyCount))
    }
    try stage()
    // In the same transaction as the keys: both are there, or neither.
    try Ledger.bound(connection, run.id, upper: upper, horizon: horizon)
    try connection.commit()
    return nil
  }

  /// Reads into tables what batches would read as a whole each time; anew where that has been done before.
  borrowing func stage() throws(PostgresError) {
    for statement in run.staging { try connection.run(statement, constants) }
  }

  /// Whether the last key is fixed, and that; `nil` for an empty source.
  borrowing func isBounded() throws(PostgresError) -> (bounded: Bool, upper: [String?]?) {
    let known = try connection.query(
      "SELECT bounded_at IS NOT NULL AS bounded, upper_key FROM migrate.runs WHERE run = $1::bigint", [runID]
    ).onlyRow
    return (try known.bool("bounded"), try known.ifPresent("upper_key", known.array))
  }

  private borrowing func virtualTransactions(_ statement: RunStatement) throws(PostgresError) -> Set<String> {
    try begin("READ COMMITTED READ ONLY", .apply)
    var found: Set<String> = []
    for row in try connection.run(statement, constants) { found.insert(try row.text(0)) }
    try connection.commit()
    return found
  }
}

extension Run {
  /// What reads joins into tables.
  var staging: [RunStatement] {
    statements(.bounds).filter { if case .stage = $0.name { true } else { false } }
  }
}
