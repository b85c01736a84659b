internal import MigrateCatalog
internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigrateSQL

/// `validation`: rules for the row as it would be written.
extension Resolver {
  /// What a query calls the row as it would be written, around a rule that has a query of its own.
  static let written = Identifier(trusted: "written")

  mutating func resolveValidation(_ assignments: [NamedAssignment], _ parameters: Parameters) -> [Rule] {
    parsed.validation.map { rule in
      let condition = rule.condition
      let isKnown = checkExpression(condition, parameters)
      checkRule(condition, assignments)
      let resolved = rowCondition(condition)
      if isKnown { ask(.rule, probe(condition, assignments)) }
      return Rule(
        reason: rule.reason, condition: resolved, text: condition.text,
        place: source.place(of: condition.fragment.span))
    }
  }

  /// A rule is evaluated more than once, and what it names must be the same each time.
  private mutating func checkRule(_ condition: SQLExpression, _ assignments: [NamedAssignment]) {
    for call in condition.functions where volatility(of: call) == .volatile {
      problems.append(.volatileRule(call.name.last?.name ?? "", at: condition.span(of: call.range)))
    }
    for use in condition.columns {
      if let named = letNamed(use), named.isVolatile {
        problems.append(.ruleOverVolatileLet(named.name.name, at: condition.span(of: use.range)))
      }
    }
    for use in condition.columns where use.qualifier == nil {
      guard let name = use.column, let column = table.column(name.name.name) else { continue }
      let span = condition.span(of: use.range)
      if assignments.contains(where: { $0.column.number == column.number && $0.isVolatile }) {
        problems.append(.ruleOverVolatile(column.name.name, at: span))
      } else if column.isGenerated {
        problems.append(.ruleOverGenerated(column.name.name, from: column.expression, at: span))
      }
    }
  }

  private func rowCondition(_ expression: SQLExpression) -> RowCondition {
    var holes: [(range: Range<Int>, part: RowCondition.Part)] = []
    for use in expression.columns {
      // What it reads of a join stands in its text.
      if use.scope == .top, letNamed(use) != nil { continue }
      if use.scope == .top, let qualifier = use.qualifier, joins.contains(where: { $0.name == qualifier.name }) {
        continue
      }
      guard use.scope == .top, !use.isStar, let name = use.column, let column = table.column(name.name.name),
        use.parts.count <= 2
      else { return RowCondition(parts: [.sql(rewritten(expression))], hasScope: true) }
      holes.append((use.range, use.qualifier == nil ? .written(column.number) : .held(column.number)))
    }
    guard !expression.facts.hasSubquery else {
      return RowCondition(parts: [.sql(rewritten(expression))], hasScope: true)
    }
    return RowCondition(parts: parts(of: expression, holes), hasScope: false)
  }

  private func parts(
    of expression: SQLExpression, _ holes: [(range: Range<Int>, part: RowCondition.Part)]
  ) -> [RowCondition.Part] {
    var parts: [RowCondition.Part] = []
    var done = 0
    let end = expression.text.utf8.count
    for hole in holes.sorted(by: { $0.range.lowerBound < $1.range.lowerBound }) {
      parts += [.sql(rewritten(expression, within: done..<hole.range.lowerBound)), hole.part]
      done = hole.range.upperBound
    }
    return parts + [.sql(rewritten(expression, within: done..<end))]
  }

  /// What the database is asked about a rule: over a row with the types of the table, whatever the values turn out to be.
  private func probe(_ expression: SQLExpression, _ assignments: [NamedAssignment]) -> SQL {
    let columns: [SQL] = table.columns.filter { !$0.isGenerated }.map { "CAST(NULL AS \($0.image)) AS \($0.name)" }
    return """
      SELECT FROM \(joinedRow) CROSS JOIN LATERAL (SELECT FROM (SELECT \(list: columns)) AS \(Self.written)
      WHERE (\(rewritten(expression)))) AS found
      """
  }
}

extension Diagnostic {
  fileprivate static func volatileRule(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "volatile-rule", at: span,
      "`\(name)()` is volatile: a rule by it could let a row pass once and reject it the next time",
      remedy: "decide by the row, `:started_at`, or a parameter")
  }

  fileprivate static func ruleOverVolatile(_ column: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "rule-over-volatile", at: span,
      "\"\(column)\" becomes another value each time it is computed, so what a rule sees is not what is written",
      remedy: "look at the rows when they are written: a constraint of the table, or `checks: {batch: …}`; "
        + "`batch.\(column)` is the old value")
  }

  fileprivate static func ruleOverVolatileLet(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "rule-over-volatile", at: span,
      "\"\(name)\" is another value each time it is computed, so what a rule sees is not what is written",
      remedy: "look at the rows when they are written: a constraint of the table, or `checks: {batch: …}`")
  }

  fileprivate static func ruleOverGenerated(_ column: String, from expression: String?, at span: SourceSpan)
    -> Diagnostic
  {
    Diagnostic(
      "rule-over-generated", at: span,
      "\"\(column)\" is generated when the row is written, after it was validated",
      remedy: "write what it is generated from: `\(expression ?? "…")`; `batch.\(column)` is the old value")
  }
}
