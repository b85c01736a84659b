internal import Glibc
package import MigrateLedger
internal import MigratePostgres
internal import MigrateRunner

/// How far a request to a run has come.
package enum Steered: Sendable, Equatable {
  /// The run is in the state that was asked for.
  case reached(RunState)
  /// A worker is busy with a batch; the run follows at its edge.
  case busy(RunState, WorkerSign?)
  /// Another state came first: an end, a failure, or what somebody else has asked for.
  case other(RunState)
}

/// What can be asked of a run from any session and any machine.
extension Runs {
  /// Asks the run to pause at the edge of its batch, and waits for that up to `patience`. Without a worker it is paused here.
  package borrowing func pause(
    _ run: Int64, reason: String?, patience: Duration = .seconds(10)
  ) throws(RunRefusal) -> Steered {
    if try refuseStanding(run) == .paused { return .reached(.paused) }
    do throws(RunRefusal) { try request("SELECT migrate.pause($1::bigint, $2::text, $3::text)", run, reason) } catch {
      // It has ended since.
      _ = try refuseStanding(run)
      throw error
    }
    return try reach(.paused, run, patience: patience)
  }

  /// The state of a run that can be paused, or is; `migrate.pause` refuses the others in the same words.
  private borrowing func refuseStanding(_ run: Int64) throws(RunRefusal) -> RunState {
    let state = try find(String(run)).state
    switch state {
    case .running, .holding, .reverting, .pausing, .paused: return state
    case .failed:
      throw .refused("run \(run) stands still already: it has failed", remedy: "why: `migrate status \(run)`")
    case .cancelling, .cancelled, .completed, .reverted:
      throw .refused("run \(run) is \(state.rawValue), so there is nothing to pause", remedy: "`migrate status \(run)`")
    }
  }

  /// Asks the run to end at the edge of its batch; what is committed stays.
  package borrowing func cancel(
    _ run: Int64, reason: String?, patience: Duration = .seconds(10)
  ) throws(RunRefusal) -> Steered {
    try request("SELECT migrate.cancel($1::bigint, $2::text, $3::text)", run, reason)
    return try reach(.cancelled, run, patience: patience)
  }

  /// Changes how fast an unfinished run goes, from its next batch on; all that was asked of it so far.
  package borrowing func tune(
    _ run: Int64, _ tuning: Tuning, reason: String? = nil
  ) throws(RunRefusal) -> Tuning {
    try refuseEnded(run)
    do throws(RunRefusal) {
      return try asking { (connection) throws(PostgresError) in
        try Ledger.tune(connection, run, tuning, reason: reason, host: Worker.hostName)
      }
    } catch {
      // It has ended since.
      try refuseEnded(run)
      throw error
    }
  }

  private borrowing func refuseEnded(_ run: Int64) throws(RunRefusal) {
    let state = try find(String(run)).state
    guard state.hasEnded else { return }
    throw .refused("run \(run) is \(state.rawValue), so there is nothing to tune", remedy: "`migrate status \(run)`")
  }

  /// Refuses, before anybody is asked, what cannot be cancelled; a run that is cancelled already is what was asked for.
  package borrowing func cancellable(_ run: Int64) throws(RunRefusal) -> RunSummary {
    let summary = try find(String(run))
    if summary.state.hasEnded, summary.state != .cancelled {
      let hasUndo = try undoReason(run) == nil
      let canReturn = summary.state == .completed && hasUndo
      let way = canReturn ? "take it back: `migrate revert \(run)`" : "`migrate status \(run)`"
      throw .refused("run \(run) is \(summary.state.rawValue), so there is nothing to cancel", remedy: way)
    }
    if summary.direction == .revert {
      throw .refused(
        "run \(run) is being taken back, which has no half-way end",
        remedy: "`migrate pause \(run)` stops it for now, `migrate resume \(run)` finishes it")
    }
    return summary
  }

  /// What the ledger makes of it: the run's state then.
  @discardableResult
  private borrowing func request(
    _ statement: StaticString, _ run: Int64, _ reason: String?
  ) throws(RunRefusal) -> RunState {
    try asking { (connection) throws(PostgresError) in
      try Ledger.state(connection.query("\(statement)", [String(run), reason, Worker.hostName]).onlyRow.text(0))
    }
  }

  private borrowing func reach(
    _ wanted: RunState, _ run: Int64, patience: Duration
  ) throws(RunRefusal) -> Steered {
    let deadline = ContinuousClock.now + patience
    while true {
      let (state, isWorking) = try asking { (connection) throws(PostgresError) in
        (try Ledger.standing(connection, run).state, try Ledger.isWorking(connection, run))
      }
      if state == wanted { return .reached(state) }
      switch state {
      case .pausing where wanted == .paused, .cancelling where wanted == .cancelled: break
      case .running, .holding, .pausing, .paused, .failed, .cancelling, .cancelled, .completed, .reverting, .reverted:
        return .other(state)
      }
      if !isWorking, try moveWithoutWorker(run) { continue }
      guard ContinuousClock.now < deadline else {
        let sign = try asking { (connection) throws(PostgresError) in try Ledger.workerSign(connection, run) }
        return .busy(state, sign)
      }
      usleep(50_000)
    }
  }

  /// Nobody is there who could reach the batch's edge: the run stands at one. The takeover keeps out a worker that was only
  /// stopped and wakes up again.
  private borrowing func moveWithoutWorker(_ run: Int64) throws(RunRefusal) -> Bool {
    let epoch: Int
    do throws(TakeOverError) { epoch = try Ledger.takeOver(connection, run, patience: .zero) } catch {
      switch error {
      case .working, .beaten: return false
      case .database(let error): throw .database(error)
      }
    }
    var isMoved = false
    _ = try asking { (connection) throws(PostgresError) in
      try Ledger.fenced(connection, run, epoch: epoch) { (connection) throws(PostgresError) in
        isMoved = try Ledger.advance(connection, run, .batchEdgeReached) != nil
      }
    }
    return isMoved
  }
}

/// What `resume` found.
package enum Resumed: Sendable {
  /// A client that stayed goes on with it.
  case elsewhere(WorkerSign?)
  /// Nobody works on it: it is this program's now.
  case here(Run)
}

extension Runs {
  /// Lets a run go on that is paused, failed or interrupted, whichever way it goes.
  package borrowing func resume(_ number: Int64, reason: String? = nil) throws(RunRefusal) -> Resumed {
    let summary = try find(String(number))
    switch summary.state {
    case .running, .holding, .pausing, .paused, .failed, .reverting: break
    case .cancelling, .cancelled, .completed, .reverted: throw Self.nothingToResume(summary, summary.state)
    }
    let (isWorking, sign) = try asking { (connection) throws(PostgresError) in
      (try Ledger.isWorking(connection, number), try Ledger.workerSign(connection, number))
    }
    if isWorking {
      let waits =
        switch summary.state {
        case .paused, .pausing: true
        case .holding:
          try asking { connection throws(PostgresError) in try Ledger.waitsBehindCanary(connection, number) }
        case .running, .failed, .cancelling, .cancelled, .completed, .reverting, .reverted: false
        }
      guard waits else {
        throw .refused(
          "run \(number) goes on already: a worker is at it", remedy: "watch it: `migrate status \(number) --watch`")
      }
      let state = try request("SELECT migrate.resume($1::bigint, $2::text, $3::text)", number, reason)
      switch state {
      case .running, .holding, .pausing, .paused, .failed, .reverting: return .elsewhere(sign)
      // Somebody was faster.
      case .cancelling, .cancelled, .completed, .reverted: throw Self.nothingToResume(summary, state)
      }
    }
    return .here(try enter(number, reason: reason, isResumed: true))
  }

  private static func nothingToResume(_ run: RunSummary, _ state: RunState) -> RunRefusal {
    .refused(
      "run \(run.id) is \(state.rawValue), so there is nothing to resume",
      remedy: "anew: `migrate apply \(run.name)\(state == .completed ? " --again" : "")`")
  }
}
