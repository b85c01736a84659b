internal import MigrateCatalog
internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigrateSQL

/// An equality of a step's `match` between a column of the table and something that is not the table's.
struct Meeting {
  let column: Column
  /// What it equals, where that is a column of the source row and nothing else.
  let batchColumn: Column?
  /// The same of a query of `from`.
  let rowsColumn: Identifier?

  init?(_ equality: Equality, _ resolver: Resolver, _ names: StepNames) {
    func ofTarget(_ shape: SQLShape) -> Column? {
      guard case .column(let use) = shape, case .target(let part) = resolver.meaning(of: use, in: names) else {
        return nil
      }
      return names.target?.table.column(part.name.name)
    }
    func ofBatch(_ shape: SQLShape) -> Column? {
      guard case .column(let use) = shape, case .batch(let part) = resolver.meaning(of: use, in: names) else {
        return nil
      }
      return resolver.table.column(part.name.name)
    }
    func ofRows(_ shape: SQLShape) -> Identifier? {
      guard case .column(let use) = shape, case .rows(let part) = resolver.meaning(of: use, in: names) else {
        return nil
      }
      return part.name
    }
    let isOfTarget = { (use: ColumnUse) -> Bool in
      if case .target = resolver.meaning(of: use, in: names) { true } else { false }
    }
    if let left = ofTarget(equality.left), !equality.right.reads(isOfTarget) {
      (column, batchColumn, rowsColumn) = (left, ofBatch(equality.right), ofRows(equality.right))
    } else if let right = ofTarget(equality.right), !equality.left.reads(isOfTarget) {
      (column, batchColumn, rowsColumn) = (right, ofBatch(equality.left), ofRows(equality.left))
    } else {
      return nil
    }
  }
}

extension SQLShape {
  /// Whether it reads such a column, or holds what is not known here.
  fileprivate func reads(_ isMeant: (ColumnUse) -> Bool) -> Bool {
    switch self {
    case .column(let use): isMeant(use)
    case .infix(_, let left, let right): left.reads(isMeant) || right.reads(isMeant)
    case .prefix(_, let inner), .not(let inner), .cast(let inner, _): inner.reads(isMeant)
    case .and(let terms), .or(let terms), .call(_, let terms): terms.contains { $0.reads(isMeant) }
    case .parameter, .constant: false
    case .other: true
    }
  }
}

/// Rows that batches leave must not depend on where one batch ends and the next one begins.
extension Resolver {
  /// What the steps do to a table.
  struct Writes {
    /// The columns that updates write.
    var columns: Set<Identifier> = []
    /// Whether rows come, or go.
    var comesOrGoes = false
  }

  func writes(to table: Table) -> Writes {
    var writes = Writes()
    for step in parsed.steps where self.writes(step, rowsOf: table) {
      switch step.definition.verb {
      case .update(_, _, let set): writes.columns.formUnion(set.map { Identifier(trusted: $0.column.value) })
      case .insert, .overwrite, .add, .delete, .emit, .notify: writes.comesOrGoes = true
      }
    }
    return writes
  }

  func comesOrGoes(_ table: Table) -> Bool { writes(to: table).comesOrGoes }

  /// Whether a step writes rows of the table, be it by the name of a partition.
  func writes(_ step: ParsedStep, rowsOf table: Table) -> Bool {
    step.definition.verb.table != nil && asked(step)?.shares(rowsOf: table) == true
  }

  /// Queries over a table that the definition writes: what they find depends on which batches have been there before. They may read
  /// columns that no step writes, where no row comes or goes; and in `from` the rows that belong to one row of the batch, by its key.
  mutating func checkReads(_ text: any SQLText, key: [Column] = []) {
    for relation in text.relations {
      if let query = text as? SQLQuery, isOfBatch(relation, in: query, key) { continue }
      guard let table = catalog.asked.compactMap(\.self).first(where: { isMeant($0, by: relation) }) else { continue }
      let writes = self.writes(to: table)
      let read = text.columns.first { self.isRead($0, of: relation, among: written(writes.columns, of: table)) }
      let isRead = !writes.columns.isEmpty && (text.facts.hasNaturalJoin || read != nil)
      guard writes.comesOrGoes || isRead else { continue }
      problems.append(
        .readsWhatIsWritten(
          writes.comesOrGoes ? "*" : read?.column?.name.name ?? "*", table.name.description,
          at: text.span(of: relation.range)))
    }
  }

  /// Whether a relation of `from` is joined with the batch by all of its key, so that no other batch reads these rows.
  private func isOfBatch(_ relation: RelationUse, in query: SQLQuery, _ key: [Column]) -> Bool {
    guard !key.isEmpty, relation.depth == 0,
      let table = catalog.asked.compactMap(\.self).first(where: { isMeant($0, by: relation) })
    else { return false }
    let names = query.relations.filter { $0.depth == 0 && $0.schema == nil && $0.name == Self.batch }
      .map { $0.alias ?? $0.name }
    func column(_ shape: SQLShape, of wanted: [Identifier]) -> Identifier? {
      guard case .column(let use) = shape, let qualifier = use.qualifier, wanted.contains(qualifier.name) else {
        return nil
      }
      return use.column?.name
    }
    let own = [relation.alias ?? relation.name]
    return key.allSatisfy { part in
      query.equalities.contains { equality in
        let sides = [(equality.left, equality.right), (equality.right, equality.left)]
        return sides.contains { ofBatch, ofOther in
          guard column(ofBatch, of: names) == part.name,
            let other = column(ofOther, of: own).flatMap({ table.column($0.name) })
          else { return false }
          return other.baseOID == part.baseOID && other.collation == nil && part.collation == nil
        }
      }
    }
  }

  func isMeant(_ table: Table, by relation: RelationUse) -> Bool {
    ([table.name] + table.relatives).contains { name in
      relation.name == name.name && (relation.schema.map { $0 == name.schema } ?? true)
    }
  }

  /// Whether a query of `from` gives rows of their own for each row of the batch, however many, so that it does not matter with which
  /// others that is in a batch.
  func passesRows(_ query: SQLQuery) -> Bool {
    query.outputs.isPlain && query.outputs.groups?.isEmpty == true && query.facts.queries == 1 && isOverBatch(query)
      && !aggregates(query)
  }

  private func aggregates(_ query: SQLQuery) -> Bool {
    query.functions.contains { call in
      candidates(for: call).contains { $0.kind == .aggregate } || call.isStar || call.isDistinct
    }
  }

  /// Whether each of its rows has one of the batch.
  func isOverBatch(_ query: SQLQuery) -> Bool {
    query.relations.count { $0.schema == nil && $0.name == Self.batch } == 1
      && query.outputs.present.contains(Self.batch)
  }

  /// Whether it gives each group of the batch's rows once and nothing that is computed of them: `SELECT DISTINCT`, which an insert that
  /// skips rows does as well.
  func isOfGroups(_ query: SQLQuery) -> Bool {
    query.outputs.isDistinct && query.facts.queries == 1 && isOverBatch(query) && !aggregates(query)
  }

  /// Of two new rows for one place the first is added: by the source's key, which only the batch's own rows come in the order of.
  mutating func checkFirst(
    _ writing: StepWriting, _ values: [Assignment]?, _ resolved: [NamedAssignment], _ skipping: [Column],
    at span: SourceSpan
  ) {
    // Those of a canary come before others with a lower key.
    let isOrdered = if case .batch = writing.rows { operation.canary == nil } else { false }
    guard !isOrdered else { return }
    let names = writing.names.with(bare: .rows)
    let other = resolved.first { value in
      guard !skipping.contains(where: { $0.number == value.column.number }) else { return false }
      let place = values?.firstIndex { $0.column.value.utf8.elementsEqual(value.column.name.name.utf8) }
      return place.map { readsRows(writing.step.values[$0], in: names) } ?? true
    }
    if let other { problems.append(.conflictByChance(other.column.name.name, at: span)) }
  }

  /// Whether a value depends on the rows that the step works from.
  func readsRows(_ value: ParsedBatch.ParsedValue, in names: StepNames) -> Bool {
    guard case .sql(let expression) = value else { return false }
    return expression.facts.hasSubquery
      || expression.columns.contains { use in
        if case .target = meaning(of: use, in: names) { false } else { true }
      }
  }

  /// A row that several batches reach may be set to what does not depend on how these are cut: to a constant; to a sum with what it
  /// holds, of numbers that the batch adds up for it; or to the greater or lesser of the two.
  mutating func checkShared(_ writing: StepWriting, _ set: [Assignment], _ table: WrittenTable, isExistence: Bool) {
    let count = problems.count
    let sums = SharedValues(
      resolver: self, writing: writing, written: Set(set.map { Identifier(trusted: $0.column.value) }))
    for (assignment, value) in zip(set, writing.step.values) {
      guard case .sql(let expression) = value else { continue }
      let column = Identifier(trusted: assignment.column.value)
      guard !sums.commute(expression.shape, column) else { continue }
      problems.append(.sharedTarget(column.name, table.table.name, at: assignment.value.span))
    }
    if problems.count == count, !isExistence, !sums.isOneForEach {
      problems.append(
        .sharedTwiceInBatch(table.table.name, at: writing.step.match?.fragment.span ?? writing.step.definition.span))
    }
    checkSharedMatch(writing, table)
    checkBeside(writing, set, table)
  }

  /// Which rows of the table several batches mean: by what no step writes, and by the rows of the batch, not by how many these are.
  mutating func checkSharedMatch(_ writing: StepWriting, _ table: WrittenTable) {
    guard let match = writing.step.match else { return }
    let names = writing.names.with(bare: .either)
    let written = writes(to: table.table).columns
    for use in match.columns {
      switch meaning(of: use, in: names) {
      case .target(let part) where written.contains(part.name):
        problems.append(
          .readsWhatIsWritten(part.name.name, table.table.name.description, at: match.span(of: use.range)))
      case .rows(let part):
        guard let query = writing.step.query, !passesRows(query), !isOfGroups(query),
          !(query.outputs.isPlain && query.outputs.groups?.contains(part.name) == true)
        else { continue }
        problems.append(.matchByBatch(part.name.name, at: match.span(of: use.range)))
      case .target, .batch, .joined, .excluded, .ambiguous, .unknown, .whole, .other: continue
      }
    }
  }

  /// What other steps do to the table that this one shares among batches.
  mutating func checkBeside(_ writing: StepWriting, _ set: [Assignment], _ table: WrittenTable) {
    for other in parsed.steps where other.number != writing.step.number {
      guard writes(other, rowsOf: table.table) else { continue }
      switch other.definition.verb {
      case .insert, .overwrite, .add, .emit:
        problems.append(.sharedAndInserted(table.table.name, at: writing.step.definition.span))
      case .update(_, _, let others):
        let columns = set.map(\.column.value)
        guard let twice = others.first(where: { columns.contains($0.column.value) }) else { continue }
        problems.append(.sharedTwice(twice.column.value, table.table.name, at: twice.column.span))
      case .delete, .notify: continue
      }
    }
  }

  /// So many rows are read through in less time than it takes to say so.
  private static let fewChildren = 1_000

  /// What a foreign key takes along, or empties, is in no undo; a step before it can do the same.
  mutating func checkDeletes(_ steps: [NamedStep]) {
    for step in steps {
      guard case .delete(let table, _) = step.verb else { continue }
      let span = parsed.steps[step.number - 1].definition.span
      for key in table.table.referencedBy {
        if !key.isIndexed, key.rows >= Self.fewChildren {
          warnings.append(.childWithoutIndex(key, table.table, at: span))
        }
        switch key.onDelete {
        case .none, .restrict: continue
        case .cascade, .setNull, .setDefault:
          guard !isCovered(key, of: step, steps) else { continue }
          problems.append(
            .uncoveredForeignKey(
              key, table.table, isOwn: parsed.steps[step.number - 1].match == nil, at: span))
        }
      }
    }
  }

  /// Whether a step before deletes just the rows that refer to those that go, and none between the two makes others. Only of the
  /// batch's own rows, which are locked where a batch does not keep to one snapshot.
  private func isCovered(_ key: ForeignKey, of step: NamedStep, _ steps: [NamedStep]) -> Bool {
    guard case .delete = step.verb, case .batch = step.rows, parsed.steps[step.number - 1].match == nil else {
      return false
    }
    let led = key.columns.compactMap { table.column($0) }
    let ofChild = steps.filter { $0.number < step.number && writes($0, to: key.tableOID) }
    guard let child = ofChild.last, case .delete(let written, _) = child.verb, case .batch = child.rows,
      let match = parsed.steps[child.number - 1].match, isOnlyEqualities(match)
    else { return false }
    let names = StepNames(
      target: .init(table: written.table, name: written.table.name.name, alias: written.alias), rows: nil, bare: .either
    )
    let met = match.equalities.compactMap { Meeting($0, self, names) }
    // A condition on the batch alone, `batch.kind = 3`, would leave some of its rows their children.
    return match.equalities.count == key.referring.count && met.count == key.referring.count
      && zip(key.referring, led).allSatisfy { referring, wanted in
        met.contains { $0.column.name == referring && $0.batchColumn?.number == wanted.number }
      }
  }

  private func writes(_ step: NamedStep, to oid: Int) -> Bool {
    if case .emit(let table, _, _) = step.verb { return table.oid == oid }
    return step.written?.table.oid == oid
  }

  private func isOnlyEqualities(_ match: SQLExpression) -> Bool {
    switch match.shape {
    case .infix("=", _, _): true
    case .and(let terms): terms.allSatisfy { if case .infix("=", _, _) = $0 { true } else { false } }
    case .column, .parameter, .constant, .prefix, .infix, .or, .not, .call, .cast, .other: false
    }
  }
}
