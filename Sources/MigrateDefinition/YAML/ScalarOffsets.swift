import MigrateDiagnostics

/// Finds for each byte of a scalar's text the byte of the file that it came from.
///
/// libyaml gives the text and the two ends. What lies between is walked here a second time, by the rules of YAML 1.2 chapters
/// 7 and 8; the walk counts only if it gives libyaml's text byte for byte, else every byte is said to stand at the start.
struct ScalarOffsets {
  private let bytes: [UInt8]
  private let end: Int
  private var position: Int
  private(set) var text: [UInt8] = []
  private(set) var offsets: [Int] = []

  /// The fragment for the scalar between `start` and `end` that libyaml read as `text`.
  static func fragment(_ text: [UInt8], _ style: YAMLScalar.Style, in bytes: [UInt8], _ span: SourceSpan)
    -> SourceFragment
  {
    let walked: (text: [UInt8], offsets: [Int])
    switch style {
    case .literal, .folded:
      walked = BlockScalarOffsets.walk(text, style, in: bytes, span)
    case .plain, .singleQuoted, .doubleQuoted:
      var walk = ScalarOffsets(bytes, style == .plain ? span : SourceSpan(span.start + 1, span.end - 1))
      walk.walk(style)
      walked = (walk.text, walk.offsets)
    }
    let decoded = String(decoding: text, as: UTF8.self)
    guard walked.text == text else {
      return SourceFragment(text: decoded, span: span, offsets: Array(repeating: span.start, count: text.count + 1))
    }
    let last = walked.offsets.last.map { $0 + 1 } ?? min(span.start + (style == .plain ? 0 : 1), span.end)
    let isBlock = style == .literal || style == .folded
    let whole = isBlock ? SourceSpan(span.start, max(last, span.start + 1)) : span
    return SourceFragment(text: decoded, span: whole, offsets: walked.offsets + [last])
  }

  private init(_ bytes: [UInt8], _ span: SourceSpan) {
    self.bytes = bytes
    position = span.start
    end = min(span.end, bytes.count)
  }

  private mutating func walk(_ style: YAMLScalar.Style) {
    while position < end {
      switch bytes[position] {
      case 0x20, 0x09, 0x0A, 0x0D:
        space()
      case UInt8(ascii: "'") where style == .singleQuoted:
        emit(bytes[position], from: position)
        position += 2
      case UInt8(ascii: "\\") where style == .doubleQuoted:
        escape()
      default:
        emit(bytes[position], from: position)
        position += 1
      }
    }
  }

  private mutating func emit(_ byte: UInt8, from offset: Int) {
    text.append(byte)
    offsets.append(offset)
  }

  /// White space: kept within a line, dropped around a line break, of which one becomes a space and n become n - 1.
  private mutating func space() {
    let start = position
    while position < end, bytes[position] == 0x20 || bytes[position] == 0x09 { position += 1 }
    guard position < end, isBreak(bytes[position]) else {
      for offset in start..<position { emit(bytes[offset], from: offset) }
      return
    }
    let first = position
    skipBreak()
    let more = skipBlankLines()
    if more.isEmpty { emit(0x20, from: first) }
    for offset in more { emit(0x0A, from: offset) }
  }

  /// Skips white space over any number of lines; the offsets of the line breaks in it.
  private mutating func skipBlankLines() -> [Int] {
    var breaks: [Int] = []
    while position < end {
      switch bytes[position] {
      case 0x20, 0x09: position += 1
      case 0x0A, 0x0D:
        breaks.append(position)
        skipBreak()
      default: return breaks
      }
    }
    return breaks
  }

  private func isBreak(_ byte: UInt8) -> Bool { byte == 0x0A || byte == 0x0D }

  private mutating func skipBreak() {
    let isPair = bytes[position] == 0x0D && position + 1 < end && bytes[position + 1] == 0x0A
    position += isPair ? 2 : 1
  }

  /// A backslash and what it stands for.
  private mutating func escape() {
    let start = position
    guard position + 1 < end else { return position = end }
    let letter = bytes[position + 1]
    position += 2
    switch letter {
    case 0x0A, 0x0D:
      position -= 1
      skipBreak()
      for offset in skipBlankLines() { emit(0x0A, from: offset) }
    case UInt8(ascii: "x"): emitCode(digits: 2, from: start)
    case UInt8(ascii: "u"): emitCode(digits: 4, from: start)
    case UInt8(ascii: "U"): emitCode(digits: 8, from: start)
    default:
      for byte in Self.escapes[letter, default: "\u{FFFD}"].utf8 { emit(byte, from: start) }
    }
  }

  private mutating func emitCode(digits: Int, from start: Int) {
    let code = bytes[position..<min(position + digits, end)]
    position += code.count
    guard let value = UInt32(String(decoding: code, as: UTF8.self), radix: 16), let scalar = Unicode.Scalar(value)
    else { return }
    for byte in String(scalar).utf8 { emit(byte, from: start) }
  }

  private static let escapes: [UInt8: String] = {
    let pairs: KeyValuePairs<Unicode.Scalar, String> = [
      "0": "\0", "a": "\u{7}", "b": "\u{8}", "t": "\t", "\t": "\t", "n": "\n", "v": "\u{B}", "f": "\u{C}",
      "r": "\r", "e": "\u{1B}", " ": " ", "\"": "\"", "/": "/", "\\": "\\", "N": "\u{85}", "_": "\u{A0}",
      "L": "\u{2028}", "P": "\u{2029}",
    ]
    return Dictionary(uniqueKeysWithValues: pairs.map { (UInt8(truncatingIfNeeded: $0.value), $1) })
  }()
}
