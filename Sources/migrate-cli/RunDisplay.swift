internal import Migrate
internal import MigrateCommandLine
internal import Synchronization

/// Shows a run while it goes on: a bar on a terminal, lines elsewhere, JSON when asked. And hears Ctrl-C.
final class RunDisplay: Sendable {
  private struct Progress {
    var label = ""
    var done = BatchCounts()
    var here = BatchCounts()
    var expected = 0
    var note: String?
  }

  private let run: Run
  private let console: Console
  private let display: ProgressDisplay?
  private let begin = ContinuousClock.now
  private let progress = Mutex(Progress())

  private init(_ run: Run, _ console: Console) {
    self.run = run
    self.console = console
    let terminal = Terminal(console.talk, color: console.arguments[Options.color], environment: .process)
    display =
      console.isJSON || console.isQuiet ? nil : ProgressDisplay(on: console.talk, terminal: terminal, environment: .process)
  }

  /// Runs `body`, and says how it ended: the last line of the output.
  static func following(
    _ run: Run, _ console: Console,
    _ body: (RunControl, @escaping @Sendable (RunEvent) -> Void) throws(RunRefusal) -> RunOutcome
  ) throws(RunRefusal) -> ExitCode {
    let display = RunDisplay(run, console)
    let control = RunControl()
    let watch = try? SignalWatch.start { signal, count in display.heard(signal, count, control) }
    defer { watch?.stop() }
    let outcome: RunOutcome
    do throws(RunRefusal) { outcome = try body(control) { display.show($0) } } catch {
      display.display?.finish()
      throw error
    }
    display.display?.finish()
    return display.conclude(outcome)
  }

  private func heard(_ signal: Signal, _ count: Int, _ control: RunControl) {
    if signal == .interrupt, count > 1 {
      control.requestCancel()
    } else {
      control.requestStop()
      display?.say("pausing at the edge of the batch; Ctrl-C once more cancels the statement")
    }
  }

  private func show(_ event: RunEvent) {
    progress.withLock { progress in
      switch event {
      case .started(_, let name, let direction, let done, let expected):
        progress.label = direction == .apply ? name : "revert \(name)"
        progress.done = done
        progress.expected = max(expected, done.read)
      case .waiting(let left): progress.note = "waiting for \(left) transactions that write to the table"
      case .batch(let record):
        progress.note = nil
        progress.done.add(record.counts)
        progress.here.add(record.counts)
      case .again(_, let attempt, let reason): progress.note = "try \(attempt): \(reason)"
      case .reconnecting(let reason): progress.note = "connecting again: \(reason)"
      case .paused: progress.note = "paused; `migrate resume \(run.id)` goes on"
      case .resumed: progress.note = nil
      }
      if console.isJSON { emit(event, progress) } else { display?.show(state(progress)) }
    }
  }

  private func state(_ progress: Progress) -> ProgressState {
    let elapsed = ContinuousClock.now - begin
    let seconds = elapsed / .seconds(1)
    let rate = seconds > 0 && progress.here.read > 0 ? Double(progress.here.read) / seconds : nil
    let left = rate.flatMap { rate -> Duration? in
      let rows = progress.expected - progress.done.read
      return rows > 0 && rate > 0 ? .seconds(Double(rows) / rate) : nil
    }
    return ProgressState(
      "run \(run.id) \(progress.label)", rowsDone: progress.done.read,
      rowsTotal: progress.expected > 0 ? progress.expected : nil, rate: rate, elapsed: elapsed, left: left,
      note: progress.note)
  }

  private func emit(_ event: RunEvent, _ progress: Progress) {
    let run = JSON.Member("run", .number(String(self.run.id)))
    switch event {
    case .started(_, let name, let direction, let done, let expected):
      console.event(
        "started",
        [
          run, .init("name", .string(name)), .init("direction", .string(direction.rawValue)),
          .init("rows_done", .integer(done.read)), .init("rows_expected", .integer(expected)),
        ])
    case .waiting(let left): console.event("waiting", [run, .init("transactions", .integer(left))])
    case .batch(let record):
      console.event(
        "batch",
        [
          run, .init("ordinal", .integer(record.ordinal)), .init("rows_read", .integer(record.counts.read)),
          .init("rows_changed", .integer(record.counts.changed)),
          .init("seconds", .number(String(record.duration / .seconds(1)))),
          .init("rows_done", .integer(progress.done.read)),
        ])
    case .again(let ordinal, let attempt, let reason):
      console.event(
        "again",
        [run, .init("ordinal", .integer(ordinal)), .init("attempt", .integer(attempt)), .init("reason", .string(reason))])
    case .reconnecting(let reason): console.event("reconnecting", [run, .init("reason", .string(reason))])
    case .paused: console.event("paused", [run])
    case .resumed: console.event("resumed", [run])
    }
  }

  /// The last line: `run 17 completed 1000000 rows 0 rejects 41.2 s`. Numbers are plain, so that it greps.
  private func conclude(_ outcome: RunOutcome) -> ExitCode {
    let done = progress.withLock { $0.done }
    let seconds = (ContinuousClock.now - begin) / .seconds(1)
    let time = "\(Int(seconds)).\(Int(seconds * 10) % 10) s"
    let (word, code, failure, extra) = Self.words(outcome)
    if let failure { console.explain(.refused(Self.text(failure), remedy: failure.hint ?? "mend it, then `migrate apply \(run.name)` goes on at this batch")) }
    let rejects = outcome.conflicts.map { "\($0) conflicts" } ?? "\(done.rejected) rejects"
    if console.isJSON {
      console.event(
        "ended",
        [
          .init("run", .number(String(run.id))), .init("state", .string(word)), .init("rows", .integer(done.changed)),
          .init("rows_read", .integer(done.read)), .init("rejects", .integer(done.rejected)),
          .init("seconds", .number(String(seconds))), .init("exit_code", .integer(Int(code.rawValue))),
        ])
    } else {
      if let extra { console.say(extra) }
      console.print("run \(run.id) \(word) \(done.changed) rows \(rejects) \(time)")
    }
    return code
  }

  private static func words(_ outcome: RunOutcome) -> (String, ExitCode, Failure?, String?) {
    switch outcome {
    case .completed(let leftBehind):
      let left = leftBehind ?? 0
      return (
        "completed", .done, nil,
        left > 0 ? "\(left) rows became eligible behind the batches and were left; `migrate apply --again` does them" : nil
      )
    case .reverted(let conflicts):
      return ("reverted", conflicts > 0 ? .conflicts : .done, nil, nil)
    case .paused: return ("paused", .interrupted, nil, nil)
    case .cancelled: return ("cancelled", .interrupted, nil, nil)
    case .failed(let failure): return ("failed", .failed, failure, nil)
    case .held(let failure): return ("paused", .interrupted, failure, nil)
    case .conflicts(let count):
      return (
        "stopped", .conflicts, nil,
        "\(count) rows were changed since; nothing of them is touched. `--on-conflict skip` restores the others, `force` all"
      )
    case .takenOver: return ("taken over", .interrupted, nil, "another worker has taken the run over")
    }
  }

  private static func text(_ failure: Failure) -> String {
    let state = failure.sqlState.map { " [\($0)]" } ?? ""
    let detail = failure.detail.map { "\n  detail: \($0)" } ?? ""
    let range = failure.after.map { "behind key (\($0.map { $0 ?? "NULL" }.joined(separator: ", ")))" } ?? "from the first key on"
    return failure.message + state + detail + "\n  batch: " + range
  }
}

extension RunOutcome {
  var conflicts: Int? {
    switch self {
    case .reverted(let count), .conflicts(let count): count
    case .completed, .paused, .cancelled, .failed, .held, .takenOver: nil
    }
  }
}

extension BatchCounts {
  mutating func add(_ other: BatchCounts) {
    batches += other.batches
    read += other.read
    changed += other.changed
    unchanged += other.unchanged
    rejected += other.rejected
  }
}
