package import MigratePostgres

/// What a run has made of one row.
package struct RowTouch: Sendable, Equatable {
  /// How much is known of it.
  package enum Kind: String, Sendable, CaseIterable {
    /// Its columns before and after are kept.
    case changed
    /// It was written or found as it should be; its values were not kept.
    case done
    /// The database has refused it, and it is in quarantine.
    case rejected
    /// It was in quarantine, and somebody has changed it there, as the columns before and after tell.
    case mended
    /// A batch went over its key, and more is not known.
    case maybe
  }

  /// A column before and after; `nil` is NULL.
  package struct Change: Sendable, Equatable {
    package let column: String
    package let before: String?
    package let after: String?
  }

  package let run: Int64
  package let name: String
  package let state: RunState
  package let kind: Kind
  /// Why no more is known; of a mending its SQL.
  package let note: String?
  package let changes: [Change]
  /// `nil` where even the batch is not known.
  package let ordinal: Int?
  /// When its batch committed, it was mended, or it was rejected for the last time.
  package let at: String?
  package let by: String
  package let host: String?
  package let reason: String?
  /// When a revert came to it, and what for.
  package let restoredAt: String?
  package let revertedBy: String?
  package let revertReason: String?
  /// gone, edited, kept, overwritten or refused, and what the revert has found instead as JSON; `nil` when it has met what the run had left.
  package let conflict: String?
  package let found: String?
  package let refusal: String?
  package let refusalState: String?
}

/// A table as `why` is asked about it.
package struct AskedTable: Sendable, Equatable {
  /// Where it is, quoted as SQL needs it.
  package let name: String
  /// The columns that name a row; empty where there is neither a primary key nor a run.
  package let key: [String]
  package let columns: [String]
}

extension Ledger {
  /// The table of that name in this session; `nil` when there is none.
  package static func table(
    _ connection: borrowing Connection, named name: String
  ) throws(PostgresError) -> AskedTable? {
    let rows = try connection.query(
      """
      SELECT format('%I.%I', n.nspname, c.relname) AS name, migrate.row_key(c.oid) AS key,
             ARRAY(SELECT a.attname::text
                   FROM   pg_attribute AS a
                   WHERE  a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                   ORDER  BY a.attnum) AS columns
      FROM   pg_class AS c
      JOIN   pg_namespace AS n ON n.oid = c.relnamespace
      WHERE  c.oid = to_regclass($1::text)
      """, [name])
    guard let row = rows.first else { return nil }
    return AskedTable(
      name: try row.text("name"), key: try (row.ifPresent("key", row.array) ?? []).map { $0 ?? "" },
      columns: try row.array("columns").map { $0 ?? "" })
  }

  /// Whether the table has a row with that key.
  package static func isThere(
    _ connection: borrowing Connection, _ table: AskedTable, key: [String]
  ) throws(PostgresError) -> Bool {
    try connection.query(
      "SELECT migrate.is_there($1::regclass, $2::text[]) AS is_there", [table.name, ArrayText.literal(key)]
    ).onlyRow.bool("is_there")
  }

  /// Every run that touched the row with that key, or only that column of it, the newest first.
  package static func touches(
    _ connection: borrowing Connection, _ table: AskedTable, key: [String], column: String?
  ) throws(PostgresError) -> [RowTouch] {
    let rows = try connection.query(
      """
      SELECT w.run, r.name, r.state, w.touch, w.note, w.ordinal, to_json(w.at) #>> '{}' AS at, coalesce(w.done_by, r.session_user_) AS by,
             CASE WHEN w.touch = 'mended' THEN w.client_host ELSE r.client_host END AS host,
             CASE WHEN w.touch = 'mended' THEN w.reason ELSE r.reason END AS reason, to_json(w.restored_at) #>> '{}' AS restored_at, q.requested_by AS reverted_by,
             CASE WHEN w.restored_at IS NOT NULL THEN r.revert_reason END AS revert_reason, w.conflict, w.instead,
             w.reject ->> 'message' AS refusal, w.reject ->> 'sqlstate' AS refusal_state,
             ARRAY(SELECT c.col ->> 'column' FROM jsonb_array_elements(w.changes) WITH ORDINALITY AS c(col, place)
                   ORDER BY c.place) AS columns,
             ARRAY(SELECT c.col ->> 'before' FROM jsonb_array_elements(w.changes) WITH ORDINALITY AS c(col, place)
                   ORDER BY c.place) AS before,
             ARRAY(SELECT c.col ->> 'after' FROM jsonb_array_elements(w.changes) WITH ORDINALITY AS c(col, place)
                   ORDER BY c.place) AS after
      FROM   migrate.why($1::regclass, $2::text[], $3::text) AS w
      JOIN   migrate.runs AS r USING (run)
      LEFT   JOIN LATERAL (SELECT q.requested_by
                           FROM   migrate.requests AS q
                           WHERE  q.run = r.run AND q.request = 'revert' AND w.restored_at IS NOT NULL
                           ORDER  BY q.seq DESC
                           LIMIT  1) AS q ON true
      ORDER  BY w.run DESC, w.at DESC NULLS LAST, w.seq DESC NULLS LAST
      """, [table.name, ArrayText.literal(key), column])
    return try rows.map { (row) throws(PostgresError) in try RowTouch(row) }
  }
}

extension RowTouch {
  fileprivate init(_ row: Row) throws(PostgresError) {
    run = try row.int64("run")
    name = try row.text("name")
    state = try Ledger.state(row.text("state"))
    guard let known = Kind(rawValue: try row.text("touch")) else {
      throw .unreadable("run \(run) has touched a row in a way that this version does not know")
    }
    kind = known
    note = try row["note"]
    let (columns, before, after) = (try row.array("columns"), try row.array("before"), try row.array("after"))
    changes = columns.indices.map { Change(column: columns[$0] ?? "", before: before[$0], after: after[$0]) }
    ordinal = try row.ifPresent("ordinal", row.int)
    at = try row["at"]
    by = try row.text("by")
    host = try row["host"]
    reason = try row["reason"]
    restoredAt = try row["restored_at"]
    revertedBy = try row["reverted_by"]
    revertReason = try row["revert_reason"]
    conflict = try row["conflict"]
    found = try row["instead"]
    refusal = try row["refusal"]
    refusalState = try row["refusal_state"]
  }
}
