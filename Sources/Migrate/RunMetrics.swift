package import MigrateLedger

/// What is measured of a run, for those who collect it from many places.
package struct RunMetrics: Sendable {
  package let run: Int64
  package let name: String
  /// In a word, `interrupted` included.
  package var state: String
  package let direction: RunDirection
  /// Why it holds, while it does.
  package var holdReason: String?
  package var done = BatchCounts()
  package var expected: Int?
  /// Rows a second.
  package var rate: Double?
  package var left: Duration?
  package var workers: Int?
  package var undoBytes: Int?
  /// Of the batches that this program has done; `nil` for who only looks.
  package var batches: BatchTimes?

  package init(run: Int64, name: String, state: String, direction: RunDirection) {
    self.run = run
    self.name = name
    self.state = state
    self.direction = direction
  }
}

/// How long batches took, in classes as a histogram of Prometheus has them.
package struct BatchTimes: Sendable {
  /// Seconds; a batch belongs to every class that it does not exceed.
  static let bounds = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

  private(set) var counts = [Int](repeating: 0, count: bounds.count)
  private(set) var count = 0
  private(set) var seconds = 0.0
  /// Tries that were in vain.
  package var retries = 0

  package init() {}

  package mutating func add(_ duration: Duration) {
    let value = duration / .seconds(1)
    for index in Self.bounds.indices where value <= Self.bounds[index] { counts[index] += 1 }
    count += 1
    seconds += value
  }
}

extension RunMetrics {
  package init(_ standing: RunStanding) {
    self.init(run: standing.id, name: standing.name, state: standing.word, direction: standing.direction)
    holdReason = standing.state == .holding && !standing.isInterrupted ? standing.holdReason ?? "" : nil
    done = standing.done
    expected = standing.expected
    rate = standing.rate
    left = standing.left
    workers = standing.workers.count
    undoBytes = standing.undoBytes
  }

  /// Every word for a state.
  private static let states = RunState.allCases.map(\.rawValue) + ["interrupted"]

  /// `runs` in the text format of Prometheus, version 0.0.4: each family once, under its HELP and TYPE.
  package static func text(_ runs: [RunMetrics]) -> String {
    var text = ""
    func family(_ name: String, _ type: String, _ help: String, _ samples: (RunMetrics) -> [(String, Double)]) {
      let lines = runs.flatMap { run in samples(run).map { "\($0.0) \(number($0.1))\n" } }
      guard !lines.isEmpty else { return }
      text += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n" + lines.joined()
    }
    func one(_ name: String, _ type: String, _ help: String, _ value: (RunMetrics) -> Double?) {
      family(name, type, help) { run in value(run).map { [("\(name){\(run.labels)}", $0)] } ?? [] }
    }
    family("migrate_run_state", "gauge", "1 for the state that the run is in, 0 for the others.") { run in
      states.map { ("migrate_run_state{\(run.labels),state=\"\($0)\"}", $0.utf8.elementsEqual(run.state.utf8) ? 1 : 0) }
    }
    one("migrate_run_holding", "gauge", "1 while something makes the run hold, which goes on by itself, else 0.") {
      $0.holdReason == nil ? 0 : 1
    }
    family("migrate_run_held_by", "gauge", "1 for the condition that makes the run hold, as its definition calls it.") {
      run in
      run.condition.map { [("migrate_run_held_by{\(run.labels),condition=\"\(escaped($0))\"}", 1)] } ?? []
    }
    one("migrate_batches_total", "counter", "Batches that have committed.") { Double($0.done.batches) }
    one("migrate_rows_read_total", "counter", "Eligible rows that batches have met.") { Double($0.done.read) }
    one("migrate_rows_changed_total", "counter", "Rows written; of a revert, rows restored.") {
      Double($0.done.changed)
    }
    one("migrate_rows_unchanged_total", "counter", "Rows that held their new values already.") {
      Double($0.done.unchanged)
    }
    one("migrate_rows_rejected_total", "counter", "Rows left out; of a revert, rows in conflict.") {
      Double($0.done.rejected)
    }
    one("migrate_rows_expected", "gauge", "Rows that the run will meet, by the statistics of the table.") {
      $0.expected.map(Double.init)
    }
    one("migrate_rows_per_second", "gauge", "Rows a second over the last batches.") { $0.rate }
    one("migrate_time_left_seconds", "gauge", "Time until the end, by the pace of the last batches.") {
      $0.left.map { $0 / .seconds(1) }
    }
    one("migrate_workers", "gauge", "Workers that give signs of life.") { $0.workers.map(Double.init) }
    one("migrate_undo_bytes", "gauge", "Size of what is kept for the way back.") { $0.undoBytes.map(Double.init) }
    one("migrate_batch_retries_total", "counter", "Tries at a batch that were in vain.") {
      $0.batches.map { Double($0.retries) }
    }
    let duration = "migrate_batch_duration_seconds"
    family(duration, "histogram", "Duration of the transactions of batches.") { run in
      guard let times = run.batches else { return [] }
      return zip(BatchTimes.bounds, times.counts).map {
        ("\(duration)_bucket{\(run.labels),le=\"\(number($0))\"}", Double($1))
      }
        + [
          ("\(duration)_bucket{\(run.labels),le=\"+Inf\"}", Double(times.count)),
          ("\(duration)_sum{\(run.labels)}", times.seconds), ("\(duration)_count{\(run.labels)}", Double(times.count)),
        ]
    }
    return text
  }

  /// What stands before the reason is one of the names that the definition has, or of those that are ready-made.
  private var condition: String? {
    let name = holdReason?.utf8.prefix { $0 != UInt8(ascii: ":") }
    return name.flatMap { $0.isEmpty ? nil : String(decoding: $0, as: UTF8.self) }
  }

  private var labels: String {
    "run=\"\(run)\",name=\"\(Self.escaped(name))\",direction=\"\(direction.rawValue)\""
  }

  /// A backslash, a quote and a newline are the ones that a label's value may not hold as they are.
  private static func escaped(_ value: String) -> String {
    String(
      decoding: value.utf8.flatMap { byte -> [UInt8] in
        switch byte {
        case UInt8(ascii: "\\"): Array("\\\\".utf8)
        case UInt8(ascii: "\""): Array("\\\"".utf8)
        case UInt8(ascii: "\n"): Array("\\n".utf8)
        default: [byte]
        }
      }, as: UTF8.self)
  }

  private static func number(_ value: Double) -> String {
    Int(exactly: value).map { String($0) } ?? String(value)
  }
}
