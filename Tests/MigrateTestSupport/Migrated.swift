package import Migrate
package import MigrateCompiler
package import MigrateDefinition
package import MigrateDiagnostics
package import MigrateLedger
package import MigratePlan
package import MigratePostgres
package import MigrateRunner
import Synchronization
import TestSupport

/// What became of a definition.
package struct Migrated: Sendable {
  package let run: Int64
  package let outcome: RunOutcome
  package let plan: Plan
  package let warnings: [Diagnostic]
  /// Of the batches that this worker did.
  package let counts: BatchCounts
  package let events: [RunEvent]

  package var isComplete: Bool {
    if case .completed = outcome { true } else { false }
  }

  /// SQLSTATE, when a batch has failed.
  package var failure: Failure? {
    if case .failed(let failure) = outcome { failure } else { nil }
  }
}

/// How a test applies a definition.
package struct Way: Sendable {
  package var batchSize: Int?
  package var workers: Int?
  /// Short runs would have no more than two of them at work.
  package var crew = CrewPolicy.all
  package var parameters: [(name: String, value: String)] = []
  package var searchPath: [String]?
  /// Asks the worker to stop when so many batches have committed.
  package var stopAfter: Int?
  package var concurrent = false
  /// As `apply` compiles.
  package var beginning: Beginning?
  /// Runs before the worker begins, when the run is in the ledger.
  package var begun: @Sendable (Int64) throws -> Void = { _ in }
  /// Sees each event as it happens, on the worker's thread.
  package var watch: @Sendable (RunEvent) -> Void = { _ in }

  package init() {}

  var request: CompileRequest {
    var request = CompileRequest()
    request.batchSize = batchSize
    request.workers = workers
    request.parameters = parameters.map { ($0.name, .text($0.value)) }
    request.searchPath = searchPath
    request.beginning = beginning
    return request
  }
}

/// Applies `yaml` to the end, as `migrate apply` does, on a thread of its own.
package func migrated(
  _ yaml: String, on server: Server, batchSize: Int? = nil, parameters: [(name: String, value: String)] = [],
  stopAfter: Int? = nil
) async throws -> Migrated {
  var way = Way()
  way.batchSize = batchSize
  way.parameters = parameters
  way.stopAfter = stopAfter
  return try await migrated(yaml, on: server, way)
}

/// Applies `yaml` in this way.
package func migrated(_ yaml: String, on server: Server, _ way: Way) async throws -> Migrated {
  try await onThread {
    try saying {
      let definition = try definition(yaml)
      let compilation = try Session(to: server).compile(definition, way.request)
      let runs = try Runs(on: server)
      var request = ApplyRequest()
      request.concurrent = way.concurrent
      let number = try runs.begin(compilation, definition, request)
      try way.begun(number)
      var run = try runs.enter(number)
      run.crew = way.crew
      let (outcome, events) = try following(way) { (control, report) throws(RunRefusal) in
        try runs.apply(run, control: control, report: report)
      }
      return Migrated(
        run: number, outcome: outcome, plan: compilation.plan, warnings: compilation.warnings.all,
        counts: counts(events), events: events)
    }
  }
}

/// Goes on with a run where it stopped.
package func resumed(_ run: Int64, on server: Server, _ way: Way = Way()) async throws -> RunOutcome {
  try await onThread {
    try saying {
      let runs = try Runs(on: server)
      var entered = try runs.enter(run)
      entered.crew = way.crew
      return try following(way) { (control, report) throws(RunRefusal) in
        try runs.apply(entered, control: control, report: report)
      }.outcome
    }
  }
}

/// Takes a run back, as `migrate revert` does: `reference` is its number or its definition's name.
package func reverted(
  _ reference: String, on server: Server, onConflict policy: ConflictPolicy = .stop, _ way: Way = Way()
) async throws -> RunOutcome {
  try await onThread {
    try saying {
      let runs = try Runs(on: server)
      let run = try runs.enterRevert(runs.find(reference), onConflict: policy)
      return try following(way) { (control, report) throws(RunRefusal) in
        try runs.revert(run, onConflict: policy, control: control, report: report)
      }.outcome
    }
  }
}

/// Takes a run back.
package func reverted(
  _ run: Int64, on server: Server, onConflict policy: ConflictPolicy = .stop
) async throws -> RunOutcome {
  try await reverted(String(run), on: server, onConflict: policy)
}

/// The plan that `migrate plan` would show.
package func compiled(_ yaml: String, on server: Server, _ way: Way = Way()) async throws -> Compilation {
  try await onThread {
    try saying { try Session(to: server).compile(definition(yaml), way.request) }
  }
}

/// What is wrong with `yaml`, as a person reads it; empty when nothing is.
package func refusal(
  of yaml: [UInt8], path: String = "definition.yaml", on server: Server, _ way: Way = Way()
) async throws -> Refused? {
  do {
    _ = try await onThread {
      try saying {
        let definition = try Definition(partly: SourceText(path: path, bytes: yaml))
        return try Session(to: server).compile(definition, way.request)
      }
    }
    return nil
  } catch let refused as Refused {
    return refused
  }
}

/// The rules that `yaml` breaks, in order of position.
package func codes(of yaml: String, on server: Server, _ way: Way = Way()) async throws -> [String] {
  try await refusal(of: Array(yaml.utf8), on: server, way)?.codes ?? []
}

package func definition(_ yaml: String) throws(Diagnostics) -> Definition {
  try Definition(SourceText(path: "definition.yaml", bytes: Array(yaml.utf8)))
}

/// An error that says what a person would read.
package struct Refused: Error, CustomStringConvertible, Sendable {
  /// The rules that were broken; empty when no definition is to blame.
  package let codes: [String]
  package let description: String
  package let sqlState: String?
}

extension Refused {
  fileprivate init(_ diagnostics: Diagnostics) {
    self.init(
      codes: diagnostics.all.map(\.code), description: DiagnosticRenderer(color: false).render(diagnostics),
      sqlState: nil)
  }

  fileprivate init(_ error: PostgresError) {
    self.init(codes: [], description: error.description, sqlState: error.sqlState?.code)
  }
}

/// Runs `body` and turns its error into one that can be read.
private func saying<Value>(_ body: () throws -> Value) throws -> Value {
  do { return try body() } catch let error as Diagnostics { throw Refused(error) } catch let error as CompileFailure {
    switch error {
    case .refused(let diagnostics): throw Refused(diagnostics)
    case .database(let error): throw Refused(error)
    }
  } catch let error as RunRefusal {
    switch error {
    case .database(let error), .ledger(.database(let error)): throw Refused(error)
    case .ledger(.newer(let ledger, let program)):
      throw Refused(codes: [], description: "ledger \(ledger), program \(program)", sqlState: nil)
    case .refused(let text, let remedy), .usage(let text, let remedy), .paused(_, let text, let remedy):
      throw Refused(codes: [], description: "\(text)\n  help: \(remedy)", sqlState: nil)
    }
  }
}

private func following(
  _ way: Way, _ body: (RunControl, @escaping @Sendable (RunEvent) -> Void) throws(RunRefusal) -> RunOutcome
) throws -> (outcome: RunOutcome, events: [RunEvent]) {
  let control = RunControl()
  let heard = Heard()
  let outcome = try body(control) { event in
    let batches = heard.add(event)
    if let last = way.stopAfter, batches >= last { control.requestStop() }
    way.watch(event)
  }
  return (outcome, heard.events.withLock { $0 })
}

/// The events of a run, in order.
private final class Heard: Sendable {
  let events = Mutex<[RunEvent]>([])

  /// - Returns: how many batches have committed.
  func add(_ event: RunEvent) -> Int {
    events.withLock { events in
      events.append(event)
      return counts(events).batches
    }
  }
}

private func counts(_ events: [RunEvent]) -> BatchCounts {
  events.reduce(into: BatchCounts()) { sum, event in
    guard case .batch(let record) = event else { return }
    sum.batches += 1
    sum.read += record.counts.read
    sum.changed += record.counts.changed
    sum.unchanged += record.counts.unchanged
    sum.rejected += record.counts.rejected
  }
}
