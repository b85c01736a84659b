internal import Migrate
internal import MigrateCommandLine

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
    let outcome = try console.ask { () throws(RunRefusal) in
      try runs.retry(summary, reason: console.arguments[Options.reason], control: control) { event in
        if let line = RunEventText.line(event, summary.id) { console.say(line) }
      }
    }
    let done = try console.ask { () throws(RunRefusal) in try runs.counts(summary.id, .apply) }
    return try end(outcome, summary, done, of: waiting, ContinuousClock.now - begin, console)
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
