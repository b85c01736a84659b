internal import MigrateDiagnostics

/// Brackets that do not match, and a `;`: with either a text could reach out of the place it is put into (S02).
enum BracketCheck {
  static func problem(of sql: TokenizedSQL, in fragment: SourceFragment) -> Diagnostic? {
    var open: [Token] = []
    for token in sql.tokens {
      if token.isSign(";") { return .secondStatement(token.range, sql, in: fragment) }
      if token.isSign("(") || token.isSign("[") { open.append(token) }
      guard token.isSign(")") || token.isSign("]") else { continue }
      guard let opener = open.popLast() else { return .closesNothing(token.range, sql, in: fragment) }
      if opener.isSign("(") != token.isSign(")") { return .crossed(token.range, opener.range, sql, in: fragment) }
    }
    return open.last.map { .neverClosed($0.range, sql, in: fragment) }
  }
}

extension Diagnostic {
  /// 22: a semicolon would end the statement around it, and what follows would run by itself.
  fileprivate static func secondStatement(
    _ range: Range<Int>, _ sql: TokenizedSQL, in fragment: SourceFragment
  ) -> Diagnostic {
    let isLast = sql.tokens.last?.range == range
    return Diagnostic(
      "second-statement", at: fragment.span(of: range),
      isLast
        ? "`;` ends a statement; here stands a part of one" : "`;` starts another statement; only one may stand here",
      remedy: isLast ? "remove it" : "remove it and what follows: `\(sql.trimmed(0..<range.lowerBound))`")
  }

  fileprivate static func closesNothing(
    _ range: Range<Int>, _ sql: TokenizedSQL, in fragment: SourceFragment
  ) -> Diagnostic {
    Diagnostic(
      "unbalanced-parenthesis", at: fragment.span(of: range), "this `\(sql.text(range))` closes nothing",
      remedy: "remove it, or open it before `\(sql.trimmed(0..<range.lowerBound))`")
  }

  fileprivate static func crossed(
    _ range: Range<Int>, _ opener: Range<Int>, _ sql: TokenizedSQL, in fragment: SourceFragment
  ) -> Diagnostic {
    let open = sql.text(opener)
    return Diagnostic(
      "unbalanced-parenthesis", at: fragment.span(of: range), "this `\(sql.text(range))` would close a `\(open)`",
      remedy: "close the `\(open)` with `\(open == "(" ? ")" : "]")` first")
  }

  fileprivate static func neverClosed(
    _ range: Range<Int>, _ sql: TokenizedSQL, in fragment: SourceFragment
  ) -> Diagnostic {
    let open = sql.text(range)
    return Diagnostic(
      "unbalanced-parenthesis", at: fragment.span(of: range), "this `\(open)` is never closed",
      remedy: "add the missing `\(open == "(" ? ")" : "]")`; if YAML cut the text short, put it under a `|`")
  }
}

extension TokenizedSQL {
  /// The text of `range` without white space at its ends.
  func trimmed(_ range: Range<Int>) -> String {
    let slice = bytes[range.clamped(to: 0..<bytes.count)]
    let start = slice.firstIndex { !Self.space.contains($0) } ?? slice.endIndex
    let end = slice.lastIndex { !Self.space.contains($0) }.map { $0 + 1 } ?? start
    return String(decoding: bytes[start..<end], as: UTF8.self)
  }
}
