internal import MigrateCatalog
internal import MigrateDiagnostics
internal import MigratePlan
internal import MigrateSQL

extension ResolvedBatch {
  func plan(_ inputs: CompileInputs, warnings: Diagnostics) -> Plan {
    Plan(
      definition: name, identity: inputs.identity, searchPath: searchPath.joined(separator: ", "),
      parameters: inputs.parameters, pace: pace, parallel: parallel, expectations: expectations, canary: canary,
      onError: onError,
      maxRejects: rejects ? mostRejects : nil, key: key.map(\.name.name), phases: phases,
      steps: [
        MigratePlan.Step(
          number: Self.step, verb: "update", table: table.name.description,
          columns: assignments.map { WrittenColumn(name: $0.column.name.name, value: $0.text, place: $0.place) },
          joins: joins.map(\.planned), lets: lets.map { PlannedLet(name: $0.name.name, value: $0.text) },
          filter: plannedFilter,
          validation: validation.map { PlannedRule(reason: $0.reason, value: $0.text, place: $0.place) }, undo: way)
      ],
      warnings: warnings.all.map { warning in
        PlanWarning(
          code: warning.code, line: warning.span.map { warnings.source.position(of: $0.start).line },
          message: warning.message, remedy: warning.remedy)
      },
      tables: [plannedTable],
      estimate: Estimate(rows: inputs.estimatedRows, undoBytes: inputs.estimatedRows * undoBytesPerRow),
      needs: needs)
  }

  private var way: Undo {
    switch undo {
    case .captured(let columns, _): .captured(columns: columns.map(\.name.name))
    case .none: .unavailable(reason: "the definition says `undo: none`")
    }
  }

  /// Key, old and new values; before compression.
  private var undoBytesPerRow: Int {
    key.reduce(0) { $0 + $1.width } + capturedColumns.reduce(0) { $0 + 2 * $1.width }
  }

  private var plannedTable: PlannedTable {
    let columns = key + capturedColumns
    return PlannedTable(
      name: "\(table.name.schema.quoted).\(table.name.name.quoted)", oid: table.oid,
      columns: columns.map {
        PlannedColumn(name: $0.name.name, number: $0.number, type: $0.type.spelling, typeOID: $0.typeOID)
      },
      index: table.indexes.first { $0.isWalkable && Set($0.columns) == Set(key.map(\.number)) }?.name ?? "",
      triggers: table.triggers.filter(\.firesOnUpdate).map(\.name))
  }

  /// The eligible rows, where ``explainable`` does not tell how many they are.
  var counted: RenderedSQL? {
    guard isComposed else { return nil }
    let clauses: [SQL] = ["SELECT", "FROM   \(source)"] + (filter == nil ? [] : [.filtered(by: filterConditions)])
    return RenderedSQL(.joined(clauses, by: "\n"))
  }

  /// The change over all rows, whose plan EXPLAIN shows.
  var explainable: RenderedSQL {
    guard !isComposed else { return RenderedSQL(explainedJoin(.all)) }
    return RenderedSQL(
      """
      UPDATE \(source)
      SET    \(lines: assignmentLines)
      \(SQL.filtered(by: filterConditions))
      """)
  }
}
