public import MigrateDiagnostics

/// `expect:` what a run must not go beyond without being asked; outside of it the run pauses before its next batch.
public struct Expectation: Sendable {
  /// What is counted or computed.
  public enum Subject: Sendable {
    /// Rows that were read.
    case rows
    /// Rows that were changed.
    case changed
    /// Rows in quarantine.
    case rejects
    /// An aggregate over what the changed rows were, `old`, and became, `new`.
    case aggregate(AggregateFunction, SourceFragment)
  }

  /// `rows`, `changed`, `rejects`, or the name that the definition gives to an aggregate.
  public let name: Located<String>
  /// Of what.
  public let subject: Subject
  /// What it must be.
  public let bounds: ExpectedBounds
}

/// The aggregates that can be kept as running figures, so that no row is read for them twice.
public enum AggregateFunction: String, Sendable, CaseIterable {
  case avg, sum, min, max, count
}

/// Between which figures something is expected; their digits as written.
public struct ExpectedBounds: Sendable, Equatable {
  /// `nil` when it may be as low as it likes.
  public let least: String?
  /// Whether it may be ``least`` itself.
  public let isLeastIncluded: Bool
  /// `nil` when it may be as high as it likes.
  public let most: String?
  /// Whether it may be ``most`` itself.
  public let isMostIncluded: Bool
  /// Whether it is a part of the rows read.
  public let isPercent: Bool
}
