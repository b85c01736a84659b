package import MigrateDiagnostics

/// SQL as text, with what is needed to run it and to lead an error back into the definition.
package struct RenderedSQL: Sendable {
  /// With `$1 … $n`, dense, and ``runToken`` where the run's number belongs.
  package private(set) var text = ""
  /// The parameters, `$1` first.
  package private(set) var parameters: [Parameter] = []
  /// The byte offsets of the tokens that stand for the run's number.
  package private(set) var runAt: [Int] = []
  private var origins: [Origin] = []
  private var column = 0

  /// Stands in a text for the number of the run.
  package static let runToken = "{run}"

  private struct Origin: Sendable {
    let output: Range<Int>
    let fragment: SourceFragment
    let range: Range<Int>
    let isVerbatim: Bool
  }

  package init(_ sql: SQL) {
    append(sql, indent: 0)
  }

  /// Where the word that begins at the byte `offset` of the text comes from; `nil` for what the compiler wrote itself.
  package func origin(ofByte offset: Int) -> SourceSpan? {
    guard let origin = origins.first(where: { $0.output.contains(offset) }) else { return nil }
    // A constant is written anew: all of it stands for all that is in the file.
    if origin.range.isEmpty { return origin.fragment.span }
    guard origin.isVerbatim else { return origin.fragment.span(of: origin.range) }
    let start = origin.range.lowerBound + offset - origin.output.lowerBound
    let word = origin.fragment.text.utf8.dropFirst(start).prefix { byte in
      (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte & 0xDF) || byte == 0x5F || byte >= 0x80
    }
    return origin.fragment.span(of: start..<min(start + max(1, word.count), origin.range.upperBound))
  }

  /// Where the user's text stands, when all of it is of one place; `nil` when there is none, or more.
  package var onlyOrigin: SourceSpan? {
    let spans = Set(origins.map(\.fragment.span))
    return spans.count == 1 ? spans.first : nil
  }

  private mutating func append(_ sql: SQL, indent: Int) {
    for piece in sql.pieces {
      switch piece {
      case .text(let text): write(text, indent: indent)
      case .verbatim(let text): writeVerbatim(text)
      case .parameter(let parameter): write("$\(number(of: parameter))::\(parameter.type.spelling)", indent: indent)
      case .run:
        runAt.append(text.utf8.count)
        write(Self.runToken, indent: indent)
      case .source(let content, let fragment, let range):
        let start = text.utf8.count
        writeVerbatim(content)
        origins.append(
          Origin(
            output: start..<text.utf8.count, fragment: fragment, range: range,
            isVerbatim: content.utf8.count == range.count))
      case .block(let inner): append(inner, indent: column)
      case .lines(let items, let separator):
        let start = column
        for (index, item) in items.enumerated() {
          if index > 0 { write(separator + "\n", indent: start) }
          append(item, indent: start)
        }
      }
    }
  }

  private mutating func number(of parameter: Parameter) -> Int {
    if let index = parameters.firstIndex(where: { $0.role == parameter.role }) { return index + 1 }
    parameters.append(parameter)
    return parameters.count
  }

  /// Text of the compiler's own: each of its lines begins at `indent`.
  private mutating func write(_ content: String, indent: Int) {
    let lines = content.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    for (index, line) in lines.enumerated() {
      if index > 0 {
        text += "\n" + String(repeating: " ", count: indent)
        column = indent
      }
      text += String(line) ?? ""
      column += line.count { $0 & 0xC0 != 0x80 }
    }
  }

  private mutating func writeVerbatim(_ content: String) {
    text += content
    let bytes = content.utf8
    let lineStart = bytes.lastIndex(of: UInt8(ascii: "\n")).map { bytes.index(after: $0) }
    let width = bytes[(lineStart ?? bytes.startIndex)...].count { $0 & 0xC0 != 0x80 }
    column = lineStart == nil ? column + width : width
  }
}
