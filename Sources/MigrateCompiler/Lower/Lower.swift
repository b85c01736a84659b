internal import MigrateCatalog
internal import MigratePlan
internal import MigrateSQL

/// Operation becomes statements. Nothing can go wrong here for the user: all that could has been said by *resolve*.
extension ResolvedBatch {
  var phases: [Phase] {
    [
      Phase(.before, checksBefore.map { $0.statement() }),
      Phase(.prepare, (isStepped ? prepareSteps : prepareUndo) + (coverage == .collected ? [keysTable] : [])),
      Phase(
        .bounds,
        [lockers] + freezing + [upper] + (coverage == .collected ? [collect] : []) + (slices.map { [$0] } ?? [])
          + staging),
      Phase(
        .batches,
        [settings, lock, coverage == .collected ? collectedBound : bound] + stepStatements
          + checksBatch.map { $0.statement(batch: batchRows) } + (measure.map { [$0] } ?? [])
          + [isStepped ? finishSteps : isAside ? finishAside : finish]
          + (isolatesErrors ? [middle, keys] + (isStepped ? [] : [images]) : [])
          + (rejects ? [reject, previous] : [])),
      Phase(.holds, holds.map { statement($0) }),
      Phase(.publish, isAside ? publishing : []),
      Phase(
        .finish,
        [leftBehind] + checksAfter.map { $0.statement() } + (dropOwn == nil ? [] : [dropKeys])),
      Phase(.revert, !keepsUndo ? [] : isStepped ? revertSteps : revert),
    ]
  }

  /// Whether a run can be taken back.
  var keepsUndo: Bool {
    switch undo {
    case .captured: true
    case .none: false
    }
  }

  private var stepStatements: [Statement] {
    if isStepped { return steppedStatements }
    let validate = judges ? [validate] : []
    if isComposed { return joinedStatements(validate) }
    return switch undo {
    case .captured:
      foreseesImages
        ? [captureForeseen, capture(locked: true)] + validate + [changeAsCaptured(updateAll), change]
        : [capture(locked: false), capture(locked: true)] + validate + [change] + (hasAfterTriggers ? [image] : [])
    case .none:
      foreseesKeys
        ? [captureKeys, changeAsCaptured(update), changeWithoutUndo] : [changeWithoutUndo] + validate
    }
  }

  /// Whether a batch has a change that only changes, the capture before it having told all that is kept.
  var changesAsCaptured: Bool {
    switch undo {
    case .captured: isComposed ? foreseesJoined : foreseesImages
    case .none: foreseesKeys
    }
  }

  /// What is read of other tables is read once, by the capture; the change writes what it has computed.
  private func joinedStatements(_ validate: [Statement]) -> [Statement] {
    switch undo {
    case .captured:
      let captures = [captureJoined(locked: false), captureJoined(locked: true)] + validate
      if isAside { return captures }
      return foreseesJoined
        ? captures + [changeAsCaptured(updateAsComputed), change]
        : captures + [change] + (hasAfterTriggers ? [image] : [])
    case .none: return [changeWithoutUndo] + validate
    }
  }

  /// Without undo only the keys are kept. Where a batch does every row the index alone tells them, which costs less than to have
  /// them from the change; which rows break a rule it does not.
  private var foreseesKeys: Bool { filter == nil && canary == nil && !hasTriggers && !judges && !isComposed }

  /// `batch` for a check: the source rows as they were. Changed rows come from undo, the others are still what they were.
  private var batchRows: SQL {
    if isStepped { return "WITH \(batch(.captured, before: steps.count + 1))\n" }
    let kept = capturedColumns
    let arrays = keyNames + kept.map { Name.old($0) }
    let columns: [SQL] = table.columns.map { column in
      kept.contains { $0.number == column.number }
        ? "d.\(Name.old(column)) AS \(column.name)" : "\(alias).\(column.name)"
    }
    let changed: SQL = """
      SELECT
      FROM   \(lines: unnested(keyNames))
      WHERE  \(Self.placeRead)
        AND  \(sameKey)
      """
    return """
      WITH batch AS (
        SELECT \(list: columns)
        FROM   \(lines: unnested(arrays) + [source])
        WHERE  \(Self.placeRead)
          AND  \(sameKey)
        UNION  ALL
        SELECT \(list: table.columns.map { "\(alias).\($0.name)" })
        FROM   \(source)
        \(SQL.filtered(by: batchConditions + ["NOT EXISTS (\(changed))"]))
      )

      """
  }
}
