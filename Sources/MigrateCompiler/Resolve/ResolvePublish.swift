internal import MigrateCatalog
internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigrateSQL

/// `publish: at_once`: batches compute aside, and one transaction shows it. What lives from each batch being seen has no place there.
extension Resolver {
  var isAside: Bool { operation.publish?.value == .atOnce }

  mutating func resolvePublish() -> Aside? {
    guard let said = operation.publish, isAside else { return nil }
    if operation.isStepped || sourceRows.isFrozen { problems.append(.stepsAtOnce(at: said.span)) }
    if case .none = operation.undo { problems.append(.atOnceWithoutUndo(at: said.span)) }
    if operation.canary != nil { problems.append(.canaryAtOnce(at: said.span)) }
    if let check = operation.checks.batch.first {
      problems.append(.batchCheckAtOnce(check.name.value, at: check.name.span))
    }
    return Aside(read: readColumns)
  }

  /// The columns of the source that some SQL names, those of queries inside included: too many cost a little, one too few a row.
  private var readColumns: [Column] {
    let uses = parsed.rowTexts.flatMap(\.columns)
    let readsAll = uses.contains { use in
      use.isStar
        || use.column.map { [Self.batch, alias].contains($0.name) && table.column($0.name.name) == nil } ?? false
    }
    guard !readsAll else { return table.columns }
    let names = Set(uses.flatMap(\.parts).map(\.name))
    let changed = operation.incremental?.value
    return table.columns.filter { column in
      names.contains(column.name) || changed?.utf8.elementsEqual(column.name.name.utf8) == true
    }
  }
}

extension Diagnostic {
  fileprivate static func stepsAtOnce(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "at-once-steps", at: span,
      "`publish: at_once` shows what one `set` makes of the source's own rows, and nothing else",
      remedy: "a definition for each table, in order by `needs`; or leave `publish` out: each batch is one transaction")
  }

  fileprivate static func atOnceWithoutUndo(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "at-once-without-undo", at: span, "what is computed stands where undo keeps it, and `undo: none` keeps nothing",
      remedy: "leave `undo` out, or `publish`")
  }

  fileprivate static func canaryAtOnce(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "at-once-canary", at: span, "nothing can be seen of a canary where all rows are shown at once",
      remedy: "`expect` looks at what was computed before it is shown; or leave `publish` out")
  }

  fileprivate static func batchCheckAtOnce(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "at-once-batch-check", at: span,
      "\"\(name)\" would look at a batch that has written nothing: all rows are shown at once",
      remedy:
        "as a rule under `validation` each row meets it before; under `checks: {after: …}` it is asked behind the last batch"
    )
  }
}
