internal import MigrateDiagnostics

/// What was probably meant by a word that is unknown.
enum Correction {
  /// The candidate that `word` is a slip of, or the only one that it is the beginning of.
  static func of(_ word: String, among candidates: [String]) -> String? {
    // The distance takes time in proportion to both lengths; nobody misspells a word of a thousand letters.
    guard word.utf8.count <= 64 else { return nil }
    if let nearest = Suggestion.nearest(to: word, among: candidates) { return nearest }
    let continued = candidates.filter { $0.utf8.starts(with: word.utf8) }
    return word.utf8.count >= 2 && continued.count == 1 ? continued.first : nil
  }
}

extension Program {
  /// The command `word` of the program, or of the command at the end of `path`.
  func command(_ word: String, in path: [Command]) throws(UsageError) -> Command {
    let commands = path.last?.subcommands ?? self.commands
    if let found = commands.first(where: { $0.answers(to: word) }) { return found }
    if path.isEmpty, let later = later.first(where: { $0.name.utf8.elementsEqual(word.utf8) }) {
      throw .notInThisVersion(later.name, later, self)
    }
    throw .unknownCommand(word, in: path, among: commands, self)
  }
}

extension UsageError {
  fileprivate static func notInThisVersion(
    _ spelt: String, _ command: LaterCommand, _ program: Program
  ) -> UsageError {
    UsageError(
      "\(spelt) is not in this version (\(program.version))",
      remedy: command.instead ?? "`\(program.name) help` lists what it has")
  }

  fileprivate static func unknownCommand(
    _ word: String, in path: [Command], among commands: [Command], _ program: Program
  ) -> UsageError {
    let prefix = ([program.name] + path.map(\.name)).joined(separator: " ")
    if commands.isEmpty {
      return UsageError("\(path.last?.name ?? program.name) has no commands of its own", remedy: "`\(prefix) --help`")
    }
    let meant = Correction.of(word, among: commands.flatMap { [$0.name] + $0.aliases })
    let owner = path.last.map { "\($0.name) has no command \(shown(word))" }
    return UsageError(
      owner ?? "there is no command \(shown(word))",
      remedy: meant.map { "did you mean `\(prefix) \($0)`?" } ?? "one of "
        + commands.map(\.name).joined(separator: ", "))
  }

  static func unknownOption(_ spelt: String, known: [OptionDescription], reading: WordReader) -> UsageError {
    let name = String(decoding: spelt.utf8.drop { $0 == UInt8(ascii: "-") }, as: UTF8.self)
    if let later = reading.program.laterOptions.first(where: { $0.name.utf8.elementsEqual(name.utf8) }) {
      return notInThisVersion("--\(later.name)", later, reading.program)
    }
    if let meant = Correction.of(name, among: known.flatMap(\.longNames)) {
      return UsageError("unknown option \(shown(spelt))", remedy: "did you mean `--\(meant)`?")
    }
    return UsageError("unknown option \(shown(spelt))", remedy: whereItBelongs(name, reading))
  }

  static func unknownLetter(
    _ letter: Unicode.Scalar, in group: String, known: [OptionDescription], reading: WordReader
  ) -> UsageError {
    let name = String(decoding: group.utf8.dropFirst(), as: UTF8.self)
    if name.unicodeScalars.count > 2, let meant = Correction.of(name, among: known.flatMap(\.longNames)) {
      return UsageError("unknown option \(shown(group))", remedy: "with two dashes: did you mean `--\(meant)`?")
    }
    let isGroup = name.unicodeScalars.count > 1
    return UsageError(
      "unknown option \(shown("-\(letter)"))" + (isGroup ? " in \(shown(group))" : ""),
      remedy: whereItBelongs("", reading))
  }

  /// An option of a command, said before the command or to another one; otherwise, where options are listed.
  private static func whereItBelongs(_ name: String, _ reading: WordReader) -> String {
    let program = reading.program
    let owners = program.commands.filter {
      $0.options.contains { $0.longNames.contains { $0.utf8.elementsEqual(name.utf8) } }
    }
    if let owner = owners.first {
      if reading.path.isEmpty { return "it stands behind its command: `\(program.name) \(owner.name) --\(name)`" }
      return "it is an option of \(owners.map(\.name).joined(separator: ", "))"
    }
    return "`\(([program.name] + reading.path.map(\.name)).joined(separator: " ")) --help` lists the options"
  }
}
