import MigrateDiagnostics

/// `expect:` bounds for what a run finds and does.
extension Decoder {
  mutating func expectations(_ entry: YAMLEntry) -> [Expectation] {
    let example = "expect: {rows: 900000..1100000, changed: \">= 95%\"}"
    guard let mapping = map(entry.value, "`expect`", example: example) else { return [] }
    if mapping.entries.isEmpty, mapping.isWhole, isComplete {
      refuse(.wrongKind("`expect` is empty", example: example, at: entry.value.span))
    }
    return mapping.entries.compactMap { expectation($0) }
  }

  private static let examples = ["rows": "900000..1100000", "rejects": "\"< 0.1%\""]

  private mutating func expectation(_ entry: YAMLEntry) -> Expectation? {
    let name = Located(entry.key.text, at: entry.key.span)
    let counted: Expectation.Subject? =
      switch entry.key.text {
      case "rows": .rows
      case "changed": .changed
      case "rejects": .rejects
      default: nil
      }
    guard let counted else { return aggregate(entry, name) }
    guard let bounds = bounds(entry, example: Self.examples[entry.key.text] ?? "\">= 95%\"") else {
      return nil
    }
    if case .rows = counted, bounds.isPercent {
      refuse(.rowsOfThemselves(at: entry.value.span))
      return nil
    }
    if !bounds.canHoldACount {
      refuse(.noCount(entry.key.text, example: Self.examples[entry.key.text] ?? "\">= 95%\"", at: entry.value.span))
      return nil
    }
    return Expectation(name: name, subject: counted, bounds: bounds)
  }

  /// `name: {of: avg(new.price / old.price), between: [1.04, 1.06]}`
  private mutating func aggregate(_ entry: YAMLEntry, _ name: Located<String>) -> Expectation? {
    let example = "\(name.value): {of: avg(new.price / old.price), between: [1.04, 1.06]}"
    guard let mapping = map(entry.value, "`\(name.value)`", example: example) else { return nil }
    let fields = fields(of: mapping, at: .expectation)
    for key in ["of", "between"] where fields[key] == nil && isComplete && !fields.mayStandFor([key]) {
      refuse(.missingKey(key, in: "`\(name.value)`", example: example, at: fields.first ?? entry.key.span))
    }
    let subject = fields["of"].flatMap { sql($0, inFlow: mapping.isFlow, "one aggregate") }.flatMap { aggregate($0) }
    let bounds = fields["between"].flatMap { between($0) }
    guard let subject, let bounds else { return nil }
    return Expectation(name: name, subject: subject, bounds: bounds)
  }

  /// The aggregate, and the bytes between its parentheses. Whether those are SQL, the parser says.
  private mutating func aggregate(_ fragment: SourceFragment) -> Expectation.Subject? {
    let form = /\s*([A-Za-z]+)\s*\((.*)\)\s*/.dotMatchesNewlines()
    guard let parts = fragment.text.wholeMatch(of: form),
      let function = AggregateFunction(rawValue: parts.1.lowercased())
    else {
      refuse(.noAggregate(fragment.text, at: fragment.span))
      return nil
    }
    let text = fragment.text
    let start = text.utf8.distance(from: text.startIndex, to: parts.2.startIndex)
    let count = parts.2.utf8.count
    let offsets = Array(fragment.offsets[start...(start + count)])
    return .aggregate(
      function,
      SourceFragment(
        text: String(parts.2),
        span: SourceSpan(offsets.first ?? fragment.span.start, offsets.last ?? fragment.span.end),
        offsets: offsets))
  }

  private mutating func between(_ entry: YAMLEntry) -> ExpectedBounds? {
    guard case .sequence(let items) = entry.value.content, items.count == 2 else {
      if case .scalar = entry.value.content { return bounds(entry, example: "[1.04, 1.06]") }
      refuse(.badBounds(entry.key.text, "this", example: "[1.04, 1.06]", at: entry.value.span))
      return nil
    }
    let numbers = items.compactMap { text($0, "`between`", "a number") }
    guard numbers.count == 2 else { return nil }
    return bounds(
      "\(numbers[0].value)..\(numbers[1].value)", key: "between", example: "[1.04, 1.06]", at: entry.value.span)
  }

  private mutating func bounds(_ entry: YAMLEntry, example: String) -> ExpectedBounds? {
    guard let written = text(entry, "bounds, such as `\(example)`") else { return nil }
    return bounds(written.value, key: entry.key.text, example: example, at: written.span)
  }

  /// `900..1100`, `>= 95%`, `< 0.1%`, `0`
  private mutating func bounds(
    _ text: String, key: String, example: String, at span: SourceSpan
  ) -> ExpectedBounds? {
    let number = "-?[0-9]{1,15}(?:\\.[0-9]{1,15})?"
    let forms = (
      range: try? Regex(
        "(\(number)) ?(%?) ?\\.\\. ?(\(number)) ?(%?)", as: (Substring, Substring, Substring, Substring, Substring).self
      ),
      comparison: try? Regex("(>=|<=|>|<|) ?(\(number)) ?(%?)", as: (Substring, Substring, Substring, Substring).self)
    )
    if let form = forms.range, let parts = text.wholeMatch(of: form) {
      // `90..95%` is per cent on both sides.
      if let low = Double(parts.1), let high = Double(parts.3), low <= high, parts.2.isEmpty || !parts.4.isEmpty {
        return ExpectedBounds(
          least: String(parts.1), isLeastIncluded: true, most: String(parts.3), isMostIncluded: true,
          isPercent: !parts.4.isEmpty)
      }
    } else if let form = forms.comparison, let parts = text.wholeMatch(of: form) {
      let (figure, sign) = (String(parts.2), String(parts.1))
      return ExpectedBounds(
        least: sign.hasPrefix("<") ? nil : figure, isLeastIncluded: sign != ">",
        most: sign.hasPrefix(">") ? nil : figure, isMostIncluded: sign != "<", isPercent: !parts.3.isEmpty)
    }
    refuse(.badBounds(key, "`\(text)`", example: example, at: span))
    return nil
  }
}

extension ExpectedBounds {
  /// Whether any number of rows is within, or any part of them: no run could go on otherwise.
  fileprivate var canHoldACount: Bool {
    let (low, high) = (least.flatMap(Double.init), most.flatMap(Double.init))
    // `< 0` and `> 100%` leave nothing between their two ends; and a figure below zero was meant otherwise.
    return (low.map { $0 >= 0 } ?? true) && (high.map { isMostIncluded ? $0 >= 0 : $0 > 0 } ?? true)
      && (!isPercent
        || (low.map { isLeastIncluded ? $0 <= 100 : $0 < 100 } ?? true) && (high.map { $0 <= 100 } ?? true))
      && (isPercent || low != high || low?.rounded() == low)
  }
}

extension Diagnostic {
  fileprivate static func noCount(_ key: String, example: String, at span: SourceSpan) -> Diagnostic {
    let part = key == "rows" ? "" : ", or a part of those read, from 0% to 100%"
    return Diagnostic(
      "bad-expectation", at: span, "`\(key)` can never be so",
      remedy: "a whole number of rows, from 0\(part): `\(key): \(example)`")
  }

  fileprivate static func badBounds(_ key: String, _ what: String, example: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "bad-expectation", at: span, "\(what) is no bound for `\(key)`",
      remedy: "two figures from low to high, or one with `<`, `<=`, `>=` or `>`: `\(key): \(example)`")
  }

  fileprivate static func rowsOfThemselves(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "bad-expectation", at: span, "`rows` is what the others are a part of, and no part of anything",
      remedy: "a number of rows: `rows: 900000..1100000`")
  }

  fileprivate static func noAggregate(_ text: String, at span: SourceSpan) -> Diagnostic {
    let names = AggregateFunction.allCases.map(\.rawValue).joined(separator: ", ")
    return Diagnostic(
      "bad-expectation", at: span, "this is not one aggregate",
      remedy: "one of \(names), over `old` and `new`: `avg(new.price / old.price)`")
  }
}
