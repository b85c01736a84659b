internal import MigrateCatalog
internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigrateSQL

/// `move:` an insert, and a delete of what it has inserted.
extension Resolver {
  static let moved = Identifier(trusted: "moved")

  /// The number of the step that removes what this one adds.
  func remover(of step: ParsedStep) -> Int {
    let span = step.definition.span
    return parsed.steps.first { $0.number > step.number && $0.definition.span == span }?.number ?? step.number
  }

  /// The table whose rows this step adds elsewhere; the catalog was asked for it by the name of what removes them.
  func movedTable(of step: ParsedStep) -> Table? {
    let remover = remover(of: step)
    return parsed.steps.first { $0.number == remover }.flatMap { asked($0) }
  }

  /// The rows that are moved, found by what the delete behind them is told to delete; what is wrong with that is said there.
  mutating func movedRows(of step: ParsedStep, key: [Column]) -> (StepRows, StepNames.Rows?)? {
    guard let table = movedTable(of: step) else { return nil }
    let target = StepNames.Target(
      table: table, name: table.name.name, alias: Self.rowName(for: table.name.name.name, in: parsed))
    let condition: SQL
    if let match = step.match {
      condition = rewritten(match, in: StepNames(target: target, rows: nil, bare: .either))
    } else {
      condition = .joined(key.map { "\(target.alias).\($0.name) = batch.\($0.name)" }, by: " AND ")
    }
    return (
      .moved(
        MovedRows(
          table: table, alias: target.alias, condition: condition, isOwn: step.match == nil,
          removedBy: remover(of: step))),
      StepNames.Rows(name: table.name.name, alias: Self.moved, columns: table.columns.map(\.name))
    )
  }

  /// Moves that stand beside one another are one, so a row would be moved twice, or further than it has been.
  mutating func checkMoves() {
    var moved: [(from: Table, to: Table)] = []
    for step in parsed.steps {
      guard case .add(let to, _, _, _) = step.definition.verb else {
        if case .delete = step.definition.verb, !moved.isEmpty { continue }
        moved = []
        continue
      }
      guard let target = asked(step), let from = movedTable(of: step) else { continue }
      let meets = moved.contains { other in
        other.from.shares(rowsOf: from) || other.to.shares(rowsOf: from) || other.from.shares(rowsOf: target)
      }
      if meets || from.shares(rowsOf: target) { problems.append(.movesMeet(from.name, at: to.span)) }
      moved.append((from, target))
    }
  }

  /// Each column of the row that is moved goes into the one of its name, unless it is given another value, or has no place there.
  mutating func addition(
    _ values: [Assignment], _ writing: StepWriting, _ table: WrittenTable, _ parameters: Parameters
  ) -> [NamedAssignment]? {
    let columns = values.map { writable($0.column, of: table.table, isNew: true) }
    var resolved = self.values(values, columns, writing, bare: .rows, parameters)
    let given = Set(columns.compactMap { $0?.number })
    let source = movedTable(of: writing.step)
    for name in writing.names.rows?.columns ?? [] {
      let isGenerated = source?.column(name.name)?.isGenerated == true
      guard let column = table.table.column(name.name), !column.isGenerated || isGenerated else {
        // What is computed from the others is lost with nothing.
        if isGenerated { continue }
        problems.append(.columnWithoutHome(name.name, table.table.name.description, at: writing.step.definition.span))
        continue
      }
      guard !column.isGenerated, !given.contains(column.number) else { continue }
      let value: SQL = "\(writing.rows.name).\(name)"
      ask(
        .assignment(writing.firstValue + resolved.count),
        "\(probedRows(writing.rows))SELECT \(value) FROM \(writing.rows.name)")
      resolved.append(
        NamedAssignment(
          column: column, value: value, span: writing.step.definition.span, isVolatile: false, isConstant: false,
          text: name.name))
    }
    checkComplete(resolved, table.table, at: writing.step.definition.span)
    checkSequences(resolved, table.table)
    return resolved
  }
}

extension Diagnostic {
  fileprivate static func movesMeet(_ table: QualifiedName, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "moves-meet", at: span,
      "neighbouring moves are one, and another one of them takes rows of \(table.description) or brings rows there",
      remedy: "move each table once; where rows shall go two ways, `insert` them into one and `move` them to the other")
  }
}
