package import MigratePostgres

/// A stretch of the key, and how far it is done: one worker at a time walks it, batch after batch.
package struct Slice: Sendable, Equatable {
  /// From 0.
  package let number: Int
  /// The last batch that is done; 0 when none is.
  package let ordinal: Int
  /// What is left begins behind this key; `nil` is the beginning.
  package let after: [String?]?
  /// And ends with this one.
  package let through: [String?]
  /// Whether its batches do the rows of the canary, or the rest; `nil` in a run without a canary.
  package let isCanary: Bool?

  package init(number: Int, ordinal: Int, after: [String?]?, through: [String?], isCanary: Bool?) {
    self.number = number
    self.ordinal = ordinal
    self.after = after
    self.through = through
    self.isCanary = isCanary
  }
}

extension Ledger {
  /// The slices that are not done, with what is left of each.
  package static func openSlices(_ connection: borrowing Connection, _ run: Int64) throws(PostgresError) -> [Slice] {
    try connection.query(
      "SELECT slice, ordinal, after_key, through_key, canary FROM migrate.open_slices($1::bigint)", [String(run)]
    ).map { (row) throws(PostgresError) in
      Slice(
        number: try row.int("slice"), ordinal: try row.int("ordinal"),
        after: try row.ifPresent("after_key", row.array), through: try row.array("through_key"),
        isCanary: try row.ifPresent("canary", row.bool))
    }
  }

  /// The slice as it is by now; `nil` when it is done.
  package static func openSlice(
    _ connection: borrowing Connection, _ run: Int64, _ slice: Int
  ) throws(PostgresError) -> Slice? {
    try openSlices(connection, run).first { $0.number == slice }
  }
}
