import MigrateDiagnostics

extension Decoder {
  static let largestBatch = 10_000_000

  /// `batch_size:`, auto, or a whole number from 1 to 10,000,000.
  mutating func batchSize(_ entry: YAMLEntry) -> Located<BatchSize>? {
    switch entry.value.content {
    case .refused: return nil
    case .mapping, .sequence:
      refuse(.badBatchSize("`batch_size` is a single number", at: entry.value.span))
    case .scalar(let scalar):
      return batchSize(scalar)
    }
    return nil
  }

  private mutating func batchSize(_ scalar: YAMLScalar) -> Located<BatchSize>? {
    let text = scalar.text
    let digits = text.utf8.drop { $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "+") }
    let isWhole = !digits.isEmpty && digits.allSatisfy { (48...57).contains($0) }
    switch true {
    case text.utf8.elementsEqual("auto".utf8):
      return Located(.automatic, at: scalar.span)
    case scalar.isMissing:
      refuse(.badBatchSize("`batch_size` has no value", at: scalar.span))
    case scalar.style != .plain:
      refuse(.badBatchSize("quoted, `\(text)` is a text and no number", like: text, at: scalar.span))
    case !isWhole || (digits.first == UInt8(ascii: "0") && digits.count > 1):
      refuse(.badBatchSize("`\(text)` is not a whole number, in digits alone", like: text, at: scalar.span))
    case text.utf8.first == UInt8(ascii: "-") || Int(text) == 0:
      refuse(.badBatchSize("a batch has at least one row, not \(text)", at: scalar.span))
    default:
      if let size = Int(text), size <= Self.largestBatch { return Located(.rows(size), at: scalar.span) }
      refuse(.badBatchSize("\(text) rows are more than \(Self.largestBatch), the most of a batch", at: scalar.span))
    }
    return nil
  }

  /// `undo:` full, none, or {except: columns}.
  mutating func undo(_ entry: YAMLEntry) -> UndoPolicy {
    if case .mapping(let mapping) = entry.value.content {
      let fields = fields(of: mapping, at: .undo)
      guard let except = fields["except"] else {
        if mapping.entries.isEmpty, mapping.isWhole, isComplete {
          refuse(.badUndo("{}", nearest: nil, at: entry.value.span))
        }
        return .full
      }
      return .except(names(except, of: "column", example: "undo: {except: [last_update]}"))
    }
    guard let policy = text(entry, "`full` or `none`") else { return .full }
    if policy.value.utf8.elementsEqual("full".utf8) { return .full }
    if policy.value.utf8.elementsEqual("none".utf8) { return UndoPolicy.none }
    let nearest = Suggestion.nearest(to: policy.value, among: ["full", "none"])
    refuse(.badUndo(policy.value, nearest: nearest, at: policy.span))
    return .full
  }

  /// `checks:` {before, batch, after}, each name: SELECT.
  mutating func checks(_ entry: YAMLEntry) -> Checks {
    let example = "checks: {after: {no negative price: SELECT 1 FROM shop.products WHERE price < 0}}"
    guard let mapping = map(entry.value, "`checks`", example: example) else {
      return Checks(before: [], batch: [], after: [])
    }
    let fields = fields(of: mapping, at: .checks)
    return Checks(
      before: checks(at: fields["before"]), batch: checks(at: fields["batch"]), after: checks(at: fields["after"]))
  }

  private mutating func checks(at entry: YAMLEntry?) -> [Check] {
    guard let entry else { return [] }
    let example = "\(entry.key.text): {no negative price: SELECT 1 FROM shop.products WHERE price < 0}"
    guard let mapping = map(entry.value, "`\(entry.key.text)`", example: example) else { return [] }
    return mapping.entries.compactMap { entry in
      sql(entry, inFlow: mapping.isFlow, "one SELECT").map {
        Check(name: Located(entry.key.text, at: entry.key.span), query: $0)
      }
    }
  }
}

extension Diagnostic {
  fileprivate static func badBatchSize(_ cause: String, like text: String = "", at span: SourceSpan) -> Diagnostic {
    let meant = RoundNumber.meant(by: text) ?? BatchOperation.usualBatchSize
    return Diagnostic("bad-batch-size", at: span, cause, remedy: "write `batch_size: \(meant)`")
  }

  fileprivate static func badUndo(_ policy: String, nearest: String?, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "bad-undo", at: span, "`undo` cannot be `\(policy)`",
      remedy: nearest.map { "did you mean `undo: \($0)`?" }
        ?? "`undo: full`, `undo: none`, or `undo: {except: [last_update]}`")
  }
}

/// A number of rows as people write it where digits alone are asked for: `5k`, `5_000`, `5,000`, `1.5M`, `1e4`.
private enum RoundNumber {
  /// The number, where it can be a batch's; `nil` where nobody could tell.
  static func meant(by text: String) -> Int? {
    let form = /\+?([0-9][0-9_]*|[0-9]{1,3}(?:[, ][0-9]{3})+|[0-9]+\.[0-9]+)(?:[eE]\+?([0-9]{1,2})| ?([kKmM]))?/
    guard let parts = text.wholeMatch(of: form) else { return nil }
    let digits = parts.1.filter { $0.isNumber || $0 == "." }
    // `5.000` alone is five to some and five thousand to others.
    guard !digits.contains(".") || parts.2 != nil || parts.3 != nil, var number = Double(digits) else { return nil }
    for _ in 0..<(parts.2.flatMap { Int($0) } ?? 0) { number *= 10 }
    if let unit = parts.3 { number *= unit.lowercased() == "k" ? 1_000 : 1_000_000 }
    return (1...Double(Decoder.largestBatch)).contains(number) ? Int(exactly: number) : nil
  }
}
