internal import Migrate
internal import MigrateCommandLine

/// `migrate test`: rows given, and what definitions make of them.
enum TestCommand {
  static func run(_ console: Console) throws(CommandFailure) -> ExitCode {
    let definitions = try console.definitions(console.arguments[Positionals.names])
      .filter { !$0.operation.tests.isEmpty }
    guard !definitions.isEmpty else {
      console.say("no tests: none of the definitions has the key `tests`")
      return .done
    }
    let session = try console.session(for: definitions)
    console.say(
      "each test changes rows that it gives itself, and is rolled back: triggers fire, sequences move and stay moved.")
    guard try console.allows("test") else { return .interrupted }
    var (count, failed) = (0, 0)
    for definition in definitions {
      let outcomes: [TestOutcome]
      let request = try console.testRequest(for: definition, among: definitions)
      do throws(CompileFailure) { outcomes = try session.test(definition, request) } catch {
        throw CommandFailure(error)
      }
      for outcome in outcomes { tell(outcome, of: definition, console) }
      count += outcomes.count
      failed += outcomes.filter { !$0.problems.isEmpty }.count
    }
    let end: ExitCode = failed == 0 ? .done : .failed
    if console.isJSON {
      console.event(
        "ended",
        [
          .init("tests", .integer(count)), .init("failed", .integer(failed)),
          .init("exit_code", .integer(Int(end.rawValue))),
        ])
    } else {
      console.print("\(Wording.count(count, "test")), \(failed) failed")
    }
    return end
  }

  private static func tell(_ outcome: TestOutcome, of definition: Definition, _ console: Console) {
    let name = definition.name.value
    if console.isJSON {
      console.event(
        "tested",
        [
          .init("definition", .string(name)), .init("test", .string(outcome.name)),
          .init(
            "problems",
            .array(
              outcome.problems.map {
                .object([.init("line", .integer($0.line)), .init("message", .string($0.message))])
              })),
        ])
      return
    }
    console.print(Printable.line("\(outcome.problems.isEmpty ? "ok" : "not ok"): \(name): \(outcome.name)"))
    for problem in outcome.problems {
      console.print(Printable.line("  \(definition.source.path):\(problem.line): \(problem.message)"))
    }
  }
}
