package import MigrateDiagnostics

/// SQL that a user wrote, as read: the text, untouched, and what is known about it. Ranges are bytes of the text.
package protocol SQLText: Sendable {
  var fragment: SourceFragment { get }
  var facts: SQLFacts { get }
  /// Whether a `--` comment reaches to the very end: what follows must begin on a new line.
  var endsInLineComment: Bool { get }
}

extension SQLText {
  /// As the user wrote it, comments included.
  package var text: String { fragment.text }
  package var parameters: [ParameterUse] { facts.parameters }
  package var columns: [ColumnUse] { facts.columns }
  package var functions: [FunctionUse] { facts.functions }
  package var operators: [OperatorUse] { facts.operators }
  package var relations: [RelationUse] { facts.relations }
  package var sqlValueFunctions: [SQLValueFunctionUse] { facts.sqlValueFunctions }
  package var constants: [ConstantUse] { facts.constants }
  package var casts: [CastUse] { facts.casts }
  package var clockUses: [ClockUse] { facts.clockUses }

  /// The place in the file of the bytes `range` of the text.
  package func span(of range: Range<Int>) -> SourceSpan { fragment.span(of: range) }

  /// 19: what SQL reads as `user` or `current_date` although a column of that name is in sight.
  package func sqlValuesThatNameColumns(_ visibleColumns: [String]) -> [Diagnostic] {
    let visible = Set(visibleColumns.map(Identifier.init(trusted:)))
    return facts.sqlValueFunctions.filter { $0.scope == .top && visible.contains(Identifier(trusted: $0.name)) }
      .map { .wordNotColumn($0.name, at: fragment.span(of: $0.range)) }
  }
}

extension Diagnostic {
  fileprivate static func wordNotColumn(_ name: String, at span: SourceSpan) -> Diagnostic {
    let meaning =
      switch name {
      case "user", "current_user", "session_user", "current_role": "the database role"
      case "current_catalog": "the database's name"
      case "current_schema": "the current schema"
      default: "the time"
      }
    return Diagnostic(
      "word-not-column", at: span, "`\(name)` is \(meaning) in SQL, not the column", remedy: "write `batch.\(name)`")
  }
}
