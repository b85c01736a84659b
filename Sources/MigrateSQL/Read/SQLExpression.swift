package import MigrateDiagnostics

/// One SQL expression of a user.
///
/// It is parsed as `SELECT <text>`, bare: in `SELECT (<text>)` a comma would make a row of two values, and a `)` would end it.
package struct SQLExpression: SQLText {
  package let fragment: SourceFragment
  package let facts: SQLFacts
  package let endsInLineComment: Bool
  /// How it is built, as far as rules ask.
  package let shape: SQLShape
  /// What must be equal for it to be true, as far as its text tells.
  package let equalities: [Equality]
  /// What is divided by what, wherever it stands, with the bytes of the sign.
  package let divisions: [Division]

  /// Reads `fragment`.
  /// - Throws: what is wrong with it: no SQL, not an expression, more than one.
  package static func parse(_ fragment: SourceFragment) throws(SQLDiagnostics) -> SQLExpression {
    let reader = try SQLReader(fragment, prefix: "SELECT ")
    let target = try ExpressionCheck(reader).onlyTarget()
    var collector = reader.collect()
    collector.walk(target)
    if let problems = SQLDiagnostics(reader.forbidden(collector.forbidden)) { throw problems }
    return SQLExpression(
      fragment: fragment, facts: collector.facts, endsInLineComment: reader.sql.endsInLineComment,
      shape: SQLShape(target, of: collector), equalities: Equality.all(in: target, of: collector),
      divisions: collector.divisions.map { Division($0, of: collector) })
  }

  /// `dividend / divisor`.
  package struct Division: Sendable {
    package let dividend: SQLShape
    package let divisor: SQLShape
    package let sign: Range<Int>

    init(_ node: ParseTree, of collector: FactCollector) {
      dividend = SQLShape(node["lexpr"], of: collector)
      divisor = SQLShape(node["rexpr"], of: collector)
      let start = collector.offset(node)
      sign = start..<start + 1
    }
  }

  /// Whether its value is fixed by the text alone.
  package var isConstantOnly: Bool { facts.isConstantOnly }

  /// The column, when it is one and nothing else.
  package var bareColumn: ColumnUse? {
    guard case .column(let column) = shape else { return nil }
    return column
  }

  /// The string, when it is a string constant and nothing else.
  package var stringLiteral: String? {
    guard case .constant(let constant) = shape, case .string(let text) = constant.value else { return nil }
    return text
  }
}
