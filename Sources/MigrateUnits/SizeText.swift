/// Counts as people type them: `500`, `5k`, `1M`, `1.5M`.
package enum SizeText {
  /// A number, and `k`, `M` or `G` for thousands, millions, thousands of millions; it has to come out whole. A small `m` is
  /// refused: it might be milli, minutes or a million.
  package static func read(_ text: String) -> Int? {
    let bytes = Array(text.utf8)
    let factor: Int? =
      switch bytes.last {
      case UInt8(ascii: "k"), UInt8(ascii: "K"): 1_000
      case UInt8(ascii: "M"): 1_000_000
      case UInt8(ascii: "G"): 1_000_000_000
      default: nil
      }
    guard let factor else {
      return bytes.contains(UInt8(ascii: ".")) ? nil : DecimalText.scaled(bytes[...], by: 1)
    }
    return DecimalText.scaled(bytes.dropLast(), by: factor)
  }
}
