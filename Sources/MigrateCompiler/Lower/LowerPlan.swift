internal import MigrateCatalog
internal import MigrateDiagnostics
internal import MigratePlan
internal import MigrateSQL

extension ResolvedBatch {
  func plan(_ inputs: CompileInputs, warnings: Diagnostics) -> Plan {
    Plan(
      definition: name, identity: inputs.identity, searchPath: searchPath.joined(separator: ", "),
      parameters: inputs.parameters, batchSize: batchSize, key: key.map(\.name.name), phases: phases,
      steps: [
        MigratePlan.Step(
          number: Self.step, verb: "update", table: table.name.description,
          columns: assignments.map { WrittenColumn(name: $0.column.name.name, value: $0.text, line: $0.line) },
          undo: way)
      ],
      warnings: warnings.all.map { warning in
        PlanWarning(
          code: warning.code, line: warning.span.map { warnings.source.position(of: $0.start).line },
          message: warning.message, remedy: warning.remedy)
      },
      tables: [PlannedTable(name: table.name.description, oid: table.oid, fingerprint: fingerprint)],
      estimate: Estimate(rows: inputs.estimatedRows, undoBytes: inputs.estimatedRows * undoBytesPerRow))
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

  /// Columns and types of the table, so that a later look can tell whether it is still the same.
  private var fingerprint: String {
    table.columns.map { "\($0.number) \($0.name.name) \($0.type.spelling)" }.joined(separator: "\n")
  }

  /// The change over all rows, whose plan EXPLAIN shows.
  var explainable: RenderedSQL {
    let lines: [SQL] = assignments.map { "\($0.column.name) = \($0.value)" }
    return RenderedSQL(
      """
      UPDATE \(source)
      SET    \(lines: lines)
      \(SQL.filtered(by: filterConditions.isEmpty ? [] : filterConditions))
      """)
  }
}
