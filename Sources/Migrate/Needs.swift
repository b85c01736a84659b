internal import MigrateCompiler
package import MigrateDefinition
package import MigrateDiagnostics
internal import MigrateLedger
internal import MigratePlan
package import MigratePostgres

/// That a run is about to begin with what is compiled.
package struct Beginning: Sendable {
  /// Although it is complete already.
  package var again: Bool
  /// The names of what the same command runs before.
  package var behind: [String]

  package init(again: Bool = false, behind: [String] = []) {
    self.again = again
    self.behind = behind
  }
}

extension Session {
  /// What stands under `needs` and has no completed run, or one with rows in quarantine; `behind` names what will have one by then. Nothing where this role may
  /// not read the ledger: whoever begins the run asks again.
  package borrowing func unmetNeeds(
    of definition: Definition, behind: [String] = [], _ severity: Diagnostic.Severity = .error
  ) throws(PostgresError) -> [Diagnostic] {
    let needs = definition.operation.needs.filter { need in
      !behind.contains { $0.utf8.elementsEqual(need.value.utf8) }
    }
    guard !needs.isEmpty else { return [] }
    do throws(PostgresError) {
      let names = needs.map(\.value)
      let missing =
        try Upgrade.version(connection) > 0
        ? try Ledger.missing(connection, needs: names) : names.map { UnmetNeed(name: $0) }
      return needs.compactMap { need in
        missing.first { $0.name.utf8.elementsEqual(need.value.utf8) }
          .map { Diagnostic.unmetNeed($0, of: definition.name.value, severity, at: need.span) }
      }
    } catch {
      if error.sqlState == .insufficientPrivilege { return [] }
      throw error
    }
  }

  /// Whether nothing of the plan has run yet, or it shall run once more.
  borrowing func begins(_ plan: Plan, _ beginning: Beginning) throws(PostgresError) -> Bool {
    guard try Upgrade.version(connection) > 0 else { return true }
    if try Ledger.activeRun(connection, name: plan.definition, searchPath: plan.searchPath) != nil { return false }
    if beginning.again || plan.incremental != nil { return true }
    return try Ledger.completedRun(connection, identity: plan.identity) == nil
  }
}

extension UnmetNeed {
  /// `prices`, or `prices (run 3 has 2 rows in quarantine)`
  var words: String { name + (run.map { " (run \($0) has \(rows) in quarantine)" } ?? "") }

  /// How the rows come out of quarantine; `nil` where none wait there.
  var mending: String? {
    run.map { "`migrate rejects \($0)` lists them; mend them, then: `migrate apply --rejects \($0)`" }
  }

  fileprivate var rows: String { rejects == 1 ? "1 row" : "\(rejects) rows" }
}

extension Diagnostic {
  fileprivate static func unmetNeed(
    _ need: UnmetNeed, of name: String, _ severity: Diagnostic.Severity, at span: SourceSpan
  ) -> Diagnostic {
    let lack = need.run.map { "is not complete: run \($0) has \(need.rows) in quarantine" } ?? "is not complete yet"
    return Diagnostic(
      "unmet-need", severity, at: span, "\(name) needs \(need.name), which \(lack)",
      remedy: need.mending
        ?? "first: `migrate apply \(need.name)`, or both at once: `migrate apply \(need.name) \(name)`")
  }
}
