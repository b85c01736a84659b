package import MigrateCompiler
package import MigrateDefinition
internal import MigrateDiagnostics
package import MigrateLedger
package import MigratePostgres
internal import MigrateRunner
package import MigratePlan

/// How `apply` is asked for.
package struct ApplyRequest: Sendable {
  /// Run what is complete once more.
  package var again = false
  /// Although another unfinished run writes the same columns.
  package var concurrent = false
  package var reason: String?
  package var version = "0"

  package init() {}
}

/// What `apply` found when it looked at the ledger.
package enum ApplyTarget: Sendable {
  /// Nothing of it has run, or all of it was taken back.
  case new
  /// A run of it stopped on the way; its stored plan goes on.
  case unfinished(RunSummary)
  /// It is complete; `changed` when the file has another text since.
  case complete(RunSummary, changed: Bool)
}

/// Why a run cannot begin or go on.
package enum RunRefusal: Error, Sendable {
  case database(PostgresError)
  case ledger(UpgradeError)
  /// With a sentence and a remedy.
  case refused(String, remedy: String)
  /// What was asked cannot be meant, whatever the database holds.
  case usage(String, remedy: String)
  /// The run stands still, and only who resumes it lets it go on.
  case paused(Int64, String, remedy: String)
}

/// Begins runs, goes on with them, and takes them back: the one way that leads from a definition to its rows.
package struct Runs: ~Copyable {
  let server: Server
  let connection: Connection

  package init(on server: Server) throws(RunRefusal) {
    self.server = server
    do throws(PostgresError) { connection = try Connection(to: server) } catch { throw .database(error) }
  }

  /// Whether the definition has run already, or is on its way. Works before there is a ledger.
  package borrowing func target(_ compilation: Compilation, _ definition: Definition) throws(RunRefusal) -> ApplyTarget
  {
    try asking { connection throws(PostgresError) in
      guard try Upgrade.version(connection) > 0 else { return .new }
      let hash = try Self.hash(of: definition, connection)
      let plan = compilation.plan
      if let run = try Ledger.activeRun(connection, name: plan.definition, searchPath: plan.searchPath) {
        return .unfinished(run)
      }
      // A further run does what has changed since.
      if plan.incremental == nil, let run = try Ledger.completedRun(connection, identity: plan.identity) {
        return .complete(run, changed: !run.definitionHash.utf8.elementsEqual(hash.utf8))
      }
      return .new
    }
  }

  /// What a run that was ended half-way has left of the same definition; `nil`: nothing, or another one has run since.
  package borrowing func leftHalfDone(_ plan: Plan) throws(RunRefusal) -> String? {
    let last = try asking { (connection) throws(PostgresError) -> (run: RunSummary, rows: Int)? in
      guard try Upgrade.version(connection) > 0,
        let run = try Ledger.newestRun(connection, name: plan.definition), run.state == .cancelled
      else { return nil }
      return (run, try Ledger.counts(connection, run.id, .apply).changed)
    }
    guard let last, last.rows > 0 else { return nil }
    let kept = try undoReason(last.run.id) == nil
    return
      "run \(last.run.id) was cancelled when it had changed \(last.rows) \(last.rows == 1 ? "row" : "rows"); what it changed stays so, and this run meets it as it is now"
      + (kept ? ". `migrate revert \(last.run.id)` takes them back first" : "")
  }

  /// Begins a run of the plan and returns its number.
  package borrowing func begin(
    _ compilation: Compilation, _ definition: Definition, _ request: ApplyRequest
  ) throws(RunRefusal) -> Int64 {
    try upgrade()
    let plan = compilation.plan
    let missing = try asking { (connection) throws(PostgresError) in try Ledger.missing(connection, needs: plan.needs) }
    if let first = missing.first {
      throw .refused(
        "\(plan.definition) needs \(missing.map(\.words).joined(separator: ", ")), not complete yet",
        remedy: first.mending ?? "first: `migrate apply \(first.name)`")
    }
    let moved = try asking { (connection) throws(PostgresError) in
      try Ledger.movedCollations(connection, of: plan.json)
    }
    try refuse(moved, then: "again")
    try checkBefore(plan)
    let begun: Begun
    do throws(PostgresError) { begun = try start(plan, definition, request) } catch {
      if connection.transactionStatus != .idle { _ = try? connection.execute("ROLLBACK") }
      if error.constraint == "one_active" {
        throw .refused(
          "a run of \(plan.definition) has begun in this moment", remedy: "look at it: `migrate status`")
      }
      throw .database(error)
    }
    switch begun {
    case .run(let run): return run
    case .overlapping(let other):
      throw .refused(
        "run \(other.id) of \(other.name) is unfinished and writes the same columns",
        remedy: other.direction == .revert
          ? "finish it: `migrate revert \(other.id)`, where rows were changed since with `--on-conflict skip` or `force`"
          : "wait for it, cancel it, or say `--concurrent`: the two then meet row by row")
    }
  }

  /// What came of an attempt to begin; of a run that would overlap with another one nothing stays.
  private enum Begun {
    case run(Int64)
    case overlapping(RunSummary)
  }

  private borrowing func start(
    _ plan: Plan, _ definition: Definition, _ request: ApplyRequest
  ) throws(PostgresError) -> Begun {
    // Who begins the same at this moment waits for us, and shall not do so for ever if this client is stopped.
    try connection.execute(
      "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL idle_in_transaction_session_timeout = '60s'")
    let run = try Ledger.begin(
      connection, plan: plan.json, definition: String(decoding: definition.source.bytes, as: UTF8.self),
      version: request.version, clientHost: Worker.hostName, reason: request.reason)
    if !request.concurrent, let other = try Ledger.concurrentRuns(connection, with: run).first {
      try connection.execute("ROLLBACK")
      return .overlapping(other)
    }
    guard let begun = try Ledger.run(connection, run) else { throw .unreadable("run \(run) is not there") }
    for statement in begun.statements(.prepare) { try connection.run(statement, Bindings()) }
    if plan.isFrozen { try connection.query("SELECT migrate.note_own_tables($1::bigint)", [String(run)]) }
    try connection.execute("COMMIT")
    return .run(run)
  }

  /// `checks: before`, in a transaction of their own: when one finds a row, nothing starts.
  private borrowing func checkBefore(_ plan: Plan) throws(RunRefusal) {
    for check in plan.statements(.before) {
      let values = plan.parameters.reduce(into: [String: String?]()) { $0.updateValue($1.value, forKey: ":" + $1.name) }
      let found = try asking { (connection) throws(PostgresError) in
        try connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; " + plan.settings)
        let now = try connection.query("SELECT to_json(now()) #>> '{}' AS now").onlyRow.text("now")
        let arguments = check.arguments.map { $0 == ":started_at" ? now : values[$0] ?? nil }
        let rows = try connection.query(check.text, arguments)
        let shown = try rows.map { (row) throws(PostgresError) in try row.text(0) }
        try connection.execute("COMMIT")
        return shown
      }
      guard found.isEmpty else {
        throw .refused(
          "\(check.name) found rows, so nothing has started:\n  " + found.joined(separator: "\n  "),
          remedy: "mend the rows, or the check")
      }
    }
  }

  /// A ledger made by an older program lacks functions that this one calls.
  borrowing func upgrade() throws(RunRefusal) {
    try asking { (connection) throws(PostgresError) in try Ledger.refuseReadOnly(connection) }
    do throws(UpgradeError) { try Upgrade.run(connection) } catch { throw .ledger(error) }
  }

  /// Takes the run over, so that nobody else works on it, and makes it run.
  ///
  /// - Parameters:
  ///   - isResumed: whether somebody has asked for it, which ends what a canary waits for.
  ///   - only: the direction that is meant; who has turned the run since it was looked at keeps it.
  package borrowing func enter(
    _ run: Int64, reason: String? = nil, isResumed: Bool = false, only: RunDirection? = nil
  ) throws(RunRefusal) -> Run {
    try upgrade()
    let (applying, moved) = try asking { (connection) throws(PostgresError) in
      let applying = try Ledger.summary(connection, run)?.direction == .apply
      return (applying, try Ledger.movedCollations(connection, of: run, applying: applying))
    }
    try refuse(
      moved,
      then: applying
        ? "`migrate revert \(run)` and apply anew: batches of two orders pass rows over" : "`migrate resume \(run)`")
    let taken = try taking(run) { (connection) throws(PostgresError) in
      if let only, try Ledger.summary(connection, run)?.direction != only { return }
      let state = try Ledger.standing(connection, run).state
      if state == .cancelling { try Ledger.advance(connection, run, .batchEdgeReached) }
      let asked = [String(run), reason, Worker.hostName]
      if isResumed { try connection.query("SELECT migrate.end_canary($1::bigint, $2::text, $3::text)", asked) }
      try connection.query("SELECT migrate.go_on($1::bigint, $2::text, $3::text)", asked)
    }
    if let only, taken.direction != only { throw Self.takenBack(taken.id, taken.name) }
    return taken
  }

  /// Takes the run over and moves it by `body`, while nobody else can take it over; the run as it is then, in the epoch that was taken.
  /// Read later it could be in the next one's, and two would work in one epoch.
  ///
  /// - Parameter remedy: what to do when somebody works on it; `nil` is to watch and steer it.
  borrowing func taking(
    _ run: Int64, whileWorkedOn remedy: String? = nil,
    _ body: (borrowing Connection) throws(PostgresError) -> Void = { _ in }
  ) throws(RunRefusal) -> Run {
    let epoch = try takeOver(run, whileWorkedOn: remedy)
    var taken: Run?
    let isOurs = try asking { (connection) throws(PostgresError) in
      try Ledger.fenced(connection, run, epoch: epoch) { (connection) throws(PostgresError) in
        try body(connection)
        // Until its worker has a connection of its own, so that whoever comes meanwhile sees that somebody is at work.
        try connection.query(
          "SELECT migrate.enlist($1::bigint, 1, $2::integer, $3::text)", [String(run), String(epoch), Worker.hostName])
        taken = try Ledger.run(connection, run)
      }
    }
    guard isOurs, let taken else { throw Self.beaten(run) }
    return taken
  }

  private static func takenBack(_ run: Int64, _ name: String) -> RunRefusal {
    .refused("run \(run) of \(name) is being taken back", remedy: "finish that: `migrate revert \(run)`")
  }

  private static func beaten(_ run: Int64) -> RunRefusal {
    .refused("run \(run) has just been taken over by somebody else", remedy: "`migrate status \(run)`")
  }

  /// An index that an older version of the library has built is walked past rows.
  borrowing func refuse(_ moved: [MovedCollation], then: String) throws(RunRefusal) {
    guard let first = moved.first else { return }
    throw .refused("the order of the key has changed: \(first.moved)", remedy: "`\(first.cure)`; then \(then)")
  }

  borrowing func takeOver(_ run: Int64, whileWorkedOn remedy: String? = nil) throws(RunRefusal) -> Int {
    do throws(TakeOverError) { return try Ledger.takeOver(connection, run) } catch {
      switch error {
      case .database(let error): throw .database(error)
      case .beaten: throw Self.beaten(run)
      case .working(let sign):
        let who = sign.map { "backend \($0.pid)" + ($0.host.map { " for a client on \($0)" } ?? "") } ?? "somebody"
        throw .refused(
          "run \(run) is being worked on by \(who)",
          remedy: remedy
            ?? "watch it: `migrate status \(run) --watch`; steer it: `migrate pause \(run)`, `migrate resume \(run)`")
      }
    }
  }

  /// As the ledger has it: whether a file has another text since.
  static func hash(of definition: Definition, _ connection: borrowing Connection) throws(PostgresError) -> String {
    try connection.sha256(of: String(decoding: definition.source.bytes, as: UTF8.self))
  }

  /// What the database answers; its refusal ends the transaction, if one is open.
  borrowing func asking<Value>(
    _ question: (borrowing Connection) throws(PostgresError) -> Value
  ) throws(RunRefusal) -> Value {
    do throws(PostgresError) { return try question(connection) } catch {
      if !error.endsConnection, connection.transactionStatus != .idle { _ = try? connection.execute("ROLLBACK") }
      throw .database(error)
    }
  }
}

extension Runs {
  /// An unfinished run goes on with the plan it has stored; it is refused when the file or the parameters say something else now.
  package borrowing func refuseOther(
    _ run: RunSummary, than plan: Plan, _ definition: Definition
  ) throws(RunRefusal) {
    let cure =
      "`migrate resume \(run.id)` goes on as it was begun; "
      + "`migrate cancel \(run.id) --revert` takes back what it has done, then apply anew"
    guard run.direction == .apply else { throw Self.takenBack(run.id, run.name) }
    if let breach = try asking({ (connection) throws(PostgresError) in try Ledger.breach(connection, run.id) }) {
      throw .paused(
        run.id, "run \(run.id) of \(run.name) is paused: \(breach.reason)", remedy: breach.remedy)
    }
    guard run.identity.utf8.elementsEqual(plan.identity.utf8) else {
      throw .refused("run \(run.id) of \(run.name) is unfinished and has other parameters", remedy: cure)
    }
    let hash = try asking { (connection) throws(PostgresError) in try Self.hash(of: definition, connection) }
    guard run.definitionHash.utf8.elementsEqual(hash.utf8) else {
      throw .refused("\(definition.source.path) has changed while run \(run.id) is unfinished", remedy: cure)
    }
  }
}

extension Connection {
  /// SHA-256 of `text` in hexadecimal, by the database: this program brings no such function along.
  borrowing func sha256(of text: String) throws(PostgresError) -> String {
    try query("SELECT encode(sha256(convert_to($1::text, 'UTF8')), 'hex') AS hash", [text]).onlyRow.text("hash")
  }
}
