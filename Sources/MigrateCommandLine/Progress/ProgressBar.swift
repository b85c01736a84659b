/// A ``ProgressState`` as a line. Pure: the same state and width give the same line.
package struct ProgressBar: Sendable {
  /// Below this a bar tells nothing.
  private static let narrowestBar = 5
  /// Above this it tells nothing more.
  private static let widestBar = 40
  private static let gap = 2

  private let unicode: Bool

  package init(unicode: Bool) {
    self.unicode = unicode
  }

  /// At most `width` columns: what counts most comes first in the choice, and what does not fit is left out. No number is
  /// ever cut, since half a number is another number.
  package func line(_ state: ProgressState, width: Int) -> String {
    let label = cut(Printable.line(state.label), to: min(width, max(8, width / 4)))
    let note = state.note.map { cut(Printable.line($0), to: max(10, width / 3)) }
    let counts = Self.counts(state)
    // In the order of importance.
    let wanted: [(Part, String)?] = [
      label.isEmpty ? nil : (.label, label),
      state.percent.map { (.percent, ColumnWidth.rightAligned("\($0) %", to: 5)) },
      note.map { (.note, $0) },
      state.kept.map { (.kept, Printable.line($0)) },
      (.count, counts.short),
      state.fraction.map { _ in (.bar, ColumnWidth.blanks(Self.narrowestBar)) },
      state.left.map { (.time, "\(Wording.left($0, isLeast: state.isLeast)) left") },
      (.count, counts.long),
      time(state).map { (.time, $0) },
      state.rate.flatMap(Self.rate).map { (.rate, $0) },
      Self.workers(state).map { (.workers, $0) },
      state.elapsed.map { (.elapsed, Wording.duration($0)) },
    ]
    var chosen: [Part: String] = [:]
    for (part, text) in wanted.compactMap({ $0 }) {
      var attempt = chosen
      attempt[part] = text
      if Self.columns(of: attempt) <= width { chosen = attempt }
    }
    if let fraction = state.fraction, chosen[.bar] != nil {
      let room = Self.narrowestBar + width - Self.columns(of: chosen)
      chosen[.bar] = bar(fraction, columns: min(room, Self.widestBar))
    }
    return Part.allCases.compactMap { chosen[$0] }.joined(separator: ColumnWidth.blanks(Self.gap))
  }

  /// Everything that is known, without a bar, for a log.
  package func plain(_ state: ProgressState) -> String {
    let parts: [String?] = [
      Printable.line(state.label), state.percent.map { "\($0) %" }, Self.counts(state).long,
      state.kept.map(Printable.line), state.rate.flatMap(Self.rate), Self.workers(state),
      state.elapsed.map(Wording.duration), time(state),
      state.note.map(Printable.line),
    ]
    return parts.compactMap { $0 }.filter { !$0.utf8.isEmpty }.joined(separator: ColumnWidth.blanks(Self.gap))
  }

  /// The parts of a line, in the order in which they stand.
  private enum Part: CaseIterable { case label, bar, percent, count, kept, rate, workers, elapsed, time, note }

  private static func columns(of parts: [Part: String]) -> Int {
    parts.values.reduce(0) { $0 + ColumnWidth.of($1) } + gap * max(0, parts.count - 1)
  }

  private static func counts(_ state: ProgressState) -> (short: String, long: String) {
    let done = Wording.count(state.rowsDone)
    guard let total = state.rowsTotal, total > 0, state.rowsDone <= total else { return (done, done + " rows") }
    return (done, "\(done) of ~\(Wording.count(total)) rows")
  }

  /// With how sure it is: `41 s left (35–52 s)`.
  private func time(_ state: ProgressState) -> String? {
    guard let left = state.left else { return nil }
    let range = state.range.flatMap { Wording.range($0, unicode: unicode) }
    return "\(Wording.left(left, isLeast: state.isLeast)) left" + (range.map { " (\($0))" } ?? "")
  }

  /// One is what everybody expects.
  private static func workers(_ state: ProgressState) -> String? {
    state.workers.flatMap { $0 > 1 ? Wording.count($0, "worker") : nil }
  }

  private static func rate(_ rate: Double) -> String? {
    guard rate.isFinite, rate >= 0, let whole = Int(exactly: min(rate, 1e15).rounded()) else { return nil }
    return "\(Wording.count(whole)) rows/s"
  }

  /// Full to the last column only when all is done.
  private func bar(_ fraction: Double, columns: Int) -> String {
    if unicode {
      let eighths = Int(fraction * Double(columns * 8))
      let partial = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8]
      let filled = String(repeating: "█", count: eighths / 8) + partial
      return filled + String(repeating: "░", count: columns - ColumnWidth.of(filled))
    }
    let inner = columns - 2
    let filled = Int(fraction * Double(inner))
    return "[" + String(repeating: "#", count: filled) + String(repeating: "-", count: inner - filled) + "]"
  }

  private func cut(_ text: String, to width: Int) -> String {
    ColumnWidth.truncated(text, to: width, ellipsis: unicode ? "…" : "...")
  }
}
