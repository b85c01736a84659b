#if canImport(Glibc)
  internal import Glibc
#endif

/// How long the rest of a run takes.
package struct Forecast: Sendable, Equatable {
  package enum Certainty: Sendable, Equatable {
    /// Too few batches are done to tell.
    case unknown
    /// None is measured, and sooner it may not end.
    case atLeast
    /// Nine times of ten it lies between these, as far as the batches to come are like the last ones.
    case between(ClosedRange<Duration>)
  }

  package let left: Duration
  package let certainty: Certainty

  package init(left: Duration, _ certainty: Certainty = .unknown) {
    self.left = left
    self.certainty = certainty
  }

  package var isLeast: Bool { certainty == .atLeast }
  package var range: ClosedRange<Duration>? { if case .between(let range) = certainty { range } else { nil } }
  /// The bounds of what is known; of what takes at least so long the upper one is `nil`.
  package var low: Duration? { isLeast ? left : range?.lowerBound }
  package var high: Duration? { range?.upperBound }
}

/// The pace of the last batches, and what follows from it.
package struct RecentPace: Sendable, Equatable {
  /// Of older ones nothing is said about now.
  private static let window = 50
  /// Fewer say nothing about how much they differ.
  private static let fewest = 5
  /// Standard deviations to each side that take in nine of ten.
  private static let spread = 1.645

  private var batches: [BatchPace]
  /// Rows a second that the run may do, whatever it could; `nil` is as many as it can.
  private let most: Double?
  /// Of a revert: how many transactions it has ahead, which takes each part of a batch back by itself; `nil` where nobody knows.
  private var transactions: Int?

  package init(_ batches: [BatchPace] = [], most: Int? = nil, transactions: Int? = nil) {
    self.batches = batches.suffix(Self.window)
    self.most = most.map(Double.init)
    self.transactions = transactions
  }

  package mutating func add(_ batch: BatchPace) {
    batches.append(batch)
    if batches.count > Self.window { batches.removeFirst() }
    if let ahead = transactions { transactions = max(0, ahead - 1) }
  }

  /// Rows a second; `nil` before there was a row.
  package var rate: Double? { reached.map { min($0, most ?? .infinity) } }

  /// The same, whatever the run may do.
  private var reached: Double? {
    let seconds = batches.reduce(0) { $0 + $1.seconds }
    let rows = batches.reduce(0) { $0 + $1.rows }
    return seconds > 0 && rows > 0 ? Double(rows) / seconds : nil
  }

  /// What `rows` more take; `nil` when nobody can tell, and for none.
  ///
  /// Each batch differs from the mean by chance, so the sum of `n` differs as their square root; and the mean itself is known only
  /// as well as the batches seen allow, which counts for each of `n`. Times are not negative, so the interval is one of ratios.
  package func forecast(rows: Int) -> Forecast? {
    guard rows > 0 else { return nil }
    let least = most.map { Duration.seconds(Double(rows) / $0) }
    guard let forecast = transactions.flatMap({ byTransactions($0, rows: rows) }) ?? unlimited(rows: rows) else {
      return least.map { Forecast(left: $0, .atLeast) }
    }
    guard let least else { return forecast }
    guard let range = forecast.range else { return Forecast(left: max(forecast.left, least)) }
    return Forecast(
      left: max(forecast.left, least), .between(max(range.lowerBound, least)...max(range.upperBound, least)))
  }

  private func unlimited(rows: Int) -> Forecast? {
    guard let rate = reached else { return nil }
    let left = Double(rows) / rate
    let seen = Double(batches.count)
    guard batches.count >= Self.fewest else { return Forecast(left: .seconds(left)) }
    let variance =
      batches.reduce(0) { sum, batch in
        let difference = batch.seconds - Double(batch.rows) / rate
        return sum + difference * difference
      } / (seen - 1)
    let ahead = max(1, Double(rows) * seen / Double(batches.reduce(0) { $0 + $1.rows }))
    let deviation = (variance * ahead * (1 + ahead / seen)).squareRoot()
    let ratio = exp(min(Self.spread * deviation / left, 3))
    return Forecast(left: .seconds(left), .between(.seconds(left / ratio)...(.seconds(left * ratio))))
  }
}

extension RecentPace {
  /// What a transaction takes by itself, and what each of its rows takes: the line through the transactions seen, so that a batch
  /// whose parts go back one by one says nothing wrong about those that go back as a whole. `nil` before three of them are seen.
  private func byTransactions(_ ahead: Int, rows: Int) -> Forecast? {
    let seen = Double(batches.count)
    guard ahead > 0, batches.count > 2 else { return nil }
    let meanRows = batches.reduce(0) { $0 + Double($1.rows) } / seen
    let meanSeconds = batches.reduce(0) { $0 + $1.seconds } / seen
    let spread = batches.reduce(0) { $0 + (Double($1.rows) - meanRows) * (Double($1.rows) - meanRows) }
    // Of transactions that are all alike the mean says all.
    guard meanSeconds > 0, spread > 0 else { return nil }
    let common = batches.reduce(0) { $0 + (Double($1.rows) - meanRows) * ($1.seconds - meanSeconds) }
    // Neither is less than nothing.
    let slope = min(max(0, common / spread), meanRows > 0 ? meanSeconds / meanRows : 0)
    let base = meanSeconds - slope * meanRows
    let left = base * Double(ahead) + slope * Double(rows)
    guard left > 0 else { return nil }
    guard batches.count >= Self.fewest else { return Forecast(left: .seconds(left)) }
    let variance =
      batches.reduce(0) { sum, batch in
        let difference = batch.seconds - base - slope * Double(batch.rows)
        return sum + difference * difference
      } / (seen - 2)
    // As in a mean; and what is far from all that was seen is known the less.
    let distance = Double(rows) / Double(ahead) - meanRows
    let count = Double(ahead)
    let deviation = (variance * count * (1 + count * (1 / seen + distance * distance / spread))).squareRoot()
    let ratio = exp(min(Self.spread * deviation / left, 3))
    return Forecast(left: .seconds(left), .between(.seconds(left / ratio)...(.seconds(left * ratio))))
  }
}

extension RunStanding {
  /// How long the rest takes, by the pace of its last batches; `nil` when nobody can tell, and while it stands.
  package var forecast: Forecast? { isAtWork ? rest : nil }

  /// The same from the moment on that it goes.
  package var rest: Forecast? {
    guard let expected, expected > done.read, hasKnownWay else { return nil }
    return pace.forecast(rows: expected - done.read)
  }

  package var left: Duration? { forecast?.left }

  /// Whether its rows go on now: it does not hold, and not all of its workers wait for a lock.
  package var isAtWork: Bool {
    guard !isInterrupted else { return false }
    return switch state {
    case .running: isBounded && !waitsForLock
    case .reverting: !waitsForLock
    case .holding, .pausing, .paused, .failed, .cancelling, .cancelled, .completed, .reverted: false
    }
  }

  /// Whether all of its workers do.
  package var waitsForLock: Bool { !workers.isEmpty && workers.allSatisfy { $0.waitsFor != nil } }

  /// Whether it goes on by itself, and nothing but its window, which opens when it opens, is in its way.
  var hasKnownWay: Bool {
    guard !isInterrupted else { return false }
    return switch state {
    case .running, .reverting: isAtWork
    case .holding: holdReason?.hasPrefix("window: ") == true
    case .pausing, .paused, .failed, .cancelling, .cancelled, .completed, .reverted: false
    }
  }
}
