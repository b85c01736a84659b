internal import MigrateCatalog
internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigrateSQL

/// What goes through, and what a person should know before.
extension Resolver {
  mutating func warnAboutPrivileges() {
    let span = operation.source.table.span
    let name = table.name.description
    let user = catalog.server.user
    let written = operation.set.compactMap { table.column($0.column.value) }
    if !table.rights.schema { warnings.append(.missingRight("USAGE ON SCHEMA \(table.name.schema.name)", user, at: span)) }
    if !table.rights.select, !table.columns.allSatisfy(\.maySelect) {
      warnings.append(.missingRight("SELECT ON \(name)", user, at: span))
    }
    if !table.rights.update, !written.allSatisfy(\.mayUpdate) {
      let columns = written.map(\.name.quoted).joined(separator: ", ")
      warnings.append(.missingRight("UPDATE (\(columns)) ON \(name)", user, at: span))
    }
    if !catalog.server.hasLedger, !catalog.server.mayCreate {
      warnings.append(.missingRight("CREATE ON DATABASE", user, at: nil))
    }
  }

  /// A column in an index makes every update write all indexes of the table.
  mutating func warnAboutIndexes(_ written: [Column]) {
    for column in written {
      let indexes = table.indexes.filter { !$0.isSummarizing && $0.allColumns.contains(column.number) }
      guard !indexes.isEmpty, let span = operation.set.first(where: { $0.column.value.utf8.elementsEqual(column.name.name.utf8) })?.column.span
      else { continue }
      warnings.append(.notHOT(column.name.name, indexes: indexes.map(\.name), all: table.indexes.count, at: span))
    }
  }
}

extension Diagnostic {
  fileprivate static func missingRight(_ right: String, _ user: String, at span: SourceSpan?) -> Diagnostic {
    Diagnostic(
      "missing-privilege", .warning, at: span, "\(user) lacks a privilege that apply and revert need",
      remedy: "`GRANT \(right) TO \(user)`")
  }

  fileprivate static func notHOT(_ column: String, indexes: [String], all: Int, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "costs-hot", .warning, at: span,
      "\"\(column)\" stands in \(indexes.joined(separator: ", ")), so each changed row is written to all \(all) indexes of the table",
      remedy: "nothing to mend; it costs time and space, and VACUUM has more to do afterwards")
  }

  static func lossy(_ column: String, from: String, to: String, loses: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "lossy-assignment", .warning, at: span, "\(from) is assigned to \"\(column)\", a \(to): \(loses)",
      remedy: "say what you want: `round(…, 2)`, `trunc(…)`, or widen the column")
  }
}
