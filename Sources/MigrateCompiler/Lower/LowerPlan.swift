internal import MigrateCatalog
internal import MigrateDiagnostics
internal import MigratePlan
internal import MigrateSQL

extension ResolvedBatch {
  func plan(_ inputs: CompileInputs, warnings: Diagnostics) -> Plan {
    Plan(
      definition: name, identity: inputs.identity, searchPath: searchPath.joined(separator: ", "),
      parameters: inputs.parameters, pace: pace, parallel: parallel, expectations: expectations,
      incremental: incremental,
      canary: canary, isPublishedAtOnce: isAside,
      onError: onError,
      maxRejects: rejects ? mostRejects : nil, key: key.map(\.name.name), phases: phases,
      steps: isStepped
        ? plannedSteps
        : [
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
      tables: [plannedTable], written: plannedTargets,
      estimate: Estimate(rows: inputs.estimatedRows, undoBytes: inputs.estimatedRows * undoBytesPerRow),
      needs: needs)
  }

  private var plannedSteps: [MigratePlan.Step] {
    steps.map { step in
      MigratePlan.Step(
        number: step.number, verb: step.words.verb, table: step.words.target, work: step.work,
        columns: step.values.map { WrittenColumn(name: $0.column.name.name, value: $0.text, place: $0.place) },
        joins: step.number == 1 ? joins.map(\.planned) : [],
        lets: step.number == 1 ? lets.map { PlannedLet(name: $0.name.name, value: $0.text) } : [],
        filter: step.number == 1 ? plannedFilter : nil,
        validation: step.number == 1
          ? validation.map { PlannedRule(reason: $0.reason, value: $0.text, place: $0.place) } : [],
        undo: !keepsUndo ? way : step.taken.map { .captured(columns: $0.map(\.name.name)) } ?? .stays)
    }
  }

  private var way: Undo {
    switch undo {
    case .captured(let columns, _): .captured(columns: columns.map(\.name.name))
    case .none: .unavailable(reason: "the definition says `undo: none`")
    }
  }

  /// Key, old and new values; before compression.
  private var undoBytesPerRow: Int {
    guard keepsUndo else { return key.reduce(0) { $0 + $1.width } }
    let ofSteps = steps.reduce(0) { sum, step in
      let digests = if case .insert = step.verb { 8 } else { 0 }
      return sum + digests + step.kept.reduce(0) { $0 + $1.width }
    }
    return (key + imageColumns).reduce(0) { $0 + $1.width } + capturedColumns.reduce(0) { $0 + 2 * $1.width } + ofSteps
  }

  private var plannedTable: PlannedTable {
    let columns = key + (isStepped ? batchColumns : capturedColumns)
    let name = RenderedSQL(walked)
    return PlannedTable(
      name: name.text, runAt: name.runAt, oid: table.oid,
      columns: columns.map {
        PlannedColumn(name: $0.name.name, number: $0.number, type: $0.type.spelling, typeOID: $0.typeOID)
      },
      index: table.indexes.first { $0.isWalkable && Set($0.columns) == Set(key.map(\.number)) }?.name ?? "",
      triggers: table.triggers.filter(\.firesOnUpdate).map(\.name))
  }

  /// Each table that steps write, once.
  private var plannedTargets: [PlannedTarget] {
    let written = steps.compactMap(\.written)
    return Set(written.map(\.table.oid)).sorted().compactMap { oid in
      guard let table = written.first(where: { $0.table.oid == oid })?.table else { return nil }
      let numbers = Set(
        steps.filter { $0.written?.table.oid == oid }.flatMap { step in
          ((step.written?.key ?? []) + step.kept + step.values.map(\.column)).map(\.number)
        })
      let columns = table.columns.filter { numbers.contains($0.number) }
      return PlannedTarget(
        name: "\(table.name.schema.quoted).\(table.name.name.quoted)", oid: oid,
        columns: columns.map {
          PlannedColumn(name: $0.name.name, number: $0.number, type: $0.type.spelling, typeOID: $0.typeOID)
        }, triggers: table.triggers.map(\.name), followers: table.referencedBy.filter(\.follows).map(\.name))
    }
  }

  /// The eligible rows, where ``explainable`` does not tell how many they are.
  var counted: RenderedSQL? {
    guard isComposed || isStepped else { return nil }
    let clauses: [SQL] =
      ["SELECT", "FROM   \(plannedSource)"] + (filter == nil ? [] : [.filtered(by: filterConditions)])
    return RenderedSQL(.joined(clauses, by: "\n"))
  }

  /// The change over all rows, whose plan EXPLAIN shows.
  var explainable: RenderedSQL {
    if isStepped, let counted { return counted }
    guard !isComposed else { return RenderedSQL(computedRows(.all)) }
    return RenderedSQL(
      """
      UPDATE \(source)
      SET    \(lines: assignmentLines)
      \(SQL.filtered(by: filterConditions))
      """)
  }
}

extension ForeignKey {
  /// Whether rows follow one that changes, or goes.
  fileprivate var follows: Bool {
    [onUpdate, onDelete].contains { action in
      switch action {
      case .none, .restrict: false
      case .cascade, .setNull, .setDefault: true
      }
    }
  }
}

extension ResolvedStep {
  /// The columns that come back to what they were; `nil` where nothing does.
  fileprivate var taken: [Column]? {
    switch verb {
    case .update, .delete: kept
    case .insert(let table, _, _): table.otherColumns
    case .emit, .notify: nil
    }
  }

  fileprivate var work: StepWork {
    let table: Table? =
      switch verb {
      case .update(let written, _, _), .insert(let written, _, _), .delete(let written, _): written.table
      case .emit(let table, _, _): table
      case .notify: nil
      }
    return StepWork(
      relation: table.map { "\($0.name.schema.quoted).\($0.name.name.quoted)" }, match: words.match, from: words.from)
  }
}
