internal import Migrate
internal import MigrateCommandLine

/// What happens in a run, as an event a line.
struct RunEventText {
  private let id: Int64
  private let run: JSON.Member

  init(_ run: Int64) {
    id = run
    self.run = .init("run", .integer(run))
  }

  func write(_ event: RunEvent, done: BatchCounts, _ console: Console) {
    switch event {
    case .started(_, let name, let direction, let done, let expected):
      console.event(
        "started",
        [
          run, .init("name", .string(name)), .init("direction", .string(direction.rawValue)),
          .init("rows_done", .integer(done.read)), .init("rows_expected", .integer(expected)),
        ])
    case .waiting(let holders):
      console.event(
        "waiting",
        [
          run, .init("transactions", .integer(holders.count)),
          .init("holders", .array(holders.map { .object(Self.members($0)) })),
        ])
    case .batch(let record):
      console.event(
        "batch",
        [
          run, .init("worker", .integer(record.worker)), .init("slice", .integer(record.place.slice)),
          .init("ordinal", .integer(record.ordinal)),
          .init("rows_read", .integer(record.counts.read)),
          .init("rows_changed", .integer(record.counts.changed)),
          .init("rows_rejected", .integer(record.counts.rejected)),
          .init("seconds", .number(String(record.duration / .seconds(1)))), .init("rows_done", .integer(done.read)),
        ])
    case .publishing(let rows): console.event("publishing", [run, .init("rows", .integer(rows))])
    case .published(let late, let duration):
      console.event(
        "published",
        [
          run, .init("rows_recomputed", .integer(late)), .init("seconds", .number(String(duration / .seconds(1)))),
        ])
    case .tried(let rows): console.event("tried", [run, .init("rows", .integer(rows))])
    case .again(let failed):
      console.event(
        "again",
        [
          run, .init("slice", .integer(failed.place.slice)), .init("ordinal", .integer(failed.place.ordinal)),
          .init("attempt", .integer(failed.next)), .init("reason", .string(failed.reason)),
          .init("sqlstate", .optional(failed.sqlState)),
        ])
    // The run's end tells it.
    case .gaveUp: break
    case .reconnecting(let reason): console.event("reconnecting", [run, .init("reason", .string(reason))])
    case .reconnected(let after):
      console.event("reconnected", [run, .init("seconds", .number(String(after / .seconds(1))))])
    case .shorthanded(let worker, let reason):
      console.event("shorthanded", [run, .init("worker", .integer(worker)), .init("reason", .string(reason))])
    case .left(let worker): console.event("left", [run, .init("worker", .integer(worker))])
    case .unwatched(let reason): console.event("unwatched", [run, .init("reason", .string(reason))])
    case .holding(let reason):
      console.event(
        "holding",
        [run, .init("reason", .string(reason)), .init("remedy", .string(RunStanding.cure(id, ofHold: reason)))])
    case .paused(let request):
      console.event(
        "paused",
        [
          run, .init("paused_by", .optional(request?.by)), .init("host", .optional(request?.host)),
          .init("reason", .optional(request?.reason)),
        ])
    case .resumed: console.event("resumed", [run])
    case .warned(let warning):
      console.event(
        "warning",
        [
          run, .init("message", .optional(warning.message?.message)),
          .init("sqlstate", .optional(warning.message?.sqlState?.code)), .init("count", .integer(warning.count)),
        ])
    }
  }

  private static func members(_ holder: LockHolder) -> [JSON.Member] {
    [
      .init("pid", .optional(holder.pid)), .init("application_name", .optional(holder.application)),
      .init("seconds", holder.seconds.map { .number(String($0)) } ?? .null),
    ]
  }

  /// What is told as it happens; `nil` for what the bar alone shows.
  static func line(_ event: RunEvent, _ run: Int64) -> String? {
    switch event {
    case .waiting(let holders):
      "waits for who may have written to the table: \(holders.map(\.words).joined(separator: "; "))"
    case .holding(let reason):
      "holds: \(Printable.line(reason)); it goes on by itself, and at once by \(RunStanding.cure(run, ofHold: reason))"
    case .paused(let request):
      "paused from elsewhere\(request.map(words) ?? ""); `migrate resume \(run)` goes on here, Ctrl-C leaves"
    case .publishing(let rows): "publishing \(Wording.count(rows, "row")) at once"
    case .published(let late, let duration):
      "published in \(Wording.duration(duration)); a writer of one of these rows may have waited as long"
        + (late > 0 ? "; \(Wording.count(late, "row")) that others had changed meanwhile computed anew" : "")
    case .resumed: "resumed"
    case .shorthanded(let worker, let reason):
      "worker \(worker) is not at work, the others do its part: \(Printable.line(RunHold.firstLine(of: reason)))"
    case .unwatched(let reason):
      "nobody looks whether others wait for a batch (`max_blocking`): \(Printable.line(RunHold.firstLine(of: reason)))"
    case .reconnecting(let reason): "trying again: \(Printable.line(RunHold.firstLine(of: reason)))"
    case .reconnected(let after): "going on after \(Wording.duration(after))"
    case .warned(let warning): line(warning)
    case .started, .batch, .tried, .again, .gaveUp, .left: nil
    }
  }

  /// ` by postgres on crane: sale at noon`
  private static func words(_ request: RunRequest) -> String {
    Printable.line(" by \(request.who)" + (request.reason.map { ": \($0)" } ?? ""))
  }

  private static func line(_ warning: ServerWarning) -> String {
    let times = warning.count == 1 ? "" : "\(Wording.count(warning.count)) times: "
    guard let message = warning.message else {
      return "the server warns: \(Wording.count(warning.count, "warning")) besides, of other texts"
    }
    return "the server warns: \(times)\(Printable.line(message.message))"
  }

  /// For `--verbose`.
  static func line(_ record: BatchRecord) -> String {
    "batch \(record.place.slice > 0 ? "\(record.place.slice)." : "")\(record.ordinal): \(Wording.count(record.counts.read)) read, \(Wording.count(record.counts.changed)) changed, "
      + Wording.duration(record.duration)
  }
}

/// What keeps a run from going on, for its bar: with how long it does, which comes first where room is short.
enum RunHold {
  case waiting([LockHolder])
  case again(Int, String)
  case reconnecting(String)
  case holding(String)
  case paused(Int64)

  func note(for duration: Duration) -> String {
    let time = duration < .seconds(1) ? "" : " \(Wording.roughly(duration))"
    let lasting = time.utf8.isEmpty ? "" : " for\(time)"
    return switch self {
    case .waiting(let holders): "waits\(time) for \(holders.map(\.name).joined(separator: "; "))"
    case .again(let attempt, let reason): "try \(attempt)\(lasting): \(Self.firstLine(of: reason))"
    case .reconnecting(let reason): "trying again\(lasting): \(Self.firstLine(of: reason))"
    case .holding(let reason): "holds\(lasting): \(reason)"
    case .paused(let run): "paused\(lasting); `migrate resume \(run)` goes on here, Ctrl-C leaves"
    }
  }

  /// What the library for connections says of a lost one has several; the first tells it.
  static func firstLine(of reason: String) -> String {
    String(decoding: reason.utf8.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
  }

  /// Whether both have one cause, whatever they say.
  func isLike(_ other: RunHold) -> Bool {
    switch (self, other) {
    case (.waiting, .waiting), (.again, .again), (.reconnecting, .reconnecting), (.holding, .holding),
      (.paused, .paused):
      true
    case (.waiting, _), (.again, _), (.reconnecting, _), (.holding, _), (.paused, _): false
    }
  }
}

extension LockHolder {
  /// Who it is, without how long: that goes on.
  fileprivate var name: String {
    pid.map { "pid \($0)" + (application.map { $0.isEmpty ? "" : " (\($0))" } ?? "") } ?? words
  }
}

/// How a run has ended for this program: in a word, by its exit code, and with what there is to say.
struct RunEnd {
  let word: String
  let code: ExitCode
  private(set) var failure: Failure?
  /// Why it stands still though nothing has failed.
  private(set) var pause: Failure?
  private(set) var advice: String?
  private(set) var conflicts: Int?
  private(set) var leftBehind: Int?
  /// Whether everything is done that was to be done.
  private(set) var isWhole = false

  init(_ outcome: RunOutcome, of run: Int64, rejected: Int) {
    switch outcome {
    case .completed(let left):
      (word, code) = ("completed", rejected > 0 ? .rejects : .done)
      isWhole = true
      leftBehind = left
      let behind = left.flatMap { left -> String? in
        guard left > 0 else { return nil }
        return
          "\(Wording.count(left, "row")) became eligible behind the batches and were left; `migrate apply --again` does them"
      }
      let kept = rejected > 0 ? Self.quarantine(rejected, of: run) : nil
      let told = [behind, kept].compactMap(\.self)
      advice = told.isEmpty ? nil : told.joined(separator: "\n")
    case .reverted(let count):
      (word, code) = ("reverted", count > 0 ? .conflicts : .done)
      isWhole = true
      conflicts = count
    case .paused: (word, code) = ("paused", .interrupted)
    case .cancelled: (word, code) = ("cancelled", .interrupted)
    case .failed(let failure):
      (word, code) = ("failed", .failed)
      self.failure = failure
    case .pausedByServer(let failure):
      (word, code) = ("paused", .interrupted)
      if failure.isCanaryDone { pause = failure } else { self.failure = failure }
    case .conflicts(let count):
      (word, code) = ("stopped", .conflicts)
      conflicts = count
      advice =
        "\(Wording.count(count, "row")) changed since, and nothing more is touched. `--on-conflict skip` restores the "
        + "others, `force` all"
    case .takenOver:
      (word, code) = ("taken over", .interrupted)
      advice = "another worker has taken the run over"
    }
  }

  /// That rows wait in quarantine, whoever tells it.
  static func quarantine(_ rows: Int, of run: Int64) -> String {
    "\(Wording.count(rows, "row")) in quarantine: `migrate rejects \(run)` lists them"
  }

  /// How the run stands now, as `status` calls it.
  var state: String {
    switch word {
    case "stopped": RunState.failed.rawValue
    case "taken over": RunState.running.rawValue
    case let word: word
    }
  }

  func line(_ run: Int64, _ done: BatchCounts, _ elapsed: Duration) -> String {
    let tenths = Int(elapsed / .milliseconds(100))
    let kept = conflicts.map { "\($0) conflicts" } ?? "\(done.rejected) rejects"
    return "run \(run) \(word) \(done.changed) rows \(kept) \(tenths / 10).\(tenths % 10) s"
  }

  func members(_ run: Int64, _ done: BatchCounts, seconds: Double) -> [JSON.Member] {
    [
      .init("run", .integer(run)), .init("state", .string(word)), .init("rows", .integer(done.changed)),
      .init("rows_read", .integer(done.read)), .init("rows_unchanged", .integer(done.unchanged)),
      .init("rejects", .integer(done.rejected)), .init("conflicts", .optional(conflicts)),
      .init("left_behind", .optional(leftBehind)), .init("seconds", .number(String(seconds))),
      .init("exit_code", .integer(Int(code.rawValue))),
    ]
  }

  /// Told at the definition's own line, where the database says enough to know it.
  static func explanation(of failure: Failure, remedy: String) -> CommandFailure {
    let state = failure.sqlState.map { " [\($0)]" } ?? ""
    guard !failure.places.isEmpty else {
      let circumstances = Self.circumstances(of: failure)
      return .refused(
        "\(failure.message)\(state)\(circumstances.isEmpty ? "" : "\n\(circumstances)")", remedy: remedy)
    }
    let told = failure.places.enumerated().map { index, place -> Diagnostics in
      let source = SourceText(path: place.file, line: place.line, place.text)
      let start = source.offset(line: place.line, column: place.column)
      let span = SourceSpan(start, source.offset(line: place.line, column: place.column + place.width))
      let message = index == 0 ? failure.message : "or this is at fault: \(failure.message)"
      return Diagnostics(
        source: source, [Diagnostic(failure.sqlState ?? "failed", at: span, message, remedy: remedy)])
    }
    return .batch(told, failure)
  }

  /// What the database says besides, and which rows it was about.
  static func circumstances(of failure: Failure) -> String {
    let lines = [
      failure.detail.map { "  detail: \($0.replacing("\n", with: "\n    "))" },
      failure.isOfBatch ? "  batch: " + KeyRangeText.words(after: failure.after, through: failure.through) : nil,
      failure.culprits.map { "  rows at fault: \(KeyRangeText.words($0))" },
    ]
    return lines.compactMap(\.self).joined(separator: "\n")
  }

  /// The same of what is no failure: why it stands still, and what to do then.
  static func tell(_ pause: Failure, of run: Int64, _ console: Console) {
    if console.isJSON {
      console.event(
        "paused",
        [
          .init("run", .integer(run)), .init("reason", .string(pause.message)),
          .init("remedy", .optional(pause.hint)),
        ])
    }
    console.say("paused: \(pause.message)" + (pause.hint.map { "\n  help: \($0)" } ?? ""))
  }
}
