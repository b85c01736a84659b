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
  /// needs to see that nobody is there, so the look takes up to `patience`. A backend whose last sign of life is old, or from the
  /// future, is looked at for as long as a client that lives needs for the next one: the clock may have jumped (P17).
  /// - Throws: ``TakeOverError/working(_:)`` when somebody works on it, `beaten` when another one was faster.
  package static func takeOver(
    _ connection: borrowing Connection, _ run: Int64, patience: Duration = .seconds(20)
  ) throws(TakeOverError) -> Int {
    let begun = ContinuousClock.now
    var first: String?
    // Looks from outside, one transaction each: behind a pooler of one connection a worker needs it to show that it lives.
    while true {
      let look: Look
      let isWatched = ContinuousClock.now - begun >= .seconds(5)
      do throws(PostgresError) { look = try self.look(connection, run, isWatched: isWatched) } catch {
        if !error.endsConnection { _ = try? connection.execute("ROLLBACK") }
        throw .database(error)
      }
      if let epoch = look.epoch { return epoch }
      guard let sign = look.sign else { throw .beaten }
      if first != nil && first != look.heartbeat { throw .working(sign) }
      if look.showsLife, ContinuousClock.now - begun >= patience { throw .working(sign) }
      first = look.heartbeat
      usleep(20_000)
    }
  }

  /// One look at who works on a run, which takes it over when nobody does.
  private struct Look {
    let epoch: Int?
    let sign: WorkerSign?
    let heartbeat: String?
    let showsLife: Bool
  }

  private static func look(
    _ connection: borrowing Connection, _ run: Int64, isWatched: Bool
  ) throws(PostgresError) -> Look {
    try connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL statement_timeout = 0")
    let row = try connection.query(
      """
      SELECT r.epoch, r.pid, r.client_host,
             (SELECT max(w.heartbeat_at) FROM migrate.workers AS w WHERE w.run = $1::bigint) AS heartbeat,
             migrate.is_working($1::bigint) AS shows_life
      FROM   migrate.relieve($1::bigint, interval '0', $2::boolean) AS r
      """, [String(run), isWatched ? "true" : "false"]
    ).onlyRow
    let host = try row["client_host"]
    let pid = try row.ifPresent("pid", row.int)
    let look = Look(
      epoch: try row.ifPresent("epoch", row.int), sign: pid.map { WorkerSign(pid: $0, host: host) },
      heartbeat: try row["heartbeat"], showsLife: try row.bool("shows_life"))
    try connection.execute("COMMIT")
    return look
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
