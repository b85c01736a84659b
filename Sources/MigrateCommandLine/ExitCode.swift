/// How the program ends; the one place that knows the numbers. Shown in `--help` and in the JSON output.
package enum ExitCode: Int32, CaseIterable, Sendable {
  case done = 0
  case failed = 1
  case usage = 2
  case rejects = 3
  case interrupted = 4
  case conflicts = 5
  /// What was waited for has not come in the time given.
  case timedOut = 6

  package var meaning: String {
    switch self {
    case .done: "done"
    case .failed: "failed"
    case .usage: "usage or definition error"
    case .rejects: "done with rejects"
    case .interrupted: "paused, held, cancelled or taken back"
    case .conflicts: "conflicts"
    case .timedOut: "timed out"
    }
  }
}
