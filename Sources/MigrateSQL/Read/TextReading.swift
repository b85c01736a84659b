package import MigrateDiagnostics

/// Quoted YAML means text, unquoted SQL. A text that could be read either way is refused, so that a formatter which adds or
/// drops quotes makes an error, never other data.
package enum TextReading {
  /// What is wrong with `text` as a constant; `nil` when nobody could take it for SQL.
  ///
  /// - Parameters:
  ///   - visibleColumns: the columns that an expression in this place may name without a qualifier, as the database calls them.
  ///   - parameters: the parameters declared and built in.
  ///   - ranges: the names that may stand before a dot: `batch`, joins, the table.
  package static func alsoReadsAsSQL(
    _ text: SourceFragment, visibleColumns: [String], parameters: [String], ranges: [String] = ["batch", "excluded"]
  ) -> Diagnostic? {
    guard let expression = try? SQLExpression.parse(text) else { return nil }
    if case .constant(let constant) = expression.shape, constant.value == .null { return .readsAsNull(text) }
    let columns = Set(visibleColumns.map(Identifier.init(trusted:)))
    let ranges = Set(ranges.map(Identifier.init(trusted:)))
    if let column = expression.bareColumn, column.parts.count == 1, let part = column.column {
      return columns.contains(part.name) || ranges.contains(part.name) ? .namesColumn(part.name.name, text) : nil
    }
    let declared = Set(parameters.map(Identifier.init(trusted:)))
    let named =
      expression.columns.filter { isVisible($0, columns, ranges) }.map(\.range)
      + expression.parameters.filter { declared.contains($0.name) }.map(\.range)
    let called = expression.functions.map(\.range) + expression.sqlValueFunctions.map(\.range)
    if !named.isEmpty || !called.isEmpty || callsConstruct(expression.shape) || expression.facts.hasSubquery {
      return .readsAsSQL(over: (named.isEmpty ? called : named).map { sliced(text.text, $0) }, text)
    }
    let strings = expression.constants.compactMap { constant -> String? in
      guard case .string(let string) = constant.value else { return nil }
      return string
    }
    return strings.isEmpty ? nil : .holdsQuotes(expression.stringLiteral, text)
  }

  private static func isVisible(_ column: ColumnUse, _ columns: Set<Identifier>, _ ranges: Set<Identifier>) -> Bool {
    guard column.scope == .top, let first = column.parts.first else { return false }
    if ranges.contains(first.name) { return true }
    return column.parts.count == 1 && columns.contains(first.name)
  }

  /// `coalesce(…)`, `greatest(…)`: no functions to PostgreSQL, yet calls with parentheses.
  private static func callsConstruct(_ shape: SQLShape) -> Bool {
    switch shape {
    case .call: true
    case .prefix(_, let operand), .not(let operand), .cast(let operand, _): callsConstruct(operand)
    case .infix(_, let left, let right): callsConstruct(left) || callsConstruct(right)
    case .and(let terms), .or(let terms): terms.contains(where: callsConstruct)
    case .column, .parameter, .constant, .other: false
    }
  }

  private static func sliced(_ text: String, _ range: Range<Int>) -> String {
    String(decoding: Array(text.utf8)[range], as: UTF8.self)
  }
}

extension Diagnostic {
  /// B17: in YAML `'NULL'` is four letters, and whoever writes it may mean none.
  fileprivate static func readsAsNull(_ text: SourceFragment) -> Diagnostic {
    Diagnostic(
      "text-reads-as-sql", at: text.span, "quoted, so the text \"\(text.text)\", yet it reads as SQL's NULL",
      remedy: "write `null` for NULL, `{value: \(yamlQuoted(text.text))}` if the text is meant")
  }

  /// 12: `"'a'"` keeps the inner quotes in the text. `literal` is the string when the text is nothing but one.
  fileprivate static func holdsQuotes(_ literal: String?, _ text: SourceFragment) -> Diagnostic {
    let remedy =
      literal.map { "for the text \($0) write `\(yamlSingleQuoted($0))`" }
      ?? "leave YAML's quotes off for SQL; `{value: \(yamlQuoted(text.text))}` if the text is meant"
    return Diagnostic("text-holds-sql-quotes", at: text.span, "this text contains SQL quotes", remedy: remedy)
  }

  /// 13: a text that reads as an expression over `names`, the columns or functions that it would use.
  fileprivate static func readsAsSQL(over names: [String], _ text: SourceFragment) -> Diagnostic {
    var listed: [String] = []
    for name in names.map({ "\"\($0)\"" }) where !listed.contains(name) { listed.append(name) }
    let over = listed.isEmpty ? "" : " over \(listed.joined(separator: ", "))"
    return Diagnostic(
      "text-reads-as-sql", at: text.span, "quoted, so text, yet it reads as SQL\(over)",
      remedy: "leave the quotes off for SQL; `{value: \(yamlQuoted(text.text))}` if the text is meant")
  }

  /// 14: a text that is the name of a column, which without quotes would be read.
  fileprivate static func namesColumn(_ name: String, _ text: SourceFragment) -> Diagnostic {
    let isPlain = text.text.utf8.allSatisfy {
      (97...122).contains($0) || (65...90).contains($0) || $0 == UInt8(ascii: "_")
    }
    let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
    let value = isPlain && !words.contains(text.text.lowercased()) ? text.text : yamlQuoted(text.text)
    return Diagnostic(
      "text-names-column", at: text.span, "\"\(name)\" is a column, too",
      remedy: "`\(text.text)` for the column, `{value: \(value)}` for the text")
  }

  private static func yamlQuoted(_ text: String) -> String {
    var bytes: [UInt8] = [UInt8(ascii: "\"")]
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes += [UInt8(ascii: "\\"), byte]
      case UInt8(ascii: "\n"): bytes += Array("\\n".utf8)
      case UInt8(ascii: "\r"): bytes += Array("\\r".utf8)
      case UInt8(ascii: "\t"): bytes += Array("\\t".utf8)
      default: bytes.append(byte)
      }
    }
    return String(decoding: bytes + [UInt8(ascii: "\"")], as: UTF8.self)
  }

  private static func yamlSingleQuoted(_ text: String) -> String {
    guard text.utf8.allSatisfy({ $0 >= 32 }) else { return yamlQuoted(text) }
    let quote = UInt8(ascii: "'")
    let doubled = text.utf8.flatMap { $0 == quote ? [quote, quote] : [$0] }
    return String(decoding: [quote] + doubled + [quote], as: UTF8.self)
  }
}
