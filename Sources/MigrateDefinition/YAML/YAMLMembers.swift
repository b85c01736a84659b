import MigrateDiagnostics

/// The entries of one mapping as they come, with the rules for keys.
struct YAMLMembers {
  let isFlow: Bool
  let bytes: [UInt8]
  private(set) var entries: [YAMLEntry] = []
  private(set) var diagnostics: [Diagnostic] = []
  /// Where each key stands.
  private var places: [[UInt8]: Int] = [:]

  init(isFlow: Bool, bytes: [UInt8]) {
    self.isFlow = isFlow
    self.bytes = bytes
  }

  /// `<<`, which libyaml takes for a key like any other.
  func isMergeKey(_ key: YAMLNode) -> Bool {
    guard case .scalar(let scalar) = key.content else { return false }
    return scalar.style == .plain && scalar.text.utf8.elementsEqual("<<".utf8)
  }

  mutating func add(_ key: YAMLNode, _ value: YAMLNode, in source: SourceText) {
    guard case .scalar(let scalar) = key.content else {
      if case .refused = key.content { return }
      return diagnostics.append(.keyIsCollection(at: SourceSpan(key.span.start, key.span.start + 1)))
    }
    if isFlow, isCutOff(scalar), absorb(scalar) { return }
    if isMergeKey(key) { return diagnostics.append(.mergeKey(at: key.span)) }
    if scalar.style == .plain, let kind = CoreSchema(scalar.text).nameOfKind {
      return diagnostics.append(.keyIsNotText(scalar.text, kind, at: scalar.span))
    }
    if let first = places[Array(scalar.text.utf8)] {
      let line = source.position(of: first).line
      let isMap = if case .mapping = value.content { true } else { false }
      return diagnostics.append(.duplicateKey(scalar.text, firstOn: line, isMap: isMap, at: scalar.span))
    }
    places[Array(scalar.text.utf8)] = scalar.span.start
    entries.append(YAMLEntry(key: scalar, value: value))
  }

  /// Whether no colon follows the key: what stands there was to be part of something else.
  private func isCutOff(_ key: YAMLScalar) -> Bool {
    let rest = bytes[key.span.end...].first { ![0x20, 0x09, 0x0A, 0x0D].contains($0) }
    return rest == UInt8(ascii: ",") || rest == UInt8(ascii: "}")
  }

  /// Takes a key without a colon as the rest of the value before it, which a comma has ended.
  private mutating func absorb(_ key: YAMLScalar) -> Bool {
    guard let last = entries.last else { return false }
    switch last.value.content {
    case .scalar(let value) where value.style == .plain && !value.isMissing:
      let comma = bytes[value.span.end...].firstIndex(of: UInt8(ascii: ",")) ?? value.span.end
      diagnostics.append(
        .commaEndsValue(value.text, meant: meant(last.key, from: value.span.start), at: SourceSpan(comma, comma + 1)))
      let refused = YAMLNode(content: .refused, span: SourceSpan(value.span.start, key.span.end))
      entries[entries.count - 1] = YAMLEntry(key: last.key, value: refused)
      return true
    case .refused:
      // A further comma of the same expression, which has been reported.
      let span = last.value.span
      let isShort = span.end - span.start <= Remedy.limit
      if isShort, !SQLOutline(bytes[span.start..<span.end]).isCutShort { return false }
      let longer = YAMLNode(content: .refused, span: SourceSpan(span.start, key.span.end))
      entries[entries.count - 1] = YAMLEntry(key: last.key, value: longer)
      return true
    case .scalar, .mapping, .sequence:
      return false
    }
  }

  /// The entry as it was meant: up to a brace, or to a comma at which everything opened is closed and a key follows.
  private func meant(_ key: YAMLScalar, from start: Int) -> String {
    let line = bytes[start...].prefix(Remedy.limit).prefix { $0 != 0x0A && $0 != 0x0D }
    var end = line.endIndex
    for offset in line.indices where line[offset] == UInt8(ascii: "}") || line[offset] == UInt8(ascii: ",") {
      let isClosed = !SQLOutline(line[start..<offset]).isCutShort
      if isClosed, line[offset] == UInt8(ascii: "}") || line[offset...].dropFirst().isEntry {
        end = offset
        break
      }
    }
    return "\(key.text): \(String(decoding: line[start..<end], as: UTF8.self))"
  }
}

extension ArraySlice<UInt8> {
  /// Whether a key and a colon stand here before the next comma or brace.
  fileprivate var isEntry: Bool {
    let part = prefix { $0 != UInt8(ascii: ",") && $0 != UInt8(ascii: "}") }
    return zip(part, part.dropFirst()).contains { $0 == UInt8(ascii: ":") && $1 == 0x20 }
  }
}

extension CoreSchema {
  /// What an unquoted key of this kind is; `nil` for a text.
  fileprivate var nameOfKind: String? {
    switch self {
    case .text: nil
    case .null: "null"
    case .bool: "a boolean"
    case .decimal, .otherBase, .special: "a number"
    }
  }
}

extension Diagnostic {
  fileprivate static func keyIsCollection(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "key-not-text", at: span, "a key is a text, not a list or a map",
      remedy: "write `key: value`; SQL that begins with a brace or bracket goes under a `|`")
  }

  static func keyIsNotText(_ key: String, _ kind: String, at span: SourceSpan) -> Diagnostic {
    key.utf8.isEmpty
      ? Diagnostic(
        "key-not-text", at: span, "there is no key before the colon",
        remedy: "write `key: value`; SQL that begins with `:` needs a key in front of it")
      : Diagnostic(
        "key-not-text", at: span, "`\(key)` is \(kind) in YAML, a key is a text",
        remedy: "if that is the name, quote it: `'\(key)':`")
  }

  fileprivate static func mergeKey(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "merge-key", at: span, "anchors, aliases and merge keys are not read, and `<<` is a merge key",
      remedy: "repeat the keys here")
  }

  fileprivate static func duplicateKey(_ key: String, firstOn line: Int, isMap: Bool, at span: SourceSpan) -> Diagnostic
  {
    let together =
      key.utf8.elementsEqual("set".utf8) ? "put both columns under one `set`" : "put both under one `\(key)`"
    return Diagnostic(
      "duplicate-key", at: span, "\"\(key)\" is given twice (first on line \(line))",
      remedy: isMap ? together : "keep one of the two")
  }

  fileprivate static func commaEndsValue(_ value: String, meant: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "comma-ends-value", at: span, "the comma ended the value after `\(value)`",
      remedy: "in braces SQL with a comma needs lines of its own: `\(meant)`")
  }
}
