package import MigrateDefinition
package import MigrateLedger
internal import MigratePostgres

/// What `apply` without a name finds about a definition.
package enum Pending: Sendable {
  /// Never completed, or taken back since.
  case new
  case unfinished(RunSummary)
  /// Complete, and its file has another text now.
  case changed(RunSummary)
  case complete(RunSummary)
}

extension Runs {
  /// Of each definition what is to be done, those that others need before these.
  package borrowing func pending(
    _ definitions: [Definition]
  ) throws(RunRefusal) -> [(definition: Definition, pending: Pending)] {
    var found: [(definition: Definition, pending: Pending)] = []
    let hasLedger = try asking { (connection) throws(PostgresError) in try Upgrade.version(connection) > 0 }
    for definition in Self.ordered(definitions) {
      found.append((definition, hasLedger ? try pending(definition) : .new))
    }
    return found
  }

  private borrowing func pending(_ definition: Definition) throws(RunRefusal) -> Pending {
    try asking { (connection) throws(PostgresError) in
      let name = definition.name.value
      if let run = try Ledger.unfinishedRun(connection, name: name) { return .unfinished(run) }
      guard let run = try Ledger.completedRun(connection, name: name) else { return .new }
      let hash = try Self.hash(of: definition, connection)
      return run.definitionHash.utf8.elementsEqual(hash.utf8) ? .complete(run) : .changed(run)
    }
  }

  /// By `needs`; otherwise as they come. A circle stays as it is: `begin` then says what is missing.
  private static func ordered(_ definitions: [Definition]) -> [Definition] {
    var ordered: [Definition] = []
    var rest = definitions
    while !rest.isEmpty {
      let waiting = rest.map(\.name.value)
      let ready = rest.firstIndex { definition in
        !definition.operation.needs.contains { need in
          waiting.contains {
            $0.utf8.elementsEqual(need.value.utf8) && !need.value.utf8.elementsEqual(definition.name.value.utf8)
          }
        }
      }
      ordered.append(rest.remove(at: ready ?? 0))
    }
    return ordered
  }
}
