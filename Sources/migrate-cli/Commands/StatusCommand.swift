internal import Migrate
internal import MigrateCommandLine

/// `migrate status`: state, progress, rate, time left and what holds a run.
enum StatusCommand {
  /// Runs that have ended and are shown besides those that have not.
  private static let few = 5

  static func run(_ console: Console) throws(CommandFailure) -> ExitCode {
    let runs = try console.runs()
    do throws(RunRefusal) {
      guard let number = try number(runs, console) else { return try all(runs, console) }
      let standing =
        console.arguments[Options.watch]
        ? try StatusWatch(console).follow(number, runs) : try runs.standing(number)
      try console.record([standing], in: console.metricsFile)
      guard console.arguments[Options.exitCode] else {
        show(standing, console)
        return .done
      }
      // A script that is quiet has asked for the code alone.
      if !console.isQuiet { show(standing, console) }
      return code(standing)
    } catch { throw CommandFailure(error) }
  }

  /// The run to show; with `--watch` alone the only one that is not finished.
  private static func number(_ runs: borrowing Runs, _ console: Console) throws(RunRefusal) -> Int64? {
    if let reference = console.arguments[Positionals.shown] { return try runs.steered(reference.text).id }
    guard console.arguments[Options.watch] else { return nil }
    let unfinished = try runs.standings(few: 0).unfinished
    guard unfinished.count < 2 else {
      throw .refused(
        "\(unfinished.count) runs are not finished", remedy: "say which: `migrate status \(unfinished[0].id) --watch`")
    }
    return unfinished.first?.id
  }

  private static func all(_ runs: borrowing Runs, _ console: Console) throws(RunRefusal) -> ExitCode {
    let (unfinished, ended) = try runs.standings(few: few)
    try console.record(unfinished + ended, in: console.metricsFile)
    if console.isJSON {
      console.print(JSON.array((unfinished + ended).map(StatusText.document)).compact)
    } else if unfinished.isEmpty && ended.isEmpty {
      console.say("no runs yet; `migrate apply NAME` begins one")
    } else {
      if unfinished.isEmpty { console.say("no run is unfinished; the last ones:") }
      let blocks = unfinished.map { StatusText.block($0, console) }
      if !blocks.isEmpty { console.output.write(blocks.joined(separator: "\n")) }
      if !ended.isEmpty {
        console.output.write((blocks.isEmpty ? "" : "\n") + StatusText.table(ended, console))
      }
    }
    guard console.arguments[Options.exitCode] else { return .done }
    return unfinished.first.map(code) ?? .done
  }

  private static func show(_ standing: RunStanding, _ console: Console) {
    if console.isJSON {
      console.print(StatusText.document(standing).compact)
    } else {
      console.output.write(StatusText.block(standing, console))
    }
  }

  /// 0 only when the run is complete.
  static func code(_ standing: RunStanding) -> ExitCode {
    switch standing.state {
    case .completed: standing.done.rejected > 0 ? .rejects : .done
    case .failed: .failed
    case .reverted where standing.done.rejected > 0: .conflicts
    case .running, .holding, .pausing, .paused, .cancelling, .cancelled, .reverting, .reverted: .interrupted
    }
  }
}

/// `status --watch`: on a terminal what `status` shows, changing in place; lines of a log elsewhere; an event for each look with
/// `--json`; until the run ends.
struct StatusWatch {
  private let console: Console
  private let display: ProgressDisplay?

  init(_ console: Console) {
    self.console = console
    display = console.talkTerminal.isTerminal ? nil : console.progressDisplay
  }

  func follow(_ run: Int64, _ runs: borrowing Runs) throws(RunRefusal) -> RunStanding {
    var painter = BlockPainter()
    let metrics = console.metricsFile
    try console.record([try runs.standing(run)], in: metrics)
    defer {
      display?.finish()
      // What stays to be read is a result, and goes where results go.
      console.talk.write(painter.clear(width: width))
    }
    let last = try runs.follow(run) { standing in
      // What could be written at the beginning is tried again at the next look.
      try? console.record([standing], in: metrics)
      if console.isJSON {
        console.event("status", StatusText.document(standing).members)
      } else if let display {
        display.show(StatusText.progress(standing))
      } else if !console.isQuiet {
        paint(standing, &painter)
      }
    }
    display?.finish(showing: StatusText.progress(last))
    return last
  }

  private var width: Int { Terminal.width(of: console.talk.descriptor, environment: .process) }

  private func paint(_ standing: RunStanding, _ painter: inout BlockPainter) {
    let block = StatusText.block(standing, console, width: width)
    let lines = block.split(separator: "\n", omittingEmptySubsequences: true).map(String.init)
    let height = Terminal.height(of: console.talk.descriptor, environment: .process)
    let text = painter.paint(lines, width: width, height: height, unicode: console.talkTerminal.unicode)
    if !text.isEmpty { console.talk.write(text) }
  }
}
