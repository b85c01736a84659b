internal import Migrate
internal import MigrateCommandLine

/// A plan in a few lines for a person: what changes, how much, in which steps, and what it takes meanwhile.
struct Summary {
  struct Line {
    let title: String
    /// Printable; lines of an expression follow one another as its author has laid them out.
    let text: [String]
  }

  let name: String
  private(set) var lines: [Line] = []

  /// - Parameters:
  ///   - staleness: why the number of rows may be far off.
  ///   - isMeasured: whether the time that it takes is told elsewhere.
  init(_ plan: Plan, _ surroundings: Surroundings?, _ staleness: Staleness?, isMeasured: Bool = false) {
    name = plan.definition
    for step in plan.steps where step.work == nil {
      add("table", "\(step.table) (\(step.verb))")
      for column in step.columns { lines.append(Line(title: "sets", text: Self.assignment(column, plan))) }
    }
    for join in plan.steps.flatMap(\.joins) { lines.append(Line(title: "joins", text: Self.words(join))) }
    for value in plan.steps.flatMap(\.lets) {
      lines.append(Line(title: "computes", text: Self.laidOut(Printable.line("\(value.name) = "), value.value)))
    }
    let rows = "about \(Wording.count(plan.estimate.rows)), in " + Self.batches(plan)
    lines.append(Line(title: "rows", text: [rows] + (staleness.map { [Printable.line(Self.words($0))] } ?? [])))
    if plan.parallel > 1 {
      add(
        "workers",
        "up to \(Wording.count(plan.parallel)) beside each other, each with a connection and a slice of the keys")
    }
    for step in plan.steps {
      if let work = step.work { lines.append(Line(title: "step \(step.number)", text: Self.words(step, work, plan))) }
    }
    for table in plan.tables {
      let way = !plan.isFrozen ? table.index : "the source's rows, which are read once, when the run begins, by"
      add("walks", "\(way) (\(plan.key.joined(separator: ", ")))")
    }
    if plan.steps.contains(where: { $0.work != nil }) {
      let size = Wording.bytes(plan.estimate.undoBytes)
      add("undo", "of each step, about \(size) and what it writes elsewhere, before compression")
    } else {
      for step in plan.steps { add("undo", Self.undo(step, plan)) }
    }
    for rule in plan.steps.flatMap(\.validation) { add("validates", "\(rule.reason): \(rule.value)") }
    addChecks(of: plan)
    switch plan.onError {
    case .stop: break
    case .retry: add("on error", "a batch that fails is tried up to ten times, then the run stops there")
    case .quarantine: add("on error", "a row that the database refuses goes to quarantine")
    }
    if let most = plan.maxRejects {
      add("rejects", "more than \(Int(most).map { Wording.count($0, "row") } ?? most) in quarantine end the run")
    }
    if let column = plan.incremental {
      add("increment", "rows whose \(column) is not before the last complete run; all rows where there is none")
    }
    if plan.isPublishedAtOnce {
      let joined = plan.steps.contains { !$0.joins.isEmpty } ? "; what is joined counts as its batch has read it" : ""
      lines.append(
        Line(
          title: "publishes",
          text: [
            "at once: batches compute, then one transaction shows all rows that change\(joined)",
            "whoever writes one of them meanwhile waits until it is over"
              + (isMeasured ? "" : "; `migrate plan \(plan.definition) --measure` forecasts how long"),
          ].map(Printable.line)))
    }
    if let canary = plan.canary {
      let rows = Wording.count(canary.share(of: plan.estimate.rows), "row")
      let then = canary.hold.map { "holds for \(Wording.duration($0))" } ?? "pauses until `migrate resume`"
      add("canary", "about \(rows) by a hash of their key, then \(then)")
    }
    add(plan.pace, holds: plan.statements(.holds))
    for expected in plan.expectations {
      let what = expected.text == expected.name ? expected.name : "\(expected.name), \(expected.text)"
      add("expects", "\(what): \(expected.words); else the run pauses")
    }
    for warning in plan.warnings where warning.code == "trigger-fires" { add("fires", warning.message) }
    let locked = plan.steps.filter { $0.work.map { $0.relation != nil } ?? true }.map(\.table)
    let wait = Wording.duration(plan.pace.lockTimeout ?? Pace.usualLockTimeout)
    let held =
      plan.isPublishedAtOnce
      ? "no row before all are shown, and then each until that is over" : "the rows of one batch at a time"
    for table in Set(locked).sorted() {
      add("locks", "ROW EXCLUSIVE on \(table), and \(held); waits \(wait) for a lock, then tries again")
    }
    if !isMeasured {
      add("time", "not known; `migrate plan \(plan.definition) --measure` tries five batches and rolls them back")
    }
    for parameter in plan.parameters {
      add("parameter", "\(parameter.name) = \(parameter.value ?? "NULL") (\(parameter.type))")
    }
    for need in plan.needs { add("needs", need) }
    add(surroundings)
  }

  /// One of several writes: the verb and its table, which of its rows, from which rows, and with what.
  private static func words(_ step: Step, _ work: StepWork, _ plan: Plan) -> [String] {
    let own = step.verb == "update" || step.verb == "delete" ? ", the batch's own rows" : ""
    let rows = work.match.map { laidOut(Printable.line("where "), $0) } ?? []
    let from = work.from.map { laidOut(Printable.line("from "), $0) } ?? []
    let back = step.undo == .stays ? ", which a revert leaves" : ""
    return [Printable.line("\(step.verb) \(step.table)\(work.match == nil ? own : "")\(back)")] + from + rows
      + step.columns.flatMap { assignment($0, plan) }
  }

  /// What is read besides the row, which of it, and what becomes of a row that finds none or two.
  private static func words(_ join: PlannedJoin) -> [String] {
    let missing =
      switch join.missing {
      case "skip": "is left as it is"
      case "null": "goes on with NULL"
      default: "goes to quarantine"
      }
    let several = join.isSingle ? "" : ", one that finds two goes to quarantine"
    let last = "where \(Printable.line(join.match)); a row that finds none \(missing)\(several)"
    return laidOut(Printable.line("\(join.name): "), join.rows) + [last]
  }

  /// Behind the estimate, for which it is the reason to doubt it.
  private static func words(_ staleness: Staleness) -> String {
    switch staleness {
    case .neverAnalyzed(let table):
      "which is a guess: \(table) was never analyzed; `ANALYZE \(table)` first"
    case .changed(let table, let rows, let all):
      "by old statistics: \(Wording.count(rows, "row")) of \(table) changed since they counted \(Wording.count(all)); `ANALYZE \(table)` first"
    }
  }

  /// How many, of how many rows, where that is known.
  private static func batches(_ plan: Plan) -> String {
    switch plan.pace.sizing {
    case .rows(let size):
      let batches = max(1, (plan.estimate.rows + size - 1) / size)
      return "about \(Wording.count(batches, "batch", "batches")) of \(Wording.count(size))"
    case .automatic(let target):
      return
        "batches of \(Wording.count(BatchSizing.first)) at first, then of as many as take \(Wording.duration(target))"
    }
  }

  /// The definition's own queries by their names: a line for each moment at which some are asked.
  private mutating func addChecks(of plan: Plan) {
    let moments: [(Phase.Name, String, String)] = [
      (.before, "before it begins", "nothing starts"),
      (.batches, "in each batch", "that batch is rolled back, and the run fails there"),
      (.finish, "after the last batch", "the run fails"),
    ]
    for (phase, moment, consequence) in moments {
      let names = plan.statements(phase).compactMap { statement -> String? in
        guard case .check(let name) = statement.name else { return nil }
        return name
      }
      guard !names.isEmpty else { continue }
      add("checks", "\(moment): \(names.joined(separator: ", ")); where one finds a row, \(consequence)")
    }
  }

  /// What makes it slower, and what makes it stand still.
  private mutating func add(_ pace: Pace, holds: [Statement]) {
    let rests = [
      pace.pause.map { "rests \(Wording.duration($0)) between batches" },
      pace.niceRatio.map { "rests \($0) times as long as a batch took" },
      pace.maxRate.map { "at most \(Wording.count($0, "row")) a second" },
      pace.maxBlocking.map {
        "gives way when somebody waits \(Wording.duration($0)) for a batch (only `migrate apply`)"
      },
    ].compactMap(\.self)
    if !rests.isEmpty { add("throttle", rests.joined(separator: "; ")) }
    if let window = pace.window { add("window", "\(window.opens) to \(window.closes), \(window.zone)") }
    let names = holds.compactMap { statement -> String? in
      guard case .holdWhen(let name) = statement.name, name != "window", name != "canary" else { return nil }
      return name + (Self.limit(of: name, pace.limits).map { " \($0)" } ?? "")
    }
    if !names.isEmpty { add("holds for", names.joined(separator: ", ")) }
  }

  /// A query of the definition may be called the same only where nothing is ready-made.
  private static func limit(of name: String, _ limits: HoldLimits) -> String? {
    switch name {
    case "max_active_sessions": limits.activeSessions.map { "above \(Wording.count($0))" }
    case "max_replication_lag": limits.replicationLag.map { "above \(Wording.duration($0))" }
    case "slot_lag": limits.slotLag.map { "above \(Wording.storage($0))" }
    case "free_disk": limits.freeDisk.map { "below \(Wording.storage($0))" }
    default: nil
    }
  }

  private mutating func add(_ title: String, _ text: String) {
    lines.append(Line(title: title, text: [Printable.line(text)]))
  }

  private mutating func add(_ surroundings: Surroundings?) {
    guard let surroundings else { return add("ledger", "this role may not read it") }
    if !surroundings.hasLedger { add("ledger", "does not exist yet: apply will create schema migrate") }
    for run in surroundings.unfinished {
      let own = run.name.utf8.elementsEqual(name.utf8)
      add(
        "beside",
        "run \(run.id) of \(own ? "this definition" : run.name) is \(run.state.rawValue)"
          + (own ? "; apply goes on with it" : ", over the same table"))
    }
  }

  /// A constant stands as it will be written, with the type of its column: `state = 'expired' (text)`. The further lines of an
  /// expression keep their places under its first.
  private static func assignment(_ column: WrittenColumn, _ plan: Plan) -> [String] {
    let name = Printable.line("\(column.name) = ")
    if WrittenColumn.isConstant(column.value) {
      let type = plan.tables.flatMap(\.columns).first { $0.name.utf8.elementsEqual(column.name.utf8) }?.type
      return [Printable.line(name + onOneLine(column.value) + (type.map { " (\($0))" } ?? ""))]
    }
    return laidOut(name, column.value)
  }

  /// SQL behind what it is for, its further lines under the first.
  private static func laidOut(_ title: String, _ sql: String) -> [String] {
    let margin = String(repeating: " ", count: ColumnWidth.of(title))
    let lines = sql.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: true)
      .map { Printable.block(String(decoding: $0, as: UTF8.self)) }
    return [title + (lines.first ?? "")] + lines.dropFirst().map { margin + $0 }
  }

  /// A constant of several lines as SQL writes it on one.
  private static func onOneLine(_ literal: String) -> String {
    guard literal.utf8.contains(UInt8(ascii: "\n")) else { return literal }
    let escaped = literal.utf8.flatMap { byte -> [UInt8] in
      switch byte {
      case UInt8(ascii: "\n"): Array("\\n".utf8)
      case UInt8(ascii: "\\"): Array("\\\\".utf8)
      default: [byte]
      }
    }
    return "E" + String(decoding: escaped, as: UTF8.self)
  }

  private static func undo(_ step: Step, _ plan: Plan) -> String {
    switch step.undo {
    case .captured(let columns):
      "old and new \(columns.joined(separator: ", ")), about \(Wording.bytes(plan.estimate.undoBytes)) before compression"
    case .stays: "none: what it writes stays"
    case .unavailable(let reason): "none: \(reason)"
    }
  }

  /// With an empty line at the end.
  var text: String {
    let rows = lines.flatMap { line in
      line.text.enumerated().map { "  \(ColumnWidth.padded($0.offset == 0 ? line.title : "", to: 10)) \($0.element)" }
    }
    return ([Printable.line(name)] + rows).joined(separator: "\n") + "\n"
  }
}
