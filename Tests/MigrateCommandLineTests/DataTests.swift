import MigrateCommandLine
import Testing

@Suite struct `CSV` {
  @Test func `quotes what needs it, and tells nothing from an empty text`() {
    let record = CSVWriter().record(["a", nil, "", "b,c", "say \"hi\"", "two\nlines", "\r", " x", "=1+1", "é"])
    #expect(record == "a,,\"\",\"b,c\",\"say \"\"hi\"\"\",\"two\nlines\",\"\r\",\" x\",=1+1,é\r\n")
    #expect(CSVWriter().record(["a,\u{301}\"\u{301}"]) == "\"a,\u{301}\"\"\u{301}\"\r\n")
  }

  @Test func `S08 is escaped on a terminal only`() {
    #expect(CSVWriter().record(["\u{1B}[2J"]) == "\u{1B}[2J\r\n")
    #expect(CSVWriter(escapesControls: true).record(["\u{1B}[2J\n"]) == "\\u{1b}[2J\\n\r\n")
  }
}

@Suite struct `A table` {
  private var runs: Table {
    var table = Table([.init("RUN", .number), .init("NAME"), .init("ROWS", .number), .init("REASON")])
    table.add(["9", "prices", "1,000,000", "the winter sale, as agreed"])
    table.add(["17", "日本", "3", ""])
    table.add(["18", "\u{1B}[2J"])
    return table
  }

  @Test func `has numbers on the right and texts on the left`() {
    #expect(
      runs.rendered() == """
        RUN  NAME            ROWS  REASON
          9  prices     1,000,000  the winter sale, as agreed
         17  日本               3
         18  \\u{1b}[2J

        """)
  }

  @Test func `cuts its longest texts to fit, never a number`() {
    #expect(
      runs.rendered(width: 44) == """
        RUN  NAME            ROWS  REASON
          9  prices     1,000,000  the winter sale,…
         17  日本               3
         18  \\u{1b}[2J

        """)
    #expect(
      runs.rendered(width: 10, unicode: false)
        == """
        RUN  NAME         ROWS  REASON
          9  prices  1,000,000  the...
         17  日本            3
         18  \\u{...

        """)
  }

  @Test(arguments: [
    (
      105,
      """
      RUN  NAME          STATE         ROWS  STARTED                           TOOK    BY        REASON
        1  raise_prices  completed  799,394  2026-11-24T21:10:04.153642+00:00  21.0 s  postgres  new price list
      """
    ),
    (
      92,
      """
      RUN  NAME          STATE         ROWS  STARTED                    TOOK    BY        REASON
        1  raise_prices  completed  799,394  2026-11-24T21:10:04+00:00  21.0 s  postgres  new pri…
      """
    ),
    (
      87,
      """
      RUN  NAME          STATE         ROWS  STARTED                 TOOK    BY        REASON
        1  raise_prices  completed  799,394  2026-11-24T21:10+00:00  21.0 s  postgres  new p…
      """
    ),
    (
      80,
      """
      RUN  NAME          STATE         ROWS  STARTED     TOOK    BY        REASON
        1  raise_prices  completed  799,394  2026-11-24  21.0 s  postgres  new price …
      """
    ),
    (
      60,
      """
      RUN  NAME       STATE         ROWS  TOOK    BY        REASON
        1  raise_pr…  completed  799,394  21.0 s  postgres  new p…
      """
    ),
    (
      40,
      """
      RUN  NAME      STATE        ROWS  TOOK
        1  raise_p…  complet…  799,394  21.0 s
      """
    ),
  ])
  func `tells a moment less exactly, and then leaves it out, before it cuts it`(width: Int, shown: String) {
    var history = Table([
      .init("RUN", .number), .init("NAME"), .init("STATE"), .init("ROWS", .number), .init("STARTED", .moment),
      .init("TOOK"), .init("BY"), .init("REASON", .rest),
    ])
    history.add([
      "1", "raise_prices", "completed", "799,394", "2026-11-24T21:10:04.153642+00:00", "21.0 s", "postgres",
      "new price list",
    ])
    #expect(history.rendered(width: width) == shown + "\n")
  }

  @Test(arguments: ["infinity", "0044-03-15T12:00:00+00:00 BC", "soon", ""])
  func `leaves what is no moment as it is`(text: String) {
    for exactness in MomentText.Exactness.allCases { #expect(MomentText.told(text, exactness) == text) }
  }

  @Test func `without rows is its heading`() {
    #expect(Table([.init("A"), .init("B")]).rendered() == "A  B\n")
  }
}
