package import MigrateCatalog
internal import MigrateDefinition
internal import MigrateDiagnostics
package import MigrateSQL

/// Where the rows come from that batches walk.
enum SourceRows: Sendable {
  /// The table itself.
  case live
  /// A query, whose rows are read once into a table of the run's own: then neither the steps nor anybody else change them.
  case frozen(SQL)

  var isFrozen: Bool {
    switch self {
    case .live: false
    case .frozen: true
    }
  }
}

extension Compiler {
  /// The source's query, for the database to tell its columns; `nil` where there is none, or none that can be asked about.
  package static func sourceQuery(_ parsed: ParsedBatch, _ catalog: Catalog) -> RenderedSQL? {
    var resolver = Resolver(parsed, catalog, .readIn([], key: []))
    return resolver.sourceQuery().map(RenderedSQL.init)
  }

  static func beginQuery(_ parsed: ParsedBatch, _ catalog: Catalog) -> Beginning {
    // What else is wrong with it the database has said, or will say.
    var asking = Resolver(parsed, catalog, .readIn([], key: []))
    let asked = asking.sourceQuery()
    guard parsed.definition.operation.isStepped else {
      return .refused(.without(.setOfQuery(at: parsed.definition.operation.setSpan), parsed))
    }
    guard let columns = catalog.sourceColumns, let query = asked else {
      asking.checkFrozen()
      return .refused(Resolution(parsed: parsed, problems: asking.problems, probes: [], batch: nil))
    }
    if let twice = columns.first(where: { column in columns.count { $0.name == column.name } > 1 }) {
      return .refused(.without(.columnTwice(twice.name.name, at: parsed.definition.operation.source.span), parsed))
    }
    if let other = columns.first(where: { $0.category == "P" || Resolver.systemColumns.contains($0.name.name) }) {
      return .refused(
        .without(
          .unkeptColumn(other.name.name, other.type.spelling, at: parsed.definition.operation.source.span), parsed))
    }
    let key = parsed.definition.operation.source.key ?? []
    return .resolver(Resolver(parsed, catalog, .readIn(columns, key: key.map(\.value)), .frozen(query)))
  }
}

extension Table {
  /// Its name has the run's number behind it, which nobody knows yet.
  fileprivate static func readIn(_ columns: [Column], key: [String]) -> Table {
    let name = QualifiedName(schema: Identifier(trusted: "migrate"), name: Identifier(trusted: "source_"))
    return Table(readInto: name, columns) { column in key.contains { $0.utf8.elementsEqual(column.name.name.utf8) } }
  }
}

extension Resolver {
  /// Of a view or a foreign table, which no batch could walk.
  init?(frozen table: Table, _ parsed: ParsedBatch, _ catalog: Catalog) {
    switch table.kind {
    case .table, .partitioned: return nil
    case .view, .materializedView, .foreign:
      let names: [SQL] = table.columns.map { "\($0.name)" }
      let key = parsed.definition.operation.source.key ?? []
      self.init(
        parsed, catalog, .readIn(table.columns, key: key.map(\.value)),
        .frozen("SELECT \(list: names)\nFROM   \(table.name)"))
    }
  }

  /// The text of the source's query, in the words of our SQL; `nil` where something is wrong with it, which has been said.
  mutating func sourceQuery() -> SQL? {
    guard let query = parsed.source else { return nil }
    let count = problems.count
    _ = resolveParameters()
    guard problems.count == count, isBound(query) else { return nil }
    return rewritten(query)
  }

  mutating func checkFrozen() {
    guard let query = parsed.source else { return }
    checkParameters(query, resolvedParameters)
    checkClock(query)
    if let use = query.relations.first(where: { $0.schema == nil && $0.name == Self.batch }) {
      problems.append(.batchInSource(at: query.span(of: use.range)))
    }
  }

  /// The columns by which no two rows are alike, which is found out when they are read.
  mutating func frozenKey() -> [Column] {
    guard let said = operation.source.key else {
      if parsed.source == nil { problems.append(.viewWithoutKey(at: operation.source.span)) }
      return []
    }
    let count = problems.count
    var columns: [Column] = []
    for name in said {
      guard let column = table.column(name.value) else {
        problems.append(unknownColumn(name.value, at: name.span))
        continue
      }
      if column.isWrapped || !column.hasOwnOrder {
        problems.append(.unkeptSourceKey(column.name.name, type: column.type.spelling, at: name.span))
      }
      columns.append(column)
    }
    guard problems.count == count else { return [] }
    ask(.join, "SELECT FROM \(row) ORDER BY \(list: columns.map { "\(rowName).\($0.name)" })")
    return columns
  }

  func unknownSourceColumn(_ name: String, at span: SourceSpan) -> Diagnostic {
    .unknownSourceColumn(
      name, nearest: Suggestion.nearest(to: name, among: table.columns.map(\.name.name)), at: span)
  }
}

extension Column {
  /// Whether > and = mean the same whatever the search path is.
  fileprivate var hasOwnOrder: Bool { baseOID < TypeOID.firstOfUser || category == "E" }
}

extension Diagnostic {
  fileprivate static func setOfQuery(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "set-of-query", at: span, "`set` writes rows of the source, and those of a query are in no table",
      remedy: "say which table and which of its rows: `update: shop.products`, `match: products.id = batch.id`")
  }

  fileprivate static func batchInSource(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "batch-out-of-place", at: span, "the query of `source` is read once, before there is a batch",
      remedy: "read the tables themselves")
  }

  fileprivate static func columnTwice(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "column-twice", at: span, "the query of `source` has two columns \"\(name)\"",
      remedy: "name one of them otherwise: `… AS other_\(name)`")
  }

  fileprivate static func unkeptColumn(_ name: String, _ type: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "unkept-column", at: span, "no table takes a column \"\(name)\" of type \(type)",
      remedy: "give it another name, or another type: `\(name)::text AS \(name)_text`")
  }

  fileprivate static func viewWithoutKey(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "query-without-key", at: span, "its rows are read once, and need a key to be walked by",
      remedy: "`source: {table: …, key: id}`: columns that together are another in each of its rows")
  }

  fileprivate static func unkeptSourceKey(_ column: String, type: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "unkept-key", at: span,
      "\"\(column)\" is of type \(type): a key is of PostgreSQL's own types or an enum, and neither an array nor a composite",
      remedy: "give the query a column for it: `\(column)::text AS \(column)`")
  }

  fileprivate static func unknownSourceColumn(_ name: String, nearest: String?, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "unknown-column", at: span, "the query of `source` has no column \"\(name)\"",
      remedy: nearest.map { "did you mean \"\($0)\"?" } ?? "add it to its SELECT, or name it there: `… AS \(name)`")
  }
}
