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
  /// What stands under `needs` and has no completed run; `behind` names what will have one by then. Nothing where this role may
  /// not read the ledger: whoever begins the run asks again.
  package borrowing func unmetNeeds(
    of definition: Definition, behind: [String] = [], _ severity: Diagnostic.Severity = .error
  ) throws(PostgresError) -> [Diagnostic] {
    let needs = definition.operation.needs.filter { need in
      !behind.contains { $0.utf8.elementsEqual(need.value.utf8) }
    }
    guard !needs.isEmpty else { return [] }
    do throws(PostgresError) {
      let hasLedger = try Upgrade.version(connection) > 0
      var unmet: [Diagnostic] = []
      for need in needs {
        let run = hasLedger ? try Ledger.completedRun(connection, name: need.value) : nil
        guard run == nil else { continue }
        unmet.append(.unmetNeed(need.value, of: definition.name.value, severity, at: need.span))
      }
      return unmet
    } catch {
      if error.sqlState == .insufficientPrivilege { return [] }
      throw error
    }
  }

  /// Whether nothing of the plan has run yet, or it shall run once more.
  borrowing func begins(_ plan: Plan, _ beginning: Beginning) throws(PostgresError) -> Bool {
    guard try Upgrade.version(connection) > 0 else { return true }
    if try Ledger.activeRun(connection, name: plan.definition, searchPath: plan.searchPath) != nil { return false }
    if beginning.again { return true }
    return try Ledger.completedRun(connection, identity: plan.identity) == nil
  }
}

extension Diagnostic {
  fileprivate static func unmetNeed(
    _ need: String, of name: String, _ severity: Diagnostic.Severity, at span: SourceSpan
  ) -> Diagnostic {
    Diagnostic(
      "unmet-need", severity, at: span, "\(name) needs \(need), which is not complete yet",
      remedy: "first: `migrate apply \(need)`, or both at once: `migrate apply \(need) \(name)`")
  }
}
