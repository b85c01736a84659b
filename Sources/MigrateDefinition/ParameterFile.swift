package import MigrateDiagnostics

/// Values for parameters, from a file of YAML (or JSON, which is YAML): `name: value`, a line each.
///
/// The rules are those of a definition's constants: numbers keep their spelling, a name stands once, `null` is NULL.
package struct ParameterFile: Sendable {
  package struct Entry: Sendable {
    package let name: Located<String>
    package let value: Located<Constant>
  }

  package let source: SourceText
  /// In the order of the file.
  package let entries: [Entry]

  package init(_ source: SourceText) throws(Diagnostics) {
    let document = YAMLReader.read(source)
    let problems = document.diagnostics.filter { $0.code != "empty-document" }
    guard problems.isEmpty else { throw Diagnostics(source: source, problems) }
    guard let root = document.root, case .mapping(let mapping) = root.content else {
      throw Diagnostics(source: source, [.noParameters(at: document.root?.span)])
    }
    var decoder = Decoder(source: source, isComplete: document.isComplete)
    var entries: [Entry] = []
    for entry in mapping.entries {
      guard let value = decoder.constant(entry) else { continue }
      entries.append(Entry(name: Located(entry.key.text, at: entry.key.span), value: value))
    }
    guard decoder.diagnostics.isEmpty else { throw Diagnostics(source: source, decoder.diagnostics) }
    self.source = source
    self.entries = entries
  }
}

extension Diagnostic {
  fileprivate static func noParameters(at span: SourceSpan?) -> Diagnostic {
    Diagnostic(
      "no-parameters", at: span, "a file of parameters holds names and values",
      remedy: "a line for each parameter: `rate: 1.05`")
  }
}
