import MigrateDiagnostics

/// `tests:` name: {params, given, expected, rejects}.
extension Decoder {
  private static let example =
    "tests: {gold for much: {given: {shop.users: [{id: 1, spent: 15000}]}, expected: {shop.users: [{id: 1, vip_level: gold}]}}}"

  mutating func tests(_ entry: YAMLEntry) -> [TestDefinition] {
    guard let mapping = map(entry.value, "`tests`", example: Self.example) else { return [] }
    return mapping.entries.compactMap { test($0) }
  }

  private mutating func test(_ entry: YAMLEntry) -> TestDefinition? {
    let name = Located(entry.key.text, at: entry.key.span)
    guard let mapping = map(entry.value, "a test", example: Self.example) else { return nil }
    let fields = fields(of: mapping, at: .test)
    let parameters = fields["params"].flatMap { entry in
      map(entry.value, "`params`", example: "params: {rate: 1.05}").map { values(of: $0) }
    }
    let given = fields["given"].map { tables($0) } ?? []
    if fields["given"] == nil, isComplete, !fields.mayStandFor(["given"]) {
      refuse(.missingKey("given", in: "a test", example: "given: {shop.users: [{id: 1}]}", at: name.span))
    }
    if fields["expected"] == nil, fields["rejects"] == nil, isComplete, !fields.mayStandFor(["expected", "rejects"]) {
      refuse(
        .missingKey("expected", in: "a test", example: "expected: {shop.users: [{id: 1, level: gold}]}", at: name.span))
    }
    return TestDefinition(
      name: name, parameters: parameters ?? [], given: given, expected: fields["expected"].map { tables($0) } ?? [],
      rejects: fields["rejects"].map { rows($0) } ?? [])
  }

  /// table: [row, …]
  private mutating func tables(_ entry: YAMLEntry) -> [TestRows] {
    let example = "\(entry.key.text): {shop.users: [{id: 1, spent: 15000}]}"
    guard let mapping = map(entry.value, "`\(entry.key.text)`", example: example) else { return [] }
    return mapping.entries.compactMap { entry in
      let rows = rows(entry)
      return table(named: Located(entry.key.text, at: entry.key.span), by: "table").map {
        TestRows(table: $0, rows: rows)
      }
    }
  }

  private mutating func rows(_ entry: YAMLEntry) -> [TestRow] {
    let what = "`\(entry.key.text)`"
    let example = "\(entry.key.text): [{id: 1, spent: 15000}]"
    switch entry.value.content {
    case .refused: return []
    case .sequence(let items):
      return items.compactMap { item in
        map(item, "a row", example: example).map { TestRow(span: item.span, values: values(of: $0)) }
      }
    case .scalar, .mapping:
      refuse(.wrongKind("\(what) is a list of rows", example: example, at: entry.value.span))
      return []
    }
  }

  private mutating func values(of mapping: YAMLMapping) -> [TestValue] {
    mapping.entries.compactMap { entry in
      constant(entry).map { TestValue(name: Located(entry.key.text, at: entry.key.span), value: $0.value) }
    }
  }
}
