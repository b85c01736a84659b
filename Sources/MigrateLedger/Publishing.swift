package import MigratePostgres

/// What a run that is published at once has computed.
extension Ledger {
  /// A batch of it that has rows to show.
  package struct Computed: Sendable {
    package let slice: String
    package let ordinal: String
    package let part: String
    package let rows: Int
  }

  /// Whether nothing of the run can be seen yet.
  package static func isUnpublished(_ connection: borrowing Connection, _ run: Int64) throws(PostgresError) -> Bool {
    try connection.query("SELECT migrate.is_unpublished($1::bigint) AS unpublished", [String(run)]).onlyRow.bool(0)
  }

  /// What there is to show, in the order of the key.
  package static func toPublish(
    _ connection: borrowing Connection, _ run: Int64
  ) throws(PostgresError) -> [Computed] {
    var found: [Computed] = []
    for row in try connection.query(
      "SELECT slice, ordinal, part, rows FROM migrate.to_publish($1::bigint)", [String(run)])
    {
      found.append(
        Computed(
          slice: try row.text("slice"), ordinal: try row.text("ordinal"), part: try row.text("part"),
          rows: try row.int("rows")))
    }
    return found
  }
}
