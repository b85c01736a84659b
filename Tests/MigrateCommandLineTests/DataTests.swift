import MigrateCommandLine
import Testing

@Suite struct `JSON` {
  @Test func `keeps its members in order, on one line or on many`() {
    let value: JSONValue = [
      "run": 17, "name": "prices", "states": ["running", "completed"], "none": [], "empty": [:], "ok": true,
      "left": nil,
      "inner": ["a": 1, "b": [2]],
    ]
    #expect(
      JSONWriter.compact(value)
        == #"{"run":17,"name":"prices","states":["running","completed"],"none":[],"empty":{},"ok":true,"left":null,"#
        + #""inner":{"a":1,"b":[2]}}"#)
    #expect(
      JSONWriter.pretty(value) == """
        {
          "run": 17,
          "name": "prices",
          "states": [
            "running",
            "completed"
          ],
          "none": [],
          "empty": {},
          "ok": true,
          "left": null,
          "inner": {
            "a": 1,
            "b": [
              2
            ]
          }
        }
        """)
  }

  @Test(arguments: [
    ("a\"b\\c/", #""a\"b\\c/""#), ("\n\r\t\u{8}\u{C}\u{0}\u{1F}", #""\n\r\t\u0008\u000c\u0000\u001f""#),
    ("é日🙂", "\"é日🙂\""), ("\"\u{301}", "\"\\\"\u{301}\""),
    ("\u{7F}\u{9B}\u{2028}\u{202E}", #""\u007f\u009b\u2028\u202e""#),
    ("a\r\nb", #""a\r\nb""#), ("e\u{301}", "\"e\u{301}\""), ("", "\"\""),
  ])
  func `S08 escapes by scalars, what a terminal obeys too`(text: String, written: String) {
    #expect(Array(JSONWriter.compact(.string(text)).utf8) == Array(written.utf8))
  }

  @Test(arguments: ["0", "-0", "1", "-12.50", "1e3", "1.5E-7", "0.10", "123456789012345678901234567890.1"])
  func `writes a number digit for digit`(text: String) {
    #expect(JSONWriter.compact(.number(text)) == text)
  }

  @Test(arguments: ["", "NaN", "Infinity", "-", "+1", "01", "1.", ".5", "1e", "1e+", "0x1", "1 ", "٣", "1\",\"x\":2"])
  func `writes a string where JSON has no such number`(text: String) {
    #expect(JSONWriter.compact(.number(text)) == JSONWriter.compact(.string(text)))
  }

  @Test func `P26 is a line for each event, whatever is in it`() {
    let line = JSONWriter.line([
      "text": "a\nb\u{2028}c", "n": JSONValue(Int.min as Int?), "none": JSONValue(nil as String?),
    ])
    #expect(line == #"{"text":"a\nb\u2028c","n":-9223372036854775808,"none":null}"# + "\n")
  }
}

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

  @Test func `without rows is its heading`() {
    #expect(Table([.init("A"), .init("B")]).rendered() == "A  B\n")
  }
}
