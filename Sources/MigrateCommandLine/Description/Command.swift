/// A command as a value: what it is called and what it takes. What it does is written elsewhere.
package struct Command: Sendable {
  package let name: String
  /// Other names that habit expects: `rollback` for `revert`.
  package let aliases: [String]
  /// What it does, in a line.
  package let abstract: String
  /// What else a person should know, in paragraphs separated by an empty line.
  package let discussion: String
  package let positionals: [PositionalDescription]
  package let options: [OptionDescription]
  /// Options that exclude each other: at most one of each group.
  package let conflicts: [[String]]
  package let subcommands: [Command]
  package let examples: [Example]
  /// How it may end.
  package let exitCodes: [ExitCode]

  /// A line that can be pasted, and what it does.
  package struct Example: Sendable {
    package let line: String
    package let meaning: String

    package init(_ line: String, _ meaning: String) {
      self.line = line
      self.meaning = meaning
    }
  }

  package init(
    _ name: String, aliases: [String] = [], abstract: String, discussion: String = "",
    positionals: [any DescribedPositional] = [], options: [any DescribedOption] = [],
    conflicts: [[any DescribedOption]] = [],
    subcommands: [Command] = [], examples: [Example] = [], exitCodes: [ExitCode] = [.done, .failed, .usage]
  ) {
    self.name = name
    self.aliases = aliases
    self.abstract = abstract
    self.discussion = discussion
    self.positionals = positionals.map(\.description)
    self.options = options.map(\.description)
    self.conflicts = conflicts.map { $0.map(\.description.name) }
    self.subcommands = subcommands
    self.examples = examples
    self.exitCodes = exitCodes
  }

  func answers(to name: String) -> Bool {
    ([self.name] + aliases).contains { $0.utf8.elementsEqual(name.utf8) }
  }
}

extension Program {
  /// The command of that full name: `revert`, `sandbox start`.
  package func command(named name: String) -> Command? {
    var found: Command?
    for word in name.split(separator: " ") {
      found = (found.map(\.subcommands) ?? commands).first { $0.name.utf8.elementsEqual(word.utf8) }
    }
    return found
  }

  /// The options of all commands, each once.
  package var allOptions: [OptionDescription] {
    let all = globalOptions + commands.flatMap { $0.options + $0.subcommands.flatMap(\.options) }
    return all.enumerated().filter { index, option in !all[..<index].contains { $0.name == option.name } }.map(
      \.element)
  }
}

/// A command, or an option, that this version does not have, and what to do instead meanwhile.
package struct LaterCommand: Sendable {
  package let name: String
  package let instead: String?

  package init(_ name: String, instead: String? = nil) {
    self.name = name
    self.instead = instead
  }
}

/// The whole program as a value.
package struct Program: Sendable {
  package let name: String
  package let version: String
  package let abstract: String
  package let discussion: String
  package let commands: [Command]
  /// Known before the command and behind it.
  package let globalOptions: [OptionDescription]
  package let globalConflicts: [[String]]
  /// Refused as "not in this version" rather than as unknown.
  package let later: [LaterCommand]
  package let laterOptions: [LaterCommand]
  package let examples: [Command.Example]

  package init(
    _ name: String, version: String, abstract: String, discussion: String = "", commands: [Command],
    globalOptions: [any DescribedOption], globalConflicts: [[any DescribedOption]] = [], later: [LaterCommand] = [],
    laterOptions: [LaterCommand] = [],
    examples: [Command.Example] = []
  ) {
    self.name = name
    self.version = version
    self.abstract = abstract
    self.discussion = discussion
    self.commands = commands
    self.globalOptions = globalOptions.map(\.description)
    self.globalConflicts = globalConflicts.map { $0.map(\.description.name) }
    self.later = later
    self.laterOptions = laterOptions
    self.examples = examples
  }
}
