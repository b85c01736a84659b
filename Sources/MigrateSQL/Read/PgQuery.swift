internal import CLibpgQuery

/// PostgreSQL's own scanner and parser, from libpg_query. Usable from several threads: its memory belongs to the thread.
enum PgQuery {
  /// What PostgreSQL's scanner or parser found wrong.
  struct Failure: Error, Equatable {
    let message: String
    /// The place as a byte offset; `nil` when it gave none. libpg_query counts characters from 1, this counts as all else here.
    let offset: Int?
  }

  /// The statements of `bytes`: `{"version": …, "stmts": [{"stmt": …}]}`. `nil` when they are nested too deeply to be walked.
  static func parse(_ bytes: [UInt8]) throws(Failure) -> ParseTree? {
    let result = withCString(bytes) { pg_query_parse($0) }
    defer { pg_query_free_parse_result(result) }
    if let error = result.error { throw failure(error.pointee, in: bytes) }
    guard let tree = result.parse_tree else { return nil }
    return ParseTreeReader.read(readBytes(tree))
  }

  /// The tokens of `bytes`, comments among them.
  static func scan(_ bytes: [UInt8]) throws(Failure) -> [Token] {
    let result = withCString(bytes) { pg_query_scan($0) }
    defer { pg_query_free_scan_result(result) }
    if let error = result.error { throw failure(error.pointee, in: bytes) }
    guard let data = result.pbuf.data else { return [] }
    let message = UnsafeRawBufferPointer(start: data, count: result.pbuf.len)
    return TokenMessage.tokens(of: Array(message))
  }

  private static func withCString<Result>(_ bytes: [UInt8], _ body: (UnsafePointer<CChar>?) -> Result) -> Result {
    (bytes.map { CChar(bitPattern: $0) } + [0]).withUnsafeBufferPointer { body($0.baseAddress) }
  }

  private static func readBytes(_ text: UnsafePointer<CChar>) -> [UInt8] {
    var bytes: [UInt8] = []
    var next = text
    while next.pointee != 0 {
      bytes.append(UInt8(bitPattern: next.pointee))
      next += 1
    }
    return bytes
  }

  private static func failure(_ error: PgQueryError, in bytes: [UInt8]) -> Failure {
    let message = error.message.map { String(decoding: readBytes($0), as: UTF8.self) } ?? "syntax error"
    let characters = Int(error.cursorpos) - 1
    return Failure(message: message, offset: characters < 0 ? nil : offset(ofCharacter: characters, in: bytes))
  }

  /// The offset of the byte at which code point `number` (from 0) begins.
  private static func offset(ofCharacter number: Int, in bytes: [UInt8]) -> Int {
    var left = number
    for (offset, byte) in bytes.enumerated() where byte & 0xC0 != 0x80 {
      if left == 0 { return offset }
      left -= 1
    }
    return bytes.count
  }
}

/// The message `ScanResult {1: version, 2: Token {1: start, 2: end, 4: kind, 5: keyword kind}}`: varints, zeros left out.
private struct TokenMessage {
  private let bytes: [UInt8]
  private var offset = 0

  static func tokens(of bytes: [UInt8]) -> [Token] {
    var message = TokenMessage(bytes: bytes)
    var tokens: [Token] = []
    while message.offset < bytes.count {
      let tag = message.varint()
      let value = message.varint()
      if tag == 0x12 { tokens.append(message.token(until: min(message.offset + value, bytes.count))) }
    }
    return tokens
  }

  private init(bytes: [UInt8]) { self.bytes = bytes }

  private mutating func token(until end: Int) -> Token {
    var (start, stop, kind, keyword) = (0, 0, 0, 0)
    while offset < end {
      let field = varint() >> 3
      let value = varint()
      switch field {
      case 1: start = value
      case 2: stop = value
      case 4: kind = value
      case 5: keyword = value
      default: break
      }
    }
    return Token(
      range: start..<max(start, stop), kind: Token.Kind(rawValue: kind), keyword: Token.Keyword(rawValue: keyword))
  }

  private mutating func varint() -> Int {
    var (value, shift) = (0, 0)
    while offset < bytes.count, shift < 63 {
      let byte = bytes[offset]
      offset += 1
      value |= Int(byte & 0x7F) << shift
      if byte < 0x80 { break }
      shift += 7
    }
    return value
  }
}
