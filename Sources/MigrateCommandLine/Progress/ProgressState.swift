/// How far some work has come.
package struct ProgressState: Sendable, Equatable {
  /// What is being done: the definition's name.
  package let label: String
  package let rowsDone: Int
  /// An estimate; `nil` when nobody knows. A table that was never analysed has none (P27).
  package let rowsTotal: Int?
  /// Rows a second.
  package let rate: Double?
  package let elapsed: Duration?
  package let left: Duration?
  /// Between what times it probably ends.
  package let range: ClosedRange<Duration>?
  /// Whether nothing is known but that it does not end sooner.
  package let isLeast: Bool
  /// What was left out so far, in words: `3 rejects`.
  package let kept: String?
  /// Who works on it; `nil` when nobody can tell.
  package let workers: Int?
  /// What holds it, or anything else to be seen at once.
  package let note: String?

  package init(
    _ label: String, rowsDone: Int, rowsTotal: Int? = nil, rate: Double? = nil, elapsed: Duration? = nil,
    left: Duration? = nil, range: ClosedRange<Duration>? = nil, isLeast: Bool = false, kept: String? = nil,
    workers: Int? = nil, note: String? = nil
  ) {
    self.label = label
    self.rowsDone = rowsDone
    self.rowsTotal = rowsTotal
    self.rate = rate
    self.elapsed = elapsed
    self.left = left
    self.range = range
    self.isLeast = isLeast
    self.kept = kept
    self.workers = workers
    self.note = note
  }

  /// The part that is done, from 0 to 1, were there more rows than estimated; `nil` without an estimate.
  package var fraction: Double? {
    guard let rowsTotal, rowsTotal > 0 else { return nil }
    return min(1, max(0, Double(rowsDone) / Double(rowsTotal)))
  }

  /// In whole per cent, rounded down: what is not complete is not 100.
  package var percent: Int? {
    guard let fraction, let rowsTotal else { return nil }
    return rowsDone >= rowsTotal ? 100 : min(99, Int(fraction * 100))
  }
}
