private import Glibc
private import Synchronization

/// The signals that ask a run to stop.
package enum Signal: CaseIterable, Sendable, Hashable {
  /// Ctrl-C: once to pause at the batch's edge, twice to cancel the statement.
  case interrupt
  /// From `kill`, systemd, Kubernetes: pause.
  case terminate
  /// The terminal was closed: pause.
  case hangUp

  /// The system's number for it.
  package var number: Int32 {
    switch self {
    case .interrupt: SIGINT
    case .terminate: SIGTERM
    case .hangUp: SIGHUP
    }
  }
}

/// Counts signals, and tells of each on a thread of its own (P14).
///
/// The handler only writes a byte to a pipe, which is all that a handler may do; the thread reads it. Not by blocking or
/// ignoring the signals, since programs that are started from here would inherit that; and without Dispatch, which would
/// have to be loaded at each start.
package final class SignalWatch: Sendable {
  /// Why signals cannot be watched.
  package enum Failure: Error, Sendable, Equatable {
    /// There is a watch already; a process has one handler for a signal.
    case alreadyWatched
    /// The system's number for it: too many open files, perhaps.
    case system(code: Int32)
  }

  private let counts = Mutex<[Signal: Int]>([:])
  private let report: @Sendable (Signal, Int) -> Void

  private init(report: @escaping @Sendable (Signal, Int) -> Void) {
    self.report = report
  }

  /// How often `signal` has come so far.
  package func count(of signal: Signal) -> Int { counts.withLock { $0[signal] ?? 0 } }

  /// Watches until ``stop()``.
  ///
  /// A signal that was ignored when the program started stays so: `nohup` means it.
  /// - Parameter report: called for each signal in turn, with how often that one has come.
  package static func start(_ report: @escaping @Sendable (Signal, Int) -> Void) throws(Failure) -> SignalWatch {
    let watch = SignalWatch(report: report)
    let result: Result<Void, Failure> = SignalPipe.installation.withLock { installation in
      guard installation == nil else { return .failure(.alreadyWatched) }
      return SignalPipe.install { watch.receive($0) }.map { installation = $0 }
    }
    try result.get()
    return watch
  }

  /// Puts back what happened on a signal before.
  package func stop() {
    SignalPipe.installation.withLock { installation in
      installation?.remove()
      installation = nil
    }
  }

  private func receive(_ number: UInt8) {
    guard let signal = Signal.allCases.first(where: { $0.number == Int32(number) }) else { return }
    let count = counts.withLock { counts in
      counts[signal, default: 0] += 1
      return counts[signal] ?? 0
    }
    report(signal, count)
  }
}
