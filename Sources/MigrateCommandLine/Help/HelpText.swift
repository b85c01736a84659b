/// What `--help` shows.
package struct HelpText: Sendable {
  private static let width = 80
  /// Where the explanations stand.
  private static let column = 24

  private let program: Program
  private let path: [Command]

  /// The help of the command at the end of `path`, or of the whole program when the path is empty; 80 columns at most.
  package static func of(_ path: [Command], in program: Program) -> String {
    HelpText(program: program, path: path).sections.map { $0.joined(separator: "\n") }.joined(separator: "\n\n") + "\n"
  }

  private var command: Command? { path.last }
  private var fullName: String { ([program.name] + path.map(\.name)).joined(separator: " ") }

  private var sections: [[String]] {
    let subcommands = command.map(\.subcommands) ?? program.commands
    let options = command?.options ?? []
    return [
      overview,
      TextWrapping.indented("Usage: \(usage)", by: 0, width: Self.width),
      TextWrapping.indented(command?.discussion ?? program.discussion, by: 0, width: Self.width),
      list("Arguments:", (command?.positionals ?? []).map { ($0.name, $0.help) }),
      list("Commands:", subcommands.map(Self.entry)),
      list("Options:", options.map(Self.entry)),
      list("Options of these commands:", command.map { Self.shared($0.subcommands) } ?? []),
      list(path.isEmpty ? "Options:" : "Options of every command:", program.globalOptions.map(Self.entry)),
      path.isEmpty ? conventions : [],
      examples(command?.examples ?? program.examples),
      exitCodes,
    ].filter { !$0.isEmpty && $0 != [""] }
  }

  private var overview: [String] {
    let aliases = command?.aliases ?? []
    let names = aliases.isEmpty ? "" : " (also: \(aliases.joined(separator: ", ")))"
    return TextWrapping.indented(
      "\(fullName): \(command?.abstract ?? program.abstract)\(names)", by: 0, width: Self.width)
  }

  private var usage: String {
    let hasCommands = command.map { !$0.subcommands.isEmpty } ?? true
    let positionals = command?.positionals.map(\.usage) ?? []
    return ([fullName] + (hasCommands ? ["COMMAND"] : []) + positionals + ["[OPTIONS]"]).joined(separator: " ")
  }

  private var conventions: [String] {
    TextWrapping.indented(
      "Each option has the variable in brackets. The command line wins over it, and it over `defaults:` in the file "
        + "migrate.yaml, here or in a folder above. `--no-` before the name of a flag takes it back. "
        + "`--` ends the options. `\(program.name) COMMAND --help` explains a command.", by: 0, width: Self.width)
  }

  private var exitCodes: [String] {
    let codes = command?.exitCodes ?? ExitCode.allCases
    return ["Exit codes:"] + codes.map { "  \($0.rawValue)  \($0.meaning)" }
  }

  private func examples(_ examples: [Command.Example]) -> [String] {
    if examples.isEmpty { return [] }
    return ["Examples:"]
      + examples.flatMap { ["  \($0.line)"] + TextWrapping.indented($0.meaning, by: 6, width: Self.width) }
  }

  /// Names on the left, explanations on the right; a name that is too long has a line of its own.
  private func list(_ title: String, _ entries: [(name: String, help: String)]) -> [String] {
    if entries.isEmpty { return [] }
    var lines = [title]
    for (name, help) in entries {
      var right = TextWrapping.indented(help, by: Self.column, width: Self.width)[...]
      let left = "  \(name)"
      if ColumnWidth.of(left) + 2 <= Self.column, let first = right.popFirst() {
        lines.append(left + first.dropFirst(ColumnWidth.of(left)))
      } else {
        lines.append(left)
      }
      lines += right
    }
    return lines
  }

  private static func entry(of command: Command) -> (name: String, help: String) {
    let aliases = command.aliases.isEmpty ? "" : " (also: \(command.aliases.joined(separator: ", ")))"
    return (command.name, command.abstract + aliases)
  }

  /// The options of `commands`, each once, and which of them take it when not all do.
  private static func shared(_ commands: [Command]) -> [(name: String, help: String)] {
    var seen: Set<String> = []
    return commands.flatMap(\.options).filter { seen.insert($0.name).inserted }.map { option in
      let takers = commands.filter { $0.options.contains { $0.name == option.name } }
      let (name, help) = entry(of: option)
      if takers.count == commands.count { return (name, help) }
      return (name, "With \(takers.map(\.name).joined(separator: ", ")). \(help)")
    }
  }

  private static func entry(of option: OptionDescription) -> (name: String, help: String) {
    let letter = option.short.map { "-\($0), " } ?? ""
    let long = option.longNames.map { "--\($0)" }.joined(separator: ", ")
    let value = option.kind == .flag ? "" : " \(option.valueName)"
    let initial = option.defaultText.map { " Default: \($0)." } ?? ""
    let variables = option.environment.isEmpty ? "" : " [\(option.environment.joined(separator: ", "))]"
    return (letter + long + value, option.help + initial + variables)
  }
}
