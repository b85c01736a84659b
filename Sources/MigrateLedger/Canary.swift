package import MigratePostgres

/// What stands between a canary and the rest of its run.
package enum CanaryStanding: String, Sendable {
  /// Nothing: the rest may be done.
  case over
  /// The run holds, or something else was asked of it; the edge tells.
  case holds
  /// The run was paused for it.
  case paused
}

extension Ledger {
  /// Makes a run hold or pause whose canary is done, unless that is over.
  package static func heedCanary(
    _ connection: borrowing Connection, _ run: Run, worker: Int
  ) throws(PostgresError) -> CanaryStanding {
    let word = try connection.query(
      "SELECT migrate.heed_canary($1::bigint, $2::integer, $3::integer) AS standing",
      [String(run.id), String(worker), String(run.epoch)]
    ).onlyRow.text("standing")
    guard let standing = CanaryStanding(rawValue: word) else { throw .unreadable("canary \(word)") }
    return standing
  }

  /// Whether the run stands still behind its canary.
  package static func waitsBehindCanary(
    _ connection: borrowing Connection, _ run: Int64
  ) throws(PostgresError) -> Bool {
    try connection.query(
      "SELECT EXISTS (SELECT FROM migrate.canary_done($1::bigint)) AS waits", [String(run)]
    ).onlyRow.bool("waits")
  }
}
