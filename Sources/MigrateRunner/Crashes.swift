internal import MigrateLedger
internal import MigratePostgres

/// How often the server went down, without a batch done in between. A batch that brings it down does so each time, and with it all
/// that others do there. Whoever ends a session has his reasons, and the server stays up.
struct Crashes {
  /// One more would be no accident any more.
  private static let most = 3

  /// The last one, as long as it is not counted.
  var last: PostgresError?
  private var times = 0
  private var entries: Int?
  private var reason: String?

  /// Counts a time that the server went down.
  ///
  /// - Parameter entries: how many batches the ledger has. A crash can take the last ones back, so their order of time tells nothing.
  mutating func count(_ error: PostgresError, entries: Int) {
    last = nil
    // A restart is announced.
    guard error.sqlState != .adminShutdown else { return }
    times = entries == self.entries ? times + 1 : 1
    self.entries = entries
    reason = error.message
  }

  /// Why nothing is tried any more; `nil` as long as it is. From then on it is counted anew.
  mutating func takeFailure() -> Failure? {
    guard times >= Self.most, let reason else { return nil }
    self = Crashes()
    return Failure(
      sqlState: SQLState.crashShutdown.code,
      message: "the server went down \(Self.most) times without a batch done in between: \(reason)",
      hint:
        "the server's log tells whether it is this batch that brings it down; `migrate tune RUN --batch-size N` makes smaller ones"
    )
  }
}

extension Worker {
  /// Has the run pause when the server goes down again and again.
  mutating func standBehindCrashes() throws(PostgresError) -> RunOutcome? {
    guard let failure = crashes.takeFailure() else { return nil }
    return try pauseForServer(failure)
  }
}
