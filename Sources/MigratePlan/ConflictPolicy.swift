/// What a revert does with rows that were changed since.
public enum ConflictPolicy: String, Sendable, CaseIterable {
  /// Writes nothing when there is one.
  case stop
  /// Leaves them as they are and lists them.
  case skip
  /// Puts the old values back all the same and keeps what it overwrites.
  case force
}
