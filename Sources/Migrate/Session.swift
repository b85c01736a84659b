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
      if let rows = try sourceRows(&inquiry, parsed) { inquiry.catalog = try catalog(document.with(rows)) }
      resolution = Compiler.resolve(parsed, inquiry.catalog)
      try inquiry.checkWindow(connection)
      try inquiry.readParameters(connection, request)
      try inquiry.describe(connection, resolution.probes)
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
    return try sourceRows(&inquiry, parsed).map { document.with($0) } ?? document
  }

  /// The columns of the source's query, where it has one that the database understands.
  private borrowing func sourceRows(
    _ inquiry: inout Inquiry, _ parsed: ParsedBatch
  ) throws(PostgresError) -> JSON? {
    guard let rows = try inquiry.describeSource(connection, parsed) else { return nil }
    return try read(CatalogQuery(searchPath: [], tables: [], functions: [], types: [], rows: rows))["rows"]
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
  /// A catalog's document with the columns of the source's query.
  fileprivate func with(_ rows: JSON) -> JSON { .object(members + [.init("rows", rows)]) }
}
