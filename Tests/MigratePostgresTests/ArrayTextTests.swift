import MigratePostgres
import TestSupport
import Testing

@Suite struct `The text of an array` {
  @Test(
    arguments: [
      ("{}", []), ("{a,\"b,\\\"c\",NULL}", ["a", "b,\"c", nil]), ("{\"NULL\",null,\"\"}", ["NULL", "null", ""]),
      ("[0:1]={1,2}", ["1", "2"]), ("{é,\"e\u{301}\"}", ["é", "e\u{301}"]), ("{\"a\\\\b\"}", ["a\\b"]),
    ] as [(String, [String?])]) func `is read`(text: String, expected: [String?])
  {
    #expect(ArrayText.parse(text) == expected)
  }

  @Test(arguments: [
    "", "{", "}", "{a", "{a,}", "{,a}", "{\"a}", "{\"a\\", "{a}}", "{a}x", "{{1,2},{3,4}}", "[0:1]", "a", "{a\\",
    "{\"a\"b}",
  ]) func `that is none is nil`(text: String) {
    #expect(ArrayText.parse(text) == nil)
  }

  @Test func `comes back as it was, from here and from the server`() async throws {
    var random = SeededRandom(seed: 7)
    let pieces = [
      "a", "NULL", "null", "\"", "\\", ",", "{", "}", " ", "\n", "\t", "é", "e\u{301}", "👨‍👩‍👧", "'", "$1", "\u{1}",
    ]
    let arrays: [[String?]] = (0..<300).map { _ in
      (0..<Int.random(in: 0...4, using: &random)).map { _ in
        guard Int.random(in: 0...5, using: &random) > 0 else { return nil }
        return (0..<Int.random(in: 0...4, using: &random)).map { _ in pieces.randomElement(using: &random) ?? "" }
          .joined()
      }
    }
    try await withDatabase { server in
      try await withConnection(to: server) { connection in
        for array in arrays {
          let literal = ArrayText.literal(array)
          #expect(ArrayText.parse(literal) == array)
          let row = try connection.query(
            "SELECT a, (SELECT array_agg(e ORDER BY n) FROM unnest(a) WITH ORDINALITY u(e, n)) AS same FROM (SELECT $1::text[] AS a) s",
            [literal]
          ).onlyRow
          #expect(try row.array("a") == array)
          #expect(
            try array.isEmpty
              || row.array("same").map { $0.map { Array($0.utf8) } } == array.map { $0.map { Array($0.utf8) } })
        }
      }
    }
  }
}

/// The same numbers in each run. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
struct SeededRandom: RandomNumberGenerator {
  private var state: UInt64
  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}
