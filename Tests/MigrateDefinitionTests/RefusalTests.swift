import Testing

/// A definition that must be refused, and what its author reads then.
struct Refusal: CustomTestStringConvertible, Sendable {
  let id: String
  let yaml: String
  let says: String

  init(_ id: String, _ yaml: String, _ says: String) {
    self.id = id
    self.yaml = yaml
    self.says = says
  }

  var testDescription: String { id }
}

@Suite struct `A definition is refused with place, cause and remedy` {
  @Test("where YAML takes something else than was meant", arguments: refusalsOfTable)
  func table(_ refusal: Refusal) { expect(refusal) }

  @Test("where YAML cannot be read, or should not", arguments: refusalsOfYAML)
  func yaml(_ refusal: Refusal) { expect(refusal) }

  @Test("where a value cannot be meant", arguments: refusalsOfValues)
  func values(_ refusal: Refusal) { expect(refusal) }

  private func expect(_ case: Refusal) {
    #expect(refusal(of: `case`.yaml) == `case`.says)
  }
}
