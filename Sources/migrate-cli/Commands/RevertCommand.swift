internal import Migrate
internal import MigrateCommandLine

/// `migrate revert`: takes a run back.
enum RevertCommand {
  static func run(_ console: Console) throws(CommandFailure) -> ExitCode {
    try console.refuseUnwritable()
    let runs = try console.runs()
    let reference = console.arguments[Positionals.runOrName]?.text ?? ""
    let summary = try console.ask { () throws(RunRefusal) in try runs.find(reference) }
    let standing = try console.ask { () throws(RunRefusal) in try runs.standing(summary.id) }
    // What was asked for holds already (U05).
    if summary.state == .reverted {
      console.say("run \(summary.id) of \(summary.name) is reverted already; nothing is left to do")
      console.conclude(
        summary.id, "reverted", "\(standing.done.changed) rows \(standing.done.rejected) conflicts",
        [.init("rows_changed", .integer(standing.done.changed)), .init("conflicts", .integer(standing.done.rejected))])
      return .done
    }
    console.say(
      "run \(summary.id) of \(summary.name), \(standing.word), begun \(standing.startedAt) by \(standing.startedBy): "
        + "\(Wording.count(standing.done.changed, "row")) \(standing.direction == .apply ? "changed" : "back so far")")
    guard try console.allows("revert") else { return .interrupted }
    let policy = console.arguments[Options.onConflict]
    return try console.ask { () throws(RunRefusal) in
      var run = try runs.enterRevert(summary, onConflict: policy, reason: console.arguments[Options.reason])
      if console.arguments[Options.perBatch] { run.revertsAtOnce = false }
      return try RunDisplay.goOn(with: run, runs, console)
    }
  }
}

extension RunReference {
  /// As it was written.
  var text: String {
    switch self {
    case .run(let number): String(number)
    case .name(let name): name
    }
  }
}
