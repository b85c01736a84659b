import MigrateJSON
import Testing

@Suite struct `A JSON document` {
  @Test func `keeps its members in order, on one line or on many`() {
    let value: JSON = [
      "run": 17, "name": "prices", "states": ["running", "completed"], "none": [], "empty": [:], "ok": true,
      "left": nil,
      "inner": ["a": 1, "b": [2]],
    ]
    #expect(
      value.compact
        == #"{"run":17,"name":"prices","states":["running","completed"],"none":[],"empty":{},"ok":true,"left":null,"#
        + #""inner":{"a":1,"b":[2]}}"#)
    #expect(
      value.pretty == """
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
    #expect(Array(JSON.string(text).compact.utf8) == Array(written.utf8))
  }

  @Test(arguments: ["0", "-0", "1", "-12.50", "1e3", "1.5E-7", "0.10", "123456789012345678901234567890.1"])
  func `writes a number digit for digit`(text: String) {
    #expect(JSON.number(text).compact == text)
  }

  @Test(arguments: ["", "NaN", "Infinity", "-", "+1", "01", "1.", ".5", "1e", "1e+", "0x1", "1 ", "٣", "1\",\"x\":2"])
  func `writes a string where JSON has no such number`(text: String) {
    #expect(JSON.number(text).compact == JSON.string(text).compact)
  }

  @Test func `P26 is a line for each event, whatever is in it`() {
    let line: JSON = ["text": "a\nb\u{2028}c", "n": .integer(Int.min), "none": .optional(nil as String?)]
    #expect(line.compact == #"{"text":"a\nb\u2028c","n":-9223372036854775808,"none":null}"#)
  }

  @Test func `reads what it has written, byte for byte`() throws {
    let value: JSON = ["a\u{7F}": [1, nil, true], "b": "\u{1B}[2J\"\\\u{301}"]
    #expect(try JSON(value.compact) == value)
    #expect(try JSON(value.pretty).compact == value.compact)
  }
}
