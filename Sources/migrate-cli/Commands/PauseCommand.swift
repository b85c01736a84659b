internal import Migrate
internal import MigrateCommandLine

/// `migrate pause`: stops a run at the edge of its batch, from any machine.
enum PauseCommand {
  static func run(_ console: Console) throws(CommandFailure) -> ExitCode {
    let runs = try console.runs()
    let run = try console.run()
    return try console.ask { () throws(RunRefusal) in
      let steered = try runs.pause(run, reason: console.arguments[Options.reason])
      return try steered.conclude(run, runs, console)
    }
  }
}

/// `migrate cancel`: ends a run for good, keeping what it has done.
enum CancelCommand {
  static func run(_ console: Console) throws(CommandFailure) -> ExitCode {
    let runs = try console.runs()
    let run = try console.run()
    let summary = try console.ask { () throws(RunRefusal) in try runs.cancellable(run) }
    console.say("what run \(run) has done stays; `migrate revert \(run)` takes it back")
    guard try console.allows("cancel run \(run) of \(summary.name)") else { return .interrupted }
    return try console.ask { () throws(RunRefusal) in
      let steered = try runs.cancel(run, reason: console.arguments[Options.reason])
      return try steered.conclude(run, runs, console)
    }
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
    case .ended(let state):
      console.say("the run came to its end first")
      console.conclude(run, state.rawValue, rows, members)
      return .failed
    }
  }
}
