package import MigratePostgres

/// A source row in quarantine: left as it was, with the reason.
package struct Reject: Sendable, Equatable {
  package let step: Int
  package let key: [String?]
  /// The row as it was, as JSON; `nil` under `undo: none`.
  package let row: String?
  /// What the run would have made of the columns that it sets, as JSON, where the row breaks rules; `nil` under `undo: none`.
  package let newValues: String?
  /// `validation`, `error` or `suppressed`.
  package let kind: String
  /// The rules that it breaks.
  package let reasons: [String?]
  /// `open`, `resolved` or `reverted`.
  package let state: String
  /// The row as it was mended.
  package let fixedRow: String?
  /// `nil` when it was no error of the database.
  package let sqlState: String?
  package let message: String
  package let detail: String?
  package let column: String?
  package let constraint: String?
  package let rejectedAt: String
}

/// Where a row stands in the quarantine of a run.
package struct RejectPlace: Sendable, Equatable {
  package let step: Int
  /// An array's text.
  package let key: String
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
  /// SQL: the place of reject `r` among the others, numbers as such.
  private static let keyOrder = """
    ARRAY(SELECT ROW(CASE WHEN k.value ~ '^-?[0-9]{1,40}$' THEN CAST(k.value AS numeric) END, k.value)
          FROM   unnest(r.key) WITH ORDINALITY AS k(value, place)
          ORDER  BY k.place)
    """

  /// The keys of the run's rows in quarantine as arrays' texts, in their order: whole numbers by their value and before others,
  /// which go by their text.
  ///
  /// Sorted once, and held here: a cursor that the server holds would be lost behind a pooler, or keep a transaction open for as long
  /// as somebody reads.
  /// - Parameter all: those that are resolved or reverted, too.
  package static func rejectPlaces(
    _ connection: borrowing Connection, _ run: Int64, limit: Int, all: Bool
  ) throws(PostgresError) -> [RejectPlace] {
    let rows = try connection.query(
      """
      SELECT r.step, CAST(r.key AS text) AS key
      FROM   migrate.rejects AS r
      WHERE  r.run = $1::bigint
        AND  (r.state = 'open' OR $2::boolean)
      ORDER  BY r.step, \(keyOrder)
      LIMIT  $3::bigint
      """, [String(run), all ? "true" : "false", String(limit)])
    return try rows.map { (row) throws(PostgresError) in
      RejectPlace(step: try row.int("step"), key: try row.text("key"))
    }
  }

  /// The rows in quarantine at `places`, in that order; those that were settled since are left out unless `all` are meant.
  package static func rejects(
    _ connection: borrowing Connection, _ run: Int64, at places: some Collection<RejectPlace>, all: Bool
  ) throws(PostgresError) -> [Reject] {
    let rows = try connection.query(
      """
      SELECT r.step, r.key, r.row, r.new_values, r.kind, coalesce(r.reasons, '{}') AS reasons, r.state, r.fixed_row,
             r.sqlstate, r.message, r.detail, r.column_name, r.constraint_name, to_json(r.rejected_at) #>> '{}' AS rejected_at
      FROM   unnest($2::integer[], $3::text[]) WITH ORDINALITY AS p(step, key, place)
      JOIN   migrate.rejects AS r ON r.run = $1::bigint AND r.step = p.step AND r.key = CAST(p.key AS text[])
      WHERE  r.state = 'open' OR $4::boolean
      ORDER  BY p.place
      """,
      [
        String(run), ArrayText.literal(places.map { String($0.step) }), ArrayText.literal(places.map(\.key)),
        all ? "true" : "false",
      ])
    return try rows.map { (row) throws(PostgresError) in
      Reject(
        step: try row.int("step"), key: try row.array("key"), row: try row["row"],
        newValues: try row["new_values"], kind: try row.text("kind"),
        reasons: try row.array("reasons"), state: try row.text("state"), fixedRow: try row["fixed_row"],
        sqlState: try row["sqlstate"], message: try row.text("message"), detail: try row["detail"],
        column: try row["column_name"], constraint: try row["constraint_name"],
        rejectedAt: try row.text("rejected_at"))
    }
  }

  /// The columns by which the run's rows are known, in the order of their keys.
  package static func keyColumns(_ connection: borrowing Connection, _ run: Int64) throws(PostgresError) -> [String] {
    try connection.query(
      "SELECT jsonb_array_elements_text(r.outline -> 'key') AS name FROM migrate.runs AS r WHERE r.run = $1::bigint",
      [String(run)]
    ).map { (row) throws(PostgresError) in try row.text("name") }
  }

  /// Keys of rows that wait in quarantine, in the order of their texts: `limit` of them behind `last`.
  package static func openRejects(
    _ connection: borrowing Connection, _ run: Int64, behind last: [String?]?, limit: Int
  ) throws(PostgresError) -> [[String?]] {
    let rows = try connection.query(
      """
      SELECT r.key
      FROM   migrate.rejects AS r
      WHERE  r.run = $1::bigint AND r.step = 1 AND r.state = 'open' AND ($2::text[] IS NULL OR r.key > $2::text[])
      ORDER  BY r.key
      LIMIT  $3::bigint
      """, [String(run), last.map(ArrayText.literal), String(limit)])
    return try rows.map { (row) throws(PostgresError) in try row.array("key") }
  }

  /// The reasons of a run's rows in quarantine, the most frequent first. A message names values, so errors are alike by
  /// what the server blames; a row that breaks several rules is counted under each.
  ///
  /// - Parameter all: of those that are resolved or reverted, too.
  package static func reasons(
    _ connection: borrowing Connection, _ run: Int64, all: Bool
  ) throws(PostgresError) -> (rows: Int, reasons: [RejectReason]) {
    let rows = try connection.query(
      """
      WITH reasons AS (
        SELECT row_number() OVER (ORDER BY \(keyOrder)) AS place, r.key, r.sqlstate, r.column_name, r.constraint_name, n.reason, coalesce(n.reason, r.message) AS message
        FROM   migrate.rejects AS r
        LEFT   JOIN LATERAL unnest(r.reasons) AS n(reason) ON true
        WHERE  r.run = $1::bigint AND (r.state = 'open' OR $2::boolean)
      )
      SELECT count(*) AS rows, r.sqlstate, r.column_name, r.constraint_name,
             (array_agg(r.message ORDER BY r.place))[1] AS message,
             (array_agg(CAST(r.key AS text) ORDER BY r.place))[1] AS first_key,
             (SELECT count(DISTINCT a.key) FROM reasons AS a) AS all_rows
      FROM   reasons AS r
      GROUP  BY r.sqlstate, r.column_name, r.constraint_name, r.reason
      ORDER  BY count(*) DESC, min(r.place), r.reason
      """, [String(run), all ? "true" : "false"])
    var reasons: [RejectReason] = []
    for row in rows {
      reasons.append(
        RejectReason(
          rows: try row.int("rows"), sqlState: try row["sqlstate"], column: try row["column_name"],
          constraint: try row["constraint_name"], message: try row.text("message"),
          firstKey: try row.array("first_key")))
    }
    return (try rows.first?.int("all_rows") ?? 0, reasons)
  }
}
