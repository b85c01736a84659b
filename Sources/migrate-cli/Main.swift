internal import Migrate
internal import MigrateCommandLine

@main struct Main {
  static func main() {
    StandardDescriptors.secure()
    finish(run())
  }

  private static func run() -> ExitCode {
    do throws(UsageError) {
      let words = try CommandLineWords.ofProcess()
      switch try Parser(Commands.program, environment: .process).parse(words) {
      case .show(let text):
        Output.standard.write(text)
        return .done
      case .run(let arguments):
        return execute(arguments)
      }
    } catch {
      let failure = CommandFailure.usage(error)
      Output.error.write(error.rendered(program: Commands.program.name))
      if CommandLine.arguments.contains("--json") {
        failure.events().forEach { Output.standard.write($0.compact + "\n") }
      }
      return .usage
    }
  }

  private static func execute(_ arguments: Arguments) -> ExitCode {
    var console = Console(arguments)
    do throws(CommandFailure) {
      console = try console.inProject()
      console.warnOfPassword()
      return try command(arguments.command)(console)
    } catch {
      console.explain(error)
      return error.exitCode
    }
  }

  private static func command(_ name: String) -> (Console) throws(CommandFailure) -> ExitCode {
    switch name {
    case "plan": PlanCommand.run
    case "test": TestCommand.run
    case "apply": ApplyCommand.run
    case "revert": RevertCommand.run
    case "status": StatusCommand.run
    case "wait": WaitCommand.run
    case "why": WhyCommand.run
    case "history": HistoryCommand.run
    case "rejects": RejectsCommand.run
    case "verify": VerifyCommand.run
    case "pause": PauseCommand.run
    case "tune": TuneCommand.run
    case "resume": ResumeCommand.run
    case "cancel": CancelCommand.run
    case "sandbox start", "sandbox stop", "sandbox destroy", "sandbox status", "sandbox url": SandboxCommand.run
    default:
      { (_) throws(CommandFailure) in throw .refused("\(name) is not in this version", remedy: "`migrate --help`") }
    }
  }
}
