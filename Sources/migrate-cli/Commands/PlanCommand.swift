internal import Migrate
internal import MigrateCommandLine

/// `migrate plan`: what would happen, then the SQL.
enum PlanCommand {
  static func run(_ console: Console) throws(CommandFailure) -> ExitCode {
    let definitions = try console.definitions(console.arguments[Positionals.names])
    let session = try session(console, definitions)
    let request = try console.compileRequest()
    for definition in definitions {
      let compilation = try compile(definition, request, session)
      if let folder = console.arguments[Options.output] {
        console.say(console.renderer.render(compilation.warnings))
        try write(compilation, of: definition, into: folder, alone: definitions.count == 1, console)
      } else if console.isJSON {
        console.print(compilation.plan.json)
      } else if console.arguments[Options.sql] {
        console.output.write(Preview(compilation.plan).sql)
      } else {
        console.warn(compilation.warnings)
        console.print(Summary.text(compilation.plan))
        console.output.write(Preview(compilation.plan).sql)
      }
    }
    return .done
  }

  /// Without a database there are at least the errors of the files.
  static func session(_ console: Console, _ definitions: [Definition]) throws(CommandFailure) -> Session {
    let server = try console.server()
    do { return try Session(to: server) } catch {
      let problems = definitions.compactMap(Session.problems(of:))
      throw problems.isEmpty ? .database(error) : .definitions(problems)
    }
  }

  static func compile(
    _ definition: Definition, _ request: CompileRequest, _ session: borrowing Session
  ) throws(CommandFailure) -> Compilation {
    do throws(CompileFailure) { return try session.compile(definition, request) } catch { throw CommandFailure(error) }
  }
}

/// A plan in a few lines for a person.
enum Summary {
  static func text(_ plan: Plan) -> String {
    let batches = (plan.estimate.rows + plan.batchSize - 1) / plan.batchSize
    var lines = [
      "\(plan.definition)",
      "  rows       about \(Wording.count(plan.estimate.rows)), in about \(Wording.count(max(1, batches))) batches of \(Wording.count(plan.batchSize))",
    ]
    for step in plan.steps {
      lines.append("  \(step.verb)     \(step.table)")
      lines += step.columns.map { "             \($0.name) = \($0.value)" }
      switch step.undo {
      case .captured(let columns):
        lines.append("  undo       old and new \(columns.joined(separator: ", ")), about \(Wording.bytes(plan.estimate.undoBytes))")
      case .unavailable(let reason): lines.append("  undo       none: \(reason)")
      }
    }
    for table in plan.tables { lines.append("  walks      \(table.index) (\(plan.key.joined(separator: ", ")))") }
    for parameter in plan.parameters {
      lines.append("  parameter  \(parameter.name) = \(parameter.value ?? "NULL") (\(parameter.type))")
    }
    return lines.map(Printable.line).joined(separator: "\n") + "\n"
  }
}
