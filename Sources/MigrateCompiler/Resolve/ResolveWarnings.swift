internal import MigrateCatalog
internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigrateSQL

/// What goes through, and what a person should know before.
extension Resolver {
  /// Without the rights on the table there is not even a plan; the right to make the ledger may still be given.
  mutating func checkPrivileges() {
    let span = operation.source.table.span
    let name = table.name.spelled
    let user = Identifier(trusted: catalog.server.user).spelled
    let written = operation.set.compactMap { table.column($0.column.value) }
    if !table.rights.schema {
      problems.append(.missingRight("USAGE ON SCHEMA \(table.name.schema.spelled)", user, at: span))
    }
    if !table.rights.select, !table.columns.allSatisfy(\.maySelect) {
      problems.append(.missingRight("SELECT ON \(name)", user, at: span))
    }
    if !table.rights.update, !written.allSatisfy(\.mayUpdate) {
      let columns = written.map(\.name.spelled).joined(separator: ", ")
      problems.append(.missingRight("UPDATE (\(columns)) ON \(name)", user, at: span))
    }
    if !catalog.server.hasLedger, !catalog.server.mayCreate {
      warnings.append(.missingRight("CREATE ON DATABASE …", user, .warning, at: nil))
    }
  }

  /// A column in an index makes every update write all indexes of the table.
  mutating func warnAboutIndexes(_ written: [Column]) {
    for column in written {
      let indexes = table.indexes.filter { !$0.isSummarizing && $0.allColumns.contains(column.number) }
      guard !indexes.isEmpty,
        let span = operation.set.first(where: { $0.column.value.utf8.elementsEqual(column.name.name.utf8) })?.column
          .span
      else { continue }
      warnings.append(.notHOT(column.name.name, indexes: indexes.map(\.name), all: table.indexes.count, at: span))
    }
  }
}

extension Diagnostic {
  fileprivate static func missingRight(
    _ right: String, _ user: String, _ severity: Diagnostic.Severity = .error, at span: SourceSpan?
  ) -> Diagnostic {
    Diagnostic(
      "missing-privilege", severity, at: span, "\(user) lacks a privilege that apply and revert need",
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
