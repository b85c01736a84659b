internal import Migrate
internal import MigrateCommandLine
internal import Synchronization

/// Shows a run while it goes on: a bar on a terminal, lines elsewhere, JSON when asked. And hears Ctrl-C.
final class RunDisplay: Sendable {
  private struct Progress {
    var label = ""
    /// Of the whole run.
    var done = BatchCounts()
    /// Since this program works on it: the rate is its own.
    var here = BatchCounts()
    var expected = 0
    /// What keeps it from going on, and since when.
    var hold: (words: RunHold, since: ContinuousClock.Instant)?
    /// Whom the start waits for.
    var holders: String?
    /// Since when it stands still by request.
    var pausedAt: ContinuousClock.Instant?
    /// How long it did so before: no part of the rate.
    var stoodStill = Duration.zero
    /// Of the batches of this program, and when the last one of them had ended.
    var pace = RecentPace()
    var lastBatch = ContinuousClock.now
    /// Who has done batches, and is still there.
    var workers: Set<Int> = []
    /// What was foreseen when a tenth was done, to be held against the truth.
    var foreseen: (at: ContinuousClock.Instant, Forecast)?

    /// A tenth is the first that says more than nothing.
    mutating func foresee() {
      guard foreseen == nil, expected > 0, done.read * 10 >= expected,
        let forecast = pace.forecast(rows: expected - done.read)
      else { return }
      foreseen = (ContinuousClock.now, forecast)
    }

    mutating func took(_ record: BatchRecord) {
      let now = ContinuousClock.now
      pace.add(BatchPace(rows: record.counts.read, seconds: (now - lastBatch) / .seconds(1)))
      lastBatch = now
    }

    /// What held it before by the same cause has begun to do so then.
    mutating func hold(_ words: RunHold) {
      let since = hold.flatMap { $0.words.isLike(words) ? $0.since : nil }
      hold = (words, since ?? ContinuousClock.now)
    }
  }

  private let run: Run
  private let console: Console
  private let display: ProgressDisplay?
  private let recorder: RunRecorder
  private let begin = ContinuousClock.now
  private let progress = Mutex(Progress())

  private init(_ run: Run, _ console: Console) throws(RunRefusal) {
    self.run = run
    self.console = console
    recorder = try RunRecorder(run, console)
    display = console.progressDisplay
  }

  /// Does what is left of `run`, in the direction in which it goes, and says how it ended: the last line of the output.
  static func goOn(with run: Run, _ runs: borrowing Runs, _ console: Console) throws(RunRefusal) -> ExitCode {
    let display = try RunDisplay(run, console)
    // Who takes back what he has slowed down may have forgotten that.
    if run.direction == .revert, let brakes = try runs.brakes(run.id) { console.say(brakes) }
    if run.direction == .revert {
      let ahead = try runs.toRestore(run.id)
      display.progress.withLock { $0.pace = RecentPace(transactions: ahead) }
    }
    let control = RunControl()
    let watch = try? SignalWatch.start { signal, count in display.heard(signal, count, control) }
    defer { watch?.stop() }
    // A run that is held sends no events, and its bar and its metrics would look dead.
    let ticker = Task.detached {
      while !Task.isCancelled {
        try? await Task.sleep(for: .milliseconds(250))
        display.display?.refresh()
        display.recorder.tick()
      }
    }
    defer { ticker.cancel() }
    let outcome: RunOutcome
    do throws(RunRefusal) {
      switch run.direction {
      case .apply: outcome = try runs.apply(run, control: control) { display.show($0) }
      case .revert:
        outcome = try runs.revert(run, onConflict: run.conflictPolicy ?? .stop, control: control) { display.show($0) }
      }
    } catch {
      display.display?.finish()
      throw error
    }
    // The ledger's figures, not those that passed by: a batch whose COMMIT got no answer was never reported (P19).
    let done = try? runs.counts(run.id, run.direction)
    let undoBytes = display.recorder.keepsMetrics ? try? runs.standing(run.id).undoBytes : nil
    return display.conclude(outcome, done, undoBytes: undoBytes)
  }

  private func heard(_ signal: Signal, _ count: Int, _ control: RunControl) {
    if signal == .interrupt, count > 1 {
      control.requestCancel()
      display?.say("cancelling the statement; its batch is rolled back")
    } else {
      control.requestStop()
      display?.say("pausing at the edge of the batch; Ctrl-C once more cancels the statement")
    }
  }

  private func show(_ event: RunEvent) {
    progress.withLock { progress in
      take(event, &progress)
      recorder.take(
        event, done: progress.done, expected: progress.expected, workers: max(1, progress.workers.count), progress.pace)
      if console.isJSON {
        RunEventText(run.id).write(event, done: progress.done, console)
      } else {
        let latest = progress
        display?.show { [self] in state(latest) }
        if case .batch(let record) = event, console.arguments[Options.verbose] {
          display?.say(RunEventText.line(record))
        }
        // Said, since a narrow bar has no room for its note, and a log shows only some of them.
        if let line = RunEventText.line(event, run.id) { display?.say(line) }
      }
    }
  }

  private func take(_ event: RunEvent, _ progress: inout Progress) {
    switch event {
    case .started(_, let name, let direction, let done, let expected):
      progress.label = direction == .apply ? name : "revert \(name)"
      progress.done = done
      progress.expected = max(expected, done.read)
      progress.lastBatch = ContinuousClock.now
    case .waiting(let holders):
      progress.holders = holders.map(\.words).joined(separator: "; ")
      progress.hold(.waiting(holders))
    case .batch(let record):
      progress.hold = nil
      progress.holders = nil
      progress.done.add(record.counts)
      progress.here.add(record.counts)
      progress.expected = max(progress.expected, progress.done.read)
      progress.took(record)
      progress.workers.insert(record.worker)
      progress.foresee()
    case .again(let failed): progress.hold(.again(failed.next, failed.reason))
    case .reconnecting(let reason): progress.hold(.reconnecting(reason))
    case .reconnected: progress.hold = nil
    case .shorthanded(let worker, _), .left(let worker): progress.workers.remove(worker)
    // Rows of quarantine are not tried by what is shown here.
    case .unwatched, .warned, .gaveUp, .tried: break
    case .publishing, .published: progress.hold = nil
    case .holding(let reason):
      progress.hold(.holding(reason))
      progress.pausedAt = progress.pausedAt ?? ContinuousClock.now
    case .paused:
      progress.hold(.paused(run.id))
      progress.pausedAt = ContinuousClock.now
    case .resumed:
      progress.hold = nil
      if let moment = progress.pausedAt { progress.stoodStill += ContinuousClock.now - moment }
      progress.pausedAt = nil
      progress.lastBatch = ContinuousClock.now
    }
  }

  private func state(_ progress: Progress) -> ProgressState {
    let now = ContinuousClock.now
    let elapsed = now - begin
    let seconds = (elapsed - progress.stoodStill - (progress.pausedAt.map { now - $0 } ?? .zero)) / .seconds(1)
    // What stands has neither.
    let goes = progress.pausedAt == nil
    let rate = goes && seconds > 0 && progress.here.read > 0 ? Double(progress.here.read) / seconds : nil
    let forecast = goes ? progress.pace.forecast(rows: progress.expected - progress.done.read) : nil
    let kept = progress.done.rejected
    return ProgressState(
      "run \(run.id) \(progress.label)", rowsDone: progress.done.read,
      rowsTotal: progress.expected > 0 ? progress.expected : nil, rate: rate, elapsed: elapsed, left: forecast?.left,
      range: forecast?.range, isLeast: forecast?.isLeast == true,
      kept: kept > 0 ? Wording.count(kept, run.direction == .revert ? "conflict" : "reject") : nil,
      workers: progress.workers.count,
      note: progress.hold.map { $0.words.note(for: now - $0.since) })
  }

  /// The last line: `run 17 completed 1000000 rows 0 rejects 41.2 s`. Numbers are plain, so that it greps.
  private func conclude(_ outcome: RunOutcome, _ ledger: BatchCounts?, undoBytes: Int?) -> ExitCode {
    let end = RunEnd(outcome, of: run.id, rejected: ledger?.rejected ?? 0)
    var last = progress.withLock { $0 }
    last.done = ledger ?? last.done
    last.hold = nil
    // What is done has met as many rows as there were, whatever the statistics had promised.
    if end.isWhole { last.expected = last.done.read }
    display?.finish(showing: state(last))
    recorder.end(end.state, last.done, failure: end.failure?.message, undoBytes: undoBytes)
    let elapsed = ContinuousClock.now - begin
    if let failure = end.failure {
      let told = RunEnd.explanation(of: failure, remedy: failure.remedy(of: run.id, run.direction))
      console.explain(told, endingWith: end.code)
    }
    if let pause = end.pause { RunEnd.tell(pause, of: run.id, console) }
    if !end.isWhole, let holders = last.holders {
      console.say("the first batch has not begun: the start waited for \(holders)")
    }
    let foresight = end.isWhole ? last.foreseen.map { Foresight($0.1, took: ContinuousClock.now - $0.at) } : nil
    if console.isJSON {
      console.event(
        "ended",
        end.members(run.id, last.done, seconds: elapsed / .seconds(1)) + [
          .init("forecast", foresight?.document ?? .null)
        ])
    } else {
      // Of a short run there was nothing to foresee.
      if let foresight, elapsed >= .seconds(10) || console.arguments[Options.verbose] {
        console.say(foresight.line(unicode: console.talkTerminal.unicode))
      }
      if let extra = end.advice { console.say(extra) }
      console.print(end.line(run.id, last.done, elapsed))
    }
    return end.code
  }
}

/// What was foreseen when a tenth of the rows was done, and what the rest has taken then.
private struct Foresight {
  private let forecast: Forecast
  private let took: Duration

  init(_ forecast: Forecast, took: Duration) {
    self.forecast = forecast
    self.took = took
  }

  func line(unicode: Bool) -> String {
    let range = forecast.range.flatMap { Wording.range($0, unicode: unicode) }
    return "foreseen at a tenth: \(Wording.roughly(forecast.left)) left" + (range.map { " (\($0))" } ?? "")
      + "; it took \(Wording.duration(took))"
  }

  var document: JSON {
    func seconds(_ duration: Duration?) -> JSON { duration.map { .number(String($0 / .seconds(1))) } ?? .null }
    return .object([
      .init("seconds_left", seconds(forecast.left)), .init("low", seconds(forecast.low)),
      .init("high", seconds(forecast.high)), .init("seconds_taken", seconds(took)),
    ])
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
