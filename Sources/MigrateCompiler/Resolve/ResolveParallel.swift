internal import MigrateCatalog
internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigratePlan

extension NamedStep {
  /// Whether batches beside one another may write the same row.
  fileprivate var isShared: Bool {
    switch verb {
    case .update(_, let match, _), .delete(_, let match): match.isShared
    case .insert(_, _, let skipping): !skipping.isEmpty
    case .emit, .notify: false
    }
  }
}

extension NamedBatch {
  /// How many workers do the batches, and what to say when it is not the number that was asked for.
  ///
  /// The rows that a run leaves must be the same for any number. Of two rows that want the same unique value one goes to quarantine
  /// under `on_error: continue`; with one worker it is the one with the higher key, with several whichever comes later.
  func workers(_ inputs: CompileInputs) -> (Int, Diagnostic?) {
    let operation = parsed.definition.operation
    let wanted = inputs.workers ?? operation.parallel?.value ?? 1
    if wanted > 1, steps.contains(where: { $0.isShared }) {
      let warning = Diagnostic(
        "one-worker", .warning, at: operation.parallel?.span,
        "one worker does the batches: several of them reach the same rows, and would wait for one another",
        remedy: "leave `parallel` out; a definition that walks the table itself can have several")
      return (1, warning)
    }
    guard wanted > 1, case .quarantine = operation.policy else { return (wanted, nil) }
    let written = table.changed(by: Set(assignments.map(\.column.number)))
    guard let index = table.indexes.first(where: { $0.isUnique && !written.isDisjoint(with: $0.allColumns) }) else {
      return (wanted, nil)
    }
    let warning = Diagnostic(
      "one-worker", .warning, at: operation.parallel?.span,
      "one worker does the batches: \(index.name) is unique, and which of two rows goes to quarantine must not depend on who comes first",
      remedy: "leave `on_error: continue` out to have several")
    return (1, warning)
  }
}
