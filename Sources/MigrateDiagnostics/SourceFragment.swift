/// Text taken out of a file, which still knows for each of its bytes where it stood there.
///
/// YAML folds lines, drops indentation and reads escapes, so the text of a scalar is not a slice of the file; and an error
/// at byte 40 of an SQL expression has to come back as a line and a column.
public struct SourceFragment: Sendable, Equatable {
  /// The text, as YAML means it.
  public let text: String
  /// Where the whole of it stands in the file, quotes and block indicator included.
  public let span: SourceSpan
  /// For each byte of `text` its offset in the file, and one more: the offset behind the last byte.
  package let offsets: [Int]

  /// - Precondition: `offsets` has one entry more than `text` has bytes; missing ones are taken to be the span's end.
  package init(text: String, span: SourceSpan, offsets: [Int]) {
    self.text = text
    self.span = span
    self.offsets = offsets
  }

  /// A fragment that stands in the file exactly as it reads, from `start` on.
  package init(verbatim text: String, at start: Int) {
    let count = text.utf8.count
    self.init(text: text, span: SourceSpan(start, start + count), offsets: Array(start...(start + count)))
  }

  /// The place in the file of the bytes `range` of the text.
  package func span(of range: Range<Int>) -> SourceSpan {
    let start = offset(of: range.lowerBound)
    guard !range.isEmpty else { return SourceSpan(start, start) }
    return SourceSpan(start, offset(of: range.upperBound - 1) + 1)
  }

  private func offset(of index: Int) -> Int {
    offsets.indices.contains(index) ? offsets[index] : span.end
  }
}
