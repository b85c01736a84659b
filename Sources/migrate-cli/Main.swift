import MigrateCommandLine

@main struct Main {
  static func main() {
    StandardDescriptors.secure()
    finish(run())
  }

  private static func run() -> ExitCode {
    do {
      let words = try CommandLineWords.ofProcess()
      switch try Parser(Commands.program, environment: .process).parse(words) {
      case .show(let text):
        Output.standard.write(text)
        return .done
      case .run(let arguments):
        Output.error.write("migrate: error: \(arguments.command) does nothing yet\n")
        return .failed
      }
    } catch {
      Output.error.write(error.rendered(program: Commands.program.name))
      return .usage
    }
  }
}
