import MigrateDiagnostics

extension Decoder {
  private static let example = "join: {country: {table: shop.countries, match: country.code = users.country_code}}"

  /// `join:` name: {table or query, match, missing}.
  mutating func joins(_ entry: YAMLEntry) -> (read: [Join], unread: [String]) {
    guard let mapping = map(entry.value, "`join`", example: Self.example) else { return ([], []) }
    if mapping.entries.isEmpty, mapping.isWhole, isComplete {
      refuse(.wrongKind("`join` is empty", example: Self.example, at: entry.value.span))
    }
    var joins: (read: [Join], unread: [String]) = ([], [])
    for entry in mapping.entries {
      if let join = join(entry) { joins.read.append(join) } else { joins.unread.append(entry.key.text) }
    }
    return joins
  }

  private mutating func join(_ entry: YAMLEntry) -> Join? {
    let name = Located(entry.key.text, at: entry.key.span)
    let isName = NameRules.isParameterName(name.value)
    if !isName { refuse(.badJoinName(name.value, at: name.span)) }
    guard let mapping = map(entry.value, "a join", example: Self.example) else { return nil }
    let fields = fields(of: mapping, at: .join)
    let match = fields["match"].flatMap { sql($0, inFlow: fields.isFlow, "one SQL condition") }
    if fields["match"] == nil { refuseMissing("match", in: fields, entry, example: "match: \(name.value).id = …") }
    let missing = fields["missing"].flatMap { whenMissing($0) }
    guard let rows = joined(fields, entry), let match, isName else { return nil }
    return Join(name: name, rows: rows, match: match, missing: missing ?? .reject)
  }

  private mutating func joined(_ fields: Fields, _ entry: YAMLEntry) -> Join.Rows? {
    switch (fields["table"], fields["query"]) {
    case (let table?, nil): return self.table(table).map(Join.Rows.table)
    case (nil, let query?):
      return sql(query, inFlow: fields.isFlow, "one SELECT").map(Join.Rows.query)
    case (_?, let query?):
      refuse(.tableAndQuery("a join", at: query.key.span))
      return nil
    case (nil, nil):
      refuseMissing("table", in: fields, entry, unless: ["query"], example: "table: shop.countries")
      return nil
    }
  }

  private mutating func refuseMissing(
    _ key: String, in fields: Fields, _ entry: YAMLEntry, unless others: [String] = [], example: String
  ) {
    guard isComplete, !fields.mayStandFor([key] + others) else { return }
    refuse(.missingKey(key, in: "a join", example: example, at: entry.key.span))
  }

  /// `null` is the one word that YAML takes for something else, and means it here.
  private mutating func whenMissing(_ entry: YAMLEntry) -> Join.Missing? {
    if case .scalar(let scalar) = entry.value.content, !scalar.isMissing,
      let known = Join.Missing(rawValue: scalar.text)
    {
      return known
    }
    if case .refused = entry.value.content { return nil }
    refuse(.unknownMissing(at: entry.value.span))
    return nil
  }
}

extension Diagnostic {
  fileprivate static func badJoinName(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "bad-join-name", at: span,
      "\"\(name)\" cannot name a join: SQL needs the name bare, so small letters, digits and _ can, not beginning with a digit",
      remedy: "for instance `\(NameRules.batchName(like: name))`")
  }

  fileprivate static func unknownMissing(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "wrong-kind", at: span, "`missing` says what a source row does that finds nothing",
      remedy: "`missing: reject` puts it into quarantine, `skip` leaves it as it is, `null` goes on with NULL")
  }
}
