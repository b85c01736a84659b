internal import Migrate
internal import MigrateCommandLine
internal import Synchronization

/// What is written of a run besides what is shown: `--metrics` and `--trace`.
final class RunRecorder: Sendable {
  private let run: Run
  private let console: Console
  private let metrics: MetricsFile?
  private let trace: TraceFile?
  private let latest: Mutex<RunMetrics>

  /// Refuses a file that cannot be written.
  init(_ run: Run, _ console: Console) throws(RunRefusal) {
    self.run = run
    self.console = console
    let word: RunState = run.direction == .apply ? .running : .reverting
    latest = Mutex(RunMetrics(run: run.id, name: run.name, state: word.rawValue, direction: run.direction))
    metrics = console.metricsFile
    if let path = console.arguments[Options.trace] {
      guard let file = TraceFile(path, of: run) else { throw Console.unwritable(path) }
      trace = file
    } else {
      trace = nil
    }
    if let metrics, !metrics.update(latest.withLock { $0 }, now: true) { throw Console.unwritable(metrics.path) }
  }

  /// - Parameter workers: how many are at work.
  func take(_ event: RunEvent, done: BatchCounts, expected: Int, workers: Int, _ pace: RecentPace) {
    trace?.take(event)
    guard metrics != nil else { return }
    let now = latest.withLock { latest in
      latest.workers = workers
      latest.done = done
      latest.expected = expected > 0 ? expected : nil
      latest.rate = pace.rate
      latest.left = pace.forecast(rows: expected - done.read)?.left
      var times = latest.batches ?? BatchTimes()
      if case .batch(let record) = event { times.add(record.duration) }
      if case .again = event { times.retries += 1 }
      latest.batches = times
      if case .holding(let reason) = event { (latest.state, latest.holdReason) = (RunState.holding.rawValue, reason) }
      if case .paused = event { (latest.state, latest.holdReason) = (RunState.paused.rawValue, nil) }
      if case .resumed = event {
        (latest.state, latest.holdReason) = ((run.direction == .apply ? RunState.running : .reverting).rawValue, nil)
      }
      // What stands has neither.
      if latest.state == RunState.holding.rawValue || latest.state == RunState.paused.rawValue {
        (latest.rate, latest.left) = (nil, nil)
      }
      return latest
    }
    write(now)
  }

  /// Whether figures are kept that somebody has to ask for.
  var keepsMetrics: Bool { metrics != nil }

  /// Writes what has not been written for a second: a run that stands still sends no events.
  func tick() {
    guard metrics != nil else { return }
    write(latest.withLock { $0 })
  }

  /// - Parameters:
  ///   - state: how the run stands, as `status` calls it.
  ///   - undoBytes: the size of what is kept for the way back, where that is known.
  func end(_ state: String, _ done: BatchCounts, failure: String?, undoBytes: Int?) {
    let last = latest.withLock { latest in
      latest.done = done
      latest.state = state
      latest.workers = 0
      latest.holdReason = nil
      latest.undoBytes = undoBytes
      latest.left = nil
      return latest
    }
    write(last, now: true)
    if let trace, !trace.end(state, done, failure: failure) {
      console.say("migrate: warning: \(console.arguments[Options.trace] ?? "") cannot be written and is not complete")
    }
  }

  private func write(_ run: RunMetrics, now: Bool = false) {
    guard let metrics, !metrics.update(run, now: now) else { return }
    console.say("migrate: warning: \(metrics.path) cannot be written and is not up to date")
  }
}

private let theMetricsFile = Mutex<MetricsFile?>(nil)

extension Console {
  /// The one of this command, which may do several runs.
  var metricsFile: MetricsFile? {
    guard let path = arguments[Options.metrics] else { return nil }
    return theMetricsFile.withLock { file in
      let one = file ?? MetricsFile(path)
      file = one
      return one
    }
  }

  /// Refuses files that could not be written, before a run begins.
  func refuseUnwritable() throws(CommandFailure) {
    let files = [
      arguments[Options.metrics].flatMap { metricsFile?.update([], now: true) == true ? nil : $0 },
      arguments[Options.trace].flatMap { TraceFile.canWrite($0) ? nil : $0 },
    ]
    if let path = files.compactMap(\.self).first { throw CommandFailure(Self.unwritable(path)) }
  }

  static func unwritable(_ path: String) -> RunRefusal {
    .refused("\(path) cannot be written", remedy: "look at its folder's permissions and at the disk")
  }

  /// Writes what is measured of `standings` where `--metrics` says.
  func record(_ standings: [RunStanding], in file: MetricsFile?, now: Bool = true) throws(RunRefusal) {
    guard let file, !file.update(standings.map { RunMetrics($0) }, now: now) else { return }
    throw Self.unwritable(file.path)
  }
}
