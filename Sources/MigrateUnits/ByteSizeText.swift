/// Amounts of storage as people type them and PostgreSQL reads them: `500MB`, `10GB`. A kilobyte has 1,024 bytes, as there.
package enum ByteSizeText {
  private static let units: [(name: String, bytes: Int)] = [
    ("kB", 1 << 10), ("MB", 1 << 20), ("GB", 1 << 30), ("TB", 1 << 40),
  ]

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
