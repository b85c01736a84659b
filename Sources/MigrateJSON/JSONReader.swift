extension JSON {
  /// Reads `bytes`, one document of RFC 8259.
  ///
  /// - Throws: ``Malformed`` with the offset of the first byte that does not fit.
  package init(_ bytes: [UInt8]) throws(Malformed) {
    var reader = Reader(bytes: bytes)
    self = try reader.value(depth: 0)
    reader.skipSpace()
    guard reader.offset == bytes.count else { throw Malformed(offset: reader.offset) }
  }

  /// Reads `text`, one document of RFC 8259.
  package init(_ text: String) throws(Malformed) {
    try self.init(Array(text.utf8))
  }

  /// The text is no JSON, from the byte at `offset` on.
  package struct Malformed: Error, Equatable {
    package let offset: Int
  }

  private struct Reader {
    let bytes: [UInt8]
    var offset = 0
    /// PostgreSQL itself nests no deeper than its stack allows, some thousands; a plan or catalog needs ten.
    static let deepest = 2_000

    init(bytes: [UInt8]) { self.bytes = bytes }

    var current: UInt8? { offset < bytes.count ? bytes[offset] : nil }

    mutating func skipSpace() {
      while let byte = current, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { offset += 1 }
    }

    mutating func take(_ byte: UInt8) -> Bool {
      skipSpace()
      guard current == byte else { return false }
      offset += 1
      return true
    }

    mutating func expect(_ literal: String) throws(Malformed) {
      guard bytes[offset...].starts(with: literal.utf8) else { throw Malformed(offset: offset) }
      offset += literal.utf8.count
    }

    mutating func value(depth: Int) throws(Malformed) -> JSON {
      guard depth < Self.deepest else { throw Malformed(offset: offset) }
      skipSpace()
      switch current {
      case UInt8(ascii: "{"): return try object(depth: depth)
      case UInt8(ascii: "["): return try array(depth: depth)
      case UInt8(ascii: "\""): return .string(try string())
      case UInt8(ascii: "t"):
        try expect("true")
        return .bool(true)
      case UInt8(ascii: "f"):
        try expect("false")
        return .bool(false)
      case UInt8(ascii: "n"):
        try expect("null")
        return .null
      default: return .number(try number())
      }
    }

    mutating func object(depth: Int) throws(Malformed) -> JSON {
      offset += 1
      var members: [Member] = []
      if take(UInt8(ascii: "}")) { return .object(members) }
      repeat {
        skipSpace()
        guard current == UInt8(ascii: "\"") else { throw Malformed(offset: offset) }
        let name = try string()
        guard take(UInt8(ascii: ":")) else { throw Malformed(offset: offset) }
        members.append(Member(name, try value(depth: depth + 1)))
      } while take(UInt8(ascii: ","))
      guard take(UInt8(ascii: "}")) else { throw Malformed(offset: offset) }
      return .object(members)
    }

    mutating func array(depth: Int) throws(Malformed) -> JSON {
      offset += 1
      var elements: [JSON] = []
      if take(UInt8(ascii: "]")) { return .array(elements) }
      repeat { elements.append(try value(depth: depth + 1)) } while take(UInt8(ascii: ","))
      guard take(UInt8(ascii: "]")) else { throw Malformed(offset: offset) }
      return .array(elements)
    }

    mutating func number() throws(Malformed) -> String {
      let start = offset
      while let byte = current, (48...57).contains(byte) || "+-.eE".utf8.contains(byte) { offset += 1 }
      let digits = String(decoding: bytes[start..<offset], as: UTF8.self)
      guard Double(digits) != nil else { throw Malformed(offset: start) }
      return digits
    }

    mutating func string() throws(Malformed) -> String {
      offset += 1
      var content: [UInt8] = []
      while let byte = current {
        offset += 1
        switch byte {
        case UInt8(ascii: "\""): return String(decoding: content, as: UTF8.self)
        case UInt8(ascii: "\\"): content += try escape()
        default: content.append(byte)
        }
      }
      throw Malformed(offset: offset)
    }

    mutating func escape() throws(Malformed) -> [UInt8] {
      guard let byte = current else { throw Malformed(offset: offset) }
      offset += 1
      switch byte {
      case UInt8(ascii: "n"): return [0x0A]
      case UInt8(ascii: "t"): return [0x09]
      case UInt8(ascii: "r"): return [0x0D]
      case UInt8(ascii: "b"): return [0x08]
      case UInt8(ascii: "f"): return [0x0C]
      case UInt8(ascii: "u"): return try codePoint()
      case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return [byte]
      default: throw Malformed(offset: offset - 1)
      }
    }

    mutating func codePoint() throws(Malformed) -> [UInt8] {
      var code = try hexadecimal()
      if (0xD800...0xDBFF).contains(code), bytes[offset...].starts(with: "\\u".utf8) {
        offset += 2
        code = 0x10000 + (code - 0xD800) << 10 + (try hexadecimal()) - 0xDC00
      }
      guard let scalar = Unicode.Scalar(code) else { throw Malformed(offset: offset) }
      return Array(String(Character(scalar)).utf8)
    }

    mutating func hexadecimal() throws(Malformed) -> UInt32 {
      let digits = String(decoding: bytes[offset..<min(offset + 4, bytes.count)], as: UTF8.self)
      guard digits.utf8.count == 4, let code = UInt32(digits, radix: 16) else { throw Malformed(offset: offset) }
      offset += 4
      return code
    }
  }
}
