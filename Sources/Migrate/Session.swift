internal import MigrateCatalog
package import MigrateCompiler
package import MigrateDefinition
package import MigrateDiagnostics
internal import MigrateJSON
internal import MigratePlan
package import MigratePostgres
internal import MigrateSQL

/// What the command line adds to a definition.
package struct CompileRequest: Sendable {
  /// `--param` and `--param-file`, in the order given; `nil` is NULL.
  package var parameters: [(name: String, value: Constant)] = []
  /// `--search-path`.
  package var searchPath: [String]?
  /// `--batch-size`.
  package var batchSize: Int?
  /// `--workers`.
  package var workers: Int?
  /// Then what stands under `needs` must be complete; `nil` for who only looks.
  package var beginning: Beginning?

  package init() {}
}

/// Why there is no plan.
package enum CompileFailure: Error, Sendable {
  /// The definition is wrong.
  case refused(Diagnostics)
  /// The database, or the way to it, and no fault of the definition.
  case database(PostgresError)
}

/// Asks the database what the compiler has to know. It only reads, so plan and apply compile alike.
package struct Session: ~Copyable {
  let connection: Connection

  package init(to server: Server) throws(PostgresError) {
    let connection = try Connection(to: server)
    if let error = PostgresError.tooOld(connection.serverVersion) { throw error }
    self.connection = connection
  }

  package borrowing func compile(
    _ definition: Definition, _ request: CompileRequest
  ) throws(CompileFailure) -> Compilation {
    let parsed = ParsedBatch(definition)
    var inquiry: Inquiry
    let resolution: Resolution
    do throws(PostgresError) {
      let document = try read(parsed.catalogQuery(searchPath: request.searchPath))
      inquiry = Inquiry(definition, try catalog(document), searchPath: request.searchPath ?? parsed.searchPath)
      try inquiry.checkZone(connection)
      try addDescribed(to: &inquiry, document, parsed)
      resolution = Compiler.resolve(parsed, inquiry.catalog)
      try inquiry.checkWindow(connection)
      try inquiry.readParameters(connection, request)
      try inquiry.describe(connection, resolution.probes)
      inquiry.settleCarried(resolution)
      if !resolution.problems.isEmpty || !inquiry.problems.isEmpty { try inquiry.explainEach(connection, resolution) }
      if let beginning = request.beginning {
        inquiry.unmetNeeds = try unmetNeeds(of: definition, behind: beginning.behind)
      }
    } catch { throw .database(error) }
    let compilation = try inquiry.lower(connection, resolution, request)
    if let beginning = request.beginning, !inquiry.unmetNeeds.isEmpty {
      // A run that stands half-way goes on, whatever has been taken back since.
      do throws(PostgresError) { guard try begins(compilation.plan, beginning) else { return compilation } } catch {
        throw .database(error)
      }
      throw .refused(Diagnostics(source: definition.source, inquiry.unmetNeeds))
    }
    return compilation
  }

  /// What is wrong with the file itself; `nil` when only the database can tell more.
  package static func problems(of definition: Definition) -> Diagnostics? {
    let parsed = ParsedBatch(definition)
    return parsed.problems.isEmpty ? nil : parsed.diagnostics(parsed.problems)
  }

  /// The document of `sql/catalog.sql` about a definition, as the compiler gets it.
  package borrowing func catalogDocument(for definition: Definition) throws(PostgresError) -> JSON {
    let parsed = ParsedBatch(definition)
    let document = try read(parsed.catalogQuery(searchPath: nil))
    var inquiry = Inquiry(definition, try catalog(document), searchPath: parsed.searchPath)
    return try addDescribed(to: &inquiry, document, parsed)
  }

  /// Adds the columns of the source's query and what the steps read besides, where there are such that the database understands.
  ///
  /// - Returns: the document with them.
  @discardableResult
  private borrowing func addDescribed(
    to inquiry: inout Inquiry, _ document: JSON, _ parsed: ParsedBatch
  ) throws(PostgresError) -> JSON {
    var document = document
    if let rows = try inquiry.describeSource(connection, parsed) {
      document = document.with("rows", try described(rows))
      inquiry.catalog = try catalog(document)
    }
    if let carried = try inquiry.describeCarried(connection, parsed) {
      document = document.with("carried", try described(carried))
      inquiry.catalog = try catalog(document)
    }
    return document
  }

  private borrowing func described(_ columns: [CatalogQuery.DescribedColumn]) throws(PostgresError) -> JSON {
    try read(CatalogQuery(searchPath: [], tables: [], functions: [], types: [], rows: columns))["rows"] ?? .null
  }

  private borrowing func read(_ query: CatalogQuery) throws(PostgresError) -> JSON {
    try connection.execute("BEGIN READ ONLY; \(CatalogQuery.settings)")
    let document = try connection.query(CatalogQuery.text, [query.argument]).onlyRow.text(0)
    try connection.execute("COMMIT")
    do { return try JSON(document) } catch {
      throw .unreadable("the catalog's document is not as expected: \(error)")
    }
  }

  private borrowing func catalog(_ document: JSON) throws(PostgresError) -> Catalog {
    do { return try Catalog(document) } catch {
      throw .unreadable("the catalog's document is not as expected: \(error)")
    }
  }
}

extension JSON {
  /// A catalog's document with one member more.
  fileprivate func with(_ name: String, _ value: JSON) -> JSON { .object(members + [.init(name, value)]) }
}
