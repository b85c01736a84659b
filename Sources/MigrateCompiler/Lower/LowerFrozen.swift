internal import MigrateCatalog
internal import MigratePlan
internal import MigrateSQL

/// A source that is read once, when the run begins, into a table of the run's own. Logged, since a crash would empty any other (X26),
/// and what the steps have changed by then the query would find changed.
extension ResolvedBatch {
  /// `nil` where the rows are read live.
  var sourceTable: Statement? {
    guard sourceRows.isFrozen else { return nil }
    let columns: [SQL] = table.columns.map { column in
      let collation: SQL = column.collation.map { " COLLATE \($0)" } ?? ""
      return "\(column.name) \(column.type)\(collation)"
    }
    return Statement(
      .sourceTable,
      why: "the rows that batches walk from key to key: one that is NULL would be passed over, of two alike one",
      "CREATE TABLE \(Name.source) (\(lines: columns + ["PRIMARY KEY (\(list: key.map { "\($0.name)" }))"]))")
  }

  /// Reads the rows, in the order of the key, in which its index grows fastest.
  var freezing: [Statement] {
    guard case .frozen(let query) = sourceRows else { return [] }
    let columns: [SQL] = table.columns.map { "\($0.name)" }
    let order: [SQL] = key.map { "frozen.\($0.name)" }
    return [
      Statement(
        .freeze, why: "once, in one snapshot: what the steps change, or somebody else, is not found again",
        """
        INSERT INTO \(Name.source) (\(list: columns))
        SELECT *
        FROM  (\(query)) AS frozen
        ORDER  BY \(list: order)
        """),
      Statement(.freeze, why: "a new table has no statistics (K27)", "ANALYZE \(Name.source)"),
    ]
  }
}
