internal import Migrate
internal import MigrateCommandLine

/// `migrate revert`: takes a run back.
enum RevertCommand {
  static func run(_ console: Console) throws(CommandFailure) -> ExitCode {
    let server = try console.server()
    do throws(RunRefusal) {
      let runs = try Runs(on: server)
      let summary = try runs.find(console.arguments[Positionals.runOrName]?.text ?? "")
      let policy = MigrateLedger.ConflictPolicy(rawValue: console.arguments[Options.onConflict].rawValue) ?? MigrateLedger.ConflictPolicy.stop
      guard try ApplyCommand.allows("revert run \(summary.id) of \(summary.name)", console) else { return .interrupted }
      let run = try runs.enterRevert(summary, onConflict: policy)
      return try RunDisplay.following(run, console) { (control, report) throws(RunRefusal) in
        try runs.revert(run, onConflict: policy, control: control, report: report)
      }
    } catch { throw CommandFailure(error) }
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
