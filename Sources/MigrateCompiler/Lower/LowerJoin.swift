internal import MigrateCatalog
internal import MigrateDefinition
internal import MigratePlan
package import MigrateSQL

/// How a join can be read, for EXPLAIN: by a few rows of the source, and as a whole.
package struct JoinReading: Sendable {
  /// Its place among the joins.
  package let join: Int
  package let part: RenderedSQL
  package let whole: RenderedSQL
}

/// What is read of other tables: once a batch, by the capture, which keeps what it has computed; the change writes that. So a join
/// costs what it costs once, and no row is judged by one state of it and written by another.
extension ResolvedBatch {
  /// The source rows that a join is read for.
  enum JoinedRows {
    /// Those of the batch.
    case batch
    /// The same before there is a run.
    case explained
    /// The same, locked before. What was waited for is seen as it became, with what is joined to that.
    case locked
    /// Those for which these conditions hold.
    case chosen([SQL])
    /// All, and all of the join.
    case all

    /// Whether the rows are only counted: then nothing is computed that is another each time.
    var isCounted: Bool { if case .chosen = self { true } else { false } }

    /// Whether what the run has staged can be read: a row that came in behind the batches is held against what is there now.
    fileprivate var isOfRun: Bool {
      switch self {
      case .batch, .locked: true
      case .explained, .chosen, .all: false
      }
    }
  }

  // MARK: The rows

  /// The source with what is joined, as it stands behind FROM.
  func rows(_ wanted: JoinedRows) -> SQL {
    let base: SQL =
      switch wanted {
      case .batch, .chosen: source
      case .explained, .all: plannedSource
      case .locked: "\(Name.locked) AS \(alias)"
      }
    let joined: [SQL] = joins.enumerated().map { index, join in
      let word: SQL = join.missing == .skip ? "JOIN" : "LEFT JOIN"
      let isStaged = join.way == .staged && wanted.isOfRun
      let relation: SQL = isStaged ? Name.staged(index) : "(\(join.rows))"
      let reach = join.way == .part ? reached(join, by: wanted) : []
      let conditions: SQL = .joined(["(\(join.match))"] + reach, by: "\nAND ")
      return """
        \(word) \(relation) AS \(join.name)
          ON \(conditions)
        """
    }
    // Behind OFFSET 0, so that each is computed once, wherever it is used.
    let computed: [SQL] =
      wanted.isCounted && (isStepped || !comparesImages)
      ? [] : lets.map { "CROSS JOIN LATERAL (SELECT \(ofRow($0)) AS \($0.name) OFFSET 0) AS \($0.row)" }
    return .joined([base] + joined + computed, by: "\n")
  }

  /// A value that does not name the row would be computed once for all rows, a number of a sequence for instance.
  private func ofRow(_ item: NamedLet) -> SQL {
    item.isVolatile ? "CASE WHEN \(keyColumns[0]) IS NOT NULL THEN \(item.value) END" : item.value
  }

  /// Which rows of a join these source rows can meet: said besides its condition, since PostgreSQL takes such a one into a query that
  /// groups, and an equality with a column of the source it does not.
  private func reached(_ join: NamedJoin, by rows: JoinedRows) -> [SQL] {
    func among(_ column: Identifier, _ value: SQL, _ from: SQL) -> [SQL] {
      ["\(join.name).\(column) = ANY (ARRAY(SELECT \(value)\n\(from)))"]
    }
    switch (join.reach, rows) {
    case (nil, _), (_, .all): return []
    case (.key(let column), .batch), (.key(let column), .locked), (.key(let column), .explained):
      let column: SQL = "\(join.name).\(column)"
      return [
        // Not beyond it: where the column is of another type two keys can be one value there.
        "(\(Role.afterNone) OR \(column) >= \(Role.after(0, key[0])))", "\(column) <= \(Role.through(0, key[0]))",
      ]
    case (.key(let column), .chosen(let conditions)):
      return among(column, keyColumns[0], "FROM   \(source)\n\(SQL.filtered(by: conditions))")
    case (.values(let column, let value), .batch):
      return among(column, value, "FROM   \(source)\n\(SQL.filtered(by: batchConditions))")
    case (.values(let column, let value), .explained):
      return among(column, value, "FROM   \(plannedSource)\n\(SQL.filtered(by: batchConditions))")
    case (.values(let column, let value), .chosen(let conditions)):
      return among(column, value, "FROM   \(source)\n\(SQL.filtered(by: conditions))")
    case (.values(let column, let value), .locked):
      return among(column, value, "FROM   \(Name.locked) AS \(alias)")
    }
  }

  /// Of each join that a batch reads in part, how a part of it is read, and all of it.
  var readings: [JoinReading] {
    joins.enumerated().compactMap { index, join in
      let value: SQL
      switch join.reach {
      case nil: return nil
      case .key: value = keyColumns[0]
      case .values(_, let wanted): value = wanted
      }
      guard let column = join.reach?.column else { return nil }
      let all: SQL = "SELECT *\nFROM   (\(join.rows)) AS \(join.name)"
      let few: SQL = "ARRAY(SELECT \(value) FROM \(plannedSource) LIMIT 3)"
      return JoinReading(
        join: index, part: RenderedSQL("\(all)\nWHERE  \(join.name).\(column) = ANY (\(few))"), whole: RenderedSQL(all))
    }
  }

  /// Reads the joins that are staged into tables, with what the planner has to know of them.
  var staging: [Statement] {
    joins.enumerated().filter { $0.element.way == .staged }.flatMap { index, join -> [Statement] in
      let table = Name.staged(index)
      // Of a text it could be too long for an index.
      var index: [Statement] = []
      if case .key(let column) = join.reach {
        index = [
          Statement(
            .stage(join.name.name), why: "for batches that are small beside it",
            "CREATE INDEX ON \(table) (\(column))")
        ]
      }
      return [
        Statement(.stage(join.name.name), why: "it may be there already", "DROP TABLE IF EXISTS \(table)"),
        Statement(
          .stage(join.name.name), why: "no index leads to the rows that a batch needs, so it is read once",
          "CREATE TABLE \(table) AS\n\(join.rows)"),
      ] + index + [
        Statement(.stage(join.name.name), why: "a new table has no statistics", "ANALYZE \(table)")
      ]
    }
  }

  var stagedTables: [SQL] { joins.indices.filter { joins[$0].way == .staged }.map(Name.staged) }

  /// The batch's rows, locked: each as its last writer has left it.
  var lockedRows: SQL {
    """
    \(Name.locked) AS MATERIALIZED (
      SELECT *
      FROM   \(source)
      \(SQL.filtered(by: batchConditions))
      ORDER  BY \(list: keyColumns)
      FOR    \(lockOfRows) OF \(alias)
    )
    """
  }

  // MARK: What they become

  /// Whether what the capture has computed is what will be stored.
  var foreseesJoined: Bool { !hasTriggers && capturedColumns.allSatisfy(\.storesWhatIsAssigned) }

  /// True where every join has what it must have; `nil` where none must.
  private var isWhole: SQL? {
    let there: [SQL] = joins.filter { $0.missing == .reject }.map { "\($0.isThere) IS NOT NULL" }
    return there.isEmpty ? nil : .joined(there, by: " AND ")
  }

  /// A value, or NULL where there is nothing to compute it from.
  private func whenWhole(_ value: SQL) -> SQL { isWhole.map { "CASE WHEN \($0) THEN \(value) END" } ?? value }

  /// What is assigned, computed where it can be, with the scale and without the length that the column has.
  func computed(_ assignment: ResolvedAssignment) -> SQL {
    whenWhole("CAST(\(assignment.value) AS \(assignment.column.image))")
  }

  var needsCount: Bool { joins.contains { !$0.isSingle } }

  /// Whether the row is in order, of what ``computedRows(_:)`` gives; `nil` where every row is.
  func isInOrder(_ row: SQL) -> SQL? {
    let tests: [SQL] =
      (judgesRow ? ["\(row).valid"] : []) + (needsCount ? ["\(row).matches = 1"] : [])
    return tests.isEmpty ? nil : .joined(tests, by: " AND ")
  }

  /// Whether a row by itself can be out of order.
  var judgesRow: Bool { isWhole != nil || !validation.isEmpty }

  /// True of a row that has found what it must and breaks no rule; `nil` where every row is such a one.
  var validOfJoined: SQL? {
    switch (isWhole, isValid) {
    case (nil, nil): nil
    case (let whole?, nil): "(\(whole))"
    case (nil, let rules?): "(\(rules))"
    case (let whole?, let rules?): "CASE WHEN \(whole) THEN (\(rules)) ELSE false END"
    }
  }

  /// What tells which source rows these are; locked rows are told already.
  func conditions(of rows: JoinedRows) -> [SQL] {
    switch rows {
    case .batch, .explained: batchConditions
    case .chosen(let conditions): conditions
    case .all: filterConditions
    case .locked: []
    }
  }

  /// Keys, old values and new ones of the rows, and whether they are in order. Of a row that has found several of a join each comes.
  func computedRows(_ rows: JoinedRows) -> SQL {
    let old: [SQL] = capturedOrWritten.map { "\($0.plain(of: alias)) AS \(Name.old($0))" }
    let new: [SQL] = assignments.map { "\(computed($0)) AS \(Name.new($0.column))" } + seenInRow
    let valid: [SQL] = validOfJoined.map { ["\($0) AS valid"] } ?? []
    let count: [SQL] = needsCount ? ["count(*) OVER same AS matches", "row_number() OVER same AS place"] : []
    let conditions = conditions(of: rows)
    let filter: [SQL] = conditions.isEmpty ? [] : [.filtered(by: conditions)]
    let clauses: [SQL] =
      ["SELECT \(lines: capturedKeys + old + new + valid + count)", "FROM   \(self.rows(rows))"] + filter + sameRow
      + ["ORDER  BY \(list: keyColumns)", "OFFSET 0"]
    return .joined(clauses, by: "\n")
  }

  /// Without undo nothing is captured, and what is written is compared all the same.
  private var capturedOrWritten: [Column] { capturedColumns.isEmpty ? assignments.map(\.column) : capturedColumns }

  var sameRow: [SQL] { needsCount ? ["WINDOW same AS (PARTITION BY \(list: keyColumns))"] : [] }

  /// True where the row changes, of what ``computedRows(_:)`` gives.
  private func differs(_ row: SQL) -> SQL? {
    guard comparesImages else { return nil }
    return Self.differing(
      assignments.map { assignment in
        let column = assignment.column
        let (old, new): (SQL, SQL) = ("\(row).\(Name.old(column))", "\(row).\(Name.new(column))")
        return column.isPadded ? (column, "CAST(\(old) AS text)", "CAST(\(new) AS text)") : (column, old, new)
      })
  }

  /// As an array can hold it.
  func wrapped(_ value: SQL, _ column: Column) -> SQL {
    column.isWrapped ? "CAST(ROW(\(value)) AS \(Name.wrapper(Self.step, column)))" : value
  }

  /// Reads what is joined, keeps old values and new ones of the rows that change, and counts those that are not in order.
  func captureJoined(locked: Bool) -> Statement {
    let written = assignments.map(\.column)
    let names = keyNames + capturedColumns.map { Name.old($0) } + written.map { Name.new($0) } + seenNames
    let elements: [SQL] =
      keyNames.map { "s.\($0)" } + capturedColumns.map { wrapped("s.\(Name.old($0))", $0) }
      + written.map { wrapped("s.\(Name.new($0))", $0) } + seenNames.map { "s.\($0)" }
    let inOrder = isInOrder("s")
    let only: SQL = inOrder.map { " FILTER (WHERE \($0))" } ?? ""
    let rejected: [SQL] = judges ? ["count(*) FILTER (WHERE (\(inOrder ?? "true")) IS NOT TRUE)"] : []
    let first: [SQL] = needsCount ? ["s.place = 1"] : []
    let chosen: [SQL] =
      differs("s").map { differs in
        guard let inOrder else { return [differs] }
        return ["(\(differs)\n OR (\(inOrder)) IS NOT TRUE)"]
      } ?? []
    let read: SQL = locked ? "(SELECT count(*) FROM \(Name.locked))" : eligibleRows
    let answers: [SQL] = (locked ? [] : ["\(foreseesJoined ? "true" : "false") AS as_captured"]) + leavesOut
    let clauses: [SQL] =
      (locked ? ["WITH \(lockedRows)"] : []) + [
        """
        INSERT INTO \(Name.undo(Self.step)) (slice, ordinal, part, rows_read, \(list: rejectedName + names))
        SELECT \(lines: [Self.placeValues, read] + rejected + elements.map { "array_agg(\($0))\(only)" })
        FROM  (\(computedRows(locked ? .locked : .batch))) AS s
        """
      ] + (first + chosen).prefix(1).map { _ in .filtered(by: first + chosen) }
      + (answers.isEmpty ? [] : ["RETURNING \(list: answers)"])
    return Statement(
      stretch == .late ? .captureLate : locked ? .captureLocked : .capture, step: Self.step,
      why: stretch == .late
        ? "what others have changed since is computed anew, as it is now, and kept from them until it is shown"
        : locked
          ? "from the second attempt on the rows are locked before anything is computed"
          : "the old values and the new ones, for which what is joined is read once",
      SQL.joined(clauses, by: "\n"))
  }

  /// Writes what the capture has computed.
  var updateAsComputed: SQL {
    let written = assignments.map(\.column)
    return """
      UPDATE \(source)
      SET    \(lines: written.map { "\($0.name) = d.\(Name.new($0))" })
      FROM   \(lines: unnested(keyNames + written.map { Name.new($0) }))
      WHERE  \(Self.placeRead)
        AND  \(sameKey)
      """
  }

  /// Without undo: reads what is joined and writes, in one statement.
  var updateJoined: SQL {
    let same: [SQL] = zip(keyColumns, keyNames).map { "\($0) = s.\($1)" }
    let tests =
      (needsCount ? ["s.place = 1"] : []) + (isInOrder("s").map { [$0] } ?? []) + (differs("s").map { [$0] } ?? [])
    return """
      UPDATE \(source)
      SET    \(lines: assignments.map { "\($0.column.name) = s.\(Name.new($0.column))" })
      FROM  (\(computedRows(.locked))) AS s
      \(SQL.filtered(by: same + tests))
      """
  }

  // MARK: What is not in order

  /// The rows of a batch with all that is not in order about each, as `validate` needs them.
  func reasonsOfJoined(row: SQL, newValues: SQL, rules: [SQL]) -> SQL {
    let missing: [SQL] = joins.filter { $0.missing == .reject }.map { join in
      "CASE WHEN \(join.isThere) IS NULL THEN \(Literal("\(join.name.name): no row matches")) END"
    }
    let several = joins.filter { !$0.isSingle }.map(\.name.name).joined(separator: ", ")
    let count: [SQL] =
      needsCount
      ? [
        "CASE WHEN count(*) OVER same > 1 THEN format(\(Literal("\(several): %s rows match")), count(*) OVER same) END"
      ] : []
    return """
      SELECT DISTINCT ON (\(list: keyColumns))
             \(keyAsTexts) AS key,
             \(row) AS row,
             \(newValues) AS new_values,
             array_remove(ARRAY[\(lines: missing + count + rules.map(whenWhole))], NULL) AS reasons
      FROM   \(rows(.batch))
      \(SQL.joined([.filtered(by: batchConditions + notDone)] + sameRow, by: "\n"))
      ORDER  BY \(list: keyColumns)
      """
  }

  /// Without undo the change has been before.
  private var notDone: [SQL] {
    guard !judgesBefore else { return [] }
    let keys: [SQL] = keyNames.map { "unnest(b.\($0))" }
    return [
      "(\(list: keyColumns)) NOT IN (SELECT \(list: keys) FROM \(Name.undo(Self.step)) AS b WHERE \(Self.placeRead))"
    ]
  }

  // MARK: What is left behind

  /// The number of source rows among those that a join has given.
  var countOfRows: SQL { needsCount ? "count(DISTINCT \(keyAsTexts))" : "count(*)" }
}
