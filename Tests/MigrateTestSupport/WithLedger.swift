import MigrateLedger
import MigratePostgres
package import TestSupport

extension DatabaseTemplate {
  /// Nothing but the ledger, which takes longer to install than most tests.
  package static let withLedger = DatabaseTemplate("with_ledger") { server in
    try await withConnection(to: server) { connection in try Upgrade.run(connection) }
  }
}
