import MigrateLedger
import MigratePlan
import MigratePostgres
import RunTestSupport
import TestSupport

/// One batch of a run taken back, statement by statement: the texts that the ledger holds, as the runner sends them.
struct SteppedRevert {
  static let steps: [SteppedPart] = [
    .begin, .statement(.mark), .statement(.restore), .statement(.finish), .commit,
  ]

  let session: NamedSession
  private let run: Run
  private let bindings: Bindings
  private var rest = Self.steps[...]
  private(set) var end: End?

  enum End: Equatable {
    case committed
    /// Another one has taken the batch back already.
    case doneAlready
    case takenOver
    case failed(SQLState)
    case lost
  }

  init(_ trial: Trial, run id: Int64, on session: NamedSession, ordinal: Int) async throws {
    self.session = session
    run = try await trial.run(id)
    let seq = try await trial.value(
      "SELECT seq FROM migrate.batches WHERE run = \(id) AND kind = 'apply' AND ordinal = \(ordinal)")
    bindings = Bindings(run.parameters).with("run", String(id)).with("epoch", String(run.epoch)).with("worker", "1")
      .with("slice", "0").with("part", "0").with("ordinal", String(ordinal)).with("seq", seq)
  }

  var next: SteppedPart? { end == nil ? rest.first : nil }

  func start() throws {
    switch rest.first {
    case .begin:
      let settings = try run.statement(.revert, .settings).text
      try session.start(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; \(settings); SELECT migrate.guard_table(\(run.id)); SET LOCAL lock_timeout = 0"
      )
    case .commit: try session.start("COMMIT")
    case .statement(let name):
      let statement = try run.statement(.revert, name)
      try session.start(statement.text, bindings.arguments(for: statement))
    case nil: throw TestSupportError("the batch is over")
    }
  }

  mutating func finish() async throws {
    let part = rest.removeFirst()
    do {
      let rows = try await session.finish()
      switch part {
      case .statement(.mark): if rows.affectedRows != 1 { end = .doneAlready }
      case .statement(.finish): if rows.isEmpty { end = .takenOver }
      case .commit: end = .committed
      case .begin, .statement: break
      }
    } catch let error as PostgresError {
      end = error.endsConnection ? .lost : .failed(error.sqlState ?? SQLState("-----"))
    }
  }

  mutating func run(through part: SteppedPart) async throws {
    while let next {
      try start()
      try await finish()
      if next == part { return }
    }
  }

  mutating func conclude() async throws -> End? {
    while let next { try await run(through: next) }
    if end != .committed, end != .lost { try await session.execute("ROLLBACK") }
    return end
  }
}
