import Foundation
import Migrate
import MigrateLedger
import MigratePostgres
import MigrateRunner
import MigrateTestSupport
import RunTestSupport
import TestSupport
import Testing

/// P16; sessions that ask one run for different things at once, held against a model of what may follow.
@Suite struct `Requests that race` {
  @Test func `P16: move a run only as the model says, and none of them is lost`() async throws {
    var random = Torture.random("requests")
    for round in 1...Torture.count(3, torture: 150) {
      let race = Race.random(&random)
      try await withLedger { server in
        let complaints = try await race.run(on: server)
        #expect(complaints == [], "SEED=\(Torture.seed), round \(round): \(race)")
      }
    }
  }
}

/// Sessions, each with what it asks for one after the other.
private struct Race: Sendable, CustomStringConvertible {
  struct Ask: Sendable {
    let request: RequestModel.Request
    /// Milliseconds before it.
    let pause: Int
    /// Milliseconds after which whoever works is told to leave at the edge of its batch.
    let leavesAfter: Int?
  }

  let workers: Int
  let sessions: [[Ask]]

  var description: String {
    "\(workers) workers; "
      + sessions.map { $0.map { "\($0.pause) \($0.request)" + ($0.leavesAfter.map { " for \($0)" } ?? "") } }
      .description
  }

  /// Two sessions apply at once; what they and the others ask for then is chosen.
  static func random(_ random: inout SplitMix) -> Race {
    let sessions = (0..<5).map { session in
      (0..<Int.random(in: 2...4, using: &random)).map { number in
        let any: [RequestModel.Request] = [.pause, .pause, .resume, .resume, .cancel, .tune, .apply, .revert]
        let request = session < 2 && number == 0 ? .apply : any.randomElement(using: &random) ?? .apply
        let pause = session < 2 && number == 0 ? 0 : Int.random(in: 0...120, using: &random)
        let leaves = Int.random(in: 0..<3, using: &random) == 0 ? Int.random(in: 10...200, using: &random) : nil
        return Ask(request: request, pause: pause, leavesAfter: leaves)
      }
    }
    return Race(workers: Bool.random(using: &random) ? 1 : 2, sessions: sessions)
  }

  var definition: String {
    "batch: prices\nsource: items\nset: {price: price * 2}\nbatch_size: 5\nparallel: \(workers)"
  }

  /// What is wrong in the end.
  func run(on server: Server) async throws -> [String] {
    let desk = Desk(server: server, definition: definition)
    try await desk.open()
    var asked = try await withThrowingTaskGroup(of: [Asked].self) { group in
      for (session, asks) in sessions.enumerated() {
        group.addTask {
          var asked: [Asked] = []
          for (number, ask) in asks.enumerated() {
            try await Task.sleep(for: .milliseconds(ask.pause))
            asked.append(try await desk.ask(ask, reason: "session \(session), \(number)"))
          }
          return asked
        }
      }
      // Who waits for a run that is paused would do so for ever.
      group.addTask { try await desk.resumeWhatWaits(upTo: sessions.count) }
      var all: [Asked] = []
      while let some = try await group.next() {
        all += some
        desk.leave()
      }
      return all
    }
    asked += try await desk.finish()
    return try await desk.complaints(about: asked)
  }
}

/// What was asked for, and the answer.
private struct Asked: Sendable {
  let request: RequestModel.Request
  let reason: String
  let run: Int64
  /// Microseconds by the server's clock.
  let begun: Int
  let ended: Int
  let answer: RequestModel.Answer
}

/// Where requests are made: as the command line makes them.
private final class Desk: Sendable {
  private let server: Server
  private let definition: String
  private let left = Counter()

  init(server: Server, definition: String) {
    self.server = server
    self.definition = definition
  }

  /// A session has asked for all that it wanted.
  func leave() { left.add() }

  func open() async throws {
    try await withConnection(to: server) { connection in try Upgrade.run(connection) }
    try await server.psql(
      """
      CREATE TABLE items (id bigint PRIMARY KEY, price numeric NOT NULL);
      INSERT INTO items SELECT n, n FROM generate_series(1, 250) AS n;
      CREATE SCHEMA watch;
      CREATE TABLE watch.steps (
        seq bigint GENERATED ALWAYS AS IDENTITY, run bigint, state text, direction text,
        at bigint DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);
      CREATE FUNCTION watch.step() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        IF TG_OP = 'INSERT' OR (OLD.state, OLD.direction) IS DISTINCT FROM (NEW.state, NEW.direction) THEN
          INSERT INTO watch.steps (run, state, direction) VALUES (NEW.run, NEW.state, NEW.direction);
        END IF;
        RETURN NULL;
      END $$;
      CREATE TRIGGER watch AFTER INSERT OR UPDATE ON migrate.runs FOR EACH ROW EXECUTE FUNCTION watch.step();
      """)
  }

  /// Asks the newest run.
  func ask(_ ask: Race.Ask, reason: String) async throws -> Asked {
    let (server, definition) = (server, definition)
    return try await onThread {
      let (begun, newest) = try Self.now(server)
      let control = RunControl()
      if let after = ask.leavesAfter {
        Thread.detachNewThread {
          usleep(UInt32(after * 1_000))
          control.requestStop()
        }
      }
      let (run, answer) =
        ask.request == .apply
        ? try Self.apply(definition, on: server, reason: reason, control)
        : (newest, newest == 0 ? .beaten : try Self.answer(to: ask.request, newest, on: server, reason, control))
      return Asked(
        request: ask.request, reason: reason, run: run, begun: begun, ended: try Self.now(server).time, answer: answer)
    }
  }

  /// Microseconds by the server's clock, and the newest run, 0 for none.
  private static func now(_ server: Server) throws -> (time: Int, newest: Int64) {
    let connection = try Connection(to: server)
    let row = try connection.query(
      """
      SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now, (SELECT coalesce(max(run), 0) FROM migrate.runs) AS run
      """
    ).onlyRow
    return (try row.int("now"), try row.int64("run"))
  }

  private static func answer(
    to request: RequestModel.Request, _ run: Int64, on server: Server, _ reason: String, _ control: RunControl
  ) throws -> RequestModel.Answer {
    let runs = try Runs(on: server)
    do {
      switch request {
      case .apply: return .beaten
      case .pause: return RequestModel.Answer(try runs.pause(run, reason: reason))
      case .cancel:
        _ = try runs.cancellable(run)
        return RequestModel.Answer(try runs.cancel(run, reason: reason))
      case .resume:
        switch try runs.resume(run, reason: reason) {
        case .elsewhere: return .heard
        case .here(let run): return try work(on: run, runs, control)
        }
      case .tune:
        _ = try runs.tune(run, Tuning(batchSize: 1 + Int(run) % 9))
        return .heard
      case .revert:
        let entered = try runs.enterRevert(runs.find(String(run)), onConflict: .stop, reason: reason)
        return try work(on: entered, runs, control)
      }
    } catch { return try refusal(error) }
  }

  /// What a refusal tells; any other error is none that may come.
  private static func refusal(_ error: any Error) throws -> RequestModel.Answer {
    guard case RunRefusal.refused(let words, _) = error else { throw error }
    let others = [
      "being worked on", "taken over", "has begun in this moment", "is unfinished", "came later",
    ]
    return others.contains { words.contains($0) } ? .beaten : .refused(words)
  }

  private static func apply(
    _ text: String, on server: Server, reason: String, _ control: RunControl
  ) throws -> (Int64, RequestModel.Answer) {
    let definition = try Definition(SourceText(path: "prices.yaml", bytes: Array(text.utf8)))
    let compilation = try Migrate.Session(to: server).compile(definition, CompileRequest())
    let runs = try Runs(on: server)
    var number: Int64 = 0
    do {
      switch try runs.target(compilation, definition) {
      case .complete(let run, _): return (run.id, .refused("is already applied"))
      case .unfinished(let run):
        number = run.id
        try runs.refuseOther(run, than: compilation.plan, definition)
      case .new:
        var request = ApplyRequest()
        request.reason = reason
        number = try runs.begin(compilation, definition, request)
      }
      return (number, try work(on: runs.enter(number, reason: reason), runs, control))
    } catch { return (number, try refusal(error)) }
  }

  private static func work(
    on run: Run, _ runs: borrowing Runs, _ control: RunControl
  ) throws -> RequestModel.Answer {
    let outcome =
      switch run.direction {
      case .apply: try runs.apply(run, control: control) { _ in }
      case .revert: try runs.revert(run, onConflict: .stop, control: control) { _ in }
      }
    switch outcome {
    case .completed: return .state(.completed)
    case .cancelled: return .state(.cancelled)
    case .reverted: return .state(.reverted)
    case .paused: return .state(run.direction == .apply ? .paused : .revertPaused)
    case .takenOver: return .beaten
    case .failed, .pausedByServer, .conflicts: throw TestSupportError("run \(run.id): \(outcome)")
    }
  }

  /// Lets go on what stands still with a client that stayed, until all sessions have left.
  func resumeWhatWaits(upTo sessions: Int) async throws -> [Asked] {
    while left.value < sessions {
      try await Task.sleep(for: .milliseconds(100))
      let waits = try await server.psql(
        """
        SELECT r.run FROM migrate.runs AS r
        WHERE  r.state = 'paused' AND migrate.is_working(r.run)
          AND  (SELECT max(at) FROM watch.steps AS s WHERE s.run = r.run) < extract(epoch FROM clock_timestamp()) * 1000000 - 400000
        """)
      if let run = waits.first?.first ?? nil { try await server.psql("SELECT migrate.resume(\(run), 'nobody else')") }
    }
    return []
  }

  /// Brings the newest run to its end, which a request that was answered may not have waited for.
  func finish() async throws -> [Asked] {
    var asked: [Asked] = []
    for attempt in 1...20 {
      let state =
        try await server.psql("SELECT state, direction FROM migrate.runs ORDER BY run DESC LIMIT 1").first ?? []
      guard let word = state.first ?? nil, !["completed", "cancelled", "reverted"].contains(word) else { return asked }
      let request: RequestModel.Request = state.last == "revert" ? .revert : .apply
      asked.append(
        try await ask(Race.Ask(request: request, pause: 0, leavesAfter: nil), reason: "finish \(attempt)"))
    }
    return asked
  }
}

extension Desk {
  func complaints(about asked: [Asked]) async throws -> [String] {
    var complaints: [String] = []
    let steps = try await steps(&complaints)
    for one in asked where one.run != 0 {
      let states = Self.states(of: steps[one.run] ?? [], from: one.begun, to: one.ended)
      if !RequestModel.allows(one.answer, to: one.request, in: states) {
        complaints.append(
          "\(one.reason): \(one.request) of run \(one.run) was answered \(one.answer), in \(states.map(\.rawValue).sorted())"
        )
      }
    }
    complaints += try await wrongRows() + wrongBatches() + lostRequests()
    return complaints
  }

  private typealias Step = (state: RequestModel.State, at: Int)

  /// The states of each run in their order; complains of one that does not follow upon the one before, or is no end.
  private func steps(_ complaints: inout [String]) async throws -> [Int64: [Step]] {
    var steps: [Int64: [Step]] = [:]
    for row in try await server.psql("SELECT run, state, direction, at FROM watch.steps ORDER BY seq") {
      let texts = row.map { $0 ?? "" }
      guard let run = Int64(texts[0]), let at = Int(texts[3]),
        let state = RequestModel.State(state: texts[1], direction: texts[2])
      else {
        complaints.append("a run is in a state that the model does not know: \(texts)")
        continue
      }
      if let before = steps[run]?.last?.state, !before.mayFollow.contains(state) {
        complaints.append("run \(run) went from \(before) to \(state)")
      }
      steps[run, default: []].append((state, at))
    }
    for (run, states) in steps {
      if let last = states.last?.state, !last.isEnd { complaints.append("run \(run) does not end, it is \(last)") }
    }
    return steps
  }

  /// In which states a run may have been seen: a step is seen when it is committed, at most when the next one is made.
  private static func states(of steps: [Step], from begun: Int, to ended: Int) -> Set<RequestModel.State> {
    let before = steps.prefix { $0.at <= begun }.suffix(2)
    let during = steps.filter { $0.at > begun && $0.at <= ended }
    return Set((before + during).map(\.state))
  }

  /// Each price is doubled once by each run of whose batches one that is not taken back holds the row.
  private func wrongRows() async throws -> [String] {
    try await server.psql(
      """
      SELECT format('row %s is %s behind %s runs', i.id, i.price, c.runs)
      FROM   items AS i
      CROSS  JOIN LATERAL (
        SELECT count(*) AS runs
        FROM   migrate.batches AS b
        WHERE  b.kind = 'apply' AND i.id > coalesce(b.after_key[1]::bigint, 0) AND i.id <= b.through_key[1]::bigint
          AND  NOT EXISTS (SELECT FROM migrate.batches AS r
                           WHERE (r.run, r.kind, r.slice, r.ordinal, r.part) = (b.run, 'revert', b.slice, b.ordinal, b.part))) AS c
      WHERE  i.price <> i.id * 2 ^ c.runs
      UNION  ALL
      SELECT format('run %s is %s with %s of 250 rows', r.run, r.state, c.rows)
      FROM   migrate.runs AS r
      CROSS  JOIN LATERAL (SELECT coalesce(sum(CASE b.kind WHEN 'apply' THEN b.rows_changed ELSE -b.rows_changed END), 0) AS rows
                           FROM migrate.batches AS b WHERE b.run = r.run) AS c
      WHERE  r.state = 'completed' AND c.rows <> 250 OR r.state = 'reverted' AND c.rows <> 0
      ORDER  BY 1
      LIMIT  5
      """
    ).map { $0.first.flatMap { $0 } ?? "" }
  }

  /// Two at work on one slice at once, or one that was taken over and has committed behind the other.
  private func wrongBatches() async throws -> [String] {
    try await server.psql(
      """
      SELECT format('run %s: %s of batch %s of slice %s begins before the one before it has ended', b.run, b.kind, b.ordinal, b.slice)
      FROM  (SELECT b.*, lag(b.ended_at) OVER (PARTITION BY b.run, b.kind, b.slice ORDER BY b.seq) AS ended_before FROM migrate.batches AS b) AS b
      WHERE  b.started_at < b.ended_before
      UNION  ALL
      SELECT format('run %s: a batch of epoch %s behind one of epoch %s', b.run, b.epoch, b.epoch_before)
      FROM  (SELECT b.*, max(b.epoch) OVER (PARTITION BY b.run ORDER BY b.seq) AS epoch_before FROM migrate.batches AS b) AS b
      WHERE  b.epoch < b.epoch_before
      LIMIT  5
      """
    ).map { $0.first.flatMap { $0 } ?? "" }
  }

  /// As many steps as were asked for, each kind by itself. A revert that is paused goes on by `revert` as by `resume`;
  /// and a pause is also what a revert makes of a run whose worker is gone.
  private func lostRequests() async throws -> [String] {
    try await server.psql(
      """
      WITH steps AS (
        SELECT s.run, s.state, s.direction, lag(s.state) OVER w AS before, lag(s.direction) OVER w AS direction_before
        FROM   watch.steps AS s WINDOW w AS (PARTITION BY s.run ORDER BY s.seq)),
      asked AS (
        SELECT s.run, CASE WHEN s.direction <> s.direction_before THEN 'go on'
                           WHEN s.state = 'pausing' THEN 'pause'
                           WHEN s.state IN ('running', 'reverting') THEN 'go on'
                           WHEN s.state = 'cancelling' OR s.state = 'cancelled' AND s.before = 'paused' THEN 'cancel' END AS request
        FROM   steps AS s WHERE s.before IS NOT NULL)
      SELECT format('run %s: %s times %s in the ledger, %s steps by it', k.run, k.noted, k.request, k.made)
      FROM  (SELECT run, request, count(*) FILTER (WHERE is_noted) AS noted, count(*) FILTER (WHERE NOT is_noted) AS made
             FROM  (SELECT run, CASE WHEN request IN ('resume', 'revert') THEN 'go on' ELSE request END AS request, true AS is_noted FROM migrate.requests WHERE request <> 'tune'
                    UNION ALL SELECT run, request, false FROM asked WHERE request IS NOT NULL) AS u
             GROUP  BY run, request) AS k
      WHERE  k.noted <> k.made AND NOT (k.request = 'pause' AND k.noted < k.made)
      """
    ).map { $0.first.flatMap { $0 } ?? "" }
  }
}

extension RequestModel.Answer {
  fileprivate init(_ steered: Steered) {
    switch steered {
    case .reached(.paused): self = .state(.paused)
    case .reached(let state), .other(let state):
      self = RequestModel.State(rawValue: state.rawValue).map { .state($0) } ?? .refused("unknown state \(state)")
    case .busy(let state, _): self = .refused("still \(state) after ten seconds")
    }
  }
}
