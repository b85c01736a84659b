internal import MigrateCatalog
internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigratePlan
internal import MigrateSQL

/// Brings a definition and the catalog together. Every error that a user can make arises here, and all of them at once.
struct Resolver {
  let parsed: ParsedBatch
  let catalog: Catalog
  let table: Table
  /// What the user calls the source row.
  let alias: Identifier
  /// What our SQL calls it.
  let rowName: Identifier
  var problems: [Diagnostic]
  var warnings: [Diagnostic] = []
  /// Parameters that some SQL names.
  var usedParameters: Set<Identifier> = []
  /// Declared and built in.
  var resolvedParameters: Parameters = [:]

  var operation: BatchOperation { parsed.definition.operation }
  var source: SourceText { parsed.definition.source }

  init(_ parsed: ParsedBatch, _ catalog: Catalog) throws(Diagnostics) {
    self.parsed = parsed
    self.catalog = catalog
    problems = parsed.problems
    let reference = parsed.definition.operation.source.table
    guard let found = catalog.asked.first, let table = found else {
      // Without the table nothing else can be judged, and a dozen unknown columns would only hide the one mistake.
      let problem = Diagnostic.unknownTable(reference.value, at: reference.span, catalog)
      throw parsed.diagnostics(parsed.problems + [problem])
    }
    self.table = table
    let name = parsed.definition.operation.source.alias?.value ?? table.name.name.name
    alias = Identifier(trusted: name)
    rowName = Self.rowName(for: name, in: parsed)
  }

  mutating func resolve() throws(Diagnostics) -> Resolution {
    checkTable()
    let key = resolveKey()
    let parameters = resolveParameters()
    let filter = parsed.filter.map { expression -> SQL in
      checkExpression(expression, parameters)
      checkFilter(expression)
      return rewritten(expression)
    }
    let assignments = resolveAssignments(key: key, parameters)
    let checks = parsed.checks.map { check -> (ParsedBatch.ParsedCheck, SQL) in
      checkQuery(check, parameters)
      return (check, rewritten(check.query))
    }
    checkUnusedParameters()
    checkSearchPath()
    let triggers = resolveTriggers()
    let undo = resolveUndo(assignments.map(\.column), triggers)
    checkPrivileges()
    warnAboutIndexes(assignments.map(\.column))
    guard problems.isEmpty else { throw parsed.diagnostics(problems) }
    return Resolution(
      parsed: parsed, catalog: catalog, table: table, alias: rowName, key: key, filter: filter,
      assignments: assignments,
      checks: checks, undo: undo, hasAfterTriggers: triggers.hasAfter, warnings: warnings)
  }
}

/// A definition whose names are resolved; what remains is the types of its expressions, which only the database knows.
package struct Resolution: Sendable {
  let parsed: ParsedBatch
  let catalog: Catalog
  let table: Table
  let alias: Identifier
  let key: [Column]
  let filter: SQL?
  let assignments: [NamedAssignment]
  let checks: [(ParsedBatch.ParsedCheck, SQL)]
  let undo: ResolvedUndo
  let hasAfterTriggers: Bool
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
}
