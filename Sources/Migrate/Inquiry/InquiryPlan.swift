internal import MigrateCatalog
internal import MigrateCompiler
internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigrateJSON
internal import MigratePlan
internal import MigratePostgres
internal import MigrateSQL

/// The plan: which work it is, how many rows it meets, and how it finds them.
extension Inquiry {
  mutating func lower(
    _ connection: borrowing Connection, _ resolution: Resolution, _ request: CompileRequest
  ) throws(CompileFailure) -> Compilation {
    let batch: NamedBatch
    do throws(Diagnostics) { batch = try resolution.batch(besides: problems) } catch {
      throw .refused(Diagnostics(source: error.source, error.all + unmetNeeds))
    }
    do throws(PostgresError) {
      let identity = try identity(connection)
      let (types, parameters, searchPath) = (types, parameters, searchPath)
      func lower(rows: Int, _ coverage: Coverage = .walked, _ samples: [Int: Sampled] = [:]) -> Compilation {
        Compiler.lower(
          batch, types: types,
          CompileInputs(
            identity: identity, parameters: parameters, searchPath: searchPath, batchSize: request.batchSize,
            workers: request.workers, estimatedRows: rows, coverage: coverage, samples: samples))
      }
      let draft = lower(rows: 0)
      do throws(PostgresError) {
        let rows = try estimate(connection, draft.explainable)
        let coverage = try coverage(connection, rows: rows, walk: draft.walk)
        return lower(rows: rows, coverage, try sampled(connection, batch))
      } catch {
        if error.endsConnection || error.origin != .server { throw error }
        try connection.execute("ROLLBACK")
        try explainEach(connection, resolution)
        if problems.isEmpty {
          problems.append(Diagnostic(error, in: draft.explainable, behind: Self.explain, of: definition, catalog))
        }
      }
    } catch { throw .database(error) }
    throw .refused(Diagnostics(source: definition.source, problems + unmetNeeds))
  }

  /// SHA-256 over name, search path and values. Not over the text: a definition that was changed is still the same work.
  private func identity(_ connection: borrowing Connection) throws(PostgresError) -> String {
    let document = JSON.object([
      .init("name", .string(definition.name.value)),
      .init("search_path", .strings(searchPath)),
      .init("parameters", .object(parameters.map { .init($0.name, .optional($0.value)) })),
    ])
    return try connection.sha256(of: document.compact)
  }

  /// Walking is the rule. Where less than one row in twenty is eligible and no index leads to them, every walk would read the
  /// table between two of them; on a small table that is nothing.
  private func coverage(
    _ connection: borrowing Connection, rows: Int, walk: RenderedSQL?
  ) throws(PostgresError) -> Coverage {
    guard let walk, let table = catalog.asked.first.flatMap({ $0 }), let all = table.estimatedRows, all >= 100_000,
      rows * 20 < all
    else { return .walked }
    guard let plan = try explained(connection, walk) else { return .walked }
    return plan.holdsIndexCondition ? .walked : .collected
  }

  /// Rows that the planner expects the change to meet.
  private func estimate(_ connection: borrowing Connection, _ change: RenderedSQL) throws(PostgresError) -> Int {
    let child = try explained(connection, change)?["Plans"]?.elements.first
    return Int(child?["Plan Rows"]?.double ?? 0)
  }

  /// The top node of a statement's plan.
  private func explained(_ connection: borrowing Connection, _ change: RenderedSQL) throws(PostgresError) -> JSON? {
    try begin(connection, zone: zone)
    let answer = try connection.query(Self.explain + change.text, arguments(of: change)).onlyRow.text(0)
    try connection.execute("COMMIT")
    return (try? JSON(answer))?.elements.first?["Plan"]
  }
}

extension JSON {
  /// Whether an index narrows the rows down anywhere in a plan.
  fileprivate var holdsIndexCondition: Bool {
    self["Index Cond"] != nil || self["Recheck Cond"] != nil
      || (self["Plans"]?.elements ?? []).contains(where: \.holdsIndexCondition)
  }
}
