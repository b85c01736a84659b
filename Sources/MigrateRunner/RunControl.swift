package import MigratePostgres
internal import Synchronization

/// What the outside may ask of a worker, from any thread; the worker looks between two batches.
package final class RunControl: Sendable {
  private let stop = Atomic(false)
  private let hurry = Atomic(false)
  private let running = Mutex<Cancellation?>(nil)

  package init() {}

  /// Pause at the edge of the batch.
  package func requestStop() { stop.store(true, ordering: .sequentiallyConsistent) }

  /// Pause now: the statement that runs is cancelled, and its batch rolled back.
  package func requestCancel() {
    requestStop()
    hurry.store(true, ordering: .sequentiallyConsistent)
    running.withLock { cancellation in _ = cancellation?.cancel() }
  }

  package var isStopRequested: Bool { stop.load(ordering: .sequentiallyConsistent) }
  package var isCancelRequested: Bool { hurry.load(ordering: .sequentiallyConsistent) }

  /// The connection whose statement ``requestCancel()`` cancels from now on.
  package func watch(_ cancellation: Cancellation) { running.withLock { $0 = cancellation } }
}
