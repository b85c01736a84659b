import MigrateCommandLine
import Testing

/// A terminal as far as the painter uses it: what stands on its lines.
private struct Screen {
  private(set) var rows: [[Unicode.Scalar]] = [[]]
  private var (row, column) = (0, 0)

  /// Down to the last one on which something stands.
  var lines: [String] {
    let texts = rows.map { row in row.reduce(into: "") { $0.unicodeScalars.append($1) } }
    return Array(texts.prefix((texts.lastIndex { !$0.isEmpty } ?? -1) + 1))
  }

  mutating func show(_ text: String) {
    // Not by characters: a return and a newline are one.
    var rest = Substring(text).unicodeScalars
    while let next = rest.popFirst() {
      switch next {
      case "\r": column = 0
      case "\n":
        (row, column) = (row + 1, 0)
        if row == rows.count { rows.append([]) }
      case "\u{1B}":
        let code = rest.prefix { !$0.properties.isAlphabetic }
        rest = rest.dropFirst(code.count)
        let number = Int(String(String.UnicodeScalarView(code.dropFirst()))) ?? 0
        switch rest.popFirst() {
        case "A": row -= number
        case "C": column += number
        case "K": rows[row].removeSubrange(min(column, rows[row].count)...)
        case "J":
          rows[row].removeSubrange(min(column, rows[row].count)...)
          rows.removeSubrange((row + 1)...)
        default: Issue.record("an escape that it does not know")
        }
      default:
        while rows[row].count <= column { rows[row].append(" ") }
        rows[row][column] = next
        column += 1
      }
    }
  }
}

@Suite struct `Lines that change in place` {
  @Test func `are what was painted last, whatever stood there`() {
    var (painter, screen) = (BlockPainter(), Screen())
    let texts = [
      ["one"], ["one", "two"], ["one", "2"], ["1", "2", "three", "four"], ["four"], ["a longer one", "", "b"],
      ["a", "b"],
    ]
    for lines in texts + texts.reversed() {
      screen.show(painter.paint(lines, width: 80, height: 24, unicode: true))
      #expect(screen.lines == lines)
    }
    screen.show(painter.clear(width: 80))
    #expect(screen.lines == [])
  }

  @Test func `are written only where they have changed`() {
    var painter = BlockPainter()
    let lines = (1...9).map { "line \($0)" }
    _ = painter.paint(lines, width: 80, height: 24, unicode: true)
    #expect(painter.paint(lines, width: 80, height: 24, unicode: true).isEmpty)
    var changed = lines
    changed[3] = "another"
    let text = painter.paint(changed, width: 80, height: 24, unicode: true)
    #expect(text.contains("another") && !text.contains("line"))
  }

  @Test func `fit the window, and stand in one of another size as well`() {
    var painter = BlockPainter()
    let lines = ["0123456789", "ab", "cd", "ef"]
    #expect(painter.paint(lines, width: 6, height: 3, unicode: true) == "0123…\nab")
    // Of ten columns two lines of the old window have become one each; all is drawn anew.
    #expect(painter.paint(lines, width: 11, height: 24, unicode: true) == "\r\u{1B}[1A\u{1B}[J0123456789\nab\ncd\nef")
    // The first line takes three of the narrow window.
    #expect(painter.paint(lines, width: 5, height: 24, unicode: false) == "\r\u{1B}[4A\u{1B}[J0...\nab\ncd\nef")
  }
}

@Suite struct `A progress bar of a run with more to tell` {
  @Test func `shows what was left out, who works on it, and how sure the time left is`() {
    let state = ProgressState(
      "prices", rowsDone: 470_000, rowsTotal: 1_000_000, rate: 11_400, elapsed: .seconds(41.2), left: .seconds(41),
      range: .seconds(35)...(.seconds(52)), kept: "3 rejects", workers: 4)
    #expect(
      ProgressBar(unicode: true).line(state, width: 130)
        == "prices  █████████▊░░░░░░░░░░░   47 %  470,000 of ~1,000,000 rows  3 rejects  11,400 rows/s  4 workers  41.2 s  41 s left (35–52 s)"
    )
    #expect(ProgressBar(unicode: true).line(state, width: 50) == "prices  ███▎░░░   47 %  470,000  3 rejects  41.2 s")
    #expect(
      ProgressBar(unicode: false).plain(state)
        == "prices  47 %  470,000 of ~1,000,000 rows  3 rejects  11,400 rows/s  4 workers  41.2 s  41 s left (35-52 s)")
  }

  @Test func `leaves out an interval that says nothing`() {
    #expect(Wording.range(.seconds(35.2)...(.seconds(35.9)), unicode: true) == nil)
    #expect(Wording.range(.seconds(35)...(.seconds(52)), unicode: true) == "35–52 s")
    #expect(Wording.range(.seconds(50)...(.seconds(70)), unicode: true) == "50 s–1 min 10 s")
    #expect(Wording.range(.seconds(3_000)...(.seconds(4_000)), unicode: false) == "50 min 00 s-1 h 07 min")
  }
}
