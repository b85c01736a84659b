import MigrateDefinition
import MigrateDiagnostics
import Testing

@Suite struct `The table of keys` {
  private typealias Place = Schema.Place

  /// The keys of the language's reference and of what it leaves room for, by place.
  private static let language: [(Place, [String])] = [
    (
      .top,
      [
        "batch", "migration", "description", "source", "where", "params", "join", "let", "set", "steps", "update",
        "insert", "delete", "move", "emit", "from", "match", "missing", "values", "to", "on_conflict", "on_revert",
        "target", "mapping", "replace", "validation", "checks", "publish", "incremental", "schedule", "timezone",
        "missed", "batch_size", "parallel", "throttle", "on_error", "max_rejects", "undo", "catch_up", "needs",
        "search_path", "expect", "canary", "hold", "window", "tests", "for_each",
      ]
    ),
    (
      .source,
      [
        "table", "query", "csv", "jsonl", "postgres", "key", "as", "columns", "header", "delimiter", "quote", "escape",
        "null_text", "encoding",
      ]
    ),
    (.checks, ["before", "batch", "after"]), (.undo, ["except", "delta"]), (.parameter, ["type", "default"]),
    (.value, ["value", "sql"]), (.onConflict, ["key", "do", "set", "duplicates"]),
    (.throttle, ["pause", "max_rate", "target_batch_time", "lock_timeout", "hold_when"]),
  ]

  @Test func `has every key of the language, at its place`() {
    for (place, names) in Self.language {
      for name in names { #expect(Schema.key(name, at: place) != nil, "\(name) \(place.phrase)") }
    }
  }

  @Test func `has no key twice at one place`() {
    for place in Schema.Place.allCases {
      let names = Schema.keys(at: place).map(\.name)
      #expect(Set(names).count == names.count, "\(place)")
    }
  }

  @Test func `says of each key what it means, in one line`() {
    for key in Schema.keys { #expect(!key.meaning.isEmpty && !key.type.isEmpty && !key.meaning.contains("\n")) }
  }

  /// A definition with `key` at its place, and its value left to be anything.
  private func definition(with key: Schema.Key) -> String? {
    switch key.place {
    case .top: head + foot + "\(key.name): x\n"
    case .source: "batch: b\nsource: {table: t, \(key.name): x}\n" + foot
    case .undo: head + foot + "undo: {\(key.name): x}\n"
    case .checks, .parameter, .value, .step, .emit, .join, .onConflict, .throttle, .expectation, .test: nil
    }
  }

  @Test func `makes the decoder refuse what is not there yet, with something to do meanwhile`() throws {
    var count = 0
    for key in Schema.keys {
      guard case .notYet(let meanwhile) = key.availability, let yaml = definition(with: key) else { continue }
      count += 1
      #expect(codes(of: yaml).contains("not-yet"), "\(key.name)")
      #expect(refusal(of: yaml).contains("until then: \(meanwhile)"))
    }
    #expect(count > 15)
  }

  @Test func `makes a kind of a later version one message, not four`() {
    #expect(codes(of: "migration: m\nsource: t\n") == ["not-yet"])
    #expect(codes(of: head + "target: t\n") == ["not-yet"])
    #expect(codes(of: "batch: b\nsource: {csv: counts.csv}\n" + foot) == ["not-yet"])
  }

  @Test(
    "knows the keys of other tools",
    arguments: [
      "lookup", "on", "filter", "sql", "table", "columns", "limit", "name", "depends_on", "rollback", "vars",
      "order_by",
    ])
  func others(_ key: String) {
    #expect(codes(of: head + foot + "\(key): x\n") == ["key-of-other-tools"])
  }
}
