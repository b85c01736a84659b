internal import MigrateCompiler
internal import MigrateDiagnostics
internal import MigratePostgres
internal import MigrateSQL

/// The types of the expressions, and what the planner has against them.
extension Inquiry {
  mutating func describe(_ connection: borrowing Connection, _ probes: [Probe]) throws(PostgresError) {
    try begin(connection, zone: knownZone)
    for probe in probes {
      do throws(PostgresError) {
        let columns = try connection.describe(probe.sql.text)
        understood.append(probe)
        if let assignment = probe.assignment, let column = columns.first {
          types[assignment] = DescribedType(oid: Int(column.type), modifier: Int(column.modifier))
        }
      } catch {
        try refuse(error, in: probe.sql, connection)
      }
    }
    try connection.execute("COMMIT")
  }

  /// What only the planner finds, of each expression by itself: where one thing is wrong already, the whole statement cannot be
  /// planned, and would tell one thing more at a time.
  mutating func explainEach(_ connection: borrowing Connection, _ resolution: Resolution) throws(PostgresError) {
    try begin(connection, zone: knownZone)
    for probe in understood {
      guard let sql = resolution.alone(probe, probe.assignment.flatMap { types[$0] }) else { continue }
      do throws(PostgresError) { try connection.query(Self.explain + sql.text, arguments(of: sql)) } catch {
        try refuse(error, in: sql, behind: Self.explain, connection)
      }
    }
    try connection.execute("COMMIT")
  }

  private mutating func refuse(
    _ error: PostgresError, in sql: RenderedSQL, behind prefix: String = "", _ connection: borrowing Connection
  ) throws(PostgresError) {
    if error.origin != .server || error.endsConnection { throw error }
    problems.append(Diagnostic(error, in: sql, behind: prefix, of: definition, catalog))
    try connection.execute("ROLLBACK")
    try begin(connection, zone: knownZone)
  }
}
