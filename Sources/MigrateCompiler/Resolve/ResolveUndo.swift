internal import MigrateCatalog
internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigrateSQL

/// What triggers do to the rows, and what is kept for the way back.
extension Resolver {
  struct TriggerEffects {
    /// Columns that triggers may write and the definition does not.
    var rewritten: [Column]
    /// Whether AFTER triggers may write the rows once more.
    var hasAfter: Bool
  }

  mutating func resolveTriggers() -> TriggerEffects {
    let written = Set(operation.set.compactMap { table.column($0.column.value)?.number })
    let firing = table.triggers.filter { trigger in
      trigger.firesOnUpdate && (trigger.ofColumns.isEmpty || !written.isDisjoint(with: trigger.ofColumns))
    }
    var numbers: Set<Int> = []
    for trigger in firing {
      let columns = rewrites(trigger)
      numbers.formUnion(columns)
      let names =
        columns.count == storedColumns.count ? ["any column"] : columns.compactMap { table.column($0)?.name.name }
      warnings.append(.trigger(trigger, writes: names, at: operation.source.table.span))
    }
    numbers.subtract(written)
    return TriggerEffects(
      rewritten: storedColumns.filter { numbers.contains($0.number) }, hasAfter: firing.contains { $0.timing == .after }
    )
  }

  private var storedColumns: [Column] { table.columns.filter { !$0.isGenerated } }

  /// The columns that a trigger may write in the row that fires it. Told from the function's text where that is certain; any
  /// column where it is not.
  private func rewrites(_ trigger: Trigger) -> [Int] {
    let all = storedColumns.map(\.number)
    guard trigger.language == "plpgsql" else {
      // PostgreSQL's own, which only keeps a row from being written when nothing changes.
      return trigger.function == "pg_catalog.suppress_redundant_updates_trigger" ? [] : all
    }
    let words = TriggerBody.words(trigger.body)
    switch trigger.timing {
    case .before where trigger.isForEachRow:
      guard let assigned = TriggerBody.assignedColumns(words) else { return all }
      return assigned.compactMap { table.column($0)?.number }
    case .before, .after:
      // Such a trigger has to name the table to write it, unless it makes up its SQL.
      let reaches = words.contains(table.name.name.name.lowercased()) || words.contains("execute")
      return reaches ? all : []
    case .instead: return all
    }
  }

  mutating func resolveUndo(_ written: [Column], _ triggers: TriggerEffects) -> ResolvedUndo {
    let excepted: [Located<String>]
    switch operation.undo {
    case .none: return .none
    case .full: excepted = []
    case .except(let columns): excepted = columns
    }
    for name in excepted {
      guard let column = table.column(name.value) else {
        problems.append(unknownColumn(name.value, at: name.span))
        continue
      }
      if written.contains(where: { $0.number == column.number }) {
        problems.append(.exceptsWritten(name.value, at: name.span))
      }
    }
    let rewritten = triggers.rewritten.filter { column in
      !excepted.contains { $0.value.utf8.elementsEqual(column.name.name.utf8) }
    }
    if !rewritten.isEmpty, !catalog.server.mayReplicate, !table.isOwned {
      problems.append(
        .triggersStayOn(rewritten.map(\.name.name), table.name.description, at: operation.source.table.span))
    }
    return .captured(columns: written + rewritten, rewritten: rewritten)
  }
}

/// What the text of a PL/pgSQL trigger function says about the row.
enum TriggerBody {
  /// Identifiers, keywords and `:=`, `=`, `.` in small letters; comments and strings left out.
  static func words(_ body: String) -> [String] {
    var words: [String] = []
    var word: [UInt8] = []
    let bytes = Array(body.utf8)
    var index = 0
    func flush() {
      if !word.isEmpty { words.append(String(decoding: word, as: UTF8.self).lowercased()) }
      word = []
    }
    while index < bytes.count {
      let byte = bytes[index]
      let next = index + 1 < bytes.count ? bytes[index + 1] : 0
      switch (byte, next) {
      case (UInt8(ascii: "-"), UInt8(ascii: "-")):
        flush()
        while index < bytes.count, bytes[index] != UInt8(ascii: "\n") { index += 1 }
      case (UInt8(ascii: "/"), UInt8(ascii: "*")):
        flush()
        while index + 1 < bytes.count, !(bytes[index] == UInt8(ascii: "*") && bytes[index + 1] == UInt8(ascii: "/")) {
          index += 1
        }
        index += 2
      case (UInt8(ascii: "'"), _):
        flush()
        index += 1
        while index < bytes.count, bytes[index] != UInt8(ascii: "'") { index += 1 }
        index += 1
      case (UInt8(ascii: ":"), UInt8(ascii: "=")):
        flush()
        words.append(":=")
        index += 2
      default:
        if isWord(byte) {
          word.append(byte)
        } else {
          flush()
          if [UInt8(ascii: "."), UInt8(ascii: "="), UInt8(ascii: ";"), UInt8(ascii: "(")].contains(byte) {
            words.append(String(decoding: [byte], as: UTF8.self))
          }
        }
        index += 1
      }
    }
    flush()
    return words
  }

  private static func isWord(_ byte: UInt8) -> Bool {
    (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte) || byte == UInt8(ascii: "_")
      || byte >= 128
  }

  /// The columns in `NEW.column :=`; `nil` when the row may be written in another way, so that it can be any.
  static func assignedColumns(_ words: [String]) -> [String]? {
    var columns: [String] = []
    for (index, word) in words.enumerated() where word == "new" {
      let rest = words[(index + 1)...].prefix(3).map { $0 }
      let before = index > 0 ? words[index - 1] : ";"
      // `SELECT … INTO NEW`, `NEW := …`, `f(NEW)` with an effect nobody can see from here.
      if before == "into" || rest.first == ":=" || (rest.first == "=" && isStatementStart(before)) { return nil }
      if rest.count >= 3, rest[0] == ".", rest[2] == ":=" || (rest[2] == "=" && isStatementStart(before)) {
        columns.append(rest[1])
      }
      if before == "," || before == "into", rest.first == "." { return nil }
    }
    return words.contains("into") && intoNew(words) ? nil : columns
  }

  private static func isStatementStart(_ word: String) -> Bool {
    [";", "begin", "then", "else", "loop"].contains(word)
  }

  private static func intoNew(_ words: [String]) -> Bool {
    zip(words, words.dropFirst()).contains { $0 == "into" && $1 == "new" }
  }
}

extension Diagnostic {
  fileprivate static func trigger(_ trigger: Trigger, writes columns: [String], at span: SourceSpan) -> Diagnostic {
    let effect =
      columns.isEmpty ? "and writes no column of the row" : "and may write \(columns.joined(separator: ", "))"
    return Diagnostic(
      "trigger-fires", .warning, at: span,
      "trigger \(trigger.name) (\(trigger.timing.rawValue) update, \(trigger.function)) fires for every changed row, on revert too, \(effect)",
      remedy: "what it writes to other tables is its own and is not taken back")
  }

  fileprivate static func exceptsWritten(_ column: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "except-is-written", at: span, "\"\(column)\" is set by this definition, so revert has to restore it",
      remedy: "`except` is for columns that triggers write; take it out, or say `undo: none`")
  }

  fileprivate static func triggersStayOn(_ columns: [String], _ table: String, at span: SourceSpan) -> Diagnostic {
    let list = columns.joined(separator: ", ")
    return Diagnostic(
      "triggers-stay-on", at: span,
      "triggers write \(list), and this role can neither switch them off nor owns \(table): revert could not restore them",
      remedy: "run as the owner, or accept it: `undo: {except: [\(list)]}`")
  }
}
