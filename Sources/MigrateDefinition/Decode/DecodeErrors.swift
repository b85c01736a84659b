import MigrateDiagnostics

/// What becomes of rows that the database refuses.
extension Decoder {
  /// `on_error:` stop, continue, or retry.
  mutating func onError(_ entry: YAMLEntry) -> Located<ErrorPolicy>? {
    guard let word = text(entry, "`stop`, `continue` or `retry`") else { return nil }
    if let policy = ErrorPolicy.allCases.first(where: { $0.rawValue.utf8.elementsEqual(word.value.utf8) }) {
      return Located(policy, at: word.span)
    }
    refuse(.badErrorPolicy(word.value, at: word.span))
    return nil
  }

  /// `max_rejects:` a number of rows, or a part of the rows that were read: `1000`, `0.1%`.
  mutating func maxRejects(_ entry: YAMLEntry) -> Located<Portion>? {
    guard let written = text(entry, "a number of rows, or per cent, such as `0.1%`") else { return nil }
    let text = written.value
    if text.wholeMatch(of: /[0-9]{1,9}/) != nil, let rows = Int(text) { return Located(.rows(rows), at: written.span) }
    if let percent = text.wholeMatch(of: /([0-9]{1,3}(?:\.[0-9]{1,6})?) ?%/), let part = Double(percent.1), part <= 100
    {
      return Located(.percent(String(percent.1)), at: written.span)
    }
    refuse(.badPortion("max_rejects", text, at: written.span))
    return nil
  }

  /// `publish:` per_batch or at_once.
  mutating func publish(_ entry: YAMLEntry) -> Located<PublishPolicy>? {
    guard let word = text(entry, "`per_batch` or `at_once`") else { return nil }
    if let policy = PublishPolicy.allCases.first(where: { $0.rawValue.utf8.elementsEqual(word.value.utf8) }) {
      return Located(policy, at: word.span)
    }
    refuse(.badPublishPolicy(word.value, at: word.span))
    return nil
  }
}

extension Diagnostic {
  fileprivate static func badPublishPolicy(_ word: String, at span: SourceSpan) -> Diagnostic {
    let words = PublishPolicy.allCases.map(\.rawValue)
    return Diagnostic(
      "bad-publish", at: span, "`publish` cannot be `\(word)`",
      remedy: Suggestion.nearest(to: word, among: words).map { "did you mean `publish: \($0)`?" }
        ?? "`publish: per_batch` or `publish: at_once`")
  }

  fileprivate static func badErrorPolicy(_ word: String, at span: SourceSpan) -> Diagnostic {
    let words = ErrorPolicy.allCases.map(\.rawValue)
    return Diagnostic(
      "bad-error-policy", at: span, "`on_error` cannot be `\(word)`",
      remedy: Suggestion.nearest(to: word, among: words).map { "did you mean `on_error: \($0)`?" }
        ?? "`on_error: stop`, `on_error: continue` or `on_error: retry`")
  }

  fileprivate static func badPortion(_ key: String, _ text: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "bad-portion", at: span, "`\(text)` is neither a number of rows nor a part of them",
      remedy: "write `\(key): 1000` or `\(key): 0.1%`")
  }
}
