/// What the text of a PL/pgSQL trigger function says about the row.
enum TriggerBody {
  /// Identifiers, keywords and `:=`, `=`, `.` in small letters; comments and strings left out.
  static func words(_ body: String) -> [String] {
    var words: [String] = []
    var word: [UInt8] = []
    let bytes = Array(body.utf8)
    var index = 0
    func flush() {
      if !word.isEmpty { words.append(String(decoding: word, as: UTF8.self).lowercased()) }
      word = []
    }
    while index < bytes.count {
      let byte = bytes[index]
      let next = index + 1 < bytes.count ? bytes[index + 1] : 0
      switch (byte, next) {
      case (UInt8(ascii: "-"), UInt8(ascii: "-")):
        flush()
        while index < bytes.count, bytes[index] != UInt8(ascii: "\n") { index += 1 }
      case (UInt8(ascii: "/"), UInt8(ascii: "*")):
        flush()
        while index + 1 < bytes.count, !(bytes[index] == UInt8(ascii: "*") && bytes[index + 1] == UInt8(ascii: "/")) {
          index += 1
        }
        index += 2
      case (UInt8(ascii: "'"), _):
        flush()
        index += 1
        while index < bytes.count, bytes[index] != UInt8(ascii: "'") { index += 1 }
        index += 1
      case (UInt8(ascii: ":"), UInt8(ascii: "=")):
        flush()
        words.append(":=")
        index += 2
      default:
        if isWord(byte) {
          word.append(byte)
        } else {
          flush()
          if [UInt8(ascii: "."), UInt8(ascii: "="), UInt8(ascii: ";"), UInt8(ascii: "(")].contains(byte) {
            words.append(String(decoding: [byte], as: UTF8.self))
          }
        }
        index += 1
      }
    }
    flush()
    return words
  }

  private static func isWord(_ byte: UInt8) -> Bool {
    (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte) || byte == UInt8(ascii: "_")
      || byte >= 128
  }

  /// The columns in `NEW.column :=`; `nil` when the row may be written in another way, so that it can be any.
  static func assignedColumns(_ words: [String]) -> [String]? {
    var columns: [String] = []
    for (index, word) in words.enumerated() where word == "new" {
      let rest = words[(index + 1)...].prefix(3).map { $0 }
      let before = index > 0 ? words[index - 1] : ";"
      // `SELECT … INTO NEW`, `NEW := …`, `f(NEW)` with an effect nobody can see from here.
      if before == "into" || rest.first == ":=" || (rest.first == "=" && isStatementStart(before)) { return nil }
      if rest.count >= 3, rest[0] == ".", rest[2] == ":=" || (rest[2] == "=" && isStatementStart(before)) {
        columns.append(rest[1])
      }
      if before == "," || before == "into", rest.first == "." { return nil }
    }
    return words.contains("into") && intoNew(words) ? nil : columns
  }

  private static func isStatementStart(_ word: String) -> Bool {
    [";", "begin", "then", "else", "loop"].contains(word)
  }

  private static func intoNew(_ words: [String]) -> Bool {
    zip(words, words.dropFirst()).contains { $0 == "into" && $1 == "new" }
  }
}
