internal import Migrate
internal import MigrateCommandLine

/// `migrate why`: which runs have touched a row, and what they have made of it.
enum WhyCommand {
  static func run(_ console: Console) throws(CommandFailure) -> ExitCode {
    let runs = try console.runs()
    let table = console.arguments[Positionals.table] ?? ""
    let words = console.arguments[Positionals.key]
    let history = try console.ask { () throws(RunRefusal) in try runs.why(table, words) }
    if console.isJSON {
      console.print(document(history).compact)
    } else {
      console.print(Printable.line("\(history.table.name), \(name(history))"))
      if history.touches.isEmpty {
        console.print(
          history.isThere == false
            ? "there is no such row, and no run has touched one of that key" : "no run has touched it")
      }
      for touch in history.touches { console.print(text(touch, console)) }
    }
    return .done
  }

  /// `id 42`, `tenant 17, id 42`
  private static func name(_ history: RowHistory) -> String {
    zip(history.table.key, history.key).map { "\($0) \($1)" }.joined(separator: ", ")
      + (history.column.map { ": \($0)" } ?? "")
  }

  private static func text(_ touch: RowTouch, _ console: Console) -> String {
    let batch = touch.ordinal.map { ", batch \($0)" } ?? (touch.kind == .mended ? ", mended" : "")
    let host = touch.host.map { " on \($0)" } ?? ""
    let when = touch.at.map { " at \($0)" } ?? ""
    var lines = [
      "",
      "run \(touch.run) \(touch.name)\(batch):\(when) by \(touch.by)\(host)" + (touch.reason.map { ": \($0)" } ?? ""),
    ]
    func add(_ title: String, _ text: String) { lines.append("  " + ColumnWidth.padded(title, to: 10) + " " + text) }
    switch touch.kind {
    case .changed, .mended:
      let arrow = console.page.unicode ? "→" : "->"
      for change in touch.changes { add(change.column, "\(value(change.before)) \(arrow) \(value(change.after))") }
      let sql = (touch.note ?? "").utf8.split(separator: UInt8(ascii: "\n"))
      for (index, line) in sql.enumerated() { add(index == 0 ? "by" : "", String(decoding: line, as: UTF8.self)) }
    case .done: add("done", touch.note ?? "")
    case .rejected:
      add("rejected", (touch.refusal ?? "") + (touch.refusalState.map { " [\($0)]" } ?? ""))
    case .maybe: add("maybe", touch.note ?? "")
    }
    if let back = restored(touch) { add("reverted", back) }
    return lines.map(Printable.line).joined(separator: "\n")
  }

  /// What a revert has made of the row; `nil` when none came to it.
  private static func restored(_ touch: RowTouch) -> String? {
    guard let at = touch.restoredAt else { return nil }
    let who = "at \(at)" + (touch.revertedBy.map { " by \($0)" } ?? "") + (touch.revertReason.map { ": \($0)" } ?? "")
    let found = touch.found.map { " \($0)" } ?? ""
    return switch touch.conflict {
    case nil: who
    case "gone": "\(who); not this row, which was gone"
    case "kept": "\(who); not this row, which stays with others where it was moved"
    case "overwritten": "\(who); over a later value\(found)"
    case "refused": "\(who); not this row, since the database refuses what it was\(found)"
    case .some: "\(who); not this row, which was edited since\(found)"
    }
  }

  /// NULL, and what could be taken for it or be overlooked, told apart.
  private static func value(_ value: String?) -> String {
    guard let value else { return "NULL" }
    let isPlain = !value.isEmpty && value != "NULL" && value.utf8.first != 0x20 && value.utf8.last != 0x20
    return isPlain ? value : "'\(value)'"
  }

  private static func document(_ history: RowHistory) -> JSON {
    .object([
      .init("table", .string(history.table.name)),
      .init("key", .object(zip(history.table.key, history.key).map { .init($0, .string($1)) })),
      .init("column", .optional(history.column)), .init("is_there", history.isThere.map(JSON.bool) ?? .null),
      .init("touches", .array(history.touches.map(document))),
    ])
  }

  private static func document(_ touch: RowTouch) -> JSON {
    .object([
      .init("run", .integer(touch.run)), .init("name", .string(touch.name)),
      .init("state", .string(touch.state.rawValue)),
      .init("touch", .string(touch.kind.rawValue)), .init("note", .optional(touch.note)),
      .init(
        "changes",
        .array(
          touch.changes.map {
            .object([
              .init("column", .string($0.column)), .init("before", .optional($0.before)),
              .init("after", .optional($0.after)),
            ])
          })),
      .init("batch", .optional(touch.ordinal)), .init("at", .optional(touch.at)), .init("by", .string(touch.by)),
      .init("client_host", .optional(touch.host)), .init("reason", .optional(touch.reason)),
      .init("restored_at", .optional(touch.restoredAt)), .init("reverted_by", .optional(touch.revertedBy)),
      .init("revert_reason", .optional(touch.revertReason)), .init("conflict", .optional(touch.conflict)),
      .init("found", touch.found.flatMap { try? JSON($0) } ?? .null),
      .init("refusal", .optional(touch.refusal)), .init("sqlstate", .optional(touch.refusalState)),
    ])
  }
}
