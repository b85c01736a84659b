/// What a run does with rows that the database refuses. Errors that pass by themselves are always tried again.
public enum OnError: String, Sendable {
  /// The run ends at the batch; it can be resumed there.
  case stop
  /// As stop, after the batch has been tried up to ten times.
  case retry
  /// The rows at fault go to quarantine, the others are done.
  case quarantine = "continue"
}
