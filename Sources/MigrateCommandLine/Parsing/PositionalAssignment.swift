/// The second half of parsing: gives each plain word to the positional argument that it belongs to.
struct PositionalAssignment {
  private let command: Command?
  private let prefix: String
  private let words: [String]

  init(_ reading: WordReader) {
    command = reading.path.last
    prefix = "\(reading.program.name) \(reading.commandName)"
    words = reading.positionals
  }

  func assigned() throws(UsageError) -> [String: [String]] {
    var assigned: [String: [String]] = [:]
    var rest = words[...]
    for positional in command?.positionals ?? [] {
      let taken = positional.takesMany ? rest : rest.prefix(1)
      rest = rest.dropFirst(taken.count)
      if taken.isEmpty && positional.isRequired { throw .missing(positional, of: prefix, command) }
      for word in taken where !positional.accepts(word) { throw .bad(word, positional, of: prefix) }
      assigned[positional.name] = Array(taken)
    }
    if let word = rest.first { throw .unexpected(word, of: prefix, command) }
    return assigned
  }
}

extension UsageError {
  fileprivate static func missing(
    _ positional: PositionalDescription, of prefix: String, _ command: Command?
  ) -> UsageError {
    UsageError(
      "\(positional.name) is missing", remedy: "`\(prefix) \(takes(command))`; `\(prefix) --help` explains it")
  }

  private static func takes(_ command: Command?) -> String {
    command?.positionals.map(\.usage).joined(separator: " ") ?? ""
  }

  fileprivate static func bad(_ word: String, _ positional: PositionalDescription, of prefix: String) -> UsageError {
    let meant = Correction.of(word, among: positional.choices)
    return UsageError(
      "\(shown(word)) is not \(positional.expectation)",
      remedy: meant.map { "did you mean `\(prefix) \($0)`?" }
        ?? "`\(prefix) \(positional.usage)`; `\(prefix) --help` explains it")
  }

  fileprivate static func unexpected(_ word: String, of prefix: String, _ command: Command?) -> UsageError {
    let takes = takes(command)
    return UsageError(
      "unexpected argument \(shown(word))",
      remedy: takes.isEmpty ? "`\(prefix)` takes none" : "it takes: `\(prefix) \(takes)`")
  }
}
