import MigrateCommandLine

/// A program with one of each, small enough to be seen at once.
enum Sample {
  static let rate = Option.optional("rate", short: "r", .text, named: "N", help: "A rate.")
  static let level = Option.value("level", .integer(in: -9...9), named: "N", default: 1, help: "A level.")
  static let wait = Option.optional("wait", .duration, named: "TIME", help: "A pause.")
  static let rows = Option.optional("rows", short: "n", .size, named: "ROWS", help: "Some rows.")
  static let note = Option.optional("note", .text, named: "TEXT", mayBeLong: true, help: "A note.")
  static let more = Option.optional("more", .text, named: "TEXT", mayBeLong: true, help: "Another.")
  static let set = Option.repeated("param", aliases: ["set"], short: "p", .assignment, named: "K=V", help: "Each.")
  static let all = Option.flag("all", short: "a", help: "All.")
  static let bare = Option.flag("bare", short: "b", help: "Bare.")
  static let quiet = Option.flag("quiet", short: "q", help: "Quiet.")
  static let help = Option.flag("help", short: "h", fromEnvironment: false, help: "Help.")
  static let version = Option.flag("version", fromEnvironment: false, help: "Version.")
  static let words = Positional.many("WORD", .text, help: "Words.")

  static let program = Program(
    "tool", version: "1.2.3", abstract: "try things",
    commands: [
      Command(
        "go", aliases: ["walk"], abstract: "go", positionals: [words],
        options: [rate, level, wait, rows, note, more, set, all, bare], conflicts: [[all, bare]]),
      Command("box", abstract: "boxes", subcommands: [Command("open", abstract: "open one")]),
      Command("help", abstract: "help", positionals: [Positional.many("COMMAND", .text, help: "Which.")]),
    ],
    globalOptions: [quiet, help, version])

  static let files = LongValueReader { path in
    switch path {
    case "-": .success(Array("typed\n".utf8))
    case "letter": .success(Array("dear\r\nreader\r\n".utf8))
    case "latin": .success([0xE9])
    case "endless": .failure(.tooLong(limit: 16_777_216))
    default: .failure(.unreadable("No such file or directory"))
    }
  }

  /// What the words mean; `nil` when they ask for a text.
  static func arguments(_ words: [String], _ variables: [String: String] = [:]) throws(UsageError) -> Arguments? {
    let parser = Parser(program, environment: Environment(variables), files: files)
    guard case .run(let arguments) = try parser.parse(words) else { return nil }
    return arguments
  }
}

/// What the program answers: the text it shows, the command it runs, or the error.
func answer(
  _ words: [String], of program: Program = Commands.program, variables: [String: String] = [:]
) -> String {
  do throws(UsageError) {
    switch try Parser(program, environment: Environment(variables), files: Sample.files).parse(words) {
    case .show(let text): return text
    case .run(let arguments): return "runs \(arguments.command)\n"
    }
  } catch {
    return error.rendered(program: program.name)
  }
}
