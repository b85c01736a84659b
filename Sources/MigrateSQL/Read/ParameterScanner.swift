internal import MigrateDiagnostics

/// A parameter where an SQL text uses it.
package struct ParameterUse: Sendable, Equatable {
  /// Without the colon, exactly as written. Compare by bytes.
  package let name: Identifier
  /// The bytes of `:name`, the colon included.
  package let range: Range<Int>
}

/// Finds `:name` in SQL: a colon that touches an identifier or keyword behind it, outside of strings, comments and `::`.
///
/// In a subscript a colon behind `[` or behind an operand may be a slice's, `tags[1:n]`; which of the two is meant cannot be
/// known, and one of the readings would be a wrong one in silence, so it is refused.
struct ParameterScanner {
  private let sql: TokenizedSQL
  private let fragment: SourceFragment
  private(set) var uses: [ParameterUse] = []
  private(set) var problems: [Diagnostic] = []
  /// The open brackets; for each whether it is a subscript's.
  private var brackets: [Bool] = []

  init(_ sql: TokenizedSQL, in fragment: SourceFragment) {
    self.sql = sql
    self.fragment = fragment
    for index in sql.tokens.indices { visit(index) }
  }

  /// The text with `$1` and spaces in place of each parameter, since PostgreSQL's parser knows no `:name`. `:name` has two
  /// bytes at least, as `$1` has, so every place in it is a place in the original.
  var parsable: [UInt8] {
    var bytes = sql.bytes
    for use in uses {
      let filler =
        [UInt8(ascii: "$"), UInt8(ascii: "1")] + Array(repeating: UInt8(ascii: " "), count: use.range.count - 2)
      bytes.replaceSubrange(use.range, with: filler)
    }
    return bytes
  }

  private mutating func visit(_ index: Int) {
    let token = sql.tokens[index]
    if token.isSign("[") { brackets.append(isOperand(index - 1)) }
    if token.isSign("(") { brackets.append(false) }
    if token.isSign("]") || token.isSign(")") { _ = brackets.popLast() }
    if token.isSign(":") { colon(index) }
    if token.kind == .parameter { problems.append(.positional(token.range, in: fragment)) }
  }

  private mutating func colon(_ index: Int) {
    let inSlicePosition = brackets.last == true && (sql.tokens[index - 1].isSign("[") || isOperand(index - 1))
    guard sql.tokens.indices.contains(index + 1) else { return }
    let colon = sql.tokens[index].range
    let next = sql.tokens[index + 1]
    let range = colon.lowerBound..<next.range.upperBound
    let touches = colon.upperBound == next.range.lowerBound
    let isPlainName =
      next.isName && sql.bytes[next.range.lowerBound] != UInt8(ascii: "\"") && next.kind != .unicodeIdentifier
    switch (inSlicePosition, touches && isPlainName) {
    case (true, true): problems.append(.parameterOrSlice(sql.text(next.range), range, in: fragment))
    // A slice with a number, a string, a gap: PostgreSQL's reading is the only one.
    case (true, false): break
    case (false, true): use(next, range)
    case (false, false): refuse(next, range, isPlainName: isPlainName)
    }
  }

  private mutating func use(_ token: Token, _ range: Range<Int>) {
    uses.append(ParameterUse(name: Identifier(trusted: sql.text(token.range)), range: range))
  }

  private mutating func refuse(_ next: Token, _ range: Range<Int>, isPlainName: Bool) {
    let text = sql.text(next.range)
    if isPlainName {
      problems.append(.gap(before: text, range, in: fragment))
    } else if next.isName || next.kind == .string || next.kind == .unicodeString {
      problems.append(.quoted(text, range, in: fragment))
    } else if Token.Kind.numbers.contains(next.kind) {
      problems.append(.numbered(text, range, in: fragment))
    }
  }

  /// Whether an operand ends with the token: what follows a `[` or a `:` then is a subscript or a slice's second half.
  private func isOperand(_ index: Int) -> Bool {
    guard index >= 0 else { return false }
    let token = sql.tokens[index]
    if token.isSign(")") || token.isSign("]") || token.kind == .parameter { return true }
    if Token.Kind.constants.contains(token.kind) { return true }
    guard token.isName else { return false }
    guard token.keyword == .reserved, let word = sql.keyword(index) else { return true }
    // A reserved word is an operand when it is a value, or as the name of a parameter.
    let values = [
      "end", "null", "true", "false", "current_date", "current_time", "current_timestamp", "localtime", "user",
    ]
    return values.contains(word) || uses.last?.range.upperBound == token.range.upperBound
  }
}

extension Diagnostic {
  /// 48: inside of brackets a colon ends the lower bound of a slice, too, and a name behind it is read both ways.
  fileprivate static func parameterOrSlice(_ name: String, _ range: Range<Int>, in fragment: SourceFragment)
    -> Diagnostic
  {
    let separators = [UInt8(ascii: " "), UInt8(ascii: ","), UInt8(ascii: "("), UInt8(ascii: "\n")]
    let before = Array(fragment.text.utf8)[..<range.lowerBound].reversed().drop { separators.contains($0) }
    let text = String(decoding: before.prefix { !separators.contains($0) }.reversed(), as: UTF8.self)
    let asParameter = text.utf8.last == UInt8(ascii: "[") ? "(:\(name))" : ":(:\(name))"
    return Diagnostic(
      "parameter-or-slice", at: fragment.span(of: range), "`:\(name)` could be a parameter or the slice's end",
      remedy: "write `\(text):(\(name))]` for the slice, `\(text)\(asParameter)]` for the parameter")
  }

  fileprivate static func gap(before name: String, _ range: Range<Int>, in fragment: SourceFragment) -> Diagnostic {
    Diagnostic(
      "parameter-name", at: fragment.span(of: range), "there is a gap between `:` and \(name)",
      remedy: "a parameter is written in one: `:\(name)`")
  }

  fileprivate static func quoted(_ text: String, _ range: Range<Int>, in fragment: SourceFragment) -> Diagnostic {
    let name = String(decoding: text.utf8.filter { $0 != UInt8(ascii: "'") && $0 != UInt8(ascii: "\"") }, as: UTF8.self)
    return Diagnostic(
      "parameter-name", at: fragment.span(of: range), "a parameter's name stands without quotes",
      remedy: "write `:\(name)`; its value is bound, never pasted, so it needs no quotes")
  }

  fileprivate static func numbered(_ text: String, _ range: Range<Int>, in fragment: SourceFragment) -> Diagnostic {
    Diagnostic(
      "parameter-name", at: fragment.span(of: range), "`:\(text)` is no parameter: parameters have names here",
      remedy: "declare it, `params: {name: numeric}`, and write `:name`")
  }

  fileprivate static func positional(_ range: Range<Int>, in fragment: SourceFragment) -> Diagnostic {
    let text = String(decoding: Array(fragment.text.utf8)[range], as: UTF8.self)
    return Diagnostic(
      "parameter-name", at: fragment.span(of: range), "`\(text)` is no parameter: parameters have names here",
      remedy: "declare it, `params: {name: numeric}`, and write `:name`")
  }
}
