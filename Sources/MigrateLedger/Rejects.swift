package import MigratePostgres

/// A source row in quarantine: left as it was, with the reason.
package struct Reject: Sendable, Equatable {
  package let step: Int
  package let key: [String?]
  /// The row as it was, as JSON; `nil` under `undo: none`.
  package let row: String?
  /// `nil` when it was no error of the database.
  package let sqlState: String?
  package let message: String
  package let detail: String?
  package let column: String?
  package let constraint: String?
  package let rejectedAt: String
}

/// Rows in quarantine for the same reason.
package struct RejectReason: Sendable, Equatable {
  package let rows: Int
  package let sqlState: String?
  package let column: String?
  package let constraint: String?
  /// What was said of the first of them.
  package let message: String
  package let firstKey: [String?]
}

extension Ledger {
  /// The run's rows in quarantine, by the order in which they came there, in pages: `limit` of them behind the place `offset`.
  package static func rejects(
    _ connection: borrowing Connection, _ run: Int64, limit: Int, offset: Int
  ) throws(PostgresError) -> [Reject] {
    let rows = try connection.query(
      """
      SELECT r.step, r.key, r.row, r.sqlstate, r.message, r.detail, r.column_name, r.constraint_name,
             to_json(r.rejected_at) #>> '{}' AS rejected_at
      FROM   migrate.rejects AS r
      WHERE  r.run = $1::bigint
      ORDER  BY r.rejected_at, r.step, r.key
      OFFSET $3::bigint
      LIMIT  $2::bigint
      """, [String(run), String(limit), String(offset)])
    var rejects: [Reject] = []
    for row in rows {
      rejects.append(
        Reject(
          step: try row.int("step"), key: try row.array("key"), row: try row["row"], sqlState: try row["sqlstate"],
          message: try row.text("message"), detail: try row["detail"], column: try row["column_name"],
          constraint: try row["constraint_name"], rejectedAt: try row.text("rejected_at")))
    }
    return rejects
  }

  /// The reasons of a run's rejects, the most frequent first. A message names values, so rows are alike by what the server blames.
  package static func reasons(
    _ connection: borrowing Connection, _ run: Int64
  ) throws(PostgresError) -> [RejectReason] {
    let rows = try connection.query(
      """
      SELECT count(*) AS rows, r.sqlstate, r.column_name, r.constraint_name,
             (array_agg(r.message ORDER BY r.rejected_at))[1] AS message,
             (SELECT f.key FROM migrate.rejects AS f WHERE (f.run, f.rejected_at) = (r.run, min(r.rejected_at)) LIMIT 1) AS first_key
      FROM   migrate.rejects AS r
      WHERE  r.run = $1::bigint
      GROUP  BY r.run, r.sqlstate, r.column_name, r.constraint_name
      ORDER  BY count(*) DESC, min(r.rejected_at)
      """, [String(run)])
    var reasons: [RejectReason] = []
    for row in rows {
      reasons.append(
        RejectReason(
          rows: try row.int("rows"), sqlState: try row["sqlstate"], column: try row["column_name"],
          constraint: try row["constraint_name"], message: try row.text("message"),
          firstKey: try row.array("first_key")))
    }
    return reasons
  }
}
