/// A tree of PostgreSQL's parser, as libpg_query writes it in JSON.
///
/// Members are an array of pairs in the order of the text. Two things that the JSON does not tell: a field that is 0, false
/// or negative is left out (`-1` arrives as `"ival":{}`), so a number's value is read from the text, not from here.
package enum ParseTree: Sendable {
  case object([Member])
  case array([ParseTree])
  case string(String)
  case number(Int)
  case bool(Bool)

  package struct Member: Sendable {
    package let name: String
    package let value: ParseTree
  }

  /// The value of member `name` of an object.
  subscript(name: String) -> ParseTree? {
    guard case .object(let members) = self else { return nil }
    return members.first { $0.name == name }?.value
  }

  /// The only member of an object that wraps a node: `{"ColumnRef": {…}}`.
  var node: Member? {
    guard case .object(let members) = self, members.count == 1 else { return nil }
    return members.first
  }

  /// The node, if it is a `name`.
  func node(_ name: String) -> ParseTree? {
    guard let node, node.name == name else { return nil }
    return node.value
  }

  var items: [ParseTree] {
    guard case .array(let items) = self else { return [] }
    return items
  }

  var text: String? {
    guard case .string(let text) = self else { return nil }
    return text
  }

  var integer: Int? {
    guard case .number(let number) = self else { return nil }
    return number
  }

  /// Whether member `name` is there and true.
  func flag(_ name: String) -> Bool {
    if case .bool(true)? = self[name] { true } else { false }
  }

  /// The members called `name`, as a list; empty when there is none.
  func list(_ name: String) -> [ParseTree] { self[name]?.items ?? [] }

  /// The names in a list of `String` nodes; what is no name (a star) is left out.
  func names(_ name: String) -> [Identifier] { list(name).compactMap(\.name) }

  /// The name in a `String` node.
  var name: Identifier? { (node("String")?["sval"]?.text).map(Identifier.init(trusted:)) }
}

/// Reads the JSON that libpg_query writes. It trusts that writer: anything else ends in `nil`, never in a crash.
struct ParseTreeReader {
  /// How many objects and lists may stand in each other. A recursive walk and the release of the tree need stack for each,
  /// and a thread may have only 512 KiB.
  static let depthLimit = 1_000

  private let bytes: [UInt8]
  private var offset = 0

  static func read(_ bytes: [UInt8]) -> ParseTree? {
    guard depth(of: bytes) <= depthLimit else { return nil }
    var reader = ParseTreeReader(bytes: bytes)
    return reader.value()
  }

  private init(bytes: [UInt8]) { self.bytes = bytes }

  /// How deep the brackets outside of strings go.
  private static func depth(of bytes: [UInt8]) -> Int {
    var (depth, deepest, isInString, isEscaped) = (0, 0, false, false)
    for byte in bytes {
      if isInString {
        if isEscaped {
          isEscaped = false
        } else if byte == UInt8(ascii: "\\") {
          isEscaped = true
        } else if byte == UInt8(ascii: "\"") {
          isInString = false
        }
        continue
      }
      switch byte {
      case UInt8(ascii: "\""): isInString = true
      case UInt8(ascii: "{"), UInt8(ascii: "["):
        depth += 1
        deepest = max(deepest, depth)
      case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
      default: break
      }
    }
    return deepest
  }

  private var peek: UInt8? { bytes.indices.contains(offset) ? bytes[offset] : nil }

  private mutating func take(_ byte: UInt8) -> Bool {
    guard peek == byte else { return false }
    offset += 1
    return true
  }

  private mutating func value() -> ParseTree? {
    switch peek {
    case UInt8(ascii: "{"): object()
    case UInt8(ascii: "["): array()
    case UInt8(ascii: "\""): string().map(ParseTree.string)
    case UInt8(ascii: "t"): word("true", .bool(true))
    case UInt8(ascii: "f"): word("false", .bool(false))
    default: number()
    }
  }

  private mutating func object() -> ParseTree? {
    offset += 1
    var members: [ParseTree.Member] = []
    if take(UInt8(ascii: "}")) { return .object(members) }
    repeat {
      guard let name = string(), take(UInt8(ascii: ":")), let value = value() else { return nil }
      members.append(ParseTree.Member(name: name, value: value))
    } while take(UInt8(ascii: ","))
    return take(UInt8(ascii: "}")) ? .object(members) : nil
  }

  private mutating func array() -> ParseTree? {
    offset += 1
    var items: [ParseTree] = []
    if take(UInt8(ascii: "]")) { return .array(items) }
    repeat {
      guard let item = value() else { return nil }
      items.append(item)
    } while take(UInt8(ascii: ","))
    return take(UInt8(ascii: "]")) ? .array(items) : nil
  }

  private mutating func word(_ word: StaticString, _ value: ParseTree) -> ParseTree? {
    offset += word.utf8CodeUnitCount
    return value
  }

  private mutating func number() -> ParseTree? {
    let start = offset
    while let byte = peek, byte == UInt8(ascii: "-") || (48...57).contains(byte) { offset += 1 }
    return Int(String(decoding: bytes[start..<offset], as: UTF8.self)).map(ParseTree.number)
  }

  private mutating func string() -> String? {
    guard take(UInt8(ascii: "\"")) else { return nil }
    var text: [UInt8] = []
    while let byte = peek {
      offset += 1
      if byte == UInt8(ascii: "\"") { return String(decoding: text, as: UTF8.self) }
      guard byte == UInt8(ascii: "\\") else {
        text.append(byte)
        continue
      }
      guard let escaped = escape() else { return nil }
      text += escaped
    }
    return nil
  }

  private mutating func escape() -> [UInt8]? {
    guard let byte = peek else { return nil }
    offset += 1
    switch byte {
    case UInt8(ascii: "n"): return [10]
    case UInt8(ascii: "t"): return [9]
    case UInt8(ascii: "r"): return [13]
    case UInt8(ascii: "b"): return [8]
    case UInt8(ascii: "f"): return [12]
    case UInt8(ascii: "u"):
      guard offset + 4 <= bytes.count else { return nil }
      let digits = String(decoding: bytes[offset..<offset + 4], as: UTF8.self)
      offset += 4
      return UInt32(digits, radix: 16).flatMap(Unicode.Scalar.init).map { Array(String(Character($0)).utf8) }
    default: return [byte]
    }
  }
}
