package import MigrateCatalog
internal import MigrateDefinition
package import MigrateDiagnostics
package import MigratePlan
package import MigrateSQL

/// How a run finds its batches.
package enum Coverage: Sendable, Equatable {
  /// From key to key, in the batch's own snapshot.
  case walked
  /// The keys are read once: few rows are eligible and no index leads to them, so each walk would read the table in vain.
  case collected
}

/// How a batch reads a join.
package enum JoinWay: Sendable, Equatable {
  /// All of it.
  case whole
  /// The rows that it needs, by an index.
  case part
  /// From a table, into which all of it is read when the run starts.
  case staged
}

/// What the compiler is told besides the definition and the catalog.
package struct CompileInputs: Sendable {
  package let identity: String
  package let parameters: [PlannedParameter]
  package let searchPath: [String]
  /// Overrides the definition's.
  package let batchSize: Int?
  /// Overrides the definition's `parallel`.
  package let workers: Int?
  package let estimatedRows: Int
  package let coverage: Coverage
  /// How batches read a join, by its place, where that is not as usual.
  package let joinWays: [Int: JoinWay]
  /// What a sample has shown of the assignments that may lose something.
  package let samples: [Int: Sampled]

  package init(
    identity: String, parameters: [PlannedParameter], searchPath: [String], batchSize: Int?, workers: Int? = nil,
    estimatedRows: Int,
    coverage: Coverage = .walked, joinWays: [Int: JoinWay] = [:], samples: [Int: Sampled] = [:]
  ) {
    self.identity = identity
    self.parameters = parameters
    self.searchPath = searchPath
    self.batchSize = batchSize
    self.workers = workers
    self.estimatedRows = estimatedRows
    self.coverage = coverage
    self.joinWays = joinWays
    self.samples = samples
  }
}

/// From a definition and the catalog to a plan, without I/O.
package enum Compiler {
  /// Resolves: each name meets its catalog entry. What remains open is the types, which ``Resolution/probes`` ask for.
  package static func resolve(_ parsed: ParsedBatch, _ catalog: Catalog) -> Resolution {
    switch begin(parsed, catalog) {
    case .resolver(var resolver): resolver.resolve()
    case .refused(let resolution): resolution
    }
  }

  /// What there is to go on with when the source is known, or is not.
  enum Beginning {
    case resolver(Resolver)
    case refused(Resolution)
  }

  static func begin(_ parsed: ParsedBatch, _ catalog: Catalog) -> Beginning {
    switch parsed.definition.operation.source.rows {
    case .table(let reference): begin(parsed, catalog, reference)
    case .query: beginQuery(parsed, catalog)
    }
  }

  private static func begin(
    _ parsed: ParsedBatch, _ catalog: Catalog, _ reference: Located<TableReference>
  ) -> Beginning {
    guard let found = catalog.asked.first, let table = found else {
      // Without the table nothing about its columns can be judged, and a dozen unknown ones would only hide the one mistake.
      return .refused(.without(.unknownTable(reference.value, at: reference.span, catalog), parsed))
    }
    guard !table.isOfTheSystem else {
      return .refused(.without(.systemTable(table, at: reference.span), parsed))
    }
    if parsed.definition.operation.isStepped, let frozen = Resolver(frozen: table, parsed, catalog) {
      return .resolver(frozen)
    }
    return .resolver(Resolver(parsed, catalog, table))
  }

  /// Lowers: the operation becomes statements.
  package static func lower(
    _ named: NamedBatch, types: [Int: DescribedType], _ inputs: CompileInputs
  ) -> Compilation {
    let definition = named.parsed.definition
    let pace = definition.operation.pace(batchSize: inputs.batchSize)
    let (batch, warnings) = named.typed(types, pace: pace, inputs)
    let diagnostics = Diagnostics(source: definition.source, warnings)
    return Compilation(
      plan: batch.plan(inputs, warnings: diagnostics), warnings: diagnostics, explainable: batch.explainable,
      counted: batch.counted, explainedSteps: batch.explained(.all), readings: batch.readings, walk: batch.walk,
      trial: batch.trial)
  }
}

/// A plan, and what a person should know about it.
package struct Compilation: Sendable {
  package let plan: Plan
  package let warnings: Diagnostics
  /// The change without its undo, for EXPLAIN: the undo table does not exist yet.
  package let explainable: RenderedSQL
  /// The rows that it meets, for EXPLAIN, where it does not tell them itself.
  package let counted: RenderedSQL?
  /// What each step writes of all rows, without its undo, for EXPLAIN.
  package let explainedSteps: [RenderedSQL]
  /// For each join that a batch may read in part.
  package let readings: [JoinReading]
  /// How a walk would begin, for EXPLAIN: whether an index leads to the eligible rows. `nil` when all rows are eligible.
  package let walk: RenderedSQL?
  /// For `plan --explain` and `--measure`.
  package let trial: Trial
}
