internal import MigrateDiagnostics
package import MigrateLedger
internal import MigratePostgres
internal import MigrateRunner
internal import MigrateSQL

/// What shall become of rows in quarantine, as it was asked for and parsed.
package struct Mending: Sendable {
  let list: SetList
  /// Which of them; `nil` is all.
  let condition: String?
  let reason: String?

  /// - Parameters:
  ///   - assignments: `SET email = lower(email)`.
  ///   - condition: SQL over a row of the table: `email LIKE '% %'`.
  package init(
    _ assignments: String, where condition: String? = nil, reason: String? = nil
  ) throws(RunRefusal) {
    do throws(SQLDiagnostics) { list = try SetList.parse(SourceFragment(verbatim: assignments, at: 0)) } catch {
      let first = error.all.first
      throw .usage("--fix: \(first?.message ?? "no SQL")", remedy: first?.remedy ?? "`SET column = expression`")
    }
    self.condition = try condition.map { (text) throws(RunRefusal) in try Self.parsed(text) }
    self.reason = reason
  }

  private static func parsed(_ condition: String) throws(RunRefusal) -> String {
    let example = "a condition over a row of the table, for instance `--where \"email LIKE '% %'\"`"
    let expression: SQLExpression
    do throws(SQLDiagnostics) {
      expression = try SQLExpression.parse(SourceFragment(verbatim: condition, at: 0))
    } catch {
      throw .usage("--where: \(error.all.first?.message ?? "no SQL")", remedy: error.all.first?.remedy ?? example)
    }
    guard let parameter = expression.parameters.first else { return expression.text }
    throw .usage("--where: :\(parameter.name.name) is a parameter, and there are none here", remedy: example)
  }
}

/// How many rows are meant.
package struct MendableRows: Sendable, Equatable {
  package let meant: Int
  /// All that wait in quarantine.
  package let waiting: Int
}

extension Runs {
  /// How many rows would be mended, of how many; a row that is gone waits, and is not meant.
  package borrowing func mendable(_ summary: RunSummary, _ mending: Mending) throws(RunRefusal) -> MendableRows {
    try upgrade()
    let run = try mendable(summary)
    let waiting = try reasons(run.id).rows
    guard waiting > 0 else { return MendableRows(meant: 0, waiting: 0) }
    try refuse(mending, of: run)
    guard mending.condition != nil else { return MendableRows(meant: waiting, waiting: waiting) }
    let meant = try judging(mending, of: run) { (connection) throws(PostgresError) in
      try Self.begin(connection, run)
      let rows = try connection.query(
        "SELECT migrate.fixable($1::bigint, $2::text) AS rows", [String(run.id), mending.condition])
      try connection.execute("ROLLBACK")
      return try rows.onlyRow.int("rows")
    }
    return MendableRows(meant: meant, waiting: waiting)
  }

  /// Sets columns of the rows that wait in the run's quarantine, keeps what they held, for a revert of the run, and notes who asked
  /// for it.
  ///
  /// - Returns: the number of rows; one that is gone is not among them.
  package borrowing func fix(_ summary: RunSummary, _ mending: Mending) throws(RunRefusal) -> Int {
    try upgrade()
    let run = try mendable(summary)
    try refuse(mending, of: run)
    let epoch = try takeOver(run.id)
    let mended = try judging(mending, of: run) { (connection) throws(PostgresError) -> Int? in
      try Self.begin(connection, run)
      let rows = try connection.query(
        "SELECT migrate.fix($1::bigint, $2::text, $3::text[], $4::text, $5::text, $6::text) AS rows",
        [
          String(run.id), mending.list.text, ArrayText.literal(mending.list.columns.map(\.name)), mending.condition,
          mending.reason, Worker.hostName,
        ]
      ).onlyRow.int("rows")
      try connection.execute("SELECT migrate.confirm(\(run.id))")
      let fence = try connection.query(
        """
        SELECT FROM migrate.fence AS f
        -- Whoever has worked on it until now can have begun to take it back.
        JOIN   migrate.runs AS r USING (run)
        WHERE  f.run = $1::bigint AND f.epoch = $2::integer AND r.direction = 'apply'
        FOR    SHARE OF f
        """, [String(run.id), String(epoch)])
      try connection.execute(fence.isEmpty ? "ROLLBACK" : "COMMIT")
      return fence.isEmpty ? nil : rows
    }
    guard let mended else {
      throw .refused(
        "--fix: somebody else has just taken run \(run.id) over",
        remedy: "nothing has been mended; `migrate status \(run.id)` shows who works on it")
    }
    return mended
  }

  /// In the settings of the plan, which decide about the meaning of names; the table stays what it is. What is committed is not taken
  /// back by a crash, as a batch may be, which is done again then.
  private static func begin(_ connection: borrowing Connection, _ run: Run) throws(PostgresError) {
    let settings = try run.statement(.batches, .settings).text
    try connection.execute(
      "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; \(settings); SELECT migrate.guard_table(\(run.id)); "
        + "SET LOCAL lock_timeout = '5s'; SET LOCAL synchronous_commit = DEFAULT"
    )
  }

  /// Somebody else writes what is to be mended.
  private static func locked(_ run: Run) -> RunRefusal {
    .refused(
      "--fix: somebody holds a lock on rows in the quarantine of run \(run.id), or on their table",
      remedy: "nothing has been mended; try again when that transaction has ended")
  }

  /// What the database says of a condition or an assignment that cannot be meant is told of that.
  private borrowing func judging<Value>(
    _ mending: Mending, of run: Run, _ body: (borrowing Connection) throws(PostgresError) -> Value
  ) throws(RunRefusal) -> Value {
    do throws(RunRefusal) { return try asking(body) } catch {
      guard case .database(let refusal) = error else { throw error }
      if refusal.sqlState == .lockNotAvailable { throw Self.locked(run) }
      switch refusal.sqlState?.family {
      case "22", "23": throw .database(refusal.hinting(Self.remedy(for: refusal)))
      case "42" where refusal.sqlState != .insufficientPrivilege:
        throw .usage(
          "\(mending.condition == nil ? "--fix" : "--fix or --where"): \(refusal.message)",
          remedy: Self.ofColumns(refusal.hint)
            ?? "nothing has been mended; names and types are those of the run's table")
      default: throw error
      }
    }
  }

  /// Of a value that the table does not take.
  private static func remedy(for refusal: PostgresError) -> String {
    let judge = refusal.constraint.map { "constraint \($0)" } ?? refusal.column.map { "column \($0)" } ?? "the column"
    return "nothing has been mended; set a value that \(judge) takes, or say by `--where` which rows shall get this one"
  }

  /// A hint of the server about names; that the table is called `t` in its statement nobody has asked for.
  private static func ofColumns(_ hint: String?) -> String? {
    guard let hint else { return nil }
    if hint.contains("\"t\"") { return "nothing has been mended; a column stands by itself, without its table: `age`" }
    return hint.replacing("\"t.", with: "\"")
  }

  /// What cannot be taken back, or cannot be set.
  private borrowing func refuse(_ mending: Mending, of run: Run) throws(RunRefusal) {
    guard run.undoReason == nil else {
      throw .refused(
        "run \(run.id) keeps no values, so it could not take back what is mended",
        remedy: "mend the rows by UPDATE, then `migrate apply --rejects \(run.id)`")
    }
    let columns = mending.list.columns.map(\.name)
    try refuseUnknown(columns, of: run.id)
    let why = try asking { (connection) throws(PostgresError) in
      try connection.query(
        "SELECT migrate.unfixable($1::bigint, $2::text[]) AS why", [String(run.id), ArrayText.literal(columns)]
      ).onlyRow["why"]
    }
    if let why { throw .usage("--fix: \(why)", remedy: "set other columns of the rows; the key stays what it is") }
    try refuseCovered(run.id, by: columns)
  }

  /// A column that the run's table does not have; a table that is gone says so itself.
  private borrowing func refuseUnknown(_ columns: [String], of run: Int64) throws(RunRefusal) {
    let found = try asking { (connection) throws(PostgresError) in
      try connection.query(
        """
        SELECT a.attname, format('%s.%I', c.relnamespace::regnamespace, c.relname) AS of
        FROM   migrate.runs AS r
        JOIN   pg_class     AS c ON c.oid = to_regclass(r.outline #>> '{tables,0,name}')
        JOIN   pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE  r.run = $1::bigint
        ORDER  BY a.attnum
        """, [String(run)]
      ).map { (row) throws(PostgresError) in (name: try row.text("attname"), table: try row.text("of")) }
    }
    guard let table = found.first?.table else { return }
    let known = found.map(\.name)
    for column in columns where !known.contains(where: { $0.utf8.elementsEqual(column.utf8) }) {
      throw .usage(
        "--fix: table \(table) has no column \"\(column)\"",
        remedy: Suggestion.nearest(to: column, among: known).map { "did you mean `\($0)`?" }
          ?? "the columns are \(known.joined(separator: ", "))")
    }
  }
}
