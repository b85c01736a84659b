internal import MigrateJSON

/// What a run does with rows that the database refuses. Errors that pass by themselves are always tried again.
public enum OnError: Sendable, Equatable {
  /// The run ends at the batch; it can be resumed there.
  case stop
  /// As stop, after the batch has been tried up to ten times.
  case retry
  /// The rows at fault go to quarantine, the others are done. `maxRejects`, more of which end the run, is a number of rows or, with
  /// a sign of per cent, a part of the rows read.
  case quarantine(maxRejects: String)
}

extension OnError {
  var members: [JSON.Member] {
    switch self {
    case .stop: [.init("on_error", .string("stop"))]
    case .retry: [.init("on_error", .string("retry"))]
    case .quarantine(let maxRejects):
      [.init("on_error", .string("continue")), .init("max_rejects", .string(maxRejects))]
    }
  }

  /// What ``members`` have been written from; `nil` when it is not known here.
  package init?(_ word: String, maxRejects: String?) {
    switch (word, maxRejects) {
    case ("stop", _): self = .stop
    case ("retry", _): self = .retry
    case ("continue", let maxRejects?): self = .quarantine(maxRejects: maxRejects)
    default: return nil
    }
  }
}
