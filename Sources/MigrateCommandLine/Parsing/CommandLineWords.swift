/// The words of the command line, exactly: `CommandLine.arguments` replaces bytes that are not UTF-8 without a word, and
/// `--param name=…` would store another name than the one that was typed.
package enum CommandLineWords {
  /// The words behind the program's name.
  package static func ofProcess() throws(UsageError) -> [String] {
    var words: [[UInt8]] = []
    for index in 1..<max(1, Int(CommandLine.argc)) {
      guard let word = CommandLine.unsafeArgv[index] else { break }
      var length = 0
      while word[length] != 0 { length += 1 }
      words.append(Array(UnsafeRawBufferPointer(start: word, count: length)))
    }
    return try checked(words)
  }

  /// `words` as text.
  package static func checked(_ words: [[UInt8]]) throws(UsageError) -> [String] {
    var texts: [String] = []
    for (index, word) in words.enumerated() {
      guard let text = String(validating: word, as: UTF8.self) else { throw .notUTF8(index + 1, word) }
      texts.append(text)
    }
    return texts
  }
}

extension UsageError {
  fileprivate static func notUTF8(_ number: Int, _ word: [UInt8]) -> UsageError {
    UsageError(
      "argument \(number) is not valid UTF-8: \(shown(String(decoding: word, as: UTF8.self)))",
      remedy:
        "PostgreSQL and the definitions are read as UTF-8; `iconv` converts, and `locale` shows what the terminal sends"
    )
  }
}
