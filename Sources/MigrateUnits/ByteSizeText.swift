/// Amounts of storage as people type them and PostgreSQL reads them: `500MB`, `10GB`. A kilobyte has 1,024 bytes, as there.
package enum ByteSizeText {
  private static let units: [(name: String, bytes: Int)] = [
    ("kB", 1 << 10), ("MB", 1 << 20), ("GB", 1 << 30), ("TB", 1 << 40),
  ]

  /// As PostgreSQL writes it, in the largest unit that comes out even: `10GB`, `1536MB`; fewer than a kilobyte in bytes.
  package static func written(_ bytes: Int) -> String {
    guard bytes > 0, let unit = units.last(where: { bytes.isMultiple(of: $0.bytes) }) else { return "\(bytes)B" }
    return "\(bytes / unit.bytes)\(unit.name)"
  }

  /// The bytes; `nil` for anything else, a number without a unit included.
  package static func read(_ text: String) -> Int? {
    for unit in units where text.utf8.count > 2 && text.utf8.suffix(2).elementsEqual(unit.name.utf8) {
      var digits = Array(text.utf8.dropLast(2))
      if digits.last == UInt8(ascii: " ") { digits.removeLast() }
      return DecimalText.scaled(digits[...], by: unit.bytes)
    }
    return nil
  }
}
