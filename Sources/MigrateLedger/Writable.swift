package import MigratePostgres

extension Ledger {
  /// Before anything begins (C18): a run that could not even write down why it stands would look like one whose worker is gone.
  ///
  /// - Throws: 25006, with what mends it, on a standby and in a session that may only read.
  package static func refuseReadOnly(_ connection: borrowing Connection) throws(PostgresError) {
    let row = try connection.query(
      "SELECT pg_is_in_recovery() AS standby, current_setting('transaction_read_only') = 'on' AS reads, quote_ident(current_user) AS me"
    ).onlyRow
    if try row.bool("standby") {
      throw .readOnly(
        "this server is a standby, which nobody can write to",
        hint: "name its primary, or add target_session_attrs=read-write to the connection")
    }
    if try row.bool("reads") {
      throw .readOnly(
        "this session may only read: default_transaction_read_only is on",
        hint: "`ALTER ROLE \(try row.text("me")) SET default_transaction_read_only = off`")
    }
  }
}
