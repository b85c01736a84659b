package import Migrate
import MigratePlan
package import TestSupport
import Synchronization

/// A session that a test steps; ``Migrate/Session`` has the same name.
package typealias NamedSession = TestSupport.Session

/// Runs of one database, as a test needs them: plan, begin, apply, revert, each in a line.
package struct Trial: Sendable {
  package let server: Server

  package init(_ server: Server) { self.server = server }

  /// What the compiler makes of `definition`.
  package func plan(_ definition: String) async throws -> Plan {
    let server = server
    return try await onThread {
      let definition = try Definition(SourceText(path: "test.yaml", bytes: Array(definition.utf8)))
      return try Migrate.Session(to: server).compile(definition, CompileRequest()).plan
    }
  }

  /// Begins a run of `plan`, which a test may have edited.
  package func begin(_ plan: Plan) async throws -> Int64 {
    try await withConnection(to: server) { connection in
      try Upgrade.run(connection)
      try connection.execute("BEGIN")
      let run = try Ledger.begin(
        connection, plan: plan.json, definition: "batch: \(plan.definition)", version: "test", clientHost: nil,
        reason: nil)
      guard let begun = try Ledger.run(connection, run) else { throw TestSupportError("run \(run) is not there") }
      for statement in begun.statements(.prepare) { try connection.run(statement, Bindings()) }
      try connection.execute("COMMIT")
      return run
    }
  }

  /// Enters the run and applies what is left of it.
  @discardableResult
  package func apply(_ run: Int64, control: RunControl = RunControl(), events: Events = Events()) async throws
    -> RunOutcome
  {
    let server = server
    return try await onThread {
      let runs = try Runs(on: server)
      let entered = try runs.enter(run)
      return try runs.apply(entered, control: control) { events.add($0) }
    }
  }

  /// Applies while `body` goes on. When that throws, the run is cancelled, so that the test fails and does not hang.
  package func applying(
    _ run: Int64, control: RunControl = RunControl(), events: Events = Events(), _ body: () async throws -> Void
  ) async throws -> RunOutcome {
    async let outcome = apply(run, control: control, events: events)
    do { try await body() } catch {
      control.requestCancel()
      throw error
    }
    return try await outcome
  }

  /// Reverts while `body` goes on; see ``applying(_:control:events:_:)``.
  package func reverting(
    _ run: Int64, _ policy: ConflictPolicy, control: RunControl = RunControl(), _ body: () async throws -> Void
  ) async throws -> RunOutcome {
    async let outcome = revert(run, policy, control: control)
    do { try await body() } catch {
      control.requestCancel()
      throw error
    }
    return try await outcome
  }

  /// Finds the run and takes it back.
  @discardableResult
  package func revert(
    _ run: Int64, _ policy: ConflictPolicy = .stop, control: RunControl = RunControl(), events: Events = Events()
  ) async throws -> RunOutcome {
    let server = server
    return try await onThread {
      let runs = try Runs(on: server)
      let entered = try runs.enterRevert(runs.find(String(run)), onConflict: policy)
      return try runs.revert(entered, onConflict: policy, control: control) { events.add($0) }
    }
  }

  /// The run as the ledger has it.
  package func run(_ id: Int64) async throws -> Run {
    try await withConnection(to: server) { connection in
      guard var run = try Ledger.run(connection, id) else { throw TestSupportError("there is no run \(id)") }
      // A short run would have no more than two workers at work.
      run.crew = .all
      return run
    }
  }

  /// The one value of a query.
  package func value(_ query: String) async throws -> String? {
    let rows = try await server.psql(query)
    guard rows.count == 1, let row = rows.first, let value = row.first else {
      throw TestSupportError("one value was expected of \(query), came \(rows)")
    }
    return value
  }

  package func state(_ run: Int64) async throws -> String? {
    try await value("SELECT state FROM migrate.runs WHERE run = \(run)")
  }

  /// Returns when `query` gives true; looks every few milliseconds.
  package func wait(until query: String, patience: Duration = .seconds(30)) async throws {
    try await withConnection(to: server.applicationName("monitor")) { connection in
      let deadline = ContinuousClock.now + patience
      while try !connection.query(query).onlyRow.bool(0) {
        guard ContinuousClock.now < deadline else { throw TestSupportError("in vain waited for \(query)") }
        try connection.execute("SELECT pg_sleep(0.002)")
      }
    }
  }

  /// Fixes the upper end of the keys, as a worker does before its first batch.
  package func bound(_ id: Int64) async throws {
    let run = try await run(id)
    guard !run.isBounded else { return }
    try await withConnection(to: server) { connection in
      let upper = try connection.run(run.statement(.bounds, .upper), Bindings(run.parameters)).first?.values
      let horizon = try connection.query("SELECT pg_snapshot_xmin(pg_current_snapshot())").onlyRow.text(0)
      try Ledger.bound(connection, id, upper: upper, horizon: horizon)
    }
  }

  /// Returns when a worker of a run waits for a lock that `session` holds.
  package func waitUntilWorkerBlocked(by session: NamedSession) async throws {
    let pid = try await session.pid
    try await wait(
      until: """
        SELECT EXISTS (SELECT FROM pg_stat_activity
                       WHERE datname = current_database() AND application_name LIKE 'migrate run%' AND \(pid) = ANY (pg_blocking_pids(pid)))
        """)
  }
}

/// What a run has reported.
package final class Events: Sendable {
  private let all = Mutex<[RunEvent]>([])
  private let reaction: (@Sendable (RunEvent) -> Void)?

  /// - Parameter reaction: is called with each event, on the worker's thread.
  package init(_ reaction: (@Sendable (RunEvent) -> Void)? = nil) { self.reaction = reaction }

  package func add(_ event: RunEvent) {
    all.withLock { $0.append(event) }
    reaction?(event)
  }

  /// Why batches were tried again.
  package var retries: [String] {
    all.withLock { $0 }.compactMap { if case .again(let failed) = $0 { failed.reason } else { nil } }
  }

  package var mostTries: Int {
    all.withLock { $0 }.map { if case .again(let failed) = $0 { failed.next } else { 1 } }.max() ?? 1
  }

  /// The numbers of those who have done batches.
  package var workers: Set<Int> {
    Set(all.withLock { $0 }.compactMap { if case .batch(let record) = $0 { record.worker } else { nil } })
  }

  package var reconnections: Int {
    all.withLock { $0 }.count { if case .reconnecting = $0 { true } else { false } }
  }

  /// Why nobody looks whether others wait.
  package var unwatched: [String] {
    all.withLock { $0 }.compactMap { if case .unwatched(let reason) = $0 { reason } else { nil } }
  }

  /// Whom the start has waited for.
  package var holders: [LockHolder] {
    all.withLock { $0 }.flatMap { event -> [LockHolder] in if case .waiting(let holders) = event { holders } else { [] }
    }
  }

  package var waitings: Int {
    all.withLock { $0 }.count { if case .waiting = $0 { true } else { false } }
  }
}
