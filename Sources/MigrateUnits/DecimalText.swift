/// Decimal numbers without a sign, exactly: no floating point, so that `0.1` is a tenth.
package enum DecimalText {
  /// The number in `digits` times `factor`; `nil` when that is no number, not whole, or too large.
  static func scaled(_ digits: ArraySlice<UInt8>, by factor: Int) -> Int? {
    let parts = digits.split(separator: UInt8(ascii: "."), maxSplits: 1, omittingEmptySubsequences: false)
    guard let whole = parts.first, var total = number(whole) else { return nil }
    total = total.multipliedReportingOverflow(by: factor).overflow ? -1 : total * factor
    if total < 0 { return nil }
    guard parts.count == 2 else { return total }
    guard !parts[1].isEmpty else { return nil }
    var unit = factor
    for byte in parts[1] {
      guard (48...57).contains(byte) else { return nil }
      if byte == UInt8(ascii: "0") && unit % 10 != 0 { continue }
      guard unit % 10 == 0 else { return nil }
      unit /= 10
      let (sum, overflow) = total.addingReportingOverflow(unit * Int(byte - 48))
      if overflow { return nil }
      total = sum
    }
    return total
  }

  private static func number(_ digits: ArraySlice<UInt8>) -> Int? {
    guard !digits.isEmpty else { return nil }
    var value = 0
    for byte in digits {
      guard (48...57).contains(byte) else { return nil }
      let (product, tooLarge) = value.multipliedReportingOverflow(by: 10)
      let (sum, overflow) = product.addingReportingOverflow(Int(byte - 48))
      if tooLarge || overflow { return nil }
      value = sum
    }
    return value
  }
}
