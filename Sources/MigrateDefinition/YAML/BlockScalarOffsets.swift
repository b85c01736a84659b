import MigrateDiagnostics

/// The walk of ``ScalarOffsets`` for `|` and `>`.
struct BlockScalarOffsets {
  private let bytes: [UInt8]
  private var position: Int
  private let indentation: Int
  private let isFolded: Bool
  private var text: [UInt8] = []
  private var offsets: [Int] = []

  /// Walks the block that begins at `span.start` with its indicator; how many of the last line breaks count, `wanted` knows.
  static func walk(
    _ wanted: [UInt8], _ style: YAMLScalar.Style, in bytes: [UInt8], _ span: SourceSpan
  ) -> (text: [UInt8], offsets: [Int]) {
    var start = span.start
    while start < bytes.count, bytes[start] != 0x0A { start += 1 }
    guard let indentation = indentation(of: wanted, in: bytes, from: start + 1) else { return ([], []) }
    var walk = BlockScalarOffsets(bytes, start + 1, indentation, isFolded: style == .folded)
    walk.walk(upTo: wanted.count)
    return (walk.text, walk.offsets)
  }

  /// How far the block is indented: the first line with content has so many spaces more than its text.
  private static func indentation(of wanted: [UInt8], in bytes: [UInt8], from start: Int) -> Int? {
    let inFile = leadingSpaces(of: bytes[min(start, bytes.count)...])
    let inText = leadingSpaces(of: wanted[...])
    guard let inFile else { return 0 }
    return inText.map { inFile - $0 }.flatMap { $0 >= 0 ? $0 : nil } ?? inFile
  }

  /// The spaces in front of the first byte that is neither a space nor a line break; `nil` when there is none.
  private static func leadingSpaces(of bytes: ArraySlice<UInt8>) -> Int? {
    var spaces = 0
    for byte in bytes {
      switch byte {
      case 0x20: spaces += 1
      case 0x0A, 0x0D: spaces = 0
      default: return spaces
      }
    }
    return nil
  }

  private init(_ bytes: [UInt8], _ position: Int, _ indentation: Int, isFolded: Bool) {
    self.bytes = bytes
    self.position = position
    self.indentation = indentation
    self.isFolded = isFolded
  }

  private mutating func walk(upTo count: Int) {
    var lineBreak: Int?
    var blankLines = skipBlankLines()
    var followsIndented = false
    while position < bytes.count, text.count < count {
      let isIndented = bytes[position] == 0x20 || bytes[position] == 0x09
      if isFolded, let folded = lineBreak, !followsIndented, !isIndented {
        if blankLines.isEmpty { emit(0x20, from: folded) }
      } else if let kept = lineBreak {
        emit(0x0A, from: kept)
      }
      for offset in blankLines { emit(0x0A, from: offset) }
      followsIndented = isIndented
      while position < bytes.count, !isBreak(position) {
        emit(bytes[position], from: position)
        position += 1
      }
      lineBreak = position < bytes.count ? position : nil
      skipBreak()
      blankLines = skipBlankLines()
      guard isContinued else { break }
    }
    let last = [lineBreak].compactMap { $0 } + blankLines
    for offset in last.prefix(max(0, count - text.count)) { emit(0x0A, from: offset) }
  }

  /// Whether the place reached is behind the indentation of a further line of this block.
  private var isContinued: Bool {
    guard position < bytes.count else { return false }
    let start = position - indentation
    return start >= 0 && bytes[start..<position].allSatisfy { $0 == 0x20 }
      && (start == 0 || bytes[start - 1] == 0x0A)
  }

  /// Skips lines of nothing but indentation, then the indentation of the next; the offsets of their line breaks.
  private mutating func skipBlankLines() -> [Int] {
    var breaks: [Int] = []
    while true {
      let start = position
      while position < bytes.count, bytes[position] == 0x20, position - start < indentation { position += 1 }
      guard position < bytes.count, isBreak(position) else { return breaks }
      breaks.append(position)
      skipBreak()
    }
  }

  private func isBreak(_ offset: Int) -> Bool {
    bytes[offset] == 0x0A
      || (bytes[offset] == 0x0D && offset + 1 < bytes.count && bytes[offset + 1] == 0x0A)
  }

  private mutating func skipBreak() {
    guard position < bytes.count else { return }
    position += bytes[position] == 0x0D ? 2 : 1
  }

  private mutating func emit(_ byte: UInt8, from offset: Int) {
    text.append(byte)
    offsets.append(offset)
  }
}
