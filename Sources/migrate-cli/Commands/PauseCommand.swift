internal import Migrate
internal import MigrateCommandLine

/// `migrate pause`: stops a run at the edge of its batch, from any machine.
enum PauseCommand {
  static func run(_ console: Console) throws(CommandFailure) -> ExitCode {
    let runs = try console.runs()
    let run = try console.run(runs)
    return try console.ask { () throws(RunRefusal) in
      let steered = try runs.pause(run, reason: console.arguments[Options.reason])
      return try steered.conclude(run, runs, console)
    }
  }
}

/// `migrate cancel`: ends a run for good, and keeps what it has done unless it shall go back, too.
enum CancelCommand {
  /// For one who waits for the way back there is nothing else to do.
  private static let patience = (alone: Duration.seconds(10), revertingToo: Duration.seconds(86_400))

  static func run(_ console: Console) throws(CommandFailure) -> ExitCode {
    let runs = try console.runs()
    let run = try console.run(runs)
    let (revertsToo, reason) = (console.arguments[Options.revertToo], console.arguments[Options.reason])
    let summary = try console.ask { () throws(RunRefusal) in
      let summary = try runs.cancellable(run)
      if revertsToo { try runs.refuseIrrevertible(summary) }
      return summary
    }
    // What was asked for holds already (U05).
    if summary.state == .cancelled, !revertsToo {
      return try console.ask { () throws(RunRefusal) in
        console.say("run \(run) of \(summary.name) is cancelled already; \(try afterwards(run, runs))")
        return try Steered.reached(.cancelled).conclude(run, runs, console)
      }
    }
    let noUndo = try console.ask { () throws(RunRefusal) in try runs.undoReason(run) }
    let stays = noUndo.map { "stays and cannot be taken back: \($0)" } ?? "stays; `migrate revert \(run)` takes it back"
    console.say("what run \(run) has done \(revertsToo ? "will be taken back" : stays)")
    guard try console.allows(revertsToo ? "cancel --revert" : "cancel") else { return .interrupted }
    return try console.ask { () throws(RunRefusal) in
      let patience = revertsToo ? patience.revertingToo : patience.alone
      let steered = try runs.cancel(run, reason: reason, patience: patience)
      if !revertsToo, steered == .reached(.cancelled) {
        console.say("run \(run) of \(summary.name) is cancelled, and does not go on; \(try afterwards(run, runs))")
      }
      let code = try steered.conclude(run, runs, console)
      guard revertsToo, case .reached = steered else { return code }
      let back = try runs.enterRevert(try runs.find(String(run)), onConflict: .stop, reason: reason)
      return try RunDisplay.goOn(with: back, runs, console)
    }
  }
}

extension CancelCommand {
  /// What can be done with a run that is cancelled.
  private static func afterwards(_ run: Int64, _ runs: borrowing Runs) throws(RunRefusal) -> String {
    let changed = try runs.standing(run).done.changed
    guard changed > 0 else { return "no row is changed, so nothing is left to do" }
    let rows = Wording.count(changed, "changed row stays", "changed rows stay")
    if let noUndo = try runs.undoReason(run) { return "\(rows), and nothing takes them back: \(noUndo)" }
    return "\(rows); `migrate revert \(run)` takes them back"
  }
}

extension Steered {
  /// Says how far the request has come: the last line of the output.
  fileprivate func conclude(
    _ run: Int64, _ runs: borrowing Runs, _ console: Console
  ) throws(RunRefusal) -> ExitCode {
    let done = try runs.standing(run).done
    let rows = "\(done.changed) rows"
    let members = [JSON.Member("rows_changed", .integer(done.changed))]
    switch self {
    case .reached(let state):
      console.conclude(run, state.rawValue, rows, members)
      return .done
    case .busy(let state, let sign):
      let who = sign.map { "backend \($0.pid)" + ($0.host.map { " of a client on \($0)" } ?? "") } ?? "its worker"
      console.say("\(who) is busy with a batch; the run follows at the edge of it: `migrate status \(run)`")
      console.conclude(run, state.rawValue, rows, members)
      return .done
    case .other(let state):
      console.say(Self.reason(for: state))
      console.conclude(run, state.rawValue, rows, members)
      return .failed
    }
  }

  private static func reason(for state: RunState) -> String {
    switch state {
    case .completed, .cancelled, .reverted: "the run came to its end first"
    case .failed: "the run failed first"
    case .running, .holding, .pausing, .paused, .cancelling, .reverting: "somebody else has asked for something else"
    }
  }
}
