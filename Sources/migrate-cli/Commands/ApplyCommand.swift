internal import Migrate
internal import MigrateCommandLine

/// `migrate apply`: runs definitions, or goes on where a run stopped.
enum ApplyCommand {
  static func run(_ console: Console) throws(CommandFailure) -> ExitCode {
    if console.arguments[Options.dryRun] { return try PlanCommand.run(console) }
    let names = console.arguments[Positionals.names]
    let definitions = try console.definitions(names)
    let session = try PlanCommand.session(console, definitions)
    let request = try console.compileRequest()
    // All of them are compiled before the first one runs: an error in the last is no reason to stop half-way.
    var work: [(Definition, Compilation)] = []
    for definition in definitions {
      work.append((definition, try PlanCommand.compile(definition, request, session)))
    }
    let server = try console.server()
    let runs: Runs
    do { runs = try Runs(on: server) } catch { throw CommandFailure(error) }
    for (definition, compilation) in work {
      let code = try apply(definition, compilation, runs, console)
      if code != .done { return code }
    }
    return .done
  }

  private static func apply(
    _ definition: Definition, _ compilation: Compilation, _ runs: borrowing Runs, _ console: Console
  ) throws(CommandFailure) -> ExitCode {
    let plan = compilation.plan
    do throws(RunRefusal) {
      let number: Int64
      switch try runs.target(compilation, definition) {
      case .complete(let run, let changed) where !console.arguments[Options.again]:
        console.say(
          "\(plan.definition) is already applied as run \(run.id)"
            + (changed ? "; its file has changed since, and `--again` runs the new text" : "; `--again` runs it once more"))
        return .done
      case .unfinished(let run):
        try runs.refuseOther(run, than: plan, definition)
        console.say("going on with run \(run.id) of \(run.name), which is \(run.state.rawValue)")
        number = run.id
      case .new, .complete:
        console.warn(compilation.warnings)
        console.say(Summary.text(plan))
        guard try allows("apply \(plan.definition)", console) else { return .interrupted }
        var request = ApplyRequest()
        request.concurrent = console.arguments[Options.concurrent]
        request.reason = console.arguments[Options.reason]
        request.version = Commands.program.version
        number = try runs.begin(compilation, definition, request)
      }
      let run = try runs.enter(number)
      return try RunDisplay.goOn(with: run, runs, console)
    } catch { throw CommandFailure(error) }
  }

  static func allows(_ action: String, _ console: Console) throws(RunRefusal) -> Bool {
    do throws(UsageError) {
      return try Question().allows(action, yes: console.arguments[Options.yes], environment: .process)
    } catch { throw .refused(error.message, remedy: error.remedy) }
  }
}
