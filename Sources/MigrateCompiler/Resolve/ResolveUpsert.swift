internal import MigrateCatalog
internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigrateSQL

/// `on_conflict: {do: update}`: an insert that leaves what is there as it is, and behind it an update of what was there. In this order
/// none is missed: a row that somebody else adds in between keeps the insert from adding it, so the update finds it.
extension Resolver {
  mutating func overwriting(
    _ values: [Assignment]?, _ onConflict: OnConflict, _ writing: StepWriting, _ table: WrittenTable,
    _ parameters: Parameters
  ) -> NamedStep.Verb? {
    let count = problems.count
    let row = values.map { given($0, onConflict, writing, table, parameters) } ?? copied(onConflict, writing, table)
    guard problems.count == count else { return nil }
    for assignment in row.others where assignment.isVolatile {
      problems.append(.volatileUpsert(assignment.column.name.name, at: assignment.span))
    }
    if row.others.isEmpty { problems.append(.nothingToUpdate(at: onConflict.span)) }
    let own = row.key.compactMap { $0.own?.number }
    if !writing.key.allSatisfy({ own.contains($0.number) }) {
      problems.append(.severalForOne(table.table.name, writing.key.map(\.name), at: onConflict.span))
    }
    guard problems.count == count else { return nil }
    let same: [SQL] = row.key.map { "\(table.alias).\($0.column.name) = CAST(\($0.value) AS \($0.column.image))" }
    let match = Match(
      condition: .joined(same, by: " AND "), isExistence: false, isOwn: false, isSingle: true, isShared: false)
    ask(
      .join, "\(probedRows(writing.rows))SELECT FROM \(table.source), \(writing.rows.name) WHERE (\(match.condition))")
    return .update(table, match: match, row.others)
  }

  /// What a new row holds: in the conflict's key, and in the other columns.
  private struct Given {
    /// `own`: the column of the source's key that it is, and nothing else.
    var key: [(column: Column, value: SQL, own: Column?)] = []
    var others: [NamedAssignment] = []
  }

  private func isKey(_ name: String, _ onConflict: OnConflict) -> Bool {
    onConflict.key.contains { $0.value.utf8.elementsEqual(name.utf8) }
  }

  /// The column of the source's key that is compared by its bytes with a column of the table.
  private func own(_ name: Identifier, as column: Column, _ writing: StepWriting) -> Column? {
    writing.key.first { key in
      key.name == name && key.baseOID == column.baseOID && key.collation == nil && column.collation == nil
    }
  }

  private mutating func given(
    _ values: [Assignment], _ onConflict: OnConflict, _ writing: StepWriting, _ table: WrittenTable,
    _ parameters: Parameters
  ) -> Given {
    let names = writing.names.with(bare: .rows)
    var given = Given()
    var columns: [Column?] = []
    for (place, assignment) in values.enumerated() {
      guard let column = table.table.column(assignment.column.value) else { return Given() }
      guard isKey(assignment.column.value, onConflict) else {
        columns.append(updatable(assignment.column, of: table, key: []))
        continue
      }
      columns.append(nil)
      switch writing.step.values[place] {
      case .unreadable: return Given()
      case .sql(let expression):
        let own: Column? =
          if case .column(let use) = expression.shape, case .batch(let part) = meaning(of: use, in: names) {
            self.own(part.name, as: column, writing)
          } else { nil }
        if expression.functions.contains(where: { volatility(of: $0) == .volatile }) {
          problems.append(.volatileUpsert(column.name.name, at: assignment.value.span))
        }
        given.key.append((column, rewritten(expression, in: names), own))
      case .text(let text): given.key.append((column, "\(Literal(text.value))", nil))
      case .constant(let constant):
        for value in self.constant(constant.value, column, at: constant.span) {
          given.key.append((column, value.value, nil))
        }
      }
    }
    given.others = self.values(values, columns, writing, bare: .rows, parameters)
    return given
  }

  private mutating func copied(_ onConflict: OnConflict, _ writing: StepWriting, _ table: WrittenTable) -> Given {
    var given = Given()
    for name in self.table.columns.map(\.name) {
      guard let column = table.table.column(name.name), !column.isGenerated else { continue }
      let value: SQL = "\(writing.rows.name).\(name)"
      if isKey(name.name, onConflict) {
        given.key.append((column, value, own(name, as: column, writing)))
        continue
      }
      _ = updatable(Located(name.name, at: onConflict.span), of: table, key: [])
      ask(
        .assignment(writing.firstValue + given.others.count),
        "\(probedRows(writing.rows))SELECT \(value) FROM \(writing.rows.name)")
      given.others.append(
        NamedAssignment(
          column: column, value: value, span: onConflict.span, isVolatile: false, isConstant: false, text: name.name))
    }
    return given
  }
}

extension Diagnostic {
  fileprivate static func volatileUpsert(_ column: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "not-yet", at: span,
      "\"\(column)\" is another value each time it is computed, and with `do: update` it is computed twice",
      remedy: "until then: compute it in `source.query`, which is read once")
  }

  fileprivate static func nothingToUpdate(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "nothing-to-update", at: span, "`do: update` gives the columns besides the key new values, and there are none",
      remedy: "`do: skip` leaves what is there as it is")
  }

  fileprivate static func severalForOne(_ table: QualifiedName, _ key: [Identifier], at span: SourceSpan) -> Diagnostic
  {
    let key = key.map(\.name).joined(separator: ", ")
    return Diagnostic(
      "several-for-one", at: span,
      "several rows of the source can be one row of \(table.description), and the later one would win",
      remedy:
        "have the source's key, (\(key)), in the key of `on_conflict`; a query gives one row for each, with `source: {query: SELECT … GROUP BY …, key: …}`"
    )
  }
}
