package import MigrateDiagnostics

/// One query of a user that only reads: SELECT, VALUES, TABLE, WITH … SELECT.
package struct SQLQuery: SQLText {
  package let fragment: SourceFragment
  package let facts: SQLFacts
  package let endsInLineComment: Bool
  /// What it gives, in order.
  package let outputs: [OutputColumn]
  /// Whether it cuts rows off (LIMIT, FETCH, OFFSET), so that which ones come depends on how it is asked.
  package let hasLimit: Bool

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
    let outputs = OutputNames(of: select).columns.map {
      OutputColumn(name: $0.name, isStar: $0.isStar, offset: max(0, $0.location))
    }
    return SQLQuery(
      fragment: fragment, facts: collector.facts, endsInLineComment: reader.sql.endsInLineComment, outputs: outputs,
      hasLimit: select["limitCount"] != nil || select["limitOffset"] != nil)
  }

  /// What is wrong with the output where columns are taken by name: one without a name, two of the same. A star is left to
  /// who knows the catalog.
  package func unusableOutputs() -> [Diagnostic] {
    var seen: Set<Identifier> = []
    return outputs.filter { !$0.isStar }.compactMap { output in
      let span = fragment.span(of: output.offset..<output.offset + 1)
      guard let name = output.name else { return .unnamedOutput(at: span) }
      return seen.insert(name).inserted ? nil : .repeatedOutput(name.name, at: span)
    }
  }
}

extension Diagnostic {
  fileprivate static func notAQuery(_ sql: TokenizedSQL, in fragment: SourceFragment) -> Diagnostic {
    let first = sql.tokens.first?.range ?? 0..<0
    return Diagnostic(
      "not-a-query", at: fragment.span(of: first), "one SELECT expected, this is `\(sql.text(first))`",
      remedy: "write a query that only reads; what changes rows is a step: `update:`, `insert:`, `delete:`")
  }

  fileprivate static func unnamedOutput(at span: SourceSpan) -> Diagnostic {
    Diagnostic("unnamed-output", at: span, "this column of the query has no name", remedy: "give it one: `… AS total`")
  }

  fileprivate static func repeatedOutput(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "repeated-output", at: span, "the query gives a second column called `\(name)`",
      remedy: "give it a name of its own: `… AS \(name)_2`, or leave it out")
  }
}
