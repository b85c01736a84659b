internal import Glibc
package import MigrateLedger
internal import MigratePostgres

/// Questions to the ledger that change nothing. Before there is a ledger the answer is: no runs.
extension Runs {
  /// Where the run stands.
  package borrowing func standing(_ run: Int64) throws(RunRefusal) -> RunStanding {
    let found = try asking { (connection) throws(PostgresError) in
      try Upgrade.version(connection) > 0 ? try Ledger.standings(connection, .run(run)) : []
    }
    guard let standing = found.first else {
      throw .refused("there is no run \(run)", remedy: "the runs: `migrate history`")
    }
    return standing
  }

  /// All runs that are not finished, and the last `few` that are; each newest first.
  package borrowing func standings(few: Int) throws(RunRefusal) -> (unfinished: [RunStanding], ended: [RunStanding]) {
    try asking { (connection) throws(PostgresError) in
      guard try Upgrade.version(connection) > 0 else { return ([], []) }
      return (
        try Ledger.standings(connection, .unfinished), try Ledger.standings(connection, .ended(limit: few))
      )
    }
  }

  /// The run meant by a number or a name, when its promises can be looked at again.
  package borrowing func verifiable(_ reference: String) throws(RunRefusal) -> RunSummary {
    let summary = try find(reference)
    guard summary.state != .completed else { return summary }
    // To resume one that did not find what it expects accepts that unseen.
    let isToBeSeen = try asking { (connection) throws(PostgresError) in
      let found = try Ledger.failure(connection, summary.id)?.sqlState
      return summary.state == .paused && [SQLState.notAsExpected, .canaryDone].contains { $0.code == found }
    }
    let goesOn = try asking { (connection) throws(PostgresError) in
      guard summary.state != .paused, summary.state != .failed else { return false }
      return try Ledger.isWorking(connection, summary.id)
    }
    let way =
      isToBeSeen
      ? "look at it: `migrate status \(summary.id)`" : "first: `migrate \(goesOn ? "wait" : "resume") \(summary.id)`"
    throw .refused(
      "run \(summary.id) of \(summary.name) is \(summary.state.rawValue), and only a completed run can be verified",
      remedy: summary.state.hasEnded ? "`migrate history` lists the runs" : way)
  }

  /// Who has asked the run to pause; `nil` when nobody has, but a signal or what the run has found.
  package borrowing func pausedBy(_ run: Int64) throws(RunRefusal) -> PauseInForce? {
    try upgrade()
    return try asking { (connection) throws(PostgresError) in try Ledger.pausedBy(connection, run) }
  }

  /// Every run, the newest first.
  package borrowing func history() throws(RunRefusal) -> [HistoryEntry] {
    try asking { (connection) throws(PostgresError) in
      try Upgrade.version(connection) > 0 ? try Ledger.history(connection) : []
    }
  }

  /// Looks at the run each second until it has ended, or stands and nobody is there to go on with it.
  package borrowing func follow(
    _ run: Int64, _ report: (RunStanding) -> Void
  ) throws(RunRefusal) -> RunStanding {
    var abandoned = 0
    while true {
      let standing = try standing(run)
      // A worker that connects again, after a restart of the server for instance, is gone for a moment.
      abandoned = standing.isInterrupted ? abandoned + 1 : 0
      let stands = standing.state == .failed || (standing.state == .paused && standing.worker == nil) || abandoned > 5
      if standing.state.hasEnded || stands { return standing }
      report(standing)
      usleep(1_000_000)
    }
  }

  /// What the ledger says the run has done in its present direction: the truth, whatever this program has seen of it (P19).
  /// Over a connection of its own: the one of this value may be older than a restart of the server.
  package borrowing func counts(_ run: Int64, _ direction: RunDirection) throws(RunRefusal) -> BatchCounts {
    do throws(PostgresError) {
      return try Ledger.counts(Connection(to: server), run, direction)
    } catch { throw .database(error) }
  }
}

/// That a run stands.
package struct Standstill: Sendable {
  package let since: String?
  package let why: String
}

extension RunRequest {
  /// Who has asked, and where.
  package var who: String { by + (host.map { " on \($0)" } ?? "") }
}

extension RunStanding {
  /// Why nothing seems to happen; `nil` when nothing holds it.
  package var hold: String? {
    if let worker = workers.first(where: { $0.waitsFor != nil }), let waitsFor = worker.waitsFor {
      let blockers = worker.blockers.isEmpty ? waitsFor : worker.blockers.joined(separator: "; ")
      return "a lock held by \(blockers)"
    }
    switch state {
    case .paused where worker != nil:
      return "`migrate resume \(id)`; its client" + (worker?.host.map { " on \($0)" } ?? "") + " stays and goes on then"
    case .paused: return "`migrate resume \(id)`"
    case .running where isInterrupted, .holding where isInterrupted, .reverting where isInterrupted,
      .pausing where isInterrupted,
      .cancelling where isInterrupted:
      return "`migrate resume \(id)`: its worker is gone; nothing is lost"
    case .holding: return holdReason ?? "a throttle"
    case .running where !isBounded: return "transactions that write to the table, before the last key is fixed"
    case .pausing, .cancelling: return "the edge of the batch"
    case .running, .failed, .cancelled, .completed, .reverting, .reverted: return nil
    }
  }

  /// Why it stands, and since when as far as that is known; `nil` while it goes, and when it has ended.
  package var standstill: Standstill? {
    if isInterrupted { return Standstill(since: lastSignAt, why: "its worker is gone") }
    switch state {
    case .holding: return Standstill(since: heldSince, why: "holds for \(holdReason ?? "a throttle")")
    case .paused:
      if let failure { return Standstill(since: failure.at, why: "paused: \(failure.message)") }
      guard let pause = requests.last(where: { $0.request == "pause" }) else {
        return Standstill(since: nil, why: "paused")
      }
      if pause.isOfWorker { return Standstill(since: pause.at, why: "paused by a signal to its client") }
      return Standstill(since: pause.at, why: "paused by \(pause.who)" + (pause.reason.map { ": \($0)" } ?? ""))
    case .failed: return Standstill(since: failure?.at, why: "failed" + (failure.map { ": \($0.message)" } ?? ""))
    case .running, .reverting, .pausing, .cancelling:
      guard waitsForLock else { return nil }
      return Standstill(since: workers.compactMap(\.waitsSince).min(), why: "waits for \(hold ?? "a lock")")
    case .cancelled, .completed, .reverted: return nil
    }
  }

  /// What lets a run go on at once that holds for `reason`.
  package static func cure(_ run: Int64, ofHold reason: String) -> String {
    reason.hasPrefix("canary: ") ? "`migrate resume \(run)`" : "`migrate tune \(run) --holds none`"
  }

  /// The same while it holds; `nil` before the reason is there, and while nobody is at work who could go on.
  package var holdCure: String? {
    guard state == .holding, !isInterrupted else { return nil }
    return holdReason.map { Self.cure(id, ofHold: $0) }
  }

  /// What to do about the failure.
  package var remedy: String? { failure?.remedy(of: id, direction) }
}
