import MigrateDiagnostics

/// One line of broken YAML, read as its author meant it: which key the place of an error belongs to, and where its value begins.
struct LineReading {
  /// Nothing before the first colon.
  private(set) var key: Range<Int>?
  /// Where the value begins, or the key when there is none.
  private(set) var start: Int
  /// Behind the closing quote, when the value begins with a quote and the quote is closed on this line.
  private(set) var quoteEnd: Int?
  /// A further colon in the value, outside braces.
  private(set) var secondColon: Int?
  /// In braces or brackets that open on this line.
  private(set) var isFlow: Bool

  private let bytes: [UInt8]
  private let lineEnd: Int

  /// Reads the line that `place` stands on, up to the value there. `isFlow`: it begins in braces of an earlier line.
  init(of bytes: [UInt8], at place: Int, isFlow: Bool) {
    self.bytes = bytes
    self.isFlow = isFlow
    let place = min(place, bytes.count)
    let lineStart = bytes[..<place].lastIndex(of: 0x0A).map { $0 + 1 } ?? 0
    let lineEnd = bytes[lineStart...].firstIndex(of: 0x0A) ?? bytes.count
    self.lineEnd = lineEnd > lineStart && bytes[lineEnd - 1] == 0x0D ? lineEnd - 1 : lineEnd
    start = lineStart
    skipSpaces()
    read(to: place)
  }

  private mutating func skipSpaces() {
    while start < lineEnd, isSpace(bytes[start]) { start += 1 }
  }

  private func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

  private mutating func read(to place: Int) {
    var offset = start
    _ = begin(&offset, at: start)
    while offset < lineEnd {
      let byte = bytes[offset]
      switch byte {
      case UInt8(ascii: ":") where endsKey(offset):
        if key != nil {
          secondColon = secondColon ?? offset
          offset += 1
        } else if quoteEnd != nil || start < offset {
          let keyRange = start..<offset
          if !begin(&offset, at: offset + 1) { key = keyRange }
        } else {
          offset += 1
        }
      case UInt8(ascii: ",") where isFlow:
        if offset >= place { return }
        _ = begin(&offset, at: offset + 1)
      case UInt8(ascii: "}") where isFlow, UInt8(ascii: "]") where isFlow:
        if offset >= place { return }
        offset += 1
      case UInt8(ascii: "#") where offset > start && isSpace(bytes[offset - 1]):
        return
      default:
        offset += 1
      }
      if offset > place { return }
    }
  }

  /// Whether the colon at `offset` ends a key: a blank, the line's end or, in braces, an indicator follows.
  private func endsKey(_ offset: Int) -> Bool {
    guard offset + 1 < lineEnd else { return true }
    return isSpace(bytes[offset + 1]) || (isFlow && [0x2C, 0x7B, 0x7D, 0x5B, 0x5D].contains(bytes[offset + 1]))
  }

  /// Begins a new key or value at `next`: passes dashes, opening braces and a quoted text. Whether there was a brace.
  private mutating func begin(_ offset: inout Int, at next: Int) -> Bool {
    (key, quoteEnd, secondColon) = (nil, nil, nil)
    var isInside = false
    start = next
    skipSpaces()
    while start < lineEnd {
      let isDash = bytes[start] == UInt8(ascii: "-") && start + 1 < lineEnd && isSpace(bytes[start + 1])
      let isBrace = bytes[start] == UInt8(ascii: "{") || bytes[start] == UInt8(ascii: "[")
      guard isBrace || (isDash && isFirstOfLine) else { break }
      isInside = isInside || isBrace
      isFlow = isFlow || isBrace
      start += 1
      skipSpaces()
    }
    offset = start
    guard start < lineEnd, bytes[start] == UInt8(ascii: "'") || bytes[start] == UInt8(ascii: "\"") else {
      return isInside
    }
    quoteEnd = endOfQuote(from: start)
    offset = quoteEnd ?? lineEnd
    return isInside
  }

  private var isFirstOfLine: Bool {
    let lineStart = bytes[..<start].lastIndex(of: 0x0A).map { $0 + 1 } ?? 0
    return bytes[lineStart..<start].allSatisfy { isSpace($0) || $0 == UInt8(ascii: "-") }
  }

  private func endOfQuote(from start: Int) -> Int? {
    let quote = bytes[start]
    var offset = start + 1
    while offset < lineEnd {
      if quote == UInt8(ascii: "\""), bytes[offset] == UInt8(ascii: "\\") {
        offset += 2
      } else if bytes[offset] != quote {
        offset += 1
      } else if quote == UInt8(ascii: "'"), offset + 1 < lineEnd, bytes[offset + 1] == quote {
        offset += 2
      } else {
        return offset + 1
      }
    }
    return nil
  }

  /// The key's text, without quotes.
  var keyText: String? {
    guard let key else { return nil }
    let text = bytes[key].trimmingSpaces()
    let quotes = [UInt8(ascii: "'"), UInt8(ascii: "\"")]
    let isQuoted = text.count >= 2 && text.first == text.last && text.first.map(quotes.contains) ?? false
    return String(decoding: isQuoted ? text.dropFirst().dropLast() : text, as: UTF8.self)
  }

  /// The value as it was meant: the rest of the line, in braces up to the comma or brace outside strings and parentheses.
  var value: String {
    let limit = min(lineEnd, start + Remedy.limit)
    var end = limit
    if isFlow {
      var depth = 0
      for offset in start..<limit {
        switch bytes[offset] {
        case UInt8(ascii: "{"): depth += 1
        case UInt8(ascii: "}") where depth > 0: depth -= 1
        case UInt8(ascii: "}"), UInt8(ascii: ","):
          if depth == 0, !SQLOutline(bytes[start..<offset]).isCutShort { end = min(end, offset) }
        default: break
        }
      }
    }
    return String(decoding: bytes[start..<end].trimmingSpaces(), as: UTF8.self)
  }

  /// Where what follows the closing quote begins and ends; `nil` when nothing follows that YAML would refuse.
  var behindQuote: SourceSpan? {
    guard let quoteEnd else { return nil }
    let rest = bytes[quoteEnd..<lineEnd]
    guard let first = rest.firstIndex(where: { !isSpace($0) }) else { return nil }
    let isComment = bytes[first] == UInt8(ascii: "#") && first > quoteEnd
    let isEnd = isFlow && [0x2C, 0x7D, 0x5D].contains(bytes[first])
    guard !isComment, !isEnd, bytes[first] != UInt8(ascii: ":") || key != nil else { return nil }
    let value = value.utf8.count
    return SourceSpan(first, max(first + 1, start + value))
  }
}

extension ArraySlice<UInt8> {
  func trimmingSpaces() -> ArraySlice<UInt8> {
    let isSpace = { (byte: UInt8) in byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D }
    var slice = drop(while: isSpace)
    while let last = slice.last, isSpace(last) { slice = slice.dropLast() }
    return slice
  }
}
