package import MigrateLedger
internal import MigratePostgres

extension Runs {
  /// Checks coverage, counts and `checks: after` of a run once more; it only reads.
  ///
  /// Every batch begins where the one before ended, and the last one at the upper end; rows read are changed, unchanged or
  /// rejected; nothing is left behind; the checks find nothing. Rows that were edited since are told, since a revert would
  /// meet them as conflicts.
  package borrowing func verify(_ run: Int64) throws(RunRefusal) -> Verification {
    try upgrade()
    guard let found = try asking({ (connection) throws(PostgresError) in try Ledger.summary(connection, run) }) else {
      throw .refused("there is no run \(run)", remedy: "the runs: `migrate history`")
    }
    return try asking { (connection) throws(PostgresError) in try Ledger.verify(connection, found.id) }
  }
}
