internal import MigrateCatalog
internal import MigratePlan
internal import MigrateSQL

/// Which rows of a batch are written.
///
/// What a row becomes may not be computable of one that the definition leaves out, as `label::int` of `'n/a'` under
/// `where: is_number(label)`. The planner asks the cheapest condition first, in whatever order they are written.
extension ResolvedBatch {
  /// What stands behind SET: the batch's rows that change, and no other row is computed.
  var changing: SQL {
    guard filterHasQuery, !computedConditions.isEmpty else {
      return .filtered(by: batchConditions + guarded(computedConditions))
    }
    return chosen
  }

  /// Conditions that are asked of the batch's rows alone: only CASE keeps an order.
  func guarded(_ conditions: [SQL]) -> [SQL] {
    // An end of a range over one column is never dearer than what is computed.
    let first = (key.count > 1 ? range : []) + canaryConditions + filterConditions
    guard !first.isEmpty, !conditions.isEmpty else { return conditions }
    return [
      """
      CASE WHEN \(SQL.joined(first, by: "\nAND "))
           THEN \(SQL.joined(conditions, by: "\nAND ")) END
      """
    ]
  }

  /// With a sub-select CASE would answer it anew for each row, or read all of its table for each batch, where a join would not. What
  /// is computed stands in the list of a query instead, behind all of its conditions; OFFSET 0 keeps it there.
  private var chosen: SQL {
    let names = key.indices.map { own("chosen_\($0 + 1)") }
    let changes = own("changes")
    let same: [SQL] = zip(keyColumns, names).map { "\($0) = chosen.\($1)" }
    // Nothing has locked them where no undo is captured, and only a row that is locked is read again as its last writer has left it.
    let lock: SQL = capturedColumns.isEmpty ? "\nFOR    NO KEY UPDATE OF \(alias)" : ""
    let computed: SQL = "(\(SQL.joined(computedConditions, by: "\nAND "))) AS \(changes)"
    return """
      FROM  (SELECT \(lines: zip(keyColumns, names).map { "\($0) AS \($1)" } + [computed])
             FROM   \(source)
             \(SQL.filtered(by: batchConditions))
             OFFSET 0\(lock)) AS chosen
      \(SQL.filtered(by: range + same + ["chosen.\(changes)"]))
      """
  }

  /// The name of a column that stands beside those of the definition's table, and is none of theirs.
  private func own(_ base: String) -> SQL {
    var name = base
    while table.columns.contains(where: { $0.name == Identifier(trusted: name) }) { name += "_" }
    return SQL(pieces: [.text(name)])
  }
}
