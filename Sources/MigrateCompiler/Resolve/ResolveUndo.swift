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
    // Of the tables that steps write each is looked at by itself.
    guard !operation.isStepped else { return TriggerEffects(rewritten: [], hasAfter: false) }
    let written = Set(operation.set.compactMap { table.column($0.column.value)?.number })
    let computed = table.computesAll ? table.columns.filter(\.isGenerated) : table.computed(from: written)
    let changed = written.union(computed.map(\.number))
    let firing = table.triggers.filter { trigger in
      trigger.firesOnUpdate && (trigger.ofColumns.isEmpty || !changed.isDisjoint(with: trigger.ofColumns))
    }
    var numbers: Set<Int> = []
    var isWrittenAgain = false
    for trigger in firing {
      let reaches = reachesRows(trigger)
      let columns = reaches ? storedColumns.map(\.number) : assigns(trigger)
      // An image is read before a deferred one fires.
      if !trigger.isDeferred { numbers.formUnion(columns) }
      isWrittenAgain = isWrittenAgain || reaches
      let names =
        columns.count == storedColumns.count ? ["any column"] : columns.compactMap { table.column($0)?.name.name }
      warnings.append(.trigger(trigger, writes: names, reaches: reaches, at: operation.source.span))
    }
    numbers.subtract(written)
    return TriggerEffects(
      rewritten: storedColumns.filter { numbers.contains($0.number) },
      hasAfter: isWrittenAgain || firing.contains { $0.timing == .after })
  }

  private var storedColumns: [Column] { table.columns.filter { !$0.isGenerated } }

  /// The columns that a trigger may assign in the row that fires it, before it is written. Told from the function's text where that
  /// is certain; any column where it is not.
  private func assigns(_ trigger: Trigger) -> [Int] {
    guard trigger.timing == .before, trigger.isForEachRow, trigger.language == "plpgsql" else { return [] }
    let all = storedColumns.map(\.number)
    guard let assigned = TriggerBody.words(trigger.body).flatMap(TriggerBody.assignedColumns) else { return all }
    let columns = assigned.compactMap { table.column($0)?.number }
    return columns.count == assigned.count ? columns : all
  }

  /// Whether a trigger may write rows of the table by statements of its own: the row that fires it once more, or others.
  private func reachesRows(_ trigger: Trigger) -> Bool {
    guard trigger.language == "plpgsql" else {
      // PostgreSQL's own, which only keeps a row from being written when nothing changes.
      return trigger.function != "pg_catalog.suppress_redundant_updates_trigger"
    }
    guard trigger.timing != .instead, let words = TriggerBody.words(trigger.body) else { return true }
    let names = ([table.name.name.name] + table.otherNames).map { $0.lowercased() }
    let writes = TriggerBody.writes(words)
    guard table.ledToBy.isDisjoint(with: writes) else { return true }
    if trigger.timing == .before, trigger.isForEachRow {
      // Such a trigger looks at its table and calls functions for the sake of its row, as a rule.
      return trigger.callsWriters || words.contains("execute") || writes.contains { names.contains($0.name) }
    }
    // To write the table it has to name it, or a partition or a view of it, unless what it calls does, or it makes up its SQL.
    return names.contains(where: words.contains) || !TriggerBody.callsOnlyHarmless(words)
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
        .triggersStayOn(rewritten.map(\.name.name), table.name.description, at: operation.source.span))
    }
    return .captured(columns: written + rewritten, rewritten: rewritten)
  }
}

extension Diagnostic {
  /// - Parameter reaches: whether it may write rows by statements of its own.
  fileprivate static func trigger(
    _ trigger: Trigger, writes columns: [String], reaches: Bool, at span: SourceSpan
  ) -> Diagnostic {
    let isLate = trigger.isDeferred && reaches
    let effect =
      columns.isEmpty
      ? "and writes no column of the row"
      : "and may write \(columns.joined(separator: ", "))\(isLate ? " at COMMIT, which is in no undo" : "")"
    let elsewhere = reaches ? "other tables and to other rows" : "other tables"
    return Diagnostic(
      "trigger-fires", .warning, at: span,
      "trigger \(trigger.name) (\(trigger.timing.rawValue) update, \(trigger.function)) fires for every changed row, on revert too, \(effect)",
      remedy: isLate
        ? "what it writes is not taken back, and a set column that it writes is a conflict of revert; without INITIALLY DEFERRED the undo has what it writes to the row"
        : "what it writes to \(elsewhere) is its own and is not taken back")
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
