internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigrateSQL

/// A step whose SQL has been parsed.
struct ParsedStep: Sendable {
  let definition: StepDefinition
  /// The query of `from`; `nil` without one.
  let query: SQLQuery?
  let match: SQLExpression?
  /// The values of the assignments of the same place.
  let values: [ParsedBatch.ParsedValue]
  /// False where some SQL of it cannot be read; that has been said.
  let isWhole: Bool

  init(_ step: StepDefinition, _ problems: inout [Diagnostic]) {
    definition = step
    let count = problems.count
    query = step.from.flatMap { ParsedBatch.query($0.query, &problems) }
    match = step.verb.match.flatMap { ParsedBatch.expression($0, &problems) }
    values = step.verb.values.map { ParsedBatch.value($0.value, &problems) }
    isWhole = problems.count == count
  }

  var texts: [any SQLText] {
    let expressions = values.compactMap { value -> SQLExpression? in
      guard case .sql(let expression) = value else { return nil }
      return expression
    }
    return (query.map { [$0] } ?? []) + (match.map { [$0] } ?? []) + expressions
  }
}

extension StepDefinition.Verb {
  fileprivate var match: SourceFragment? {
    switch self {
    case .update(_, let match, _), .delete(_, let match): match
    case .insert, .emit, .notify: nil
    }
  }
}
