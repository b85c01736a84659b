import MigrateDiagnostics

/// The part of the rows that is done first, and for how long it is looked at.
extension Decoder {
  private static let holds = Duration.seconds(1)...(.seconds(604_800))

  /// `canary:` a part of the rows, above 0 and below 100 per cent: `1%`, `0.05%`.
  mutating func canary(_ entry: YAMLEntry) -> Located<String>? {
    guard let written = text(entry, "a part of the rows, such as `1%`") else { return nil }
    let form = /([0-9]{1,2}(?:\.[0-9]{1,3})?) ?%/
    if let percent = written.value.wholeMatch(of: form), let part = Double(percent.1), part > 0 {
      return Located(String(percent.1), at: written.span)
    }
    refuse(.badCanary(written.value, at: written.span))
    return nil
  }

  /// `hold:` how long the run holds behind its canary.
  mutating func hold(_ entry: YAMLEntry, hasCanary: Bool) -> Located<Duration>? {
    if !hasCanary { refuse(.holdWithoutCanary(at: entry.key.span)) }
    return duration(entry, in: Self.holds, example: "1h")
  }
}

extension Diagnostic {
  fileprivate static func badCanary(_ text: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "bad-canary", at: span, "`\(text)` is no part of the rows",
      remedy: "above 0% and below 100%, with up to three digits behind the point: `canary: 1%`")
  }

  fileprivate static func holdWithoutCanary(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "hold-without-canary", at: span, "`hold` is how long a canary is looked at, and there is none",
      remedy: "add `canary: 1%`, or leave `hold` out; a time of the day for all batches is a `window`")
  }
}
