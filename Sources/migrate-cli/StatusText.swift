internal import Migrate
internal import MigrateCommandLine

/// A run's standing in words, in a row, and as JSON.
enum StatusText {
  /// So many requests are shown; all of them are in the JSON.
  private static let fewRequests = 5

  static func progress(_ standing: RunStanding) -> ProgressState {
    state(
      standing, "run \(standing.id) \(standing.direction == .revert ? "revert " : "")\(standing.name)",
      standing.forecast,
      note: note(standing))
  }

  /// For the bar and the log: why it stands and since when, or what it waits for.
  private static func note(_ standing: RunStanding) -> String? {
    guard let stands = standing.standstill else { return standing.hold.map { "waits for \($0)" } }
    return stands.why + (stands.since.map { ", since \($0)" } ?? "")
  }

  /// What is over has met as many rows as there were, whatever the statistics had promised.
  private static func state(
    _ standing: RunStanding, _ label: String, _ forecast: Forecast? = nil, note: String? = nil
  ) -> ProgressState {
    let done = standing.done.read
    let isOver = standing.state == .completed || standing.state == .reverted
    return ProgressState(
      label, rowsDone: done, rowsTotal: isOver ? done : standing.expected.map { max($0, done) },
      rate: isOver ? nil : standing.rate, left: forecast?.left, range: forecast?.range,
      isLeast: forecast?.isLeast == true, kept: kept(standing), workers: standing.workers.count, note: note)
  }

  /// Rows left out so far, in words; `nil` for none.
  private static func kept(_ standing: RunStanding) -> String? {
    let rejected = standing.done.rejected
    return rejected > 0 ? Wording.count(rejected, standing.direction == .revert ? "conflict" : "reject") : nil
  }

  /// A line for each thing to know, under a heading.
  static func block(_ standing: RunStanding, _ console: Console, width: Int? = nil) -> String {
    let bar = ProgressBar(unicode: console.page.unicode)
    var lines = ["run \(standing.id) \(standing.name): \(word(standing))"]
    func add(_ title: String, _ text: String?) {
      if let text { lines.append("  " + ColumnWidth.padded(title, to: 10) + " " + text) }
    }
    add("done", bar.line(state(standing, ""), width: max(40, (width ?? console.pageWidth) - 13)))
    add("rows", counts(standing))
    add("time left", standing.forecast.map { words($0, console) })
    add(standing.state == .holding ? "holds for" : "waits for", standing.hold)
    add("held since", standing.heldSince)
    if standing.state != .holding { add("stands", standing.standstill.flatMap { stands($0, standing) }) }
    add("help", standing.holdCure.map { "\($0) lets it go on at once" })
    add("done at", standing.endsAt.map { "\(standing.rest?.isLeast == true ? "not before" : "about") \($0)" })
    add("tuned", standing.tuned.map { "\(TuningText.words($0.tuning)) by \($0.by) at \($0.at)" })
    for worker in standing.workers { add("worker \(worker.number)", words(worker)) }
    let place = failureAtItsPlace(standing, console)
    if let failure = standing.failure, place == nil {
      if failure.isCanaryDone {
        add("paused", failure.message)
      } else {
        add("failure", failure.message + (failure.sqlState.map { " [\($0)]" } ?? ""))
      }
      if failure.isOfBatch { add("batch", KeyRangeText.words(after: failure.after, through: failure.through)) }
      add("at fault", failure.culprits.map(KeyRangeText.words))
      add("help", standing.remedy)
    }
    if standing.direction == .apply, standing.done.rejected > 0 {
      add("rejects", "`migrate rejects \(standing.id)` lists them")
    }
    if let left = standing.leftBehind, left > 0 {
      add("left", "\(Wording.count(left, "row")) became eligible behind the batches")
    }
    if standing.undoBytes > 0 { add("undo", Wording.bytes(standing.undoBytes)) }
    add("begun", "\(standing.startedAt) by \(standing.startedBy)" + (standing.clientHost.map { " on \($0)" } ?? ""))
    add("reason", standing.reason)
    // What moved it last.
    let earlier = standing.requests.count - Self.fewRequests
    if earlier > 0 {
      add("requests", "\(Wording.count(earlier)) more before these: `migrate status \(standing.id) --json` has all")
    }
    for request in standing.requests.suffix(Self.fewRequests) { add(request.request, words(request)) }
    add(
      "version",
      "\(standing.version), definition \(String(decoding: standing.definitionHash.utf8.prefix(12), as: UTF8.self))")
    add("ended", standing.endedAt)
    add("reverted", standing.revertedAt)
    return lines.map(Printable.line).joined(separator: "\n") + "\n" + (place.map { "\n\($0)" } ?? "")
  }

  /// Why is said elsewhere, but for who has paused it.
  private static func stands(_ standstill: Standstill, _ standing: RunStanding) -> String? {
    let since = standstill.since.map { "since \($0)" }
    guard standing.state == .paused, standing.failure == nil else { return since }
    return [since, standstill.why].compactMap(\.self).joined(separator: ", ")
  }

  /// The failure at the definition's own line, as the command that met it has told; `nil` where no place is known, or the file
  /// has another line there by now.
  private static func failureAtItsPlace(_ standing: RunStanding, _ console: Console) -> String? {
    guard let failure = standing.failure, !failure.places.isEmpty, failure.places.allSatisfy(isUnchanged) else {
      return nil
    }
    return RunEnd.explanation(of: failure, remedy: standing.remedy ?? "").text(
      DiagnosticRenderer(color: console.page.color))
  }

  /// Where the file is not at hand, the line is told as the run remembers it.
  private static func isUnchanged(_ place: DefinitionPlace) -> Bool {
    guard let bytes = Files.read(place.file) else { return true }
    return SourceText(path: place.file, bytes: bytes).line(place.line).elementsEqual(place.text.utf8)
  }

  private static func words(_ forecast: Forecast, _ console: Console) -> String {
    let range = forecast.range.flatMap { Wording.range($0, unicode: console.page.unicode) }
    return Wording.left(forecast.left, isLeast: forecast.isLeast) + (range.map { " (\($0))" } ?? "")
  }

  private static func words(_ worker: WorkerSight) -> String {
    "backend \(worker.pid)" + (worker.host.map { " of a client on \($0)" } ?? "") + " since \(worker.since)"
      + (worker.batch.map { ", at batch \($0)" } ?? "") + (worker.waitsFor == nil ? "" : ", waits for a lock")
  }

  private static func words(_ request: RunRequest) -> String {
    "\(request.at) by \(request.who)" + (request.reason.map { ": \($0)" } ?? "")
      + (request.detail.map { "; \($0)" } ?? "")
  }

  private static func word(_ standing: RunStanding) -> String {
    standing.direction == .revert && !standing.state.hasEnded && standing.state != .reverting
      ? "\(standing.word) while being taken back" : standing.word
  }

  private static func counts(_ standing: RunStanding) -> String {
    let done = standing.done
    let verb = standing.direction == .revert ? ("restored", "in conflict") : ("changed", "rejected")
    var parts = ["\(Wording.count(done.read)) read", "\(Wording.count(done.changed)) \(verb.0)"]
    if done.unchanged > 0 { parts.append("\(Wording.count(done.unchanged)) unchanged") }
    if done.rejected > 0 { parts.append("\(Wording.count(done.rejected)) \(verb.1)") }
    return parts.joined(separator: ", ") + " in \(Wording.count(done.batches, "batch", "batches"))"
  }

  static func table(_ standings: [RunStanding], _ console: Console) -> String {
    var table = Table([
      .init("RUN", .number), .init("NAME"), .init("STATE"), .init("ROWS", .number), .init("STARTED", .moment),
      .init("BY"),
    ])
    for standing in standings {
      table.add([
        String(standing.id), standing.name, standing.word, Wording.count(standing.done.changed), standing.startedAt,
        standing.startedBy,
      ])
    }
    return table.rendered(width: console.page.isTerminal ? console.pageWidth : nil, unicode: console.page.unicode)
  }

  static func document(_ standing: RunStanding) -> JSON {
    let done = standing.done
    let progress: [JSON.Member] = [
      .init("run", .integer(standing.id)), .init("name", .string(standing.name)),
      .init("state", .string(standing.word)), .init("direction", .string(standing.direction.rawValue)),
      .init("batches", .integer(done.batches)), .init("rows_read", .integer(done.read)),
      .init("rows_changed", .integer(done.changed)), .init("rows_unchanged", .integer(done.unchanged)),
      .init("rows_rejected", .integer(done.rejected)), .init("rows_expected", .optional(standing.expected)),
      .init("percent", .optional(Self.progress(standing).percent)),
      .init("rows_per_second", standing.rate.map { .number(String($0)) } ?? .null),
      .init("seconds_left", seconds(standing.left)),
      .init("seconds_left_low", seconds(standing.forecast?.low)),
      .init("seconds_left_high", seconds(standing.forecast?.high)),
    ]
    let rest: [JSON.Member] = [
      .init("waits_for", .optional(standing.hold)), .init("remedy", .optional(standing.holdCure)),
      .init("held_since", .optional(standing.heldSince)), .init("stands_since", .optional(standing.standstill?.since)),
      .init("stands_because", .optional(standing.standstill?.why)),
      .init("ends_at", .optional(standing.endsAt)), .init("undo_bytes", .integer(standing.undoBytes)),
      .init("left_behind", .optional(standing.leftBehind)),
      .init("failure", failure(standing)), .init("paused_for", .optional(pause(standing))),
      .init("worker", standing.worker.map(worker) ?? .null), .init("workers", .array(standing.workers.map(worker))),
      .init("request", standing.request.map(request) ?? .null),
      .init("tuned", standing.tuned.map(TuningText.document) ?? .null),
      .init("started_at", .string(standing.startedAt)), .init("ended_at", .optional(standing.endedAt)),
      .init("reverted_at", .optional(standing.revertedAt)), .init("last_batch_at", .optional(standing.lastBatchAt)),
      .init("started_by", .string(standing.startedBy)), .init("client_host", .optional(standing.clientHost)),
      .init("reason", .optional(standing.reason)), .init("version", .string(standing.version)),
      .init("definition_hash", .string(standing.definitionHash)),
      .init("requests", .array(standing.requests.map(request))),
      .init("exit_code", .integer(Int(StatusCommand.code(standing).rawValue))),
    ]
    return .object(progress + rest)
  }

  private static func failure(_ standing: RunStanding) -> JSON {
    guard let found = standing.failure, !found.isCanaryDone else { return .null }
    return failure(found, standing)
  }

  /// Why it is paused though nothing has failed.
  private static func pause(_ standing: RunStanding) -> String? {
    guard let found = standing.failure, found.isCanaryDone else { return nil }
    return found.message
  }

  private static func seconds(_ duration: Duration?) -> JSON {
    duration.map { .number(String($0 / .seconds(1))) } ?? .null
  }

  private static func failure(_ failure: Failure, _ standing: RunStanding) -> JSON {
    .object([
      .init("message", .string(failure.message)), .init("sqlstate", .optional(failure.sqlState)),
      .init("after", KeyRangeText.document(failure.after)), .init("through", KeyRangeText.document(failure.through)),
      .init("rows", KeyRangeText.document(failure.culprits)),
      .init("rows_are_all", failure.culprits.map { .bool($0.areAll) } ?? .null),
      .init("at", .optional(failure.at)), .init("remedy", .optional(standing.remedy)),
      .init("places", .array(failure.places.map(place))),
    ])
  }

  private static func place(_ place: DefinitionPlace) -> JSON {
    .object([
      .init("path", .string(place.file)), .init("line", .integer(place.line)), .init("column", .integer(place.column)),
    ])
  }

  private static func worker(_ worker: WorkerSight) -> JSON {
    .object([
      .init("worker", .integer(worker.number)), .init("pid", .integer(worker.pid)),
      .init("host", .optional(worker.host)),
      .init("since", .string(worker.since)), .init("batch", .optional(worker.batch)),
      .init("blocked_by", .strings(worker.blockers)),
    ])
  }

  private static func request(_ request: RunRequest) -> JSON {
    .object([
      .init("request", .string(request.request)), .init("by", .string(request.by)),
      .init("host", .optional(request.host)), .init("at", .string(request.at)),
      .init("reason", .optional(request.reason)), .init("detail", .optional(request.detail)),
    ])
  }

  private static func request(_ request: ControlRequest) -> JSON {
    .object([
      .init("request", .string(request.request)), .init("by", .string(request.by)), .init("at", .string(request.at)),
      .init("reason", .optional(request.reason)),
    ])
  }
}

/// The rows of a batch by their keys.
enum KeyRangeText {
  static func words(after: [String?]?, through: [String?]?) -> String {
    let from = after.map { "behind key \(key($0))" } ?? "from the first key on"
    return from + (through.map { ", through key \(key($0))" } ?? "")
  }

  /// Not all rows of a batch are looked for.
  static func words(_ culprits: Culprits) -> String {
    (culprits.areAll ? "" : "at least ") + culprits.keys.map(key).joined(separator: ", ")
  }

  static func document(_ culprits: Culprits?) -> JSON {
    culprits.map { .array($0.keys.map { document($0) }) } ?? .null
  }

  static func document(_ key: [String?]?) -> JSON { key.map { .array($0.map(JSON.optional)) } ?? .null }

  private static func key(_ values: [String?]) -> String {
    "(\(values.map { $0 ?? "NULL" }.joined(separator: ", ")))"
  }
}
