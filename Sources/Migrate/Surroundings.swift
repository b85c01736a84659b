internal import MigrateCompiler
package import MigrateLedger
package import MigratePlan
internal import MigratePostgres

/// What a plan meets in the database besides its table.
package struct Surroundings: Sendable {
  /// False before the first apply, which creates schema `migrate`.
  package let hasLedger: Bool
  /// Unfinished runs over the same table, of this definition too.
  package let unfinished: [RunSummary]
}

extension Session {
  /// What `plan` meets in the database; `nil` when this role may not read the ledger.
  package borrowing func surroundings(of plan: Plan) throws(CompileFailure) -> Surroundings? {
    do throws(PostgresError) {
      guard try Upgrade.version(connection) > 0 else { return Surroundings(hasLedger: false, unfinished: []) }
      let others = try Ledger.unfinishedRuns(connection, over: plan.tables.map(\.name))
      return Surroundings(hasLedger: true, unfinished: others)
    } catch {
      if error.sqlState == .insufficientPrivilege { return nil }
      throw .database(error)
    }
  }
}
