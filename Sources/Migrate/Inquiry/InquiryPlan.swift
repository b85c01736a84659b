internal import MigrateCatalog
internal import MigrateCompiler
internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigrateJSON
internal import MigrateLedger
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
    let refused = batch.refused(types)
    guard refused.isEmpty else { throw .refused(Diagnostics(source: definition.source, refused + unmetNeeds)) }
    do throws(PostgresError) {
      let identity = try identity(connection)
      if let column = definition.operation.incremental?.value {
        let hash = try Runs.hash(of: definition, connection)
        since = try Ledger.watermark(connection, identity: identity, hash: hash, column: column)
      }
      let (types, parameters, searchPath) = (types, parameters, searchPath)
      func lower(
        rows: Int, _ coverage: Coverage = .walked, joinWays: [Int: JoinWay] = [:], _ samples: [Int: Sampled] = [:]
      ) -> Compilation {
        Compiler.lower(
          batch, types: types,
          CompileInputs(
            identity: identity, parameters: parameters, searchPath: searchPath, batchSize: request.batchSize,
            workers: request.workers, estimatedRows: rows, coverage: coverage,
            joinWays: joinWays, samples: samples))
      }
      let draft = lower(rows: 0)
      try look(at: draft.explainedSteps, connection)
      if problems.isEmpty {
        do throws(PostgresError) {
          let rows = try estimate(connection, draft)
          let coverage = try coverage(connection, rows: rows, walk: draft.walk)
          let ways = try joinWays(connection, draft.readings)
          return lower(rows: rows, coverage, joinWays: ways, try sampled(connection, batch))
        } catch {
          if error.endsConnection || error.origin != .server { throw error }
          try connection.execute("ROLLBACK")
          try explainEach(connection, resolution)
          if problems.isEmpty {
            problems.append(Diagnostic(error, in: draft.explainable, behind: Self.explain, of: definition, catalog))
          }
        }
      }
    } catch { throw .database(error) }
    throw .refused(Diagnostics(source: definition.source, problems + unmetNeeds))
  }

  /// What the planner has against a step.
  private mutating func look(at steps: [RenderedSQL], _ connection: borrowing Connection) throws(PostgresError) {
    for step in steps {
      do throws(PostgresError) { _ = try explained(connection, step) } catch {
        if error.endsConnection || error.origin != .server { throw error }
        try connection.execute("ROLLBACK")
        problems.append(Diagnostic(error, in: step, behind: Self.explain, of: definition, catalog))
      }
    }
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
  private func estimate(_ connection: borrowing Connection, _ draft: Compilation) throws(PostgresError) -> Int {
    let plan = try explained(connection, draft.explainable)
    let counted = try draft.counted.map { (sql) throws(PostgresError) in try explained(connection, sql) }
    return Int((counted ?? plan?["Plans"]?.elements.first)?["Plan Rows"]?.double ?? 0)
  }

  /// Of a small join it does not matter how it is read. Of a large one each batch reads what it needs, where an index takes the list
  /// of that.
  private func joinWays(
    _ connection: borrowing Connection, _ readings: [JoinReading]
  ) throws(PostgresError) -> [Int: JoinWay] {
    var ways: [Int: JoinWay] = [:]
    for reading in readings {
      let whole = try explained(connection, reading.whole)?["Total Cost"]?.double ?? 0
      guard whole > Self.smallCost else { continue }
      ways[reading.join] = try isReached(connection, reading.part) ? .part : .staged
    }
    return ways
  }

  /// Whether an index takes the list; of values that are arrays themselves there is none.
  private func isReached(_ connection: borrowing Connection, _ part: RenderedSQL) throws(PostgresError) -> Bool {
    do throws(PostgresError) { return try explained(connection, part)?.holdsListCondition == true } catch {
      guard error.origin == .server, !error.endsConnection else { throw error }
      try connection.execute("ROLLBACK")
      return false
    }
  }

  /// In the planner's unit, a page read in order: some ten milliseconds.
  private static var smallCost: Double { 2_000 }

  /// The top node of a statement's plan.
  private func explained(_ connection: borrowing Connection, _ change: RenderedSQL) throws(PostgresError) -> JSON? {
    try begin(connection, zone: zone)
    let answer = try connection.query(Self.explain + change.text, arguments(of: change)).onlyRow.text(0)
    try connection.execute("COMMIT")
    return (try? JSON(answer))?.elements.first?["Plan"]
  }
}

extension JSON {
  /// Whether an index is asked for a list of values that a sub-select gives, anywhere in a plan.
  fileprivate var holdsListCondition: Bool {
    // Up to PostgreSQL 16 by a number, since then by what gives it.
    let isList = [self["Index Cond"]?.text, self["Recheck Cond"]?.text].contains { condition in
      condition.map { $0.contains("= ANY ($") || $0.contains("= ANY ((InitPlan") } ?? false
    }
    return isList || (self["Plans"]?.elements ?? []).contains(where: \.holdsListCondition)
  }

  /// Whether an index narrows the rows down anywhere in a plan.
  fileprivate var holdsIndexCondition: Bool {
    self["Index Cond"] != nil || self["Recheck Cond"] != nil
      || (self["Plans"]?.elements ?? []).contains(where: \.holdsIndexCondition)
  }
}
