/// Takes passwords out of texts that are shown, logged or stored (S04).
package enum Redaction {
  private static let mask = Array("***".utf8)
  private static let setting = Array("password".utf8)

  /// `text` with `***` for the password of each URL (`://user:***@`) and of each setting (`password=***`). Rather too much than
  /// too little: a password may hold `@` and `/`, so all up to the last `@` of the word counts. One pass, whatever the text.
  package static func withoutPasswords(_ text: String) -> String {
    String(decoding: withoutSettings(withoutCredentials(Array(text.utf8))), as: UTF8.self)
  }

  private static func withoutCredentials(_ bytes: [UInt8]) -> [UInt8] {
    var result: [UInt8] = []
    var start = 0
    while start < bytes.count {
      var end = start
      while end < bytes.count, bytes[end] > 0x20 { end += 1 }
      if let password = password(in: bytes[start..<end]) {
        result += bytes[start..<password.lowerBound] + mask + bytes[password.upperBound..<end]
      } else {
        result += bytes[start..<end]
      }
      if end < bytes.count { result.append(bytes[end]) }
      start = end + 1
    }
    return result
  }

  /// What stands in `word` between the colon behind the user and the last `@`.
  private static func password(in word: ArraySlice<UInt8>) -> Range<Int>? {
    let slash = UInt8(ascii: "/")
    let colon = UInt8(ascii: ":")
    guard let at = word.lastIndex(of: UInt8(ascii: "@")) else { return nil }
    var index = word.startIndex
    while index + 3 <= at {
      if word[index] == colon, word[index + 1] == slash, word[index + 2] == slash {
        return word[(index + 3)..<at].firstIndex(of: colon).map { ($0 + 1)..<at }
      }
      index += 1
    }
    return nil
  }

  private static func withoutSettings(_ bytes: [UInt8]) -> [UInt8] {
    var result: [UInt8] = []
    var index = 0
    while index < bytes.count {
      if isSetting(bytes, at: index) {
        let first = skipBlanks(in: bytes, from: index + setting.count)
        if first < bytes.count, bytes[first] == UInt8(ascii: "=") {
          let value = skipBlanks(in: bytes, from: first + 1)
          result += bytes[index..<value] + mask
          index = endOfSetting(in: bytes, from: value)
          continue
        }
      }
      result.append(bytes[index])
      index += 1
    }
    return result
  }

  /// Whether the word `password` stands at `index`, in whatever letters.
  private static func isSetting(_ bytes: [UInt8], at index: Int) -> Bool {
    guard index + setting.count <= bytes.count else { return false }
    for offset in 0..<setting.count where bytes[index + offset] | 0x20 != setting[offset] { return false }
    return true
  }

  private static func skipBlanks(in bytes: [UInt8], from start: Int) -> Int {
    var index = start
    while index < bytes.count, bytes[index] == 0x20 { index += 1 }
    return index
  }

  private static func endOfSetting(in bytes: [UInt8], from first: Int) -> Int {
    let quote = UInt8(ascii: "'")
    var index = first
    guard first < bytes.count, bytes[first] == quote else {
      while index < bytes.count, bytes[index] > 0x20, bytes[index] != UInt8(ascii: "&") { index += 1 }
      return index
    }
    index += 1
    while index < bytes.count, bytes[index] != quote { index += bytes[index] == UInt8(ascii: "\\") ? 2 : 1 }
    return min(index + 1, bytes.count)
  }
}
