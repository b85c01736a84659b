internal import MigrateLedger
internal import MigratePostgres

/// What a worker's session is called in `pg_stat_activity`.
extension Worker {
  /// For as long as a transaction lasts the session bears its batch's number, `migrate run 42 batch 17`. Part of the message that
  /// opens the transaction, and gone with it: behind a pooler the backend is somebody else's then.
  /// Empty for a transaction that is no batch's.
  borrowing func naming(_ ordinal: Int?) -> String {
    guard let ordinal else { return "" }
    let name = server.sessionName("migrate run \(run.id) batch \(ordinal)")
    // A message is read as a whole before any setting in it counts, so a backslash is said in the form that always means one.
    let escaped = name.utf8.flatMap { byte in
      byte == UInt8(ascii: "'") || byte == UInt8(ascii: "\\") ? [byte, byte] : [byte]
    }
    return "SET LOCAL application_name = E'\(String(decoding: escaped, as: UTF8.self))'; "
  }
}
