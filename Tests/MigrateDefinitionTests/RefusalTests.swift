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
  @Test("where YAML cuts something off", arguments: refusalsOfCuts)
  func cuts(_ refusal: Refusal) { expect(refusal) }

  @Test("where something else would be read than was meant", arguments: refusalsOfReadings)
  func readings(_ refusal: Refusal) { expect(refusal) }

  @Test("where YAML cannot be read, or should not", arguments: refusalsOfYAML)
  func yaml(_ refusal: Refusal) { expect(refusal) }

  @Test("where a setting cannot be meant", arguments: refusalsOfSettings)
  func settings(_ refusal: Refusal) { expect(refusal) }

  @Test("where a value cannot be meant", arguments: refusalsOfValues)
  func values(_ refusal: Refusal) { expect(refusal) }

  /// The help of the cases above, put where the help says.
  @Test(
    "and what the help says can be pasted",
    arguments: [
      "where: '\"Size\" > 3'", "where: batch.\"Size\" > 3", "where: \"note <> ' #1'\"", "where: \"note = 'a: b'\"",
      "where: NOT deleted", "set:\n  x: coalesce(a, 0)", "set:\n  price: null", "set:\n  price: ''",
      "set:\n  city: |\n    address #>> '{city}'", "set:\n  note: |\n    note || ' #1'", "set:\n  delta: :amount",
      "set:\n  name: {sql: \"'Mr ' || name\"}", "set:\n  name: |\n    'Mr ' || name", "set:\n  until: '2026-01-01'",
      "set:\n  zip: '00740'", "set:\n  zip: 740", "set:\n  x: -1", "set:\n  x: batch.order",
      "set:\n  tags: ARRAY[1, 2]",
      "set:\n  a: {value: 31}", "set:\n  a: {value: '-Infinity'}", "set:\n  a: {value: {a: 1}}", "set: {'1': a}",
      "checks:\n  after: {no negative price: SELECT 1 FROM shop.products WHERE price < 0}",
      "params:\n  c: {type: numeric, default: 3}", "params:\n  d:\n    type: numeric(10,2)",
      "undo: {except: [last_update]}",
    ])
  func pasted(_ line: String) {
    let isSet = line.hasPrefix("set:")
    #expect(refusal(of: head + (isSet ? "" : foot) + line + "\n") == "")
  }

  private func expect(_ case: Refusal) {
    #expect(refusal(of: `case`.yaml + "\n") == `case`.says + "\n")
  }
}
