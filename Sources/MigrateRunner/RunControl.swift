package import MigratePostgres
internal import Synchronization

/// What the outside may ask of a run's workers, from any thread; they look between two batches.
package final class RunControl: Sendable {
  private let stop = Atomic(false)
  private let hurry = Atomic(false)
  private let running = Mutex<[Int: Cancellation]>([:])

  package init() {}

  /// Pause at the edge of the batch.
  package func requestStop() { stop.store(true, ordering: .sequentiallyConsistent) }

  /// Pause now: the statements that run are cancelled, and their batches rolled back.
  package func requestCancel() {
    requestStop()
    hurry.store(true, ordering: .sequentiallyConsistent)
    running.withLock { running in running.values.forEach { $0.cancel() } }
  }

  package var isStopRequested: Bool { stop.load(ordering: .sequentiallyConsistent) }
  package var isCancelRequested: Bool { hurry.load(ordering: .sequentiallyConsistent) }

  /// The connection of a worker, whose statement ``requestCancel()`` cancels from now on.
  package func watch(_ cancellation: Cancellation, of worker: Int) { running.withLock { $0[worker] = cancellation } }
}
