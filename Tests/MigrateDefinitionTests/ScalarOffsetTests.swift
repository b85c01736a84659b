import MigrateDefinition
import MigrateDiagnostics
import Testing

@Suite struct `Each byte of a scalar` {
  /// The text, and for each byte of it the byte of the file that its offset points to, a line break shown as `/`.
  private func walk(_ yaml: String) throws -> [String] {
    let bytes = Array(yaml.utf8)
    let fragment = try #require(scalar("k", in: bytes)).fragment
    #expect(fragment.offsets.count == fragment.text.utf8.count + 1)
    let origins = fragment.offsets.dropLast().map { [0x0A, 0x0D].contains(bytes[$0]) ? UInt8(ascii: "/") : bytes[$0] }
    return [fragment.text, String(decoding: origins, as: UTF8.self)]
  }

  @Test(
    "knows where it stands in the file, whatever the style",
    arguments: [
      ("k: a = 'b'", "a = 'b'", "a = 'b'"),
      ("k: é > ü", "é > ü", "é > ü"),
      ("k: a\n  b\n\n  c", "a b\nc", "a/b/c"),
      ("k: a  \n  \tb", "a b", "a/b"),
      ("k: a\r\n  b\r\n\r\n  c", "a b\nc", "a/b/c"),
      ("k: 'it''s  here '", "it's  here ", "it's  here "),
      ("k: ' a\n\n\n  b '", " a\n\nb ", " a//b "),
      ("k: \"a\\tb\\u00e9\\\\ \"", "a\tb\u{e9}\\ ", "a\\b\\\\\\ "),
      ("k: \"a \\\n   b\\n\n  c\"", "a b\n c", "a b\\/c"),
      ("k: |\n  a\n   b\n\n  c\n", "a\n b\n\nc\n", "a/ b//c/"),
      ("k: |-\n\n  a\n  b\n\n", "\na\nb", "/a/b"),
      ("k: |+\n  a\n\n", "a\n\n", "a//"),
      ("k: |2\n   a\n  b\n", " a\nb\n", " a/b/"),
      ("k: >\n  a\n  b\n\n  c\n   d\n  e\n", "a b\nc\n d\ne\n", "a/b/c/ d/e/"),
      ("k: > # why\r\n  a\r\n  b\r\n", "a b\n", "a/b/"),
    ])
  func places(_ yaml: String, _ text: String, _ origins: String) throws {
    #expect(try walk(yaml) == [text, origins])
  }

  @Test func `has its span without quotes, its scalar's with them`() throws {
    let quoted = try #require(scalar("k", in: Array("k: 'abc'\n".utf8))).fragment
    #expect(quoted.span == SourceSpan(3, 8))
    #expect(quoted.span(of: 1..<2) == SourceSpan(5, 6))
    let block = try #require(scalar("k", in: Array("k: |\n  ab\nl: x\n".utf8))).fragment
    #expect(block.span == SourceSpan(3, 10))
    #expect(block.span(of: 0..<2) == SourceSpan(7, 9))
  }

  /// The walk must give libyaml's own text; where it does not, all offsets are the start, which this would notice.
  @Test func `is found again in scalars made of anything`() throws {
    var random = Seeded(1)
    var compared = 0
    for _ in 0..<20_000 {
      let yaml = randomScalar(&random)
      let bytes = Array(yaml.utf8)
      guard let scalar = scalar("k", in: bytes), scalar.text.utf8.count > 1, !scalar.isMissing else { continue }
      compared += 1
      let fragment = scalar.fragment
      let isWalked =
        Set(fragment.offsets).count > 1 && zip(fragment.offsets, fragment.offsets.dropFirst()).allSatisfy(<=)
      #expect(isWalked && fragment.offsets.count == fragment.text.utf8.count + 1, "\(yaml.debugDescription)")
      for (byte, offset) in zip(fragment.text.utf8, fragment.offsets) {
        let origin = bytes[offset]
        let isSame = origin == byte || origin == UInt8(ascii: "\\") && scalar.style == .doubleQuoted
        let isBreak = [0x0A, 0x0D].contains(origin) && [0x0A, 0x20].contains(byte)
        #expect(isSame || isBreak, "\(yaml.debugDescription)")
      }
    }
    #expect(compared > 5_000)
  }

  private func randomScalar(_ random: inout Seeded) -> String {
    let styles = ["", "'", "\"", "|\n  ", ">\n  ", "|-\n ", ">+\n   ", "|2\n  ", ">1-\n  ", "|\n\n    ", "\n  "]
    let pieces = [
      "a", "bc", "é", "𝄞", " ", "  ", "\t", "\n  ", "\n  ", "\n\n  ", "\n   ", "\n \n  ", "\r\n  ", "\r\n\r\n   ", "''",
      "-", "- ", ":", "#", "'", "\\n", "\\\\", "\\\n  ", "\\u00e9", "\\x41", "{", ",", "\n",
    ]
    let style = random.pick(styles)
    let content = (0..<Int(random.next() % 12)).map { _ in random.pick(pieces) }.joined()
    let close = ["'", "\""].contains(style) ? style : ""
    let tail = random.pick(["", "\n", "\r\n", "\nl: x\n", "\n\n", "\n# end\n", " # end\n"])
    return random.pick(["", "é: ü\n"]) + "k: " + style + content + close + tail
  }
}
