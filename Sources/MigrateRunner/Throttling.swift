internal import MigrateLedger
internal import MigratePlan
internal import MigratePostgres

/// What keeps a worker from its next batch, though nobody has asked for that.
extension Worker {
  /// The run may go on, as far as its state says. How long to wait before that is looked at again; `nil`: the next batch may begin.
  mutating func restBeforeBatch() throws(PostgresError) -> Duration? {
    if run.holds, ContinuousClock.now >= pacing.asksAt {
      let isHeld = try Ledger.askHolds(connection, run) == .holding
      pacing.asked()
      if isHeld { return .zero }
    }
    return pacing.rest(run.pace)
  }

  /// Asks the ledger, once, how large the batches of a slice have become.
  mutating func knowSize(slice: Int) throws(PostgresError) {
    guard pacing.isUnsized(run.pace), let target = pacing.target(run.pace) else { return }
    pacing.begin(with: try Ledger.automaticSize(connection, run.id, slice: slice, target: target))
  }

  /// Pauses the run before its next batch, or before its end, when what it has found is not what the definition expects.
  mutating func heedExpectations(isFinal: Bool) throws(PostgresError) -> RunOutcome? {
    guard run.expects else { return nil }
    while true {
      switch try Ledger.heed(connection, run, worker: number, isFinal: isFinal) {
      case .met: return nil
      case .paused: if let outcome = try stoodPaused() { return outcome }
      case .askedOtherwise: if let outcome = try edge() { return outcome }
      }
    }
  }

  /// Waits until the rest behind the canary may be done, or pauses the run.
  mutating func standBehindCanary() throws(PostgresError) -> RunOutcome? {
    if let outcome = try heedExpectations(isFinal: false) { return outcome }
    while true {
      switch try Ledger.heedCanary(connection, run, worker: number) {
      case .over: return nil
      case .holds: if let outcome = try edge() { return outcome }
      case .paused: if let outcome = try stoodPaused() { return outcome }
      }
    }
  }

  /// Of a run that was just paused here: why. Nothing is written down about one that somebody has let go on already.
  private mutating func stoodPaused() throws(PostgresError) -> RunOutcome? {
    guard let failure = try Ledger.failure(connection, run.id) else { return try edge() }
    return .pausedByServer(failure)
  }

  /// Waits, at most a second, which is how long what is asked of the run may stay unheard; a signal ends it.
  func rest(for duration: Duration) {
    let deadline = ContinuousClock.now + min(duration, .seconds(1))
    while !control.isStopRequested {
      let left = deadline - ContinuousClock.now
      guard left > .zero else { return }
      pause(for: min(left, .milliseconds(50)))
    }
  }
}
