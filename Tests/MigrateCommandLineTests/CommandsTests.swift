import MigrateCommandLine
import MigratePlan
import Testing

@Suite struct `The commands` {
  private var all: [Command] { Commands.program.commands + Commands.program.commands.flatMap(\.subcommands) }

  @Test func `have names of their own`() {
    let names = Commands.program.commands.flatMap { [$0.name] + $0.aliases } + Commands.program.later.map(\.name)
    #expect(Set(names).count == names.count)
    for command in all {
      let options = (Commands.program.globalOptions + command.options).flatMap(\.longNames)
      #expect(Set(options).count == options.count, "\(command.name)")
      let letters = (Commands.program.globalOptions + command.options).compactMap(\.short)
      #expect(Set(letters).count == letters.count, "\(command.name)")
    }
  }

  @Test(arguments: [
    ("info", "status"), ("rollback", "revert"), ("undo", "revert"), ("log", "history"), ("ls", "history"),
    ("stop", "cancel"),
  ])
  func `answer to the names that habit expects`(alias: String, name: String) throws {
    let words = [alias] + (["revert", "cancel"].contains(name) ? ["7"] : [])
    #expect(answer(words) == "runs \(name)\n")
  }

  @Test func `tell what resume ends and accepts`() {
    let said = answer(["resume", "--help"]).split(whereSeparator: \.isWhitespace).joined(separator: " ")
    #expect(said.contains("ends what a run waits for behind its canary"), "\(said)")
    #expect(said.contains("accepts what a run has found and did not expect"), "\(said)")
  }

  @Test(arguments: Commands.program.later.map(\.name))
  func `that come later are refused as such`(name: String) {
    #expect(answer([name, "--any"]).utf8.starts(with: "migrate: error: \(name) is not in this version (".utf8))
  }

  @Test(arguments: Commands.program.laterOptions.map(\.name))
  func `take no option that comes later, and say what to do instead`(name: String) {
    let said = answer(["apply", "prices", "--\(name)", "4"])
    #expect(said.utf8.starts(with: "migrate: error: --\(name) is not in this version (".utf8))
  }

  @Test func `have a variable for each option but help and version`() {
    for option in all.flatMap(\.options) + Commands.program.globalOptions {
      let isExempt = ["help", "version"].contains(option.name)
      #expect(option.environment.isEmpty == isExempt, "\(option.name)")
    }
    #expect(Options.batchSize.description.environment == ["MIGRATE_BATCH_SIZE"])
    #expect(Options.database.description.environment == ["MIGRATE_DATABASE", "DATABASE_URL"])
  }

  @Test func `have examples that are right`() throws {
    for command in Commands.program.commands {
      for example in command.examples where example.line.utf8.starts(with: "migrate ".utf8) {
        let line = example.line.split(separator: " > ").first?.split(separator: " && ").first ?? ""
        let words = line.replacing(/'[^']*'/, with: "noon").split(separator: " ").dropFirst().map(String.init)
        #expect(!answer(words).contains("error:"), "\(example.line)")
      }
    }
  }

  @Test func `read what a person types to what is meant`() throws {
    let parser = Parser(Commands.program, environment: Environment(["DATABASE_URL": "postgres:///shop"]))
    let words = ["apply", "prices", "--set", "rate=1.05", "--batch-size", "5k", "-y"]
    guard case .run(let arguments) = try parser.parse(words) else { throw Unexpected() }
    #expect(arguments[Positionals.names] == ["prices"])
    #expect(arguments[Options.parameters] == [ParameterAssignment("rate=1.05")])
    #expect(arguments[Options.batchSize] == 5_000)
    #expect(arguments[Options.yes])
    #expect(arguments[Options.directory] == "migrations")
    #expect(arguments[Options.database] == "postgres:///shop")
    #expect(arguments.origin(of: Options.database) == .environment(variable: "DATABASE_URL"))
    guard case .run(let revert) = try parser.parse(["undo", "17", "--on-conflict", "force"]) else { throw Unexpected() }
    #expect(revert[Positionals.runOrName] == .run(17))
    #expect(revert[Options.onConflict] == .force)
    guard case .run(let verify) = try parser.parse(["verify", "prices-17"]) else { throw Unexpected() }
    #expect(verify[Positionals.runOrName] == .name("prices-17"))
  }

  private struct Unexpected: Error {}
}
