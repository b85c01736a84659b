package import MigrateCatalog
package import MigrateDefinition
package import MigrateDiagnostics
internal import MigrateSQL

/// A definition whose SQL has been parsed, not yet compared with a database.
package struct ParsedBatch: Sendable {
  package let definition: Definition
  /// The query of `source`; `nil` where a table is named, or it cannot be read.
  let source: SQLQuery?
  let filter: SQLExpression?
  let joins: [ParsedJoin]
  let lets: [ParsedLet]
  let values: [ParsedValue]
  let steps: [ParsedStep]
  let validation: [ParsedRule]
  let checks: [ParsedCheck]
  let expectations: [ParsedExpectation]
  /// What is wrong with the SQL itself; the rest goes on, so that all errors of a file come at once.
  package let problems: [Diagnostic]

  /// The value of the assignment of the same place.
  enum ParsedValue: Sendable {
    case sql(SQLExpression)
    case text(Located<String>)
    case constant(Located<Constant>)
    /// Its SQL cannot be read; that has been said.
    case unreadable
  }

  struct ParsedRule: Sendable {
    let reason: String
    let condition: SQLExpression
  }

  struct ParsedCheck: Sendable {
    enum Moment: Sendable { case before, batch, after, hold }

    let moment: Moment
    let check: Check
    let query: SQLQuery
  }

  package init(_ definition: Definition) {
    self.definition = definition
    let operation = definition.operation
    var problems: [Diagnostic] = definition.problems
    source =
      switch operation.source.rows {
      case .table: nil
      case .query(let fragment): Self.query(fragment, &problems)
      }
    filter = operation.filter.flatMap { Self.expression($0, &problems) }
    joins = operation.joins.compactMap { Self.join($0, &problems) }
    lets = operation.lets.map { ParsedLet(name: $0.column, value: Self.value($0.value, &problems)) }
    values = operation.set.map { Self.value($0.value, &problems) }
    steps = operation.steps.enumerated().map { ParsedStep($0 + 1, $1, &problems) }
    validation = operation.validation.compactMap { rule in
      Self.expression(rule.condition, &problems).map { ParsedRule(reason: rule.reason.value, condition: $0) }
    }
    let moments: [(ParsedCheck.Moment, [Check])] = [
      (.before, operation.checks.before), (.batch, operation.checks.batch), (.after, operation.checks.after),
      (.hold, operation.throttle.queries),
    ]
    var checks: [ParsedCheck] = []
    for (moment, list) in moments {
      for check in list {
        guard let query = Self.query(check.query, &problems) else { continue }
        checks.append(ParsedCheck(moment: moment, check: check, query: query))
      }
    }
    self.checks = checks
    expectations = operation.expectations.map { expectation in
      guard case .aggregate(let function, let fragment) = expectation.subject,
        !(function == .count && fragment.text.utf8.elementsEqual("*".utf8))
      else { return ParsedExpectation(expectation: expectation, value: nil) }
      return ParsedExpectation(expectation: expectation, value: Self.expression(fragment, &problems))
    }
    self.problems = problems
  }

  static func value(_ value: AssignedValue, _ problems: inout [Diagnostic]) -> ParsedValue {
    switch value {
    case .sql(let fragment): expression(fragment, &problems).map(ParsedValue.sql) ?? .unreadable
    case .text(let text): .text(text)
    case .constant(let constant): .constant(constant)
    }
  }

  private static func join(_ join: Join, _ problems: inout [Diagnostic]) -> ParsedJoin? {
    let rows: ParsedJoin.Rows? =
      switch join.rows {
      case .table(let table): .table(table)
      case .query(let fragment): query(fragment, &problems).map(ParsedJoin.Rows.query)
      }
    guard let match = expression(join.match, &problems), let rows else { return nil }
    return ParsedJoin(name: join.name, rows: rows, match: match, missing: join.missing)
  }

  static func query(_ fragment: SourceFragment, _ problems: inout [Diagnostic]) -> SQLQuery? {
    do throws(SQLDiagnostics) { return try SQLQuery.parse(fragment) } catch {
      problems += error.all
      return nil
    }
  }

  static func expression(_ fragment: SourceFragment, _ problems: inout [Diagnostic]) -> SQLExpression? {
    do throws(SQLDiagnostics) { return try SQLExpression.parse(fragment) } catch {
      problems += error.all
      return nil
    }
  }

  /// All that was found, without what only follows from something else: a parameter seems to be unused where the SQL that uses
  /// it cannot be read, and not to be declared where its declaration cannot, by the SQL or by the command.
  package func diagnostics(_ found: [Diagnostic]) -> Diagnostics {
    var consequences: Set<String> = problems.isEmpty ? [] : ["unused-parameter"]
    if !definition.problems.isEmpty {
      consequences.formUnion(["undeclared-parameter", "parameter-without-colon", "unknown-parameter"])
    }
    return Diagnostics(source: definition.source, found.filter { !consequences.contains($0.code) })
  }

  /// All SQL texts of the definition.
  var texts: [any SQLText] {
    let expressions = (lets.map(\.value) + values).compactMap { value -> (any SQLText)? in
      guard case .sql(let expression) = value else { return nil }
      return expression
    }
    let joined = joins.flatMap { join -> [any SQLText] in
      switch join.rows {
      case .table: [join.match]
      case .query(let query): [query, join.match]
      }
    }
    let filters: [any SQLText] = (source.map { [$0] } ?? []) + (filter.map { [$0] } ?? [])
    let judging: [any SQLText] = validation.map(\.condition) + checks.map(\.query)
    return filters + joined + expressions + steps.flatMap(\.texts) + judging + expectations.compactMap(\.value)
  }

  /// The tables that the definition names: the source, those of joins, those of steps.
  var tables: [TableReference] {
    (definition.operation.source.table.map { [$0.value] } ?? [])
      + joins.compactMap { join in
        switch join.rows {
        case .table(let table): table.value
        case .query: nil
        }
      } + steps.compactMap { $0.definition.verb.table?.value }
  }

  /// How many of ``tables`` come before those of joins.
  var sourceTables: Int { definition.operation.source.table == nil ? 0 : 1 }

  /// Whether a sub-select stands in `where`, `let` or `set`.
  var hasSubquery: Bool { expressions.contains(where: \.facts.hasSubquery) }

  func usesOperator(of names: [String]) -> Bool {
    expressions.contains { $0.operators.contains { names.contains($0.name) } }
  }

  /// What is computed or asked of a source row.
  var rowTexts: [SQLExpression] { expressions + joins.map(\.match) + validation.map(\.condition) }

  /// `where`, `let` and `set`.
  private var expressions: [SQLExpression] {
    let expressions = (lets.map(\.value) + values).compactMap { value -> SQLExpression? in
      guard case .sql(let expression) = value else { return nil }
      return expression
    }
    return (filter.map { [$0] } ?? []) + expressions
  }

  /// What the compiler has to know about the database. `searchPath` overrides the definition's.
  package func catalogQuery(searchPath: [String]?) -> CatalogQuery {
    let operation = definition.operation
    let functions = texts.flatMap(\.functions).compactMap { call -> CatalogQuery.Name? in
      guard let name = call.name.last else { return nil }
      return CatalogQuery.Name(schema: call.name.count > 1 ? call.name.first?.name : nil, name: name.name)
    }
    return CatalogQuery(
      searchPath: searchPath ?? self.searchPath,
      tables: tables.map { CatalogQuery.Name(schema: $0.schema, name: $0.name) },
      functions: Array(Set(functions)), types: operation.parameters.map(\.type.value))
  }

  /// Schemas for unqualified names: what the definition says, else public.
  package var searchPath: [String] {
    // Empty when what was said could not be read.
    let said = definition.operation.searchPath?.map(\.value) ?? []
    return said.isEmpty ? ["public"] : said
  }
}
