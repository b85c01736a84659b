/// Reads a command line by the description of a program. Pure, but for the files that `@FILE` names.
///
/// Follows what people know: options stand before or behind other arguments, `--name value` and `--name=value`, `-qv` for
/// `-q -v`, `--` ends the options, of an option said twice the last counts, the command line beats the environment.
package struct Parser: Sendable {
  let program: Program
  let environment: Environment
  let files: LongValueReader

  package init(_ program: Program, environment: Environment, files: LongValueReader = .system) {
    self.program = program
    self.environment = environment
    self.files = files
  }

  /// - Parameter words: what stands behind the program's name.
  package func parse(_ words: [String]) throws(UsageError) -> Invocation {
    var reading = WordReader(program, words)
    do {
      try reading.readAll()
      if let answer = try shown(for: reading) { return answer }
      return .run(try arguments(from: reading))
    } catch {
      // Who asks for help while stuck shall have it.
      guard reading.asksForHelpLater else { throw error }
      return .show(HelpText.of(reading.path, in: program))
    }
  }

  /// The text that `--help`, `--version` and the commands of these names ask for.
  private func shown(for reading: WordReader) throws(UsageError) -> Invocation? {
    if reading.isSet("help") { return .show(HelpText.of(reading.path, in: program)) }
    let name = reading.path.last?.name
    if reading.isSet("version") || name == "version" && reading.positionals.isEmpty {
      return .show("\(program.name) \(program.version)\n")
    }
    guard name == "help" else { return nil }
    var path: [Command] = []
    for word in reading.positionals { path.append(try program.command(word, in: path)) }
    return .show(HelpText.of(path, in: program))
  }

  private func arguments(from reading: WordReader) throws(UsageError) -> Arguments {
    guard let command = reading.path.last else { throw .missingCommand(of: program) }
    guard command.subcommands.isEmpty else { throw .missingSubcommand(of: command, in: program) }
    let positionals = try PositionalAssignment(reading).assigned()
    var options = reading.options
    for (name, given) in try fromEnvironment(besides: reading) { options[name] = given }
    try checkConflicts(of: options, for: command)
    try expandLongValues(of: &options, described: reading.known)
    return Arguments(command: reading.commandName, options: options, positionals: positionals)
  }

  /// What variables say of options that the command line leaves open. A variable gives way, too, to an option on the command
  /// line that excludes it: `plan --json` with `MIGRATE_MARKDOWN=1` is no conflict.
  private func fromEnvironment(besides reading: WordReader) throws(UsageError) -> [String: Arguments.Given] {
    var found: [String: Arguments.Given] = [:]
    let groups = program.globalConflicts + (reading.path.last?.conflicts ?? [])
    for option in reading.known where reading.options[option.name] == nil {
      guard let variable = option.environment.first(where: { environment.bytes($0) != nil }) else { continue }
      let rivals = groups.filter { $0.contains(option.name) }.joined()
      if rivals.contains(where: { reading.isSet($0) }) { continue }
      guard let text = String(validating: environment.bytes(variable) ?? [], as: UTF8.self), option.accepts(text) else {
        throw .badVariable(variable, environment.text(variable) ?? "", for: option)
      }
      let isTakenBack = option.kind == .flag && ValueForm.yesOrNo.read(text) == false
      found[option.name] = Arguments.Given(
        texts: [text], origin: .environment(variable: variable), isTakenBack: isTakenBack)
    }
    return found
  }

  private func checkConflicts(of options: [String: Arguments.Given], for command: Command) throws(UsageError) {
    for group in program.globalConflicts + command.conflicts {
      let given = group.filter { options[$0].map { !$0.isTakenBack } ?? false }
      if given.count > 1 { throw .conflicting(given.map { ($0, options[$0]?.origin) }) }
    }
  }

  private func expandLongValues(
    of options: inout [String: Arguments.Given], described known: [OptionDescription]
  ) throws(UsageError) {
    var inputTakenBy: String?
    for option in known where option.mayBeLong {
      for (index, text) in (options[option.name]?.texts ?? []).enumerated() {
        guard let path = LongValue(text).path else {
          options[option.name]?.texts[index] = LongValue(text).literal
          continue
        }
        if path.utf8.elementsEqual("-".utf8) {
          if let other = inputTakenBy { throw .inputTwice(other, option) }
          inputTakenBy = option.name
        }
        options[option.name]?.texts[index] = try content(of: path, for: option)
      }
    }
  }

  /// The file's text without its last newline, which an editor put there.
  private func content(of path: String, for option: OptionDescription) throws(UsageError) -> String {
    var bytes: [UInt8]
    do { bytes = try files.read(path).get() } catch { throw .unreadable(path, error, for: option) }
    if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
    if bytes.last == UInt8(ascii: "\r") { bytes.removeLast() }
    guard let text = String(validating: bytes, as: UTF8.self), option.accepts(text) else {
      throw .badContent(path, for: option)
    }
    return text
  }
}

extension Parser {
  /// `arguments` with `defaults`, those of a file, for what nobody has said. A default gives way, too, to a rival of its option.
  package func adding(_ defaults: [(option: String, text: String)], to arguments: Arguments) -> Arguments {
    let command = program.command(named: arguments.command)
    let known = program.globalOptions + (command?.options ?? [])
    let groups = program.globalConflicts + (command?.conflicts ?? [])
    var filled = arguments
    for (name, text) in defaults {
      guard filled.options[name] == nil, let option = known.first(where: { $0.name.utf8.elementsEqual(name.utf8) })
      else { continue }
      let rivals = groups.filter { $0.contains(name) }.joined()
      if rivals.contains(where: { filled.options[$0].map { !$0.isTakenBack } ?? false }) { continue }
      let isTakenBack = option.kind == .flag && ValueForm.yesOrNo.read(text) == false
      filled.options[name] = Arguments.Given(texts: [text], origin: .file, isTakenBack: isTakenBack)
    }
    return filled
  }
}

/// A value as typed for an option that may be long.
private struct LongValue {
  /// The file to read, `-` for standard input.
  var path: String?
  /// The value itself, when there is no file.
  var literal: String

  init(_ typed: String) {
    literal = typed
    let at = UInt8(ascii: "@")
    if typed.utf8.elementsEqual("-".utf8) { path = typed }
    guard typed.utf8.first == at else { return }
    let rest = String(decoding: typed.utf8.dropFirst(), as: UTF8.self)
    if rest.utf8.first == at { literal = rest } else { path = rest }
  }
}

extension UsageError {
  fileprivate static func missingCommand(of program: Program) -> UsageError {
    UsageError(
      "a command is missing",
      remedy: "say what to do, e.g. `\(program.name) \(program.commands.first?.name ?? "help")`",
      help: HelpText.of([], in: program))
  }

  fileprivate static func missingSubcommand(of command: Command, in program: Program) -> UsageError {
    UsageError(
      "\(command.name) needs a command of its own",
      remedy: "one of "
        + command.subcommands.map { "`\(program.name) \(command.name) \($0.name)`" }.joined(separator: ", "))
  }

  fileprivate static func badVariable(_ variable: String, _ text: String, for option: OptionDescription) -> UsageError {
    UsageError(
      "the variable \(variable) is \(shown(text)), which is not \(option.expectation)",
      remedy: "`unset \(variable)`, or say --\(option.name) on the command line")
  }

  fileprivate static func conflicting(_ given: [(name: String, origin: Arguments.Origin?)]) -> UsageError {
    let spelt = given.map { name, origin in
      if case .environment(let variable) = origin { "the variable \(variable)" } else { "--\(name)" }
    }
    return UsageError(spelt.joined(separator: " and ") + " exclude each other", remedy: "say one of them")
  }

  fileprivate static func inputTwice(_ other: String, _ option: OptionDescription) -> UsageError {
    UsageError(
      "--\(other) and --\(option.name) both read standard input",
      remedy: "give one of them a file: --\(option.name) @FILE")
  }

  fileprivate static func unreadable(
    _ path: String, _ failure: LongValueReader.Failure, for option: OptionDescription
  ) -> UsageError {
    let file = path.utf8.elementsEqual("-".utf8) ? "standard input" : "the file \(shown(path))"
    let reason =
      switch failure {
      case .unreadable(let text): "cannot be read: \(text)"
      case .tooLong(let limit): "is longer than \(limit / 1_048_576) MiB"
      }
    return UsageError(
      "\(file) for --\(option.name) \(reason)",
      remedy: "a value that begins with @ itself is written with two: --\(option.name) @@…")
  }

  fileprivate static func badContent(_ path: String, for option: OptionDescription) -> UsageError {
    UsageError(
      "what \(shown(path)) holds for --\(option.name) is not \(option.expectation)",
      remedy: "`file \(path)` tells the encoding, which has to be UTF-8")
  }
}
