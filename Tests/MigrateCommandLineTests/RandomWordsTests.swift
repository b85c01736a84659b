import MigrateCommandLine
import Testing

@Suite struct `Any words` {
  /// SplitMix64: the same numbers for the same seed.
  private struct Random: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
      state &+= 0x9E37_79B9_7F4A_7C15
      var z = state
      z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
      return z ^ (z >> 31)
    }
  }

  private static let pieces = [
    "-", "--", "---", "=", "-=", "--=", "--no-", "--no-json", "-h", "-qv", "-yq", "plan", "apply", "sandbox", "start",
    "help",
    "--param", "--set=", "a=1", "=", "@", "@@", "@x", "--reason", "--color", "1", "0", "-1", "-.", ".",
    "999999999999999999999",
    "é", "\u{301}", "\u{0}", "\u{1B}[2J", "\u{202E}", "🙂", "", " ", "postgres://a:b@c", "password=", "password='", "5k",
    "1h",
  ]

  @Test(arguments: 0..<20)
  func `end in a command, a text or an error with a help`(seed: Int) {
    var random = Random(state: UInt64(seed))
    let spellings = Commands.program.commands.flatMap { [$0.name] + $0.options.map { "--\($0.name)" } }
    for _ in 0..<500 {
      let words = (0..<Int.random(in: 0...6, using: &random)).map { _ in
        let source = Bool.random(using: &random) ? Self.pieces : spellings
        let first = source.randomElement(using: &random) ?? ""
        let second = Int.random(in: 0...3, using: &random) == 0 ? Self.pieces.randomElement(using: &random) ?? "" : ""
        return first + second
      }
      let text = answer(words)
      #expect(text.utf8.last == UInt8(ascii: "\n"), "\(words)")
      #expect(!text.unicodeScalars.contains { Printable.isUnsafe($0) && $0 != "\n" }, "\(words)")
      if text.utf8.starts(with: "migrate: error: ".utf8) {
        #expect(text.split(separator: "\n").count == 2 && text.contains("\n  help: "), "\(words)")
      }
    }
  }

  @Test func `of a megabyte are refused in time`() {
    let long = String(repeating: "x", count: 1_000_000)
    for words in [
      [long], ["plan", "--\(long)"], ["plan", "-\(long)"], ["history", long], ["plan", "--color", long],
    ] {
      #expect(answer(words).utf8.count < 300)
    }
  }
}
