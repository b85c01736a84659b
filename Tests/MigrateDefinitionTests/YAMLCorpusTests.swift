import MigrateDefinition
import MigrateDiagnostics
import Testing

@Suite struct `YAML of every chapter` {
  @Test("Y13: is the tree that the specification says, or a reason", arguments: yamlCorpus)
  func reads(_ example: YAMLCase) {
    let bytes = Array(example.yaml.utf8)
    let document = YAMLReader.read(SourceText(path: "a.yaml", bytes: bytes))
    for span in document.diagnostics.compactMap(\.span) { #expect(0 <= span.start && span.end <= bytes.count) }
    let found =
      document.diagnostics.isEmpty
      ? document.root.map(shown) ?? "nothing" : "! " + document.diagnostics.map(\.code).joined(separator: " ")
    #expect(example.expected == "!" ? found.hasPrefix("! ") : found == example.expected, "\(found)")
  }

  /// A scalar as large as a file may be, in each style.
  @Test("Y13: of a megabyte in one scalar", arguments: ["", "'", "\"", "|\n  ", ">\n  "])
  func megabyte(_ open: String) throws {
    let text = String(repeating: "word ", count: 180_000) + "end"
    let close = open.count == 1 ? open : ""
    let read = try #require(scalar("k", in: Array("k: \(open)\(text)\(close)\n".utf8)))
    #expect(read.text.utf8.elementsEqual((open.contains("\n") ? text + "\n" : text).utf8))
  }

  private func shown(_ node: YAMLNode) -> String {
    switch node.content {
    case .scalar(let scalar): "'\(scalar.text)'"
    case .sequence(let items): "[\(items.map(shown).joined(separator: ", "))]"
    case .mapping(let mapping):
      "{\(mapping.entries.map { "\($0.key.text): \(shown($0.value))" }.joined(separator: ", "))}"
    case .refused: "refused"
    }
  }
}
