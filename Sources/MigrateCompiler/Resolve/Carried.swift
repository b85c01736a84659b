package import MigrateCatalog
internal import MigrateDefinition
internal import MigrateDiagnostics
package import MigrateSQL

/// A column that `batch` has besides the source's own: what a row has found of a join, or what `let` gives. The capture computes it
/// once and keeps it, since the steps may change what it was read of.
struct Carried: Sendable {
  /// What `batch` calls it: `"spent.total"`, or the name of the value.
  let name: Identifier
  /// Over the source row, its joins and its values.
  let value: SQL
  /// As the database has described it; `nil` before it was asked.
  let column: Column?
}

extension Compiler {
  /// The columns that steps read of joins and of `let`, for the database to tell their types; `nil` where they read none.
  package static func carriedQuery(_ parsed: ParsedBatch, _ catalog: Catalog) -> RenderedSQL? {
    guard parsed.definition.operation.isStepped, !parsed.joins.isEmpty || !parsed.lets.isEmpty,
      case .resolver(var resolver) = begin(parsed, catalog)
    else { return nil }
    let parameters = resolver.resolveParameters()
    resolver.resolveJoins(key: resolver.resolveKey(), parameters)
    resolver.resolveLets(parameters)
    resolver.resolveCarried()
    guard !resolver.carried.isEmpty, resolver.unknownJoins.isEmpty, resolver.unknownLets.isEmpty else { return nil }
    return RenderedSQL(
      "SELECT \(list: resolver.carried.map { "\($0.value) AS \($0.name)" }) FROM \(resolver.joinedRow)")
  }
}

extension Resolver {
  /// The numbers of carried columns are beyond those that a table can have.
  private static let firstNumber = 2_001

  /// What the steps read of joins and of `let`.
  mutating func resolveCarried() {
    guard operation.isStepped else { return }
    let values = lets.filter { parsed.isReadOfBatch($0.name) }.map { ($0.name, "\($0.row).\($0.name)" as SQL) }
    let found = joins.flatMap { join in
      parsed.columnsReadOfBatch(of: join.name).filter { join.columns?.contains($0) ?? true }
        .map { (carriedName($0, of: join.name), "\(join.name).\($0)" as SQL) }
    }
    let described = catalog.carriedColumns ?? []
    carried = (values + found).enumerated().map { place, item in
      let column = described.indices.contains(place) ? described[place] : nil
      if let column, column.category == "P" {
        problems.append(.unkeptCarried(item.0.name, column.type.spelling, at: operation.source.span))
      }
      return Carried(
        name: item.0, value: item.1, column: column?.read(intoColumn: Self.firstNumber + place, isKey: false))
    }
  }

  /// What `batch` calls a column of a join. A name that is too long PostgreSQL would cut, and two could be one.
  func carriedName(_ column: Identifier, of join: Identifier) -> Identifier {
    let name = "\(join.name).\(column.name)"
    guard name.utf8.count > 63 || table.column(name) != nil else { return Identifier(trusted: name) }
    let place = joins.firstIndex { $0.name == join } ?? 0
    let columns = parsed.columnsReadOfBatch(of: join)
    return Identifier(trusted: "migrate joined \(place + 1).\((columns.firstIndex(of: column) ?? 0) + 1)")
  }

  /// The source row with what is carried, in a FROM that is planned and never run.
  var carryingRow: SQL {
    let own: SQL = "\(rowName).*"
    guard !carried.isEmpty else { return "SELECT \(own) FROM \(row)" }
    return "SELECT \(list: [own] + carried.map { "\($0.value) AS \($0.name)" }) FROM \(joinedRow)"
  }

  /// Whether `batch` has a column of that name.
  func batchHas(_ name: Identifier) -> Bool {
    table.column(name.name) != nil || carried.contains { $0.name == name }
  }
}

extension ParsedBatch {
  /// The columns of a join that some SQL of the definition reads, each once, in the order of their names.
  func columnsRead(of join: Identifier) -> [Identifier] { columns(of: join, in: texts) }

  /// Those of them that steps and checks read of `batch`.
  func columnsReadOfBatch(of join: Identifier) -> [Identifier] {
    columns(of: join, in: steps.flatMap(\.texts))
  }

  /// The name of a join's column as the definition spells it first, by which the database tells the place where it is read.
  func spelling(of column: Identifier, in join: Identifier) -> SQL? {
    for text in texts {
      let use = text.columns.first { $0.column?.name == column && isColumn($0, of: join) }
      if let part = use?.column { return SQL(text, part.range, replacing: []) }
    }
    return nil
  }

  private func isColumn(_ use: ColumnUse, of join: Identifier) -> Bool {
    use.qualifier?.name == join && use.scope.binding(of: join) == nil
  }

  private func columns(of join: Identifier, in texts: [any SQLText]) -> [Identifier] {
    let named = texts.flatMap(\.columns).filter { isColumn($0, of: join) }.compactMap { $0.column?.name }
    let prefix = Array(join.name.utf8) + [UInt8(ascii: ".")]
    let ofBatch = batchQueries.flatMap(\.columns).flatMap(\.parts).compactMap { part -> Identifier? in
      let bytes = Array(part.name.name.utf8)
      guard bytes.starts(with: prefix), bytes.count > prefix.count else { return nil }
      return Identifier(trusted: String(decoding: bytes.dropFirst(prefix.count), as: UTF8.self))
    }
    return Set(named + ofBatch).sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
  }

  /// Whether steps or checks name something like this, of `batch` or bare.
  func isReadOfBatch(_ name: Identifier) -> Bool {
    let texts: [any SQLText] = steps.flatMap(\.texts) + batchQueries
    return texts.contains { text in text.columns.contains { use in use.isStar || use.column?.name == name } }
  }

  /// The queries that see `batch`.
  private var batchQueries: [SQLQuery] {
    steps.compactMap(\.query)
      + checks.filter { check in
        switch check.moment {
        case .batch: true
        case .before, .after, .hold: false
        }
      }.map(\.query)
  }
}

extension Diagnostic {
  fileprivate static func unkeptCarried(_ name: String, _ type: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "unkept-column", at: span, "\"\(name)\" is of type \(type), which no table keeps for the steps",
      remedy: "give it another type: `(…)::text`")
  }
}
