package import MigratePlan
internal import MigratePostgres

/// Why a run, or a batch of it, cannot go on: a worker finds it, the ledger keeps it, and ``RunStanding`` shows it.
package struct Failure: Error, Sendable, Equatable {
  /// What the server calls it; `nil` when it is the runner that refuses.
  package let sqlState: String?
  package let message: String
  package let detail: String?
  package let hint: String?
  /// What the server blames by name, if it does.
  package let column: String?
  package let constraint: String?
  /// The batch: behind this key, through that one; `nil` is not known, for the first also the beginning.
  package let after: [String?]?
  package let through: [String?]?
  /// The rows at fault; `nil` when none was found or looked for.
  package var culprits: Culprits?
  /// What of the definition it can have come from, as far as the database tells. The ledger does not keep it.
  package var places: [DefinitionPlace] = []
  /// When it was written down, as ISO 8601; `nil` while it is not.
  package private(set) var at: String?

  package init(
    sqlState: String? = nil, message: String, detail: String? = nil, hint: String? = nil, column: String? = nil,
    constraint: String? = nil, after: [String?]? = nil, through: [String?]? = nil
  ) {
    self.sqlState = sqlState
    self.message = message
    self.detail = detail
    self.hint = hint
    self.column = column
    self.constraint = constraint
    self.after = after
    self.through = through
  }
}

extension Failure {
  /// Whether nothing has failed: the canary is done, and somebody shall look at it.
  package var isCanaryDone: Bool { sqlState == SQLState.canaryDone.code }

  /// What comes before going on, where no row is to blame; `nil` where a row or the definition is, which the message tells.
  package var cureOfServer: String? {
    guard let state = sqlState.map({ SQLState($0) }), state.errorClass == .environment else { return nil }
    return ["53", "57", "58", "F0", "XX"].contains(state.family)
      ? "no row is to blame: look at the server's disk, memory and log"
      : "no row is to blame: mend what the server lacks"
  }

  /// Whether it is about a batch; what a run expects is about all of them.
  package var isOfBatch: Bool { !isCanaryDone && sqlState != SQLState.notAsExpected.code }
}

/// The rows by which a batch has failed.
package struct Culprits: Sendable, Equatable {
  /// Their keys, in order.
  package let keys: [[String?]]
  /// Whether there are no others in the batch: not all were looked for.
  package let areAll: Bool

  package init(keys: [[String?]], areAll: Bool) {
    self.keys = keys
    self.areAll = areAll
  }
}

extension Failure {
  /// The columns of `migrate.runs AS r` that ``init(_:)`` reads.
  static let columns = """
    r.failure ->> 'message' AS failure, r.failure ->> 'sqlstate' AS failure_state,
    r.failure ->> 'detail' AS failure_detail, r.failure ->> 'hint' AS failure_hint,
    r.failure ->> 'column' AS failure_column, r.failure ->> 'constraint' AS failure_constraint,
    r.failure ->> 'at' AS failed_at,
    CASE jsonb_typeof(r.failure -> 'after')
      WHEN 'array' THEN ARRAY(SELECT jsonb_array_elements_text(r.failure -> 'after')) END AS failed_after,
    CASE jsonb_typeof(r.failure -> 'through')
      WHEN 'array' THEN ARRAY(SELECT jsonb_array_elements_text(r.failure -> 'through')) END AS failed_through,
    CASE jsonb_typeof(r.failure -> 'rows')
      WHEN 'array' THEN ARRAY(SELECT CAST(ARRAY(SELECT jsonb_array_elements_text(k.key)) AS text)
                              FROM   jsonb_array_elements(r.failure -> 'rows') AS k(key)) END AS failed_rows,
    coalesce(CAST(r.failure ->> 'rows_are_all' AS boolean), false) AS failed_rows_are_all
    """

  /// `nil` for a run that has none.
  init?(_ row: Row) throws(PostgresError) {
    guard let message = try row["failure"] else { return nil }
    self.init(
      sqlState: try row["failure_state"], message: message, detail: try row["failure_detail"],
      hint: try row["failure_hint"], column: try row["failure_column"], constraint: try row["failure_constraint"],
      after: try row.ifPresent("failed_after", row.array),
      through: try row.ifPresent("failed_through", row.array))
    if let rows = try row.ifPresent("failed_rows", row.array) {
      culprits = Culprits(
        keys: rows.map { $0.flatMap(ArrayText.parse) ?? [] }, areAll: try row.bool("failed_rows_are_all"))
    }
    at = try row["failed_at"]
  }
}
