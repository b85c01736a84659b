internal import Migrate
internal import MigrateCommandLine

/// `migrate resume`: goes on with a run that is paused, failed or interrupted, whichever way it goes.
enum ResumeCommand {
  static func run(_ console: Console) throws(CommandFailure) -> ExitCode {
    try console.refuseUnwritable()
    let runs = try console.runs()
    let number = try console.run(runs)
    do throws(RunRefusal) {
      switch try runs.resume(number, reason: console.arguments[Options.reason]) {
      case .elsewhere(let sign):
        let host = sign?.host.map { " on \($0)" } ?? ""
        console.say("the client\(host) that stayed goes on with it; watch it: `migrate status \(number) --watch`")
        console.conclude(number, try runs.standing(number).word)
        return .done
      case .here(let run): return try RunDisplay.goOn(with: run, runs, console)
      }
    } catch { throw CommandFailure(error) }
  }
}
