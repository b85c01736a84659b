package import MigratePostgres

/// A run in the list of all runs: who, what, when, why.
package struct HistoryEntry: Sendable, Equatable {
  package let id: Int64
  package let name: String
  package let state: RunState
  package let direction: RunDirection
  /// A JSON object: name to type and value.
  package let parameters: String
  package let startedAt: String
  package let endedAt: String?
  package let revertedAt: String?
  package let startedBy: String
  package let clientHost: String?
  package let reason: String?
  package let revertReason: String?
  /// Who asked for it to be taken back, and on which machine; `nil` when nobody has.
  package let revertedBy: String?
  package let revertHost: String?
  package let version: String
  package let definitionHash: String
  /// Rows that the apply has changed, also when the run was taken back since.
  package let rowsChanged: Int
  package let rowsRejected: Int
  package let leftBehind: Int?
  /// From its beginning to its end, pauses included.
  package let seconds: Double?
  /// How long at least one of its batches was at work, by the clock on the wall; `nil` before the first one.
  package let secondsWorked: Double?
}

extension Ledger {
  /// Every run, the newest first.
  package static func history(_ connection: borrowing Connection) throws(PostgresError) -> [HistoryEntry] {
    let rows = try connection.query(
      """
      SELECT r.run, r.name, r.state, r.direction, r.parameters,
             to_json(r.started_at) #>> '{}' AS started_at, to_json(r.ended_at) #>> '{}' AS ended_at,
             to_json(r.reverted_at) #>> '{}' AS reverted_at, r.session_user_ AS started_by, r.client_host, r.reason,
             r.revert_reason, q.requested_by AS reverted_by, q.client_host AS revert_host, r.version, r.definition_hash, b.rows_changed, b.rows_rejected, r.left_behind,
             extract(epoch FROM CASE WHEN r.ended_at > r.started_at THEN r.ended_at - r.started_at WHEN r.ended_at IS NOT NULL THEN interval '0' END)::float8 AS seconds,
             extract(epoch FROM b.worked)::float8 AS seconds_worked
      FROM   migrate.runs AS r
      CROSS  JOIN LATERAL (
        SELECT coalesce(sum(b.rows_changed), 0) AS rows_changed, coalesce(sum(b.rows_rejected), 0) AS rows_rejected,
               -- Batches of several workers lie over each other, and so do the parts of a batch.
               (SELECT sum(upper(w.span) - lower(w.span))
                FROM   unnest(range_agg(tstzrange(b.started_at, greatest(b.ended_at, b.started_at), '[]'))) AS w(span)
               ) AS worked
        FROM   migrate.batches AS b
        WHERE  b.run = r.run AND b.kind = 'apply') AS b
      LEFT   JOIN LATERAL (
        SELECT q.requested_by, q.client_host
        FROM   migrate.requests AS q
        WHERE  q.run = r.run AND q.request = 'revert'
        ORDER  BY q.seq DESC
        LIMIT  1) AS q ON true
      ORDER  BY r.run DESC
      """)
    var entries: [HistoryEntry] = []
    for row in rows {
      entries.append(
        HistoryEntry(
          id: try row.int64("run"), name: try row.text("name"), state: try state(row.text("state")),
          direction: try direction(row.text("direction")),
          parameters: try row.text("parameters"),
          startedAt: try row.text("started_at"), endedAt: try row["ended_at"], revertedAt: try row["reverted_at"],
          startedBy: try row.text("started_by"), clientHost: try row["client_host"], reason: try row["reason"],
          revertReason: try row["revert_reason"], revertedBy: try row["reverted_by"],
          revertHost: try row["revert_host"], version: try row.text("version"),
          definitionHash: try row.text("definition_hash"), rowsChanged: try row.int("rows_changed"),
          rowsRejected: try row.int("rows_rejected"), leftBehind: try row.ifPresent("left_behind", row.int),
          seconds: try row.ifPresent("seconds", row.double),
          secondsWorked: try row.ifPresent("seconds_worked", row.double)))
    }
    return entries
  }
}
