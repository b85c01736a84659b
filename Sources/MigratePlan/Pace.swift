internal import MigrateJSON

/// How many rows a batch takes.
public enum BatchSizing: Sendable, Equatable {
  /// Always so many.
  case rows(Int)
  /// As many as take `target`.
  case automatic(target: Duration)

  /// What `automatic` aims at when nobody says: below PostgreSQL's `deadlock_timeout` of a second, so that who waits for a batch is
  /// served before anybody looks for deadlocks.
  public static let usualTarget = Duration.milliseconds(500)
  /// The first batch of `automatic`: a few milliseconds on any machine.
  public static let first = 1_000
  /// What `automatic` keeps to: below, a batch pays more for its commit than for its rows; above, nothing is to be won any more.
  public static let bounds = 100...100_000
}

extension BatchSizing {
  /// The size of the batch behind one of `size` rows that has taken `taken`, as the ledger's `migrate.next_size` has it.
  ///
  /// Half the way to the target, on the scale of factors, at most to the double or the half. A batch's time is a fixed part and one
  /// for each row, so the way there never leads past the target: it does not swing. Within a fifth of it nothing changes.
  package static func next(after size: Int, taking taken: Duration, target: Duration) -> Int {
    let factor = target / max(taken, .microseconds(1))
    if (0.8...1.25).contains(factor) { return min(max(size, bounds.lowerBound), bounds.upperBound) }
    let step = min(max(factor.squareRoot(), 0.5), 2)
    return min(max(Int((Double(size) * step).rounded()), bounds.lowerBound), bounds.upperBound)
  }
}

/// How fast a run goes, as far as its own batches decide it.
public struct Pace: Sendable, Equatable {
  /// The rows of a batch.
  public var sizing: BatchSizing
  /// Rest between two batches of a worker.
  public var pause: Duration?
  /// Rest between two batches of a worker, as a part of what the one before has taken.
  public var niceRatio: Double?
  /// Rows a second, at most, over all workers.
  public var maxRate: Int?
  /// How long a batch waits for a lock before it is tried again; `nil` is ``usualLockTimeout``.
  public var lockTimeout: Duration?
  /// How long a batch may keep somebody else's statement waiting.
  public var maxBlocking: Duration?
  /// Below PostgreSQL's `deadlock_timeout` of a second, so that of a batch and somebody else it is the batch that gives way.
  public static let usualLockTimeout = Duration.milliseconds(500)
  /// The times of day at which batches may run; `nil` is any.
  public var window: PlannedWindow?
  /// Beyond which the run holds; the queries that ask for it are statements of the plan.
  public var limits: HoldLimits

  package init(
    sizing: BatchSizing, pause: Duration? = nil, niceRatio: Double? = nil, maxRate: Int? = nil,
    lockTimeout: Duration? = nil, maxBlocking: Duration? = nil, window: PlannedWindow? = nil,
    limits: HoldLimits = HoldLimits()
  ) {
    self.sizing = sizing
    self.pause = pause
    self.niceRatio = niceRatio
    self.maxRate = maxRate
    self.lockTimeout = lockTimeout
    self.maxBlocking = maxBlocking
    self.window = window
    self.limits = limits
  }
}

/// The figures of what makes a run hold.
public struct HoldLimits: Sendable, Equatable {
  /// Sessions that are active, at most.
  public var activeSessions: Int?
  /// How far a standby may be behind.
  public var replicationLag: Duration?
  /// Bytes of WAL that a replication slot may keep.
  public var slotLag: Int?
  /// Bytes that each disk of the server must have left.
  public var freeDisk: Int?

  package init(
    activeSessions: Int? = nil, replicationLag: Duration? = nil, slotLag: Int? = nil, freeDisk: Int? = nil
  ) {
    self.activeSessions = activeSessions
    self.replicationLag = replicationLag
    self.slotLag = slotLag
    self.freeDisk = freeDisk
  }
}

extension Pace {
  /// The rows of the first batch, and of a stretch of keys where they are collected.
  package var firstSize: Int {
    switch sizing {
    case .rows(let rows): rows
    case .automatic: BatchSizing.first
    }
  }
}

/// A window of the day, at a place.
public struct PlannedWindow: Sendable, Equatable {
  /// When it opens: `22:00`.
  public let opens: String
  /// When it closes, on the next day when that is not later.
  public let closes: String
  /// The zone that the times are of.
  public let zone: String

  package init(opens: String, closes: String, zone: String) {
    self.opens = opens
    self.closes = closes
    self.zone = zone
  }
}

extension Pace {
  /// The plan's members, which the ledger reads; durations as PostgreSQL reads intervals.
  var members: [JSON.Member] {
    let (size, target): (JSON, Duration?) =
      switch sizing {
      case .rows(let rows): (.integer(rows), nil)
      case .automatic(let target): (.string("auto"), target)
      }
    let said: [JSON.Member?] = [
      Self.member("target_batch_time", target), Self.member("pause", pause),
      niceRatio.map { .init("nice_ratio", .number(String($0))) }, maxRate.map { .init("max_rate", .integer($0)) },
      Self.member("lock_timeout", lockTimeout), Self.member("max_blocking", maxBlocking),
      limits.activeSessions.map { .init("max_active_sessions", .integer($0)) },
      Self.member("max_replication_lag", limits.replicationLag),
      limits.slotLag.map { .init("slot_lag", .integer($0)) }, limits.freeDisk.map { .init("free_disk", .integer($0)) },
    ]
    let throttle = said.compactMap(\.self)
    return [.init("batch_size", size)] + (throttle.isEmpty ? [] : [.init("throttle", .object(throttle))])
      + (window.map { [.init("window", $0.document)] } ?? [])
  }

  private static func member(_ name: String, _ duration: Duration?) -> JSON.Member? {
    duration.map { .init(name, .string("\(Int(($0 / .milliseconds(1)).rounded()))ms")) }
  }
}

extension PlannedWindow {
  fileprivate var document: JSON {
    .object([.init("opens", .string(opens)), .init("closes", .string(closes)), .init("zone", .string(zone))])
  }
}
