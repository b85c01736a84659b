internal import MigrateCatalog
internal import MigratePlan
internal import MigrateSQL

/// What is kept for the way back: a row for each batch, an array for each column. A fifth of the space of a row for each row,
/// and no index to keep.
extension ResolvedBatch {
  static let step = 1

  /// The place of the batch: its row in the undo table.
  static let place: SQL = "(u.slice, u.ordinal, u.part) = (\(Role.slice), \(Role.ordinal), \(Role.part))"

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
        "wrapper for column \(column.number)", step: Self.step,
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
      ["slice integer", "ordinal integer", "part integer", "rows_read bigint NOT NULL"] + keys + images + rightColumns
      + ["exact boolean", "reverted boolean NOT NULL DEFAULT false", "PRIMARY KEY (slice, ordinal, part)"]
    return Statement(
      "undo table", step: Self.step,
      why: "a row a batch, an array a column; never the table's own row type, which would forbid DDL",
      "CREATE TABLE \(Name.undo(Self.step)) (\(lines: columns))")
  }

  /// Reads the old values and claims the batch: a second attempt at the same one waits here, on the primary key (U08).
  func capture(locked: Bool) -> Statement {
    let keys: [SQL] = zip(keyColumns, key).enumerated().map { index, pair in
      pair.1.isDomain ? "CAST(\(pair.0) AS \(pair.1.base)) AS \(Name.key(index))" : "\(pair.0) AS \(Name.key(index))"
    }
    let images: [SQL] = capturedColumns.map { "\($0.kept(of: alias, step: Self.step)) AS \(Name.old($0))" }
    let test: [SQL] = comparesImages ? ["\(differs) AS differs"] : []
    let only: SQL = comparesImages ? " FILTER (WHERE s.differs)" : ""
    let names = key.indices.map { Name.key($0) } + capturedColumns.map { Name.old($0) }
    let rows: SQL = """
      SELECT \(lines: keys + images + test)
      FROM   \(source)
      \(SQL.filtered(by: batchConditions))
      ORDER  BY \(list: keyColumns)
      """
    let lock: SQL = "\nFOR    NO KEY UPDATE OF \(alias)"
    return Statement(
      locked ? "capture locked" : "capture", step: Self.step,
      why: locked
        ? "from the second attempt on the rows are locked before anything is computed"
        : "the old values; the key columns tell later whether exactly these rows were changed",
      """
      INSERT INTO \(Name.undo(Self.step)) (slice, ordinal, part, rows_read, \(list: names))
      SELECT \(Role.slice), \(Role.ordinal), \(Role.part), count(*),
             \(lines: names.map { "array_agg(s.\($0))\(only)" })
      FROM  (\(locked ? rows + lock : rows)) AS s
      RETURNING rows_read = coalesce(cardinality(k_1), 0) AS every_row
      """)
  }
}
