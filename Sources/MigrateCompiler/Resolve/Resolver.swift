internal import MigrateCatalog
internal import MigrateDefinition
package import MigrateDiagnostics
internal import MigratePlan
internal import MigrateSQL

/// Brings a definition and the catalog together. Every error that a user can make arises here, and all of them at once.
struct Resolver {
  let parsed: ParsedBatch
  let catalog: Catalog
  let table: Table
  let sourceRows: SourceRows
  /// What the user calls the source row.
  let alias: Identifier
  /// What our SQL calls it.
  let rowName: Identifier
  var problems: [Diagnostic]
  var warnings: [Diagnostic] = []
  /// What the database is asked about the expressions whose names are known, whatever is wrong elsewhere.
  var probes: [Probe] = []
  /// Parameters that some SQL names.
  var usedParameters: Set<Identifier> = []
  /// Those of `join` that are resolved, in order.
  var joins: [NamedJoin] = []
  /// Those of `let` that are resolved, in order.
  var lets: [NamedLet] = []
  var unknownLets: [Identifier] = []
  /// What steps read of joins and of `let`.
  var carried: [Carried] = []
  /// Of which something is wrong, so that what is read of them says nothing more.
  var unknownJoins: [Identifier] = []
  /// The source's columns that steps and checks read of `batch`, by number.
  var batchColumns: Set<Int> = []
  /// What steps demand of the batch's rows by `missing: reject`.
  var missingRules: [Rule] = []
  /// Declared and built in.
  var resolvedParameters: Parameters = [:]

  var operation: BatchOperation { parsed.definition.operation }
  var source: SourceText { parsed.definition.source }

  init(_ parsed: ParsedBatch, _ catalog: Catalog, _ table: Table, _ sourceRows: SourceRows = .live) {
    self.parsed = parsed
    self.catalog = catalog
    self.table = table
    self.sourceRows = sourceRows
    problems = parsed.problems
    let source = parsed.definition.operation.source
    let name = source.alias?.value ?? (source.table == nil ? Self.batch.name : table.name.name.name)
    alias = Identifier(trusted: name)
    rowName = Self.rowName(for: name, in: parsed)
  }

  mutating func resolve() -> Resolution {
    let parameters = resolveParameters()
    checkTable()
    let key = resolveKey()
    let said = parsed.filter.map { expression -> SQL in
      let filter = rewritten(expression)
      if checkExpression(expression, parameters) { ask(.filter, "SELECT FROM \(row) WHERE (\(filter))") }
      checkFilter(expression)
      return filter
    }
    resolveJoins(key: key, parameters)
    resolveLets(parameters)
    resolveCarried()
    let assignments = resolveAssignments(key: key, parameters)
    let steps = resolveSteps(key: key, parameters)
    let changed = resolveIncremental()
    let filter = changed.map { changed in said.map { "(\($0))\nAND \(changed)" } ?? changed } ?? said
    let validation = resolveValidation(assignments, parameters) + missingRules
    let checks = parsed.checks.map { check -> (ParsedBatch.ParsedCheck, SQL) in
      let query = rewritten(check.query)
      if checkQuery(check, parameters) {
        let batch: SQL = check.moment == .batch ? probedBatch : ""
        ask(.check, "\(batch)SELECT FROM (\(query)) AS found")
      }
      return (check, query)
    }
    let triggers = resolveTriggers()
    let undo = resolveUndo(assignments.map(\.column), triggers)
    let measures = resolveMeasures(kept: undo, parameters)
    checkUnusedParameters()
    checkSearchPath()
    checkPrivileges()
    warnAboutIndexes(assignments.map(\.column))
    let batch = NamedBatch(
      parsed: parsed, catalog: catalog, table: table, sourceRows: sourceRows, alias: rowName, key: key, filter: filter,
      joins: joins,
      lets: lets,
      assignments: assignments, steps: steps,
      batchColumns: table.columns.filter { batchColumns.contains($0.number) }, carried: carried, validation: validation,
      checks: checks,
      measures: measures, undo: undo,
      hasAfterTriggers: triggers.hasAfter, aside: resolvePublish(), warnings: warnings)
    return Resolution(parsed: parsed, problems: problems, probes: probes, batch: batch)
  }

  /// The source row, in a FROM.
  var row: SQL {
    switch sourceRows {
    case .live: "\(table.name) AS \(rowName)"
    case .frozen(let query): "(\(query)) AS \(rowName)"
    }
  }

  mutating func ask(_ subject: Probe.Subject, _ sql: SQL) {
    probes.append(Probe(subject: subject, sql: RenderedSQL(sql)))
  }
}

/// What resolving has found: what is wrong, and what the database can be asked all the same.
package struct Resolution: Sendable {
  let parsed: ParsedBatch
  /// What is wrong with the file, its SQL and its names.
  package let problems: [Diagnostic]
  /// Each expression by itself, so that each error is found; those with names that nobody knows are left out.
  package let probes: [Probe]
  /// `nil` without a table.
  let batch: NamedBatch?

  /// One thing is wrong, which keeps all others from being judged.
  static func without(_ problem: Diagnostic?, _ parsed: ParsedBatch) -> Resolution {
    Resolution(parsed: parsed, problems: parsed.problems + (problem.map { [$0] } ?? []), probes: [], batch: nil)
  }

  /// The operation, whose names are all known.
  ///
  /// - Throws: all that is wrong, `found` by the database included, in order of position.
  package func batch(besides found: [Diagnostic]) throws(Diagnostics) -> NamedBatch {
    guard let batch, problems.isEmpty, found.isEmpty else { throw parsed.diagnostics(problems + found) }
    return batch
  }
}

/// A definition whose names are resolved; what remains is the types of its expressions, which only the database knows.
package struct NamedBatch: Sendable {
  let parsed: ParsedBatch
  let catalog: Catalog
  let table: Table
  let sourceRows: SourceRows
  let alias: Identifier
  let key: [Column]
  let filter: SQL?
  let joins: [NamedJoin]
  let lets: [NamedLet]
  let assignments: [NamedAssignment]
  let steps: [NamedStep]
  /// What is kept of the source's rows for them, besides the key.
  let batchColumns: [Column]
  let carried: [Carried]
  let validation: [Rule]
  let checks: [(ParsedBatch.ParsedCheck, SQL)]
  let measures: [NamedMeasure]
  let undo: ResolvedUndo
  let hasAfterTriggers: Bool
  let aside: Aside?
  let warnings: [Diagnostic]
}

/// An assignment whose column is found and whose names are resolved.
struct NamedAssignment: Sendable {
  let column: Column
  let value: SQL
  let span: SourceSpan
  let isVolatile: Bool
  /// A text or another constant: its type is the column's.
  let isConstant: Bool
  let text: String
  /// The most digits behind the point that the value can have, where the text tells.
  var scale: Int?
  /// Whether a function of the server's own gives another value each time: a number, a clock, chance.
  var isOfChance = false
}
