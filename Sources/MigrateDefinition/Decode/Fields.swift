import MigrateDiagnostics

/// The entries of a map whose keys are the language's own.
struct Fields {
  let isFlow: Bool
  private var read: [(name: String, entry: YAMLEntry)] = []
  /// Keys that were refused, by the name that was probably meant.
  private var refused: [String] = []
  /// Of those the misspelt ones, read as what was meant: what is wrong below them comes in the same breath.
  private var meant: [(name: String, entry: YAMLEntry)] = []
  /// The first key's place.
  private(set) var first: SourceSpan?

  init(isFlow: Bool) { self.isFlow = isFlow }

  /// The entry of the key `name`, one of the language's.
  subscript(_ name: String) -> YAMLEntry? { (read.first { $0.name == name } ?? meant.first { $0.name == name })?.entry }

  /// Whether one of `names` was meant by a key that has been refused, so that its absence is no further error.
  func mayStandFor(_ names: [String]) -> Bool { refused.contains { names.contains($0) } }

  mutating func add(_ key: Schema.Key, _ entry: YAMLEntry) {
    if key.isAvailable { read.append((key.name, entry)) } else { refused.append(key.name) }
  }

  mutating func addRefused(_ name: String) { refused.append(name) }

  mutating func addMisspelt(_ key: Schema.Key, _ entry: YAMLEntry) {
    refused.append(key.name)
    if key.isAvailable { meant.append((key.name, entry)) }
  }

  mutating func see(_ span: SourceSpan) { first = first ?? span }
}

extension Decoder {
  /// The keys of `mapping` that this version reads; all others are refused.
  mutating func fields(of mapping: YAMLMapping, at place: Schema.Place) -> Fields {
    var fields = Fields(isFlow: mapping.isFlow)
    for entry in mapping.entries {
      let name = entry.key.text
      let span = entry.key.span
      fields.see(span)
      if let key = Schema.key(name, at: place) {
        fields.add(key, entry)
        if case .notYet(let meanwhile) = key.availability { refuse(.notYet(name, meanwhile, at: span)) }
      } else if let remedy = otherTool(name, at: place) {
        refuse(.keyOfOtherTools(name, remedy, at: span))
        for meant in ["source", "set", "batch"] where remedy.utf8Contains("`\(meant)") { fields.addRefused(meant) }
      } else if let other = Schema.otherPlace(of: name, than: place) {
        refuse(.misplacedKey(name, stands: other, not: place, at: span))
      } else {
        let known = Schema.keys(at: place)
        let nearest = Suggestion.nearest(to: name, among: known.map(\.name))
        let meant = known.first { $0.name == nearest }
        if let meant { fields.addMisspelt(meant, entry) }
        refuse(.unknownKey(name, nearest: meant, allowed: known.filter(\.isAvailable).map(\.name), at: span))
      }
    }
    return fields
  }

  private func otherTool(_ name: String, at place: Schema.Place) -> String? {
    switch place {
    case .top: OtherTools.remedy(for: name)
    case .source where name.utf8.elementsEqual("schema".utf8) || name.utf8.elementsEqual("name".utf8):
      "the table's full name stands in one key: `table: shop.users`"
    default: nil
    }
  }

  /// The map that `node` is; else it is refused: `what` is a map, as in `example`.
  mutating func map(_ node: YAMLNode, _ what: String, example: String) -> YAMLMapping? {
    switch node.content {
    case .mapping(let mapping): return mapping
    case .refused: return nil
    case .scalar(let scalar) where scalar.isMissing:
      if isComplete { refuse(.wrongKind("\(what) is empty", example: example, at: node.span)) }
    case .scalar:
      refuse(.wrongKind("\(what) is a map of keys and values, not a single value", example: example, at: node.span))
    case .sequence:
      refuse(.wrongKind("\(what) is a map of keys and values, not a list", example: example, at: node.span))
    }
    return nil
  }
}

extension String {
  func utf8Contains(_ part: String) -> Bool {
    let wanted = Array(part.utf8)
    let bytes = Array(utf8)
    return bytes.indices.contains { bytes[$0...].starts(with: wanted) }
  }
}

extension Diagnostic {
  fileprivate static func notYet(_ key: String, _ meanwhile: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "not-yet", at: span, "\"\(key)\" is not there yet in this version", remedy: "until then: \(meanwhile)")
  }

  fileprivate static func keyOfOtherTools(_ key: String, _ remedy: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic("key-of-other-tools", at: span, "\"\(key)\" is a key of other tools", remedy: remedy)
  }

  fileprivate static func misplacedKey(
    _ key: String, stands other: Schema.Place, not place: Schema.Place, at span: SourceSpan
  ) -> Diagnostic {
    Diagnostic(
      "misplaced-key", at: span, "\"\(key)\" has no meaning \(place.phrase)",
      remedy: "it stands \(other.phrase): move it there")
  }

  fileprivate static func unknownKey(
    _ key: String, nearest: Schema.Key?, allowed: [String], at span: SourceSpan
  ) -> Diagnostic {
    let remedy =
      nearest.map { "did you mean \"\($0.name)\"?" + ($0.isAvailable ? "" : " (which is not there yet)") }
      ?? "the keys that may stand here: \(allowed.joined(separator: ", "))"
    return Diagnostic("unknown-key", at: span, "unknown key \"\(key)\"", remedy: remedy)
  }

  static func wrongKind(_ message: String, example: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic("wrong-kind", at: span, message, remedy: "write it like this: `\(example)`")
  }
}
