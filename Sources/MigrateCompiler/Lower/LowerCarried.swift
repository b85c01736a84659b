internal import MigrateCatalog
internal import MigrateSQL

/// What steps read of joins and of `let`: the capture computes it with the row and keeps it beside the columns of the source.
extension ResolvedBatch {
  /// What the steps call columns of `batch`, besides the key.
  var readOfBatch: [Column] { batchColumns + carried.map(\.column) }

  /// The source's rows with what is carried, under the source's alias; as it stands behind FROM.
  ///
  /// - Parameter judged: whether it has the columns that tell whether the row is in order, too.
  func composed(_ wanted: JoinedRows, judged: Bool) -> SQL {
    let values: [SQL] = ["\(alias).*"] + carried.map { "\($0.value) AS \($0.column.name)" }
    let conditions = conditions(of: wanted)
    let clauses: [SQL] =
      ["SELECT \(lines: values + (judged ? judgements : []))", "FROM   \(rows(wanted))"]
      + (conditions.isEmpty ? [] : [.filtered(by: conditions)]) + (judged ? sameRow : [])
    return "(\(SQL.joined(clauses, by: "\n"))) AS \(alias)"
  }

  /// Whether a row is in order, of what ``composed(_:judged:)`` gives, under the names that ``isInOrder(_:)`` knows.
  var judgementsOfComposed: [SQL] {
    (judgesRow ? ["\(alias).\(Name.valid) AS valid"] : [])
      + (needsCount ? ["\(alias).\(Name.matches) AS matches", "\(alias).\(Name.place) AS place"] : [])
  }

  private var judgements: [SQL] {
    (validOfJoined.map { ["\($0) AS \(Name.valid)"] } ?? [])
      + (needsCount
        ? ["count(*) OVER same AS \(Name.matches)", "row_number() OVER same AS \(Name.place)"] : [])
  }
}
