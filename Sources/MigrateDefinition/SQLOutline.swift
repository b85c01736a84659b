/// What can be said about SQL without parsing it: where strings and comments are, and whether what opens is closed.
///
/// PostgreSQL's parser judges the SQL; this only tells what YAML may have cut off or folded away before it gets there.
struct SQLOutline {
  /// The ranges of `'…'`, `E'…'` and `$tag$…$tag$`, delimiters included.
  private(set) var strings: [Range<Int>] = []
  /// The ranges of `-- …`, without the line break.
  private(set) var lineComments: [Range<Int>] = []
  /// Whether a string, a quoted name or a block comment never ends.
  private(set) var isUnterminated = false
  /// Whether it is a string that never ends.
  private(set) var hasOpenString = false
  /// Parentheses and brackets opened and not closed.
  private(set) var depth = 0

  var isCutShort: Bool { isUnterminated || depth > 0 }

  private let sql: [UInt8]
  private var position = 0

  init(_ sql: some Sequence<UInt8>) {
    self.sql = Array(sql)
    while position < self.sql.count { step() }
  }

  private func at(_ offset: Int) -> UInt8? { sql.indices.contains(offset) ? sql[offset] : nil }

  private mutating func step() {
    switch (sql[position], at(position + 1)) {
    case (UInt8(ascii: "'"), _):
      string(escapes: isEscapePrefix(position - 1))
    case (UInt8(ascii: "\""), _):
      if !skip(past: "\"", from: position + 1) { isUnterminated = true }
    case (UInt8(ascii: "$"), _) where !isPartOfName(position - 1):
      dollarQuoted()
    case (UInt8(ascii: "-"), UInt8(ascii: "-")):
      let start = position
      while position < sql.count, sql[position] != 0x0A { position += 1 }
      lineComments.append(start..<position)
    case (UInt8(ascii: "/"), UInt8(ascii: "*")):
      blockComment()
    case (UInt8(ascii: "("), _), (UInt8(ascii: "["), _):
      depth += 1
      position += 1
    case (UInt8(ascii: ")"), _), (UInt8(ascii: "]"), _):
      depth -= 1
      position += 1
    default:
      position += 1
    }
  }

  private func isPartOfName(_ offset: Int) -> Bool {
    guard let byte = at(offset) else { return false }
    return switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "$"), 0x80...0xFF:
      true
    default: false
    }
  }

  private func isEscapePrefix(_ offset: Int) -> Bool {
    (at(offset) == UInt8(ascii: "E") || at(offset) == UInt8(ascii: "e")) && !isPartOfName(offset - 1)
  }

  /// A doubled quote needs no rule: it ends one string and begins the next.
  private mutating func string(escapes: Bool) {
    let start = position
    position += 1
    while let byte = at(position), byte != UInt8(ascii: "'") {
      position += escapes && byte == UInt8(ascii: "\\") ? 2 : 1
    }
    if at(position) == nil {
      isUnterminated = true
      hasOpenString = true
    }
    position = min(position + 1, sql.count)
    strings.append(start..<position)
  }

  private mutating func dollarQuoted() {
    var end = position + 1
    while isPartOfName(end), at(end) != UInt8(ascii: "$") { end += 1 }
    guard at(end) == UInt8(ascii: "$"), !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(sql[position + 1]) else {
      position += 1
      return
    }
    let start = position
    let tag = String(decoding: sql[position...end], as: UTF8.self)
    if !skip(past: tag, from: end + 1) {
      isUnterminated = true
      hasOpenString = true
    }
    strings.append(start..<position)
  }

  private mutating func blockComment() {
    var open = 0
    while position < sql.count {
      switch (sql[position], at(position + 1)) {
      case (UInt8(ascii: "/"), UInt8(ascii: "*")):
        open += 1
        position += 2
      case (UInt8(ascii: "*"), UInt8(ascii: "/")):
        open -= 1
        position += 2
        if open == 0 { return }
      default:
        position += 1
      }
    }
    isUnterminated = true
  }

  /// Moves behind the next `delimiter`, or to the end.
  private mutating func skip(past delimiter: String, from start: Int) -> Bool {
    let wanted = Array(delimiter.utf8)
    position = start
    while position < sql.count {
      if sql[position...].starts(with: wanted) {
        position += wanted.count
        return true
      }
      position += 1
    }
    return false
  }
}
