package import MigratePostgres

/// Something that was asked of a run and has moved it, or its pace: who, when, why.
package struct RunRequest: Sendable, Equatable {
  /// pause, resume, cancel, revert, retry, mend, or tune.
  package let request: String
  package let by: String
  /// The machine that it was asked on; `nil` where nobody has said and the session was a local one.
  package let host: String?
  package let reason: String?
  /// What exactly: of a mending its SQL, of `tune` what was set.
  package let detail: String?
  package let at: String
  /// Its own worker has, which got a signal.
  package let isOfWorker: Bool
}

/// A request that a run stands by.
package struct PauseInForce: Sendable, Equatable {
  package let request: RunRequest
  package let ago: Duration
}

extension Ledger {
  /// All that was ever asked of the run, in order.
  package static func requests(
    _ connection: borrowing Connection, _ run: Int64
  ) throws(PostgresError) -> [RunRequest] {
    try connection.query(
      """
      SELECT r.request, r.requested_by, r.client_host, r.reason, r.detail, r.by_worker,
             to_json(r.requested_at) #>> '{}' AS requested_at
      FROM   migrate.requests AS r
      WHERE  r.run = $1::bigint
      ORDER  BY r.seq
      """, [String(run)]
    ).map { (row) throws(PostgresError) in
      RunRequest(
        request: try row.text("request"), by: try row.text("requested_by"), host: try row["client_host"],
        reason: try row["reason"], detail: try row["detail"], at: try row.text("requested_at"),
        isOfWorker: try row.bool("by_worker"))
    }
  }

  /// Who has asked the run to pause; `nil` when nobody has, but a signal or what the run has found.
  package static func pausedBy(_ connection: borrowing Connection, _ run: Int64) throws(PostgresError) -> PauseInForce?
  {
    try connection.query(
      """
      SELECT p.requested_by, p.client_host, p.reason, to_json(p.requested_at) #>> '{}' AS requested_at, p.seconds
      FROM   migrate.paused_by($1::bigint) AS p
      """, [String(run)]
    ).map { (row) throws(PostgresError) in
      PauseInForce(
        request: RunRequest(
          request: "pause", by: try row.text("requested_by"), host: try row["client_host"], reason: try row["reason"],
          detail: nil, at: try row.text("requested_at"), isOfWorker: false),
        ago: .seconds(try row.double("seconds")))
    }.first
  }
}
