internal import Migrate
internal import MigrateCommandLine

/// `migrate wait`: until a run ends, for what may only come after it.
enum WaitCommand {
  static func run(_ console: Console) throws(CommandFailure) -> ExitCode {
    let runs = try console.runs()
    let reference = console.arguments[Positionals.runOrName]?.text ?? ""
    let timeout = console.arguments[Options.timeout]
    let waited = try console.ask { () throws(RunRefusal) in
      try runs.wait(for: reference, timeout: timeout) {
        console.say("waits for a run of \(reference) to begin")
        warnOfUnknown(reference, timeout, runs, console)
      }
    }
    switch waited {
    case .stands(let run):
      // Over a connection of its own: the server may have been away since this began.
      let fresh = try console.runs()
      let standing = try console.ask { () throws(RunRefusal) in try fresh.standing(run) }
      if let hold = standing.hold { console.say("it waits for \(hold)") }
      if let failure = standing.failure {
        let remedy = standing.remedy.map { "\n  help: \(Printable.block($0))" } ?? ""
        console.say("why: \(Printable.block(failure.message)); `migrate status \(run)`\(remedy)")
      }
      return conclude(standing, StatusCommand.code(standing), console)
    case .timedOut(let run):
      let time = timeout.map { Wording.duration($0) } ?? ""
      guard let run else {
        console.say("no run of \(reference) has begun in \(time)")
        if console.isJSON {
          console.event(
            "state",
            [.init("run", .null), .init("state", .null), .init("exit_code", .integer(Int(ExitCode.timedOut.rawValue)))])
        }
        return .timedOut
      }
      let standing = try console.ask { () throws(RunRefusal) in try runs.standing(run) }
      console.say("run \(run) is \(standing.word) still after \(time)")
      return conclude(standing, .timedOut, console)
    }
  }

  /// A run of a name that nobody knows can begin all the same, from another machine; but it can as well be mistyped.
  private static func warnOfUnknown(
    _ name: String, _ timeout: Duration?, _ runs: borrowing Runs, _ console: Console
  ) {
    guard let ran = try? runs.everRun() else { return }
    let declared = (try? Project(folder: console.directory, besides: console.root.file).names) ?? []
    let known = ran + declared
    guard !known.contains(where: { $0.utf8.elementsEqual(name.utf8) }) else { return }
    let meant = Suggestion.nearest(to: name, among: known).map { "did you mean \($0)?" }
    let limit = timeout == nil ? "`--timeout 10m` ends the wait for what never comes" : nil
    let knownNames = "`migrate history` lists what has run, `migrate plan` what is declared"
    console.say(
      "migrate: warning: there is no run of \(name), and no definition in \(console.directory) is called so\n  help: "
        + ([meant ?? knownNames, limit].compactMap(\.self).joined(separator: meant == nil ? "; " : " "))
    )
  }

  private static func conclude(_ standing: RunStanding, _ code: ExitCode, _ console: Console) -> ExitCode {
    let kept = standing.direction == .revert ? "conflicts" : "rejects"
    console.conclude(
      standing.id, standing.word, "\(standing.done.changed) rows \(standing.done.rejected) \(kept)",
      [
        .init("rows_changed", .integer(standing.done.changed)), .init(kept, .integer(standing.done.rejected)),
        .init("exit_code", .integer(Int(code.rawValue))),
      ])
    return code
  }
}
