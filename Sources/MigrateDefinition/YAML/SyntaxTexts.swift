import MigrateDiagnostics

/// Ways to write what YAML did not let through.
struct Remedy {
  /// How many bytes of a line are looked at for a remedy; nobody reads more.
  static let limit = 1_000

  let key: String
  let value: String
  let isFlow: Bool

  init(key: String, value: String, isFlow: Bool) {
    self.key = key
    self.value = value
    self.isFlow = isFlow
  }

  init(_ line: LineReading) {
    self.init(key: line.keyText ?? "key", value: line.value, isFlow: line.isFlow)
  }

  private func holds(_ character: Unicode.Scalar) -> Bool { value.unicodeScalars.contains(character) }

  /// `key: |` and the value under it.
  var block: String {
    let lines = value.utf8.split(separator: 0x0A).map {
      String(decoding: Array($0)[...].trimmingSpaces(), as: UTF8.self)
    }
    return "\(key): |\n  " + lines.joined(separator: "\n  ")
  }

  /// `key: value` on a line of its own.
  var line: String { "\(key): \(value)" }

  /// Quotes round the whole, for a key whose value is SQL in any style; `nil` when both kinds of quotes are in it.
  var quoted: String? {
    if holds("\n") { return nil }
    if !holds("'") { return "\(key): '\(value)'" }
    return holds("\"") || holds("\\") ? nil : "\(key): \"\(value)\""
  }

  /// The same by `{sql: …}`, for a key whose quoted value would be a text.
  var quotedSQL: String? {
    if holds("\n") { return nil }
    if !holds("'") { return "\(key): {sql: '\(value)'}" }
    return holds("\"") || holds("\\") ? nil : "\(key): {sql: \"\(value)\"}"
  }

  /// Whether the key's value is a condition, so that quotes are the shortest way.
  var isCondition: Bool { key.utf8.elementsEqual("where".utf8) }

  /// The shortest way that works for this key.
  var shortest: String {
    if isCondition, let quoted { return "put quotes round the whole: `\(quoted)`" }
    return "put the expression under a `|`:\n\(block)"
  }
}

extension Diagnostic {
  static func tab(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      SyntaxDiagnosis.tabCode, at: span, "a tab cannot indent YAML",
      remedy: "indent with spaces: `expand -t 2` turns all tabs of a file into them")
  }

  static func unclosedQuote(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "unclosed-quote", at: span, "the quote that opens here is never closed",
      remedy: "close it; a single quote inside of single quotes is written twice: `'it''s'`")
  }

  static func quoteOpensEarlier(line: Int, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "unclosed-quote", at: span, "the quote that opens here is not closed on line \(line)",
      remedy: "close it; a single quote inside of single quotes is written twice: `'it''s'`")
  }

  static func badEscape(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "bad-escape", at: span, "in double quotes a backslash begins an escape, and YAML does not know this one",
      remedy: "write `\\\\` for a backslash, or put the text into single quotes, where it means itself")
  }

  static func directive(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "directive", at: span, "directives such as `%YAML` and `%TAG` are not read",
      remedy: "remove the line; a definition is YAML 1.2 as it stands")
  }

  static func textEndsEarly(before rest: String, _ meant: Remedy, at span: SourceSpan) -> Diagnostic {
    let isName = meant.value.utf8.first == UInt8(ascii: "\"")
    let remedy: String
    if meant.isCondition, let quoted = meant.quoted {
      let other = isName ? ", or name the column by its row: `\(meant.key): batch.\(meant.value)`" : ""
      remedy = "put quotes round the whole: `\(quoted)`" + other
    } else if let quoted = meant.quotedSQL {
      remedy = "write `\(quoted)`, or put the expression under a `|`:\n\(meant.block)"
    } else {
      remedy = "put the expression under a `|`:\n\(meant.block)"
    }
    return Diagnostic("text-ends-early", at: span, "the YAML string ends before `\(rest)`", remedy: remedy)
  }

  static func colonInSQL(_ meant: Remedy, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "colon-in-sql", at: span, "a colon with a blank behind it ends a YAML value, in SQL too", remedy: meant.shortest)
  }

  static func deeperThanKey(_ key: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "indentation", at: span, "`\(key):` is indented deeper than the key above, so it goes on with that key's value",
      remedy: "begin both keys in the same column")
  }

  static func parameterInBraces(_ value: String, _ meant: Remedy?, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "parameter-in-braces", at: span, "YAML cannot start a value with `:` inside braces or brackets",
      remedy: meant.map { "write `\($0.line)` on a line of its own" }
        ?? "for the text write `'\(value.doublingQuotes)'`")
  }

  static func bracketInBraces(_ meant: Remedy, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "bracket-in-braces", at: span, "inside braces a bracket or brace ends the value",
      remedy: "SQL with brackets needs a line of its own: `\(meant.line)`")
  }

  static func valueStart(_ byte: UInt8, _ meant: Remedy, at span: SourceSpan) -> Diagnostic {
    let sign = byte == UInt8(ascii: "`") ? "a backtick" : "`\(String(UnicodeScalar(byte)))`"
    let rest = String(decoding: Array(meant.value.utf8.dropFirst())[...].trimmingSpaces(), as: UTF8.self)
    let remedy =
      switch byte {
      case UInt8(ascii: "-"): "a negative number has no blank behind the sign: `\(meant.key): -\(rest)`"
      case UInt8(ascii: "`"):
        "SQL quotes names with `\"`, and after `batch.` even a reserved word needs none: `\(meant.key): batch.\(rest.unquotedName)`"
      case UInt8(ascii: "@"): "the absolute value is `\(meant.key): abs(\(rest))`"
      case UInt8(ascii: "?"), UInt8(ascii: "%"), UInt8(ascii: "*"), UInt8(ascii: "&"), UInt8(ascii: "|"),
        UInt8(ascii: ">"):
        "an expression needs something in front of an operator; for a text write `\(meant.key): '\(meant.value.doublingQuotes)'`"
      default: "remove the \(sign), or write a text in quotes: `\(meant.key): '\(meant.value.doublingQuotes)'`"
      }
    return Diagnostic("value-start", at: span, "YAML cannot start a value with \(sign) here", remedy: remedy)
  }

  static func tooManyBraces(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "unclosed-brace", at: span, "this closes nothing",
      remedy: "remove it, or open the brace or bracket that it belongs to")
  }

  static func behindValue(_ rest: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "text-behind-value", at: span, "the value has ended before `\(rest)`",
      remedy: "remove it, or put the whole under a `|`, indented, on a line of its own")
  }

  static func textBehindEnd(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "second-document", at: span, "`...` has ended the document above", remedy: "remove the line `...`")
  }

  static func unclosedBrace(_ brace: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "unclosed-brace", at: span, "the `\(brace)` that opens here is not closed, or something stands behind a value",
      remedy: "close it, or leave the braces out and give each key a line of its own")
  }

  static func noColon(_ text: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "no-colon", at: span, "`\(text)` is no `key: value`",
      remedy:
        "put a colon and a blank behind the key; to go on with the value above, indent the line deeper than its key")
  }

  static func touchingComment(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "touching-comment", at: span, "`#` touches what stands before it, and the rest of the line would be a comment",
      remedy: "put a blank before a comment; a text that holds `#` stands in quotes as a whole")
  }

  static func commentInside(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "comment-in-value", at: span, "the comment above has ended the value that this line was to go on with",
      remedy: "put the expression under a `|`, where a comment is written as in SQL: `-- …`")
  }

  static func indentation(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "indentation", at: span, "this line begins in a column in which nothing above begins",
      remedy: "begin all keys of one map in the same column, and every `-` of one list")
  }

  static func yamlSyntax(_ problem: String, _ place: String?, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "yaml-syntax", at: span, "YAML cannot be read here: \(problem)\(place.map { " (\($0))" } ?? "")",
      remedy: "SQL that YAML would read in its own way goes under a `|`, indented, on lines of its own")
  }
}

extension String {
  /// For use in single quotes, in YAML as in SQL.
  var doublingQuotes: String {
    let quote = UInt8(ascii: "'")
    return String(decoding: utf8.flatMap { $0 == quote ? [quote, quote] : [$0] }, as: UTF8.self)
  }

  /// Without a backtick at its end.
  fileprivate var unquotedName: String {
    String(decoding: utf8.filter { $0 != UInt8(ascii: "`") }, as: UTF8.self)
  }
}
