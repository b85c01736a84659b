import MigrateDefinition
import MigrateDiagnostics
import Testing

/// What the help of a refused value says to write is taken when it is written.
@Suite struct `The help of a refused value` {
  /// Where a value of `key` stands in a definition.
  private static func definition(_ entry: String, of key: String) -> String {
    let under: String? =
      switch key {
      case "pause", "nice_ratio", "max_rate", "lock_timeout", "target_batch_time", "max_blocking",
        "max_active_sessions", "max_replication_lag", "hold_when":
        "throttle"
      case "rows", "changed", "rejects": "expect"
      case "between": "expect:\n  mean:\n    of: avg(new.x)\n    "
      default: nil
      }
    guard let under else { return head + foot + (key == "hold" ? "canary: 1%\n" : "") + entry + "\n" }
    return head + foot + (under.hasPrefix("expect:") ? under : "\(under):\n  ") + entry + "\n"
  }

  @Test(arguments: [
    "pause", "lock_timeout", "target_batch_time", "max_blocking", "max_replication_lag", "hold", "nice_ratio",
    "max_rate", "max_active_sessions", "rows", "changed", "rejects", "between", "batch_size", "parallel", "max_rejects",
    "canary", "window",
  ])
  func `can be written`(key: String) throws {
    var refused = 0
    for value in [
      "", "~", "0", "0ms", "0s", "-1", "7", "200", "5000", "5000000000000000000000", "1us", "1d", "30d", "off", "none",
      "1h ", "1.5", "200%", "> 5", ">= 95%", ">5", "\"5\"", "'< 5 rows'", "5..1", "5..", "..5", "[]", "[1]", "[2, 1]",
      "[a, b]", "{}", "{a: b}", "{of: 'count(*)', between: [1, 2]}", "true", "many", "1e3", "22:00-22:00", "22-6",
      "25:00-26:00 UTC",
    ] {
      let written = Self.definition("\(key): \(value)", of: key)
      guard case .failure(let diagnostics) = Result(catching: { try decode(written) }),
        let all = (diagnostics as? Diagnostics)?.all
      else { continue }
      refused += 1
      // What YAML cannot read may be quoted "for a text", and only of these keys it is one.
      let isText = ["changed", "rejects", "between"].contains(key)
      for diagnostic in all where diagnostic.code != "value-start" || isText {
        for remedy in Self.pieces(of: diagnostic.remedy, key) {
          let entry = remedy.hasPrefix("\(key): ") ? remedy : "\(key): \(remedy)"
          let said = refusal(of: Self.definition(entry, of: key))
          #expect(said == "", "\(key): \(value) → \(diagnostic.remedy)")
        }
      }
      #expect(
        all.contains { !Self.pieces(of: $0.remedy, key).isEmpty || $0.remedy.contains("out") },
        "\(key): \(value) → \(all.map(\.remedy))")
    }
    #expect(refused > 5)
  }

  /// What stands in backquotes and is an entry, or a value behind "such as".
  private static func pieces(of remedy: String, _ key: String) -> [String] {
    let parts = remedy.split(separator: "`", omittingEmptySubsequences: false).map(String.init)
    return parts.indices.filter { index in
      !index.isMultiple(of: 2) && (parts[index].hasPrefix("\(key): ") || parts[index - 1].hasSuffix("such as "))
    }.map { parts[$0] }
  }
}
