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
      "name = $1::text AND search_path = $2::text AND state NOT IN ('completed', 'cancelled', 'reverted')",
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
    try summaries(connection, "name = $1::text AND state NOT IN ('completed', 'cancelled', 'reverted')", [name]).first
  }

  /// The newest completed run of a definition, whatever its parameters.
  package static func completedRun(_ connection: borrowing Connection, name: String) throws(PostgresError)
    -> RunSummary?
  {
    try summaries(connection, "name = $1::text AND state = 'completed'", [name]).first
  }

  /// Unfinished runs that write, or walk, one of `tables`, which are spelled as in a plan.
  package static func unfinishedRuns(
    _ connection: borrowing Connection, over tables: [String]
  ) throws(PostgresError) -> [RunSummary] {
    let condition: StaticString = """
      state NOT IN ('completed', 'cancelled', 'reverted')
      AND EXISTS (SELECT FROM jsonb_array_elements(plan -> 'tables') AS t WHERE t ->> 'name' = ANY ($1::text[]))
      """
    return try summaries(connection, condition, [ArrayText.literal(tables)])
  }

  /// The newest run of a definition that is not taken back.
  package static func newestRun(_ connection: borrowing Connection, name: String) throws(PostgresError) -> RunSummary? {
    try summaries(connection, "name = $1::text AND state <> 'reverted'", [name]).first
  }

  package static func summary(_ connection: borrowing Connection, _ run: Int64) throws(PostgresError) -> RunSummary? {
    try summaries(connection, "run = $1::bigint", [String(run)]).first
  }

  private static func summaries(
    _ connection: borrowing Connection, _ condition: StaticString, _ arguments: [String?]
  ) throws(PostgresError) -> [RunSummary] {
    let rows = try connection.query(
      """
      SELECT run, name, identity, state, direction, definition_hash
      FROM   migrate.runs
      WHERE  \(condition)
      ORDER  BY run DESC
      """, arguments)
    var found: [RunSummary] = []
    for row in rows {
      found.append(
        RunSummary(
          id: try row.int64("run"), name: try row.text("name"), identity: try row.text("identity"),
          state: try state(row.text("state")), direction: RunDirection(rawValue: try row.text("direction")) ?? .apply,
          definitionHash: try row.text("definition_hash")))
    }
    return found
  }

  /// Of `names` those that have no completed run.
  package static func missing(
    _ connection: borrowing Connection, needs names: [String]
  ) throws(PostgresError) -> [String] {
    let rows = try connection.query(
      """
      SELECT n.name
      FROM   unnest($1::text[]) AS n(name)
      WHERE  NOT EXISTS (SELECT FROM migrate.runs AS r WHERE r.name = n.name AND r.state = 'completed')
      """, [ArrayText.literal(names)])
    return try rows.map { (row) throws(PostgresError) in try row.text(0) }
  }

  /// Definitions with a completed run that need the definition of `run`.
  package static func dependents(_ connection: borrowing Connection, of run: Int64) throws(PostgresError) -> [String] {
    let rows = try connection.query(
      """
      SELECT DISTINCT d.name
      FROM   migrate.runs AS r
      JOIN   migrate.runs AS d ON d.plan -> 'needs' ? r.name AND d.state = 'completed'
      WHERE  r.run = $1::bigint
        AND  NOT EXISTS (SELECT FROM migrate.runs AS o WHERE o.name = r.name AND o.run <> r.run AND o.state = 'completed')
      """, [String(run)])
    return try rows.map { (row) throws(PostgresError) in try row.text(0) }
  }

  /// Runs that wrote a column that `run` wrote, and came after it: what it would put back is under theirs.
  package static func laterRuns(_ connection: borrowing Connection, than run: Int64) throws(PostgresError)
    -> [RunSummary]
  {
    try overlapping(
      connection,
      "o.run > r.run AND o.state <> 'reverted' AND EXISTS (SELECT FROM migrate.batches AS b WHERE b.run = o.run)",
      "r.run = $1::bigint", [String(run)])
  }

  /// Unfinished runs of other definitions that write a column that `run` writes too.
  package static func concurrentRuns(_ connection: borrowing Connection, with run: Int64) throws(PostgresError)
    -> [RunSummary]
  {
    try overlapping(
      connection, "o.run <> r.run AND o.state NOT IN ('completed', 'cancelled', 'reverted')", "r.run = $1::bigint",
      [String(run)])
  }

  private static func overlapping(
    _ connection: borrowing Connection, _ others: StaticString, _ condition: StaticString, _ arguments: [String?]
  ) throws(PostgresError) -> [RunSummary] {
    let rows = try connection.query(
      """
      SELECT DISTINCT o.run
      FROM   migrate.runs AS r
      CROSS  JOIN LATERAL jsonb_array_elements(r.plan -> 'steps')       AS mine(step)
      CROSS  JOIN LATERAL jsonb_array_elements(mine.step -> 'columns')  AS my(col)
      JOIN   migrate.runs AS o ON \(others)
      CROSS  JOIN LATERAL jsonb_array_elements(o.plan -> 'steps')       AS theirs(step)
      CROSS  JOIN LATERAL jsonb_array_elements(theirs.step -> 'columns') AS their(col)
      WHERE  \(condition)
        AND  theirs.step -> 'table' = mine.step -> 'table'
        AND  their.col -> 'name' = my.col -> 'name'
      ORDER  BY o.run
      """, arguments)
    var found: [RunSummary] = []
    for row in rows {
      if let summary = try summary(connection, try row.int64(0)) { found.append(summary) }
    }
    return found
  }
}

extension Ledger {
  /// What has become of the tables and columns that a revert of `run` has to write, where it is not what it was.
  package static func changedColumns(_ connection: borrowing Connection, of run: Int64) throws(PostgresError)
    -> [String]
  {
    let rows = try connection.query(
      """
      SELECT CASE WHEN to_regclass(t.item ->> 'name') IS NULL THEN format('table %s is gone', t.item ->> 'name')
                  WHEN a.attnum IS NULL THEN format('column %s is gone', c.item ->> 'name')
                  ELSE format('column %s is %s, was %s', c.item ->> 'name', format_type(a.atttypid, a.atttypmod), c.item ->> 'type') END
      FROM   migrate.runs AS r
      CROSS  JOIN LATERAL jsonb_array_elements(r.plan -> 'tables') AS t(item)
      CROSS  JOIN LATERAL jsonb_array_elements(t.item -> 'columns') AS c(item)
      LEFT   JOIN pg_attribute AS a
             ON  a.attrelid = to_regclass(t.item ->> 'name')
             AND a.attname = (c.item ->> 'name') COLLATE "C"
             AND NOT a.attisdropped
      WHERE  r.run = $1::bigint
        AND  (a.attnum IS NULL OR a.atttypid::bigint <> (c.item ->> 'type_oid')::bigint)
      """, [String(run)])
    return try rows.map { (row) throws(PostgresError) in try row.text(0) }
  }
}
