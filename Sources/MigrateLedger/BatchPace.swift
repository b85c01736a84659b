internal import MigratePostgres

/// What a batch took, from the end of the one before it to its own: with several workers that is less than it was worked on.
package struct BatchPace: Sendable, Equatable {
  package let rows: Int
  package let seconds: Double

  package init(rows: Int, seconds: Double) {
    self.rows = rows
    self.seconds = seconds
  }
}

extension Ledger {
  /// The last batches of a run, up to fifty, the oldest first. Time in which it stood still is left out.
  static func pace(
    _ connection: borrowing Connection, _ run: Int64, _ direction: RunDirection
  ) throws(PostgresError) -> [BatchPace] {
    try connection.query(
      """
      SELECT p.rows_read, greatest(extract(epoch FROM p.took), 0)::float8 AS seconds
      FROM  (SELECT b.seq, b.rows_read,
                    least(b.ended_at - coalesce(lag(b.ended_at) OVER (ORDER BY b.seq), b.started_at),
                          b.ended_at - b.started_at + interval '1 second') AS took
             FROM  (SELECT b.*
                    FROM   migrate.batches AS b
                    WHERE  b.run = $1::bigint AND b.kind = $2::text
                    ORDER  BY b.seq DESC
                    LIMIT  51) AS b) AS p
      ORDER  BY p.seq
      """, [String(run), direction.rawValue]
    ).map { (row) throws(PostgresError) in
      BatchPace(rows: try row.int("rows_read"), seconds: try row.double("seconds"))
    }
  }
}
