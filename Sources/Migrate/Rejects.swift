package import MigrateLedger
internal import MigratePostgres
package import MigrateRunner

/// Rows in quarantine: looked at, and tried again.
extension Runs {
  /// How many rows of the run wait in quarantine, and for which reasons, the most frequent first.
  ///
  /// - Parameter all: those that are resolved or reverted, too.
  package borrowing func reasons(
    _ run: Int64, all: Bool = false
  ) throws(RunRefusal) -> (rows: Int, reasons: [RejectReason]) {
    try asking { (connection) throws(PostgresError) in try Ledger.reasons(connection, run, all: all) }
  }

  /// The columns by which the run's rows are known.
  package borrowing func keyColumns(_ run: Int64) throws(RunRefusal) -> [String] {
    try asking { (connection) throws(PostgresError) in try Ledger.keyColumns(connection, run) }
  }

  /// Hands out the run's rows in quarantine in the order of their keys, page by page: however many there are,
  /// only a page of them is held, and the keys.
  ///
  /// - Parameter all: those that are resolved or reverted, too.
  package borrowing func eachReject(
    of run: Int64, upTo limit: Int = .max, all: Bool, _ body: ([Reject]) -> Void
  ) throws(RunRefusal) {
    try asking { (connection) throws(PostgresError) in
      var places = try Ledger.rejectPlaces(connection, run, limit: limit, all: all)[...]
      while !places.isEmpty {
        body(try Ledger.rejects(connection, run, at: places.prefix(500), all: all))
        places = places.dropFirst(500)
      }
    }
  }

  /// Tries the rows that wait in the run's quarantine once more, under the run's own plan.
  package borrowing func retry(
    _ summary: RunSummary, reason: String? = nil, control: RunControl, report: @escaping @Sendable (RunEvent) -> Void
  ) throws(RunRefusal) -> RetryOutcome {
    try upgrade()
    _ = try mendable(summary)
    try refuseCovered(summary.id)
    let taken = try taking(summary.id) { (connection) throws(PostgresError) in
      try connection.query(
        "SELECT migrate.note_request($1::bigint, 'retry', $2::text, $3::text)",
        [String(summary.id), reason, Worker.hostName])
    }
    let run = try mendable(summary, taken)
    do throws(PostgresError) {
      var worker = try Worker(
        server: server.applicationName("migrate run \(run.id) \(run.name)"), run: run, control: control, report: report)
      return try worker.retry()
    } catch {
      // Whoever takes a run over ends the sessions of who was at it.
      if error.endsConnection || error.origin == .lost, isTakenOver(run) { return .takenOver }
      throw .database(error)
    }
  }

  /// Whether somebody else works on the run since, asked in a session of its own: this one's may be ended, too.
  private borrowing func isTakenOver(_ run: Run) -> Bool {
    guard let connection = try? Connection(to: server),
      let fence = try? connection.query("SELECT epoch FROM migrate.fence WHERE run = $1::bigint", [String(run.id)])
        .onlyRow.int("epoch")
    else { return false }
    return fence != run.epoch
  }

  /// The run, when its rows in quarantine are its own to change: nobody takes it back.
  borrowing func mendable(_ summary: RunSummary, _ taken: Run? = nil) throws(RunRefusal) -> Run {
    var run = taken
    if run == nil {
      run = try asking { (connection) throws(PostgresError) in try Ledger.run(connection, summary.id) }
    }
    guard let run, run.direction == .apply else {
      throw .refused(
        "run \(summary.id) is \(summary.state == .reverted ? "taken back" : "being taken back")",
        remedy: "`migrate apply \(summary.name)` runs it anew")
    }
    if run.isPublishedAtOnce,
      try asking({ (connection) throws(PostgresError) in try Ledger.isUnpublished(connection, run.id) })
    {
      throw .refused(
        "run \(run.id) is published at once, and nothing of it was yet",
        remedy: "`migrate apply \(run.name)` goes on with it; then its quarantine can be tried again")
    }
    return run
  }
}
