internal import MigrateCatalog
internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigrateSQL

/// `steps:` which tables are written, which of their rows, and with what.
extension Resolver {
  mutating func resolveSteps(key: [Column], _ parameters: Parameters) -> [NamedStep] {
    var steps: [NamedStep] = []
    for (index, step) in parsed.steps.enumerated() where step.isWhole {
      let values = steps.reduce(0) { $0 + $1.values.count }
      if let named = resolve(step, number: index + 1, firstValue: values, key: key, parameters) { steps.append(named) }
    }
    checkDeletes(steps)
    warnOfSelfReferences(steps)
    checkSharedReads(steps)
    checkMoves()
    return steps
  }

  private mutating func resolve(
    _ step: ParsedStep, number: Int, firstValue: Int, key: [Column], _ parameters: Parameters
  ) -> NamedStep? {
    let count = problems.count
    let reference = step.definition.verb.table
    let aim = reference.flatMap { self.target(of: step, at: $0) }
    if reference != nil, aim == nil { return nil }
    guard let (rows, rowsNames) = self.rows(of: step, key: key, parameters) else { return nil }
    let target = aim.map { table in
      StepNames.Target(
        table: table, name: table.name.name, alias: Self.rowName(for: table.name.name.name, in: parsed))
    }
    if let target, let join = joins.first(where: { $0.name == target.name }) {
      problems.append(.takenJoin(join.name.name, at: join.nameSpan))
    }
    if step.definition.from != nil, let rowsNames, let target, rowsNames.name == target.name {
      problems.append(.takenRowsName(rowsNames.name.name, at: step.definition.from?.name.span ?? step.definition.span))
    }
    let writing = StepWriting(
      step: step, firstValue: firstValue, key: key, rows: rows,
      names: StepNames(target: target, rows: rowsNames, bare: .rows))
    guard let verb = self.verb(writing, parameters), problems.count == count else { return nil }
    return NamedStep(
      number: number, verb: verb, rows: rows, readsOtherRows: readsOtherRows(step), words: words(of: step, writing: aim)
    )
  }

  /// Whether a value of it may depend on more than the row that it works from.
  private func readsOtherRows(_ step: ParsedStep) -> Bool {
    catalog.mayReadTables
      || step.values.contains { value in
        guard case .sql(let expression) = value else { return false }
        let unsettled = catalog.unsettledOperators
        return expression.facts.hasSubquery || expression.operators.contains { unsettled.contains($0.name) }
      }
  }

  private func words(of step: ParsedStep, writing table: Table?) -> NamedStep.Words {
    let verb = step.definition.verb
    let target =
      switch verb {
      case .notify(let channel, _): channel.value
      case .update, .insert, .overwrite, .add, .delete, .emit: table?.name.description ?? ""
      }
    var from = step.definition.from.map { "\($0.name.value): \(step.query?.text ?? "")" }
    if case .add(_, let moved, _, _) = verb {
      from =
        "the rows of \(moved.value.schema.map { "\($0)." } ?? "")\(moved.value.name) that step \(remover(of: step)) deletes"
    }
    if case .overwrite(_, _, let onConflict) = verb {
      from =
        "the rows of step \(step.number - 1) whose \(onConflict.key.map(\.value).joined(separator: ", ")) was there"
    }
    return NamedStep.Words(verb: verb.word, target: target, match: from == nil ? step.match?.text : nil, from: from)
  }

  private mutating func verb(_ writing: StepWriting, _ parameters: Parameters) -> NamedStep.Verb? {
    checkSource(writing)
    switch writing.step.definition.verb {
    case .update(_, _, let set):
      guard let table = written(writing, updating: set), let match = match(writing, table, parameters) else {
        return nil
      }
      rejectMissing(writing, table, match)
      let columns = set.map { updatable($0.column, of: table, key: writing.key) }
      let values = self.values(set, columns, writing, bare: .target, parameters)
      guard match.isShared else { return .update(table, match: match, values) }
      let isExistence = !writing.step.values.contains { readsRows($0, in: writing.names.with(bare: .target)) }
      checkShared(writing, set, table, isExistence: isExistence)
      return .update(table, match: match.shared(isExistence: isExistence), values)
    case .insert(_, let values, let onConflict):
      guard let table = written(writing, updating: []) else { return nil }
      if let query = writing.step.query, !passesRows(query), onConflict == nil || !isOfGroups(query) {
        problems.append(.insertsByBatch(at: query.fragment.span))
      }
      var skipping = onConflict.map { arbiter($0, of: table.table) } ?? []
      if let onConflict, onConflict.resolution == .reject {
        rejectThere(values, onConflict, writing, table)
        skipping = []
      }
      let resolved = insertion(values, writing, table, parameters)
      if let onConflict, onConflict.resolution == .skip, let resolved {
        checkFirst(writing, values, resolved, skipping, at: onConflict.span)
      }
      return resolved.map { .insert(table, $0, skipping: skipping) }
    case .overwrite(_, let values, let onConflict):
      guard let table = written(writing, updating: []) else { return nil }
      return overwriting(values, onConflict, writing, table, parameters)
    case .add(_, _, _, let values):
      guard let table = written(writing, updating: []) else { return nil }
      return addition(values, writing, table, parameters).map { .insert(table, $0, skipping: []) }
    case .delete:
      guard let table = written(writing, updating: []), let match = match(writing, table, parameters) else {
        return nil
      }
      rejectMissing(writing, table, match)
      if match.isShared {
        checkSharedMatch(writing, table)
        checkBeside(writing, [], table)
      }
      return .delete(table, match: match)
    case .emit(_, let values):
      guard let table = writing.names.target?.table else { return nil }
      _ = triggerEffects(of: writing.step, on: table)
      let columns = values.map { writable($0.column, of: table) }
      let resolved = self.values(values, columns, writing, bare: .rows, parameters)
      checkComplete(resolved, table, at: writing.step.definition.span)
      return .emit(table, resolved, back: reversal(writing, table))
    case .notify(let channel, let payload):
      let back = reversalPayload(writing)
      return notification(payload, writing, parameters).map {
        .notify(channel: channel.value, payload: $0, back: back)
      }
    }
  }

  // MARK: The rows that it works from

  private mutating func rows(
    of step: ParsedStep, key: [Column], _ parameters: Parameters
  ) -> (StepRows, StepNames.Rows?)? {
    if case .add = step.definition.verb { return movedRows(of: step, key: key) }
    guard let from = step.definition.from, let query = step.query else { return (.batch, nil) }
    let count = problems.count
    let name = Identifier(trusted: from.name.value)
    if name.isReserved {
      problems.append(.reservedRowsName(from.name.value, at: from.name.span))
    } else if name == Self.batch || name == alias || name.name == "excluded"
      || joins.contains(where: { $0.name == name })
    {
      problems.append(.takenRowsName(from.name.value, at: from.name.span))
    }
    checkParameters(query, parameters)
    checkClock(query)
    checkReads(query, key: key)
    for call in query.functions {
      let span = query.span(of: call.range)
      if volatility(of: call) == .volatile { problems.append(.volatileRows(call.name.last?.name ?? "", at: span)) }
      if call.over { problems.append(.windowInRows(call.name.last?.name ?? "", at: span)) }
    }
    noteBatchColumns(query)
    guard let columns = query.outputs.names else {
      problems.append(.rowsWithStar(from.name.value, at: query.fragment.span))
      return nil
    }
    let sql = rewritten(query)
    guard problems.count == count, isBound(query) else { return nil }
    ask(.join, "\(probedBatch)SELECT FROM (\(sql)) AS found")
    let alias = Self.rowName(for: from.name.value, in: parsed)
    let joins = query.relations.count > 1 || query.relations.contains { $0.schema != nil || $0.name != Self.batch }
    return (.query(alias, sql, joins: joins), StepNames.Rows(name: name, alias: alias, columns: columns))
  }

  /// `batch` for what is described and never run.
  var probedBatch: SQL { "WITH batch AS (\(carryingRow)) " }

  /// The same with the rows of a step.
  func probedRows(_ rows: StepRows) -> SQL {
    switch rows {
    case .batch: probedBatch
    case .query(let name, let sql, _): probedBatch(name, sql)
    case .moved(let moved): probedBatch(rows.name, moved.query)
    }
  }

  private func probedBatch(_ name: Identifier, _ sql: SQL) -> SQL {
    "WITH batch AS (\(carryingRow)), \(name) AS (\(sql)) "
  }

  // MARK: Which rows of the table

  private mutating func match(_ writing: StepWriting, _ table: WrittenTable, _ parameters: Parameters) -> Match? {
    let step = writing.step
    guard let expression = step.match else {
      guard case .batch = writing.rows, table.table.oid == self.table.oid else {
        problems.append(
          .withoutMatch(step.definition.verb.word, table.table.name, key: writing.key, at: step.definition.span))
        return nil
      }
      let same: [SQL] = writing.key.map { "\(table.alias).\($0.name) = batch.\($0.name)" }
      return Match(
        condition: .joined(same, by: " AND "), isExistence: false, isOwn: true, isSingle: true, isShared: false)
    }
    let names = writing.names.with(bare: .either)
    let isKnown = checkExpression(expression, in: names, parameters)
    checkFilter(expression)
    let met = expression.equalities.compactMap { Meeting($0, self, names) }
    if met.isEmpty, isKnown { problems.append(.matchWithoutEquality(table.table.name, at: expression.fragment.span)) }
    let condition = rewritten(expression, in: names)
    guard isKnown else { return nil }
    ask(
      .join,
      "\(probedRows(writing.rows))SELECT FROM \(table.source), \(writing.rows.name) WHERE (\(condition))")
    // A query can have several rows for one of the batch; which of them is meant only the rows tell.
    let isShared = !covers(met, writing)
    let isSingle: Bool =
      switch writing.rows {
      case .batch: !isShared
      case .query, .moved: false
      }
    return Match(
      condition: condition, isExistence: false, isOwn: false, isSingle: isSingle, isShared: isShared)
  }

  /// Whether the row of the table tells by itself which row of the batch means it.
  private func covers(_ met: [Meeting], _ writing: StepWriting) -> Bool {
    guard !writing.key.isEmpty else { return false }
    let isPassed = writing.step.query.map { passesRows($0) } ?? true
    return isPassed
      && writing.key.allSatisfy { key in
        met.contains { meeting in
          guard let own = batchColumn(meeting, writing), own.number == key.number else { return false }
          return own.baseOID == meeting.column.baseOID && own.collation == nil && meeting.column.collation == nil
        }
      }
  }

  /// The column of the source row that a column of the table equals, by itself or as a query of `from` passes it on.
  private func batchColumn(_ meeting: Meeting, _ writing: StepWriting) -> Column? {
    if let column = meeting.batchColumn { return column }
    guard let name = meeting.rowsColumn, let query = writing.step.query, let names = query.outputs.names,
      let place = names.firstIndex(of: name), query.outputs.values.indices.contains(place),
      case .column(let relation, let column) = query.outputs.values[place],
      query.relations.filter({ $0.depth == 0 }).allSatisfy({ use in
        use.name == Self.batch && use.schema == nil || relation != nil && relation != use.alias ?? use.name
      }), relation.map({ isBatch($0, in: query) }) ?? true
    else { return nil }
    return table.column(column.name)
  }

  private func isBatch(_ name: Identifier, in query: SQLQuery) -> Bool {
    query.relations.contains {
      $0.depth == 0 && $0.schema == nil && $0.name == Self.batch && ($0.alias ?? $0.name) == name
    }
  }

  // MARK: What is written

  /// The values of `assignments` for `columns`, those that could be resolved.
  mutating func values(
    _ assignments: [Assignment], _ columns: [Column?], _ writing: StepWriting, bare: StepNames.Bare,
    _ parameters: Parameters, of parsedValues: [ParsedBatch.ParsedValue]? = nil, behind count: Int = 0
  ) -> [NamedAssignment] {
    let parsedValues = parsedValues ?? writing.step.values
    let names = writing.names.with(bare: bare)
    var resolved: [NamedAssignment] = []
    for (place, assignment) in assignments.enumerated() {
      guard let column = columns[place] else { continue }
      let number = writing.firstValue + count + resolved.count
      switch parsedValues[place] {
      case .unreadable: continue
      case .sql(let expression):
        let isKnown = checkExpression(expression, in: names, parameters)
        let value = rewritten(expression, in: names)
        if isKnown {
          ask(.assignment(number), "\(probedRows(writing.rows))SELECT \(value) FROM \(read(writing, bare))")
        }
        let isVolatile = expression.functions.contains { volatility(of: $0) == .volatile }
        if isVolatile, bare == .target { warnAboutVolatile(expression, column: column.name.name) }
        resolved.append(
          NamedAssignment(
            column: column, value: value, span: assignment.value.span, isVolatile: isVolatile, isConstant: false,
            text: expression.text, isOfChance: isVolatile && isOfChance(expression)))
      case .text(let text):
        let fragment = SourceFragment(text: text.value, span: text.span, offsets: [])
        if let problem = TextReading.alsoReadsAsSQL(
          fragment, visibleColumns: visible(in: names).map(\.name), parameters: parameters.keys.map(\.name))
        {
          problems.append(problem)
        } else {
          resolved += constant(.text(text.value), column, at: text.span)
        }
      case .constant(let constant): resolved += self.constant(constant.value, column, at: constant.span)
      }
    }
    return resolved
  }

  private func visible(in names: StepNames) -> [Identifier] {
    switch names.bare {
    case .target: names.target?.table.columns.map(\.name) ?? []
    case .rows, .either: names.rows?.columns ?? table.columns.map(\.name) + lets.map(\.name)
    }
  }

  /// What a value reads, in a FROM that is planned and never run.
  private func read(_ writing: StepWriting, _ bare: StepNames.Bare) -> SQL {
    guard bare == .target, let target = writing.names.target else { return "\(writing.rows.name)" }
    return "\(target.table.name) AS \(target.alias), \(writing.rows.name)"
  }

  mutating func insertion(
    _ values: [Assignment]?, _ writing: StepWriting, _ table: WrittenTable, _ parameters: Parameters
  ) -> [NamedAssignment]? {
    let span = writing.step.definition.span
    guard let values else {
      let names = writing.names.rows?.columns ?? self.table.columns.map(\.name)
      var copied: [NamedAssignment] = []
      for name in names {
        guard let column = table.table.column(name.name) else {
          problems.append(.columnWithoutHome(name.name, table.table.name.description, at: span))
          continue
        }
        guard !column.isGenerated else { continue }
        if case .batch = writing.rows, let own = self.table.column(name.name) { batchColumns.insert(own.number) }
        let value: SQL = "\(writing.rows.name).\(name)"
        ask(
          .assignment(writing.firstValue + copied.count),
          "\(probedRows(writing.rows))SELECT \(value) FROM \(writing.rows.name)")
        copied.append(
          NamedAssignment(
            column: column, value: value, span: span, isVolatile: false, isConstant: false, text: name.name))
      }
      checkComplete(copied, table.table, at: span)
      checkSequences(copied, table.table)
      return copied
    }
    let columns = values.map { writable($0.column, of: table.table, isNew: true) }
    let resolved = self.values(values, columns, writing, bare: .rows, parameters)
    checkComplete(resolved, table.table, at: span)
    checkSequences(resolved, table.table)
    return resolved
  }

  private mutating func notification(_ payload: Assignment, _ writing: StepWriting, _ parameters: Parameters) -> SQL? {
    switch writing.step.values.first {
    case .sql(let expression):
      let names = writing.names.with(bare: .rows)
      guard checkExpression(expression, in: names, parameters) else { return nil }
      let value = rewritten(expression, in: names)
      ask(.value, "\(probedRows(writing.rows))SELECT pg_notify('', \(value)) FROM \(writing.rows.name)")
      return value
    case .text(let text): return "\(Literal(text.value))"
    case .constant, .unreadable, nil:
      problems.append(.payloadIsText(at: payload.value.span))
      return nil
    }
  }
}

/// What a step writes, while it is resolved.
struct StepWriting {
  let step: ParsedStep
  /// The number of values that the steps before it have.
  let firstValue: Int
  /// The source's key.
  let key: [Column]
  let rows: StepRows
  let names: StepNames
}
