import MigratePlan
import Testing

@testable import MigrateRunner

/// How many workers are at work, by servers that can take different numbers of them; the time is made up.
@Suite struct `A run takes more workers for as long as they make it faster` {
  /// Batches of a thousand rows on a server whose rows a second are what `rate` says of so many workers.
  private struct Trial {
    private(set) var now = ContinuousClock.now
    var size: CrewSize
    /// What each number of workers was at work for, in seconds.
    private(set) var times: [Int: Double] = [:]
    private var random = SystemRandomNumberGenerator()

    init(most: Int, behind time: Duration = .seconds(2)) { size = CrewSize(most: most, behind: time, at: now) }

    /// Works for so many seconds. - Parameter noise: how far a batch may take less or more, as a share of its time.
    mutating func work(for seconds: Double, noise: Double = 0, _ rate: (Int) -> Double) {
      let end = now + .seconds(seconds)
      while now < end {
        let taken = 1000 / rate(size.workers) * (1 + Double.random(in: -noise...noise, using: &random))
        now += .seconds(taken)
        times[size.workers, default: 0] += taken
        size.note(rows: 1000, at: now)
      }
    }

    mutating func standStill(for seconds: Double) {
      size.interrupt(at: now)
      now += .seconds(seconds)
    }
  }

  /// A server that takes so many, and gets slower by each one beyond.
  private static func server(taking limit: Int, loss: Double = 0.04) -> (Int) -> Double {
    { 20_000 * Double(min($0, limit)) * (1 - loss * Double(max(0, $0 - limit))) }
  }

  @Test(arguments: [(2, 2), (4, 4), (8, 8), (6, 8), (64, 8)]) func `as many as the server takes`(limit: Int, best: Int)
  {
    var trial = Trial(most: 8)
    trial.work(for: 30, noise: 0.3, Self.server(taking: limit))
    #expect(trial.size.workers == best)
    trial.work(for: 3_600, noise: 0.3, Self.server(taking: limit))
    #expect(trial.times[best, default: 0] > 0.95 * trial.times.values.reduce(0, +), "\(trial.times)")
  }

  @Test func `two, where the others would be in the way`() {
    var trial = Trial(most: 4)
    trial.work(for: 3_600, noise: 0.3) { $0 == 2 ? 100_000 : 87_000 }
    #expect(trial.times[2, default: 0] > 0.98 * trial.times.values.reduce(0, +), "\(trial.times)")
  }

  @Test func `and does not try before it was at work for so long that it hardly matters`() {
    var trial = Trial(most: 4, behind: .seconds(25))
    trial.work(for: 27, noise: 0.3, Self.server(taking: 4))
    #expect(trial.times.keys.sorted() == [2])
    trial.work(for: 16, noise: 0.3, Self.server(taking: 4))
    #expect(trial.size.workers == 4)
  }

  @Test func `more when the server has got others off its hands, and fewer when it has got them`() {
    var trial = Trial(most: 8)
    trial.work(for: 600, Self.server(taking: 2))
    #expect(trial.size.workers == 2)
    trial.work(for: 1_000, Self.server(taking: 8))
    #expect(trial.size.workers == 8)
    trial.work(for: 4_000, Self.server(taking: 2))
    #expect(trial.size.workers == 2)
  }

  @Test(arguments: [1, 2]) func `never others than there may be`(most: Int) {
    var trial = Trial(most: most)
    trial.work(for: 300, Self.server(taking: 64))
    #expect(trial.times.keys.sorted() == [most])
  }

  @Test func `an odd number of them too`() {
    var trial = Trial(most: 3)
    trial.work(for: 60, Self.server(taking: 64))
    #expect(trial.size.workers == 3)
    trial.work(for: 2_000, Self.server(taking: 2))
    #expect(trial.size.workers == 2)
  }

  @Test func `whatever stands still in between`() {
    var trial = Trial(most: 4)
    trial.work(for: 4, Self.server(taking: 2))
    // Counted as time without rows, two would look slower than they are.
    trial.standStill(for: 600)
    trial.work(for: 20, Self.server(taking: 2))
    #expect(trial.size.workers == 2)
  }
}
