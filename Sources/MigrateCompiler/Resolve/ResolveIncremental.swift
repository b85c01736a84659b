internal import MigrateCatalog
internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigrateSQL

/// `incremental:` only rows that were changed since the last complete run. What is certain overlaps, so that a row can come twice: a step
/// must leave the same behind the second time.
extension Resolver {
  /// The condition of the rows; `nil` without the key, or with something wrong.
  mutating func resolveIncremental() -> SQL? {
    guard let said = operation.incremental else { return nil }
    if sourceRows.isFrozen {
      problems.append(.incrementalQuery(at: said.span))
      return nil
    }
    checkRepeatable()
    guard let column = table.column(said.value) else {
      problems.append(
        .unknownColumn(
          said.value, of: table.name.description, at: said.span,
          nearest: Suggestion.nearest(to: said.value, among: table.columns.map(\.name.name))))
      return nil
    }
    guard column.baseOID == TypeOID.timestamptz, column.isNotNull else {
      problems.append(.notAMoment(column, of: table, at: said.span))
      return nil
    }
    return "(\(Role.sinceNone) OR \(rowName).\(column.name) >= \(Role.since))"
  }

  private mutating func checkRepeatable() {
    let set = Set(operation.set.map(\.column.value).map(Identifier.init(trusted:)))
    let texts = (parsed.values + parsed.lets.map(\.value)).compactMap(Self.expression)
    for text in set.isEmpty ? [] : texts {
      let own = text.columns.first { use in
        guard use.scope.depth == 0, let part = use.column else { return use.scope.depth == 0 && use.isStar }
        return set.contains(part.name) && (use.qualifier.map { $0.name == alias || $0.name == Self.batch } ?? true)
      }
      if let own { problems.append(.notRepeatable(own.column?.name.name ?? "*", at: text.span(of: own.range))) }
    }
    for step in parsed.steps where step.isWhole {
      switch step.definition.verb {
      case .update: checkRepeatable(step)
      case .overwrite(_, _, let onConflict) where !onConflict.set.isEmpty: checkRepeatable(step)
      case .insert(let table, _, nil): problems.append(.insertsAgain(table.value, at: table.span))
      case .insert, .overwrite, .add, .delete, .emit, .notify: continue
      }
    }
  }

  /// Columns of the table that any step sets.
  private mutating func checkRepeatable(_ step: ParsedStep) {
    guard let target = asked(step) else { return }
    var set: Set<Identifier> = []
    for other in parsed.steps {
      guard asked(other)?.shares(rowsOf: target) == true else { continue }
      let values: [Assignment]
      switch other.definition.verb {
      case .update(_, _, let assignments): values = assignments
      case .overwrite(_, let given, let onConflict): values = (given ?? []) + onConflict.set
      case .insert, .add, .delete, .emit, .notify: continue
      }
      set.formUnion(values.map { Identifier(trusted: $0.column.value) })
    }
    set = written(set, of: target)
    let names = StepNames(
      target: .init(table: target, name: target.name.name, alias: target.name.name), rows: nil, bare: .target)
    let texts: [ParsedBatch.ParsedValue] =
      if case .overwrite = step.definition.verb { step.onConflict } else { step.values }
    for text in texts.compactMap(Self.expression) {
      for use in text.columns {
        guard case .target(let part) = meaning(of: use, in: names), set.contains(part.name) else { continue }
        problems.append(.notRepeatable(part.name.name, at: text.span(of: use.range)))
      }
    }
  }

  private static func expression(_ value: ParsedBatch.ParsedValue) -> SQLExpression? {
    guard case .sql(let expression) = value else { return nil }
    return expression
  }
}

extension Diagnostic {
  fileprivate static func incrementalQuery(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "incremental-query", at: span, "what a query gives has not been changed at any time",
      remedy: "name a table as `source`; or say since when by a parameter: `params: {since: timestamptz}`")
  }

  fileprivate static func notAMoment(_ column: Column, of table: Table, at span: SourceSpan) -> Diagnostic {
    let name = column.name.name
    let isMoment = column.baseOID == TypeOID.timestamptz
    return Diagnostic(
      "not-a-moment", at: span,
      isMoment
        ? "\"\(name)\" may be NULL, and such a row would be passed over"
        : "\"\(name)\" is \(column.type.spelling), which says of no moment for sure when it was",
      remedy: isMoment
        ? "ALTER TABLE \(table.name.spelled) ALTER \(column.name.spelled) SET NOT NULL"
        : "a `timestamptz` that each change sets: `ALTER TABLE \(table.name.spelled) ADD updated_at timestamptz NOT NULL DEFAULT now()`, and a trigger that sets it"
    )
  }

  fileprivate static func notRepeatable(_ column: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "not-repeatable", at: span,
      "a row may come twice, and what is made of \"\(column)\" would be made of it once more",
      remedy: "compute it from what it depends on, by a join for instance, or leave `incremental` out")
  }

  fileprivate static func insertsAgain(_ table: TableReference, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "not-repeatable", at: span, "a row may come twice, and would be added to \(table.name) once more",
      remedy: "`on_conflict: {key: …, do: skip}`, or `do: update`")
  }
}
