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
    var row = values.map { given($0, onConflict, writing, table, parameters) } ?? copied(onConflict, writing, table)
    guard problems.count == count else { return nil }
    row.others += overriding(onConflict, row, writing, table, parameters)
    for assignment in row.others where assignment.isVolatile {
      problems.append(.volatileUpsert(assignment.column.name.name, at: assignment.span))
    }
    if row.others.isEmpty { problems.append(.nothingToUpdate(at: onConflict.span)) }
    let own = row.key.compactMap { $0.own?.number }
    if !writing.key.allSatisfy({ own.contains($0.number) }) {
      problems.append(.severalForOne(table.table.name, writing.key.map(\.name), at: onConflict.span))
    }
    guard problems.count == count else { return nil }
    let same = row.key.map { isSame($0.column, of: table.alias, $0.value, onConflict, table.table) }
    var match = Match(
      condition: .joined(same, by: " AND "), isExistence: false, isOwn: false, isSingle: true, isShared: false)
    // What is made of the row that is there would else be made of the one that has just been added.
    if !onConflict.set.isEmpty { match.besidesAdded = writing.step.number - 1 }
    ask(
      .join, "\(probedRows(writing.rows))SELECT FROM \(table.source), \(writing.rows.name) WHERE (\(match.condition))")
    return .update(table, match: match, row.others)
  }

  /// What a new row holds: in the conflict's key, and in the other columns.
  private struct Given {
    /// `own`: the column of the source's key that it is, and nothing else.
    var key: [(column: Column, value: SQL, own: Column?)] = []
    var others: [NamedAssignment] = []
    /// Those that the row which is there does not get.
    var overridden: [(column: Column, value: SQL)] = []

    var excluded: [Identifier: SQL] {
      let all = key.map { ($0.column, $0.value) } + others.map { ($0.column, $0.value) } + overridden
      return Dictionary(all.map { ($0.0.name, "CAST(\($0.1) AS \($0.0.image))" as SQL) }) { $1 }
    }
  }

  /// `set:` in these columns the row that is there becomes something else.
  private mutating func overriding(
    _ onConflict: OnConflict, _ row: Given, _ writing: StepWriting, _ table: WrittenTable, _ parameters: Parameters
  ) -> [NamedAssignment] {
    guard !onConflict.set.isEmpty else { return [] }
    let columns = onConflict.set.map { assignment -> Column? in
      if isKey(assignment.column.value, onConflict) {
        problems.append(.stepWritesKey(assignment.column.value, table.table.name, at: assignment.column.span))
        return nil
      }
      return updatable(assignment.column, of: table, key: [])
    }
    var names = writing.names
    names.excluded = row.excluded
    let set = StepWriting(
      step: writing.step, firstValue: writing.firstValue, key: writing.key, rows: writing.rows, names: names)
    return values(
      onConflict.set, columns, set, bare: .target, parameters, of: writing.step.onConflict, behind: row.others.count)
  }

  /// True where a row has the new row's value in a column of the conflict's key, as the index sees it.
  private func isSame(
    _ column: Column, of alias: Identifier, _ value: SQL, _ onConflict: OnConflict, _ table: Table
  ) -> SQL {
    let (own, given): (SQL, SQL) = ("\(alias).\(column.name)", "CAST(\(value) AS \(column.image))")
    let key = Set(onConflict.key.compactMap { table.column($0.value)?.number })
    let nullsAreEqual = table.indexes.contains { $0.isUnique && $0.nullsAreEqual && Set($0.columns) == key }
    guard nullsAreEqual, !column.isNotNull else { return "\(own) = \(given)" }
    return "(\(own) = \(given) OR \(own) IS NULL AND \(given) IS NULL)"
  }

  private func isOverridden(_ name: String, _ onConflict: OnConflict) -> Bool {
    onConflict.set.contains { $0.column.value.utf8.elementsEqual(name.utf8) }
  }

  /// `do: reject`: a rule for the row of the batch, that the table has no such row before the first step.
  mutating func rejectThere(
    _ values: [Assignment]?, _ onConflict: OnConflict, _ writing: StepWriting, _ table: WrittenTable
  ) {
    let alias = Identifier(trusted: "migrate target")
    var same: [SQL] = []
    var own: [Int] = []
    for name in onConflict.key {
      guard let column = table.table.column(name.value) else { return }
      let place = values?.firstIndex { $0.column.value.utf8.elementsEqual(name.value.utf8) }
      guard values == nil ? self.table.column(name.value) != nil : place != nil else {
        problems.append(.conflictKeyNotGiven(name.value, at: name.span))
        return
      }
      let value: SQL
      switch place.map({ writing.step.values[$0] }) {
      case nil:
        value = "\(rowName).\(column.name)"
        own += self.own(column.name, as: column, writing).map { [$0.number] } ?? []
      case .sql(let expression):
        value = rewritten(expression, in: writing.names.with(bare: .rows), batch: rowName)
        if case .column(let use) = expression.shape,
          case .batch(let part) = meaning(of: use, in: writing.names.with(bare: .rows))
        {
          own += self.own(part.name, as: column, writing).map { [$0.number] } ?? []
        }
      case .text(let text): value = "\(Literal(text.value))"
      case .constant(let constant):
        value = self.constant(constant.value, column, at: constant.span).first?.value ?? "NULL"
      case .unreadable: return
      }
      same.append(isSame(column, of: alias, value, onConflict, table.table))
    }
    if !writing.key.allSatisfy({ own.contains($0.number) }) {
      problems.append(.severalForOne(table.table.name, writing.key.map(\.name), at: onConflict.span))
    }
    if parsed.steps.contains(where: {
      $0.number != writing.step.number && writes($0, rowsOf: table.table)
    }) {
      problems.append(.rejectsBesideOthers(table.table.name, at: onConflict.span))
    }
    let name = table.table.name.description
    let key = onConflict.key.map(\.value).joined(separator: ", ")
    missingRules.append(
      Rule(
        reason: "\(name): a row of this \(key) is there",
        condition: RowCondition(
          parts: [
            .sql(
              "NOT EXISTS (SELECT FROM \(table.table.name) AS \(alias) WHERE \(SQL.joined(same, by: " AND ")))")
          ], hasScope: false),
        text: "no row of this \(key) is in \(name)", place: source.place(of: onConflict.span)))
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
      if isOverridden(assignment.column.value, onConflict) {
        columns.append(nil)
        overridden(place, column, writing).map { given.overridden.append((column, $0)) }
        continue
      }
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

  /// What a new row would hold in a column of which the row that is there gets something else. That it can be read has been said where
  /// it is inserted.
  private mutating func overridden(_ place: Int, _ column: Column, _ writing: StepWriting) -> SQL? {
    switch writing.step.values[place] {
    case .unreadable: return nil
    case .sql(let expression):
      if expression.functions.contains(where: { volatility(of: $0) == .volatile }) {
        problems.append(.volatileUpsert(column.name.name, at: expression.fragment.span))
      }
      return rewritten(expression, in: writing.names.with(bare: .rows))
    case .text(let text): return "\(Literal(text.value))"
    case .constant(let constant): return self.constant(constant.value, column, at: constant.span).first?.value
    }
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
      if isOverridden(name.name, onConflict) {
        given.overridden.append((column, value))
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
  fileprivate static func conflictKeyNotGiven(_ column: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "conflict-key-not-given", at: span,
      "the new row is given no value for \"\(column)\", so none tells whether it is there",
      remedy: "give it one under `values`, or name another key")
  }

  fileprivate static func rejectsBesideOthers(_ table: QualifiedName, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "reject-beside-others", at: span,
      "another step writes \(table.description), so whether a row is there would be another question for each batch",
      remedy: "`do: skip`, or a definition of its own for the other step, in an order by `needs`")
  }

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
