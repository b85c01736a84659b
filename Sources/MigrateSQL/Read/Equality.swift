/// An equality that must hold for a condition to be true: a term of its outermost AND.
package struct Equality: Sendable {
  package let left: SQLShape
  package let right: SQLShape
  /// The bytes of both sides; `nil` where the text does not tell plainly where they end.
  package let ranges: (left: Range<Int>, right: Range<Int>)?

  /// All of them in `tree`, in the order of the text.
  static func all(in tree: ParseTree?, of collector: FactCollector) -> [Equality] {
    guard let node = tree?.node else { return [] }
    switch node.name {
    case "BoolExpr" where node.value["boolop"]?.text == "AND_EXPR":
      return node.value.list("args").flatMap { all(in: $0, of: collector) }
    case "A_Expr":
      guard case .infix("=", let left, let right) = SQLShape(tree, of: collector) else { return [] }
      let sides = EqualitySides(collector.sql)
      return [Equality(left: left, right: right, ranges: sides.around(collector.offset(node.value)))]
    default: return []
    }
  }
}

/// Where the sides of an equality begin and end: at the next AND or OR, or at a bracket that encloses all of it.
private struct EqualitySides {
  private let sql: TokenizedSQL
  /// Words behind which an AND can be another than the outermost, or that bind less than `=`.
  private static let others = ["between", "case", "not", "in", "like", "ilike", "similar", "is", "isnull", "notnull"]

  init(_ sql: TokenizedSQL) { self.sql = sql }

  func around(_ sign: Int) -> (left: Range<Int>, right: Range<Int>)? {
    let index = sql.index(at: sign)
    guard sql.token(at: sign)?.isSign("=") == true,
      let left = side(from: index, by: -1), let right = side(from: index, by: 1)
    else { return nil }
    return (left, right)
  }

  /// The tokens next to `sign` in one direction, as far as they belong to its operand.
  private func side(from sign: Int, by step: Int) -> Range<Int>? {
    var depth = 0
    var last = sign
    var index = sign + step
    while sql.tokens.indices.contains(index) {
      let token = sql.tokens[index]
      let opens = token.isSign("(") || token.isSign("[")
      if opens || token.isSign(")") || token.isSign("]") { depth += opens == (step > 0) ? 1 : -1 }
      if depth < 0 { break }
      if let word = sql.keyword(index), depth == 0 {
        if word == "and" || word == "or" { break }
        guard !Self.others.contains(word) else { return nil }
      }
      last = index
      index += step
    }
    guard last != sign else { return nil }
    let (first, end) = step > 0 ? (sign + 1, last) : (last, sign - 1)
    return sql.tokens[first].range.lowerBound..<sql.tokens[end].range.upperBound
  }
}
