internal import MigrateCatalog
internal import MigrateDefinition
internal import MigratePlan
internal import MigrateSQL

/// Keys that are read once, where few rows are eligible and no index leads to them.
///
/// Measured: with 1 % of the rows eligible, collecting takes a fifth of walking; the two are even near 9 %. A row that becomes
/// eligible after the keys are collected is not done by the run; it is counted as left behind.
extension ResolvedBatch {
  static let keysTable: SQL = SQL(pieces: [.text("migrate.keys_"), .run])
  private static func first(_ index: Int) -> SQL { SQL(pieces: [.text("first_\(index + 1)")]) }
  private static func last(_ index: Int) -> SQL { SQL(pieces: [.text("last_\(index + 1)")]) }

  /// The whole of a walk as its planner sees it, without a beginning: an index condition in it comes from the filter.
  var walk: RenderedSQL? {
    guard filter != nil, !sourceRows.isFrozen else { return nil }
    return RenderedSQL(
      """
      SELECT \(list: keyColumns)
      FROM   \(source)
      \(SQL.filtered(by: filterConditions))
      ORDER  BY \(list: keyColumns)
      LIMIT  \(usualSize)
      """)
  }

  /// What the planner is told where the size is not known yet.
  private var usualSize: Int {
    switch pace.sizing {
    case .rows(let rows): rows
    case .automatic: BatchOperation.usualBatchSize
    }
  }

  var keysTable: Statement {
    let columns: [SQL] = key.enumerated().flatMap { index, column -> [SQL] in
      // Compared with the batches' ends here and in the source: one order for both (K07).
      let order: SQL = column.collation.map { " COLLATE \($0.schema).\($0.name)" } ?? ""
      return [
        "\(Self.first(index)) \(column.base)\(order) NOT NULL", "\(Self.last(index)) \(column.base)\(order) NOT NULL",
        "\(Name.key(index)) \(column.base)[]\(order) NOT NULL",
      ]
    }
    return Statement(
      .keysTable, why: "the eligible keys, a stretch of them a row",
      "CREATE TABLE \(Self.keysTable) (\(lines: ["ordinal bigint PRIMARY KEY"] + columns))")
  }

  var collect: Statement {
    let keys: [SQL] = zip(keyColumns, key.indices).map { "\($0) AS \(Name.key($1))" }
    let order: [SQL] = key.indices.map { "s.\(Name.key($0))" }
    let gathered: [SQL] = key.indices.flatMap { index -> [SQL] in
      let all: SQL = "array_agg(s.\(Name.key(index)) ORDER BY \(list: order))"
      return ["(\(all))[1]", "(\(all))[count(*)]", all]
    }
    let names: [SQL] = key.indices.flatMap { [Self.first($0), Self.last($0), Name.key($0)] }
    return Statement(
      .collect, why: "few rows are eligible and no index leads to them, so their keys are read once",
      """
      INSERT INTO \(Self.keysTable) (ordinal, \(list: names))
      SELECT s.ordinal,
             \(lines: gathered)
      FROM  (SELECT \(lines: keys + ["(row_number() OVER (ORDER BY \(list: keyColumns)) - 1) / \(Role.size) AS ordinal"])
             FROM   \(source)
             \(SQL.filtered(by: [compared("<=", Role.upper)] + filterConditions))) AS s
      GROUP  BY s.ordinal
      """)
  }

  /// The bound among the collected keys.
  var collectedBound: Statement {
    let arrays: [SQL] = key.indices.map { "c.\(Name.key($0))" }
    let columns: [SQL] = key.indices.map { Name.key($0) }
    let texts: [SQL] = key.indices.map { index in
      key[index].text(of: "d.\(Name.key(index))") + SQL(pieces: [.text(" AS through_\(index + 1)")])
    }
    return Statement(
      .bound, why: "the key of the batch's last row among those collected; no row: the batch goes to the upper end",
      """
      SELECT \(lines: texts)
      FROM   \(Self.keysTable) AS c, unnest(\(list: arrays)) AS d(\(list: columns))
      WHERE  (\(Role.afterNone) OR \(Self.row("c", "last", key)) > \(bound(Role.after)))
        AND  (\(Role.afterNone) OR \(Self.row("d", "k", key)) > \(bound(Role.after)))
        AND  \(Self.row("d", "k", key)) <= \(bound(Role.upper))\(canaryOfCollected)
      ORDER  BY \(list: columns.map { "d.\($0)" })
      OFFSET \(Role.size) - 1
      LIMIT  1
      """)
  }

  /// The batch's keys, besides its range and its filter. Of several columns only those in the range: for each that lies outside, the
  /// index would be read from one end of the range to the other.
  var collectedCondition: SQL {
    let isOfStretch: SQL = """
      WHERE  (\(Role.afterNone) OR \(Self.row("c", "last", key)) > \(bound(Role.after)))
        AND  \(Self.row("c", "first", key)) <= \(bound(Role.through))
      """
    if key.count == 1 {
      let stretch: SQL = "SELECT unnest(c.\(Name.key(0)))\nFROM   \(Self.keysTable) AS c\n\(isOfStretch)"
      return "\(keyColumns[0]) = ANY (ARRAY(\(stretch)))"
    }
    let arrays: [SQL] = key.indices.map { "c.\(Name.key($0))" }
    let columns: [SQL] = key.indices.map { Name.key($0) }
    let stretch: SQL = """
      SELECT \(list: columns.map { "d.\($0)" })
      FROM   \(Self.keysTable) AS c, unnest(\(list: arrays)) AS d(\(list: columns))
      \(isOfStretch)
        AND  (\(Role.afterNone) OR \(Self.row("d", "k", key)) > \(bound(Role.after)))
        AND  \(Self.row("d", "k", key)) <= \(bound(Role.through))
      """
    return "(\(list: keyColumns)) IN (\(stretch))"
  }

  private func bound(_ role: (Int, Column) -> Parameter) -> SQL {
    let values: [SQL] = key.enumerated().map { "\(role($0, $1))" }
    return key.count == 1 ? values[0] : "ROW(\(list: values))"
  }

  private static func row(_ alias: String, _ prefix: String, _ key: [Column]) -> SQL {
    let columns: [SQL] = key.indices.map { SQL(pieces: [.text("\(alias).\(prefix)_\($0 + 1)")]) }
    return key.count == 1 ? columns[0] : "(\(list: columns))"
  }

  var dropKeys: Statement {
    Statement(
      .dropKeys, why: "every batch is done, and no row is in quarantine that would be tried again",
      dropOwn ?? "")
  }

  /// Drops the tables that batches have read besides those of the user; `nil` where there are none.
  var dropOwn: SQL? {
    let tables =
      (coverage == .collected ? [Self.keysTable] : []) + stagedTables
      + (sourceRows.isFrozen && !keepsUndo ? [Name.source] : [])
    return tables.isEmpty ? nil : "DROP TABLE IF EXISTS \(list: tables)"
  }
}
