import MigrateDiagnostics

extension Decoder {
  /// `source: shop.products`, or a map with `table`, `key` and `as`.
  mutating func source(_ entry: YAMLEntry) -> Source? {
    switch entry.value.content {
    case .refused: return nil
    case .scalar:
      guard let table = table(entry) else { return nil }
      return Source(rows: .table(table), key: nil, alias: nil)
    case .sequence:
      refuse(.severalSources(at: entry.value.span))
      return nil
    case .mapping(let mapping):
      let fields = fields(of: mapping, at: .source)
      if fields["table"] == nil, fields["query"] == nil, isComplete,
        !fields.mayStandFor(["table", "query", "csv", "jsonl", "postgres"])
      {
        refuse(.missingKey("table", in: "`source`", example: "table: shop.products", at: entry.key.span))
      }
      let key = fields["key"].map { names($0, of: "column", example: "key: [created_at, id]") }
      let alias = fields["as"].flatMap { text($0, "a name") }.flatMap { identifier($0, "source row") }
      guard let rows = sourceRows(fields) else { return nil }
      if case .query(let query) = rows, key == nil { refuse(.queryWithoutKey(at: query.span)) }
      return Source(rows: rows, key: key, alias: alias)
    }
  }

  private mutating func sourceRows(_ fields: Fields) -> Source.Rows? {
    let table = fields["table"].flatMap { self.table($0) }.map(Source.Rows.table)
    guard let entry = fields["query"] else { return table }
    if fields["table"] != nil { refuse(.tableAndQuery("`source`", at: entry.key.span)) }
    return sql(entry, inFlow: fields.isFlow, "one SELECT").map(Source.Rows.query)
  }

  mutating func table(_ entry: YAMLEntry) -> Located<TableReference>? {
    text(entry, "a table, such as `shop.products`").flatMap { table(named: $0, by: entry.key.text) }
  }

  /// - Parameter key: what it stands under.
  mutating func table(named name: Located<String>, by key: String) -> Located<TableReference>? {
    let bytes = Array(name.value.utf8)
    if let parameter = Self.parameter(in: bytes) {
      refuse(.nameIsParameter(key, name.value, parameter, at: name.span))
      return nil
    }
    if Self.isQuery(bytes) {
      refuse(.sourceIsQuery(name.value, at: name.span))
      return nil
    }
    switch TableName.parts(of: bytes) {
    case .failure(let error):
      refuse(.badTableName(name.value, error, at: name.span))
      return nil
    case .success(let parts):
      for part in parts {
        guard identifier(Located(part, at: name.span), "table or schema") != nil else { return nil }
      }
      let reference = TableReference(schema: parts.count == 2 ? parts[0] : nil, name: parts[parts.count - 1])
      return Located(reference, at: name.span)
    }
  }

  /// `tenant` in `:tenant.users`
  private static func parameter(in name: [UInt8]) -> String? {
    for part in name.split(separator: UInt8(ascii: ".")) where part.first == UInt8(ascii: ":") && part.count > 1 {
      return String(decoding: part.dropFirst(), as: UTF8.self)
    }
    return nil
  }

  private static func isQuery(_ name: [UInt8]) -> Bool {
    let word = name.prefix { $0 != 0x20 && $0 != 0x0A && $0 != UInt8(ascii: "(") }
    let lower = word.map { (65...90).contains($0) ? $0 + 32 : $0 }
    return word.count < name.count && (lower.elementsEqual("select".utf8) || lower.elementsEqual("with".utf8))
  }
}

/// A table's name as written: split at the dot, or read as SQL when it has a `"` in it.
private enum TableName {
  enum Invalid: Error {
    case parts(Int)
    case emptyPart
    case quotes
    /// SQL would fold this part, an exact name would not.
    case capitals(String)
  }

  static func parts(of name: [UInt8]) -> Result<[String], Invalid> {
    var parts: [[UInt8]] = []
    if name.contains(UInt8(ascii: "\"")) {
      switch quotedParts(of: name) {
      case .success(let read): parts = read
      case .failure(let error): return .failure(error)
      }
    } else {
      parts = name.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false).map(Array.init)
    }
    guard parts.allSatisfy({ !$0.isEmpty }) else { return .failure(.emptyPart) }
    guard parts.count <= 2 else { return .failure(.parts(parts.count)) }
    return .success(parts.map { String(decoding: $0, as: UTF8.self) })
  }

  private static func quotedParts(of name: [UInt8]) -> Result<[[UInt8]], Invalid> {
    let (quote, dot) = (UInt8(ascii: "\""), UInt8(ascii: "."))
    var parts: [[UInt8]] = []
    var rest = name[...]
    while true {
      if rest.first == quote {
        var part: [UInt8] = []
        rest = rest.dropFirst()
        while let byte = rest.popFirst() {
          if byte != quote {
            part.append(byte)
          } else if rest.first == quote {
            part.append(quote)
            rest = rest.dropFirst()
          } else {
            break
          }
          if rest.isEmpty { return .failure(.quotes) }
        }
        parts.append(part)
      } else {
        let part = rest.prefix { $0 != dot }
        if part.contains(quote) { return .failure(.quotes) }
        if part.contains(where: { (65...90).contains($0) }) {
          return .failure(.capitals(String(decoding: part, as: UTF8.self)))
        }
        parts.append(Array(part))
        rest = rest.dropFirst(part.count)
      }
      guard let byte = rest.popFirst() else { return .success(parts) }
      guard byte == dot else { return .failure(.quotes) }
    }
  }
}

extension Diagnostic {
  fileprivate static func severalSources(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "wrong-kind", at: span, "`source` is one table, not a list",
      remedy: "a definition for each table, ordered by `needs`")
  }

  fileprivate static func nameIsParameter(
    _ key: String, _ name: String, _ parameter: String, at span: SourceSpan
  ) -> Diagnostic {
    let rest = name.utf8.split(separator: UInt8(ascii: ".")).last.map { String(decoding: $0, as: UTF8.self) } ?? name
    let isSchema = rest.utf8.first != UInt8(ascii: ":")
    return Diagnostic(
      "name-is-parameter", at: span, "a name cannot be a parameter, and `:\(parameter)` is one",
      remedy: isSchema
        ? "write `\(key): \(rest)`, and choose the schema by `--search-path \(parameter)_17`"
        : "write the table's name, and choose its schema by `--search-path`")
  }

  fileprivate static func sourceIsQuery(_ text: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "bad-table-name", at: span, "`\(text)` is a query and no table's name",
      remedy: "a query stands under a key of its own, and its rows are read once: `source: {query: …, key: …}`")
  }

  /// 38: batches go from key to key.
  fileprivate static func queryWithoutKey(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "query-without-key", at: span, "a query needs a key to be walked by",
      remedy:
        "beside `query`: `key: id`, columns of it that together are another in each of its rows, as those of its GROUP BY"
    )
  }

  static func tableAndQuery(_ what: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "table-and-query", at: span, "\(what) has a `table` or a `query`, and here are both",
      remedy: "remove one of the two; a query can read the table: `query: SELECT … FROM …`")
  }

  fileprivate static func badTableName(_ name: String, _ error: TableName.Invalid, at span: SourceSpan) -> Diagnostic {
    let (cause, remedy) =
      switch error {
      case .parts(let count):
        ("`\(name)` has \(count) parts", "a table is `schema.table`; the database is the one that is connected to")
      case .emptyPart:
        ("`\(name)` has an empty part", "a table is `schema.table`, or `table` alone")
      case .quotes:
        (
          "the quotes in `\(name)` are not those of an SQL name",
          "put each part into quotes of its own: `'\"shop\".\"odd name\"'`"
        )
      case .capitals(let part):
        (
          "beside a quoted name SQL would fold `\(part)` to small letters",
          "put that part into quotes, too: `\"\(part)\"`"
        )
      }
    return Diagnostic("bad-table-name", at: span, cause, remedy: remedy)
  }
}
