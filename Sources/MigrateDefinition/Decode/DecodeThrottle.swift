import MigrateDiagnostics
import MigrateUnits

/// `throttle:` and what stands under it.
extension Decoder {
  /// Longer ones would keep a pause or a cancel waiting, and with them a batch could be the victim of a deadlock.
  private static let lockTimeouts = Duration.milliseconds(1)...(.seconds(1))
  private static let batchTimes = Duration.milliseconds(10)...(.seconds(60))
  private static let blockings = Duration.milliseconds(50)...(.seconds(10))
  private static let lags = Duration.milliseconds(100)...(.seconds(86_400))
  private static let pauses = Duration.milliseconds(1)...(.seconds(86_400))

  mutating func throttle(_ entry: YAMLEntry) -> Throttle {
    var throttle = Throttle()
    guard let mapping = map(entry.value, "`throttle`", example: "throttle: {pause: 100ms}") else { return throttle }
    let fields = fields(of: mapping, at: .throttle)
    throttle.pause = fields["pause"].flatMap { duration($0, in: Self.pauses, example: "100ms") }
    throttle.niceRatio = fields["nice_ratio"].flatMap { ratio($0) }
    throttle.maxRate = fields["max_rate"].flatMap { count($0, "rows a second", upTo: 1_000_000_000, example: "5000") }
    throttle.lockTimeout = fields["lock_timeout"].flatMap { duration($0, in: Self.lockTimeouts, example: "200ms") }
    throttle.targetBatchTime = fields["target_batch_time"].flatMap {
      duration($0, in: Self.batchTimes, example: "500ms")
    }
    throttle.maxBlocking = fields["max_blocking"].flatMap { duration($0, in: Self.blockings, example: "200ms") }
    throttle.maxActiveSessions = fields["max_active_sessions"].flatMap {
      count($0, "sessions", upTo: 262_143, example: "20")
    }
    throttle.maxReplicationLag = fields["max_replication_lag"].flatMap { duration($0, in: Self.lags, example: "10s") }
    throttle.holdWhen = fields["hold_when"].map { holdConditions($0) } ?? []
    return throttle
  }

  /// A batch of so many rows takes what it takes.
  mutating func refuseTarget(of throttle: Throttle, beside size: BatchSize?) {
    guard let target = throttle.targetBatchTime, case .rows(let rows) = size else { return }
    refuse(.targetWithoutAuto(rows: rows, at: target.span))
  }

  mutating func duration(
    _ entry: YAMLEntry, in range: ClosedRange<Duration>, example: String
  ) -> Located<Duration>? {
    guard let text = text(entry, "a duration, such as `\(example)`") else { return nil }
    guard let duration = DurationText.read(text.value) else {
      refuse(.badDuration(entry.key.text, text.value, range, example: example, at: text.span))
      return nil
    }
    guard range.contains(duration) else {
      refuse(.durationOutOfRange(entry.key.text, text.value, range, example: example, at: text.span))
      return nil
    }
    return Located(duration, at: text.span)
  }

  private mutating func ratio(_ entry: YAMLEntry) -> Located<String>? {
    guard let text = text(entry, "a ratio, such as `0.5`") else { return nil }
    if text.value.wholeMatch(of: /[0-9]{1,3}(?:\.[0-9]{1,6})?/) != nil, let ratio = Double(text.value), ratio > 0 {
      return text
    }
    refuse(.badRatio(text.value, at: text.span))
    return nil
  }

  private mutating func count(
    _ entry: YAMLEntry, _ what: String, upTo most: Int, example: String
  ) -> Located<Int>? {
    guard let text = text(entry, "a number of \(what), such as `\(example)`") else { return nil }
    if let count = SizeText.read(text.value), (1...most).contains(count) { return Located(count, at: text.span) }
    refuse(.badCount(entry.key.text, what, text.value, upTo: most, example: example, at: text.span))
    return nil
  }

  /// `hold_when:` name: SELECT, or one that is ready-made.
  private mutating func holdConditions(_ entry: YAMLEntry) -> [HoldCondition] {
    let example = "hold_when: {backup: SELECT 1 FROM ops.backups WHERE finished_at IS NULL}"
    guard let mapping = map(entry.value, "`hold_when`", example: example) else { return [] }
    if mapping.entries.isEmpty, mapping.isWhole, isComplete {
      refuse(.wrongKind("`hold_when` is empty", example: example, at: entry.value.span))
    }
    return mapping.entries.compactMap { holdCondition($0, inFlow: mapping.isFlow) }
  }

  private mutating func holdCondition(_ entry: YAMLEntry, inFlow: Bool) -> HoldCondition? {
    let name = entry.key.text
    if name == "window" || name == "canary" {
      refuse(.holdIsAKey(name, at: entry.key.span))
      return nil
    }
    guard case .scalar(let scalar) = entry.value.content, !scalar.isMissing, !Self.isQuery(scalar) else {
      let query = sql(entry, inFlow: inFlow, "one SELECT")
      return query.map { .query(Check(name: Located(name, at: entry.key.span), query: $0)) }
    }
    switch name {
    case "autovacuum": return isSaid(scalar, name) ? .autovacuum : nil
    case "wraparound": return isSaid(scalar, name) ? .wraparound : nil
    case "wal_archive": return isSaid(scalar, name) ? .walArchive : nil
    case "slot_lag": return bytes(scalar, name).map { .slotLag(bytes: $0) }
    case "free_disk": return bytes(scalar, name).map { .freeDisk(bytes: $0) }
    default:
      refuse(.unknownHold(name, scalar.text, at: scalar.span))
      return nil
    }
  }

  static let readyMade = ["autovacuum", "wraparound", "wal_archive", "slot_lag", "free_disk"]

  private mutating func bytes(_ scalar: YAMLScalar, _ name: String) -> Int? {
    if let bytes = ByteSizeText.read(scalar.text), bytes > 0 { return bytes }
    refuse(.badBytes(name, scalar.text, at: scalar.span))
    return nil
  }

  private mutating func isSaid(_ scalar: YAMLScalar, _ name: String) -> Bool {
    if scalar.style == .plain, CoreSchema(scalar.text) == .bool(true) { return true }
    refuse(.readyMadeIsTrue(name, scalar.text, at: scalar.span))
    return false
  }

  private static func isQuery(_ scalar: YAMLScalar) -> Bool {
    let word = scalar.text.utf8.drop { [0x20, 0x09, 0x0A].contains($0) }.prefix { (65...90).contains($0 & 0xDF) }
    let lower = String(decoding: word.map { $0 | 0x20 }, as: UTF8.self)
    return ["select", "with", "values", "table"].contains(lower)
  }
}

extension Diagnostic {
  fileprivate static func badDuration(
    _ key: String, _ text: String, _ range: ClosedRange<Duration>, example: String, at span: SourceSpan
  ) -> Diagnostic {
    let isNumber = !text.utf8.isEmpty && text.utf8.allSatisfy { (48...57).contains($0) }
    // Only what is taken when it is written.
    let meant = ["ms", "s"].map { text + $0 }.filter { DurationText.read($0).map(range.contains) ?? false }
    return Diagnostic(
      "bad-duration", at: span, isNumber ? "`\(text)` has no unit" : "`\(text)` is no duration",
      remedy: isNumber && !meant.isEmpty
        ? "write " + meant.map { "`\(key): \($0)`" }.joined(separator: " or ") : within(range, key, example))
  }

  private static func within(_ range: ClosedRange<Duration>, _ key: String, _ example: String) -> String {
    func words(_ duration: Duration) -> String {
      let milliseconds = Int(duration / .milliseconds(1))
      if milliseconds % 3_600_000 == 0 { return "\(milliseconds / 3_600_000)h" }
      return milliseconds % 1_000 == 0 ? "\(milliseconds / 1_000)s" : "\(milliseconds)ms"
    }
    return "from \(words(range.lowerBound)) to \(words(range.upperBound)), for instance `\(key): \(example)`"
  }

  fileprivate static func durationOutOfRange(
    _ key: String, _ text: String, _ range: ClosedRange<Duration>, example: String, at span: SourceSpan
  ) -> Diagnostic {
    let isNone = DurationText.read(text) == .zero
    return Diagnostic(
      "bad-duration", at: span, "`\(key)` cannot be \(text)",
      remedy: (isNone ? "leave it out, or " : "") + within(range, key, example))
  }

  fileprivate static func badRatio(_ text: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "bad-ratio", at: span, "`\(text)` is no ratio",
      remedy: "`nice_ratio: 0.5` rests half as long as the batch before has taken, `nice_ratio: 2` twice as long")
  }

  fileprivate static func badCount(
    _ key: String, _ what: String, _ text: String, upTo most: Int, example: String, at span: SourceSpan
  ) -> Diagnostic {
    Diagnostic(
      "bad-count", at: span, "`\(text)` is no number of \(what) from 1 to \(most)", remedy: "write `\(key): \(example)`"
    )
  }

  fileprivate static func badBytes(_ key: String, _ text: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "bad-size", at: span, "`\(text)` is no amount of storage",
      remedy: "in kB, MB, GB or TB, for instance `\(key): 10GB`")
  }

  fileprivate static func targetWithoutAuto(rows: Int, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "target-without-auto", at: span,
      "batches of `batch_size: \(rows)` have so many rows however long they take, so `target_batch_time` has no effect",
      remedy:
        "leave out one of the two: without `batch_size`, or with `batch_size: auto`, batches are as large as the time allows"
    )
  }

  fileprivate static func readyMadeIsTrue(_ name: String, _ text: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "bad-hold", at: span, "`\(name)` is ready-made and takes no `\(text)`",
      remedy: "write `\(name): true`, or leave it out")
  }

  fileprivate static func holdIsAKey(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "bad-hold", at: span, "a run that holds for its `\(name)` says so by this name, so that no query can have it",
      remedy: "another name: `my \(name)`, or the key `\(name)` of the batch if you mean that")
  }

  fileprivate static func unknownHold(_ name: String, _ text: String, at span: SourceSpan) -> Diagnostic {
    let nearest = Suggestion.nearest(to: name, among: Decoder.readyMade)
    return Diagnostic(
      "bad-hold", at: span, "`\(text)` is no query, and `\(name)` is not ready-made",
      remedy: nearest.map { "did you mean `\($0)`?" }
        ?? "a SELECT that finds a row while the run shall hold; ready-made are \(Decoder.readyMade.joined(separator: ", "))"
    )
  }
}
