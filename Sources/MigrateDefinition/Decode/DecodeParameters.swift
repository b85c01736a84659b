import MigrateDiagnostics

extension Decoder {
  private static let builtIn = ["run_id", "started_at", "scheduled_at"]

  /// `params:`, name: type, or name: {type, default}.
  mutating func parameters(_ entry: YAMLEntry) -> [ParameterDeclaration] {
    guard let mapping = map(entry.value, "`params`", example: "params: {cutoff: date}") else { return [] }
    return mapping.entries.compactMap { entry in
      let isNamed = checkParameterName(entry.key)
      guard let declaration = parameter(entry), isNamed else { return nil }
      return declaration
    }
  }

  private mutating func checkParameterName(_ key: YAMLScalar) -> Bool {
    if Self.builtIn.contains(where: { $0.utf8.elementsEqual(key.text.utf8) }) {
      refuse(.builtInParameter(key.text, at: key.span))
      return false
    }
    guard NameRules.isParameterName(key.text) else {
      refuse(.badParameterName(key.text, at: key.span))
      return false
    }
    return true
  }

  private mutating func parameter(_ entry: YAMLEntry) -> ParameterDeclaration? {
    let name = Located(entry.key.text, at: entry.key.span)
    guard case .mapping(let mapping) = entry.value.content else {
      guard let type = type(entry) else { return nil }
      return ParameterDeclaration(name: name, type: type, defaultValue: nil)
    }
    let fields = fields(of: mapping, at: .parameter)
    if fields["type"] == nil, isComplete, !fields.mayStandFor(["type"]) {
      refuse(
        .missingKey(
          "type", in: "the parameter \"\(name.value)\"", example: "type: numeric", at: fields.first ?? entry.key.span))
    }
    let type = fields["type"].flatMap { self.type($0) }
    let value = fields["default"].flatMap { constant($0) }
    guard let type else { return nil }
    return ParameterDeclaration(name: name, type: type, defaultValue: value)
  }

  private mutating func type(_ entry: YAMLEntry) -> Located<String>? {
    guard let type = text(entry, "a type, such as `numeric` or `text[]`") else { return nil }
    let isNumber = CoreSchema(type.value) != .text
    if isNumber {
      refuse(.valueAsType(entry.key.text, type.value, at: type.span))
      return nil
    }
    return type
  }
}

extension Diagnostic {
  fileprivate static func builtInParameter(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "built-in-parameter", at: span, "`:\(name)` is built in",
      remedy: "use it without declaring it, or choose another name")
  }

  fileprivate static func badParameterName(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "bad-parameter-name", at: span,
      "\"\(name)\" cannot name a parameter: small letters, digits and _ can, not beginning with a digit, at most 63",
      remedy: "for instance `\(NameRules.batchName(like: name))`")
  }

  fileprivate static func valueAsType(_ name: String, _ value: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "value-as-type", at: span, "`\(value)` is a value, and a type is expected",
      remedy: "a value for when none is given is a default: `\(name): {type: numeric, default: \(value)}`")
  }
}
