internal import Glibc
internal import MigrateJSON
package import MigrateLedger
package import MigrateRunner
internal import Synchronization

/// A run as spans, a JSON object a line, each written when it ends: whenever the program is killed, the file holds whole lines.
///
/// The names of the members are those of OpenTelemetry's JSON, where times are texts: they do not fit into its numbers. All that is
/// done of a run has one trace, whoever does it; a batch is a child of the program that did it.
package final class TraceFile: Sendable {
  private struct State {
    var start = TraceFile.now
    /// What has happened to the run, and to the batches that are not done.
    var events: [JSON] = []
    var tries: [BatchPlace: FailedTries] = [:]
    /// Whether a line is missing, or a part of one; that does not mend.
    var isBroken = false
    /// Whether the file ends in the middle of a line.
    var isCut = false
  }

  /// The tries at a batch so far, each an event; the first one has begun at `start`.
  private struct FailedTries {
    let start: Int64
    var last: FailedTry
    var events: [JSON] = []
  }

  private let descriptor: Int32
  private let run: Run
  private let trace: String
  private let span = TraceFile.identifier()
  private let state = Mutex(State())

  /// - Returns: `nil` when the file cannot be written to.
  package init?(_ path: String, of run: Run) {
    descriptor = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
    self.run = run
    trace = Self.trace(of: run)
    guard descriptor >= 0 else { return nil }
    Files.ignoreSizeLimit()
    // Where the disk was full a line may have remained half.
    var last = UInt8(ascii: "\n")
    let end = lseek(descriptor, 0, SEEK_END)
    let isCut = end > 0 && pread(descriptor, &last, 1, end - 1) == 1 && last != UInt8(ascii: "\n")
    state.withLock { $0.isCut = isCut }
  }

  /// Whether lines can be appended to the file, which is made when it is not there.
  package static func canWrite(_ path: String) -> Bool {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { return false }
    close(descriptor)
    return true
  }

  deinit { if descriptor >= 0 { close(descriptor) } }

  package func take(_ event: RunEvent) {
    state.withLock { state in
      switch event {
      case .batch(let record):
        write(batch(record, state.tries.removeValue(forKey: record.place)), &state)
      case .again(let failed):
        guard failed.place.ordinal > 0 else { return state.events.append(happened("retry", Self.members(failed))) }
        note("retry", failed, &state)
      case .gaveUp(let failed):
        note("gave up", failed, &state)
        if let tries = state.tries.removeValue(forKey: failed.place) { write(given(up: tries), &state) }
      case .waiting(let holders):
        state.events.append(happened("waiting", [.init("migrate.transactions", .integer(holders.count))]))
      case .holding(let reason): state.events.append(happened("holding", [.init("migrate.reason", .string(reason))]))
      case .reconnecting(let reason):
        state.events.append(happened("reconnecting", [.init("migrate.reason", .string(reason))]))
      case .reconnected: state.events.append(happened("reconnected"))
      case .paused: state.events.append(happened("paused"))
      case .publishing(let rows): state.events.append(happened("publishing", [.init("migrate.rows", .integer(rows))]))
      case .published(let late, _):
        state.events.append(happened("published", [.init("migrate.rows_recomputed", .integer(late))]))
      case .resumed: state.events.append(happened("resumed"))
      case .shorthanded(let worker, let reason):
        state.events.append(
          happened(
            "shorthanded", [.init("migrate.worker", .integer(worker)), .init("migrate.reason", .string(reason))]))
      case .unwatched(let reason):
        state.events.append(happened("unwatched", [.init("migrate.reason", .string(reason))]))
      case .started, .left, .warned, .tried: break
      }
    }
  }

  /// Writes the run's own span.
  /// - Parameter failure: what it ended by.
  /// - Returns: whether all lines were written.
  package func end(_ state: String, _ done: BatchCounts, failure: String?) -> Bool {
    self.state.withLock { held in
      // Those that somebody has stopped before they were done.
      for tries in held.tries.values { write(given(up: tries), &held) }
      held.tries = [:]
      let name = "migrate \(run.direction.rawValue) \(run.name)"
      let line = spanned(
        name, id: span, parent: nil, from: held.start, to: Self.now, events: held.events,
        attributes: Self.counts(done) + [.init("migrate.state", .string(state))], failure: failure)
      write(line, &held)
      return !held.isBroken
    }
  }

  /// From the beginning of its first try.
  private func batch(_ record: BatchRecord, _ tries: FailedTries?) -> String {
    let end = Self.now
    let events = tries?.events ?? []
    return spanned(
      "batch \(record.ordinal)", id: Self.identifier(), parent: span,
      from: tries?.start ?? end - Int64(record.duration / .nanoseconds(1)), to: end, events: events,
      attributes: Self.place(record.place, attempts: events.count + 1)
        + [.init("migrate.worker", .integer(record.worker))] + Self.counts(record.counts),
      failure: nil)
  }

  /// A batch that was tried in vain, and of which nothing stays.
  private func given(up tries: FailedTries) -> String {
    spanned(
      "batch \(tries.last.place.ordinal)", id: Self.identifier(), parent: span, from: tries.start, to: Self.now,
      events: tries.events,
      attributes: Self.place(tries.last.place, attempts: tries.events.count)
        + [.init("db.response.status_code", .optional(tries.last.sqlState))],
      failure: tries.last.reason)
  }

  private func note(_ name: String, _ failed: FailedTry, _ state: inout State) {
    let start = Self.now - Int64(failed.duration / .nanoseconds(1))
    var tries = state.tries[failed.place] ?? FailedTries(start: start, last: failed)
    tries.last = failed
    tries.events.append(happened(name, Self.members(failed)))
    state.tries[failed.place] = tries
  }

  /// `migrate.attempt` is the number of the try behind it.
  private static func members(_ failed: FailedTry) -> [JSON.Member] {
    [
      .init("migrate.attempt", .integer(failed.next)), .init("migrate.reason", .string(failed.reason)),
      .init("db.response.status_code", .optional(failed.sqlState)),
      .init("migrate.milliseconds", .number(String(failed.duration / .milliseconds(1)))),
    ]
  }

  private static func place(_ place: BatchPlace, attempts: Int) -> [JSON.Member] {
    [
      .init("migrate.slice", .integer(place.slice)), .init("migrate.batch", .integer(place.ordinal)),
      .init("migrate.attempts", .integer(attempts)),
    ]
  }

  private func spanned(
    _ name: String, id: String, parent: String?, from start: Int64, to end: Int64, events: [JSON],
    attributes: [JSON.Member],
    failure: String?
  ) -> String {
    let about: [JSON.Member] = [
      .init("db.system", "postgresql"), .init("migrate.run", .integer(run.id)),
      .init("migrate.definition", .string(run.name)),
      .init("migrate.direction", .string(run.direction.rawValue)),
    ]
    let status: [JSON.Member] =
      failure.map { [.init("code", "ERROR"), .init("message", .string($0))] } ?? [.init("code", "OK")]
    return JSON.object([
      .init("trace_id", .string(trace)), .init("span_id", .string(id)), .init("parent_span_id", .optional(parent)),
      .init("name", .string(name)), .init("start_time_unix_nano", .string(String(start))),
      .init("end_time_unix_nano", .string(String(end))), .init("attributes", .object(about + attributes)),
      .init("events", .array(events)), .init("status", .object(status)),
    ]).compact
  }

  private func happened(_ name: String, _ attributes: [JSON.Member] = []) -> JSON {
    .object([
      .init("name", .string(name)), .init("time_unix_nano", .string(String(Self.now))),
      .init("attributes", .object(attributes)),
    ])
  }

  private static func counts(_ counts: BatchCounts) -> [JSON.Member] {
    [
      .init("migrate.rows_read", .integer(counts.read)), .init("migrate.rows_changed", .integer(counts.changed)),
      .init("migrate.rows_unchanged", .integer(counts.unchanged)),
      .init("migrate.rows_rejected", .integer(counts.rejected)),
    ]
  }

  /// In one call, which a kill does not cut in two, and without a buffer of our own.
  private func write(_ line: String, _ state: inout State) {
    let bytes = Array("\(state.isCut ? "\n" : "")\(line)\n".utf8)
    let written = Glibc.write(descriptor, bytes, bytes.count)
    if written != bytes.count { state.isBroken = true }
    if written > 0 { state.isCut = written < bytes.count }
  }

  private static var now: Int64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
  }

  /// Eight bytes in hexadecimal, not all of them zero.
  private static func identifier() -> String { hexadecimal(UInt64.random(in: 1 ... .max)) }

  /// The same for a run whoever goes on with it, and another one for each run of any ledger: from its number, its name and the
  /// microsecond in which it began (FNV-1a, twice).
  private static func trace(of run: Run) -> String {
    let text = "\(run.id) \(run.name) \((run.parameters[":started_at"] ?? nil) ?? "")"
    func hash(_ basis: UInt64) -> UInt64 {
      text.utf8.reduce(basis) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01B3 }
    }
    return hexadecimal(hash(0xCBF2_9CE4_8422_2325)) + hexadecimal(hash(0x8422_2325_CBF2_9CE4))
  }

  private static func hexadecimal(_ number: UInt64) -> String {
    let digits = String(number, radix: 16)
    return String(repeating: "0", count: 16 - digits.utf8.count) + digits
  }
}
