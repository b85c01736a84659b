internal import MigrateCatalog
internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigrateSQL

/// The table and the key that batches walk.
extension Resolver {
  mutating func checkTable() {
    guard !sourceRows.isFrozen else { return checkFrozen() }
    check(table, at: operation.source.span)
  }

  /// Whether its rows can be written, and taken back.
  mutating func check(_ table: Table, at span: SourceSpan) {
    let name = table.name.description
    switch table.kind {
    case .table, .partitioned: break
    case .view, .materializedView, .foreign:
      problems.append(.notATable(name, kind: table.kind, reads: table.reads, at: span))
    }
    if table.isInherited { problems.append(.inherited(name, at: span)) }
    if !table.rules.isEmpty { problems.append(.rules(name, table.rules, at: span)) }
    if table.isRowSecured { problems.append(.rowSecurity(name, user: catalog.server.user, at: span)) }
    if table.isPublishedWithoutIdentity { problems.append(.noReplicaIdentity(table.name, at: span)) }
  }

  /// The columns of the key in the order of its index; empty when there is none, which has been said.
  mutating func resolveKey() -> [Column] {
    guard !sourceRows.isFrozen else { return frozenKey() }
    guard table.kind == .table || table.kind == .partitioned else { return [] }
    guard let said = operation.source.key else { return defaultKey() }
    var columns: [Column] = []
    for name in said {
      guard let column = table.column(name.value) else {
        problems.append(unknownColumn(name.value, at: name.span))
        continue
      }
      if !column.isNotNull { problems.append(.nullableKey(name.value, table.name, at: name.span)) }
      columns.append(column)
    }
    guard columns.count == said.count, columns.allSatisfy(\.isNotNull) else { return [] }
    let numbers = Set(columns.map(\.number))
    guard let index = table.indexes.first(where: { $0.isWalkable && Set($0.columns) == numbers }) else {
      problems.append(.keyNotUnique(said.map(\.value), table, at: said[0].span))
      return []
    }
    return keepable(index, at: said[0].span)
  }

  /// Undo keeps the keys of a batch as an array for each column, which a key that is an array or a composite itself would not
  /// come out of as it went in.
  private mutating func keepable(_ index: Index, at span: SourceSpan) -> [Column] {
    let key = index.columns.compactMap(table.column)
    if !index.hiddenOperators.isEmpty {
      let path = catalog.searchPath.map(\.name) + index.hiddenOperators
      problems.append(.hiddenOperators(of: key.map(\.name.name), index.hiddenOperators, path: path, at: span))
    }
    guard let column = key.first(where: \.isWrapped) else { return key }
    problems.append(.unkeptKey(column.name.name, type: column.type.spelling, table.name, at: span))
    return []
  }

  private mutating func defaultKey() -> [Column] {
    let walkable = table.indexes.filter { index in
      index.isWalkable && index.columns.allSatisfy { table.column($0)?.isNotNull == true }
    }
    let kept = walkable.first { index in index.columns.allSatisfy { table.column($0)?.isWrapped == false } }
    guard let index = kept ?? walkable.first else {
      problems.append(.noKey(table.name, at: operation.source.span))
      return []
    }
    return keepable(index, at: operation.source.span)
  }

  func unknownColumn(_ name: String, at span: SourceSpan) -> Diagnostic {
    guard parsed.source == nil else { return unknownSourceColumn(name, at: span) }
    return .unknownColumn(
      name, of: table.name.description, at: span,
      nearest: Suggestion.nearest(to: name, among: table.columns.map(\.name.name)))
  }
}

extension Index {
  /// Can lead a walk that meets each row once: unique at once and for every row, in ascending order (K02, K03, K04), which is
  /// the order that the columns themselves have: keys that are two to it must not be one to them (K08).
  var isWalkable: Bool {
    isUnique && isValid && isImmediate && !isPartial && isBtree && isAscending && isInOrder && !columns.contains(0)
  }
}

extension Table {
  private static let ledger = "migrate"

  /// Whether it is one of the ledger's.
  fileprivate var isOfTheLedger: Bool { name.schema.name.utf8.elementsEqual(Self.ledger.utf8) }

  /// Whether it holds what PostgreSQL or the ledger know, and no rows of the user. PostgreSQL keeps names with `pg_` for itself.
  var isOfTheSystem: Bool {
    let schema = name.schema.name
    return isOfTheLedger || schema.utf8.starts(with: "pg_".utf8) || schema.utf8.elementsEqual("information_schema".utf8)
  }
}

extension Diagnostic {
  /// What stands in it is not data: written row by row it would no longer agree with what it describes.
  static func systemTable(_ table: Table, at span: SourceSpan) -> Diagnostic {
    let name = table.name.description
    return table.isOfTheLedger
      ? Diagnostic(
        "system-table", at: span, "\(name) is part of the ledger, in which migrate writes down its own runs",
        remedy: "name a table of yours; runs are looked at and steered by commands: `migrate status`, `migrate history`"
      )
      : Diagnostic(
        "system-table", at: span, "\(name) is part of PostgreSQL's own catalog, and `set` would damage the database",
        remedy: "name a table of yours; what the catalog says is changed by SQL's own commands: ALTER, GRANT, COMMENT")
  }

  /// 27: no table of that name where the search path leads. The remedy is the schema that has it, else the nearest
  /// name.
  static func unknownTable(_ reference: TableReference, at span: SourceSpan, _ catalog: Catalog) -> Diagnostic {
    let elsewhere = catalog.nearby.filter { $0.name.utf8.elementsEqual(reference.name.utf8) }
    guard let schema = reference.schema else {
      let path = catalog.searchPath.map(\.name).joined(separator: ", ")
      let remedy: String
      if let other = elsewhere.first {
        remedy = "`\(other.schema).\(other.name)`, or `search_path: [\(other.schema), \(path)]`"
      } else {
        let nearest = Suggestion.nearest(
          to: reference.name, among: catalog.nearby.map { "\($0.schema).\($0.name)" } + catalog.nearby.map(\.name))
        remedy = nearest.map { "did you mean `\($0)`?" } ?? "write its schema: `shop.\(reference.name)`"
      }
      return Diagnostic(
        "unknown-table", at: span, "no table \"\(reference.name)\" in the search_path (\(path))", remedy: remedy)
    }
    let written = "\(schema).\(reference.name)"
    let nearest =
      Suggestion.nearest(to: written, among: catalog.nearby.map { "\($0.schema).\($0.name)" })
      ?? elsewhere.first.map { "\($0.schema).\($0.name)" }
    return Diagnostic(
      "unknown-table", at: span, "no table \(written)",
      remedy: nearest.map { "did you mean `\($0)`?" }
        ?? "the tables of \(schema) are listed by: `psql -c '\\dt \(schema).*'`")
  }

  /// 34: only rows of a table are written, and taken back. `reads` are the tables that a view stands on, one of which
  /// is meant.
  fileprivate static func notATable(
    _ name: String, kind: Table.Kind, reads: [String], at span: SourceSpan
  ) -> Diagnostic {
    let word =
      switch kind {
      case .view: "a view"
      case .materializedView: "a materialized view"
      case .foreign: "a foreign table"
      case .table, .partitioned: "a table"
      }
    return Diagnostic(
      "not-a-table", at: span, "\(name) is \(word), and `set` writes rows of a table",
      remedy: reads.isEmpty
        ? "name the table that holds the rows; its definition shows it: `psql -c '\\d+ \(name)'`"
        : "name the table that holds the rows: `source: \(reads[0])`"
          + reads.dropFirst().map { ", or `source: \($0)`" }.joined())
  }

  fileprivate static func inherited(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "inherited-table", at: span, "\(name) inherits or is inherited from, so no key is unique over all its rows",
      remedy: "name a table without inheritance; a partitioned table is welcome")
  }

  fileprivate static func rules(_ name: String, _ rules: [String], at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "table-with-rules", at: span,
      "\(name) has a rule (\(rules.joined(separator: ", "))), which rewrites what is sent",
      remedy: "drop the rule, or replace it by a trigger, whose work undo can see")
  }

  fileprivate static func rowSecurity(_ name: String, user: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "row-security", at: span, "row security hides rows of \(name) from \(user), so the run would pass them over",
      remedy: "run as a role that owns the table or has BYPASSRLS")
  }

  fileprivate static func noReplicaIdentity(_ name: QualifiedName, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "no-replica-identity", at: span,
      "\(name.description) is published and has no replica identity, so PostgreSQL refuses updates",
      remedy: "`ALTER TABLE \(name.spelled) REPLICA IDENTITY DEFAULT`")
  }

  /// 25: `nearest` is the column that was probably meant, within a few letters; `nil` when none is.
  static func unknownColumn(_ name: String, of table: String, at span: SourceSpan, nearest: String?) -> Diagnostic {
    Diagnostic(
      "unknown-column", at: span, "table \(table) has no column \"\(name)\"",
      remedy: nearest.map { "did you mean \"\($0)\"?" }
        ?? "the columns of \(table) are listed by: `psql -c '\\d \(table)'`")
  }

  /// 35: batches go from key to key, so there must be one that every row has and no two share.
  fileprivate static func noKey(_ name: QualifiedName, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "no-key", at: span,
      "\(name.description) has no primary key or unique NOT NULL index, so batches cannot find their way",
      remedy: """
        add one: `ALTER TABLE \(name.spelled) ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY`, \
        or read its rows once: `source: {query: SELECT … FROM \(name.spelled), key: …}`, with `steps`
        """)
  }

  /// 36: no comparison with NULL is true, so no batch would ever meet such a row.
  fileprivate static func nullableKey(_ column: String, _ table: QualifiedName, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "nullable-key", at: span, "\"\(column)\" may be NULL, and rows with NULL would be passed over",
      remedy: "`ALTER TABLE \(table.spelled) ALTER \(Identifier(trusted: column).spelled) SET NOT NULL`, or another key"
    )
  }

  fileprivate static func unkeptKey(
    _ column: String, type: String, _ table: QualifiedName, at span: SourceSpan
  ) -> Diagnostic {
    Diagnostic(
      "unkept-key", at: span,
      "\"\(column)\" is of type \(type), and a key that is an array or a composite cannot be walked",
      remedy: """
        walk another unique key: `source: {table: \(table.description), key: …}`, or add one: \
        `ALTER TABLE \(table.spelled) ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY UNIQUE`
        """)
  }

  fileprivate static func hiddenOperators(
    of key: [String], _ schemas: [String], path: [String], at span: SourceSpan
  ) -> Diagnostic {
    Diagnostic(
      "hidden-key-operators", at: span,
      "\(key.joined(separator: ", ")) is compared by operators of schema \(schemas.joined(separator: ", ")), which the search_path does not find",
      remedy: "`search_path: [\(path.joined(separator: ", "))]`, so that batches compare keys as the index does")
  }

  /// 37: a batch ends behind a key; of two rows that share it, one could lie on either side.
  fileprivate static func keyNotUnique(_ columns: [String], _ table: Table, at span: SourceSpan) -> Diagnostic {
    let names = columns.map { "\"\($0)\"" }.joined(separator: ", ")
    let primary = table.indexes.first(where: \.isPrimary)?.columns.compactMap { table.column($0)?.name.name } ?? []
    let whole = columns + primary.filter { name in !columns.contains { $0.utf8.elementsEqual(name.utf8) } }
    let index = whole.map { Identifier(trusted: $0).spelled }.joined(separator: ", ")
    return Diagnostic(
      "key-not-unique", at: span, "\(names) is not unique: rows at a batch's edge would be lost",
      remedy: """
        leave `key` out to walk the primary key; `key: [\(whole.joined(separator: ", "))]` needs a unique, valid, immediate \
        index on just these columns, in their own order: `CREATE UNIQUE INDEX CONCURRENTLY ON \(table.name.spelled) (\(index))`
        """)
  }
}
