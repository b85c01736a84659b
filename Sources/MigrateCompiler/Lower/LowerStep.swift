internal import MigrateCatalog
internal import MigratePlan
internal import MigrateSQL

/// One write of a batch: what it keeps, and what it does.
extension ResolvedStep {
  /// The columns that undo keeps, besides the key.
  var kept: [Column] {
    switch verb {
    case .update(let table, _, let assignments): assignments.map(\.column) + table.rewritten
    case .delete(let table, _): table.otherColumns
    case .insert, .emit, .notify: []
    }
  }

  /// What its undo table has of a row besides the key.
  var images: [SQL] {
    switch verb {
    case .update: kept.flatMap { [Name.old($0), Name.new($0)] }
    case .delete: kept.map { Name.old($0) }
    case .insert(let table, _, _): table.comparedColumns.isEmpty ? [] : [Name.digest(number)]
    case .emit, .notify: []
    }
  }

  /// Whether the number of rows that the change has written tells that they are those which are kept.
  func tellsWritten(_ batch: ResolvedBatch) -> Bool {
    switch verb {
    case .insert:
      switch batch.addition(of: self) {
      case .foreseen, .moved: true
      case .returned: false
      }
    case .delete(let table, let match): isOwn(table, match, batch)
    case .update, .emit, .notify: false
    }
  }

  /// Whether it removes the batch's own rows, finds them by their range, and they are kept with it.
  func isOwn(_ table: WrittenTable, _ match: Match, _ batch: ResolvedBatch) -> Bool {
    match.isOwn && table.rewritten.isEmpty && batch.rowsByThemselves(before: number) == .ranged
  }

  func undoTable(_ table: WrittenTable, _ batch: ResolvedBatch) -> Statement {
    let compression: SQL = batch.hasLZ4 ? " COMPRESSION lz4" : ""
    let keys: [SQL] = table.key.enumerated().map { "\(Name.key($0)) \($1.base)[]\(compression)" }
    let images: [SQL] = kept.flatMap { column -> [SQL] in
      let type = column.element(step: number)
      let (old, new): (SQL, SQL) = (
        "\(Name.old(column)) \(type)[]\(compression)", "\(Name.new(column)) \(type)[]\(compression)"
      )
      switch verb {
      case .update: return [old, new]
      case .delete: return [old]
      case .insert, .emit, .notify: return []
      }
    }
    var digest: [SQL] = []
    if case .insert = verb, !table.comparedColumns.isEmpty {
      digest = ["\(Name.digest(number)) bigint[]\(compression)"]
    }
    let columns: [SQL] =
      ["slice integer", "ordinal integer", "part integer"] + keys + images + digest
      + (countsMatches ? ["doubled bigint"] : []) + batch.putRight(table, self).columns
      + ["exact boolean", "PRIMARY KEY (slice, ordinal, part)"]
    return Statement(
      .undoTable, step: number,
      why: "a row a batch, an array a column; never the table's own row type, which would forbid DDL",
      "CREATE TABLE \(Name.undo(number)) (\(lines: columns))")
  }

  /// Whether a row of the table can be meant twice, which only the rows tell.
  private var countsMatches: Bool {
    guard case .update(_, let match, _) = verb else { return false }
    return !match.isSingle
  }

  func statements(_ batch: ResolvedBatch) -> [Statement] {
    switch verb {
    case .update(let table, let match, let assignments):
      [
        capture(table, match, assignments, batch, locked: false),
        capture(table, match, assignments, batch, locked: true),
      ]
        + (match.isSingle ? [] : [doubled(table)]) + [change(table, assignments)]
    case .insert(let table, let assignments, _):
      lockOfMoved(batch) + [insert(table, assignments, batch)] + sequences(table, assignments)
    case .delete(let table, let match): [delete(table, match, batch)]
    case .emit(let table, let assignments, let back): [emit(table, assignments, back, batch)]
    case .notify:
      [
        Statement(
          .change, step: number, why: "sent when the batch commits, or not at all",
          "WITH \(batch.tables(of: self, reading(batch)))\n\(plainly(batch))")
      ]
    }
  }

  /// Columns as an array can hold them, of what a query calls `s`.
  func gathered(_ names: (Column) -> SQL, _ columns: [Column]) -> [SQL] {
    columns.map { column in
      let value: SQL = "s.\(names(column))"
      return column.isWrapped
        ? "array_agg(CAST(ROW(\(value)) AS \(Name.wrapper(number, column))))" : "array_agg(\(value))"
    }
  }

  func keys(_ table: WrittenTable) -> [SQL] {
    zip(table.keyColumns, table.key).enumerated().map { index, pair in
      pair.1.isDomain ? "CAST(\(pair.0) AS \(pair.1.base)) AS \(Name.key(index))" : "\(pair.0) AS \(Name.key(index))"
    }
  }

  private func keyNames(_ table: WrittenTable) -> [SQL] { table.key.indices.map { Name.key($0) } }

  // MARK: Update

  /// Reads the rows that match, computes once what they become, and keeps both.
  private func capture(
    _ table: WrittenTable, _ match: Match, _ assignments: [ResolvedAssignment], _ batch: ResolvedBatch, locked: Bool
  ) -> Statement {
    let old: [SQL] = kept.map { "\($0.plain(of: table.alias)) AS \(Name.old($0))" }
    let new: [SQL] = assignments.map { "CAST(\($0.value) AS \($0.column.image)) AS \(Name.new($0.column))" }
    let lock: SQL = locked ? "\nFOR    NO KEY UPDATE OF \(table.alias)" : ""
    let names = keyNames(table)
    let rows: SQL = """
      SELECT \(lines: keys(table) + old + new)
      \(met(table, match))\(besides(match, table))
      ORDER  BY \(list: table.keyColumns)
      OFFSET 0\(lock)
      """
    let counted: SQL =
      match.isSingle
      ? rows
      : """
      SELECT s.*, count(*) OVER (PARTITION BY \(list: names.map { "s.\($0)" })) AS matches
      FROM  (\(rows)) AS s
      """
    let differs = differing(assignments)
    let conditions: [SQL] =
      switch (differs, match.isSingle) {
      case (nil, _): []
      case (let differs?, true): [differs]
      case (let differs?, false): ["(\(differs)\n OR s.matches > 1)"]
      }
    let filter: SQL = conditions.isEmpty ? "" : "\n\(SQL.filtered(by: conditions))"
    let columns = names + kept.map { Name.old($0) } + assignments.map { Name.new($0.column) }
    let written = assignments.map(\.column)
    let arrays: [SQL] =
      names.map { "array_agg(s.\($0))" } + gathered(Name.old, kept) + gathered(Name.new, written)
      + (match.isSingle ? [] : ["count(*) FILTER (WHERE s.matches > 1)"])
    return Statement(
      locked ? .captureLocked : .capture, step: number,
      why: locked
        ? "the rows are locked in the order of their key, so that two batches wait for one another and never both"
        : "the old values and the new ones, computed once",
      """
      WITH \(batch.tables(of: self, .captured))
      INSERT INTO \(Name.undo(number)) (slice, ordinal, part, \(list: columns + (match.isSingle ? [] : ["doubled"])))
      SELECT \(lines: [ResolvedBatch.placeValues] + arrays)
      FROM  (\(counted)) AS s\(filter)
      """)
  }

  /// Leaves out what a step before has added in the same batch.
  private func besides(_ match: Match, _ table: WrittenTable) -> SQL {
    guard let added = match.besidesAdded else { return "" }
    let keys: [SQL] = table.key.indices.map { "unnest(b.\(Name.key($0)))" }
    let own: SQL = table.key.count == 1 ? table.keyColumns[0] : "(\(list: table.keyColumns))"
    return """

        AND  \(own) NOT IN (SELECT \(list: keys) FROM \(Name.undo(added)) AS b WHERE \(ResolvedBatch.placeRead))
      """
  }

  /// The rows that match, behind FROM.
  private func met(_ table: WrittenTable, _ match: Match) -> SQL {
    match.isExistence
      ? "FROM   \(table.source)\nWHERE  EXISTS (SELECT FROM \(rows.name) WHERE (\(match.condition)))"
      : "FROM   \(lines: [table.source, "\(rows.name)"])\nWHERE  (\(match.condition))"
  }

  /// True where a row changes; `nil` where a value is another each time.
  private func differing(_ assignments: [ResolvedAssignment]) -> SQL? {
    guard !assignments.contains(where: \.isVolatile) else { return nil }
    return ResolvedBatch.differing(
      assignments.map { assignment in
        let column = assignment.column
        let (old, new): (SQL, SQL) = ("s.\(Name.old(column))", "s.\(Name.new(column))")
        return column.isPadded ? (column, "CAST(\(old) AS text)", "CAST(\(new) AS text)") : (column, old, new)
      })
  }

  /// Which of two rows would win is nobody's to say.
  private func doubled(_ table: WrittenTable) -> Statement {
    Statement(
      .check("step \(number) means each row of \(table.table.name.description) once"), step: number,
      why: "of two rows for one PostgreSQL would take whichever comes first",
      """
      SELECT jsonb_build_object('rows', u.doubled)
      FROM   \(Name.undo(number)) AS u
      WHERE  \(ResolvedBatch.place)
        AND  u.doubled > 0
      """)
  }

  /// Writes what the capture has computed.
  private func change(_ table: WrittenTable, _ assignments: [ResolvedAssignment]) -> Statement {
    let written = assignments.map(\.column)
    let names = keyNames(table)
    let columns = names + written.map { Name.new($0) }
    let arrays: [SQL] = columns.map { "b.\($0)" }
    let same: [SQL] = zip(table.keyColumns, names).map { "\($0) = d.\($1)" }
    let foresees = written.allSatisfy(\.storesWhatIsAssigned) && !table.isRewritten
    let becomes = names + kept.map { Name.new($0) }
    let images: [SQL] = foresees ? [] : kept.map { "\($0.kept(of: table.alias, step: number)) AS \(Name.new($0))" }
    let update: SQL = """
      UPDATE \(table.source)
      SET    \(lines: written.map { "\($0.name) = d.\(Name.new($0))" })
      FROM   \(lines: ["\(Name.undo(number)) AS b", "unnest(\(list: arrays)) AS d(\(list: columns))"])
      WHERE  \(ResolvedBatch.placeRead)
        AND  \(SQL.joined(same, by: " AND "))
      RETURNING \(lines: keys(table) + images)
      """
    let kept: SQL =
      foresees
      ? """
      UPDATE \(Name.undo(number)) AS u
      SET    exact = (SELECT count(*) FROM changed) = coalesce(cardinality(u.k_1), 0)
      WHERE  \(ResolvedBatch.place)
      """
      : """
      UPDATE \(Name.undo(number)) AS u
      SET    \(lines: kept.map { "\(Name.new($0)) = image.\(Name.new($0))" } + ["exact = (\(SQL.joined(names.map { "u.\($0) IS NOT DISTINCT FROM image.\($0)" }, by: " AND ")))"])
      FROM  (SELECT \(lines: becomes.map { "array_agg(s.\($0)) AS \($0)" })
             FROM  (SELECT * FROM changed ORDER BY \(list: names)) AS s) AS image
      WHERE  \(ResolvedBatch.place)
      """
    return Statement(
      .change, step: number, why: "writes what the capture has computed, and shows that it has met the same rows",
      """
      WITH changed AS (
        \(update)
      )
      \(kept)
      """)
  }

  // MARK: Delete

  private func delete(_ table: WrittenTable, _ match: Match, _ batch: ResolvedBatch) -> Statement {
    guard !isOwn(table, match, batch) else {
      return Statement(
        .change, step: number, why: "the capture has kept the whole rows, so nothing is asked but their number",
        """
        DELETE FROM \(batch.source)
        \(SQL.filtered(by: batch.rangedConditions))
        """)
    }
    let other = table.otherColumns
    let returned: [SQL] = keys(table) + other.map { "\($0.plain(of: table.alias)) AS \(Name.old($0))" }
    return Statement(
      .change, step: number,
      why: "the whole rows are kept; what is computed of them is computed again when they come back",
      """
      WITH \(batch.tables(of: self, .captured)), gone AS (
        \(deletion(table, match))
        RETURNING \(lines: returned)
      )
      INSERT INTO \(Name.undo(number)) (slice, ordinal, part, \(list: keyNames(table) + other.map { Name.old($0) } + ["exact"]))
      SELECT \(lines: [ResolvedBatch.placeValues] + keyNames(table).map { "array_agg(s.\($0))" } + gathered(Name.old, other) + [isWhole(batch)])
      FROM  (SELECT * FROM gone ORDER BY \(list: keyNames(table))) AS s
      """)
  }

  /// Of a move: whether what goes is what has been added.
  private func isWhole(_ batch: ResolvedBatch) -> SQL {
    let adding = batch.steps.first { step in
      if case .moved(let moved) = step.rows { moved.removedBy == number } else { false }
    }
    guard let adding else { return "true" }
    if case .moved = batch.addition(of: adding) {
      return "count(*) = (\(Role.written))[\(adding.number)]"
    }
    return """
      count(*) = (SELECT coalesce(cardinality(b.k_1), 0)
                  FROM   \(Name.undo(adding.number)) AS b
                  WHERE  \(ResolvedBatch.placeRead))
      """
  }

  /// Where a batch does not keep to one snapshot, its rows stay between the statement that adds them and the one that removes them.
  private func lockOfMoved(_ batch: ResolvedBatch) -> [Statement] {
    // The batch's own rows are locked with it.
    guard case .moved(let moved) = rows, !moved.isOwn else { return [] }
    return [
      Statement(
        .captureLocked, step: number, why: "what is added is what will be removed",
        "WITH \(batch.batch(.captured, before: number))\nSELECT count(*)\nFROM  (\(moved.lock)) AS locked")
    ]
  }

  private func deletion(_ table: WrittenTable, _ match: Match) -> SQL {
    """
    DELETE FROM \(table.source)
    USING  \(rows.name)
    WHERE  (\(match.condition))
    """
  }

  // MARK: As one would write it by hand

  /// The write by itself, over the rows that the step works from, without its undo.
  func plainly(_ batch: ResolvedBatch) -> SQL {
    switch verb {
    case .update(let table, let match, let assignments):
      """
      UPDATE \(table.source)
      SET    \(lines: assignments.map { "\($0.column.name) = \($0.value)" })
      \(match.isExistence ? "WHERE  EXISTS (SELECT FROM \(rows.name) WHERE (\(match.condition)))" : "FROM   \(rows.name)\nWHERE  (\(match.condition))")
      """
    case .insert(let table, let assignments, _): insertion(table.source, assignments, orderedBy: batch.key)
    case .delete(let table, let match): deletion(table, match)
    case .emit(let table, let assignments, _): insertion("\(table.name)", assignments, orderedBy: batch.key)
    case .notify(let channel, let payload, _): "SELECT pg_notify(\(Literal(channel)), \(payload)) FROM \(rows.name)"
    }
  }
}
