/// Durations as people type them: `500ms`, `2s`, `1h30m`, `1.5s`.
package enum DurationText {
  private static let units: [(name: [UInt8], nanoseconds: Int)] = [
    (Array("d".utf8), 86_400_000_000_000), (Array("h".utf8), 3_600_000_000_000), (Array("m".utf8), 60_000_000_000),
    (Array("s".utf8), 1_000_000_000), (Array("ms".utf8), 1_000_000), (Array("us".utf8), 1_000),
  ]

  /// Numbers with units, from the largest unit to the smallest, each once; only the last may have a fraction, and it has to
  /// come out in whole nanoseconds. `nil` for anything else, a number without a unit included: `30` is seconds to one and
  /// minutes to the next.
  package static func read(_ text: String) -> Duration? {
    var rest = Array(text.utf8)[...]
    var total = 0
    var unitsLeft = units[...]
    guard !rest.isEmpty else { return nil }
    while !rest.isEmpty {
      let digits = rest.prefix { (48...57).contains($0) || $0 == UInt8(ascii: ".") }
      rest = rest.dropFirst(digits.count)
      let letters = Array(rest.prefix { (97...122).contains($0) })
      rest = rest.dropFirst(letters.count)
      guard let place = unitsLeft.firstIndex(where: { $0.name == letters }) else { return nil }
      let hasFraction = digits.contains(UInt8(ascii: "."))
      if hasFraction && !rest.isEmpty { return nil }
      guard let part = DecimalText.scaled(digits, by: unitsLeft[place].nanoseconds) else { return nil }
      let (sum, overflow) = total.addingReportingOverflow(part)
      if overflow { return nil }
      total = sum
      unitsLeft = unitsLeft[(place + 1)...]
    }
    return .nanoseconds(total)
  }
}
