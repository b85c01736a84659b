internal import Migrate
internal import MigrateCommandLine

/// `migrate rejects`: the rows of a run that are in quarantine, and why.
enum RejectsCommand {
  /// What a person reads; all of them are for `--csv` and `--json`.
  private static let shownRows = 20

  static func run(_ console: Console) throws(CommandFailure) -> ExitCode {
    let runs = try console.runs()
    let reference = console.arguments[Positionals.runOrName]?.text ?? ""
    let summary = try console.ask { () throws(RunRefusal) in try runs.find(reference) }
    if let assignments = console.arguments[Options.fix] {
      return try fix(summary, assignments, runs, console)
    }
    if let option = [Options.condition, Options.reason].first(where: {
      console.arguments.origin(of: $0) == .commandLine
    }) {
      throw .usage(
        UsageError(
          "--\(option.description.name) is for --fix, and without that nothing is changed",
          remedy: "`migrate rejects \(summary.id) --fix 'SET …'`, or leave it out"))
    }
    let all = console.arguments[Options.all]
    if console.isJSON {
      try console.ask { () throws(RunRefusal) in
        try runs.eachReject(of: summary.id, all: all) {
          for reject in $0 { console.print(document(reject, summary).compact) }
        }
      }
    } else if console.arguments[Options.csv] {
      try csv(summary, runs, console)
    } else {
      try text(summary, runs, console)
    }
    return .done
  }

  private static func fix(
    _ summary: RunSummary, _ assignments: String, _ runs: borrowing Runs, _ console: Console
  ) throws(CommandFailure) -> ExitCode {
    let condition = console.arguments[Options.condition]
    let mending = try console.ask { () throws(RunRefusal) in
      try Mending(assignments, where: condition, reason: console.arguments[Options.reason])
    }
    let found = try console.ask { () throws(RunRefusal) in try runs.mendable(summary, mending) }
    guard found.waiting > 0 else {
      console.print("run \(summary.id) \(summary.name) has no row in quarantine")
      return .done
    }
    let some = condition == nil ? "" : "\(Wording.count(found.meant)) of "
    let which = condition.map { " where \(Printable.line($0))" } ?? ""
    console.say(
      "\(some)\(Wording.count(found.waiting, "row")) of run \(summary.id) \(summary.name)\(which): \(Printable.line(assignments))"
    )
    guard try console.allows("rejects --fix") else { return .interrupted }
    let rows = try console.ask { () throws(RunRefusal) in try runs.fix(summary, mending) }
    if rows > 0 {
      console.say("`migrate apply --rejects \(summary.id)` tries \(condition == nil ? "them" : "all of them") again")
    } else {
      console.say(condition == nil ? "none of them is in the table any more" : "none of them fits --where")
    }
    console.print(
      "run \(summary.id) mended \(Wording.plain(rows, "row"))" + (condition == nil ? "" : " of \(found.waiting)"))
    return .done
  }

  private static func text(
    _ summary: RunSummary, _ runs: borrowing Runs, _ console: Console
  ) throws(CommandFailure) {
    let all = console.arguments[Options.all]
    let reasons = try console.ask { () throws(RunRefusal) in try runs.reasons(summary.id, all: all) }
    let count = reasons.rows
    guard count > 0 else {
      return console.print("run \(summary.id) \(summary.name) has \(all ? "had " : "")no row in quarantine")
    }
    let width = console.page.isTerminal ? console.pageWidth : nil
    var table = Table([.init("ROWS", .number), .init("SQLSTATE"), .init("REASON"), .init("FIRST")])
    for reason in reasons.reasons {
      table.add([
        Wording.count(reason.rows), reason.sqlState ?? "", reason.message, key(reason.firstKey),
      ])
    }
    console.output.write(table.rendered(width: width, unicode: console.page.unicode))
    let first = try first(summary, runs, console)
    console.output.write("\n" + first.rendered(width: width, unicode: console.page.unicode))
    if count > shownRows {
      console.say(
        "\(Wording.count(count - shownRows)) more: `migrate rejects \(summary.id)\(all ? " --all" : "") --csv`")
    }
  }

  /// The first rows, each with what is wrong with it before what it is.
  private static func first(
    _ summary: RunSummary, _ runs: borrowing Runs, _ console: Console
  ) throws(CommandFailure) -> Table {
    let all = console.arguments[Options.all]
    var rejects: [Reject] = []
    try console.ask { () throws(RunRefusal) in
      try runs.eachReject(of: summary.id, upTo: shownRows, all: all) { rejects += $0 }
    }
    let changes = rejects.map { mendedRow($0) == nil ? self.changes($0, unicode: console.page.unicode) : "" }
    let hasChanges = changes.contains { !$0.utf8.isEmpty }
    var list = Table(
      [.init("KEY")] + (all ? [.init("STATE")] : []) + [.init("SQLSTATE"), .init("REASON")]
        + (hasChanges ? [.init("CHANGE")] : []) + [.init("ROW", .rest)])
    for (reject, change) in zip(rejects, changes) {
      // What was said of it was said before it was mended.
      let mended = mendedRow(reject) == nil ? "" : "mended since: "
      let reason = mended + reject.message + (reject.detail.map { ": \($0)" } ?? "")
      list.add(
        [key(reject.key)] + (all ? [reject.state] : []) + [reject.sqlState ?? "", reason]
          + (hasChanges ? [change] : []) + [mendedRow(reject) ?? reject.row ?? ""])
    }
    return list
  }

  /// The row as it waits to be tried again, when it was mended.
  private static func mendedRow(_ reject: Reject) -> String? { reject.state == "open" ? reject.fixedRow : nil }

  /// `price: 195.35 → -1`, for each of the columns that would be another value.
  private static func changes(_ reject: Reject, unicode: Bool) -> String {
    guard let row = reject.row.flatMap({ try? JSON($0) }), let new = reject.newValues.flatMap({ try? JSON($0) }) else {
      return ""
    }
    return new.members.compactMap { member in
      let (before, after) = ((row[member.name] ?? .null).compact, member.value.compact)
      return before.utf8.elementsEqual(after.utf8) ? nil : "\(member.name): \(before) \(unicode ? "→" : "->") \(after)"
    }.joined(separator: ", ")
  }

  private static func csv(
    _ summary: RunSummary, _ runs: borrowing Runs, _ console: Console
  ) throws(CommandFailure) {
    let writer = CSVWriter(escapesControls: console.page.isTerminal)
    // A field each: of a key of several columns no text can be told apart from one with commas in it.
    let keys = try console.ask { () throws(RunRefusal) in try runs.keyColumns(summary.id) }
    console.output.write(
      writer.record(
        ["run", "step"] + keys.map { "key_\($0)" } + [
          "kind", "state", "sqlstate", "constraint", "column", "message", "detail", "row", "new_values", "fixed_row",
          "rejected_at",
        ]))
    try console.ask { () throws(RunRefusal) in
      try runs.eachReject(of: summary.id, all: console.arguments[Options.all]) { page in
        for reject in page {
          console.output.write(
            writer.record(
              [String(summary.id), String(reject.step)] + reject.key + [
                reject.kind, reject.state, reject.sqlState, reject.constraint, reject.column, reject.message,
                reject.detail, reject.row, reject.newValues, reject.fixedRow, reject.rejectedAt,
              ]))
        }
      }
    }
  }

  /// A key of one column is its text.
  private static func key(_ key: [String?]) -> String {
    key.count == 1 ? key[0] ?? "" : "(" + key.map { $0 ?? "NULL" }.joined(separator: ", ") + ")"
  }

  private static func document(_ reject: Reject, _ summary: RunSummary) -> JSON {
    .object([
      .init("run", .integer(summary.id)), .init("name", .string(summary.name)), .init("step", .integer(reject.step)),
      .init("key", .array(reject.key.map(JSON.optional))), .init("kind", .string(reject.kind)),
      .init("state", .string(reject.state)), .init("reasons", .array(reject.reasons.map(JSON.optional))),
      .init("fixed_row", reject.fixedRow.flatMap { try? JSON($0) } ?? .null),
      .init("sqlstate", .optional(reject.sqlState)),
      .init("constraint", .optional(reject.constraint)), .init("column", .optional(reject.column)),
      .init("message", .string(reject.message)), .init("detail", .optional(reject.detail)),
      .init("row", reject.row.flatMap { try? JSON($0) } ?? .null),
      .init("new_values", reject.newValues.flatMap { try? JSON($0) } ?? .null),
      .init("rejected_at", .string(reject.rejectedAt)),
    ])
  }
}
