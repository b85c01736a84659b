package import MigratePostgres

/// A run in a line, as it is looked for before something is done with it.
package struct RunSummary: Sendable, Equatable {
  package let id: Int64
  package let name: String
  package let identity: String
  package let state: RunState
  package let direction: RunDirection
  package let definitionHash: String
}

extension Ledger {
  /// The unfinished run of a definition; there is at most one.
  package static func activeRun(
    _ connection: borrowing Connection, name: String, searchPath: String
  ) throws(PostgresError) -> RunSummary? {
    try summaries(
      connection,
      "name = $1::text AND search_path = $2::text AND state NOT IN (\(RunState.ended))",
      [name, searchPath]
    ).first
  }

  /// The newest run that has completed the same work and is not taken back.
  package static func completedRun(
    _ connection: borrowing Connection, identity: String
  ) throws(PostgresError) -> RunSummary? {
    try summaries(connection, "identity = $1::text AND state = 'completed'", [identity]).first
  }

  /// The newest unfinished run of a definition, whatever its search path.
  package static func unfinishedRun(_ connection: borrowing Connection, name: String) throws(PostgresError)
    -> RunSummary?
  {
    try summaries(connection, "name = $1::text AND state NOT IN (\(RunState.ended))", [name]).first
  }

  /// The newest completed run of a definition, whatever its parameters.
  package static func completedRun(_ connection: borrowing Connection, name: String) throws(PostgresError)
    -> RunSummary?
  {
    try summaries(connection, "name = $1::text AND state = 'completed'", [name]).first
  }

  /// Unfinished runs that write, or walk, rows of one of `tables`, which are spelled as in a plan.
  package static func unfinishedRuns(
    _ connection: borrowing Connection, over tables: [String]
  ) throws(PostgresError) -> [RunSummary] {
    let condition = """
      state NOT IN (\(RunState.ended))
      AND EXISTS (SELECT FROM jsonb_array_elements(plan -> 'tables') AS t, unnest($1::text[]) AS o(name)
                  WHERE migrate.shares_rows(t ->> 'name', o.name))
      """
    return try summaries(connection, condition, [ArrayText.literal(tables)])
  }

  /// The newest run of a definition that is not taken back, else the newest that is.
  package static func newestRun(_ connection: borrowing Connection, name: String) throws(PostgresError) -> RunSummary? {
    let live = try summaries(connection, "name = $1::text AND state <> 'reverted'", [name])
    return try live.isEmpty ? summaries(connection, "name = $1::text", [name]).first : live.first
  }

  package static func summary(_ connection: borrowing Connection, _ run: Int64) throws(PostgresError) -> RunSummary? {
    try summaries(connection, "run = $1::bigint", [String(run)]).first
  }

  private static func summaries(
    _ connection: borrowing Connection, from source: String = "migrate.runs", _ condition: String,
    _ arguments: [String?]
  ) throws(PostgresError) -> [RunSummary] {
    let rows = try connection.query(
      """
      SELECT run, name, identity, state, direction, definition_hash
      FROM   \(source)
      WHERE  \(condition)
      ORDER  BY run DESC
      """, arguments)
    var found: [RunSummary] = []
    for row in rows {
      found.append(
        RunSummary(
          id: try row.int64("run"), name: try row.text("name"), identity: try row.text("identity"),
          state: try state(row.text("state")), direction: try direction(row.text("direction")),
          definitionHash: try row.text("definition_hash")))
    }
    return found
  }

  /// Of `names` those that have no completed run, or whose newest one has rows in quarantine.
  package static func missing(
    _ connection: borrowing Connection, needs names: [String]
  ) throws(PostgresError) -> [UnmetNeed] {
    try connection.query(
      "SELECT name, run, rejects FROM migrate.missing($1::text[])", [ArrayText.literal(names)]
    ).map { (row) throws(PostgresError) in
      UnmetNeed(name: try row.text("name"), run: try row.ifPresent("run", row.int64), rejects: try row.int("rejects"))
    }
  }

  /// Definitions with a completed run that need the definition of `run`.
  package static func dependents(_ connection: borrowing Connection, of run: Int64) throws(PostgresError) -> [String] {
    try texts(connection, "SELECT * FROM migrate.dependents($1::bigint)", String(run))
  }

  /// Runs that wrote a column that `run` wrote, or one of `columns`, and came after it, the newest first: what it would put back is
  /// under theirs.
  package static func laterRuns(
    _ connection: borrowing Connection, than run: Int64, writing columns: [String]? = nil
  ) throws(PostgresError) -> [RunSummary] {
    try summaries(
      connection, from: "migrate.later_runs($1::bigint, $2::text[])", "true",
      [String(run), columns.map(ArrayText.literal)])
  }

  /// Unfinished runs of other definitions that write a column that `run` writes too.
  package static func concurrentRuns(_ connection: borrowing Connection, with run: Int64) throws(PostgresError)
    -> [RunSummary]
  {
    try summaries(connection, from: "migrate.concurrent_runs($1::bigint)", "true", [String(run)])
  }

  /// Whether old values are needed to take `run` back that are no longer there.
  package static func lacksUndo(_ connection: borrowing Connection, _ run: Int64) throws(PostgresError) -> Bool {
    try connection.query(
      """
      SELECT NOT migrate.has_undo($1::bigint) AND EXISTS (SELECT FROM migrate.next_to_restore($1::bigint)) AS lacks
      """, [String(run)]
    ).onlyRow.bool("lacks")
  }

  /// What has become of the tables and columns that a revert of `run` has to write, where it is not what it was.
  package static func changedColumns(_ connection: borrowing Connection, of run: Int64) throws(PostgresError)
    -> [String]
  {
    try texts(connection, "SELECT * FROM migrate.changed_columns($1::bigint)", String(run))
  }

  /// What has become of the order of the key that `plan` walks, and how to mend it: its index was built with another version of
  /// a collation than the library gives now. Empty when nothing has.
  package static func movedCollations(
    _ connection: borrowing Connection, of plan: String
  ) throws(PostgresError) -> [MovedCollation] {
    try movedCollations(connection, "migrate.moved_collations($1::jsonb, '{}')", plan)
  }

  /// The same of a run; while it is applied also when the version is another one than when it began (K09).
  package static func movedCollations(
    _ connection: borrowing Connection, of run: Int64, applying: Bool
  ) throws(PostgresError) -> [MovedCollation] {
    try movedCollations(
      connection,
      """
      migrate.runs AS r, migrate.moved_collations(r.plan, \(applying ? "r.collations" : "'{}'")) AS m WHERE r.run = $1::bigint
      """, String(run))
  }

  private static func movedCollations(
    _ connection: borrowing Connection, _ source: String, _ argument: String
  ) throws(PostgresError) -> [MovedCollation] {
    try connection.query("SELECT moved, cure FROM \(source)", [argument]).map { (row) throws(PostgresError) in
      MovedCollation(moved: try row.text("moved"), cure: try row.text("cure"))
    }
  }

  private static func texts(
    _ connection: borrowing Connection, _ question: String, _ argument: String
  ) throws(PostgresError) -> [String] {
    try connection.query(question, [argument]).map { (row) throws(PostgresError) in try row.text(0) }
  }
}

/// A definition that another one needs and that is not complete.
package struct UnmetNeed: Sendable, Equatable {
  package let name: String
  /// Its newest completed run, which has rows in quarantine; `nil` when there is none.
  package let run: Int64?
  /// How many.
  package let rejects: Int

  fileprivate init(name: String, run: Int64?, rejects: Int) {
    (self.name, self.run, self.rejects) = (name, run, rejects)
  }

  /// Of a definition that has never run.
  package init(name: String) { self.init(name: name, run: nil, rejects: 0) }
}

/// A collation whose library has changed since a key's index was built with it.
package struct MovedCollation: Sendable {
  /// Which, and between which versions.
  package let moved: String
  /// SQL that makes the index right again.
  package let cure: String
}

/// A transaction that holds a write lock on the source of a run.
package struct LockHolder: Sendable, Equatable {
  /// Its backend; `nil` for a prepared transaction, which has none.
  package let pid: Int?
  package let application: String?
  /// How long it has been open; `nil` where the role may not see that.
  package let seconds: Double?
  /// All of it in words.
  package let words: String
}

extension Ledger {
  /// Who has these transactions open.
  package static func holders(
    _ connection: borrowing Connection, of transactions: [String]
  ) throws(PostgresError) -> [LockHolder] {
    let rows = try connection.query(
      "SELECT pid, application_name, seconds, words FROM migrate.holders($1::text[])", [ArrayText.literal(transactions)]
    )
    var holders: [LockHolder] = []
    for row in rows {
      holders.append(
        LockHolder(
          pid: try row.ifPresent("pid", row.int), application: try row["application_name"],
          seconds: try row.ifPresent("seconds", row.double), words: try row.text("words")))
    }
    return holders
  }
}
