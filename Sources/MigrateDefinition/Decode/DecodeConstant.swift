import MigrateDiagnostics

extension Decoder {
  /// A constant, by the core schema of YAML 1.2.
  mutating func constant(_ entry: YAMLEntry) -> Located<Constant>? {
    constant(entry.value, "\"\(entry.key.text)\"").map { Located($0, at: entry.value.span) }
  }

  private mutating func constant(_ node: YAMLNode, _ name: String) -> Constant? {
    switch node.content {
    case .refused:
      return nil
    case .scalar(let scalar):
      return constant(scalar, name, at: node.span)
    case .sequence(let items):
      let constants = items.map { constant($0, "this item") }
      return .list(constants.compactMap { $0 })
    case .mapping(let mapping):
      let members = mapping.entries.map { entry in
        constant(entry.value, "\"\(entry.key.text)\"").map { ConstantMember(key: entry.key.text, value: $0) }
      }
      return .map(members.compactMap { $0 })
    }
  }

  private mutating func constant(_ scalar: YAMLScalar, _ name: String, at span: SourceSpan) -> Constant? {
    guard scalar.style == .plain else { return .text(scalar.text) }
    if scalar.text.utf8.isEmpty {
      refuse(.noConstant(name, at: span))
      return nil
    }
    switch CoreSchema(scalar.text) {
    case .text: return .text(scalar.text)
    case .null: return .null
    case .bool(let value): return .bool(value)
    case .decimal:
      if Self.hasLeadingZero(scalar.text) {
        refuse(.leadingZeros(scalar.text, at: span))
        return nil
      }
      return .number(scalar.text)
    case .otherBase(let value):
      refuse(.otherBase(scalar.text, value, at: span))
    case .special(let spelling):
      refuse(.specialNumber(scalar.text, spelling, at: span))
    }
    return nil
  }

  private static func hasLeadingZero(_ number: String) -> Bool {
    let digits = number.utf8.drop { $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "+") }
    let whole = digits.prefix { (48...57).contains($0) }
    return whole.count > 1 && whole.first == UInt8(ascii: "0") && whole.count == digits.count
  }
}

extension Diagnostic {
  fileprivate static func noConstant(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic("no-value", at: span, "\(name) has no value", remedy: "for NULL write `null`, for an empty text `''`")
  }

  fileprivate static func otherBase(_ text: String, _ value: Int?, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "number-in-other-base", at: span, "`\(text)` is a number to YAML, and none to PostgreSQL",
      remedy: "for the text write `'\(text)'`" + (value.map { ", for the number `\($0)`" } ?? ""))
  }

  fileprivate static func specialNumber(_ text: String, _ spelling: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "special-number", at: span, "`\(text)` is YAML's word, PostgreSQL has another", remedy: "write `'\(spelling)'`")
  }
}
