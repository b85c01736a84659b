internal import MigrateCatalog
internal import MigratePlan
internal import MigrateSQL

/// Events, which are facts: a revert leaves them. With `on_revert` it repeats each one with other values in some columns.
extension ResolvedStep {
  /// The columns of an event that a revert repeats as they were; `nil` where it repeats nothing.
  var repeated: [Column]? {
    guard case .emit(_, let assignments, let back) = verb, !back.isEmpty else { return nil }
    return assignments.map(\.column).filter { column in !back.contains { $0.column.number == column.number } }
  }

  /// What is kept of the events of each batch; `nil` where nothing is.
  func eventTable(hasLZ4: Bool) -> Statement? {
    guard let repeated else { return nil }
    let compression: SQL = hasLZ4 ? " COMPRESSION lz4" : ""
    let columns: [SQL] =
      ["slice integer", "ordinal integer", "part integer", "events bigint NOT NULL"]
      + repeated.map { "\(Name.new($0)) \($0.element(step: number))[]\(compression)" } + [
        "PRIMARY KEY (slice, ordinal, part)"
      ]
    return Statement(
      .undoTable, step: number, why: "the events of a batch, for a revert to repeat them",
      "CREATE TABLE \(Name.undo(number)) (\(lines: columns))")
  }

  func emit(
    _ table: Table, _ assignments: [ResolvedAssignment], _ back: [RevertedValue], _ batch: ResolvedBatch
  ) -> Statement {
    let tables = batch.tables(of: self, reading(batch))
    guard let repeated else {
      return Statement(
        .change, step: number, why: "there when the batch commits, or not at all", "WITH \(tables)\n\(plainly(batch))")
    }
    let alias = Identifier(trusted: "a")
    let returned: [SQL] = repeated.map { "\($0.plain(of: alias)) AS \(Name.new($0))" }
    return Statement(
      .change, step: number, why: "there when the batch commits, or not at all; kept, since a revert repeats them",
      """
      WITH \(tables), added AS (
        \(insertion("\(table.name) AS \(alias)", assignments, orderedBy: batch.key))
        RETURNING \(lines: returned.isEmpty ? ["true"] : returned)
      )
      INSERT INTO \(Name.undo(number)) (slice, ordinal, part, events\(SQL.joined(repeated.map { ", \(Name.new($0))" }, by: "")))
      SELECT \(lines: [ResolvedBatch.placeValues, "count(*)"] + gathered(Name.new, repeated))
      FROM   added AS s
      """)
  }

  /// The same under `force`: nobody's rows are in the way of an event.
  var eventsBack: [Statement] {
    let text: SQL
    switch verb {
    case .emit(let table, _, let back):
      guard let repeated else { return [] }
      let rows: SQL =
        repeated.isEmpty
        ? "generate_series(1, b.events)"
        : "unnest(\(list: repeated.map { "b.\(Name.new($0))" })) AS d(\(list: repeated.map { Name.new($0) }))"
      text = """
        INSERT INTO \(table.name) (\(list: (repeated + back.map(\.column)).map { "\($0.name)" }))
        SELECT \(list: repeated.map { "d.\(Name.new($0))" } + back.map(\.value))
        FROM   \(lines: ["\(Name.undo(number)) AS b", rows])
        WHERE  \(ResolvedBatch.placeRead)
        """
    case .notify(let channel, _, let back?):
      text = """
        SELECT pg_notify(\(Literal(channel)), \(back))
        FROM   \(Name.image) AS b
        WHERE  \(ResolvedBatch.placeRead)
          AND  b.rows_read > 0
        """
    case .update, .insert, .delete, .notify: return []
    }
    return [Statement.Name.restore, .restoreForced].map {
      Statement($0, step: number, why: "the events of the batch once more, as what takes them back", text)
    }
  }
}
