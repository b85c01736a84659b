package import MigrateDiagnostics

/// One query of a user that only reads: SELECT, VALUES, TABLE, WITH … SELECT.
package struct SQLQuery: SQLText {
  package let fragment: SourceFragment
  package let facts: SQLFacts
  package let endsInLineComment: Bool
  package let outputs: QueryOutputs
  /// What must be equal for a row of it to be there: in its WHERE, and in the conditions of its inner joins.
  package let equalities: [Equality]

  /// Reads `fragment`.
  /// - Throws: what is wrong with it: no SQL, no query, more than one statement, one that writes or locks.
  package static func parse(_ fragment: SourceFragment) throws(SQLDiagnostics) -> SQLQuery {
    let reader = try SQLReader(fragment, prefix: "")
    guard let select = reader.statement.node("SelectStmt") else {
      throw SQLDiagnostics(.notAQuery(reader.sql, in: fragment))
    }
    var collector = reader.collect()
    collector.walk(reader.statement)
    if let problems = SQLDiagnostics(reader.forbidden(collector.forbidden)) { throw problems }
    return SQLQuery(
      fragment: fragment, facts: collector.facts, endsInLineComment: reader.sql.endsInLineComment,
      outputs: QueryOutputs(of: select),
      equalities: conditions(of: select).flatMap { Equality.all(in: $0, of: collector) })
  }

  private static func conditions(of select: ParseTree) -> [ParseTree] {
    guard select["larg"] == nil else { return [] }
    func joined(_ item: ParseTree) -> [ParseTree] {
      guard let join = item.node("JoinExpr"), ["JOIN_INNER", nil].contains(join["jointype"]?.text) else { return [] }
      return (join["quals"].map { [$0] } ?? []) + [join["larg"], join["rarg"]].compactMap(\.self).flatMap(joined)
    }
    return (select["whereClause"].map { [$0] } ?? []) + select.list("fromClause").flatMap(joined)
  }
}

extension Diagnostic {
  fileprivate static func notAQuery(_ sql: TokenizedSQL, in fragment: SourceFragment) -> Diagnostic {
    let first = sql.tokens.first?.range ?? 0..<0
    return Diagnostic(
      "not-a-query", at: fragment.span(of: first), "one SELECT expected, this is `\(sql.text(first))`",
      remedy: "write a query that only reads; what changes rows is `set:`")
  }
}
