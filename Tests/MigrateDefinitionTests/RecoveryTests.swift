import MigrateDefinition
import MigrateDiagnostics
import Testing

@Suite struct `Reading goes on behind an error` {
  @Test func `so that all errors of a file come at once, in order of position`() {
    let yaml = """
      batch: Big
      source: :tenant.users
      where: "Size" > 3
      set:
        name: 'Mr ' || name
        until: 2026-01-01
        delta: - 1
        city: address #>> '{city}'
      wheer: x
      batch_size: 0
      missed: all
      """
    let expected = [
      "bad-batch-name", "name-is-parameter", "text-ends-early", "text-ends-early", "date-is-arithmetic", "value-start",
      "comment-in-sql", "unknown-key", "bad-batch-size", "not-yet",
    ]
    #expect(codes(of: yaml) == expected)
  }

  @Test func `and nothing is said to be missing that could not be read`() {
    #expect(codes(of: "batch: b\nsource: \"a\" b\nset: {x: :y}\n") == ["text-ends-early", "parameter-in-braces"])
    #expect(codes(of: "batch: b\nsource: {table: t\nset: {x: y}\n") == ["unclosed-brace"])
  }

  @Test func `but what follows from one error is no second one`() {
    #expect(codes(of: head + "set:\n  x: 'it\n  y: 'z'\n  w: 'v'\n") == ["unclosed-quote"])
    #expect(codes(of: head + "set: {x: :y,\n  z: 1\n}\n" + "where: a\n") == ["parameter-in-braces"])
  }

  /// Y
  @Test(.timeLimit(.minutes(10)))
  func `and any bytes give a definition or a reason, never a crash`() {
    let whole = Array(
      """
      batch: update_prices
      source: {table: shop.products, key: [a, id], as: p}
      where: >-
        status = 'active' AND note <> "x"
      params: {m: {type: numeric, default: 1.05}, t: date}
      set:
        price: round(price * :m, 2)
        state: 'it''s é'
        doc: {value: {a: [1, ~], "b\\n": true}}
        note: |
          a -- b
          + c
      checks: {after: {none: SELECT 1}}
      undo: {except: [u]}

      """.utf8)
    let noise = Array("\n\n  :'\"#{}[],&*!|>-?%@`\t\\\r~=0a é\u{85}".utf8) + [0xC3, 0xFF, 0x00]
    var random = Seeded(7)
    var valid = 0
    for _ in 0..<6_000 {
      var bytes = whole
      for _ in 0...Int(random.next() % 4) {
        let place = Int(random.next() % UInt64(bytes.count))
        switch random.next() % 4 {
        case 0: bytes[place] = random.pick(noise)
        case 1: bytes.insert(random.pick(noise), at: place)
        case 2: bytes.remove(at: place)
        default: bytes.removeSubrange(place..<min(bytes.count, place + Int(random.next() % 20)))
        }
      }
      let text = SourceText(path: "a.yaml", bytes: bytes)
      do {
        _ = try Definition(text)
        valid += 1
      } catch {
        #expect(!error.all.isEmpty)
        for span in error.all.compactMap(\.span) { #expect(0 <= span.start && span.end <= bytes.count) }
        #expect(!DiagnosticRenderer(color: false).render(error).isEmpty)
      }
    }
    #expect(valid > 500)
  }
}
