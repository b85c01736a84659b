internal import MigrateLedger
internal import MigratePostgres

extension Worker {
  /// Does `body`, and again for as long as what stops it can pass by itself; any other error fails the run, or makes it pause.
  ///
  /// For what is right whenever it succeeds. A batch forward has a ladder of its own, which changes how it guards itself.
  /// - Parameter ordinal: the batch that is told about; 0 for none.
  mutating func persisting(
    _ ordinal: Int, _ body: (inout Worker) throws(PostgresError) -> RunOutcome?
  ) throws(PostgresError) -> RunOutcome? {
    var attempt = 1
    var repeated: SQLState?
    while true {
      do throws(PostgresError) {
        return try body(&self)
      } catch {
        if error.endsConnection || error.origin == .lost { throw error }
        try connection.execute("ROLLBACK")
        if control.isCancelRequested { return try pauseBySignal() }
        guard error.isWorthAnotherTry(isSecond: repeated == error.sqlState) else {
          let failure = Failure(error, after: nil, through: nil)
          return error.class == .environment ? try hold(failure) : try fail(failure)
        }
        repeated = error.sqlState
        attempt += 1
        report(.again(BatchPlace(slice: 0, ordinal: ordinal), attempt: attempt, reason: error.message))
        pause(for: backoff(attempt))
        if let outcome = try edge() { return outcome }
      }
    }
  }
}
