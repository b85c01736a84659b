package import MigrateLedger
internal import MigrateDiagnostics
internal import MigratePostgres
package import MigrateRunner
internal import MigrateSQL

/// Rows in quarantine: looked at, mended, and tried again.
extension Runs {
  /// How many rows of the run wait in quarantine, and for which reasons, the most frequent first.
  ///
  /// - Parameter all: those that are resolved or reverted, too.
  package borrowing func reasons(
    _ run: Int64, all: Bool = false
  ) throws(RunRefusal) -> (rows: Int, reasons: [RejectReason]) {
    try asking { (connection) throws(PostgresError) in try Ledger.reasons(connection, run, all: all) }
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

  /// Sets columns of the rows that wait in the run's quarantine, and keeps what they held, for a revert of the run.
  ///
  /// - Parameter assignments: `SET email = lower(email)`.
  /// - Returns: the number of rows; one that is gone is not among them.
  package borrowing func fix(_ summary: RunSummary, _ assignments: String) throws(RunRefusal) -> Int {
    try upgrade()
    let list: SetList
    do throws(SQLDiagnostics) { list = try SetList.parse(SourceFragment(verbatim: assignments, at: 0)) } catch {
      let first = error.all.first
      throw .usage("--fix: \(first?.message ?? "no SQL")", remedy: first?.remedy ?? "`SET column = expression`")
    }
    let run = try mendable(summary)
    guard run.undoReason == nil else {
      throw .refused(
        "run \(run.id) keeps no values, so it could not take back what is mended",
        remedy: "mend the rows by UPDATE, then `migrate apply --rejects \(run.id)`")
    }
    try refuseUnknown(list.columns.map(\.name), of: run.id)
    let epoch = try takeOver(run.id)
    return try asking { (connection) throws(PostgresError) -> Result<Int, Unfixable> in
      let settings = try run.statement(.batches, .settings).text
      try connection.execute(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; \(settings); SELECT migrate.hold(\(run.id)); SET LOCAL lock_timeout = '5s'"
      )
      let columns = ArrayText.literal(list.columns.map(\.name))
      let why = try connection.query(
        "SELECT migrate.unfixable($1::bigint, $2::text[]) AS why", [String(run.id), columns]
      ).onlyRow["why"]
      if let why {
        try connection.execute("ROLLBACK")
        return .failure(
          Unfixable(why: why, remedy: "set other columns of the rows; the key stays what it is"))
      }
      let rows = try connection.query(
        "SELECT migrate.fix($1::bigint, $2::text, $3::text[]) AS rows", [String(run.id), list.text, columns]
      ).onlyRow.int("rows")
      try connection.execute("SELECT migrate.confirm(\(run.id))")
      let fence = try connection.query(
        "SELECT FROM migrate.fence WHERE run = $1::bigint AND epoch = $2::integer FOR SHARE",
        [String(run.id), String(epoch)])
      guard !fence.isEmpty else {
        try connection.execute("ROLLBACK")
        return .failure(
          Unfixable(
            why: "somebody else has just taken run \(run.id) over",
            remedy: "nothing has been mended; `migrate status \(run.id)` shows who works on it"))
      }
      try connection.execute("COMMIT")
      return .success(rows)
    }.mended()
  }

  /// A column that the run's table does not have; a table that is gone says so itself.
  private borrowing func refuseUnknown(_ columns: [String], of run: Int64) throws(RunRefusal) {
    let found = try asking { (connection) throws(PostgresError) in
      try connection.query(
        """
        SELECT a.attname, format('%s.%I', c.relnamespace::regnamespace, c.relname) AS of
        FROM   migrate.runs AS r
        JOIN   pg_class     AS c ON c.oid = to_regclass(r.plan #>> '{tables,0,name}')
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

  /// Tries the rows that wait in the run's quarantine once more, under the run's own plan.
  package borrowing func retry(
    _ summary: RunSummary, reason: String? = nil, control: RunControl, report: @escaping @Sendable (RunEvent) -> Void
  ) throws(RunRefusal) -> RetryOutcome {
    try upgrade()
    _ = try mendable(summary)
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
    } catch { throw .database(error) }
  }

  /// The run, when its rows in quarantine are its own to change: nobody takes it back.
  private borrowing func mendable(_ summary: RunSummary, _ taken: Run? = nil) throws(RunRefusal) -> Run {
    var run = taken
    if run == nil {
      run = try asking { (connection) throws(PostgresError) in try Ledger.run(connection, summary.id) }
    }
    guard let run, run.direction == .apply else {
      throw .refused(
        "run \(summary.id) is \(summary.state == .reverted ? "taken back" : "being taken back")",
        remedy: "`migrate apply \(summary.name)` runs it anew")
    }
    return run
  }
}

/// Why no row was mended.
private struct Unfixable: Error {
  let why: String
  let remedy: String
}

extension Result<Int, Unfixable> {
  fileprivate func mended() throws(RunRefusal) -> Int {
    switch self {
    case .success(let rows): return rows
    case .failure(let problem):
      throw .refused("--fix: \(problem.why)", remedy: problem.remedy)
    }
  }
}
