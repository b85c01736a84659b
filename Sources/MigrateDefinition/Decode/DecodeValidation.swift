import MigrateDiagnostics

extension Decoder {
  /// `validation:` reason: SQL boolean.
  mutating func validation(_ entry: YAMLEntry) -> [ValidationRule] {
    guard let mapping = map(entry.value, "`validation`", example: "validation: {price stays positive: price > 0}")
    else { return [] }
    return mapping.entries.compactMap { entry in
      if entry.key.text.utf8.allSatisfy({ $0 == UInt8(ascii: " ") }) {
        refuse(.noReason(at: entry.key.span))
        return nil
      }
      return sql(entry, inFlow: mapping.isFlow, "one SQL condition").map {
        ValidationRule(reason: Located(entry.key.text, at: entry.key.span), condition: $0)
      }
    }
  }
}

extension Diagnostic {
  fileprivate static func noReason(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "no-reason", at: span, "a rule of `validation` has no words for whom it rejects",
      remedy: "say what must hold: `price stays positive: price > 0`")
  }
}
