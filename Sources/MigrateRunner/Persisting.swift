internal import MigrateLedger
internal import MigratePostgres

extension Worker {
  /// Does `body`, and again for as long as what stops it can pass by itself; any other error fails the run, or makes it pause.
  ///
  /// For what is right whenever it succeeds. A batch forward has a ladder of its own, which changes how it guards itself.
  /// - Parameter place: the batch that is told about.
  mutating func persisting(
    _ place: BatchPlace, _ body: (inout Worker) throws(PostgresError) -> RunOutcome?
  ) throws(PostgresError) -> RunOutcome? {
    var attempt = 1
    var repeated: SQLState?
    while true {
      let clock = ContinuousClock.now
      do throws(PostgresError) {
        return try body(&self)
      } catch {
        if error.endsConnection || error.origin == .lost { throw error }
        try connection.execute("ROLLBACK")
        if control.isCancelRequested { return try pauseBySignal() }
        try forgetPlans(after: error)
        let failed = FailedTry(
          place: place, next: attempt + 1, reason: error.message, sqlState: error.sqlState?.code,
          duration: ContinuousClock.now - clock)
        guard error.isWorthAnotherTry(isSecond: repeated == error.sqlState) else {
          if place != .none { report(.gaveUp(failed)) }
          let failure = Failure(error, after: nil, through: nil)
          return error.class == .environment ? try pauseForServer(failure) : try fail(failure)
        }
        repeated = error.sqlState
        attempt += 1
        report(.again(failed))
        pause(for: backoff(attempt))
        try sign()
        if let outcome = try edge() { return outcome }
      }
    }
  }

  /// A function of a trigger, or of the definition, keeps the plans of its statements with the session, and is refused when a type
  /// in them has changed since (P22). The next try plans anew.
  borrowing func forgetPlans(after error: PostgresError) throws(PostgresError) {
    guard let family = error.sqlState?.family, family == "42" || family == "0A" else { return }
    try connection.execute("DISCARD PLANS")
  }
}
