internal import MigrateCatalog
internal import MigratePlan
internal import MigrateSQL

/// What is kept for the way back: a row for each batch, an array for each column. A fifth of the space of a row for each row,
/// and no index to keep.
extension ResolvedBatch {
  static let step = 1

  /// The place of the batch: its row in the undo table, which is written as `u` and read as `b`.
  static let place: SQL = "(u.slice, u.ordinal, u.part) = (\(Role.slice), \(Role.ordinal), \(Role.part))"
  static let placeValues: SQL = "\(Role.slice), \(Role.ordinal), \(Role.part)"
  static let placeRead: SQL = "(b.slice, b.ordinal, b.part) = (\(Role.slice), \(Role.ordinal), \(Role.part))"

  /// The names of the key's columns in the undo table.
  var keyNames: [SQL] { key.indices.map { Name.key($0) } }

  /// The batch's arrays of these columns as rows `d`: what stands behind FROM.
  func unnested(_ columns: [SQL]) -> [SQL] {
    let arrays: [SQL] = columns.map { "b.\($0)" }
    return ["\(Name.undo(Self.step)) AS b", "unnest(\(list: arrays)) AS d(\(list: columns))"]
  }

  /// The source's row that `d` is about.
  var sameKey: SQL { .joined(zip(keyColumns, keyNames).map { "\($0) = d.\($1)" }, by: " AND ") }

  var capturedColumns: [Column] {
    switch undo {
    case .captured(let columns, _): columns
    case .none: []
    }
  }

  /// The types that arrays and composites are kept in, then the table.
  var prepareUndo: [Statement] {
    let wrappers = capturedColumns.filter(\.isWrapped).map { column in
      Statement(
        .wrapper(column: column.number), step: Self.step,
        why: "an array of arrays would lose their shapes, so each goes in a row of one column",
        "CREATE TYPE \(Name.wrapper(Self.step, column)) AS (v \(column.base))")
    }
    return wrappers + [undoTable]
  }

  private var undoTable: Statement {
    let compression: SQL = hasLZ4 ? " COMPRESSION lz4" : ""
    let keys: [SQL] = key.enumerated().map { "\(Name.key($0)) \($1.base)[]\(compression)" }
    let images: [SQL] = capturedColumns.flatMap { column -> [SQL] in
      let type = column.element(step: Self.step)
      return ["\(Name.old(column)) \(type)[]\(compression)", "\(Name.new(column)) \(type)[]\(compression)"]
    }
    let columns: [SQL] =
      ["slice integer", "ordinal integer", "part integer", "rows_read bigint NOT NULL"]
      + (rejects ? ["rows_rejected bigint NOT NULL DEFAULT 0"] : []) + keys + images + asideColumns + putRight.columns
      + ["exact boolean", "reverted boolean NOT NULL DEFAULT false", "PRIMARY KEY (slice, ordinal, part)"]
    return Statement(
      .undoTable, step: Self.step,
      why: "a row a batch, an array a column; never the table's own row type, which would forbid DDL",
      "CREATE TABLE \(Name.undo(Self.step)) (\(lines: columns))")
  }

  /// The source's keys as undo keeps them, domains unwrapped.
  var capturedKeys: [SQL] {
    zip(keyColumns, key).enumerated().map { index, pair in
      pair.1.isDomain ? "CAST(\(pair.0) AS \(pair.1.base)) AS \(Name.key(index))" : "\(pair.0) AS \(Name.key(index))"
    }
  }

  /// Reads the old values, computes the new ones once, and claims the batch.
  var captureForeseen: Statement {
    let values: [(column: Column, old: SQL, new: SQL)] = capturedColumns.compactMap { column in
      assignments.first { $0.column.number == column.number }.map { assignment in
        (column, column.plain(of: alias), "CAST(\(assignment.value) AS \(column.image))")
      }
    }
    let images: [SQL] =
      values.map { "\($0.old) AS \(Name.old($0.column))" } + values.map { "\($0.new) AS \(Name.new($0.column))" }
    let names =
      keyNames + values.map { Name.old($0.column) } + values.map { Name.new($0.column) }
    let kept: [(column: Column, old: SQL, new: SQL)] = values.map {
      ($0.column, "s.\(Name.old($0.column))", "s.\(Name.new($0.column))")
    }
    // OFFSET 0 keeps the planner from merging the levels, by which it would compute the new values twice.
    let computed: SQL = """
      SELECT \(lines: capturedKeys + images + contextColumns + validInRow)
      FROM   \(source)
      \(SQL.filtered(by: batchConditions))
      ORDER  BY \(list: keyColumns)
      OFFSET 0
      """
    guard validation.isEmpty else { return captureValid(names, from: judged(computed), where: Self.differing(kept)) }
    return Statement(
      .capture, step: Self.step,
      why: "the old values and the new ones; OFFSET 0 keeps the new ones from being computed twice",
      """
      INSERT INTO \(Name.undo(Self.step)) (slice, ordinal, part, rows_read, \(list: names))
      SELECT \(lines: [Self.placeValues, eligibleRows] + names.map { "array_agg(s.\($0))" })
      FROM  (\(computed)) AS s
      WHERE  \(Self.differing(kept))
      RETURNING rows_read = coalesce(cardinality(k_1), 0) AS as_captured
      """)
  }

  /// Keys of all rows of the batch, and nothing else: without undo a row that was found as it should be counts as done, too, and
  /// what others make of it later is not left behind. All rows being eligible it finds the batch's end by itself.
  var captureKeys: Statement {
    let names = keyNames
    let keys: SQL = """
      SELECT \(lines: capturedKeys)
      FROM   \(source)
      \(SQL.filtered(by: [behindAfter, compared("<=", Role.upper)]))
      ORDER  BY \(list: keyColumns)
      LIMIT  \(Role.size)
      """
    // An array of a query's only column is made in less time than by an aggregate; OFFSET 0, so that it is made once.
    let (rows, arrays, read): (SQL, [SQL], SQL) =
      key.count == 1
      ? ("SELECT ARRAY(\(keys)) AS k_1 OFFSET 0", ["s.k_1"], "cardinality(s.k_1)")
      : (keys, names.map { "array_agg(s.\($0))" }, "count(*)")
    return Statement(
      .capture, step: Self.step,
      why: "undo: none, so only the keys are kept, which the index tells; no key: the batch goes to the upper end",
      """
      INSERT INTO \(Name.undo(Self.step)) (slice, ordinal, part, rows_read, \(list: names), exact)
      SELECT \(lines: [Self.placeValues, read] + arrays + ["true"])
      FROM  (\(rows)) AS s
      RETURNING true AS as_captured,
                \(lines: lastKey())
      """)
  }

  /// The key of a capture's last row, which ends the batch; or, with fewer rows than it may have, lets it go to the upper end.
  func lastKey(onlyIfFull: Bool = false) -> [SQL] {
    zip(key, keyNames).enumerated().map { index, pair in
      let last = pair.0.text(of: "\(pair.1)[cardinality(\(pair.1))]")
      let told: SQL = onlyIfFull ? "CASE WHEN rows_read = \(Role.size) THEN \(last) END" : last
      return told + SQL(pieces: [.text(" AS through_\(index + 1)")])
    }
  }

  /// What was eligible is known from the bound, or is counted in the same snapshot. A bound among collected keys does not tell:
  /// some of their rows may not be eligible any more.
  var eligibleRows: SQL {
    let counted: SQL = """
      SELECT count(*)
      FROM   \(source)
      \(SQL.filtered(by: batchConditions))
      """
    return coverage == .collected ? "(\(counted))" : "coalesce(\(Role.eligible), (\(counted)))"
  }

  /// Reads the old values and claims the batch: a second attempt at the same one waits here, on the primary key (U08).
  func capture(locked: Bool) -> Statement {
    let images: [SQL] = capturedColumns.map { "\($0.kept(of: alias, step: Self.step)) AS \(Name.old($0))" }
    let test: [SQL] = (comparesImages ? ["\(differs) AS differs"] : []) + (isValid.map { ["(\($0)) AS valid"] } ?? [])
    let tests: [SQL] = (comparesImages ? ["s.differs"] : []) + (validation.isEmpty ? [] : ["s.valid"])
    let only: SQL = tests.isEmpty ? "" : " FILTER (WHERE \(SQL.joined(tests, by: " AND ")))"
    let names = keyNames + capturedColumns.map { Name.old($0) }
    let rows: SQL = """
      SELECT \(lines: capturedKeys + images + test)
      FROM   \(source)
      \(SQL.filtered(by: batchConditions))
      ORDER  BY \(list: keyColumns)
      """
    let lock: SQL = "\nFOR    NO KEY UPDATE OF \(alias)"
    // A capture that is not locked answers, and this one that the change has to look itself.
    let answers: [SQL] = (locked ? [] : ["false AS as_captured"]) + leavesOut
    let answer: SQL = answers.isEmpty ? "" : "\nRETURNING \(list: answers)"
    let capture: SQL = """
      INSERT INTO \(Name.undo(Self.step)) (slice, ordinal, part, rows_read, \(list: rejectedName + names))
      SELECT \(lines: [Self.placeValues, "count(*)"] + rejectedCount + names.map { "array_agg(s.\($0))\(only)" })
      FROM  (\(locked ? rows + lock : rows)) AS s
      """
    return Statement(
      locked ? .captureLocked : .capture, step: Self.step,
      why: locked
        ? "from the second attempt on the rows are locked before anything is computed"
        : "the old values; the key columns tell later whether exactly these rows were changed",
      capture + answer)
  }
}
