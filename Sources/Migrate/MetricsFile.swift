internal import Glibc
internal import Synchronization

/// A file with the newest metrics, for a collector that reads it when it likes: it finds the old text or the new one, never a part.
package final class MetricsFile: Sendable {
  private static let pause = Duration.seconds(1)

  private struct State {
    var runs: [Int64: RunMetrics] = [:]
    var lastWritten: ContinuousClock.Instant?
    var isBroken = false
  }

  package let path: String
  private let state = Mutex(State())

  package init(_ path: String) {
    self.path = path
    Files.ignoreSizeLimit()
  }

  /// Keeps what is measured of a run, and writes it unless that was done within the last second.
  /// - Returns: false the first time that the file cannot be written.
  package func update(_ run: RunMetrics, now isLast: Bool = false) -> Bool { update([run], now: isLast) }

  /// The same of several.
  package func update(_ runs: [RunMetrics], now isLast: Bool = false) -> Bool {
    state.withLock { state in
      for run in runs { state.runs[run.run] = run }
      if !isLast, let last = state.lastWritten, last + Self.pause > .now { return true }
      state.lastWritten = .now
      let text = RunMetrics.text(state.runs.keys.sorted().compactMap { state.runs[$0] })
      let isWritten = Self.replace(path, with: text)
      defer { state.isBroken = !isWritten }
      return isWritten || state.isBroken
    }
  }

  /// Beside the file first, then in its place in one step, which only works within a folder. A collector may be another user.
  private static func replace(_ path: String, with text: String) -> Bool {
    let fresh = "\(path).\(getpid()).new"
    guard Files.write(text, to: fresh), chmod(fresh, 0o644) == 0, rename(fresh, path) == 0 else {
      unlink(fresh)
      return false
    }
    return true
  }
}
