internal import Migrate
internal import MigrateCommandLine

/// `migrate plan --out DIR`: the plan as scripts that psql runs without this program.
extension PlanCommand {
  static func write(
    _ compilation: Compilation, of definition: Definition, into folder: String, alone: Bool, _ console: Console
  ) throws(CommandFailure) {
    throw .refused(
      "--out is not in this version", remedy: "`migrate plan \(definition.name.value) --sql` prints the SQL")
  }
}
