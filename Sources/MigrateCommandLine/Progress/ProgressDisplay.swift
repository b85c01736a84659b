private import Synchronization

/// Shows a progress bar below what else is said: in place on a terminal, as lines of a log elsewhere.
package final class ProgressDisplay: Sendable {
  /// How often at most: often enough to look alive on a terminal, seldom enough not to fill a log.
  private static let pause = (terminal: Duration.milliseconds(100), log: Duration.seconds(5))
  /// The same while nothing comes but the time that passes.
  private static let idlePause = (terminal: Duration.seconds(1), log: Duration.seconds(60))
  private static let toLineStart = "\r"
  private static let clearToEnd = "\u{1B}[K"

  private struct State {
    var latest: (@Sendable () -> ProgressState)?
    /// Whether it has come since the last drawing.
    var isNew = false
    /// What stands on the terminal's last line.
    var drawn = ""
    /// The last line of the log.
    var logged = ""
    var lastDrawn: ContinuousClock.Instant?
    var isFinished = false
  }

  private let terminal: Terminal
  private let width: @Sendable () -> Int
  private let now: @Sendable () -> ContinuousClock.Instant
  private let write: @Sendable (String) -> Void
  private let state = Mutex(State())

  /// - Parameters:
  ///   - width: asked before each drawing, since windows change.
  ///   - write: gets each drawing in one piece, so that nothing flickers.
  package init(
    on terminal: Terminal, width: @escaping @Sendable () -> Int,
    now: @escaping @Sendable () -> ContinuousClock.Instant = { ContinuousClock.now },
    write: @escaping @Sendable (String) -> Void
  ) {
    self.terminal = terminal
    self.width = width
    self.now = now
    self.write = write
  }

  /// On `output`.
  package convenience init(on output: Output, terminal: Terminal, environment: Environment) {
    self.init(
      on: terminal, width: { Terminal.width(of: output.descriptor, environment: environment) },
      write: { output.write($0) })
  }

  /// Shows `progress`, or keeps it until ``refresh()`` when it comes too soon.
  package func show(_ progress: ProgressState) { show { progress } }

  /// The same of what changes by itself as time passes; `progress` is asked again at each drawing.
  package func show(_ progress: @escaping @Sendable () -> ProgressState) {
    state.withLock { state in
      state.latest = progress
      state.isNew = true
      draw(&state)
    }
  }

  /// Draws what came too soon, or has changed by itself, if it is time. To be called now and then where updates may cease: a run
  /// that is held sends none.
  package func refresh() {
    state.withLock { draw(&$0) }
  }

  /// Says `line` above the bar.
  package func say(_ line: String) {
    state.withLock { state in
      if state.drawn.isEmpty {
        write(line + "\n")
      } else {
        write(Self.toLineStart + Self.clearToEnd + line + "\n" + state.drawn)
      }
    }
  }

  /// Ends the display; nothing is drawn any more.
  /// - Parameter last: what stays to be read, however soon after the one before. Without it the bar is taken away.
  package func finish(showing last: ProgressState? = nil) {
    state.withLock { state in
      if state.isFinished { return }
      if let last {
        state.latest = { last }
        state.isNew = true
        state.lastDrawn = nil
        draw(&state)
        if terminal.isTerminal { write("\n") }
      } else if !state.drawn.isEmpty {
        write(Self.toLineStart + Self.clearToEnd)
      }
      state.drawn = ""
      state.latest = nil
      state.isFinished = true
    }
  }

  private func draw(_ state: inout State) {
    guard let progress = state.latest, !state.isFinished else { return }
    let moment = now()
    let pauses = state.isNew ? Self.pause : Self.idlePause
    let pause = terminal.isTerminal ? pauses.terminal : pauses.log
    if let last = state.lastDrawn, last.duration(to: moment) < pause { return }
    state.lastDrawn = moment
    state.isNew = false
    let bar = ProgressBar(unicode: terminal.unicode)
    guard terminal.isTerminal else {
      let line = bar.plain(progress())
      guard !line.utf8.elementsEqual(state.logged.utf8) else { return }
      state.logged = line
      write(line + "\n")
      return
    }
    // The last column stays free: behind a full line, clearing to the end would take its last letter away.
    let line = bar.line(progress(), width: max(1, width() - 1))
    guard !line.utf8.elementsEqual(state.drawn.utf8) else { return }
    state.drawn = line
    write(Self.toLineStart + line + Self.clearToEnd)
  }
}
