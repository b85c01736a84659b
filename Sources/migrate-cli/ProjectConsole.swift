internal import Migrate
internal import MigrateCommandLine

extension Console {
  /// The same with what the project's file says of options that nobody has said.
  func inProject() throws(CommandFailure) -> Console {
    do throws(Diagnostics) {
      let root = try ProjectRoot.find(settings: Self.settings)
      let paths = Options.paths.map(\.description.name)
      let defaults = (root.file?.defaults ?? []).map { entry in
        let option = entry.name.value.replacing("_", with: "-")
        return (option, paths.contains(option) ? root.path(entry.value.value) : entry.value.value)
      }
      let parser = Parser(Commands.program, environment: .process)
      return Console(parser.adding(defaults, to: arguments), root: root)
    } catch { throw .definitions([error]) }
  }

  /// The folder of the definitions: one that somebody names, else the one at the project's root.
  var directory: String {
    let named = arguments[Options.directory]
    return arguments.origin(of: Options.directory) == nil ? root.path(named) : named
  }

  func server(of environment: String) throws(CommandFailure) -> Server {
    guard let file = root.file else {
      throw .usage(
        UsageError(
          "there is no migrate.yaml in this folder or above, and environments stand there",
          remedy: "write one: `environments: {\(environment): DATABASE_URL}`"))
    }
    do throws(Diagnostics) {
      return try root.server(of: environment, in: file) { name in
        Environment.process.bytes(name).flatMap { String(validating: $0, as: UTF8.self) }
      }
    } catch { throw .definitions([error]) }
  }

  /// Every option but those that a variable cannot set either.
  private static var settings: [ProjectFile.Setting] {
    let eachTime = Options.saidEachTime.map(\.description.name)
    return Commands.program.allOptions.filter { !$0.environment.isEmpty }.map { option in
      let standing: ProjectFile.Setting.Standing =
        option.name == Options.database.description.name
        ? .address : eachTime.contains(option.name) ? .saidEachTime : .mayHaveDefault
      return ProjectFile.Setting(
        option.name.replacing("-", with: "_"), standing, option.expectation, accepts: option.accepts)
    }
  }
}
