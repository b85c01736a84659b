import MigrateDefinition
import MigrateDiagnostics
import Testing

/// The traps of group Y, by number.
@Suite struct `A trap of YAML` {
  @Test func `Y01: a billion laughs end at the first anchor`() {
    var yaml = head + "set:\n  a0: &a0 x\n"
    for level in 1...9 {
      yaml += "  a\(level): &a\(level) [" + Array(repeating: "*a\(level - 1)", count: 9).joined(separator: ", ") + "]\n"
    }
    let found = codes(of: yaml)
    #expect(found.count { $0 == "anchor" } == 10)
    #expect(found.count { $0 == "alias" } == 81)
  }

  @Test func `Y02: a key given twice is refused, at every depth`() {
    #expect(codes(of: head + foot + "where: a\nwhere: b\n") == ["duplicate-key"])
    #expect(codes(of: head + "set: {x: {value: {a: 1, 'a': 2}}}\n") == ["duplicate-key"])
    #expect(codes(of: head + "set: {x: 1, \"\\x78\": 2}\n") == ["duplicate-key"])
    #expect(codes(of: head + "set: {a: 1, A: 2}\n") == [])
  }

  @Test(
    arguments: [
      "NO", "no", "on", "off", "y", "n", "yes", "1:30", "1_000", "0b11", "2026-01-01", "1e", "0x", "0o8", "=", "nul",
    ])
  func `Y03: what YAML 1.1 reads as something else is a text here`(_ word: String) throws {
    let definition = try decode(head + "set: {x: {value: \(word)}}\n")
    guard case .constant(let constant)? = definition.operation.set.first?.value else { throw Unexpected() }
    #expect(constant.value == .text(word))
    _ = try decode(head + "set: {\(word): 1}\n")
  }

  @Test(
    arguments: [
      "0", "-1", "1e9", "'100'", "\"100\"", "9223372036854775808", "10000001", "010", "0x10", "0o10", "1.0", "1_0",
      "+0",
      ".inf", "~", "", "ten", "[1]", "{a: 1}", "true",
    ])
  func `Y04: what is no number of rows is refused`(_ number: String) {
    #expect(codes(of: head + foot + "batch_size: \(number)\n") == ["bad-batch-size"])
  }

  @Test(arguments: [("1", 1), ("10000000", 10_000_000), ("+5", 5)])
  func `Y04: what is one is read`(_ number: String, _ rows: Int) throws {
    #expect(try decode(head + foot + "batch_size: \(number)\n").operation.batchSize?.value == .rows(rows))
  }

  @Test func `Y05: tabs, CR LF, a byte order mark, UTF-16 and odd line breaks`() throws {
    let yaml = head + foot
    #expect(codes(of: head + "set:\n\tx: y\n") == ["tab-indentation"])
    #expect(codes(of: yaml.replacing("\n", with: "\r\n")) == [])
    let marked = [0xEF, 0xBB, 0xBF] + Array("batch: b\nsorce: é\nset: {x: y}\n".utf8)
    #expect(refusal(of: marked).hasPrefix("a.yaml:2:1: error: unknown key \"sorce\""))
    #expect(
      refusal(of: [0xEF, 0xBB, 0xBF] + Array("sorce: é\nbatch: b\n".utf8)).hasPrefix("a.yaml:1:1: error: unknown"))
    #expect(codes(of: [0xFF, 0xFE] + yaml.utf16.flatMap { [UInt8($0 & 0xFF), UInt8($0 >> 8)] }) == ["not-utf8"])
    #expect(codes(of: yaml.utf16.flatMap { [UInt8($0 >> 8), UInt8($0 & 0xFF)] }) == ["not-utf8"])
    for odd in ["\r", "\u{85}", "\u{2028}", "\u{2029}"] {
      #expect(codes(of: head + "where: a\(odd)b\n" + foot) == ["odd-line-break"])
    }
    #expect(codes(of: head + "where: a\u{7}\n" + foot) == ["control-character"])
    #expect(
      refusal(of: Array(head.utf8) + [0x77, 0x3A, 0x20, 0xE9, 0x0A]).hasPrefix("a.yaml:3:4: error: the byte 0xE9"))
    for bad in [[0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF5, 0x80, 0x80, 0x80], [0xE2, 0x82]] as [[UInt8]] {
      #expect(codes(of: Array(yaml.utf8) + bad) == ["not-utf8"])
    }
  }

  @Test func `Y06: one document, and something in it`() {
    #expect(codes(of: head + foot + "---\n" + head + foot) == ["second-document"])
    #expect(codes(of: head + foot + "...\n---\n" + head + foot) == ["second-document"])
    #expect(codes(of: "---\n" + head + foot + "...\n") == [])
    for empty in ["", "\n\n", "# nothing\n", "---\n", "--- ~\n", "null\n"] {
      #expect(codes(of: empty).count == 1, "\(empty)")
    }
    #expect(codes(of: "# nothing\n") == ["empty-document"])
  }

  @Test func `Y07: merge keys`() {
    #expect(codes(of: head + "set: {<<: {a: 1}, x: y}\n") == ["merge-key"])
    #expect(codes(of: head + "set: {'<<': 1}\n") == [])
  }

  @Test func `Y08: a misspelt key fails with a suggestion and its place`() {
    #expect(
      refusal(of: head + foot + "batchsize : 5\nwher: a\n")
        == """
        a.yaml:4:1: error: "batchsize" is a key of other tools [key-of-other-tools]
          4 | batchsize : 5
            | ^^^^^^^^^
          help: rows that commit together are `batch_size: 10000`

        a.yaml:5:1: error: unknown key "wher" [unknown-key]
          5 | wher: a
            | ^^^^
          help: did you mean "where"?

        """)
  }

  @Test func `Y09: a block that folds does not swallow SQL`() {
    let lines = "\n    a -- net\n    + b\n"
    #expect(codes(of: head + "set:\n  x: |" + lines) == [])
    #expect(codes(of: head + "set:\n  x: >" + lines) == ["folded-comment"])
    #expect(codes(of: head + "set:\n  x: >\n    a || '-- net'\n    || b\n") == [])
    #expect(codes(of: head + "set:\n  x: >\n    a /* -- net */\n    + b\n") == [])
    #expect(codes(of: head + "set:\n  x: >\n    a + $q$--$q$\n    + b -- last\n") == [])
    #expect(codes(of: head + "set:\n  x: >\n    a -- net\n\n    + b\n") == [])
    #expect(codes(of: head + "set:\n  x: >\n    \"a--\"\n    + E'\\'--'\n    + b\n") == [])
  }

  @Test(arguments: ["!!python/object:os.system x", "!!str x", "! x", "!deleted", "!<tag:x> y", "!!binary |\n    eA=="])
  func `Y10: tags`(_ value: String) {
    #expect(codes(of: head + "set:\n  x: \(value)\n") == ["tag"])
  }

  @Test(arguments: [
    "{1: a}", "{true: a}", "{null: a}", "{~: a}", "{1.5: a}", "{? [a] : b}", "{? {a: b} : c}", "{0x1F: a}",
  ])
  func `Y11: keys that are not texts`(_ map: String) {
    #expect(codes(of: head + "set: \(map)\n") == ["key-not-text"])
    #expect(codes(of: head + "set: {x: {value: \(map)}}\n") == ["key-not-text"])
  }

  @Test(.timeLimit(.minutes(10)))
  func `Y12: ten megabytes, and ten thousand levels`() {
    #expect(codes(of: head + foot + String(repeating: "# comment\n", count: 1_000_000)) == ["file-too-large"])
    #expect(codes(of: head + "set: {x: {value: " + String(repeating: "[", count: 10_000)) == ["too-deep"])
    #expect(codes(of: head + "set: {x: {value: " + String(repeating: "{a: ", count: 10_000)) == ["too-deep"])
    #expect(codes(of: head + "set:\n  x: " + String(repeating: "- ", count: 10_000)).isEmpty == false)
    let wide = "[" + String(repeating: "1,", count: 100_000) + "1]"
    #expect(codes(of: head + "set: {x: {value: \(wide)}}\n") == ["too-many-nodes"])
    #expect(codes(of: head + "where: '" + String(repeating: "x", count: 900_000) + "'\n" + foot) == [])
  }

  /// One long line, and whatever costs a look at the rest of it for each of its parts.
  @Test(
    .timeLimit(.minutes(10)),
    arguments: [
      ("set: {x: f(", "a, ", ")}"), ("set: {x: f(a, ", "b), y: g(", "z)}"), ("set: {x: ", "a #b ", "}"),
      ("set: [", "!a b, ", "]"),
      ("set: {", "x: y, ", "}"), ("set: {x: ", "'a' ", "}"), ("where: ", "'a' ", ""), ("where: a", " # b", ""),
      ("set: {x: {value: [", "*a, ", "]}}"), ("set:", " ? a", ""), ("where: a", "\n  --b", ""), ("where: ", "(", ""),
      ("where: \"", "$a ", "\""), ("where: '", "\n\n ", "'"), ("set: {x: ", ": ", "}"), ("", "x: \"a\" b\n", ""),
    ])
  func `Y12: a line of hundreds of kilobytes costs no more than its length`(
    _ start: String, _ part: String, _ end: String
  ) {
    let yaml = head + start + String(repeating: part, count: 400_000 / part.utf8.count) + end + "\n"
    let began = ContinuousClock.now
    #expect(!codes(of: yaml).isEmpty)
    #expect(ContinuousClock.now - began < .seconds(20))
  }

  @Test func `Y13: nothing in a file names another file`() {
    #expect(codes(of: head + foot + "include: other.yaml\n") == ["unknown-key"])
    #expect(codes(of: head + "set: !include other.yaml\n") == ["tag"])
    #expect(codes(of: "<<: !include other.yaml\n" + head + foot) == ["merge-key"])
  }
}
