package import MigratePostgres

/// What a run's worker looks like from outside.
package struct WorkerSign: Sendable, Equatable {
  package let pid: Int
  package let host: String?
}

extension Ledger {
  /// Takes a run over from workers that are gone, or that have been stopped; the new epoch.
  ///
  /// A worker that gives signs of life keeps its run. Its backend can outlive a client that was killed by as long as the server
  /// needs to see that nobody is there, so the look takes up to `patience`.
  /// - Throws: ``TakeOverError/working(_:)`` when somebody works on it, `beaten` when another one was faster.
  package static func takeOver(
    _ connection: borrowing Connection, _ run: Int64, patience: Duration = .seconds(20)
  ) throws(TakeOverError) -> Int {
    let working: WorkerSign?
    do throws(PostgresError) {
      // In one transaction, which must see from look to look what has changed.
      try connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL statement_timeout = 0")
      let answer = try connection.query(
        "SELECT epoch, pid, client_host FROM migrate.relieve($1::bigint, $2::interval)",
        [String(run), "\(patience.components.seconds) seconds"]
      ).onlyRow
      let epoch = try answer.ifPresent("epoch", answer.int)
      let pid = try answer.ifPresent("pid", answer.int)
      let host = try answer["client_host"]
      try connection.execute("COMMIT")
      if let epoch { return epoch }
      working = pid.map { WorkerSign(pid: $0, host: host) }
    } catch {
      if !error.endsConnection { _ = try? connection.execute("ROLLBACK") }
      throw .database(error)
    }
    throw working.map(TakeOverError.working) ?? .beaten
  }

  /// Whether a worker of the run gives signs of life.
  package static func isWorking(_ connection: borrowing Connection, _ run: Int64) throws(PostgresError) -> Bool {
    try connection.query("SELECT migrate.is_working($1::bigint) AS working", [String(run)]).onlyRow.bool("working")
  }

  /// Who works on the run, or was the last to do so.
  package static func workerSign(
    _ connection: borrowing Connection, _ run: Int64
  ) throws(PostgresError) -> WorkerSign? {
    let rows = try connection.query(
      """
      SELECT pid, client_host
      FROM   migrate.workers
      WHERE  run = $1::bigint
      ORDER  BY heartbeat_at DESC
      LIMIT  1
      """, [String(run)])
    guard let row = rows.first else { return nil }
    return WorkerSign(pid: try row.int("pid"), host: try row["client_host"])
  }
}

/// Why a run cannot be taken over.
package enum TakeOverError: Error, Sendable {
  /// Its worker lives.
  case working(WorkerSign?)
  /// Somebody else has just done it.
  case beaten
  case database(PostgresError)
}
