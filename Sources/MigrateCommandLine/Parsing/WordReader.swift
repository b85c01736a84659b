/// The first half of parsing: tells commands, options and arguments apart, word by word and on bytes.
///
/// On bytes, because to `Character` the `=` of `--reason=` is another letter when the value begins with a combining accent.
struct WordReader {
  let program: Program
  private var rest: ArraySlice<String>
  private var optionsEnded = false
  /// The command and its subcommand, as far as they have been said.
  private(set) var path: [Command] = []
  private(set) var positionals: [String] = []
  private(set) var options: [String: Arguments.Given] = [:]

  init(_ program: Program, _ words: [String]) {
    self.program = program
    rest = words[...]
  }

  /// The options that count here.
  var known: [OptionDescription] { program.globalOptions + (path.last?.options ?? []) }

  var commandName: String { path.map(\.name).joined(separator: " ") }

  func isSet(_ name: String) -> Bool { options[name].map { !$0.isTakenBack } ?? false }

  /// Whether `--help` was said, or stands among the words that were not reached.
  var asksForHelpLater: Bool {
    if isSet("help") { return true }
    guard !optionsEnded else { return false }
    return rest.prefix { !$0.utf8.elementsEqual("--".utf8) }.contains {
      $0.utf8.elementsEqual("--help".utf8) || $0.utf8.elementsEqual("-h".utf8)
    }
  }

  mutating func readAll() throws(UsageError) {
    while let word = rest.popFirst() {
      let bytes = Array(word.utf8)
      if optionsEnded || !Self.looksLikeOption(bytes) {
        try readPlain(word)
      } else if bytes == Array("--".utf8) {
        optionsEnded = true
      } else if bytes.starts(with: Array("--".utf8)) {
        try readLong(bytes)
      } else {
        try readShort(bytes)
      }
    }
  }

  /// `-` is standard input and `-5` a number; all else behind a dash is an option.
  private static func looksLikeOption(_ bytes: [UInt8]) -> Bool {
    guard bytes.count > 1, bytes[0] == UInt8(ascii: "-") else { return false }
    let digits = bytes.dropFirst()
    let isNumber =
      digits.contains { (48...57).contains($0) } && digits.allSatisfy { (48...57).contains($0) || $0 == 46 }
    return !isNumber
  }

  private mutating func readPlain(_ word: String) throws(UsageError) {
    if path.last?.subcommands.isEmpty ?? true, !path.isEmpty {
      positionals.append(word)
    } else {
      path.append(try program.command(word, in: path))
    }
  }

  private mutating func readLong(_ bytes: [UInt8]) throws(UsageError) {
    let body = bytes.dropFirst(2)
    let equals = body.firstIndex(of: UInt8(ascii: "="))
    let name = body[..<(equals ?? body.endIndex)]
    let attached = equals.map { String(decoding: body[($0 + 1)...], as: UTF8.self) }
    if let option = option(long: name) {
      try take(option, spelt: "--" + String(decoding: name, as: UTF8.self), attached: attached)
    } else if let option = flag(negatedBy: name), attached == nil {
      options[option.name] = Arguments.Given(texts: ["no"], origin: .commandLine, isTakenBack: true)
    } else {
      throw .unknownOption("--" + String(decoding: name, as: UTF8.self), known: known, reading: self)
    }
  }

  /// A group of letters: flags, and behind the first one that takes a value the value itself.
  private mutating func readShort(_ bytes: [UInt8]) throws(UsageError) {
    var letters = Substring(String(decoding: bytes.dropFirst(), as: UTF8.self)).unicodeScalars
    while let letter = letters.popFirst() {
      guard let option = known.first(where: { $0.short == letter }) else {
        throw .unknownLetter(letter, in: String(decoding: bytes, as: UTF8.self), known: known, reading: self)
      }
      if option.kind == .flag {
        try take(option, spelt: "-\(letter)", attached: nil)
      } else {
        var attached = Array(String(letters).utf8)[...]
        if attached.first == UInt8(ascii: "=") { attached = attached.dropFirst() }
        let value = letters.isEmpty ? nil : String(decoding: attached, as: UTF8.self)
        try take(option, spelt: "-\(letter)", attached: value)
        return
      }
    }
  }

  private mutating func take(_ option: OptionDescription, spelt: String, attached: String?) throws(UsageError) {
    if option.kind == .flag {
      if attached != nil { throw .flagWithValue(option, spelt) }
      give(option, "yes")
      return
    }
    guard let value = attached ?? nextValue() else { throw .missingValue(option, spelt, next: rest.first) }
    guard option.accepts(value) || option.mayBeLong else { throw .badValue(option, spelt, value, path: path, program) }
    give(option, value)
  }

  /// The next word, unless it is an option: a forgotten value must not swallow the option behind it.
  private mutating func nextValue() -> String? {
    guard let word = rest.first, !Self.looksLikeOption(Array(word.utf8)) else { return nil }
    return rest.popFirst()
  }

  private mutating func give(_ option: OptionDescription, _ text: String) {
    let earlier = option.kind == .repeated ? options[option.name]?.texts ?? [] : []
    options[option.name] = Arguments.Given(texts: earlier + [text], origin: .commandLine)
  }

  private func option(long name: ArraySlice<UInt8>) -> OptionDescription? {
    known.first { $0.longNames.contains { $0.utf8.elementsEqual(name) } }
  }

  private func flag(negatedBy name: ArraySlice<UInt8>) -> OptionDescription? {
    guard name.starts(with: Array("no-".utf8)) else { return nil }
    return option(long: name.dropFirst(3)).flatMap { $0.kind == .flag ? $0 : nil }
  }
}

extension UsageError {
  fileprivate static func flagWithValue(_ option: OptionDescription, _ spelt: String) -> UsageError {
    UsageError("\(spelt) takes no value", remedy: "`\(spelt)` sets it, `--no-\(option.name)` takes it back")
  }

  fileprivate static func missingValue(_ option: OptionDescription, _ spelt: String, next: String?) -> UsageError {
    let attached = spelt.utf8.count > 2 ? "\(spelt)=\(option.valueName)" : "\(spelt)\(option.valueName)"
    return UsageError(
      "\(spelt) needs a value",
      remedy: next == nil
        ? "`\(spelt) \(option.valueName)`" : "a value that begins with a dash is attached: `\(attached)`")
  }

  fileprivate static func badValue(
    _ option: OptionDescription, _ spelt: String, _ value: String, path: [Command], _ program: Program
  ) -> UsageError {
    let help = ([program.name] + path.map(\.name) + ["--help"]).joined(separator: " ")
    return UsageError(
      "\(spelt) \(shown(value)) is not \(option.expectation)",
      remedy: Correction.of(value, among: option.choices).map { "did you mean `\(spelt) \($0)`?" }
        ?? "`\(help)` explains it")
  }
}
