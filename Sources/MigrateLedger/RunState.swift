/// Where a run is in its life.
///
/// It changes in one place, `migrate.advance`, by the rows of `migrate.transitions`; ``after(_:direction:)`` says the same for
/// readers, and a test holds the two against each other. That a run's workers are gone is no state: `migrate.progress` sees it
/// and calls it *interrupted*.
public enum RunState: String, Sendable, CaseIterable {
  /// Batches are being applied.
  case running
  /// A throttle or its window keeps it from going on; it does so by itself.
  case holding
  /// Will pause at the edge of the batch.
  case pausing
  /// Stands still; goes on with `resume`.
  case paused
  /// Stands still at a batch that cannot be done as it is; goes on there with `resume`.
  case failed
  /// Will end at the edge of the batch.
  case cancelling
  /// Ended before its time; what was done stays and can be reverted.
  case cancelled
  /// All batches are done.
  case completed
  /// Batches are being taken back.
  case reverting
  /// All batches are taken back.
  case reverted

  /// The state that `event` leads to; `nil` when it does not fit.
  public func after(_ event: RunTransition, direction: RunDirection) -> RunState? {
    switch (self, direction, event) {
    case (.running, .apply, .holdBegun), (.reverting, .revert, .holdBegun): .holding
    case (.holding, .apply, .holdEnded): .running
    case (.holding, .revert, .holdEnded): .reverting
    case (.running, .apply, .pauseRequested), (.holding, _, .pauseRequested), (.reverting, .revert, .pauseRequested):
      .pausing
    case (.pausing, _, .batchEdgeReached): .paused
    case (.pausing, .apply, .resumeRequested), (.paused, .apply, .resumeRequested), (.failed, .apply, .resumeRequested):
      .running
    case (.pausing, .revert, .resumeRequested), (.paused, .revert, .resumeRequested),
      (.failed, .revert, .resumeRequested):
      .reverting
    case (.running, .apply, .cancelRequested), (.holding, .apply, .cancelRequested),
      (.pausing, .apply, .cancelRequested):
      .cancelling
    case (.paused, .apply, .cancelRequested), (.failed, .apply, .cancelRequested): .cancelled
    case (.cancelling, .apply, .batchEdgeReached), (.cancelling, .apply, .batchFailed): .cancelled
    // The last batch can end before a worker has seen the request.
    case (.running, .apply, .lastBatchCommitted), (.holding, .apply, .lastBatchCommitted),
      (.pausing, .apply, .lastBatchCommitted),
      (.cancelling, .apply, .lastBatchCommitted):
      .completed
    case (.running, .apply, .batchFailed), (.holding, _, .batchFailed), (.pausing, _, .batchFailed),
      (.reverting, .revert, .batchFailed):
      .failed
    case (.completed, .revert, .revertRequested), (.cancelled, .revert, .revertRequested),
      (.paused, .revert, .revertRequested), (.failed, .revert, .revertRequested):
      .reverting
    case (.reverting, .revert, .lastBatchRestored), (.holding, .revert, .lastBatchRestored),
      (.pausing, .revert, .lastBatchRestored):
      .reverted
    case (.running, _, _), (.holding, _, _), (.pausing, _, _), (.paused, _, _), (.failed, _, _), (.cancelling, _, _),
      (.cancelled, _, _),
      (.completed, _, _), (.reverting, _, _), (.reverted, _, _):
      nil
    }
  }

  /// The states in which a run has ended, as a list in SQL.
  static let ended = allCases.filter(\.hasEnded).map { "'\($0.rawValue)'" }.joined(separator: ", ")

  /// Whether the run has ended, so that another one of the same definition may begin.
  public var hasEnded: Bool {
    switch self {
    case .completed, .cancelled, .reverted: true
    case .running, .holding, .pausing, .paused, .failed, .cancelling, .reverting: false
    }
  }
}

/// What can happen to a run.
public enum RunTransition: String, Sendable, CaseIterable {
  /// Someone asks it to pause.
  case pauseRequested = "pause_requested"
  /// Someone asks it to go on.
  case resumeRequested = "resume_requested"
  /// Someone asks it to end.
  case cancelRequested = "cancel_requested"
  /// Someone asks for the way back.
  case revertRequested = "revert_requested"
  /// Something makes it hold.
  case holdBegun = "hold_begun"
  /// Nothing does any more.
  case holdEnded = "hold_ended"
  /// A worker stands between two batches.
  case batchEdgeReached = "batch_edge_reached"
  /// A batch cannot be done.
  case batchFailed = "batch_failed"
  /// Nothing is left to apply.
  case lastBatchCommitted = "last_batch_committed"
  /// Nothing is left to take back.
  case lastBatchRestored = "last_batch_restored"
}

/// Which way a run goes.
public enum RunDirection: String, Sendable, CaseIterable {
  /// Forward.
  case apply
  /// Back.
  case revert
}
