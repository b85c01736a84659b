internal import Migrate
internal import MigrateCommandLine

/// `migrate history`: all runs, the newest first.
enum HistoryCommand {
  static func run(_ console: Console) throws(CommandFailure) -> ExitCode {
    let runs = try console.runs()
    let entries = try console.ask { () throws(RunRefusal) in try runs.history() }
    if console.isJSON {
      console.print(JSON.array(entries.map(document)).compact)
    } else if console.arguments[Options.csv] {
      console.output.write(csv(entries, console))
    } else if entries.isEmpty {
      console.say("no runs yet; `migrate apply NAME` begins one")
    } else {
      console.output.write(table(entries, console))
    }
    return .done
  }

  private static func table(_ entries: [HistoryEntry], _ console: Console) -> String {
    var table = Table([
      .init("RUN", .number), .init("NAME"), .init("STATE"), .init("ROWS", .number), .init("STARTED", .moment),
      .init("TOOK"), .init("BY"), .init("REASON", .rest),
    ])
    for entry in entries {
      table.add([
        String(entry.id), entry.name, entry.state.rawValue, Wording.count(entry.rowsChanged), entry.startedAt,
        entry.secondsWorked.map { Wording.duration(.seconds($0)) } ?? "", entry.startedBy, entry.reason ?? "",
      ])
    }
    return table.rendered(width: console.page.isTerminal ? console.pageWidth : nil, unicode: console.page.unicode)
  }

  private static func csv(_ entries: [HistoryEntry], _ console: Console) -> String {
    let writer = CSVWriter(escapesControls: console.page.isTerminal)
    let heading = [
      "run", "name", "state", "direction", "rows_changed", "rows_rejected", "left_behind", "started_at", "ended_at",
      "reverted_at", "seconds", "started_by", "client_host", "reason", "revert_reason", "parameters", "version",
      "definition_hash", "seconds_worked", "reverted_by", "revert_host",
    ]
    let rows = entries.map { entry -> [String?] in
      [
        String(entry.id), entry.name, entry.state.rawValue, entry.direction.rawValue, String(entry.rowsChanged),
        String(entry.rowsRejected), entry.leftBehind.map(String.init), entry.startedAt, entry.endedAt, entry.revertedAt,
        entry.seconds.map { String($0) }, entry.startedBy, entry.clientHost, entry.reason, entry.revertReason,
        entry.parameters, entry.version, entry.definitionHash, entry.secondsWorked.map { String($0) },
        entry.revertedBy, entry.revertHost,
      ]
    }
    return ([heading] + rows).map(writer.record).joined()
  }

  private static func document(_ entry: HistoryEntry) -> JSON {
    .object([
      .init("run", .integer(entry.id)), .init("name", .string(entry.name)),
      .init("state", .string(entry.state.rawValue)),
      .init("direction", .string(entry.direction.rawValue)), .init("rows_changed", .integer(entry.rowsChanged)),
      .init("rows_rejected", .integer(entry.rowsRejected)), .init("left_behind", .optional(entry.leftBehind)),
      .init("started_at", .string(entry.startedAt)), .init("ended_at", .optional(entry.endedAt)),
      .init("reverted_at", .optional(entry.revertedAt)),
      .init("seconds", entry.seconds.map { .number(String($0)) } ?? .null),
      .init("seconds_worked", entry.secondsWorked.map { .number(String($0)) } ?? .null),
      .init("started_by", .string(entry.startedBy)), .init("client_host", .optional(entry.clientHost)),
      .init("reason", .optional(entry.reason)), .init("revert_reason", .optional(entry.revertReason)),
      .init("reverted_by", .optional(entry.revertedBy)), .init("revert_host", .optional(entry.revertHost)),
      .init("parameters", (try? JSON(entry.parameters)) ?? .string(entry.parameters)),
      .init("version", .string(entry.version)), .init("definition_hash", .string(entry.definitionHash)),
    ])
  }
}
