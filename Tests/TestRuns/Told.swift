package import Migrate
import Synchronization

/// What a back end said at its end.
package struct Told: Sendable {
  /// Whether all was done.
  package let isDone: Bool
  /// The words, whatever they are.
  package let text: String

  package init(isDone: Bool, _ text: String) {
    self.isDone = isDone
    self.text = text
  }
}

/// The library, from a definition to its rows, on a thread of its own.
package enum Client {
  /// Begins a run, or goes on with the unfinished one.
  package static func apply(
    _ compiled: Compiled, on server: Server, again: Bool = false, control: RunControl = RunControl(),
    report: @escaping @Sendable (RunEvent) -> Void = { _ in }
  ) async throws -> Told {
    try await telling {
      let runs = try Runs(on: server)
      let number: Int64
      switch try runs.target(compiled.compilation, compiled.definition) {
      case .complete(let run, _) where !again: return Told(isDone: true, "is already applied as run \(run.id)")
      case .unfinished(let run):
        try runs.refuseOther(run, than: compiled.plan, compiled.definition)
        number = run.id
      case .new, .complete: number = try runs.begin(compiled.compilation, compiled.definition, ApplyRequest())
      }
      let warnings = Mutex<[String]>([])
      let outcome = try runs.apply(try runs.enter(number), control: control) { event in
        if case .warned(let warning) = event, let message = warning.message {
          warnings.withLock { $0.append(message.message) }
        }
        report(event)
      }
      let told = Told(outcome)
      return Told(isDone: told.isDone, ([told.text] + warnings.withLock { $0 }).joined(separator: "\n"))
    }
  }

  /// Takes the newest run of the definition back.
  package static func revert(
    _ compiled: Compiled, on server: Server, onConflict policy: ConflictPolicy = .stop,
    report: @escaping @Sendable (RunEvent) -> Void = { _ in }
  ) async throws -> Told {
    try await telling {
      let runs = try Runs(on: server)
      let run = try runs.enterRevert(try runs.find(compiled.plan.definition), onConflict: policy)
      return Told(try runs.revert(run, onConflict: policy, control: RunControl(), report: report))
    }
  }

  package static func verify(_ run: Int64, on server: Server) async throws -> Verification {
    try await onThread { try Runs(on: server).verify(run) }
  }

  /// Sets columns of the rows in the run's quarantine.
  package static func fix(
    _ run: Int64, _ assignments: String, where condition: String? = nil, on server: Server
  ) async throws -> Told {
    try await telling {
      let runs = try Runs(on: server)
      let mending = try Mending(assignments, where: condition)
      return Told(isDone: true, "\(try runs.fix(try runs.find(String(run)), mending)) rows")
    }
  }

  /// Tries the rows in the run's quarantine once more.
  package static func retry(_ run: Int64, on server: Server) async throws -> Told {
    try await telling {
      let runs = try Runs(on: server)
      let outcome = try runs.retry(try runs.find(String(run)), control: RunControl()) { _ in }
      return Told(isDone: outcome == .done, "\(outcome)")
    }
  }

  private static func telling(_ body: @escaping @Sendable () throws -> Told) async throws -> Told {
    try await onThread {
      do { return try body() } catch let refusal as RunRefusal {
        return Told(isDone: false, "\(refusal)")
      }
    }
  }
}

extension Told {
  fileprivate init(_ outcome: RunOutcome) {
    switch outcome {
    case .completed, .reverted: self.init(isDone: true, "\(outcome)")
    case .paused, .cancelled, .failed, .pausedByServer, .conflicts, .takenOver: self.init(isDone: false, "\(outcome)")
    }
  }
}
