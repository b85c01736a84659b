internal import MigrateCatalog
internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigrateSQL

/// The triggers of the tables that steps write: what they make of the rows is kept, and put right when these come back. One that may
/// write a table of the definition by itself, or keep a row from being written, would do what no undo knows of.
extension Resolver {
  struct StepTriggers {
    /// Whether they may make something else of a row than what is written.
    var isRewritten = false
    /// What a revert has to put right.
    var rewritten: [Column] = []
  }

  mutating func triggerEffects(of step: ParsedStep, on table: Table) -> StepTriggers {
    let span = step.definition.span
    let changed = changed(by: step, of: table)
    let forth = table.triggers.filter { fires($0, forth: true, step, changed) }
    let back = table.triggers.filter { fires($0, forth: false, step, changed) }
    for trigger in table.triggers where (forth + back).contains(where: { $0.name == trigger.name }) {
      if mayWriteTables(trigger) || maySuppress(trigger) {
        problems.append(.triggerOfStep(trigger, table.name, at: span))
      } else {
        let names = assigns(trigger, of: table, besides: []).compactMap { table.column($0)?.name.name }
        warnings.append(.triggerOfStepFires(trigger, table.name, writes: names, at: span))
      }
    }
    let key = table.findingKey.map(\.number)
    let written = Set(forth.flatMap { assigns($0, of: table, besides: key) })
    let restored = Set(back.flatMap { assigns($0, of: table, besides: key) })
    let putRight: Set<Int>
    switch step.definition.verb {
    case .update, .overwrite: putRight = written.union(restored).subtracting(changed ?? [])
    case .delete: putRight = restored
    case .insert, .add, .emit, .notify: putRight = []
    }
    let rewritten = table.columns.filter { putRight.contains($0.number) }
    let isMove = step.isOfMove(in: parsed.steps) { remover(of: $0) }
    if isMove && !(written.isEmpty && putRight.isEmpty) || !putRight.isDisjoint(with: key) {
      problems.append(.triggerOfMove(table.name, at: span))
    }
    // Checked before the triggers are off it would meet what they have written, and behind that they cannot be switched off.
    let isCheckedLate = table.indexes.contains { index in
      index.isUnique && !index.isImmediate && !putRight.isDisjoint(with: index.columns)
    }
    let bySetting = catalog.server.mayReplicate && !table.triggers.contains(where: \.firesAlways)
    if !rewritten.isEmpty, !bySetting, !table.isOwned || isCheckedLate {
      problems.append(.triggersStayOnOfStep(rewritten.map(\.name.name), table.name, at: span))
    }
    // One that gives back the old row, or another one, assigns no column by name.
    let isRewritten = forth.contains { $0.timing == .before && $0.isForEachRow }
    return StepTriggers(isRewritten: isRewritten, rewritten: rewritten)
  }

  /// The columns that an update writes, computed ones among them; `nil` where a step does something else.
  private func changed(by step: ParsedStep, of table: Table) -> Set<Int>? {
    let set: [Assignment]
    switch step.definition.verb {
    case .update(_, _, let assignments): set = assignments
    case .overwrite(_, let values, let onConflict):
      let key = onConflict.key.map(\.value)
      guard let values else { return nil }
      set = onConflict.set + values.filter { value in !key.contains { $0.utf8.elementsEqual(value.column.value.utf8) } }
    case .insert, .add, .delete, .emit, .notify: return nil
    }
    let columns = Set(set.compactMap { table.column($0.column.value)?.number })
    return columns.union(table.computed(from: columns).map(\.number))
  }

  private func fires(_ trigger: Trigger, forth: Bool, _ step: ParsedStep, _ changed: Set<Int>?) -> Bool {
    switch (step.definition.verb, forth) {
    case (.update, _), (.overwrite, _):
      trigger.firesOnUpdate
        && (trigger.ofColumns.isEmpty || changed.map { !$0.isDisjoint(with: trigger.ofColumns) } ?? true)
    case (.insert, true), (.add, true), (.emit, true): trigger.firesOnInsert
    case (.insert, false), (.add, false), (.delete, true): trigger.firesOnDelete
    // Under `force` a row that stands under the key is changed.
    case (.delete, false): trigger.firesOnInsert || trigger.firesOnUpdate
    case (.emit, false), (.notify, _): false
    }
  }

  /// Those that assign in the row and do nothing else.
  private static let assigning: Set = [
    "tsvector_update_trigger", "tsvector_update_trigger_column", "moddatetime", "insert_username", "autoinc",
  ]

  private static func name(of trigger: Trigger) -> String {
    String(decoding: trigger.function.utf8.split(separator: UInt8(ascii: ".")).last ?? [], as: UTF8.self)
  }

  /// The stored columns that a trigger may assign in the row that fires it. Where it can be any, those of a key are not meant: of a row
  /// whose key it does assign it is found out that it is another one.
  private func assigns(_ trigger: Trigger, of table: Table, besides key: [Int]) -> [Int] {
    let all = table.columns.filter { !$0.isGenerated && !key.contains($0.number) }.map(\.number)
    guard trigger.timing == .before, trigger.isForEachRow else { return [] }
    guard trigger.language == "plpgsql" else { return Self.assigning.contains(Self.name(of: trigger)) ? all : [] }
    guard let assigned = TriggerBody.words(trigger.body).flatMap(TriggerBody.assignedColumns) else { return all }
    let columns = assigned.compactMap { table.column($0)?.number }
    return columns.count == assigned.count ? columns : all
  }

  /// Whether a trigger may write rows of a table that the definition writes or walks, by statements of its own.
  private func mayWriteTables(_ trigger: Trigger) -> Bool {
    guard trigger.language == "plpgsql" else {
      return !Self.assigning.contains(Self.name(of: trigger))
        && trigger.function != "pg_catalog.suppress_redundant_updates_trigger"
    }
    guard trigger.timing != .instead, let words = TriggerBody.words(trigger.body),
      !["drop", "alter"].contains(where: words.contains), !catalog.hasUnsettledCasts,
      !catalog.unsettledOperators.contains(where: { trigger.body.utf8.contains($0.utf8) })
    else { return true }
    let tables = [table] + catalog.asked.compactMap(\.self)
    let names = tables.flatMap { [$0.name.name.name] + $0.otherNames }.map { $0.lowercased() }
    let writes = TriggerBody.writes(words)
    guard tables.allSatisfy({ $0.ledToBy.isDisjoint(with: writes) }) else { return true }
    return trigger.callsWriters || ["execute", "call"].contains(where: words.contains)
      || writes.contains { names.contains($0.name) }
  }

  private func maySuppress(_ trigger: Trigger) -> Bool {
    guard trigger.timing == .before, trigger.isForEachRow, trigger.language == "plpgsql" else { return false }
    guard let words = TriggerBody.words(trigger.body) else { return true }
    return words.indices.contains { index in
      let rest = Array(words[(index + 1)...].prefix(2))
      return words[index] == "return" && rest != ["new", ";"] && rest != ["old", ";"]
    }
  }
}

extension ParsedStep {
  /// Whether it is half of a move.
  fileprivate func isOfMove(in steps: [ParsedStep], _ remover: (ParsedStep) -> Int) -> Bool {
    if case .add = definition.verb { return true }
    return steps.contains { step in
      if case .add = step.definition.verb { remover(step) == number } else { false }
    }
  }
}

extension Diagnostic {
  fileprivate static func triggerOfStep(_ trigger: Trigger, _ table: QualifiedName, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "trigger-of-step", at: span,
      "trigger \(trigger.name) of \(table.description) (\(trigger.timing.rawValue), \(trigger.function)) may write tables of this definition by itself or keep a row from being written, and undo would not know",
      remedy:
        "switch it off while the run and its revert are under way (ALTER TABLE … DISABLE TRIGGER …), and do in a step what it does"
    )
  }

  fileprivate static func triggerOfMove(_ table: QualifiedName, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "not-yet", at: span,
      "triggers of \(table.description) write columns of rows that are moved, or of their keys, and what is kept would not tell what they hold",
      remedy: "until then: switch them off while the run and its revert are under way (ALTER TABLE … DISABLE TRIGGER …)"
    )
  }

  fileprivate static func triggersStayOnOfStep(
    _ columns: [String], _ table: QualifiedName, at span: SourceSpan
  ) -> Diagnostic {
    Diagnostic(
      "triggers-stay-on", at: span,
      "triggers write \(columns.joined(separator: ", ")), and this role cannot switch them off for itself, and does not own \(table.description) or has a deferred constraint there to heed: revert could not restore them",
      remedy:
        "run as a role that may SET session_replication_role, or else as the owner; or switch the triggers off meanwhile"
    )
  }

  fileprivate static func triggerOfStepFires(
    _ trigger: Trigger, _ table: QualifiedName, writes columns: [String], at span: SourceSpan
  ) -> Diagnostic {
    let effect =
      columns.isEmpty ? "and writes no column of the row" : "and may write \(columns.joined(separator: ", "))"
    return Diagnostic(
      "trigger-fires", .warning, at: span,
      "trigger \(trigger.name) of \(table.description) (\(trigger.timing.rawValue), \(trigger.function)) fires for what this step writes, or for its way back, \(effect)",
      remedy: "what it writes to other tables is its own and is not taken back")
  }
}

extension String.UTF8View {
  /// Whether these bytes stand in it.
  fileprivate func contains(_ bytes: String.UTF8View) -> Bool {
    let (all, wanted) = (Array(self), Array(bytes))
    guard !wanted.isEmpty, all.count >= wanted.count else { return false }
    return (0...(all.count - wanted.count)).contains { all[$0..<($0 + wanted.count)].elementsEqual(wanted) }
  }
}
