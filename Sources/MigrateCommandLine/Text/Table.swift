/// Rows under a heading, in columns as wide as they have to be.
package struct Table: Sendable {
  package struct Column: Sendable {
    /// Numbers stand on the right and are never cut; texts stand on the left, and a rest is a text that is cut before the others.
    /// A moment is never cut either: where room is short it is told less exactly, and its column left out where there is none.
    package enum Kind: Sendable { case text, number, rest, moment }

    package let title: String
    package let kind: Kind

    package init(_ title: String, _ kind: Kind = .text) {
      self.title = title
      self.kind = kind
    }
  }

  private static let gap = 2
  /// No text is cut below this, were it all the same too wide.
  private static let narrowest = 6
  /// A moment is told less exactly, and left out, before a text is cut below this.
  private static let readable = 12

  private var columns: [Column]
  private var rows: [[String]] = []

  package init(_ columns: [Column]) {
    self.columns = columns
  }

  /// Adds a row. Fields that are missing are empty, too many are left out; control characters are escaped (S08).
  package mutating func add(_ fields: [String]) {
    rows.append(columns.indices.map { fields.indices.contains($0) ? Printable.line(fields[$0]) : "" })
  }

  /// The lines with a newline each, and without blanks at their ends. With a `width`, the longest texts are cut until they
  /// fit; numbers never are.
  package func rendered(width: Int? = nil, unicode: Bool = true) -> String {
    let shown = width.map(withRoom) ?? self
    return shown.lines(width: width, unicode: unicode)
  }

  private func lines(width: Int?, unicode: Bool) -> String {
    let widths = fitted(naturalWidths, into: width)
    let ellipsis = unicode ? "…" : "..."
    return ([columns.map(\.title)] + rows).map { row in
      var line = ""
      for (index, field) in row.enumerated() {
        if index > 0 { line += ColumnWidth.blanks(Self.gap) }
        let isNumber = columns[index].kind == .number
        let cut = isNumber ? field : ColumnWidth.truncated(field, to: widths[index], ellipsis: ellipsis)
        line +=
          isNumber
          ? ColumnWidth.rightAligned(cut, to: widths[index]) : ColumnWidth.padded(cut, to: widths[index])
      }
      let end = line.utf8.lastIndex { $0 != 0x20 }.map { line.utf8.index(after: $0) } ?? line.startIndex
      return line[..<end] + "\n"
    }.joined()
  }

  // MARK: Room for moments.

  /// The same with moments as exact as there is room for; columns for which there is none are left out, those of moments first.
  private func withRoom(_ width: Int) -> Table {
    guard columns.contains(where: { $0.kind == .moment }) else { return self }
    for exactness in MomentText.Exactness.allCases {
      let told = telling(exactness)
      if told.least(text: Self.readable) <= width { return told }
    }
    var left = keeping { columns[$0].kind != .moment }
    while left.columns.count > 3, left.least(text: Self.narrowest) > width {
      left = left.keeping { $0 < left.columns.count - 1 }
    }
    return left
  }

  private func telling(_ exactness: MomentText.Exactness) -> Table {
    var told = self
    for row in rows.indices {
      for index in columns.indices where columns[index].kind == .moment {
        told.rows[row][index] = MomentText.told(rows[row][index], exactness)
      }
    }
    return told
  }

  private func keeping(_ isKept: (Int) -> Bool) -> Table {
    let kept = columns.indices.filter(isKept)
    var table = Table(kept.map { columns[$0] })
    table.rows = rows.map { row in kept.map { row[$0] } }
    return table
  }

  /// How narrow it can be when no text is cut below so many columns, and a rest as far as it may be.
  private func least(text: Int) -> Int {
    let widths = zip(columns, naturalWidths).map { column, width in
      switch column.kind {
      case .number, .moment: width
      case .text: min(width, text)
      case .rest: min(width, Self.narrowest)
      }
    }
    return widths.reduce(0, +) + Self.gap * max(0, widths.count - 1)
  }

  // MARK: Widths.

  private var naturalWidths: [Int] {
    columns.indices.map { index in
      ([columns[index].title] + rows.map { $0[index] }).map { ColumnWidth.of($0) }.max() ?? 0
    }
  }

  private func fitted(_ natural: [Int], into width: Int?) -> [Int] {
    guard let width else { return natural }
    return [.rest, .text].reduce(natural) { cut($1, of: $0, into: width) }
  }

  /// Takes a column of a kind at a time from the widest, so that short ones stay whole.
  private func cut(_ kind: Column.Kind, of given: [Int], into width: Int) -> [Int] {
    var widths = given
    var excess = widths.reduce(0, +) + Self.gap * max(0, widths.count - 1) - width
    while excess > 0 {
      let texts = widths.indices.filter { columns[$0].kind == kind && widths[$0] > Self.narrowest }
      guard let widest = texts.max(by: { widths[$0] < widths[$1] }) else { break }
      let next = texts.filter { $0 != widest }.map { widths[$0] }.max() ?? Self.narrowest
      let step = min(excess, max(1, widths[widest] - max(next, Self.narrowest)))
      widths[widest] -= step
      excess -= step
    }
    return widths
  }
}
