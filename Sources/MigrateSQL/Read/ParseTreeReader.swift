/// Reads the JSON that libpg_query writes. It trusts that writer: anything else ends in `nil`, never in a crash.
struct ParseTreeReader {
  /// How many objects and lists may stand in each other. The release of the tree needs stack for each, and a thread may have
  /// only 512 KiB; for the same reason reading keeps a list of what is open instead of calling itself.
  static let depthLimit = 1_000

  private let bytes: [UInt8]
  private var offset = 0
  private var open: [Open] = []

  /// An object or list whose end is not read yet.
  private struct Open {
    /// The name of an object's next member; a list has none.
    var name: String?
    var members: [ParseTree.Member] = []
    var items: [ParseTree] = []
  }

  /// The tree; `nil` for one that is deeper than the limit.
  static func read(_ bytes: [UInt8]) -> ParseTree? {
    var reader = ParseTreeReader(bytes: bytes)
    return reader.tree()
  }

  private init(bytes: [UInt8]) { self.bytes = bytes }

  private var peek: UInt8? { bytes.indices.contains(offset) ? bytes[offset] : nil }

  private mutating func take(_ byte: UInt8) -> Bool {
    guard peek == byte else { return false }
    offset += 1
    return true
  }

  private mutating func tree() -> ParseTree? {
    var progress = Progress.opened
    while open.count <= Self.depthLimit {
      switch progress {
      case .opened: progress = begin()
      case .complete(let value) where open.isEmpty: return value
      case .complete(let value): progress = add(value)
      case .failed: return nil
      }
    }
    return nil
  }

  private enum Progress { case opened, complete(ParseTree), failed }

  /// Begins a value; a scalar and an empty object or list are complete at once.
  private mutating func begin() -> Progress {
    if take(UInt8(ascii: "{")) {
      if take(UInt8(ascii: "}")) { return .complete(.object([])) }
      guard let name = memberName() else { return .failed }
      open.append(Open(name: name))
      return .opened
    }
    if take(UInt8(ascii: "[")) {
      if take(UInt8(ascii: "]")) { return .complete(.array([])) }
      open.append(Open())
      return .opened
    }
    return scalar().map(Progress.complete) ?? .failed
  }

  /// Adds a value to the innermost open container, which may be complete by that.
  private mutating func add(_ value: ParseTree) -> Progress {
    let last = open.endIndex - 1
    guard let name = open[last].name else {
      open[last].items.append(value)
      if take(UInt8(ascii: ",")) { return .opened }
      guard take(UInt8(ascii: "]")), let list = open.popLast() else { return .failed }
      return .complete(.array(list.items))
    }
    open[last].members.append(ParseTree.Member(name: name, value: value))
    if take(UInt8(ascii: ",")) {
      open[last].name = memberName()
      return open[last].name == nil ? .failed : .opened
    }
    guard take(UInt8(ascii: "}")), let object = open.popLast() else { return .failed }
    return .complete(.object(object.members))
  }

  private mutating func memberName() -> String? {
    guard let name = string(), take(UInt8(ascii: ":")) else { return nil }
    return name
  }

  private mutating func scalar() -> ParseTree? {
    switch peek {
    case UInt8(ascii: "\""): string().map(ParseTree.string)
    case UInt8(ascii: "t"): word("true", .bool(true))
    case UInt8(ascii: "f"): word("false", .bool(false))
    default: number()
    }
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
