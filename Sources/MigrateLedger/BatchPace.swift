package import MigratePostgres

/// What a batch took, from the end of the one before it to its own: with several workers that is less than it was worked on. Of a
/// batch that was done in parts all of them together; a revert takes each back by itself.
package struct BatchPace: Sendable, Equatable {
  package let rows: Int
  package let seconds: Double

  package init(rows: Int, seconds: Double) {
    self.rows = rows
    self.seconds = seconds
  }
}

extension Ledger {
  /// The last batches of a run, up to fifty, the oldest first, and the rate that it keeps to. What is older than the last tuning says
  /// nothing about now. Time in which the run stood still is left out, but for the rests that it owes.
  static func pace(
    _ connection: borrowing Connection, _ run: Int64, _ direction: RunDirection
  ) throws(PostgresError) -> RecentPace {
    let rows = try connection.query(
      """
      WITH pace AS (
        SELECT r.run,
               -- Whether it holds does not decide how fast it goes.
               CASE WHEN num_nonnulls(t.max_rate, t.pause, t.batch_size, t.workers) > 0 THEN t.tuned_at ELSE '-infinity' END AS tuned_at,
               nullif(coalesce(t.max_rate, (r.outline #>> '{throttle,max_rate}')::bigint), 0) AS max_rate,
               coalesce(t.pause, (r.outline #>> '{throttle,pause}')::interval, '0') AS pause,
               coalesce((r.outline #>> '{throttle,nice_ratio}')::float8, 0) AS nice_ratio
        FROM   migrate.runs AS r
        LEFT   JOIN migrate.tuning AS t USING (run)
        WHERE  r.run = $1::bigint
      )
      SELECT p.max_rate, b.rows_read, greatest(extract(epoch FROM b.took), 0)::float8 AS seconds,
             CASE $2::text WHEN 'revert' THEN migrate.left_to_restore(p.run) END AS transactions
      FROM   pace AS p
      LEFT   JOIN LATERAL (
        SELECT b.seq, b.rows_read,
               least(b.ended_at - coalesce(lag(b.ended_at) OVER (ORDER BY b.seq), b.started_at),
                     b.ended_at - b.started_at
                       + greatest(interval '1 second', p.pause, p.nice_ratio * (b.ended_at - b.started_at),
                                  b.rows_read / p.max_rate::float8 * interval '1 second')) AS took
        FROM  (SELECT max(b.seq) AS seq, sum(b.rows_read) AS rows_read, min(b.started_at) AS started_at, max(b.ended_at) AS ended_at
               -- So many that no batch has more parts, as a rule.
               FROM  (SELECT b.*
                      FROM   migrate.batches AS b
                      WHERE  b.run = p.run AND b.kind = $2::text AND b.started_at >= p.tuned_at
                      ORDER  BY b.seq DESC
                      LIMIT  5000) AS b
               GROUP  BY b.slice, b.ordinal, CASE b.kind WHEN 'revert' THEN b.part END
               ORDER  BY max(b.seq) DESC
               LIMIT  51) AS b) AS b ON true
      ORDER  BY b.seq
      """, [String(run), direction.rawValue])
    var batches: [BatchPace] = []
    var most: Int?
    var transactions: Int?
    for row in rows {
      transactions = try row.ifPresent("transactions", row.int)
      most = try row.ifPresent("max_rate", row.int)
      guard let read = try row.ifPresent("rows_read", row.int) else { continue }
      batches.append(BatchPace(rows: read, seconds: try row.double("seconds")))
    }
    return RecentPace(batches, most: most, transactions: transactions)
  }

  /// How many transactions a revert of the run has ahead: a batch each, and a part each of those that were done in parts.
  package static func toRestore(_ connection: borrowing Connection, _ run: Int64) throws(PostgresError) -> Int {
    try connection.query("SELECT migrate.left_to_restore($1::bigint) AS ahead", [String(run)])
      .onlyRow.int("ahead")
  }

  /// When so much of a run is done if it begins now, by its window where it has one.
  static func endsAt(
    _ connection: borrowing Connection, _ run: Int64, _ left: Duration
  ) throws(PostgresError) -> String? {
    try connection.query(
      "SELECT to_json(migrate.ends_at($1::bigint, $2::float8 * interval '1 s')) #>> '{}' AS ends_at",
      [String(run), String(left / .seconds(1))]
    ).onlyRow["ends_at"]
  }
}
