/// Lines that stand on a terminal and change in place. Pure: it makes what is to be written, in one piece, and only of what has
/// changed, so that nothing flickers.
package struct BlockPainter: Sendable {
  private static let lineStart = "\r"
  private static let clearToLineEnd = "\u{1B}[K"
  private static let clearBelow = "\u{1B}[J"

  private var drawn: [String] = []
  private var width = 0

  package init() {}

  /// What makes `lines` stand where the last ones stood; the cursor stays at the end of the last one. Lines are cut to `width` and
  /// `height`, asked anew each time, since windows change.
  package mutating func paint(_ lines: [String], width: Int, height: Int, unicode: Bool) -> String {
    // The last column stays free: behind a full line, clearing to the end would take its last letter away.
    let cut = lines.prefix(max(1, height - 1)).map {
      ColumnWidth.truncated($0, to: max(1, width - 1), ellipsis: unicode ? "…" : "...")
    }
    // A window of another width has broken the lines anew.
    let isWhole = drawn.isEmpty || width != self.width
    let text = isWhole ? clear(width: width) + cut.joined(separator: "\n") : changes(to: cut)
    (drawn, self.width) = (cut, width)
    return text
  }

  /// What takes the lines away.
  package mutating func clear(width: Int) -> String {
    guard !drawn.isEmpty else { return "" }
    let rows = drawn.reduce(0) { $0 + max(1, (ColumnWidth.of($1) + width - 1) / max(1, width)) }
    drawn = []
    return Self.lineStart + Self.up(rows - 1) + Self.clearBelow
  }

  private func changes(to lines: [String]) -> String {
    let same = zip(drawn, lines).map { $0.utf8.elementsEqual($1.utf8) }
    guard
      let first = lines.indices.first(where: { $0 >= same.count || !same[$0] })
        ?? (lines.count < drawn.count ? lines.count : nil)
    else { return "" }
    var text = Self.lineStart
    var row = drawn.count - 1
    /// Down by newlines, which also make room at the foot of the window.
    func go(to target: Int) {
      text += target < row ? Self.up(row - target) : String(repeating: "\n", count: target - row)
      row = target
    }
    for index in lines.indices where index >= first && (index >= same.count || !same[index]) {
      go(to: index)
      text += Self.lineStart + lines[index] + Self.clearToLineEnd
    }
    if lines.count < drawn.count {
      go(to: lines.count)
      text += Self.lineStart + Self.clearBelow
    }
    go(to: lines.count - 1)
    return text + Self.lineStart + Self.right(ColumnWidth.of(lines.last ?? ""))
  }

  private static func up(_ rows: Int) -> String { rows > 0 ? "\u{1B}[\(rows)A" : "" }
  private static func right(_ columns: Int) -> String { columns > 0 ? "\u{1B}[\(columns)C" : "" }
}
