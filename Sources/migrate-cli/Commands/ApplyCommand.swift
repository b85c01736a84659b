internal import Migrate
internal import MigrateCommandLine

/// `migrate apply`: runs definitions, or goes on where a run stopped.
enum ApplyCommand {
  static func run(_ console: Console) throws(CommandFailure) -> ExitCode {
    if console.arguments[Options.dryRun] { return try PlanCommand.run(console) }
    try console.refuseUnwritable()
    let names = console.arguments[Positionals.names]
    if let reference = console.arguments[Options.rejects] {
      guard names.isEmpty else {
        throw .refused(
          "--rejects names a run, whose own plan is run again", remedy: "`migrate apply --rejects \(reference.text)`")
      }
      return try RetryCommand.run(reference.text, console)
    }
    if !names.isEmpty {
      for option in [Options.allPending, Options.expectOne] where console.arguments[option] {
        throw .refused(
          "--\(option.description.name) is about all that is pending, and here are names",
          remedy: "leave out the one or the other")
      }
    }
    var definitions = try console.definitions(names)
    var ended = ExitCode.done
    let session = try console.session(for: definitions)
    let runs = try console.runs()
    if names.isEmpty {
      (definitions, ended) = try pending(definitions, runs, console)
      if console.arguments[Options.expectOne] { try refuseOthers(definitions) }
      if definitions.isEmpty {
        console.say("nothing is pending")
        return ended
      }
    }
    // All of them are compiled before the first one runs: an error in the last is no reason to stop half-way.
    let work = try console.compile(definitions, session, beginning: true)
    var isAllowed = false
    if names.isEmpty {
      for (_, compilation) in work { try announce(compilation, runs, session, console) }
      guard try console.allows("apply") else {
        return .interrupted
      }
      isAllowed = true
    }
    for (definition, compilation) in work {
      let code = try apply(definition, compilation, runs, session, isAllowed: isAllowed, console)
      // A row that waits in quarantine keeps what needs its run from beginning, and nothing else.
      guard code == .done || code == .rejects else { return code }
      if code == .rejects { ended = code }
    }
    return ended
  }

  /// Who expects one knows what will run without having looked.
  private static func refuseOthers(_ pending: [Definition]) throws(CommandFailure) {
    guard pending.count != 1 else { return }
    let names = pending.map(\.name.value).joined(separator: ", ")
    throw .refused(
      pending.isEmpty
        ? "nothing is pending, and --expect-one expects one definition"
        : "\(pending.count) definitions are pending, and --expect-one expects one: \(names)",
      remedy: pending.isEmpty
        ? "`migrate history` shows what has run; without --expect-one nothing is done"
        : "apply those before by name, one after the other")
  }

  /// What is to be done when nobody says what: listed, all of it, and returned as far as apply would run it; and whether rows of what is
  /// complete wait in quarantine.
  private static func pending(
    _ definitions: [Definition], _ runs: borrowing Runs, _ console: Console
  ) throws(CommandFailure) -> (chosen: [Definition], ended: ExitCode) {
    let found = try console.ask { () throws(RunRefusal) in try runs.pending(definitions) }
    let runsAgain = console.arguments[Options.again]
    var chosen: [Definition] = []
    var ended = ExitCode.done
    for (definition, pending) in found {
      let (word, isChosen): (String?, Bool) =
        switch pending {
        case .new: ("pending", true)
        case .unfinished(let run): ("\(try word(of: run, runs, console)), goes on with run \(run.id)", true)
        case .changed(let run):
          ("changed since run \(run.id)" + (runsAgain ? "" : "; `--again` runs the new text"), runsAgain)
        case .complete: (nil, false)
        }
      if let word { console.say("  \(ColumnWidth.padded(Printable.line(definition.name.value), to: 24)) \(word)") }
      if isChosen { chosen.append(definition) }
      switch pending {
      case .complete(let run), .changed(let run):
        if !isChosen, try quarantine(of: run, runs, console) == .rejects { ended = .rejects }
      case .new, .unfinished: break
      }
    }
    return (chosen, ended)
  }

  /// How the run stands, as `status` calls it.
  private static func word(
    of run: RunSummary, _ runs: borrowing Runs, _ console: Console
  ) throws(CommandFailure) -> String {
    try console.ask { () throws(RunRefusal) in try runs.standing(run.id).word }
  }

  /// Of a complete run: its rows that wait in quarantine are told each time, for as long as there are some.
  private static func quarantine(
    of run: RunSummary, _ runs: borrowing Runs, _ console: Console
  ) throws(CommandFailure) -> ExitCode {
    let waiting = try console.ask { () throws(RunRefusal) in try runs.reasons(run.id).rows }
    guard waiting > 0 else { return .done }
    console.say(RunEnd.quarantine(waiting, of: run.id))
    return .rejects
  }

  private static func announce(
    _ compilation: Compilation, _ runs: borrowing Runs, _ session: borrowing Session, _ console: Console
  ) throws(CommandFailure) {
    console.warn(compilation.warnings)
    let plan = compilation.plan
    console.say(Summary(plan, try? session.surroundings(of: plan), try? session.staleness(of: plan)).text)
    let half = try console.ask { () throws(RunRefusal) in try runs.leftHalfDone(compilation.plan) }
    if let half { console.say("migrate: warning: \(half)") }
  }

  private static func apply(
    _ definition: Definition, _ compilation: Compilation, _ runs: borrowing Runs, _ session: borrowing Session,
    isAllowed: Bool, _ console: Console
  ) throws(CommandFailure) -> ExitCode {
    let plan = compilation.plan
    let number: Int64
    // A default of the project is no order for this run.
    let ordered = console.arguments.origin(of: Options.workers) == .file ? nil : console.arguments[Options.workers]
    var tuned: Int?
    var goingOn: (with: RunSummary, word: String, pause: PauseInForce?)?
    switch try console.ask({ () throws(RunRefusal) in try runs.target(compilation, definition) }) {
    case .complete(let run, let changed) where !console.arguments[Options.again]:
      console.say(
        "\(plan.definition) is already applied as run \(run.id)"
          + (changed
            ? "; its file has changed since, and `--again` runs the new text" : "; `--again` runs it once more"))
      return try quarantine(of: run, runs, console)
    case .unfinished(let run):
      try console.ask { () throws(RunRefusal) in try runs.refuseOther(run, than: plan, definition) }
      let pause = try console.ask { () throws(RunRefusal) in try runs.pausedBy(run.id) }
      goingOn = (run, try word(of: run, runs, console), pause)
      number = run.id
      tuned = ordered
    case .new, .complete:
      if !isAllowed {
        try announce(compilation, runs, session, console)
        guard try console.allows("apply") else { return .interrupted }
      }
      var request = ApplyRequest()
      request.concurrent = console.arguments[Options.concurrent]
      request.reason = console.arguments[Options.reason]
      request.version = Commands.program.version
      number = try console.ask { () throws(RunRefusal) in try runs.begin(compilation, definition, request) }
    }
    return try console.ask { () throws(RunRefusal) in
      var run = try runs.enter(number, reason: console.arguments[Options.reason], only: .apply)
      if let goingOn { tell(goingOn.with, goingOn.word, goingOn.pause, console) }
      run.pace.sizing = plan.pace.sizing
      if ordered != nil { run.crew = .all }
      if let tuned { try hear(workers: tuned, of: number, runs, console) }
      return try RunDisplay.goOn(with: run, runs, console)
    }
  }

  /// That it goes on, whoever has paused it.
  private static func tell(_ run: RunSummary, _ word: String, _ pause: PauseInForce?, _ console: Console) {
    guard let pause else {
      console.say("going on with run \(run.id) of \(run.name), which is \(word)")
      return
    }
    let asked = pause.request
    console.say(
      "going on with run \(run.id) of \(run.name), which \(Printable.line(asked.who)) paused \(Wording.roughly(pause.ago)) ago"
        + (asked.reason.map { ": \"\(Printable.line($0))\"" } ?? ""))
    guard console.isJSON else { return }
    console.event(
      "going_on",
      [
        .init("run", .integer(run.id)), .init("name", .string(run.name)), .init("state", .string(run.state.rawValue)),
        .init("paused_by", .string(asked.by)), .init("host", .optional(asked.host)),
        .init("paused_at", .string(asked.at)), .init("seconds_ago", .number(String(pause.ago / .seconds(1)))),
        .init("reason", .optional(asked.reason)),
      ])
  }

  /// The run has its slices already; of one slice nobody can be given a part.
  private static func hear(
    workers: Int, of run: Int64, _ runs: borrowing Runs, _ console: Console
  ) throws(RunRefusal) {
    do throws(RunRefusal) { _ = try runs.tune(run, Tuning(workers: workers)) } catch {
      guard case .database(let problem) = error, problem.sqlState == .refusedByLedger else { throw error }
      console.say("--workers \(workers) is not heard: \(problem.message)")
    }
  }
}
