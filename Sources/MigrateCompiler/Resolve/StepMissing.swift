internal import MigrateCatalog
internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigrateSQL

/// `missing: reject`: a rule for the row of the batch, that the table has a row for it before the first step.
extension Resolver {
  mutating func rejectMissing(_ writing: StepWriting, _ table: WrittenTable, _ match: Match) {
    guard let span = writing.step.definition.rejectsMissing, let expression = writing.step.match else { return }
    if match.isShared, comesOrGoes(table.table) {
      problems.append(.missingByBatch(table.table.name, at: span))
      return
    }
    // Two tables of one name are two in the rule as well.
    let alias = Identifier(trusted: "migrate target")
    let target = StepNames.Target(table: table.table, name: table.table.name.name, alias: alias)
    let condition = rewritten(
      expression, in: StepNames(target: target, rows: nil, bare: .either), batch: rowName)
    let name = table.table.name.description
    missingRules.append(
      Rule(
        reason: "\(name): no row matches",
        condition: RowCondition(
          parts: [.sql("EXISTS (SELECT FROM \(table.table.name) AS \(alias) WHERE (\(condition)))")], hasScope: false),
        text: "a row of \(name) matches", place: source.place(of: span)))
  }
}

extension Diagnostic {
  fileprivate static func missingByBatch(_ table: QualifiedName, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "missing-by-batch", at: span,
      "rows of \(table.description) that several batches mean come and go, so which are missing would depend on how these are cut",
      remedy: "match them by the batch's key, or leave `missing: reject` out")
  }
}
