import Foundation
import Migrate
import MigrateLedger
import MigratePostgres
import MigrateRunner
import RunTestSupport
import TestSupport

/// A client that does as the command line does: compile, look, begin or go on, run. And when the connection is lost where the
/// worker cannot help itself, a new one is started, as a person would.
struct Client: Sendable {
  let server: Server
  let definition: String

  func apply(events: Events = Events()) async throws -> RunOutcome {
    try await insisting { server in
      let definition = try Definition(SourceText(path: "prices.yaml", bytes: Array(self.definition.utf8)))
      let compilation = try Migrate.Session(to: server).compile(definition, CompileRequest())
      let runs = try Runs(on: server)
      let number: Int64
      switch try runs.target(compilation, definition) {
      case .complete: return .completed(leftBehind: 0)
      case .unfinished(let run):
        try runs.refuseOther(run, than: compilation.plan, definition)
        number = run.id
      case .new: number = try runs.begin(compilation, definition, ApplyRequest())
      }
      return try runs.apply(try runs.enter(number), control: RunControl()) { events.add($0) }
    }
  }

  func revert(_ run: Int64, events: Events = Events()) async throws -> RunOutcome {
    try await insisting { server in
      let runs = try Runs(on: server)
      let summary = try runs.find(String(run))
      if summary.state == .reverted { return .reverted(conflicts: 0) }
      return try runs.revert(try runs.enterRevert(summary, onConflict: .stop), onConflict: .stop, control: RunControl())
      {
        events.add($0)
      }
    }
  }

  private func insisting(_ body: @escaping @Sendable (Server) throws -> RunOutcome) async throws -> RunOutcome {
    let server = server
    var last: (any Error)?
    for _ in 1...200 {
      do { return try await onThread { try body(server) } } catch let error where Self.isPassing(error) {
        last = error
        try await Task.sleep(for: .milliseconds(5))
      }
    }
    throw TestSupportError("two hundred clients in vain: \(last.map { "\($0)" } ?? "")")
  }

  /// The connection, or somebody who is thought to work on it still.
  private static func isPassing(_ error: any Error) -> Bool {
    switch error {
    case let error as PostgresError: isPassing(error)
    case CompileFailure.database(let error): isPassing(error)
    case RunRefusal.database(let error), RunRefusal.ledger(.database(let error)): isPassing(error)
    case RunRefusal.refused(let message, _): message.contains("is being worked on") || message.contains("taken over")
    default: false
    }
  }

  private static func isPassing(_ error: PostgresError) -> Bool {
    error.endsConnection || error.origin == .lost || error.origin == .connecting
  }
}

extension Shop {
  /// Empty of runs, with the oracle watching from the beginning.
  static func fresh(_ server: Server, rows: Int) async throws -> Shop {
    try await server.psql("SET client_min_messages = error; DROP SCHEMA IF EXISTS migrate CASCADE")
    let shop = try await Shop(server, rows: rows)
    try await shop.watch()
    return shop
  }

  var newestRun: Int64 {
    get async throws { Int64(try await trial.value("SELECT max(run) FROM migrate.runs") ?? "") ?? 0 }
  }

  /// Whether the arguments ask for a revert that has been done: the killed program had committed the last of it.
  func isReverted(_ arguments: [String]) async throws -> Bool {
    guard arguments.first == "revert", arguments.count > 1 else { return false }
    return try await trial.value("SELECT state FROM migrate.runs WHERE run = \(arguments[1])") == "reverted"
  }

  /// What is wrong with a run that has completed; empty when nothing is.
  func complaints(afterApplying run: Int64) async throws -> [String] {
    var complaints: [String] = []
    let wrong = try await wrong(run)
    if wrong != Wrong() { complaints.append("\(wrong)") }
    let counts = try await counts(run)
    if counts != ["\(rows - 1)", "\(rows - 1)", "0"] { complaints.append("the ledger counts \(counts)") }
    if let state = try await trial.state(run), state != "completed" { complaints.append("the run is \(state)") }
    let different = try await trial.value(
      """
      SELECT count(*) FROM shop.products AS p FULL JOIN shop.twin AS t USING (id)
      WHERE  p.price IS DISTINCT FROM CASE WHEN t.status = 'active' THEN t.price * 2 ELSE t.price END
      """)
    if different != "0" { complaints.append("\(different ?? "") rows are not as one statement would have made them") }
    let runs = try await trial.value("SELECT count(*) FROM migrate.runs")
    if runs != "1" { complaints.append("there are \(runs ?? "") runs") }
    return complaints
  }

  func complaints(afterReverting run: Int64) async throws -> [String] {
    var complaints: [String] = []
    let strangers = try await strangers
    if !strangers.isEmpty { complaints.append("not as at the start: \(strangers.prefix(3))") }
    if let state = try await trial.state(run), state != "reverted" { complaints.append("the run is \(state)") }
    let counts = try await counts(run, kind: "revert")
    if counts != ["\(rows - 1)", "\(rows - 1)", "0"] { complaints.append("the ledger counts \(counts) taken back") }
    return complaints
  }
}
