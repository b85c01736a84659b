import MigrateLedger
import MigratePlan
import MigratePostgres
@testable import MigrateRunner
import RunTestSupport
import TestSupport
import Testing

/// How a batch that a test stepped has ended.
enum BatchEnd: Equatable {
  case committed
  /// The keys captured are not the keys changed.
  case inexact
  /// The fence was not there any more.
  case takenOver
  case failed(SQLState)
  /// Its backend is gone.
  case lost
}

/// What a stepped transaction is made of, and where a test can stop it.
enum SteppedPart: Hashable, CustomTestStringConvertible {
  case begin
  case statement(Statement.Name)
  case commit

  var testDescription: String {
    switch self {
    case .begin: "begin"
    case .statement(let name): "\(name)"
    case .commit: "commit"
    }
  }
}

/// One batch of a run, statement by statement: the very texts that the ledger holds, in the order and with the values that
/// the runner gives them. Locks are waited for without a limit, since it is the test that lets go of them.
struct SteppedBatch {
  let session: NamedSession
  let run: Run
  private let attempt: Attempt
  private var bindings: Bindings
  private var rest: [Step]
  private(set) var end: BatchEnd?

  private enum Step {
    case begin
    case statement(RunStatement)
    case commit

    var part: SteppedPart {
      switch self {
      case .begin: .begin
      // Which of the two it is the capture decides.
      case .statement(let statement):
        .statement(statement.name == .changeAsCaptured ? .change : statement.name)
      case .commit: .commit
      }
    }
  }

  /// - Parameter number: which try it is, and so how it guards itself: 1 a snapshot, 2 a snapshot with locks, 3 locks.
  init(_ trial: Trial, run id: Int64, on session: NamedSession, number: Int, ordinal: Int = 1, after: [String?]? = nil)
    async throws
  {
    self.session = session
    try await trial.bound(id)
    run = try await trial.run(id)
    attempt = Attempt(
      slice: 0, ordinal: ordinal, after: after, upper: run.upperKey ?? [], number: number, size: run.pace.firstSize,
      isInParts: false)
    bindings = Bindings(run.parameters).with("run", String(run.id)).with("epoch", String(run.epoch)).with("worker", "1")
      .with("slice", "0").with("part", "0").with("ordinal", String(ordinal)).with("size", String(run.pace.firstSize))
      .with(key: after, as: "after", count: run.keyCount).with(key: run.upperKey, as: "upper", count: run.keyCount)
    rest = [.begin]
    bindings = bindings.with("eligible", nil).with("changed", nil)
    rest +=
      run.statements(.batches).filter { ![.settings, .lock].contains($0.name) }.map { .statement($0) } + [.commit]
    keep(attempt.guarded == .snapshot ? [false, true] : [false])
  }

  /// Leaves out what the attempt does not run, whichever of `answers` the capture gives.
  private mutating func keep(_ answers: [Bool]) {
    rest = rest.filter { step in
      guard case .statement(let statement) = step else { return true }
      return answers.contains { attempt.runs(statement, isCaptured: $0) }
    }
  }

  /// What comes next, `change` for either change; `nil` at the end.
  var next: SteppedPart? { end == nil ? rest.first?.part : nil }

  /// Sends the next statement and does not wait for it.
  func start() throws {
    switch rest.first {
    case .begin:
      let settings = try run.statement(.batches, .settings).text
      let lock = try run.statement(.batches, .lock).text
      try session.start(
        "BEGIN ISOLATION LEVEL \(attempt.isolation); \(settings); \(lock); SELECT migrate.guard_table(\(run.id)); SET LOCAL lock_timeout = 0"
      )
    case .statement(let statement): try session.start(statement.text, bindings.arguments(for: statement))
    case .commit: try session.start("COMMIT")
    case nil: throw TestSupportError("the batch is over")
    }
  }

  /// Waits for what was started.
  mutating func finish() async throws {
    let step = rest.removeFirst()
    do {
      let rows = try await session.finish()
      switch step.part {
      case .statement(.bound):
        bindings = bindings.with(key: try rows.first?.values ?? attempt.upper, as: "through", count: run.keyCount)
      case .statement(.capture):
        keep([try rows.first?.bool("as_captured") ?? false])
      case .statement(.change):
        if case .statement(let statement) = step, statement.name == .changeAsCaptured {
          bindings = bindings.with("changed", rows.affectedRows.map(String.init))
        }
      case .statement(.finish):
        guard let row = rows.first else { return end = .takenOver }
        if try !row.bool("exact") { end = .inexact }
      case .commit: end = .committed
      case .begin, .statement: break
      }
    } catch let error as PostgresError {
      end = error.endsConnection ? .lost : .failed(error.sqlState ?? SQLState("-----"))
    }
  }

  mutating func step() async throws {
    try start()
    try await finish()
  }

  /// Steps until `part` is done, or the batch has ended.
  mutating func run(through part: SteppedPart) async throws {
    while let next {
      try await step()
      if next == part { return }
    }
  }

  /// Steps until `part` comes next.
  mutating func run(upTo part: SteppedPart) async throws {
    while let next, next != part { try await step() }
  }

  /// Steps to the end, and rolls back what did not commit, as the runner does.
  mutating func conclude() async throws -> BatchEnd? {
    while next != nil { try await step() }
    if end != .committed, end != .lost { try await session.execute("ROLLBACK") }
    return end
  }
}
