internal import Glibc
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
    do throws(PostgresError) {
      let epoch = try standing(connection, run).epoch
      let first = try pulse(connection, run)
      let deadline = ContinuousClock.now + patience
      while try isWorking(connection, run) {
        if let now = try pulse(connection, run), let first, now.beat != first.beat {
          return try refuse(now.sign)
        }
        if ContinuousClock.now >= deadline, let now = try pulse(connection, run) { return try refuse(now.sign) }
        usleep(20_000)
      }
      // One that was stopped between its last statement and COMMIT would keep the fence until its transaction times out.
      try endStoppedWorkers(connection, run)
      let taken = try connection.query(
        "SELECT migrate.take_over($1::bigint, $2::integer) AS epoch", [String(run), String(epoch)]
      ).onlyRow
      guard let raised = try taken.ifPresent("epoch", taken.int) else { return try refuse(nil) }
      try endStoppedWorkers(connection, run)
      return raised
    } catch {
      if error.message == Self.workingMark { throw .working(try? pulse(connection, run)?.sign) }
      if error.message == Self.beatenMark { throw .beaten }
      throw .database(error)
    }
  }

  private static var workingMark: String { "working" }
  private static var beatenMark: String { "beaten" }

  private static func refuse(_ sign: WorkerSign?) throws(PostgresError) -> Int {
    throw .unreadable(sign == nil ? beatenMark : workingMark)
  }

  private static func isWorking(_ connection: borrowing Connection, _ run: Int64) throws(PostgresError) -> Bool {
    try connection.query("SELECT migrate.is_working($1::bigint) AS working", [String(run)]).onlyRow.bool("working")
  }

  private static func pulse(
    _ connection: borrowing Connection, _ run: Int64
  ) throws(PostgresError) -> (beat: String, sign: WorkerSign)? {
    let rows = try connection.query(
      """
      SELECT heartbeat_at, pid, client_host
      FROM   migrate.workers
      WHERE  run = $1::bigint
      ORDER  BY heartbeat_at DESC
      LIMIT  1
      """, [String(run)])
    guard let row = rows.first else { return nil }
    return (try row.text("heartbeat_at"), WorkerSign(pid: try row.int("pid"), host: try row["client_host"]))
  }

  /// A client that was stopped keeps its row locks until its backend ends. Without the right to end it, the timeout of its idle
  /// transaction does.
  private static func endStoppedWorkers(_ connection: borrowing Connection, _ run: Int64) throws(PostgresError) {
    do throws(PostgresError) {
      try connection.query(
        """
        SELECT pg_terminate_backend(a.pid)
        FROM   migrate.workers  AS w
        JOIN   migrate.fence    AS f ON f.run = w.run
        JOIN   pg_stat_activity AS a ON a.pid = w.pid AND a.backend_start = w.backend_start
        WHERE  w.run = $1::bigint AND a.pid <> pg_backend_pid() AND a.state = 'idle in transaction'
          AND  (w.epoch < f.epoch OR w.heartbeat_at < clock_timestamp() - interval '15 seconds')
        """, [String(run)])
    } catch {
      guard error.sqlState?.code == "42501" else { throw error }
    }
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
