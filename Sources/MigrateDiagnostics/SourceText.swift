/// The bytes of a file, as read, with the path that messages name it by.
public struct SourceText: Sendable, Equatable {
  /// The path as the user would write it, relative to where the command was started.
  public let path: String
  /// The file's content. Not necessarily valid UTF-8: the YAML reader is the one that refuses what is not.
  public let bytes: [UInt8]
  /// The offset at which each line begins; the first is 0, or 3 behind a byte order mark, which is no column to an editor.
  private let lineStarts: [Int]

  /// A text named `path`. Lines end at LF; a CR before it belongs to the line's end.
  public init(path: String, bytes: [UInt8]) {
    self.path = path
    self.bytes = bytes
    var starts = [bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0]
    for (offset, byte) in bytes.enumerated() where byte == UInt8(ascii: "\n") { starts.append(offset + 1) }
    lineStarts = starts
  }

  /// A text of which only line `number` is known; a line and a column of it are those of the whole.
  package init(path: String, line number: Int, _ text: String) {
    self.init(path: path, bytes: [UInt8](repeating: UInt8(ascii: "\n"), count: max(0, number - 1)) + Array(text.utf8))
  }

  /// The line and column, both counted from 1, of the byte at `offset`. A column is a code point, as editors count.
  package func position(of offset: Int) -> (line: Int, column: Int) {
    let offset = min(max(offset, lineStarts[0]), bytes.count)
    var low = 0
    var high = lineStarts.count - 1
    while low < high {
      let middle = (low + high + 1) / 2
      if lineStarts[middle] <= offset { low = middle } else { high = middle - 1 }
    }
    let column = bytes[lineStarts[low]..<offset].count { $0 & 0xC0 != 0x80 }
    return (low + 1, column + 1)
  }

  /// The bytes of line `number`, counted from 1, without its end.
  package func line(_ number: Int) -> [UInt8] {
    guard lineStarts.indices.contains(number - 1) else { return [] }
    let start = lineStarts[number - 1]
    var end = lineStarts.indices.contains(number) ? lineStarts[number] - 1 : bytes.count
    if end > start, bytes[end - 1] == UInt8(ascii: "\r") { end -= 1 }
    return Array(bytes[start..<end])
  }

  /// The offset of the byte that stands at `column` (a code point, from 1) of line `number` (from 1).
  package func offset(line number: Int, column: Int) -> Int {
    guard lineStarts.indices.contains(number - 1) else { return bytes.count }
    var offset = lineStarts[number - 1]
    var left = column - 1
    while offset < bytes.count, left > 0 {
      offset += 1
      while offset < bytes.count, bytes[offset] & 0xC0 == 0x80 { offset += 1 }
      left -= 1
    }
    return offset
  }
}
