/// A stretch of a ``SourceText``, as a half-open range of byte offsets.
public struct SourceSpan: Sendable, Hashable, Comparable {
  /// The offset of the first byte.
  public let start: Int
  /// The offset behind the last byte; equal to `start` for a place between two bytes.
  public let end: Int

  /// The bytes from `start` up to `end`; an `end` before `start` makes the span empty.
  public init(_ start: Int, _ end: Int) {
    self.start = start
    self.end = max(start, end)
  }

  /// Spans are in the order of the file.
  public static func < (left: SourceSpan, right: SourceSpan) -> Bool {
    (left.start, left.end) < (right.start, right.end)
  }
}

/// A value together with the place that says it.
public struct Located<Value: Sendable>: Sendable {
  /// What was said.
  public let value: Value
  /// Where it was said.
  public let span: SourceSpan

  /// `value`, said at `span`.
  public init(_ value: Value, at span: SourceSpan) {
    self.value = value
    self.span = span
  }
}

extension Located: Equatable where Value: Equatable {}
