internal import MigrateCatalog
internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigrateSQL

/// The tables that steps write: what may be written, and what is found again.
extension Resolver {
  /// The table of a step; the catalog tells of those that were asked for in their order.
  mutating func target(of step: ParsedStep, at reference: Located<TableReference>) -> Table? {
    guard let table = asked(step) else {
      problems.append(.unknownTable(reference.value, at: reference.span, catalog))
      return nil
    }
    let count = problems.count
    if table.isOfTheSystem { problems.append(.systemTable(table, at: reference.span)) }
    check(table, at: reference.span)
    checkRights(step, table, at: reference.span)
    return problems.count == count ? table : nil
  }

  func asked(_ step: ParsedStep) -> Table? {
    let joined = parsed.joins.count { if case .table = $0.rows { true } else { false } }
    let before = parsed.steps.prefix { $0.number != step.number }.count { $0.definition.verb.table != nil }
    let place = parsed.sourceTables + joined + before
    return catalog.asked.indices.contains(place) ? catalog.asked[place] : nil
  }

  private mutating func checkRights(_ step: ParsedStep, _ table: Table, at span: SourceSpan) {
    let user = Identifier(trusted: catalog.server.user).spelled
    let name = table.name.spelled
    if !table.rights.schema {
      problems.append(.missingRight("USAGE ON SCHEMA \(table.name.schema.spelled)", user, at: span))
    }
    // What is written is read, too: for the way back.
    let needed: [(String, Bool)] =
      switch step.definition.verb {
      case .update(_, _, let set):
        [
          ("SELECT", table.rights.select || table.columns.allSatisfy(\.maySelect)),
          ("UPDATE", table.rights.update || set.allSatisfy { table.column($0.column.value)?.mayUpdate ?? true }),
        ]
      case .insert, .add, .delete:
        [("SELECT", table.rights.select), ("INSERT", table.rights.insert), ("DELETE", table.rights.delete)]
      case .overwrite: [("UPDATE", table.rights.update)]
      case .emit:
        [("INSERT", table.rights.insert)]
          + (step.definition.onRevert.isEmpty ? [] : [("SELECT", table.rights.select)])
      case .notify: []
      }
    for (right, isThere) in needed where !isThere {
      problems.append(.missingRight("\(right) ON \(name)", user, at: span))
    }
  }

  /// The table with what its rows are found by again.
  mutating func written(_ writing: StepWriting, updating set: [Assignment]) -> WrittenTable? {
    guard let target = writing.names.target else { return nil }
    let (table, span) = (target.table, writing.step.definition.span)
    let effects = triggerEffects(of: writing.step, on: table)
    let key = table.findingKey
    guard !key.isEmpty else {
      problems.append(.stepWithoutKey(writing.step.definition.verb.word, table.name, at: span))
      return nil
    }
    return WrittenTable(
      table: table, alias: target.alias, key: key, isRewritten: effects.isRewritten, rewritten: effects.rewritten)
  }

  mutating func updatable(_ name: Located<String>, of table: WrittenTable, key: [Column]) -> Column? {
    guard let column = writable(name, of: table.table) else { return nil }
    let changed = [column] + table.table.computed(from: [column.number])
    let keys = table.key + (table.table.oid == self.table.oid ? key : [])
    if changed.contains(where: { part in keys.contains { $0.number == part.number } }) {
      problems.append(.stepWritesKey(name.value, table.table.name, at: name.span))
    }
    for foreignKey in table.table.referencedBy {
      guard let led = changed.first(where: { foreignKey.columns.contains($0.number) }) else { continue }
      switch foreignKey.onUpdate {
      case .none, .restrict: continue
      case .cascade, .setNull, .setDefault:
        problems.append(.cascades(Self.named(led, writtenBy: column), to: foreignKey, at: name.span))
      }
    }
    return column
  }

  /// A column that may be given a value.
  ///
  /// - Parameter isNew: of a new row, which may bring along the number that the database would give it.
  mutating func writable(_ name: Located<String>, of table: Table, isNew: Bool = false) -> Column? {
    guard let column = table.column(name.value) else {
      problems.append(
        .unknownColumn(
          name.value, of: table.name.description, at: name.span,
          nearest: Suggestion.nearest(to: name.value, among: table.columns.map(\.name.name))))
      return nil
    }
    if column.isGenerated {
      problems.append(.generated(name.value, from: column.expression, at: name.span))
      return nil
    }
    if column.isIdentity, !isNew {
      problems.append(.identity(name.value, at: name.span))
      return nil
    }
    return column
  }

  /// Of the source's own table a step may write the batch's own rows and no others: those are other batches', or come to be.
  mutating func checkSource(_ writing: StepWriting) {
    let step = writing.step
    guard let target = writing.names.target?.table, target.shares(rowsOf: table) else { return }
    let isOwn: Bool =
      switch step.definition.verb {
      case .update, .delete: step.match == nil
      case .insert, .overwrite, .add, .emit, .notify: false
      }
    // By the name of a partition it would be other rows, or the same ones, as chance will have it.
    if !isOwn || target.oid != table.oid {
      problems.append(.sourceReached(step.definition.verb.word, table.name, at: step.definition.span))
    }
  }

  /// The columns of a unique index by which PostgreSQL tells that a row is there.
  mutating func arbiter(_ onConflict: OnConflict, of table: Table) -> [Column] {
    var columns: [Column] = []
    for name in onConflict.key {
      guard let column = table.column(name.value) else {
        problems.append(
          .unknownColumn(
            name.value, of: table.name.description, at: name.span,
            nearest: Suggestion.nearest(to: name.value, among: table.columns.map(\.name.name))))
        continue
      }
      columns.append(column)
    }
    guard columns.count == onConflict.key.count else { return [] }
    let isKey = table.indexes.contains { index in
      index.isUnique && index.isValid && index.isImmediate && !index.isPartial
        && Set(index.columns) == Set(columns.map(\.number))
    }
    if !isKey {
      problems.append(
        .conflictWithoutIndex(columns.map(\.name), table, at: onConflict.key.first?.span ?? onConflict.span))
    }
    return columns
  }

  /// A new row needs a value wherever it may not be NULL.
  mutating func checkComplete(_ values: [NamedAssignment], _ table: Table, at span: SourceSpan) {
    guard problems.isEmpty else { return }
    for column in table.columns where column.isNotNull && !column.hasDefault && !column.isGenerated {
      if !values.contains(where: { $0.column.number == column.number }) {
        problems.append(.withoutValue(column.name.name, table.name.description, at: span))
      }
    }
  }
}

extension Resolver {
  /// Of numbers that are given the sequence has to know, or it gives them once more.
  mutating func checkSequences(_ values: [NamedAssignment], _ table: Table) {
    for value in values {
      guard let sequence = value.column.sequence else { continue }
      if !sequence.mayMove {
        let user = Identifier(trusted: catalog.server.user).spelled
        problems.append(.missingRight("SELECT, UPDATE ON SEQUENCE \(sequence.name.spelled)", user, at: value.span))
      } else if !table.leads(value.column) {
        warnings.append(.sequenceStays(value.column.name.name, sequence.name, of: table.name, at: value.span))
      }
    }
  }
}

extension Table {
  /// Whether an index tells the greatest value of the column.
  func leads(_ column: Column) -> Bool {
    indexes.contains { $0.isValid && !$0.isPartial && $0.columns.first == column.number }
  }
}

extension Diagnostic {
  fileprivate static func sequenceStays(
    _ column: String, _ sequence: QualifiedName, of table: QualifiedName, at span: SourceSpan
  ) -> Diagnostic {
    Diagnostic(
      "sequence-stays", .warning, at: span,
      "\"\(column)\" is given, no index tells its greatest value, and \(sequence.description) would give numbers once more",
      remedy:
        "afterwards: `SELECT setval('\(sequence.spelled)', max(\(Identifier(trusted: column).spelled))) FROM \(table.spelled)`"
    )
  }
}

extension Table {
  /// The columns by which a row is found again; empty where there are none.
  var findingKey: [Column] {
    for index in indexes where index.isWalkable {
      let key = index.columns.compactMap { column($0) }
      if key.count == index.columns.count, key.allSatisfy({ $0.isNotNull && !$0.isWrapped }) { return key }
    }
    return []
  }
}
