import MigrateDiagnostics

extension Decoder {
  /// `set:`, a map of columns to their new values.
  mutating func assignments(_ entry: YAMLEntry) -> [Assignment] {
    guard let mapping = map(entry.value, "`set`", example: "set: {price: 0}") else { return [] }
    if mapping.entries.isEmpty, mapping.isWhole, isComplete {
      refuse(.wrongKind("`set` is empty", example: "set: {price: 0}", at: entry.value.span))
    }
    return mapping.entries.compactMap { entry in
      let column = identifier(Located(entry.key.text, at: entry.key.span), "column")
      let value = assignedValue(entry, inFlow: mapping.isFlow)
      guard let column, let value else { return nil }
      return Assignment(column: column, value: value)
    }
  }

  /// `let:`, a map of names to values.
  mutating func lets(_ entry: YAMLEntry) -> [Assignment] {
    guard let mapping = map(entry.value, "`let`", example: "let: {mail: lower(email)}") else { return [] }
    if mapping.entries.isEmpty, mapping.isWhole, isComplete {
      refuse(.wrongKind("`let` is empty", example: "let: {mail: lower(email)}", at: entry.value.span))
    }
    return mapping.entries.compactMap { entry in
      let name = Located(entry.key.text, at: entry.key.span)
      guard NameRules.isParameterName(name.value) else {
        refuse(.badLetName(name.value, at: name.span))
        return nil
      }
      return assignedValue(entry, inFlow: mapping.isFlow).map { Assignment(column: name, value: $0) }
    }
  }

  /// Whether `count` columns are all that stand under `set`.
  func isWhole(_ entry: YAMLEntry, _ count: Int) -> Bool {
    switch entry.value.content {
    case .mapping(let mapping): mapping.isWhole && mapping.entries.count == count
    case .scalar, .sequence, .refused: false
    }
  }

  /// Unquoted is SQL, quoted is text.
  private mutating func assignedValue(_ entry: YAMLEntry, inFlow: Bool) -> AssignedValue? {
    switch entry.value.content {
    case .refused: return nil
    case .scalar(let scalar) where scalar.isQuoted:
      return .text(Located(scalar.text, at: scalar.span))
    case .scalar(let scalar):
      if scalar.isMissing {
        refuse(.noColumnValue(entry.key.text, at: entry.key.span))
        return nil
      }
      if scalar.style == .plain, let lost = Diagnostic.arithmetic(scalar) {
        refuse(lost)
        return nil
      }
      return sql(scalar, key: entry.key, inFlow: inFlow, "one SQL expression").map(AssignedValue.sql)
    case .sequence:
      refuse(.listAsValue(entry.key.text, at: entry.value.span))
      return nil
    case .mapping(let mapping):
      return wrappedValue(mapping, of: entry)
    }
  }

  /// `{value: …}` or `{sql: …}`
  private mutating func wrappedValue(_ mapping: YAMLMapping, of entry: YAMLEntry) -> AssignedValue? {
    guard mapping.entries.count == 1, let only = mapping.entries.first,
      let key = Schema.key(only.key.text, at: .value)
    else {
      if mapping.entries.isEmpty, !isComplete || !mapping.isWhole { return nil }
      refuse(.mapAsValue(entry.key.text, at: entry.value.span))
      return nil
    }
    if key.name == "sql" {
      return sql(only, inFlow: mapping.isFlow, "one SQL expression").map(AssignedValue.sql)
    }
    return constant(only).map(AssignedValue.constant)
  }
}

extension Diagnostic {
  fileprivate static func badLetName(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "bad-let-name", at: span,
      "\"\(name)\" cannot name a value: SQL needs it bare, so small letters, digits and _ can, not beginning with a digit",
      remedy: "for instance `\(NameRules.batchName(like: name))`")
  }

  /// 3: nothing behind the colon is NULL to YAML; whether NULL, an empty text or neither is meant must be said.
  fileprivate static func noColumnValue(_ column: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "no-value", at: span, "\"\(column)\" has no value",
      remedy: "for NULL write `\(column): null`, for an empty text `\(column): ''`")
  }

  fileprivate static func listAsValue(_ column: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "list-as-value", at: span, "\"\(column)\" has a list for a value",
      remedy: "for a constant write `\(column): {value: [a, b]}`, for SQL `\(column): ARRAY[a, b]`")
  }

  fileprivate static func mapAsValue(_ column: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "map-as-value", at: span, "\"\(column)\" has a map for a value, which is neither `{value: …}` nor `{sql: …}`",
      remedy: "for a JSON constant write `\(column): {value: {a: 1}}`, for SQL `\(column): {sql: \"…\"}`")
  }

  /// 17, 18: what looks like a date or a code, and is a number to SQL.
  fileprivate static func arithmetic(_ scalar: YAMLScalar) -> Diagnostic? {
    let text = scalar.text
    let parts = text.utf8.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
    let numbers = parts.compactMap { part in
      part.allSatisfy { (48...57).contains($0) } ? Int(String(decoding: Array(part), as: UTF8.self)) : nil
    }
    if numbers.count == 3, parts.map(\.count) == [4, parts[1].count, parts[2].count],
      parts[1].count <= 2, parts[2].count <= 2
    {
      let sum = numbers[0] - numbers[1] - numbers[2]
      return Diagnostic(
        "date-is-arithmetic", at: scalar.span,
        "unquoted, this is \(numbers[0]) minus \(numbers[1]) minus \(numbers[2]) = \(sum)",
        remedy: "write `'\(text)'`")
    }
    let digits = text.utf8.drop { $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "+") }
    guard digits.count > 1, text.utf8.count - digits.count <= 1, digits.first == UInt8(ascii: "0"),
      digits.allSatisfy({ (48...57).contains($0) })
    else { return nil }
    return .leadingZeros(text, at: scalar.span)
  }

  static func leadingZeros(_ text: String, at span: SourceSpan) -> Diagnostic {
    let sign = text.utf8.first == UInt8(ascii: "-") ? "-" : ""
    let digits = text.utf8.drop { [UInt8(ascii: "-"), UInt8(ascii: "+"), UInt8(ascii: "0")].contains($0) }
    let number = digits.isEmpty ? "0" : sign + String(decoding: Array(digits), as: UTF8.self)
    return Diagnostic(
      "leading-zeros-lost", at: span, "this is the number \(number); leading zeros are lost",
      remedy: "for the text write `'\(text)'`, for the number `\(number)`")
  }
}
