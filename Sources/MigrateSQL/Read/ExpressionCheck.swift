internal import MigrateDiagnostics

/// Whether a statement `SELECT <text>` is one expression and nothing besides.
struct ExpressionCheck {
  private let reader: SQLReader
  private var sql: TokenizedSQL { reader.sql }
  private var fragment: SourceFragment { reader.fragment }

  init(_ reader: SQLReader) { self.reader = reader }

  private static let clauses = [
    "from", "where", "group", "having", "window", "order", "limit", "offset", "fetch", "for", "union", "intersect",
    "except",
    "into",
  ]

  /// The expression.
  func onlyTarget() throws(SQLDiagnostics) -> ParseTree {
    guard let select = reader.statement.node("SelectStmt") else { throw SQLDiagnostics(clause(at: 0)) }
    if let first = sql.keyword(0), ["all", "distinct"].contains(first) { throw SQLDiagnostics(clause(at: 0)) }
    let outer = sql.outerIndices
    let targets = select.list("targetList").compactMap { $0.node("ResTarget") }
    if targets.count > 1, let comma = outer.first(where: { sql.tokens[$0].isSign(",") }) {
      throw SQLDiagnostics(.secondExpression(sql.tokens[comma].range, sql, in: fragment))
    }
    guard !hasOtherClause(select), targets.count == 1, let target = targets.first, let value = target["val"] else {
      throw SQLDiagnostics(clause(at: outer.first(where: isClause) ?? 0))
    }
    if let last = outer.last, target["name"] != nil { throw SQLDiagnostics(alias(at: last)) }
    if let star = star(value) { throw SQLDiagnostics(.star(star, in: fragment)) }
    return value
  }

  private func hasOtherClause(_ select: ParseTree) -> Bool {
    guard case .object(let members) = select else { return true }
    return members.contains { member in
      switch member.name {
      case "targetList": false
      case "limitOption": member.value.text != "LIMIT_OPTION_DEFAULT"
      case "op": member.value.text != "SETOP_NONE"
      default: true
      }
    }
  }

  /// Whether the token begins a clause: `FROM` also stands in `IS DISTINCT FROM`.
  private func isClause(_ index: Int) -> Bool {
    guard let word = sql.keyword(index), Self.clauses.contains(word) else { return false }
    return !(word == "from" && sql.keyword(index - 1) == "distinct")
  }

  private func clause(at index: Int) -> Diagnostic {
    let range = sql.tokens[index].range
    let word = (sql.keyword(index) ?? sql.text(range)).uppercased()
    return .clause(word, range, rest: sql.trimmed(range.upperBound..<sql.bytes.count), in: fragment)
  }

  private func alias(at last: Int) -> Diagnostic {
    let name = sql.tokens[last].range
    let hasAS = sql.keyword(last - 1) == "as"
    let range = hasAS ? sql.tokens[last - 1].range.lowerBound..<name.upperBound : name
    let before = sql.trimmed(0..<range.lowerBound)
    guard !hasAS, last > 0, sql.tokens[last - 1].isName, endsInColumn(last - 1) else {
      return .alias(sql.text(name), of: before, range, remedy: "remove `\(sql.text(range))`", in: fragment)
    }
    let quoted = sql.quotedName(from: last - 1, through: last)
    return .alias(
      sql.text(name), of: sql.text(sql.tokens[last - 1].range), range, remedy: "write `\(quoted)`", in: fragment)
  }

  /// Whether all of the text up to the token is one name: `batch.Unit`.
  private func endsInColumn(_ index: Int) -> Bool {
    (0...index).allSatisfy { $0 % 2 == 0 ? sql.tokens[$0].isName : sql.tokens[$0].isSign(".") }
  }

  /// The `*` of `*`, `t.*` or `(row).*`.
  private func star(_ value: ParseTree) -> Range<Int>? {
    let fields = value.node("ColumnRef")?.list("fields") ?? value.node("A_Indirection")?.list("indirection") ?? []
    guard fields.last?.node("A_Star") != nil else { return nil }
    return sql.tokens.last { $0.isSign("*") }?.range ?? 0..<0
  }
}

extension Diagnostic {
  /// 20: behind a prefixed SELECT a second word is an alias, so `price discount` would be read as the price alone.
  fileprivate static func alias(
    _ name: String, of expression: String, _ range: Range<Int>, remedy: String, in fragment: SourceFragment
  ) -> Diagnostic {
    Diagnostic(
      "expression-alias", at: fragment.span(of: range), "this is `\(expression)` with the alias `\(name)`",
      remedy: remedy)
  }

  /// 21: behind a prefixed SELECT a comma begins another column, and its value would go nowhere.
  fileprivate static func secondExpression(
    _ range: Range<Int>, _ sql: TokenizedSQL, in fragment: SourceFragment
  ) -> Diagnostic {
    Diagnostic(
      "second-expression", at: fragment.span(of: range), "one expression expected, a second starts at the comma",
      remedy: "one line for each column; here only `\(sql.trimmed(0..<range.lowerBound))`")
  }

  /// 23: behind a prefixed SELECT a clause would be accepted, and mean something else than a query. `rest` is what
  /// follows it.
  fileprivate static func clause(
    _ word: String, _ range: Range<Int>, rest: String, in fragment: SourceFragment
  ) -> Diagnostic {
    let remedy =
      switch word {
      case "WHERE": "move it to `where: \(rest)`"
      case "FROM": "read another table in `join`, or by a sub-select in parentheses: `(SELECT … FROM …)`"
      default: "remove it; a whole query stands in parentheses: `(SELECT …)`"
      }
    return Diagnostic(
      "clause-in-expression", at: fragment.span(of: range), "an expression has no \(word)", remedy: remedy)
  }

  fileprivate static func star(_ range: Range<Int>, in fragment: SourceFragment) -> Diagnostic {
    Diagnostic(
      "star-in-expression", at: fragment.span(of: range), "`*` stands for several columns; one value is expected",
      remedy: "name the column; a count is `count(*)`")
  }
}
