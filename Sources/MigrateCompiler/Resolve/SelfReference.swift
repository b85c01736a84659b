internal import MigrateCatalog
internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigrateSQL

/// Rows that refer to rows of their own table (54): batches go by the key, and which of two is in the earlier one the reference does not say.
extension Resolver {
  mutating func warnOfSelfReferences(_ steps: [NamedStep]) {
    for step in steps {
      let span = parsed.steps[step.number - 1].definition.span
      switch step.verb {
      case .insert(let written, let values, _):
        let referring = ownKeys(of: written.table).flatMap(\.referring)
        for value in values where !value.isConstant && referring.contains(value.column.name) {
          warnings.append(.refersToLaterRows(value.column.name.name, written.table.name, at: value.span))
        }
      case .delete(let written, _):
        let isRefused = ownKeys(of: written.table).contains { key in
          switch key.onDelete {
          case .none, .restrict: true
          case .cascade, .setNull, .setDefault: false
          }
        }
        if isRefused { warnings.append(.referredToByLaterRows(written.table.name, at: span)) }
      case .update, .emit, .notify: continue
      }
    }
  }

  private func ownKeys(of table: Table) -> [ForeignKey] { table.referencedBy.filter { $0.tableOID == table.oid } }
}

extension Diagnostic {
  fileprivate static func refersToLaterRows(_ column: String, _ table: QualifiedName, at span: SourceSpan) -> Diagnostic
  {
    Diagnostic(
      "self-reference", .warning, at: span,
      "\"\(column)\" refers to rows of \(table.description) itself, and one that a later batch adds is not there yet",
      remedy:
        "leave it out here, and set it in a second definition that `needs` this one; or have `source.query` give a key by which rows come behind those that they refer to"
    )
  }

  fileprivate static func referredToByLaterRows(_ table: QualifiedName, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "self-reference", .warning, at: span,
      "rows of \(table.description) refer to one another, and one that a later batch removes may refer to one that goes, which the database refuses",
      remedy: "have `source.query` give a key by which rows come before those that they refer to, leaves first")
  }
}
