public import MigrateDiagnostics

/// `batch_size:`
public enum BatchSize: Sendable, Equatable {
  /// So many rows in each batch.
  case rows(Int)
  /// As many as take ``Throttle/targetBatchTime``: it grows and shrinks with what batches take.
  case automatic
}

/// `throttle:` when a run goes slower, and when it stands still. What is `nil` or empty does not count.
public struct Throttle: Sendable {
  /// Between two batches of a worker.
  public var pause: Located<Duration>?
  /// Between two batches of a worker, as a part of what the batch before has taken; its digits as written.
  public var niceRatio: Located<String>?
  /// Rows a second, at most, over all workers.
  public var maxRate: Located<Int>?
  /// How long a batch waits for a lock before it is tried again.
  public var lockTimeout: Located<Duration>?
  /// What ``BatchSize/automatic`` aims at.
  public var targetBatchTime: Located<Duration>?
  /// How long somebody else's statement waits for a batch, at most.
  public var maxBlocking: Located<Duration>?
  /// The run holds while more sessions than these are active.
  public var maxActiveSessions: Located<Int>?
  /// The run holds while a standby is further behind.
  public var maxReplicationLag: Located<Duration>?
  /// The run holds while one of these is so.
  public var holdWhen: [HoldCondition] = []
}

/// `hold_when:` what makes a run stand still for as long as it is so.
public enum HoldCondition: Sendable {
  /// A query of the definition, under its name, has found a row.
  case query(Check)
  /// Somebody vacuums or analyses the table, or builds an index on it.
  case autovacuum
  /// The table is older than `autovacuum_freeze_max_age`, so that a vacuum is due that must not be late.
  case wraparound
  /// The server does not get its WAL archived.
  case walArchive
  /// A replication slot keeps more WAL than so many bytes.
  case slotLag(bytes: Int)
  /// A disk of the server has fewer bytes left than these.
  case freeDisk(bytes: Int)
}

/// `window:` the times of day at which batches may run, at a place.
public struct Window: Sendable, Equatable {
  /// Minutes after midnight, when it opens.
  public let opens: Int
  /// Minutes after midnight, when it closes: on the next day when that is not later than ``opens``.
  public let closes: Int
  /// The zone that the times are of.
  public let zone: String
}
