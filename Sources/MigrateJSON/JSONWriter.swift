extension JSON {
  /// On one line, as a line of NDJSON.
  package var compact: String {
    var output: [UInt8] = []
    write(to: &output, indent: nil)
    return String(decoding: output, as: UTF8.self)
  }

  /// Over several lines, for a person and for `diff`.
  package var pretty: String {
    var output: [UInt8] = []
    write(to: &output, indent: 0)
    return String(decoding: output, as: UTF8.self)
  }

  private func write(to output: inout [UInt8], indent: Int?) {
    switch self {
    case .null: output += "null".utf8
    case .bool(let value): output += (value ? "true" : "false").utf8
    case .number(let digits):
      if JSONNumber.isOne(digits) { output += digits.utf8 } else { Self.write(digits, to: &output) }
    case .string(let text): Self.write(text, to: &output)
    case .array(let elements):
      Self.write(elements, between: ("[", "]"), to: &output, indent: indent) { $0.write(to: &$1, indent: $2) }
    case .object(let members):
      Self.write(members, between: ("{", "}"), to: &output, indent: indent) { member, output, inner in
        Self.write(member.name, to: &output)
        output += (inner == nil ? ":" : ": ").utf8
        member.value.write(to: &output, indent: inner)
      }
    }
  }

  private static func write<Item>(
    _ items: [Item], between brackets: (String, String), to output: inout [UInt8], indent: Int?,
    _ writeItem: (Item, inout [UInt8], Int?) -> Void
  ) {
    output += brackets.0.utf8
    let inner = indent.map { $0 + 2 }
    for (index, item) in items.enumerated() {
      if index > 0 { output += ",".utf8 }
      newLine(inner, to: &output)
      writeItem(item, &output, inner)
    }
    if !items.isEmpty { newLine(indent, to: &output) }
    output += brackets.1.utf8
  }

  private static func newLine(_ indent: Int?, to output: inout [UInt8]) {
    guard let indent else { return }
    output.append(UInt8(ascii: "\n"))
    output += repeatElement(UInt8(ascii: " "), count: indent)
  }

  /// Escapes what JSON asks for (RFC 8259, 7), and besides what a terminal would obey or what turns the direction of a text
  /// around: JSON is looked at, too (S08).
  private static func write(_ text: String, to output: inout [UInt8]) {
    output.append(UInt8(ascii: "\""))
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": output += "\\\"".utf8
      case "\\": output += "\\\\".utf8
      case "\n": output += "\\n".utf8
      case "\t": output += "\\t".utf8
      case "\r": output += "\\r".utf8
      case _ where isUnsafe(scalar): output += escape(scalar)
      default: output += UTF8.encode(scalar).map { Array($0) } ?? []
      }
    }
    output.append(UInt8(ascii: "\""))
  }

  /// The same as `Printable` of the command line.
  private static func isUnsafe(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0x00...0x1F, 0x7F...0x9F, 0x200E, 0x200F, 0x2028...0x202E, 0x2066...0x2069: true
    default: false
    }
  }

  /// All that are escaped lie below U+10000: no surrogates.
  private static func escape(_ scalar: Unicode.Scalar) -> [UInt8] {
    let digits = Array(String(scalar.value, radix: 16).utf8)
    return Array("\\u".utf8) + [UInt8](repeating: UInt8(ascii: "0"), count: 4 - digits.count) + digits
  }
}
