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
    guard let words = TriggerBody.words(trigger.body) else { return all }
    switch trigger.timing {
    case .before where trigger.isForEachRow:
      guard let assigned = TriggerBody.assignedColumns(words) else { return all }
      let columns = assigned.compactMap { table.column($0)?.number }
      return columns.count == assigned.count ? columns : all
    case .before, .after:
      // Such a trigger has to name the table to write it, or a partition or a view of it, unless what it calls does, or it makes
      // up its SQL.
      let names = [table.name.name.name] + table.otherNames
      let reaches = names.contains { words.contains($0.lowercased()) } || !TriggerBody.callsOnlyHarmless(words)
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
