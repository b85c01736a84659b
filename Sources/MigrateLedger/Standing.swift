internal import MigratePlan
package import MigratePostgres

/// Where a run stands, as `status` shows it: read from the ledger in one statement, so its figures fit together (P19).
package struct RunStanding: Sendable, Equatable {
  package let id: Int64
  package let name: String
  package let state: RunState
  /// Its workers are gone in the middle of the work; `resume` goes on.
  package let isInterrupted: Bool
  package let direction: RunDirection
  /// What the present direction has done.
  package let done: BatchCounts
  /// Rows that the present direction will meet; `nil` when the statistics say nothing (P27).
  package let expected: Int?
  /// Rows a second, over the last batches; `nil` while it stands.
  package fileprivate(set) var rate: Double?
  package let undoBytes: Int
  package fileprivate(set) var failure: Failure?
  package let leftBehind: Int?
  /// Whether the last key is fixed: before that no batch begins.
  package let isBounded: Bool
  /// Why it holds, and since when, while it does.
  package let holdReason: String?
  package let heldSince: String?
  /// When it will be done as it goes now, by its window where it has one; `nil` when that cannot be told.
  package fileprivate(set) var endsAt: String?
  package let startedAt: String
  package let endedAt: String?
  package let revertedAt: String?
  package let lastBatchAt: String?
  /// When a worker gave its last sign of life.
  package let lastSignAt: String?
  package let startedBy: String
  package let clientHost: String?
  package let reason: String?
  package let version: String
  /// Of the text that was applied: SHA-256 in hexadecimal.
  package let definitionHash: String
  /// All that was ever asked of it, in order.
  package fileprivate(set) var requests: [RunRequest] = []
  /// Who works on it now, or waits for `resume`, by number.
  package fileprivate(set) var workers: [WorkerSight] = []
  /// What its last batches took; of none for a run that does not move.
  package fileprivate(set) var pace = RecentPace()
  /// What was asked of it and is not over.
  package let request: ControlRequest?
  /// How fast it was asked to go, in place of what its plan says; `nil` when nobody has asked.
  package let tuned: Tuned?

  /// The state in a word, `interrupted` included.
  package var word: String { isInterrupted ? "interrupted" : state.rawValue }
  /// The first of its workers; `nil` when nobody works on it.
  package var worker: WorkerSight? { workers.first }
}

/// A worker's backend, as the server sees it.
package struct WorkerSight: Sendable, Equatable {
  /// From 1.
  package let number: Int
  package let pid: Int
  package let host: String?
  package let since: String
  /// The batch that it is at, as its session is called; `nil` between two.
  package let batch: Int?
  /// `Lock: transactionid`, where it waits.
  package let waitsFor: String?
  package let waitsSince: String?
  /// Backends that hold what it waits for, each with its application and role.
  package let blockers: [String]
}

package struct ControlRequest: Sendable, Equatable {
  package let request: String
  package let by: String
  package let at: String
  package let reason: String?
}

/// What is tuned of a run, and who did that last.
package struct Tuned: Sendable, Equatable {
  package let tuning: Tuning
  package let by: String
  package let at: String
}

extension Ledger {
  /// Which runs.
  package enum Selection: Sendable {
    case run(Int64)
    case unfinished
    /// The newest that have ended.
    case ended(limit: Int)
  }

  /// The runs selected, the newest first.
  package static func standings(
    _ connection: borrowing Connection, _ selection: Selection
  ) throws(PostgresError) -> [RunStanding] {
    let rows: Rows =
      switch selection {
      case .run(let run): try connection.query(standing("r.run = $1::bigint"), [String(run)])
      case .unfinished: try connection.query(standing("r.state NOT IN (\(RunState.ended))"))
      case .ended(let limit):
        try connection.query(
          standing("r.state IN (\(RunState.ended))", limit: "LIMIT $1::bigint"), [String(limit)])
      }
    var found: [RunStanding] = []
    for row in rows {
      var standing = try RunStanding(row)
      if standing.state == .failed, standing.direction == .apply, let failure = standing.failure {
        standing.failure?.places = try places(blamedFor: failure, connection, standing.id)
      }
      standing.requests = try requests(connection, standing.id)
      standing.workers = try workers(connection, standing.id)
      if standing.hasKnownWay {
        standing.pace = try pace(connection, standing.id, standing.direction)
        if let left = standing.rest?.left { standing.endsAt = try endsAt(connection, standing.id, left) }
      }
      if !standing.state.hasEnded { standing.rate = standing.isAtWork ? standing.pace.rate : nil }
      found.append(standing)
    }
    return found
  }

  private static func workers(
    _ connection: borrowing Connection, _ run: Int64
  ) throws(PostgresError) -> [WorkerSight] {
    try connection.query(
      """
      SELECT v.worker, s.pid, v.client_host, to_json(v.since) #>> '{}' AS since,
             substring(s.application_name FROM '^migrate run [0-9]+ batch ([0-9]+)') AS batch,
             CASE WHEN s.state = 'active' AND s.wait_event_type = 'Lock' THEN s.wait_event END AS waits_for,
             (SELECT to_json(min(l.waitstart)) #>> '{}' FROM pg_locks AS l WHERE l.pid = s.pid AND NOT l.granted) AS waits_since,
             ARRAY(SELECT format('%s (%s%s)', h.pid, h.usename, ', ' || nullif(h.application_name, ''))
                   FROM   pg_stat_activity AS h
                   WHERE  h.pid = ANY (pg_blocking_pids(s.pid))) AS blockers
      FROM   migrate.workers  AS v
      JOIN   migrate.fence    AS f ON f.run = v.run AND f.epoch = v.epoch
      JOIN   pg_stat_activity AS s ON s.pid = v.pid AND (s.backend_start = v.backend_start) IS NOT FALSE
      WHERE  v.run = $1::bigint AND migrate.is_working(v.run)
      ORDER  BY v.worker
      """, [String(run)]
    ).map { (row) throws(PostgresError) in
      WorkerSight(
        number: try row.int("worker"), pid: try row.int("pid"), host: try row["client_host"],
        since: try row.text("since"), batch: try row.ifPresent("batch", row.int), waitsFor: try row["waits_for"],
        waitsSince: try row["waits_since"],
        blockers: try row.array("blockers").map { $0 ?? "" })
    }
  }

  private static func standing(_ condition: String, limit: StaticString = "") -> String {
    """
    SELECT r.run, r.name, r.state, p.state = 'interrupted' AS interrupted, r.direction,
           CASE r.direction WHEN 'revert' THEN a.rows_changed
                            WHEN 'apply'  THEN nullif(p.rows_expected, 0) END AS rows_expected,
           p.batches, p.rows_read, p.rows_changed, p.rows_unchanged, p.rows_rejected, p.rows_per_second,
           to_json(p.last_batch_at) #>> '{}' AS last_batch_at,
           (SELECT to_json(max(w.heartbeat_at)) #>> '{}' FROM migrate.workers AS w WHERE w.run = r.run) AS last_sign_at, u.bytes AS undo_bytes,
           \(Failure.columns),
           r.left_behind, r.bounded_at IS NOT NULL AS bounded, r.hold_reason, to_json(r.held_since) #>> '{}' AS held_since,
           to_json(r.started_at) #>> '{}' AS started_at, to_json(r.ended_at) #>> '{}' AS ended_at,
           to_json(r.reverted_at) #>> '{}' AS reverted_at, r.session_user_ AS started_by, r.client_host, r.reason, r.version, r.definition_hash,
           c.request, c.requested_by, to_json(c.requested_at) #>> '{}' AS requested_at, c.reason AS request_reason,
           \(Tuning.columns), t.tuned_by, to_json(t.tuned_at) #>> '{}' AS tuned_at
    FROM   migrate.runs     AS r
    JOIN   migrate.progress AS p USING (run)
    LEFT   JOIN migrate.control AS c USING (run)
    LEFT   JOIN migrate.tuning AS t USING (run)
    CROSS  JOIN LATERAL (
      SELECT coalesce(sum(coalesce((SELECT sum(w) FROM unnest(b.rows_written) AS w), b.rows_changed)), 0) AS rows_changed
      FROM   migrate.batches AS b
      WHERE  b.run = r.run AND b.kind = 'apply') AS a
    CROSS  JOIN LATERAL (
      SELECT coalesce(sum(pg_total_relation_size(t.oid)), 0) AS bytes
      FROM   pg_class AS t
      WHERE  t.relnamespace = to_regnamespace('migrate') AND t.relkind = 'r'
        AND  t.relname ~ ('^undo_' || r.run || '_[0-9]+$')) AS u
    WHERE  \(condition)
    ORDER  BY r.run DESC
    \(limit)
    """
  }
}

extension RunStanding {
  fileprivate init(_ row: Row) throws(PostgresError) {
    id = try row.int64("run")
    name = try row.text("name")
    state = try Ledger.state(row.text("state"))
    isInterrupted = try row.bool("interrupted")
    direction = try Ledger.direction(row.text("direction"))
    done = BatchCounts(
      batches: try row.int("batches"), read: try row.int("rows_read"), changed: try row.int("rows_changed"),
      unchanged: try row.int("rows_unchanged"), rejected: try row.int("rows_rejected"))
    expected = try row.ifPresent("rows_expected", row.int)
    rate = try row.ifPresent("rows_per_second", row.double)
    undoBytes = try row.int("undo_bytes")
    failure = try Failure(row)
    leftBehind = try row.ifPresent("left_behind", row.int)
    isBounded = try row.bool("bounded")
    holdReason = try row["hold_reason"]
    heldSince = try row["held_since"]
    startedAt = try row.text("started_at")
    endedAt = try row["ended_at"]
    revertedAt = try row["reverted_at"]
    lastBatchAt = try row["last_batch_at"]
    lastSignAt = try row["last_sign_at"]
    startedBy = try row.text("started_by")
    clientHost = try row["client_host"]
    reason = try row["reason"]
    version = try row.text("version")
    definitionHash = try row.text("definition_hash")
    request = try row["request"].map { (request) throws(PostgresError) in
      ControlRequest(
        request: request, by: try row.text("requested_by"), at: try row.text("requested_at"),
        reason: try row["request_reason"])
    }
    tuned = try row["tuned_by"].map { (by) throws(PostgresError) in
      Tuned(tuning: try Tuning(row), by: by, at: try row.text("tuned_at"))
    }
  }
}
