import MigrateCommandLine
import Synchronization
import Testing

@Suite struct `A progress bar` {
  static let half = ProgressState(
    "prices", rowsDone: 470_000, rowsTotal: 1_000_000, rate: 11_400, elapsed: .seconds(41.2), left: .seconds(46.4))
  static let held = ProgressState(
    "prices", rowsDone: 470_000, rowsTotal: 1_000_000, rate: 0, elapsed: .seconds(41.2), note: "held: replica lags 12 s"
  )
  static let unknown = ProgressState("prices", rowsDone: 470_000, rate: 11_400, elapsed: .seconds(41.2))

  @Test func `at twenty columns tells the name and how far`() {
    expect(Self.half, 20, "prices  ██▎░░   47 %")
    expect(Self.held, 20, "prices  ██▎░░   47 %")
    expect(Self.unknown, 20, "prices  470,000 rows")
  }

  @Test func `at forty columns tells the rows besides`() {
    expect(Self.half, 40, "prices  ██▎░░   47 %  470,000  47 s left")
    expect(Self.held, 40, "prices   47 %  470,000  held: replic…")
    expect(Self.unknown, 40, "prices  470,000 rows  11,400 rows/s")
  }

  @Test func `at eighty columns tells most`() {
    expect(Self.half, 80, "prices  █████▏░░░░░   47 %  470,000 of ~1,000,000 rows  11,400 rows/s  47 s left")
    expect(Self.held, 80, "prices  █████▋░░░░░░   47 %  470,000 of ~1,000,000 rows  held: replica lags 12 s")
    expect(Self.unknown, 80, "prices  470,000 rows  11,400 rows/s  41.2 s")
  }

  @Test func `at two hundred columns tells all, and grows no further`() {
    expect(
      Self.half, 200,
      "prices  ██████████████████▊░░░░░░░░░░░░░░░░░░░░░   47 %  470,000 of ~1,000,000 rows  11,400 rows/s  41.2 s  47 s left"
    )
    expect(
      Self.held, 200,
      "prices  ██████████████████▊░░░░░░░░░░░░░░░░░░░░░   47 %  470,000 of ~1,000,000 rows  0 rows/s  41.2 s  held: replica lags 12 s"
    )
    expect(Self.unknown, 200, "prices  470,000 rows  11,400 rows/s  41.2 s")
  }

  @Test func `is drawn in ASCII where there is no more`() {
    let bar = ProgressBar(unicode: false)
    #expect(
      bar.line(Self.half, width: 80)
        == "prices  [####-----]   47 %  470,000 of ~1,000,000 rows  11,400 rows/s  47 s left")
    #expect(bar.line(Self.held, width: 40) == "prices   47 %  470,000  held: repl...")
  }

  private func expect(
    _ state: ProgressState, _ width: Int, _ line: String, at location: SourceLocation = #_sourceLocation
  ) {
    #expect(ProgressBar(unicode: true).line(state, width: width) == line, sourceLocation: location)
  }

  /// P27
  @Test func `P27 never exceeds a hundred per cent, nor reaches it too early`() {
    func percent(_ done: Int, of total: Int?) -> Int? {
      ProgressState("p", rowsDone: done, rowsTotal: total, elapsed: .zero).percent
    }
    #expect(percent(0, of: 10) == 0)
    #expect(percent(999_999_999, of: 1_000_000_000) == 99)
    #expect(percent(10, of: 10) == 100)
    #expect(percent(.max, of: 1) == 100)
    #expect(percent(.max - 1, of: .max) == 99)
    #expect(percent(-5, of: 10) == 0)
    for total in [nil, 0, -1] { #expect(percent(5, of: total) == nil) }
    let over = ProgressState("p", rowsDone: 11, rowsTotal: 10, elapsed: .seconds(1))
    #expect(ProgressBar(unicode: true).line(over, width: 40) == "p  ██████████████  100 %  11 rows  1.0 s")
  }

  @Test func `fits any width and shows no half number`() {
    let labels = ["prices", "", "a-name-that-goes-on-and-on-and-on-and-on", "日本語の名前はとても長い", "\u{1B}[2J\nx"]
    let rates: [Double?] = [nil, 0, 1e300, .infinity, .nan, -1, 123_456]
    for label in labels {
      for width in 20...220 {
        for unicode in [true, false] {
          for rate in rates {
            for (done, total) in [(0, nil), (0, 0), (5, 10), (.max, .max), (11, 10)] as [(Int, Int?)] {
              let state = ProgressState(
                label, rowsDone: done, rowsTotal: total, rate: rate, elapsed: .seconds(done % 9_999),
                left: .seconds(90),
                note: width % 2 == 0 ? "a note that is rather longer than a note should be" : nil)
              let line = ProgressBar(unicode: unicode).line(state, width: width)
              if ColumnWidth.of(line) > width || line.unicodeScalars.contains(where: Printable.isUnsafe) {
                Issue.record("\(width): \(line)")
              }
              if !unicode, label == "prices", !line.utf8.allSatisfy({ $0 < 0x80 }) { Issue.record("\(line)") }
            }
          }
        }
      }
    }
  }
}

@Suite struct `A progress display` {
  private final class Screen: Sendable {
    let writes = Mutex<[String]>([])
    let time = Mutex(ContinuousClock.now)
    var written: [String] { writes.withLock { $0 } }
    func pass(_ duration: Duration) { time.withLock { $0 += duration } }

    func display(isTerminal: Bool) -> ProgressDisplay {
      ProgressDisplay(
        on: Terminal(isTerminal: isTerminal, color: false, unicode: false), width: { 21 },
        now: { self.time.withLock { $0 } }, write: { text in self.writes.withLock { $0.append(text) } })
    }
  }

  private func state(_ done: Int) -> ProgressState {
    ProgressState("p", rowsDone: done, rowsTotal: 100, elapsed: .seconds(1))
  }

  @Test func `redraws a line in place, in one piece, ten times a second at most`() {
    let screen = Screen()
    let display = screen.display(isTerminal: true)
    for done in 0..<100 {
      display.show(state(done))
      screen.pass(.milliseconds(10))
    }
    #expect(screen.written.count == 10)
    #expect(screen.written.first == "\rp  [-----]    0 %  0\u{1B}[K")
    #expect(screen.written.last == "\rp  [###-]   90 %  90\u{1B}[K")
    #expect(screen.written.allSatisfy { $0.utf8.count <= 20 + 4 })
  }

  @Test func `draws what came too soon when it comes again, and nothing twice`() {
    let screen = Screen()
    let display = screen.display(isTerminal: true)
    display.show(state(1))
    display.show(state(2))
    #expect(screen.written.count == 1)
    screen.pass(.seconds(1))
    display.show(state(2))
    display.show(state(2))
    #expect(screen.written.count == 2)
    screen.pass(.seconds(1))
    display.show(state(2))
    #expect(screen.written.count == 2)
  }

  @Test(arguments: [
    (true, ["\rp  0 rows  for 0 ms\u{1B}[K", "\rp  0 rows  for 1.0 s\u{1B}[K", "\rp  0 rows  for 2.0 s\u{1B}[K"]),
    (false, ["p  0 rows  for 0 ms\n", "p  0 rows  for 1 min 00 s\n", "p  0 rows  for 2 min 00 s\n"]),
  ])
  func `goes on telling how long something is held, in a log once a minute`(isTerminal: Bool, expected: [String]) {
    let screen = Screen()
    let display = screen.display(isTerminal: isTerminal)
    let begin = screen.time.withLock { $0 }
    display.show {
      let passed = begin.duration(to: screen.time.withLock { $0 })
      return ProgressState("p", rowsDone: 0, note: "for \(Wording.duration(passed))")
    }
    for _ in 0..<(isTerminal ? 20 : 1_200) {
      screen.pass(.milliseconds(100))
      display.refresh()
    }
    #expect(screen.written == expected)
  }

  @Test func `says lines above the bar, and is gone at the end`() {
    let screen = Screen()
    let display = screen.display(isTerminal: true)
    display.say("before")
    display.show(state(50))
    display.say("between")
    display.finish()
    display.show(state(60))
    display.say("after")
    let bar = "p  [##--]   50 %  50"
    #expect(
      screen.written == [
        "before\n", "\r\(bar)\u{1B}[K", "\r\u{1B}[Kbetween\n\(bar)", "\r\u{1B}[K", "after\n",
      ])
  }

  @Test func `shows its last state, however soon it comes`() {
    let bar = Screen()
    let display = bar.display(isTerminal: true)
    display.show(state(0))
    display.finish(showing: state(100))
    display.finish()
    #expect(bar.written == ["\rp  [-----]    0 %  0\u{1B}[K", "\rp  [###]  100 %  100\u{1B}[K", "\n"])
    let log = Screen()
    let lines = log.display(isTerminal: false)
    lines.show(state(0))
    lines.show(state(50))
    lines.finish(showing: state(100))
    #expect(log.written == ["p  0 %  0 of ~100 rows  1.0 s\n", "p  100 %  100 of ~100 rows  1.0 s\n"])
  }

  @Test func `is a plain line each five seconds where there is no terminal`() {
    let screen = Screen()
    let display = screen.display(isTerminal: false)
    for done in 0..<100 {
      display.show(state(done))
      screen.pass(.milliseconds(100))
    }
    display.say("said")
    display.finish()
    #expect(
      screen.written == ["p  0 %  0 of ~100 rows  1.0 s\n", "p  50 %  50 of ~100 rows  1.0 s\n", "said\n"])
  }
}
