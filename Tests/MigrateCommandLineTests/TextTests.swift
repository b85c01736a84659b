import MigrateCommandLine
import Testing

@Suite struct `S08 Printable text` {
  @Test func `has no control characters`() {
    #expect(Printable.line("\u{1B}]0;owned\u{7}") == "\\u{1b}]0;owned\\u{7}")
    #expect(Printable.line("a\u{9B}2Jb\u{7F}\u{0}") == "a\\u{9b}2Jb\\u{7f}\\u{0}")
    #expect(Printable.line("a\r\nmigrate: error\tb") == "a\\r\\nmigrate: error\\tb")
    #expect(Printable.line("abc\u{202E}fdp.exe\u{2028}") == "abc\\u{202e}fdp.exe\\u{2028}")
    #expect(Printable.block("a\n\tb\u{1B}") == "a\n\tb\\u{1b}")
    #expect(Printable.line("é 日本 🙂 e\u{301}") == "é 日本 🙂 e\u{301}")
  }

  @Test func `is safe for every scalar there is below U+3000`() {
    for value in UInt32(0)..<0x3000 {
      guard let scalar = Unicode.Scalar(value) else { continue }
      #expect(!Printable.line(String(scalar)).unicodeScalars.contains(where: Printable.isUnsafe))
    }
  }
}

@Suite struct `S04 A password` {
  @Test(arguments: [
    ("postgres://bob:secret@db/shop", "postgres://bob:***@db/shop"),
    ("postgresql://bob:s@c/r:t@db:5432/shop?sslmode=require", "postgresql://bob:***@db:5432/shop?sslmode=require"),
    ("two: a://b:c@d and e://f:g@h", "two: a://b:***@d and e://f:***@h"),
    ("host=db password=secret user=bob", "host=db password=*** user=bob"),
    ("PASSWORD = 'a b\\' c' user=bob", "PASSWORD = *** user=bob"),
    ("password='never closed", "password=***"), ("password=", "password=***"),
    ("postgres://db/shop?user=bob&sslpassword=secret&x=1", "postgres://db/shop?user=bob&sslpassword=***&x=1"),
    ("postgres://bob@db/shop", "postgres://bob@db/shop"), ("the password is wrong", "the password is wrong"), ("", ""),
  ])
  func `is never shown`(text: String, shown: String) {
    #expect(Redaction.withoutPasswords(text) == shown)
  }

  @Test(.timeLimit(.minutes(10)), arguments: ["://", "a:b@://", "password=", "password", "password=x&", "'", "@:"])
  func `is looked for in one pass, however often it might begin`(piece: String) {
    let text = String(repeating: piece, count: 30_000)
    #expect(Redaction.withoutPasswords(text).utf8.count <= text.utf8.count * 2)
  }
}

@Suite struct `Figures for people` {
  @Test(arguments: [
    (0, "0"), (999, "999"), (1_000, "1,000"), (1_000_000, "1,000,000"), (-1_234_567, "-1,234,567"),
    (Int.min, "-9,223,372,036,854,775,808"),
  ])
  func `are grouped`(number: Int, text: String) { #expect(Wording.count(number) == text) }

  @Test func `agree with their noun`() {
    #expect(Wording.count(1, "row") == "1 row")
    #expect(Wording.count(0, "row") == "0 rows")
    #expect(Wording.count(2_000, "batch", "batches") == "2,000 batches")
  }

  @Test(arguments: [
    (0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (8_912_345, "8.9 MB"), (999_949, "999.9 kB"), (999_950, "1.0 MB"),
    (5_000_000_000, "5.0 GB"), (Int.max, "9,223 PB"),
  ])
  func `have units of bytes`(number: Int, text: String) { #expect(Wording.bytes(number) == text) }

  @Test(arguments: [
    (Duration.zero, "0 ms"), (.milliseconds(340), "340 ms"), (.microseconds(999_600), "1.0 s"),
    (.milliseconds(41_234), "41.2 s"),
    (.milliseconds(59_949), "59.9 s"), (.milliseconds(59_950), "1 min 00 s"), (.seconds(123), "2 min 03 s"),
    (.milliseconds(3_599_500), "1 h 00 min"), (.seconds(5 * 3_600 + 7 * 60), "5 h 07 min"),
    (.seconds(86_370), "1 d 00 h"),
    (.seconds(76 * 3_600), "3 d 04 h"), (.seconds(Int64.max / 2), "53,375,995,583,650 d 08 h"), (.seconds(-5), "0 ms"),
  ])
  func `have units of time, rounded once`(duration: Duration, text: String) {
    #expect(Wording.duration(duration) == text)
  }

  @Test func `are rough where they are guessed`() {
    #expect(Wording.roughly(.milliseconds(43_100)) == "44 s")
    #expect(Wording.roughly(.milliseconds(59_100)) == "1 min 00 s")
    #expect(Wording.roughly(.zero) == "0 s")
    #expect(Wording.roughly(.seconds(-1)) == "0 s")
  }
}

@Suite struct `The width of a text` {
  @Test(arguments: [
    ("abc", 3), ("é", 1), ("e\u{301}", 1), ("日本", 4), ("🙂", 2), ("█▌", 2), ("…", 1), ("\u{200B}", 0), ("", 0),
  ])
  func `is counted in columns`(text: String, columns: Int) { #expect(ColumnWidth.of(text) == columns) }

  @Test func `is kept to by cutting between letters`() {
    #expect(ColumnWidth.truncated("abcdef", to: 6) == "abcdef")
    #expect(ColumnWidth.truncated("abcdef", to: 5) == "abcd…")
    #expect(ColumnWidth.truncated("日本語", to: 4) == "日…")
    #expect(ColumnWidth.truncated("abc", to: 0) == "")
    #expect(ColumnWidth.truncated("abcdef", to: 2, ellipsis: "...") == "ab")
  }

  @Test func `is kept to by breaking at blanks`() {
    #expect(TextWrapping.lines(of: "one two three", width: 8) == ["one two", "three"])
    #expect(TextWrapping.lines(of: "unbreakable x", width: 4) == ["unbreakable", "x"])
    #expect(TextWrapping.lines(of: "a\n\nb", width: 9) == ["a", "", "b"])
  }
}
