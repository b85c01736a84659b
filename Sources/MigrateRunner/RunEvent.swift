package import MigrateLedger
package import MigratePostgres

/// What happens while a run goes on, for whoever listens: a bar, lines, JSON.
package enum RunEvent: Sendable {
  /// A worker begins, or goes on with what is left; `done` is what the ledger holds already.
  case started(run: Int64, name: String, direction: RunDirection, done: BatchCounts, expected: Int)
  /// The start waits for transactions that hold write locks on the source; these are not over.
  case waiting([LockHolder])
  /// A batch has committed.
  case batch(BatchRecord)
  /// What was computed is being shown: one transaction, for which writers of these rows wait.
  case publishing(rows: Int)
  /// It can be seen, with so many rows among it that others had changed since they were computed.
  case published(recomputed: Int, duration: Duration)
  /// Rows of quarantine were tried again, and that has committed.
  case tried(rows: Int)
  /// A try has failed, and there is another one.
  case again(FailedTry)
  /// The try at a batch has failed that the run ends by.
  case gaveUp(FailedTry)
  /// The connection is lost and is being made again, or the worker begins anew for another passing reason.
  case reconnecting(reason: String)
  /// After that it works again, and has so many seconds behind it without work.
  case reconnected(after: Duration)
  /// A worker could not begin, or has given up; those that are left do its part.
  case shorthanded(worker: Int, reason: String)
  /// A worker has gone: there is no slice for it, or fewer shall be at work.
  case left(worker: Int)
  /// Nobody looks whether others wait for a batch: there is no connection for it. Told once.
  case unwatched(reason: String)
  /// The run holds; it goes on by itself.
  case holding(reason: String)
  /// The run stands still by request, of whom is `nil` where that is not known; the workers wait for `resume`.
  case paused(by: RunRequest?)
  case resumed
  /// The server has warned of something, from a trigger or a function: told at the end, each text once.
  case warned(ServerWarning)
}

/// A batch that has committed.
package struct BatchRecord: Sendable, Equatable {
  package let place: BatchPlace
  /// Who has done it, from 1.
  package let worker: Int
  package let through: [String?]
  package let counts: BatchCounts
  package let duration: Duration

  package var ordinal: Int { place.ordinal }
}

/// A try that was in vain; nothing of it stays.
package struct FailedTry: Sendable, Equatable {
  package let place: BatchPlace
  /// The number of the next try.
  package let next: Int
  package let reason: String
  /// `nil` when it was no error of the database.
  package let sqlState: String?
  package let duration: Duration
}

/// Where a batch stands: in which slice, from 0, or -1 for rows of quarantine, and there as which, from 1; 0 for what is no batch.
package struct BatchPlace: Sendable, Hashable {
  package let slice: Int
  package let ordinal: Int

  package init(slice: Int, ordinal: Int) {
    self.slice = slice
    self.ordinal = ordinal
  }

  /// What is no batch.
  static let none = BatchPlace(slice: 0, ordinal: 0)
}

/// How a run has ended for this worker.
package enum RunOutcome: Sendable, Equatable {
  case completed(leftBehind: Int?)
  case reverted(conflicts: Int)
  case paused
  case cancelled
  case failed(Failure)
  /// The disk, memory, or a read-only server: paused, and no row is to blame.
  case pausedByServer(Failure)
  /// A revert under `stop` has found rows that were changed since, and has written nothing more.
  case conflicts(Int)
  /// Another worker has taken the run over.
  case takenOver

  /// What it has ended by.
  var failure: Failure? {
    switch self {
    case .failed(let failure), .pausedByServer(let failure): failure
    case .completed, .reverted, .paused, .cancelled, .conflicts, .takenOver: nil
    }
  }
}
