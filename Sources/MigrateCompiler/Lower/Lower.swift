internal import MigrateCatalog
internal import MigratePlan
internal import MigrateSQL

/// Operation becomes statements. Nothing can go wrong here for the user: all that could has been said by *resolve*.
extension ResolvedBatch {
  var phases: [Phase] {
    [
      Phase(.before, checksBefore.map { $0.statement("check") }),
      Phase(.prepare, prepareUndo + (coverage == .collected ? [keysTable] : [])),
      Phase(.bounds, [lockers, upper] + (coverage == .collected ? [collect] : [])),
      Phase(
        .batches,
        [settings, coverage == .collected ? collectedBound : bound] + stepStatements
          + checksBatch.map { $0.statement("check", batch: batchRows) } + [finish]),
      Phase(
        .finish,
        [leftBehind] + checksAfter.map { $0.statement("check") } + (coverage == .collected ? [dropKeys] : [])),
      Phase(.revert, revert),
    ]
  }

  private var stepStatements: [Statement] {
    switch undo {
    case .captured:
      foreseesImages
        ? [captureForeseen, capture(locked: true), changeAsCaptured(batchConditions), change]
        : [capture(locked: false), capture(locked: true), change] + (hasAfterTriggers ? [image] : [])
    case .none:
      foreseesKeys
        ? [captureKeys, changeAsCaptured(changingConditions), changeWithoutUndo] : [changeWithoutUndo]
    }
  }

  /// Whether a batch has a change that only changes, the capture before it having told all that is kept.
  var changesAsCaptured: Bool {
    switch undo {
    case .captured: foreseesImages
    case .none: foreseesKeys
    }
  }

  /// Without undo only the keys are kept. Where every row is eligible the index alone tells them, which costs less than to have
  /// them from the change.
  private var foreseesKeys: Bool { filter == nil && !hasTriggers }

  /// `batch` for a check: the source rows as they were. Changed rows come from undo, the others are still what they were.
  private var batchRows: SQL {
    let kept = capturedColumns
    let names = key.indices.map { Name.key($0) }
    let arrays = names + kept.map { Name.old($0) }
    let columns: [SQL] = table.columns.map { column in
      kept.contains { $0.number == column.number }
        ? "d.\(Name.old(column)) AS \(column.name)" : "\(alias).\(column.name)"
    }
    let same: SQL = .joined(zip(keyColumns, names).map { "\($0) = d.\($1)" }, by: " AND ")
    let here: SQL = "(b.slice, b.ordinal, b.part) = (\(Role.slice), \(Role.ordinal), \(Role.part))"
    let changed: SQL = """
      SELECT
      FROM   \(Name.undo(Self.step)) AS b, unnest(\(list: names.map { "b.\($0)" })) AS d(\(list: names))
      WHERE  \(here)
        AND  \(same)
      """
    return """
      WITH batch AS (
        SELECT \(list: columns)
        FROM   \(Name.undo(Self.step)) AS b, unnest(\(list: arrays.map { "b.\($0)" })) AS d(\(list: arrays)), \(source)
        WHERE  \(here)
          AND  \(same)
        UNION  ALL
        SELECT \(list: table.columns.map { "\(alias).\($0.name)" })
        FROM   \(source)
        \(SQL.filtered(by: batchConditions + ["NOT EXISTS (\(changed))"]))
      )

      """
  }
}
