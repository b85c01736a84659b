internal import MigrateCatalog
internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigrateSQL

/// `on_revert:` what is said of an event when its batch is taken back.
extension Resolver {
  /// The columns that are others then.
  mutating func reversal(_ writing: StepWriting, _ table: Table) -> [RevertedValue] {
    var values: [RevertedValue] = []
    refuseWithoutUndo(writing.step)
    for (assignment, value) in zip(writing.step.definition.onRevert, writing.step.onRevert) {
      guard let column = writable(assignment.column, of: table), let fixed = fixed(value, column) else { continue }
      ask(.value, "SELECT CAST(\(fixed) AS \(column.type))")
      values.append(RevertedValue(column: column, value: "CAST(\(fixed) AS \(column.type))"))
    }
    return values
  }

  /// The text of a notification.
  mutating func reversalPayload(_ writing: StepWriting) -> SQL? {
    refuseWithoutUndo(writing.step)
    switch writing.step.onRevert.first {
    case .text(let text): return "\(Literal(text.value))"
    case .sql(let expression):
      problems.append(.onRevertIsConstant(at: expression.fragment.span))
      return nil
    case .constant(let constant):
      problems.append(.onRevertIsConstant(at: constant.span))
      return nil
    case .unreadable, nil: return nil
    }
  }

  private mutating func refuseWithoutUndo(_ step: ParsedStep) {
    guard case .none = operation.undo, let said = step.definition.onRevert.first else { return }
    problems.append(.onRevertWithoutUndo(at: said.column.span))
  }

  /// What the text says by itself: what it was computed from is not there any more.
  private mutating func fixed(_ value: ParsedBatch.ParsedValue, _ column: Column) -> SQL? {
    switch value {
    case .sql(let expression):
      if expression.isConstantOnly { return rewritten(expression) }
      problems.append(.onRevertIsConstant(at: expression.fragment.span))
      return nil
    case .text(let text): return constant(.text(text.value), column, at: text.span).first?.value
    case .constant(let constant): return self.constant(constant.value, column, at: constant.span).first?.value
    case .unreadable: return nil
    }
  }
}

extension Diagnostic {
  fileprivate static func onRevertWithoutUndo(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "on-revert-without-undo", at: span, "`on_revert` says what a revert does, and under `undo: none` there is none",
      remedy: "leave one of the two out")
  }

  fileprivate static func onRevertIsConstant(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "on-revert-is-constant", at: span, "a revert repeats the event that is kept, and computes nothing anew",
      remedy: "give a constant, as in `on_revert: {state: 'restored'}`; the other columns are repeated as they were")
  }
}
