import Foundation
import MigrateDiagnostics
import MigrateSQL
import Testing

/// Pseudo-random numbers that are the same in every run (splitmix64).
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64
  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}

extension Array {
  fileprivate func picked(_ generator: inout SeededGenerator) -> Element {
    self[Int.random(in: 0..<count, using: &generator)]
  }
}

@Suite struct `Reading SQL` {
  private static func nested(_ start: String, _ end: String, count: Int) -> String {
    String(repeating: start, count: count) + "1" + String(repeating: end, count: count)
  }

  static func bombs(_ count: Int) -> [String] {
    [
      nested("(", ")", count: count), nested("f(", ")", count: count), nested("a[", "]", count: count),
      nested("", "+1", count: count), nested("", "::int", count: count), nested("", " || 'x'", count: count),
      nested("NOT ", "", count: count), nested("- ", "", count: count), nested("(SELECT ", ")", count: count),
      nested("a AND (b OR ", ")", count: count), nested("CASE WHEN a THEN ", " END", count: count),
      nested("CASE WHEN a THEN 1 ELSE ", " END", count: count), nested("ARRAY[", "]", count: count),
      nested("(SELECT 1, 1", " UNION SELECT 1, 1", count: count) + ")", nested("", " + :end", count: count),
      "(SELECT 1 FROM a" + String(repeating: " JOIN a ON a.x AND a.y", count: count) + ")",
      nested("a BETWEEN b AND NOT ", "", count: count), nested("a = NOT ", "", count: count),
      nested("", " COLLATE x", count: count), nested("", " IS NULL", count: count), nested("ROW(", ")", count: count),
      nested("(SELECT 1 AS end FROM (", ")x)", count: count), nested("CASE WHEN NOT (", ")THEN 1 END", count: count),
      nested("", "(", count: count), nested("", ")", count: count),
    ]
  }

  /// A thread of a run may have no more than 512 KiB of stack.
  @Test(arguments: [1_200, 10_000]) func `refuses what is nested too deeply, on a small stack, too`(_ count: Int) async
  {
    let bombs = Self.bombs(count)
    let codes = await onSmallStack { bombs.map { problems($0).first?.code } }
    for (bomb, code) in zip(bombs, codes) {
      #expect(code != nil, "read: \(bomb.prefix(40))…")
      #expect(["nested-too-deeply", "unbalanced-parenthesis"].contains(code), "\(bomb.prefix(40))…")
    }
  }

  @Test(arguments: [100, 200, 300, 400, 490, 900]) func `survives what is nested just so, on a small stack`(
    _ count: Int
  ) async {
    let bombs = Self.bombs(count)
    let texts = bombs + bombs.map { "SELECT \($0), (SELECT \($0) FROM (SELECT \($0)) t) FROM t ORDER BY \($0)" }
    let codes = await onSmallStack { texts.map { (problems($0) + queryProblems($0)).count } }
    #expect(codes.count == texts.count)
  }

  @Test func `reads what people write, on a small stack, too`() async {
    let list = "x IN (" + (0..<20_000).map(String.init).joined(separator: ", ") + ")"
    let conditions = (0..<5_000).map { "a\($0) = 'x'" }.joined(separator: " OR ")
    let cases = "CASE " + (0..<3_000).map { "WHEN a = \($0) THEN -\($0) + 1" }.joined(separator: " ") + " END"
    let texts = [
      list, conditions, cases, Self.nested("(", ")", count: 500), Self.nested("f(", ")", count: 150),
      Self.nested("", " || x", count: 300), Self.nested("CASE WHEN a THEN 1 ELSE ", " END", count: 100),
      Self.nested("(SELECT ", ")", count: 90),
      "(SELECT 1 FROM a" + String(repeating: " JOIN b USING (id)", count: 50) + ")",
    ]
    let found = await onSmallStack { texts.map { problems($0) } }
    for (text, problems) in zip(texts, found) { #expect(problems == [], "\(text.utf8.prefix(40))") }
  }

  private func onSmallStack<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
    await withCheckedContinuation { continuation in
      let thread = Thread { continuation.resume(returning: body()) }
      thread.stackSize = 512 * 1024
      thread.start()
    }
  }

  @Test func `is the same from several threads at once`() async {
    let texts = [
      "a + :b", "a +", "tags[1:n]", "EXISTS (SELECT 1 FROM t WHERE t.a = b.a)", "'é' || foo bar baz", "1); x",
    ]
    let expected = texts.map { problems($0) }
    await withTaskGroup(of: Bool.self) { group in
      for _ in 0..<8 {
        group.addTask { (0..<100).allSatisfy { _ in texts.map { problems($0) } == expected } }
      }
      for await agrees in group { #expect(agrees) }
    }
  }

  // MARK: Chance

  static let words = [
    "a", "b.c", "\"é\"", "'é'", "''", "'", "\"", "U&'\\0061'", "U&\"\\0061\"", "UESCAPE '!'", "$$", "$t$ x $t$", "$1",
    "1",
    "2.5", "(", ")", "[", "]", ",", ";", ":", "::", ":n", ":'x'", ":=", "=>", "+", "-", "||", "*", ".", "--", "/*",
    "*/",
    "\n", " ", "SELECT", "FROM", "WHERE", "t", "AS", "WITH", "x AS (", "CASE", "WHEN", "THEN", "END", "ELSE", "IN",
    "EXISTS",
    "JOIN", "USING", "(id)", "ON", "LATERAL", "UNION", "VALUES", "ORDER BY", "OVER", "FILTER (WHERE", "DISTINCT",
    "INTO",
    "FOR UPDATE", "DELETE FROM t", "RETURNING", "f(", "count(*)", "user", "now()", "current_date", "DEFAULT", "NULL",
    "\\",
    "\u{1F600}", "\u{301}", "date", "int", "ARRAY[", "NOT", "BETWEEN", "AND", "LIKE", "ESCAPE", "IS", "xmltable(",
    "E'\\'",
    "VARIADIC", "WITHIN GROUP (", "GROUP BY", "LIMIT", "TABLE", "ROWS FROM (", "NATURAL", "TABLESAMPLE", "\r", "\0",
    "U&",
  ]

  /// S02
  @Test func `S02: survives soups of tokens, and every range lies in the text`() {
    var generator = SeededGenerator(seed: 1)
    for _ in 0..<4_000 {
      let count = Int.random(in: 1...12, using: &generator)
      let glue = [" ", "", " "].picked(&generator)
      check((0..<count).map { _ in Self.words.picked(&generator) }.joined(separator: glue))
    }
  }

  @Test func `survives random bytes`() {
    var generator = SeededGenerator(seed: 2)
    for _ in 0..<2_000 {
      let bytes = (0..<Int.random(in: 0...40, using: &generator)).map { _ in
        UInt8.random(in: 0...255, using: &generator)
      }
      check(String(decoding: bytes, as: UTF8.self))
    }
  }

  private func check(_ text: String) {
    let whole = SourceSpan(0, text.utf8.count)
    for diagnostic in problems(text) + queryProblems(text) {
      let span = diagnostic.span ?? SourceSpan(-1, -1)
      guard span.start >= whole.start && span.end <= whole.end && !diagnostic.remedy.isEmpty else {
        Issue.record("\(diagnostic) of \(text)")
        return
      }
    }
    if let read = try? SQLExpression.parse(fragment(text)) {
      checkFacts(read, text)
      let embedded = problems("(\(text)\n)")
      if !embedded.isEmpty { Issue.record("cannot be put in parentheses: \(text): \(embedded)") }
    }
    if let read = try? SQLQuery.parse(fragment(text)) {
      checkFacts(read, text)
      let embedded = queryProblems("SELECT 1 FROM (\(text)\n) q")
      if !embedded.isEmpty { Issue.record("cannot be put in a FROM: \(text): \(embedded)") }
    }
    _ = TextReading.alsoReadsAsSQL(fragment(text), visibleColumns: ["a"], parameters: ["n"])
  }

  private func checkFacts(_ read: some SQLText, _ text: String) {
    let whole = 0..<text.utf8.count
    let facts = read.facts
    let ranges = [
      facts.columns.map(\.range), facts.columns.flatMap { $0.parts.map(\.range) }, facts.functions.map(\.range),
      facts.parameters.map(\.range), facts.operators.map(\.range), facts.relations.map(\.range),
      facts.constants.map(\.range), facts.sqlValueFunctions.map(\.range), facts.casts.map(\.range),
    ]
    for range in ranges.joined()
    where !whole.contains(range.lowerBound) || range.upperBound > whole.upperBound || range.isEmpty {
      Issue.record("\(range) in \(text)")
    }
    for column in facts.columns where column.parts.isEmpty && !column.isStar { Issue.record("no name in \(text)") }
  }

  // MARK: A property

  /// A random expression, and the same with `$n` for each parameter and `t.` before each bare column.
  private struct Pair {
    var source = ""
    var expected = ""

    static func random(depth: Int, _ generator: inout SeededGenerator) -> Pair {
      if depth == 0 || Int.random(in: 0..<4, using: &generator) == 0 { return leaf(&generator) }
      let left = random(depth: depth - 1, &generator)
      let right = random(depth: depth - 1, &generator)
      let forms: [(String, String, String)] = [
        ("(", " + ", ")"), ("f(", ", ", ")"), ("(", " || /* :no é */ ", ")"), ("(", "\n-- :no\n= ", ")"),
        ("CASE WHEN ", " THEN ", " END"), ("coalesce(", ",", ")"), ("(", " IS DISTINCT FROM ", ")"),
        ("(tags[1 + ", ":(", ")])"), ("(", " IN (", ", U&'\\0061'))"),
      ]
      let (start, middle, end) = forms.picked(&generator)
      return Pair(
        source: start + left.source + middle + right.source + end,
        expected: start.replacing("tags", with: "t.tags") + left.expected + middle + right.expected + end)
    }

    private static func leaf(_ generator: inout SeededGenerator) -> Pair {
      let leaves = [
        Pair(source: ":p", expected: "$1"), Pair(source: ":select", expected: "$2"),
        Pair(source: ":naïve", expected: "$3"), Pair(source: "é", expected: "t.é"),
        Pair(source: "\"Unit :p\"", expected: "t.\"Unit :p\""), Pair(source: "b.x", expected: "b.x"),
        Pair(source: "':p'", expected: "':p'"), Pair(source: "$$:p$$", expected: "$$:p$$"),
        Pair(source: "1.5", expected: "1.5"), Pair(source: "x::int", expected: "t.x::int"),
      ]
      return leaves.picked(&generator)
    }
  }

  @Test func `gives ranges by which any expression can be edited`() throws {
    var generator = SeededGenerator(seed: 3)
    let numbers = [Identifier(trusted: "p"): 1, Identifier(trusted: "select"): 2, Identifier(trusted: "naïve"): 3]
    for _ in 0..<500 {
      let pair = Pair.random(depth: 4, &generator)
      let read = try SQLExpression.parse(fragment(pair.source))
      let parameters = read.parameters.map { (range: $0.range, replacement: "$\(numbers[$0.name] ?? 0)") }
      let columns = read.columns.filter { !$0.isQualified }
        .map { (range: $0.range.lowerBound..<$0.range.lowerBound, replacement: "t.") }
      #expect(Array(read.edited(parameters + columns).utf8) == Array(pair.expected.utf8))
    }
  }
}
