/// Takes what may be a password out of the text of `migrate.yaml`, so that no message can show it (S04).
///
/// Letters and digits become `x`; what YAML reads as signs stays, and every byte keeps its place.
enum Secrets {
  private static let words = ["pass", "pwd", "secret", "token"].map { Array($0.utf8) }

  static func hidden(in bytes: [UInt8]) -> [UInt8] {
    var shown = bytes
    var start = 0
    while start < bytes.count {
      let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count
      if let first = secretStart(in: bytes[start..<end]) { hide(first..<end, in: &shown) }
      start = end + 1
    }
    return shown
  }

  static func hide(_ range: Range<Int>, in bytes: inout [UInt8]) {
    for offset in range where bytes.indices.contains(offset) {
      switch bytes[offset] {
      case 48...57, 65...90, 97...122, 0x80...: bytes[offset] = UInt8(ascii: "x")
      default: break
      }
    }
  }

  /// Behind `://`, or behind the `=` or `:` that follows a word which announces a secret; the first of them.
  private static func secretStart(in line: ArraySlice<UInt8>) -> Int? {
    let address = line.indices.first { line[$0...].starts(with: "://".utf8) }.map { $0 + 3 }
    let lower = line.map { (65...90).contains($0) ? $0 + 32 : $0 }
    let word = lower.indices.first { index in words.contains { lower[index...].starts(with: $0) } }
    let sign = word.flatMap { lower[$0...].firstIndex { $0 == UInt8(ascii: "=") || $0 == UInt8(ascii: ":") } }
    return [address, sign.map { line.startIndex + $0 + 1 }].compactMap { $0 }.min()
  }
}
