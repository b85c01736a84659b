internal import Migrate
internal import MigrateCommandLine
internal import Synchronization

/// `migrate apply --rejects RUN`: the rows in quarantine once more, under the plan that has left them out.
enum RetryCommand {
  static func run(_ reference: String, _ console: Console) throws(CommandFailure) -> ExitCode {
    let runs = try console.runs()
    let begin = ContinuousClock.now
    let summary = try console.ask { () throws(RunRefusal) in try runs.find(reference) }
    let waiting = try console.ask { () throws(RunRefusal) in try runs.reasons(summary.id).rows }
    guard waiting > 0 else {
      console.print("run \(summary.id) \(summary.name) has no row in quarantine")
      return .done
    }
    console.say("\(Wording.count(waiting, "row")) in quarantine of run \(summary.id) \(summary.name)")
    guard try console.allows("apply --rejects") else { return .interrupted }
    let control = RunControl()
    let watch = try? SignalWatch.start { _, count in count > 1 ? control.requestCancel() : control.requestStop() }
    defer { watch?.stop() }
    let display = RetryDisplay(summary, waiting, console)
    let retried = Result { () throws(RunRefusal) in
      try runs.retry(summary, reason: console.arguments[Options.reason], control: control) { display.show($0) }
    }
    display.finish()
    let outcome = try console.ask(retried.get)
    // Who was taken over has lost this session, too.
    let done: BatchCounts
    if let known = try? runs.counts(summary.id, .apply) {
      done = known
    } else {
      done = try newCounts(summary.id, console)
    }
    return try end(outcome, summary, done, of: waiting, ContinuousClock.now - begin, console)
  }

  private static func newCounts(_ run: Int64, _ console: Console) throws(CommandFailure) -> BatchCounts {
    let runs = try console.runs()
    return try console.ask { () throws(RunRefusal) in try runs.counts(run, .apply) }
  }

  private static func end(
    _ outcome: RetryOutcome, _ summary: RunSummary, _ done: BatchCounts, of waiting: Int, _ elapsed: Duration,
    _ console: Console
  ) throws(CommandFailure) -> ExitCode {
    let (word, code): (String, ExitCode) =
      switch outcome {
      case .done: (summary.state.rawValue, done.rejected > 0 ? .rejects : .done)
      // The run itself is what it was.
      case .paused: (summary.state.rawValue, .interrupted)
      case .takenOver: ("taken over", .interrupted)
      case .failed(let failure):
        throw .refused(
          "row \(failure.culprits.map(KeyRangeText.words) ?? "") of run \(summary.id) cannot be tried again: \(failure.message)",
          remedy: failure.hint ?? "it and those behind it wait in quarantine")
      }
    if outcome == .paused {
      console.say("stopped; `migrate apply --rejects \(summary.id)` tries those that wait")
    }
    // Somebody else may have tried them at the same time, so this says what has become of them, whoever did it.
    let resolved = max(0, waiting - done.rejected)
    console.say("\(Wording.count(resolved)) of \(Wording.count(waiting, "row")) resolved")
    if done.rejected > 0 { console.say(RunEnd.quarantine(done.rejected, of: summary.id)) }
    let tenths = Int(elapsed / .milliseconds(100))
    if console.isJSON {
      console.event(
        "ended",
        [
          .init("run", .integer(summary.id)), .init("state", .string(word)), .init("rows", .integer(done.changed)),
          .init("rows_read", .integer(done.read)), .init("rejects", .integer(done.rejected)),
          .init("resolved", .integer(resolved)),
          .init("exit_code", .integer(Int(code.rawValue))),
        ])
    } else {
      console.print(
        "run \(summary.id) \(word) \(done.changed) rows \(done.rejected) rejects \(tenths / 10).\(tenths % 10) s")
    }
    return code
  }
}

/// How many of the rows were tried so far: a bar on a terminal, lines elsewhere, events when asked for JSON.
private final class RetryDisplay: Sendable {
  private let summary: RunSummary
  private let waiting: Int
  private let console: Console
  private let bar: ProgressDisplay?
  private let begin = ContinuousClock.now
  private let tried = Atomic(0)

  init(_ summary: RunSummary, _ waiting: Int, _ console: Console) {
    (self.summary, self.waiting, self.console) = (summary, waiting, console)
    bar = console.progressDisplay
  }

  func show(_ event: RunEvent) {
    if console.isJSON { RunEventText(summary.id).write(event, done: BatchCounts(), console) }
    if case .tried(let rows) = event {
      let done = tried.add(rows, ordering: .sequentiallyConsistent).newValue
      bar?.show(state(done, ContinuousClock.now - begin))
    }
    if let line = RunEventText.line(event, summary.id) { bar?.say(line) }
  }

  func finish() { bar?.finish() }

  private func state(_ done: Int, _ elapsed: Duration) -> ProgressState {
    let rate = elapsed > .zero ? Double(done) / (elapsed / .seconds(1)) : nil
    return ProgressState(
      "run \(summary.id) \(summary.name) --rejects", rowsDone: done, rowsTotal: max(waiting, done), rate: rate,
      elapsed: elapsed, left: rate.map { .seconds(Double(max(0, waiting - done)) / $0) })
  }
}
