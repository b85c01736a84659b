internal import MigrateLedger
internal import MigratePlan

/// How fast a worker goes: the size of its next batch, and when that may begin.
struct Pacing {
  /// Of batches that size themselves; `nil` before the ledger was asked.
  private var automatic: Int?
  private var tuning = Tuning()
  private var workers = 1
  /// Rows of a batch that had to give way, until as many as before go through again.
  private var yielded: Int?
  /// What the last batch was: how long to rest behind it is computed anew at each look, since that may be tuned meanwhile.
  private var last: Last?

  private struct Last {
    let ended: ContinuousClock.Instant
    let taken: Duration
    let read: Int
    /// From when its rows count for the rate.
    let counted: ContinuousClock.Instant
  }
  /// When it may be asked again whether the run shall hold; at first at once.
  private(set) var asksAt = ContinuousClock.now

  /// What the run is asked to do now.
  mutating func take(_ orders: Orders) {
    tuning = orders.tuning
    workers = orders.workers
  }

  /// How many workers shall be at work; `nil`: as many as the plan says.
  var tunedWorkers: Int? { tuning.workers }

  mutating func asked() { asksAt = .now + .seconds(1) }

  /// How long a worker rests before its next batch, as the run is tuned now; `nil`: not at all.
  func rest(_ pace: Pace) -> Duration? {
    guard let last else { return nil }
    let moments = [
      (tuning.pause ?? pace.pause).map { last.ended + $0 },
      pace.niceRatio.map { last.ended + last.taken * $0 },
      rateAllows(pace),
    ]
    guard let moment = moments.compactMap(\.self).max() else { return nil }
    let left = moment - ContinuousClock.now
    return left > .zero ? left : nil
  }

  /// When the rate allows for the next batch; `nil` without a rate.
  private func rateAllows(_ pace: Pace) -> ContinuousClock.Instant? {
    guard let last, let share = share(pace) else { return nil }
    return last.counted + .seconds(Double(last.read) / share)
  }

  /// The time that a batch shall take; `nil` when its size is fixed.
  func target(_ pace: Pace) -> Duration? {
    switch (tuning.batchSize, pace.sizing) {
    case (nil, .automatic(let target)), (0, .automatic(let target)): target
    case (0, .rows): BatchSizing.usualTarget
    case (_, .rows), (_?, .automatic): nil
    }
  }

  /// Whether nobody knows yet how large a batch of the slice in hand may be.
  func isUnsized(_ pace: Pace) -> Bool { automatic == nil && target(pace) != nil }

  /// What the ledger says of the batches before, also of another worker's.
  mutating func begin(with size: Int) { automatic = size }

  /// A batch had to give way; the next ones have as few rows at first.
  mutating func giveWay(to size: Int) { yielded = size }

  /// The rows of the next batch.
  func size(_ pace: Pace) -> Int { min(usualSize(pace), yielded ?? .max) }

  private func usualSize(_ pace: Pace) -> Int {
    guard target(pace) != nil else {
      if let tuned = tuning.batchSize, tuned > 0 { return tuned }
      switch pace.sizing {
      case .rows(let rows): return rows
      case .automatic: return BatchSizing.first
      }
    }
    let size = automatic ?? BatchSizing.first
    // What a second may bring, so that a slow rate is no long rest behind a large batch.
    guard let share = share(pace) else { return size }
    return min(size, max(BatchSizing.bounds.lowerBound, Int(share)))
  }

  /// Rows a second of this worker; `nil` without a limit.
  private func share(_ pace: Pace) -> Double? {
    guard let rate = tuning.maxRate ?? pace.maxRate, rate > 0 else { return nil }
    return Double(rate) / Double(workers)
  }

  /// A batch has committed: an attempt at `size` rows, of which it has read `read`.
  mutating func note(size: Int, read: Int, taken: Duration, _ pace: Pace) {
    // The end of a slice is as short as the slice leaves it, and says nothing.
    if let target = target(pace), read * 2 >= size {
      automatic = BatchSizing.next(after: size, taking: taken, target: target)
    }
    yielded = yielded.flatMap { $0 * 2 < usualSize(pace) ? $0 * 2 : nil }
    let now = ContinuousClock.now
    // Counted on from when the batch was allowed, so that what one batch was late the next one makes up, but not for a rest. The
    // first is counted from its end, since only the server knows when it had begun.
    let counted = max(rateAllows(pace) ?? now, now - taken - .seconds(1))
    last = Last(ended: now, taken: taken, read: read, counted: counted)
  }
}
