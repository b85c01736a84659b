internal import Migrate
internal import MigrateCommandLine

/// `migrate plan --out DIR`: the plan as scripts that psql runs without this program.
extension PlanCommand {
  static func write(
    _ compilation: Compilation, of definition: Definition, into folder: String, alone: Bool, _ console: Console
  ) throws(CommandFailure) {
    let writer: ScriptWriter
    do throws(Diagnostics) { writer = try compilation.scripts(of: definition, version: Commands.program.version) } catch
    {
      throw .definitions([error])
    }
    // Of several definitions each gets a folder of its own.
    let own = alone ? folder : "\(folder)/\(definition.name.value)"
    for wanted in [folder, own] where !Files.makeFolder(wanted) {
      throw .refused("the folder \(wanted) cannot be made", remedy: "make it, or name another one: `--out DIR`")
    }
    for (name, script) in [("apply", writer.apply), ("verify", writer.verify), ("revert", writer.revert)] {
      let path = "\(own)/\(name).sql"
      guard Files.write(script, to: path) else {
        throw .refused("\(path) cannot be written", remedy: "look at the folder's permissions and at the disk")
      }
      console.say("wrote \(path)")
    }
  }
}
