package import MigrateLedger
internal import MigratePostgres

/// Rows in quarantine.
extension Runs {
  /// How many rows of the run are in quarantine for which reason, the most frequent first.
  package borrowing func reasons(_ run: Int64) throws(RunRefusal) -> [RejectReason] {
    try asking { (connection) throws(PostgresError) in try Ledger.reasons(connection, run) }
  }

  /// Hands out the run's rows in quarantine page by page: however many there are, only a page of them is held.
  package borrowing func eachReject(
    of run: Int64, upTo limit: Int = .max, _ body: ([Reject]) -> Void
  ) throws(RunRefusal) {
    var told = 0
    while told < limit {
      let size = min(500, limit - told)
      let page = try asking { (connection) throws(PostgresError) in
        try Ledger.rejects(connection, run, limit: size, offset: told)
      }
      if !page.isEmpty { body(page) }
      told += page.count
      if page.count < size { return }
    }
  }
}
