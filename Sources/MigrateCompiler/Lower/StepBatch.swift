internal import MigrateCatalog
internal import MigrateSQL

/// How the steps of a batch read its rows.
extension ResolvedBatch {
  /// What the steps call `batch`.
  enum BatchRows: Equatable {
    /// As the capture has fixed it, each row found by its key: PostgreSQL expects few rows of it, so that it looks up by an index what is
    /// joined with it.
    case captured
    /// The same rows by their range, which costs less where nothing is joined with them.
    case ranged
    /// The same before there is a run.
    case explained
    /// All source rows, for EXPLAIN.
    case all
  }

  /// Whether `batch` can be read of the source again: it has nothing but the source's columns, and no step before this one writes there, and nobody else can, in one snapshot or by the
  /// locks of the capture.
  func isReadAgain(before number: Int) -> Bool {
    carried.isEmpty
      && !steps.contains { $0.number < number && $0.written?.table.shares(rowsOf: table) == true }
  }

  /// What is kept of a batch besides its keys: what is read of it when it is not in the source any more.
  var imageColumns: [Column] {
    let last = checksBatch.isEmpty ? steps.last?.number ?? 0 : steps.count + 1
    return isReadAgain(before: last) ? [] : readOfBatch
  }

  /// Whether the range and the definition's filter tell a batch's rows.
  private var isToldByRange: Bool { !judges && joins.isEmpty && !readsOtherRows && coverage == .walked }

  /// How a step reads them that joins nothing with them.
  func rowsByThemselves(before number: Int) -> BatchRows {
    isReadAgain(before: number) && coverage == .walked ? .ranged : .captured
  }

  /// The batch's rows in the source. In one snapshot its range finds what the capture has found; otherwise rows may have come in between.
  var rangedConditions: [SQL] {
    // As a condition of its own it is asked of each row in the range, and the keys are hashed; joined, each would be looked up.
    return isToldByRange
      ? batchConditions + ["(\(Role.snapshot) OR \(keyInSource) IN (\(claimedKeys)))"]
      : range + ["(\(keyInSource) IN (\(claimedKeys))) IS TRUE"]
  }

  private var keyInSource: SQL { keyColumns.count == 1 ? keyColumns[0] : "(\(list: keyColumns))" }

  private var claimedKeys: SQL {
    """
    SELECT \(list: keyNames.map { "d.\($0)" })
    FROM   \(lines: ["\(Name.image) AS b", "unnest(\(list: keyNames.map { "b.\($0)" })) AS d(\(list: keyNames))"])
    WHERE  \(Self.placeRead)
    """
  }

  /// The common tables that a step reads: the batch, and what it works from.
  func tables(of step: ResolvedStep, _ rows: BatchRows) -> SQL {
    switch step.rows {
    case .batch: batch(rows, before: step.number)
    case .query(let name, let query, _):
      // A sum over no rows is a row, too, and whether there is a batch without rows depends on how they are cut.
      """
      \(batch(rows, before: step.number)), \(name) AS (
        SELECT *
        FROM  (\(query)) AS \(name)
        WHERE  EXISTS (SELECT FROM batch)
      )
      """
    case .moved(let moved) where rows == .ranged && moved.isOwn:
      """
      \(Resolver.moved) AS (
        SELECT \(list: moved.table.columns.map { "\(alias).\($0.name)" })
        FROM   \(source)
        \(SQL.filtered(by: rangedConditions))
      )
      """
    case .moved(let moved):
      "\(batch(rows == .ranged ? .captured : rows, before: step.number)), \(Resolver.moved) AS (\n  \(moved.query)\n)"
    }
  }

  func batch(_ rows: BatchRows, before number: Int) -> SQL {
    let columns = key + readOfBatch
    let conditions: [SQL]
    switch rows {
    case .all: conditions = filterConditions
    case .explained: conditions = batchConditions
    case .ranged: conditions = rangedConditions
    case .captured where isReadAgain(before: number):
      conditions = range + ["\(keyInSource) IN (\(claimedKeys))"]
    case .captured:
      let names = keyNames + readOfBatch.map { Name.context($0) }
      return """
        batch AS (
          SELECT \(list: zip(names, columns).map { "d.\($0) AS \($1.name)" })
          FROM   \(lines: ["\(Name.image) AS b", "unnest(\(list: names.map { "b.\($0)" })) AS d(\(list: names))"])
          WHERE  \(Self.placeRead)
        )
        """
    }
    let isPlanned = rows == .explained || rows == .all
    let select: SQL = "SELECT \(list: columns.map { "\(alias).\($0.name)" })"
    let clauses: [SQL] =
      isPlanned && isComposed
      ? [select, "FROM   \(composed(rows == .all ? .all : .explained, judged: false))"]
      : [select, "FROM   \(isPlanned ? plannedSource : source)"]
        + (conditions.isEmpty ? [] : [.filtered(by: conditions)])
    return "batch AS (\n  \(SQL.joined(clauses, by: "\n"))\n)"
  }
}
