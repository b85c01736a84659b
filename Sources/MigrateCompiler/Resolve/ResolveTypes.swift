internal import MigrateCatalog
internal import MigrateDefinition
package import MigrateDiagnostics
internal import MigratePlan
package import MigrateSQL

/// A statement that the database is asked to describe: it says the type of an expression, or what is wrong with it.
package struct Probe: Sendable {
  package enum Subject: Sendable, Equatable {
    case filter
    /// A join's query, or its condition.
    case join
    /// The assignment of this place among those whose columns are known.
    case assignment(Int)
    /// What a column becomes that the table does not have, or that cannot be written.
    case value
    case rule
    case check
  }

  package let subject: Subject
  /// The query, without LIMIT; it is never run.
  package let sql: RenderedSQL

  /// For which assignment the answer is; `nil` when only an error is of interest.
  package var assignment: Int? {
    switch subject {
    case .assignment(let number): number
    case .filter, .join, .value, .rule, .check: nil
    }
  }
}

/// A type as the database describes it.
package struct DescribedType: Sendable, Equatable {
  package let oid: Int
  package let modifier: Int

  package init(oid: Int, modifier: Int) {
    self.oid = oid
    self.modifier = modifier
  }
}

extension Resolution {
  /// The statement that makes the planner look at what `probe` asks about, and at nothing else: whether the column takes a
  /// value of this type, whether the role may read what it names. `nil` where the planner would say what is known already.
  package func alone(_ probe: Probe, _ type: DescribedType?) -> RenderedSQL? {
    let outOfReach = ["missing-privilege", "not-a-table", "no-replica-identity"]
    guard let batch, !parsed.definition.operation.isStepped, !problems.contains(where: { outOfReach.contains($0.code) })
    else {
      return nil
    }
    switch probe.subject {
    case .filter, .join: return probe.sql
    case .value, .rule, .check: return nil
    case .assignment(let number):
      let assignment = batch.assignments[number]
      let value = assignment.column.assignable(assignment.value, from: type)
      let row: SQL = "\(batch.table.name) AS \(batch.alias)"
      guard batch.joins.isEmpty, batch.lets.isEmpty else {
        return RenderedSQL(
          """
          UPDATE \(row) SET \(assignment.column.name) = s.v
          FROM (SELECT \(value) AS v FROM \(composed(row, batch.joins, batch.lets))) AS s
          """)
      }
      return RenderedSQL("UPDATE \(row) SET \(assignment.column.name) = \(value)")
    }
  }
}

extension NamedBatch {
  /// Comparisons and logic take every value; what else stands in a filter may not.
  private var plannedFilter: PlannedFilter? {
    let harmless = ["=", "<>", "<", "<=", ">", ">=", "~~", "!~~", "~~*", "BETWEEN"]
    guard let filter = parsed.filter else { return nil }
    let computes = filter.operators.contains { !harmless.contains($0.name) }
    guard computes || !filter.functions.isEmpty || !filter.casts.isEmpty else { return nil }
    return PlannedFilter(value: filter.text, place: parsed.definition.source.place(of: filter.fragment.span))
  }

  /// What only the types tell: a sum that is rounded for each batch depends on how these are cut.
  package func refused(_ types: [Int: DescribedType]) -> [Diagnostic] {
    var number = assignments.count
    var problems: [Diagnostic] = []
    for step in steps {
      for value in step.values {
        defer { number += 1 }
        guard case .update(let table, let match, _) = step.verb, match.isShared, !match.isExistence,
          let type = types[number], TypeOID.integers[type.oid] == nil, value.loss(from: type) != nil
        else { continue }
        problems.append(.roundedByBatch(value.column.name.name, table.table.name, value.column.type, at: value.span))
      }
    }
    return problems
  }

  /// The operation with the types that the database told, one for each assignment.
  func typed(
    _ types: [Int: DescribedType], pace: Pace, _ inputs: CompileInputs
  ) -> (ResolvedBatch, [Diagnostic]) {
    var warnings = warnings
    let assignments = assignments.enumerated().map { index, assignment -> ResolvedAssignment in
      let type = types[index]
      if let type, let loss = assignment.loss(from: type) {
        let warning = Diagnostic.lossy(assignment.column, loss, inputs.samples[index], at: assignment.span)
        warnings += warning.map { [$0] } ?? []
      }
      return ResolvedAssignment(
        column: assignment.column, value: assignment.column.assignable(assignment.value, from: type),
        isKeptWhole: type.map { assignment.column.keepsWhole($0, scale: assignment.scale) } ?? false,
        isVolatile: assignment.isVolatile, isOfChance: assignment.isOfChance, text: assignment.text,
        place: parsed.definition.source.place(of: assignment.span))
    }
    var number = assignments.count
    let steps = steps.map { step in
      step.map { value -> ResolvedAssignment in
        let type = types[number]
        number += 1
        if let type, let loss = value.loss(from: type) {
          warnings += Diagnostic.lossy(value.column, loss, nil, at: value.span).map { [$0] } ?? []
        }
        return ResolvedAssignment(
          column: value.column, value: value.column.assignable(value.value, from: type), isKeptWhole: false,
          isVolatile: value.isVolatile, isOfChance: value.isOfChance, text: value.text,
          place: parsed.definition.source.place(of: value.span))
      }
    }
    let operation = parsed.definition.operation
    let (workers, oneWorker) = workers(inputs)
    warnings += oneWorker.map { [$0] } ?? []
    func resolved(_ moment: ParsedBatch.ParsedCheck.Moment) -> [ResolvedCheck] {
      checks.filter { $0.0.moment == moment }.map { ResolvedCheck(name: $0.0.check.name.value, query: $0.1) }
    }
    var joins = joins
    for (index, way) in inputs.joinWays.sorted(by: { $0.key < $1.key }) {
      joins[index].way = way
      if way == .staged { warnings.append(.stagedJoin(joins[index].name.name, at: joins[index].span)) }
    }
    let batch = ResolvedBatch(
      name: parsed.definition.name.value, table: table, sourceRows: sourceRows, alias: alias, key: key, filter: filter,
      joins: joins,
      lets: lets,
      filterHasQuery: parsed.filter?.facts.hasSubquery ?? false, plannedFilter: plannedFilter, assignments: assignments,
      steps: steps, batchColumns: batchColumns.filter { column in !key.contains { $0.number == column.number } },
      carried: carried.compactMap { item in item.column.map { ($0, item.value) } },
      validation: validation,
      undo: undo, onError: operation.policy, mostRejects: operation.mostRejects, pace: pace,
      parallel: workers, estimatedRows: inputs.estimatedRows,
      searchPath: inputs.searchPath,
      coverage: inputs.coverage,
      timezone: operation.timezone?.value ?? "UTC",
      checksBefore: resolved(.before), checksBatch: resolved(.batch), checksAfter: resolved(.after),
      holds: holds(resolved(.hold)),
      expectations: operation.expectations.map(\.planned), measures: measures,
      incremental: operation.incremental?.value, aside: aside, canary: operation.plannedCanary,
      hasAfterTriggers: hasAfterTriggers, needs: operation.needs.map(\.value),
      readsOtherRows: parsed.hasSubquery || catalog.mayReadTables
        || parsed.usesOperator(of: catalog.unsettledOperators),
      mayReplicate: catalog.server.mayReplicate, hasLZ4: catalog.server.hasLZ4)
    return (batch, warnings)
  }
}

extension SourceText {
  /// The first line of `span`, for a reader without the file.
  func place(of span: SourceSpan) -> DefinitionPlace {
    let (line, column) = position(of: span.start)
    let (lastLine, lastColumn) = position(of: span.end)
    let text = String(decoding: self.line(line), as: UTF8.self)
    let end = lastLine == line ? lastColumn : text.unicodeScalars.count + 1
    return DefinitionPlace(file: path, line: line, column: column, width: max(1, end - column), text: text)
  }
}

extension Column {
  /// The value as the column takes it. Text goes through the type's input function, where an assignment would be refused:
  /// `CASE … 'gold' … END` into an enum. Everything else is assigned as INSERT assigns, so a text that is too long is an error
  /// and never cut (B5).
  func assignable(_ value: SQL, from type: DescribedType?) -> SQL {
    guard let type, TypeOID.longTexts.contains(type.oid), category != "S", !TypeOID.texts.contains(baseOID) else {
      return value
    }
    return "CAST(\(value) AS \(isDomain ? self.type : image))"
  }
}

/// A source row with any row of each join and what `let` gives, in a FROM that is planned and never run.
func composed(_ row: SQL, _ joins: [NamedJoin], _ lets: [NamedLet]) -> SQL {
  let joined = joins.reduce(row) { $0 + "\nCROSS JOIN (\($1.rows)) AS \($1.name)" }
  return lets.reduce(joined) { $0 + "\nCROSS JOIN LATERAL (SELECT \($1.value) AS \($1.name)) AS \($1.row)" }
}

extension Catalog {
  /// A function of somebody's own may read tables, whatever it says of itself, by whatever name it is called.
  var mayReadTables: Bool {
    hasUnsettledCasts || functions.contains { !$0.schema.utf8.elementsEqual("pg_catalog".utf8) }
  }
}
