import MigrateDiagnostics

/// What a name may look like.
enum NameRules {
  static let batchNameLimit = 40

  /// `[a-z][a-z0-9_]*`, at most 40
  static func isBatchName(_ name: String) -> Bool {
    isLowerCase(name, first: isLetter) && name.utf8.count <= batchNameLimit
  }

  /// `[a-z_][a-z0-9_]*`, at most 63
  static func isParameterName(_ name: String) -> Bool {
    isLowerCase(name) { isLetter($0) || $0 == UInt8(ascii: "_") } && name.utf8.count <= 63
  }

  /// `[A-Za-z_][A-Za-z0-9_]*`, what a shell can set
  static func isVariable(_ name: String) -> Bool {
    isLowerCase(String(decoding: name.utf8.map { (65...90).contains($0) ? $0 + 32 : $0 }, as: UTF8.self)) {
      isLetter($0) || $0 == UInt8(ascii: "_")
    }
  }

  private static func isLowerCase(_ name: String, first: (UInt8) -> Bool) -> Bool {
    guard let initial = name.utf8.first, first(initial) else { return false }
    return name.utf8.allSatisfy { isLetter($0) || isDigit($0) || $0 == UInt8(ascii: "_") }
  }

  private static func isLetter(_ byte: UInt8) -> Bool { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) }

  private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

  /// A name for a batch, made of `text`: a file's name, or a name that breaks the rules.
  static func batchName(like text: String) -> String {
    var name: [UInt8] = []
    for byte in text.utf8.prefix(while: { $0 != UInt8(ascii: ".") }) {
      let lower = (65...90).contains(byte) ? byte + 32 : byte
      if isLetter(lower) || (isDigit(lower) && !name.isEmpty) {
        name.append(lower)
      } else if !name.isEmpty, name.last != UInt8(ascii: "_") {
        name.append(UInt8(ascii: "_"))
      }
    }
    while name.last == UInt8(ascii: "_") { name.removeLast() }
    return name.isEmpty ? "update_prices" : String(decoding: name.prefix(batchNameLimit), as: UTF8.self)
  }
}

extension Decoder {
  /// The text of a single value; `what` names what is expected.
  mutating func text(_ entry: YAMLEntry, _ what: String) -> Located<String>? {
    text(entry.value, "`\(entry.key.text)`", what)
  }

  mutating func text(_ node: YAMLNode, _ key: String, _ what: String) -> Located<String>? {
    switch node.content {
    case .refused: return nil
    case .scalar(let scalar):
      let isNull = scalar.style == .plain && CoreSchema(scalar.text) == .null
      guard !isNull, !scalar.isMissing, !scalar.text.utf8.isEmpty else {
        refuse(.emptyText(key, what, at: node.span))
        return nil
      }
      return Located(scalar.text, at: scalar.span)
    case .mapping, .sequence:
      refuse(.notOneText(key, what, at: node.span))
      return nil
    }
  }

  mutating func batchName(_ entry: YAMLEntry) -> Located<String>? {
    guard let name = text(entry, "the name of the definition") else { return nil }
    if !NameRules.isBatchName(name.value) {
      refuse(.badBatchName(name.value, like: NameRules.batchName(like: name.value), at: name.span))
      return nil
    }
    return name
  }

  /// A column, schema or alias: exact, 1 to 63 bytes.
  mutating func identifier(_ name: Located<String>, _ what: String) -> Located<String>? {
    let count = name.value.utf8.count
    guard (1...63).contains(count) else {
      refuse(.badLength(what, bytes: count, at: name.span))
      return nil
    }
    return name
  }

  /// One name, or a list of them.
  mutating func names(_ entry: YAMLEntry, of what: String, example: String) -> [Located<String>] {
    texts(entry, of: what, example: example).compactMap { identifier($0, what) }
  }

  private mutating func texts(_ entry: YAMLEntry, of what: String, example: String) -> [Located<String>] {
    let key = "`\(entry.key.text)`"
    let nodes: [YAMLNode]
    switch entry.value.content {
    case .refused: return []
    case .sequence(let items):
      if items.isEmpty { refuse(.emptyList(key, what, example: example, at: entry.value.span)) }
      nodes = items
    case .scalar(let scalar):
      if !scalar.isQuoted, scalar.text.utf8.contains(UInt8(ascii: ",")) {
        refuse(.listWithoutBrackets(entry.key.text, scalar.text, at: scalar.span))
        return []
      }
      nodes = [entry.value]
    case .mapping:
      refuse(.wrongKind("\(key) is a list of names, not a map", example: example, at: entry.value.span))
      return []
    }
    var found: [Located<String>] = []
    for node in nodes {
      guard let name = text(node, key, "the name of a \(what)") else { continue }
      if found.contains(where: { $0.value.utf8.elementsEqual(name.value.utf8) }) {
        refuse(.namedTwice(name.value, what, at: name.span))
      } else {
        found.append(name)
      }
    }
    return found
  }

  mutating func needs(_ entry: YAMLEntry) -> [Located<String>] {
    let names = texts(entry, of: "definition", example: "needs: [load_products]")
    for name in names where !NameRules.isBatchName(name.value) {
      refuse(.badBatchName(name.value, like: NameRules.batchName(like: name.value), at: name.span))
    }
    return names
  }
}

extension Diagnostic {
  fileprivate static func emptyText(_ key: String, _ what: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic("no-value", at: span, "\(key) has no value", remedy: "give \(what), or leave the key out")
  }

  fileprivate static func notOneText(_ key: String, _ what: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic("wrong-kind", at: span, "\(key) holds a single value", remedy: "give \(what)")
  }

  fileprivate static func badBatchName(_ name: String, like: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "bad-batch-name", at: span,
      "\"\(name)\" cannot name a definition: small letters, digits and _ can, beginning with a letter, at most \(NameRules.batchNameLimit)",
      remedy: "for instance `\(like)`")
  }

  fileprivate static func badLength(_ what: String, bytes: Int, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "bad-name-length", at: span, "the name of a \(what) has 1 to 63 bytes, this one has \(bytes)",
      remedy: "PostgreSQL has cut it when the \(what) was made: `\\d` in psql shows the name as it is")
  }

  fileprivate static func emptyList(_ key: String, _ what: String, example: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic("empty-list", at: span, "\(key) names no \(what)", remedy: "leave the key out, or `\(example)`")
  }

  fileprivate static func listWithoutBrackets(_ key: String, _ text: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "list-without-brackets", at: span, "without brackets `\(text)` is one name",
      remedy: "write `\(key): [\(text)]`")
  }

  fileprivate static func namedTwice(_ name: String, _ what: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic("named-twice", at: span, "the \(what) \"\(name)\" is named twice", remedy: "remove one of the two")
  }
}
