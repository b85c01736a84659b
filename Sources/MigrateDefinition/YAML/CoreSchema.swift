/// What an unquoted scalar means by the core schema of YAML 1.2 (chapter 10.3): `NO`, `on`, `1:30`, `1_000` and dates are texts.
enum CoreSchema: Equatable {
  case null
  case bool(Bool)
  /// Decimal digits, with or without fraction and exponent.
  case decimal
  /// `0o17`, `0x1F`.
  case otherBase(Int?)
  /// `.inf`, `-.inf`, `.nan`, with PostgreSQL's name for it.
  case special(String)
  case text

  init(_ scalar: String) {
    let bytes = Array(scalar.utf8)
    switch bytes {
    case []: self = .null
    case _ where Self.isOne(of: ["~", "null", "Null", "NULL"], bytes): self = .null
    case _ where Self.isOne(of: ["true", "True", "TRUE"], bytes): self = .bool(true)
    case _ where Self.isOne(of: ["false", "False", "FALSE"], bytes): self = .bool(false)
    case _ where Self.isOne(of: [".nan", ".NaN", ".NAN"], bytes): self = .special("NaN")
    default: self = Self.number(bytes) ?? .text
    }
  }

  private static func isOne(of words: [String], _ bytes: [UInt8]) -> Bool {
    words.contains { $0.utf8.elementsEqual(bytes) }
  }

  private static func number(_ bytes: [UInt8]) -> CoreSchema? {
    let isNegative = bytes.first == UInt8(ascii: "-")
    let isSigned = isNegative || bytes.first == UInt8(ascii: "+")
    let magnitude = isSigned ? bytes.dropFirst() : bytes[...]
    if isOne(of: [".inf", ".Inf", ".INF"], Array(magnitude)) { return .special(isNegative ? "-Infinity" : "Infinity") }
    if !isSigned, let radix = base(of: magnitude.prefix(2)) {
      let digits = String(decoding: magnitude.dropFirst(2), as: UTF8.self)
      let areDigits = magnitude.count > 2 && magnitude.dropFirst(2).allSatisfy { isDigit($0, of: radix) }
      return areDigits ? .otherBase(Int(digits, radix: radix)) : nil
    }
    return isDecimal(magnitude) ? .decimal : nil
  }

  private static func base(of prefix: ArraySlice<UInt8>) -> Int? {
    if prefix.elementsEqual("0o".utf8) { return 8 }
    return prefix.elementsEqual("0x".utf8) ? 16 : nil
  }

  private static func isDigit(_ byte: UInt8, of radix: Int) -> Bool {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "7"): true
    case UInt8(ascii: "8"), UInt8(ascii: "9"): radix > 8
    case UInt8(ascii: "a")...UInt8(ascii: "f"), UInt8(ascii: "A")...UInt8(ascii: "F"): radix > 10
    default: false
    }
  }

  /// `( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
  private static func isDecimal(_ bytes: ArraySlice<UInt8>) -> Bool {
    var rest = bytes
    func digits() -> Int {
      let count = rest.prefix { isDigit($0, of: 10) }.count
      rest = rest.dropFirst(count)
      return count
    }
    let whole = digits()
    if rest.first == UInt8(ascii: ".") {
      rest = rest.dropFirst()
      if digits() == 0, whole == 0 { return false }
    } else if whole == 0 {
      return false
    }
    guard rest.first == UInt8(ascii: "e") || rest.first == UInt8(ascii: "E") else { return rest.isEmpty }
    rest = rest.dropFirst()
    if rest.first == UInt8(ascii: "+") || rest.first == UInt8(ascii: "-") { rest = rest.dropFirst() }
    return digits() > 0 && rest.isEmpty
  }
}
