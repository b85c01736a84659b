internal import MigrateDiagnostics

/// PostgreSQL's message, its place converted, with help for the mistakes that people make.
struct SyntaxError {
  let failure: PgQuery.Failure
  let sql: TokenizedSQL
  let parameters: [ParameterUse]
  let isExpression: Bool

  private var place: Int { min(failure.offset ?? 0, sql.bytes.count) }
  /// The token at the place; none at the end of the text.
  private var index: Int? {
    let index = sql.tokens.firstIndex { $0.range.upperBound > place } ?? sql.tokens.endIndex
    return sql.tokens.indices.contains(index) && place < sql.bytes.count ? index : nil
  }

  /// A text that not even PostgreSQL's scanner can cut into tokens: a string or comment that does not end.
  static func unreadable(_ failure: PgQuery.Failure, in fragment: SourceFragment) -> Diagnostic {
    let bytes = Array(fragment.text.utf8)
    let start = min(failure.offset ?? 0, bytes.count)
    let message = shortened(failure.message)
    let remedy =
      if message.contains("quoted string") {
        "end the string with `'`; a quote inside a string is written twice: `'it''s'`"
      } else if message.contains("comment") {
        "end the comment with `*/`"
      } else if message.contains("quoted identifier") {
        "end the name with `\"`; text stands in single quotes: `'text'`"
      } else if message.contains("dollar-quoted") {
        "end the string with the tag that began it"
      } else if message.contains("trailing junk after numeric") {
        "a name that begins with a digit needs quotes, `batch.\"2nd\"`; text stands in single quotes"
      } else {
        "text stands in single quotes, `'text'`, a name in double quotes, `batch.\"Unit Price\"`"
      }
    return Diagnostic(
      "syntax-error", at: fragment.span(of: start..<min(start + 1, bytes.count)), message, remedy: remedy)
  }

  func diagnostic(in fragment: SourceFragment) -> Diagnostic {
    if failure.message.utf8.starts(with: "memory exhausted".utf8) {
      return .tooDeepForParser(0..<sql.bytes.count, in: fragment)
    }
    let range = parameter?.range ?? index.map { sql.tokens[$0].range } ?? sql.bytes.count..<sql.bytes.count
    if isExpression, place <= sql.tokens[0].range.lowerBound, ["select", "with", "values"].contains(sql.keyword(0)) {
      return .queryAsExpression(range, sql.trimmed(0..<sql.bytes.count), in: fragment)
    }
    return Diagnostic("syntax-error", at: fragment.span(of: range), message, remedy: remedy)
  }

  private var parameter: ParameterUse? { parameters.first { $0.range.contains(place) } }

  /// The parser saw `$1` where the text has a parameter.
  private var message: String {
    let message = Self.shortened(failure.message)
    guard let parameter else { return message }
    return message.replacing("\"$1\"", with: "\":\(parameter.name.name)\"")
  }

  /// Drops what a message quotes when it is long or goes over lines: it stands under the caret anyway.
  private static func shortened(_ message: String) -> String {
    guard let quote = message.firstRange(of: " at or near ") else { return message }
    let quoted = message[quote.upperBound...]
    return quoted.utf8.count > 40 || quoted.utf8.contains(10) ? String(message[..<quote.lowerBound]) : message
  }

  private var remedy: String {
    guard let index else {
      return "something is missing behind `\(excerpt(before: sql.bytes.count))`"
    }
    let token = sql.tokens[index]
    let text = sql.text(token.range)
    if index > 0, token.isName, token.keyword != .reserved, let name = spacedName(endingAt: index) {
      return "a name with spaces or capitals stands in double quotes: `\(name)`"
    }
    if token.keyword == .reserved {
      return "`\(text)` is a word of SQL; a column of that name is `batch.\(text)`"
    }
    if let parameter {
      return "a parameter is a value: an operator or a comma is missing before `:\(parameter.name.name)`"
    }
    if token.isSign(":") { return "a parameter is written `:name`, a cast `x::type`" }
    if token.kind == .string || token.kind == .unicodeString {
      return
        "an operator is missing before \(text); to join texts write `||`, for a quote in a text write it twice: `''`"
    }
    if index == 0 { return "\(isExpression ? "an expression" : "a query") cannot begin with `\(text)`" }
    return "PostgreSQL understands it up to `\(excerpt(before: token.range.lowerBound))`; mend what follows"
  }

  /// `batch.Unit Price Net` as `batch."Unit Price Net"`.
  private func spacedName(endingAt index: Int) -> String? {
    var start = index
    while start > 0, sql.tokens[start - 1].isName, sql.tokens[start - 1].keyword != .reserved { start -= 1 }
    guard start < index else { return nil }
    var end = index
    while end + 1 < sql.tokens.count, sql.tokens[end + 1].isName, sql.tokens[end + 1].keyword != .reserved { end += 1 }
    return sql.quotedName(from: start, through: end)
  }

  private func excerpt(before end: Int) -> String {
    let bytes = Array(sql.trimmed(0..<end).utf8)
    guard bytes.count > 30 else { return String(decoding: bytes, as: UTF8.self) }
    let tail = bytes.suffix(30).drop { $0 & 0xC0 == 0x80 }
    return "…" + String(decoding: tail, as: UTF8.self)
  }
}

extension TokenizedSQL {
  /// The words from token `start` through token `end` as one quoted name, with the qualifier that stands before them, or
  /// `batch.`: a plain YAML scalar cannot begin with a double quote, after a dot it can hold one.
  func quotedName(from start: Int, through end: Int) -> String {
    let words = text(tokens[start].range.lowerBound..<tokens[end].range.upperBound)
    let name = Identifier(trusted: String(decoding: words.utf8.filter { $0 != UInt8(ascii: "\"") }, as: UTF8.self))
      .quoted
    guard start > 1, tokens[start - 1].isSign("."), tokens[start - 2].isName else { return "batch.\(name)" }
    return "\(text(tokens[start - 2].range)).\(name)"
  }
}

extension Diagnostic {
  fileprivate static func tooDeepForParser(_ range: Range<Int>, in fragment: SourceFragment) -> Diagnostic {
    Diagnostic(
      "nested-too-deeply", at: fragment.span(of: range), "this is nested too deeply to be read",
      remedy: "compute a part of it in `let`, or put it into a function of the database")
  }

  fileprivate static func queryAsExpression(
    _ range: Range<Int>, _ text: String, in fragment: SourceFragment
  ) -> Diagnostic {
    Diagnostic(
      "query-as-expression", at: fragment.span(of: range), "this is a query; an expression belongs here",
      remedy: "a query that gives one value stands in parentheses: `(\(text))`")
  }
}
