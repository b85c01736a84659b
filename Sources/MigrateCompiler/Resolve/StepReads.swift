internal import MigrateCatalog
internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigrateSQL

/// What a step reads of what another one writes.
extension Resolver {
  /// These columns, and what PostgreSQL computes from them.
  func written(_ columns: Set<Identifier>, of table: Table) -> Set<Identifier> {
    let numbers = Set(table.columns.filter { columns.contains($0.name) }.map(\.number))
    return columns.union(table.computed(from: numbers).map(\.name))
  }

  /// Whether a name is one of these columns, all of them, or the row as a whole.
  func isRead(_ use: ColumnUse, of relation: RelationUse, among columns: Set<Identifier>) -> Bool {
    guard !use.isStar, let part = use.column else { return true }
    return columns.contains(part.name) || use.qualifier == nil && part.name == relation.alias ?? relation.name
  }

  /// A column of rows that several batches change may be read by no other step, not even of a row that belongs to one row of the batch:
  /// which of the batches have been there before depends on how they are cut.
  mutating func checkSharedReads(_ steps: [NamedStep]) {
    for step in steps {
      guard case .update(let table, let match, let values) = step.verb, match.isShared else { continue }
      let columns = written(Set(values.map(\.column.name)), of: table.table)
      for other in parsed.steps where other.isWhole { checkReads(of: other, columns, of: table.table, besides: step) }
    }
  }

  private mutating func checkReads(
    of step: ParsedStep, _ columns: Set<Identifier>, of table: Table, besides shared: NamedStep
  ) {
    func refuse(_ column: String, at span: SourceSpan) {
      problems.append(.readsWhatIsWritten(column, table.name.description, at: span))
    }
    if case .add(_, let moved, _, _) = step.definition.verb, step.number != shared.number,
      parsed.steps.first(where: { $0.number == remover(of: step) }).flatMap({ asked($0) })?.shares(rowsOf: table)
        == true
    {
      refuse("*", at: moved.span)
    }
    if let query = step.query, let relation = query.relations.first(where: { isMeant(table, by: $0) }),
      let use = query.columns.first(where: { isRead($0, of: relation, among: columns) })
    {
      refuse(use.column?.name.name ?? "*", at: query.span(of: use.range))
    }
    guard step.number != shared.number, let target = asked(step), target.shares(rowsOf: table) else { return }
    let values = (step.values + step.onConflict).compactMap { value -> SQLExpression? in
      guard case .sql(let expression) = value else { return nil }
      return expression
    }
    let bare: StepNames.Bare =
      switch step.definition.verb {
      case .update, .overwrite: .target
      case .insert, .add, .delete, .emit, .notify: .either
      }
    for (text, bare) in (step.match.map { [($0, StepNames.Bare.either)] } ?? []) + values.map({ ($0, bare) }) {
      let names = StepNames(
        target: .init(table: target, name: target.name.name, alias: target.name.name), rows: nil, bare: bare)
      for use in text.columns {
        if case .target(let part) = meaning(of: use, in: names), columns.contains(part.name) {
          refuse(part.name.name, at: text.span(of: use.range))
        }
      }
    }
  }
}
