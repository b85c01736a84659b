internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigrateSQL

/// A step whose SQL has been parsed.
struct ParsedStep: Sendable {
  /// Its number, from 1; a move is two of them.
  let number: Int
  let definition: StepDefinition
  /// The query of `from`; `nil` without one.
  let query: SQLQuery?
  let match: SQLExpression?
  /// The values of the assignments of the same place.
  let values: [ParsedBatch.ParsedValue]
  /// Those of `set` under `on_conflict`.
  let onConflict: [ParsedBatch.ParsedValue]
  /// Those of `on_revert`.
  let onRevert: [ParsedBatch.ParsedValue]
  /// False where some SQL of it cannot be read; that has been said.
  let isWhole: Bool

  init(_ number: Int, _ step: StepDefinition, _ problems: inout [Diagnostic]) {
    self.number = number
    definition = step
    let count = problems.count
    query = step.from.flatMap { ParsedBatch.query($0.query, &problems) }
    var said: [Diagnostic] = []
    match = step.verb.match.flatMap { ParsedBatch.expression($0, &said) }
    // What is wrong with that of a move is said of its other half.
    if case .add = step.verb {} else { problems += said }
    values = step.verb.values.map { ParsedBatch.value($0.value, &problems) }
    onConflict = step.verb.set.map { ParsedBatch.value($0.value, &problems) }
    onRevert = step.onRevert.map { ParsedBatch.value($0.value, &problems) }
    isWhole = problems.count == count && said.isEmpty
  }

  var texts: [any SQLText] {
    let expressions = (values + onConflict + onRevert).compactMap { value -> SQLExpression? in
      guard case .sql(let expression) = value else { return nil }
      return expression
    }
    return (query.map { [$0] } ?? []) + (match.map { [$0] } ?? []) + expressions
  }
}

extension StepDefinition.Verb {
  /// What a row becomes that an insert has found there.
  fileprivate var set: [Assignment] {
    if case .overwrite(_, _, let onConflict) = self { onConflict.set } else { [] }
  }

  fileprivate var match: SourceFragment? {
    switch self {
    case .update(_, let match, _), .delete(_, let match), .add(_, _, let match, _): match
    case .insert, .overwrite, .emit, .notify: nil
    }
  }
}
