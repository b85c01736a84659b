/// How many of the workers that a run may have are at work: two at first, and twice as many for as long as that makes it faster.
///
/// Beyond what the server's processors and its log can take, workers only get into each other's way: of plain sessions that share one
/// UPDATE by ranges, four on two processors take 1.13 of what two take. No server tells how many it can take, so it is tried.
struct CrewSize {
  /// Behind a change, until what was begun before it is through.
  static let settling: Duration = .seconds(2)
  /// In which the rows of a number of workers are counted.
  static let window: Duration = .seconds(3)
  /// Rows a second of more workers, over those of fewer, for which it takes more.
  static let gain = 1.05
  /// How long it stays with what it has found; twice as long each time that it finds the same.
  static let rests: ClosedRange<Duration> = .seconds(60)...(.seconds(960))

  private struct Level {
    let workers: Int
    /// Rows a second.
    let rate: Double
  }

  private enum Stage {
    /// Counts, to compare with another number that was counted just before.
    case counts(Count, against: Level?)
    case rests(until: ContinuousClock.Instant)
  }

  private struct Count {
    let begun: ContinuousClock.Instant
    let settling: Duration
    /// Batches since then.
    var batches = 0
    /// From when rows count: the end of a batch.
    var from: ContinuousClock.Instant?
    var rows = 0

    init(_ begun: ContinuousClock.Instant, settling: Duration = CrewSize.settling) {
      self.begun = begun
      self.settling = settling
    }

    /// Rows a second, when enough of them were counted.
    mutating func add(rows more: Int, of workers: Int, at now: ContinuousClock.Instant) -> Double? {
      batches += 1
      guard let from else {
        if now - begun >= settling, batches >= workers {
          self.from = now
          batches = 0
        }
        return nil
      }
      rows += more
      guard now - from >= CrewSize.window, batches >= 4 * workers else { return nil }
      return Double(rows) / ((now - from) / .seconds(1))
    }
  }

  private(set) var workers: Int
  private let least: Int
  private let most: Int
  private var stage: Stage
  /// What the last trial has found.
  private var found: Int?
  private var rest = CrewSize.rests.lowerBound
  private var triesMore = true

  /// - Parameter time: how long it counts nothing at first.
  init(most: Int, behind time: Duration, at now: ContinuousClock.Instant) {
    self.most = most
    least = min(2, most)
    workers = least
    stage = .counts(Count(now, settling: time), against: nil)
  }

  /// A batch has committed.
  mutating func note(rows: Int, at now: ContinuousClock.Instant) {
    guard least < most else { return }
    switch stage {
    case .rests(let until):
      if now >= until { stage = .counts(Count(now), against: nil) }
    case .counts(var count, let other):
      guard let rate = count.add(rows: rows, of: workers, at: now) else {
        stage = .counts(count, against: other)
        return
      }
      judge(Level(workers: workers, rate: rate), against: other, at: now)
    }
  }

  /// The run stood still, so what was counted says nothing. Who was on trial stays until it is counted anew.
  mutating func interrupt(at now: ContinuousClock.Instant) {
    switch stage {
    case .rests: return
    case .counts(let count, let other): stage = .counts(Count(now, settling: count.settling), against: other)
    }
  }

  private mutating func judge(_ level: Level, against other: Level?, at now: ContinuousClock.Instant) {
    guard let other else {
      if next == workers { triesMore.toggle() }
      return compare(level, at: now)
    }
    let (fewer, more) = level.workers < other.workers ? (level, other) : (other, level)
    let better = more.rate > Self.gain * fewer.rate ? more : fewer
    if better.workers == workers, next != workers { return compare(level, at: now) }
    workers = better.workers
    rest = workers == found ? min(rest * 2, Self.rests.upperBound) : Self.rests.lowerBound
    found = workers
    triesMore.toggle()
    stage = .rests(until: now + rest)
  }

  private mutating func compare(_ level: Level, at now: ContinuousClock.Instant) {
    workers = next
    stage = .counts(Count(now), against: level)
  }

  /// The number to try next; the present one at the end of the way.
  private var next: Int { triesMore ? min(most, workers * 2) : max(least, workers / 2) }
}
