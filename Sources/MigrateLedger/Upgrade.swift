package import MigratePostgres
internal import MigrateSQLFiles

/// Brings the ledger up to the version that this program knows.
package enum Upgrade {
  /// The version that this program knows: the number of its scripts.
  package static var newest: Int { Scripts.ledger.count }

  /// The ledger's version; 0 when there is none.
  ///
  /// Read from the catalog's tables: `to_regclass` answers from a cache that a transaction does not bring up to date while it
  /// waits for a lock, so of two programs that install at once the second would find nothing.
  package static func version(_ connection: borrowing Connection) throws(PostgresError) -> Int {
    let there = try connection.query(
      """
      SELECT EXISTS (SELECT FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
                     WHERE n.nspname = 'migrate' AND c.relname = 'version') AS there
      """
    ).onlyRow
    guard try there.bool("there") else { return 0 }
    return try connection.query("SELECT coalesce(max(version), 0) AS version FROM migrate.version").onlyRow.int(
      "version")
  }

  /// Installs what is missing, in one transaction, one program at a time.
  ///
  /// - Throws: ``UpgradeError/newer(ledger:program:)`` when a newer program has been here: what it wrote may mean something
  ///   else than this one thinks.
  package static func run(_ connection: borrowing Connection) throws(UpgradeError) {
    guard try isNeeded(connection) else { return }
    do throws(PostgresError) {
      // A lock of the transaction: gone with it, and no pooler can keep it.
      try connection.execute(
        """
        BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL search_path = pg_catalog, pg_temp;
        SELECT pg_advisory_xact_lock(\(Scripts.ledgerLock))
        """)
      try install(connection)
      try connection.execute("COMMIT")
    } catch {
      _ = try? connection.execute("ROLLBACK")
      throw .database(error)
    }
  }

  /// Installs what is missing in the open transaction, with which it goes where that is rolled back.
  package static func install(_ connection: borrowing Connection) throws(PostgresError) {
    for (index, script) in Scripts.ledger.enumerated() where index >= (try version(connection)) {
      try connection.execute(script)
      try connection.query("INSERT INTO migrate.version (version) VALUES ($1::integer)", [String(index + 1)])
    }
  }

  private static func isNeeded(_ connection: borrowing Connection) throws(UpgradeError) -> Bool {
    let present: Int
    do throws(PostgresError) { present = try version(connection) } catch { throw .database(error) }
    guard present <= newest else { throw .newer(ledger: present, program: newest) }
    return present < newest
  }
}

/// Why the ledger cannot be used.
package enum UpgradeError: Error, Sendable {
  /// Made by a newer version of the program.
  case newer(ledger: Int, program: Int)
  /// What the database says.
  case database(PostgresError)
}
