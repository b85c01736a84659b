internal import MigrateSQLFiles

/// The part of a script that makes sure of the ledger.
enum LedgerScript {
  static var version: Int { Scripts.ledger.count }

  /// Installs the ledger, or what an older one lacks, in one transaction and one session at a time; refuses a newer one.
  static var install: String {
    let numbers = 1...version
    let needed = numbers.map { ":ledger < \($0) AS needs_\($0)" }.joined(separator: ", ")
    let scripts = zip(numbers, Scripts.ledger).map { number, script in
      "\\if :needs_\(number)\n\(script)\nINSERT INTO migrate.version (version) VALUES (\(number));\n\\endif"
    }
    return """
      BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
      SET LOCAL search_path = pg_catalog, pg_temp;
      SELECT pg_advisory_xact_lock(\(Scripts.ledgerLock)) AS locked \\gset
      \(readVersion)
      \(refuseNewer)
      SELECT \(needed) \\gset
      \(scripts.joined(separator: "\n"))
      COMMIT;
      """
  }

  /// Refuses to go on without the very ledger that the script was written for.
  static var require: String {
    """
    \(readVersion)
    \(refuseNewer)
    SELECT :ledger < \(version) AS is_older \\gset
    \\if :is_older
    DO $$ BEGIN
      RAISE EXCEPTION 'there is no ledger of version \(version) here, so nothing of this was applied here'
      USING ERRCODE = 'MG002', HINT = 'the apply.sql beside this file installs it';
    END $$;
    \\endif
    """
  }

  private static var readVersion: String {
    """
    \\set ledger 0
    SELECT to_regclass('migrate.version') IS NOT NULL AS has_ledger \\gset
    \\if :has_ledger
    SELECT coalesce(max(version), 0) AS ledger FROM migrate.version \\gset
    \\endif
    """
  }

  private static var refuseNewer: String {
    """
    SELECT :ledger > \(version) AS is_newer \\gset
    \\if :is_newer
    DO $$ BEGIN
      RAISE EXCEPTION 'the ledger was made by a newer version of migrate than this script, which knows version \(version)'
      USING ERRCODE = 'MG002', HINT = 'write the scripts anew with that version: migrate plan NAME --out DIR';
    END $$;
    \\endif
    """
  }
}
