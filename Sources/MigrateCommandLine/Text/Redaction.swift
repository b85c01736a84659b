/// Takes passwords out of texts that are shown, logged or stored (S04).
package enum Redaction {
  /// `text` with `***` for the password of each URL (`://user:***@`) and of each setting (`password=***`). Rather too much than
  /// too little: a password may hold `@` and `/`, so all up to the last `@` of the word counts.
  package static func withoutPasswords(_ text: String) -> String {
    var bytes = Array(text.utf8)
    var from = 0
    while let start = position(of: Array("://".utf8), in: bytes, from: from) {
      from = start + 3
      let end = bytes[from...].firstIndex { $0 <= 0x20 } ?? bytes.count
      guard let at = bytes[from..<end].lastIndex(of: UInt8(ascii: "@")) else { continue }
      guard let colon = bytes[from..<at].firstIndex(of: UInt8(ascii: ":")) else { continue }
      bytes.replaceSubrange((colon + 1)..<at, with: mask)
      from = colon + 1 + mask.count
    }
    from = 0
    while let start = position(of: Array("password".utf8), in: bytes, from: from) {
      from = start + 8
      let afterName = bytes[from...].firstIndex { $0 != 0x20 } ?? bytes.count
      guard afterName < bytes.count, bytes[afterName] == UInt8(ascii: "=") else { continue }
      let first = bytes[(afterName + 1)...].firstIndex { $0 != 0x20 } ?? bytes.count
      let end = endOfSetting(in: bytes, from: first)
      bytes.replaceSubrange(first..<end, with: mask)
      from = first + mask.count
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  private static let mask = Array("***".utf8)

  private static func endOfSetting(in bytes: [UInt8], from first: Int) -> Int {
    let quote = UInt8(ascii: "'")
    guard first < bytes.count, bytes[first] == quote else {
      return bytes[first...].firstIndex { $0 <= 0x20 || $0 == UInt8(ascii: "&") } ?? bytes.count
    }
    var index = first + 1
    while index < bytes.count, bytes[index] != quote { index += bytes[index] == UInt8(ascii: "\\") ? 2 : 1 }
    return min(index + 1, bytes.count)
  }

  /// Where `word`, in small letters, stands in `bytes`, whatever the case there.
  private static func position(of word: [UInt8], in bytes: [UInt8], from start: Int) -> Int? {
    guard bytes.count >= word.count, start <= bytes.count - word.count else { return nil }
    return (start...(bytes.count - word.count)).first { place in
      word.indices.allSatisfy { offset in
        let byte = bytes[place + offset]
        return word[offset] == ((65...90).contains(byte) ? byte + 32 : byte)
      }
    }
  }
}
