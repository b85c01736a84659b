/// Writes JSON, as RFC 8259 has it.
package enum JSONWriter {
  /// On one line, without blanks.
  package static func compact(_ value: JSONValue) -> String {
    var bytes: [UInt8] = []
    write(value, to: &bytes, depth: nil)
    return String(decoding: bytes, as: UTF8.self)
  }

  /// A member a line, for people; without a newline at the end.
  package static func pretty(_ value: JSONValue) -> String {
    var bytes: [UInt8] = []
    write(value, to: &bytes, depth: 0)
    return String(decoding: bytes, as: UTF8.self)
  }

  /// One event of a stream: a document and its newline, to be written in one piece, so that a reader sees whole lines
  /// whenever the program ends (P26).
  package static func line(_ value: JSONValue) -> String { compact(value) + "\n" }

  /// - Parameter depth: how far lines are indented; `nil` for all on one line.
  private static func write(_ value: JSONValue, to bytes: inout [UInt8], depth: Int?) {
    switch value {
    case .object(let members):
      list("{", members, "}", to: &bytes, depth: depth) { member, bytes, depth in
        writeString(member.name, to: &bytes)
        bytes += Array((depth == nil ? ":" : ": ").utf8)
        write(member.value, to: &bytes, depth: depth)
      }
    case .array(let elements):
      list("[", elements, "]", to: &bytes, depth: depth) { write($0, to: &$1, depth: $2) }
    case .string(let text): writeString(text, to: &bytes)
    case .integer(let number): bytes += Array(String(number).utf8)
    case .number(let text):
      if isNumber(Array(text.utf8)) { bytes += Array(text.utf8) } else { writeString(text, to: &bytes) }
    case .bool(let value): bytes += Array((value ? "true" : "false").utf8)
    case .null: bytes += Array("null".utf8)
    }
  }

  private static func list<Element>(
    _ open: Unicode.Scalar, _ elements: [Element], _ close: Unicode.Scalar, to bytes: inout [UInt8], depth: Int?,
    each: (Element, inout [UInt8], Int?) -> Void
  ) {
    bytes.append(UInt8(ascii: open))
    for (index, element) in elements.enumerated() {
      if index > 0 { bytes.append(UInt8(ascii: ",")) }
      newline(to: &bytes, depth: depth.map { $0 + 1 })
      each(element, &bytes, depth.map { $0 + 1 })
    }
    if !elements.isEmpty { newline(to: &bytes, depth: depth) }
    bytes.append(UInt8(ascii: close))
  }

  private static func newline(to bytes: inout [UInt8], depth: Int?) {
    guard let depth else { return }
    bytes.append(UInt8(ascii: "\n"))
    bytes += [UInt8](repeating: 0x20, count: 2 * depth)
  }

  /// Escapes what JSON asks for, and besides what a terminal would obey, see ``Printable``: JSON is looked at, too (S08).
  private static func writeString(_ text: String, to bytes: inout [UInt8]) {
    bytes.append(UInt8(ascii: "\""))
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": bytes += Array("\\\"".utf8)
      case "\\": bytes += Array("\\\\".utf8)
      case "\n": bytes += Array("\\n".utf8)
      case "\r": bytes += Array("\\r".utf8)
      case "\t": bytes += Array("\\t".utf8)
      case _ where Printable.isUnsafe(scalar): bytes += escape(scalar)
      default: bytes += UTF8.encode(scalar).map { Array($0) } ?? []
      }
    }
    bytes.append(UInt8(ascii: "\""))
  }

  /// All that are escaped lie below U+10000: no surrogates.
  private static func escape(_ scalar: Unicode.Scalar) -> [UInt8] {
    let digits = Array(String(scalar.value, radix: 16).utf8)
    return Array("\\u".utf8) + [UInt8](repeating: UInt8(ascii: "0"), count: 4 - digits.count) + digits
  }

  /// -?(0|[1-9][0-9]*)(.[0-9]+)?([eE][+-]?[0-9]+)?
  private static func isNumber(_ text: [UInt8]) -> Bool {
    var rest = text[...]
    func digits() -> Int {
      let count = rest.prefix { (48...57).contains($0) }.count
      rest = rest.dropFirst(count)
      return count
    }
    if rest.first == UInt8(ascii: "-") { rest = rest.dropFirst() }
    let startsWithZero = rest.first == UInt8(ascii: "0")
    let whole = digits()
    guard whole > 0, !startsWithZero || whole == 1 else { return false }
    if rest.first == UInt8(ascii: ".") {
      rest = rest.dropFirst()
      guard digits() > 0 else { return false }
    }
    if rest.first == UInt8(ascii: "e") || rest.first == UInt8(ascii: "E") {
      rest = rest.dropFirst()
      if rest.first == UInt8(ascii: "+") || rest.first == UInt8(ascii: "-") { rest = rest.dropFirst() }
      guard digits() > 0 else { return false }
    }
    return rest.isEmpty
  }
}
