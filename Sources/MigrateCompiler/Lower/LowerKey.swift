internal import MigrateCatalog
internal import MigrateSQL

/// How batches find their way along the key.
extension ResolvedBatch {
  /// The columns of the key, each with the table's alias: an ORDER BY must never meet an output column of the same name (K06).
  var keyColumns: [SQL] { key.map { "\(alias).\($0.name)" } }

  /// What batches walk.
  var walked: SQL {
    switch sourceRows {
    case .live: "\(table.name)"
    case .frozen: Name.source
    }
  }

  /// The source and its alias, as it stands behind FROM or UPDATE.
  var source: SQL { "\(walked) AS \(alias)" }

  /// The same before there is a run.
  var plannedSource: SQL {
    switch sourceRows {
    case .live: source
    case .frozen(let query): "(\(query)) AS \(alias)"
    }
  }

  /// The key is beyond `after` and not beyond `through`. Half-open, so neighbouring batches neither overlap nor leave a gap (K29).
  /// Composite keys compare as rows, in the order of the index (K01, K28).
  var range: [SQL] {
    [behindAfter, compared("<=", Role.through)]
  }

  /// Planned with its values each time, so the OR is gone before the index is chosen.
  var behindAfter: SQL { "(\(Role.afterNone) OR \(compared(">", Role.after)))" }

  func compared(_ relation: String, _ role: (Int, Column) -> Parameter) -> SQL {
    let bounds: [SQL] = key.enumerated().map { "\(role($0, $1))" }
    let comparison = SQL(pieces: [.text(" \(relation) ")])
    guard key.count > 1 else { return keyColumns[0] + comparison + bounds[0] }
    return "(\(list: keyColumns))" + comparison + "ROW(\(list: bounds))"
  }

  /// The batch's rows: its range and the definition's own filter.
  var batchConditions: [SQL] {
    switch (stretch, coverage) {
    case (.late, _): lateConditions
    case (.batch, .walked): range + canaryConditions + filterConditions
    case (.batch, .collected): range + [collectedCondition] + canaryConditions + filterConditions
    }
  }

  var filterConditions: [SQL] { filter.map { ["(\($0))"] } ?? [] }

  /// A key as texts, one a column, under aliases that no ORDER BY can mean.
  func keyTexts(_ prefix: String) -> [SQL] {
    zip(keyColumns, key.indices).map { column, index in
      key[index].text(of: column) + SQL(pieces: [.text(" AS \(prefix)_\(index + 1)")])
    }
  }
}

extension Column {
  /// A value of a key as the ledger keeps it. An object by its number: its name may mean another object by the time the run goes
  /// on (V20).
  func text(of value: SQL) -> SQL { isObject ? "CAST(CAST(\(value) AS oid) AS text)" : "CAST(\(value) AS text)" }

  /// Whether its texts have another collation than the database's own.
  var isOrderedApart: Bool { collation != nil || baseOID == TypeOID.name }

  /// What such a text is read as: an object's number is one to its own type only where no name is expected, and compares with it.
  var keyType: TypeName { isObject ? .oid : base }
}
