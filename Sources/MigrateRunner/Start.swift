internal import MigrateLedger
internal import MigratePostgres

/// The start of a run: who must end first, and where the keys end.
extension Worker {
  /// Waits for the transactions that held a write lock on the source when the wait began. A serial number is no commit order:
  /// a key below the last one may belong to a transaction that has not committed yet (K22). What is asked of the run meanwhile
  /// is heard, and the end is not fixed before its time: `nil` means go on.
  mutating func awaitLockers() throws(PostgresError) -> RunOutcome? {
    guard try !isBounded().bounded else { return nil }
    let statement = try run.statement("bounds", "lockers")
    var holders = try virtualTransactions(statement)
    var told = 0
    while !holders.isEmpty {
      if let outcome = try edge() { return outcome }
      if holders.count != told { report(.waiting(left: holders.count)) }
      told = holders.count
      pause(for: .milliseconds(50))
      try enlist()
      // Only those of the first look: who came later is none of our concern, and there would always be somebody.
      holders.formIntersection(try virtualTransactions(statement))
    }
    return nil
  }

  /// The last key, fixed once; known at once when it is fixed already. `nil`: the source is empty.
  borrowing func upperEnd() throws(PostgresError) -> [String?]? {
    let known = try isBounded()
    if known.bounded { return known.upper }
    try connection.execute(
      "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; " + (try run.statement("batches", "settings").text))
    let upper = try connection.run(run.statement("bounds", "upper"), constants).first?.values
    try connection.commit()
    try Ledger.bound(connection, run.id, upper: upper)
    return upper
  }

  private borrowing func isBounded() throws(PostgresError) -> (bounded: Bool, upper: [String?]?) {
    let known = try connection.query(
      "SELECT bounded_at IS NOT NULL AS bounded, upper_key FROM migrate.runs WHERE run = $1::bigint", [runID]
    ).onlyRow
    return (try known.bool("bounded"), try known.ifPresent("upper_key", known.array))
  }

  private borrowing func virtualTransactions(_ statement: RunStatement) throws(PostgresError) -> Set<String> {
    var found: Set<String> = []
    for row in try connection.run(statement, constants) { found.insert(try row.text(0)) }
    return found
  }
}
