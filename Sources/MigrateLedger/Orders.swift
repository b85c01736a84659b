package import MigratePlan
package import MigratePostgres

/// What a worker is told between two batches, in one statement.
package struct Orders: Sendable {
  package let state: RunState
  /// A worker of another one has been taken over.
  package let epoch: Int
  /// Why the run holds, while it does.
  package let holdReason: String?
  package let tuning: Tuning
  /// How many share the run's rate.
  package let workers: Int
}

/// How what a run has found stands to what its definition expects.
package enum ExpectationStanding: Sendable {
  case met
  /// It is not met, and the run was paused for it.
  case paused
  /// It is not met, and somebody has just asked something else of the run; the edge tells.
  case askedOtherwise
}

/// What was asked of a run in place of what its plan says; `nil` is what the plan says.
package struct Tuning: Sendable, Equatable {
  /// 0 is auto.
  package var batchSize: Int?
  package var workers: Int?
  /// Rows a second over all workers; 0 is as fast as it goes.
  package var maxRate: Int?
  /// 0 is none.
  package var pause: Duration?
  package var holds: TunedHolds?
  /// As in a definition: `1000` or `0.1%`.
  package var maxRejects: String?

  package init(
    batchSize: Int? = nil, workers: Int? = nil, maxRate: Int? = nil, pause: Duration? = nil, holds: TunedHolds? = nil,
    maxRejects: String? = nil
  ) {
    self.batchSize = batchSize
    self.workers = workers
    self.maxRate = maxRate
    self.pause = pause
    self.holds = holds
    self.maxRejects = maxRejects
  }
}

extension Ledger {
  /// What a run's workers are asked to do.
  package static func orders(_ connection: borrowing Connection, _ run: Run) throws(PostgresError) -> Orders {
    let row = try connection.query(
      """
      SELECT r.state, f.epoch, r.hold_reason, \(Tuning.columns),
             CASE WHEN coalesce(t.max_rate, $2::bigint) > 0
                  THEN (SELECT count(*) FROM migrate.workers AS w WHERE w.run = r.run AND w.epoch = f.epoch) END AS workers
      FROM   migrate.runs  AS r
      JOIN   migrate.fence AS f USING (run)
      LEFT   JOIN migrate.tuning AS t USING (run)
      WHERE  r.run = $1::bigint
      """, [String(run.id), run.pace.maxRate.map { String($0) }]
    ).onlyRow
    return Orders(
      state: try state(row.text("state")), epoch: try row.int("epoch"), holdReason: try row["hold_reason"],
      tuning: try Tuning(row),
      workers: max(1, try row.ifPresent("workers", row.int) ?? 1))
  }

  /// Asks whether the run shall hold, unless that was asked a moment ago; the run's state.
  package static func askHolds(_ connection: borrowing Connection, _ run: Run) throws(PostgresError) -> RunState {
    // A query that takes longer is a reason to hold, as one that fails is: what is asked of the run meanwhile would not be heard.
    try connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL statement_timeout = '2s'")
    let reached = try connection.query(
      "SELECT migrate.ask_holds($1::bigint, $2::integer) AS state", [String(run.id), String(run.epoch)]
    ).onlyRow.text("state")
    try connection.execute("COMMIT")
    return try state(reached)
  }

  /// The rows of a slice's next batch under auto, by what its last one took.
  package static func automaticSize(
    _ connection: borrowing Connection, _ run: Int64, slice: Int, target: Duration
  ) throws(PostgresError) -> Int {
    try connection.query(
      "SELECT migrate.size_of($1::bigint, $2::integer, 'auto', $3::interval) AS size",
      [String(run), String(slice), "\(Int(target / .milliseconds(1)))ms"]
    ).onlyRow.int("size")
  }

  /// Has the run pause when it is not as expected, which ``failure(_:_:)`` then tells.
  ///
  /// - Parameter isFinal: whether the last batch is done.
  package static func heed(
    _ connection: borrowing Connection, _ run: Run, worker: Int, isFinal: Bool
  ) throws(PostgresError) -> ExpectationStanding {
    let breach = try connection.query(
      "SELECT migrate.heed($1::bigint, $2::integer, $3::integer, $4::boolean) AS breach",
      [String(run.id), String(worker), String(run.epoch), String(isFinal)]
    ).onlyRow["breach"]
    guard let breach else { return .met }
    return breach.isEmpty ? .askedOtherwise : .paused
  }

  /// Why a run has paused that did not find what it expected, or whose canary is done; `nil` when that is not so.
  package static func breach(
    _ connection: borrowing Connection, _ run: Int64
  ) throws(PostgresError) -> (reason: String, remedy: String)? {
    try connection.query(
      """
      SELECT failure ->> 'message' AS reason, failure ->> 'hint' AS remedy
      FROM   migrate.runs
      WHERE  run = $1::bigint AND state = 'paused' AND failure ->> 'sqlstate' = ANY ($2::text[])
      """, [String(run), "{\(SQLState.notAsExpected.code),\(SQLState.canaryDone.code)}"]
    ).map { (row) throws(PostgresError) in (try row.text("reason"), try row.text("remedy")) }.first
  }

  /// What keeps a run from going as fast as it can, in words, and how to lift it; `nil`: nothing does.
  package static func brakes(_ connection: borrowing Connection, _ run: Int64) throws(PostgresError) -> String? {
    try connection.query("SELECT migrate.brakes($1::bigint) AS brakes", [String(run)]).onlyRow["brakes"]
  }

  /// Changes how fast a run goes, from its next batch on; all that was asked of it so far.
  ///
  /// - Parameter host: the machine that asks.
  /// - Throws: MG002 when there is nothing to tune.
  package static func tune(
    _ connection: borrowing Connection, _ run: Int64, _ tuning: Tuning, reason: String?, host: String?
  ) throws(PostgresError) -> Tuning {
    let row = try connection.query(
      """
      SELECT \(Tuning.columns)
      FROM   migrate.tune($1::bigint, $2::integer, $3::integer, $4::bigint, $5::interval, $6::text, $7::text, $8::text,
                          $9::text) AS t
      """,
      [
        String(run), tuning.batchSize.map { String($0) }, tuning.workers.map { String($0) },
        tuning.maxRate.map { String($0) }, tuning.pause.map { "\(Int($0 / .milliseconds(1)))ms" },
        tuning.holds?.rawValue,
        tuning.maxRejects, reason, host,
      ]
    ).onlyRow
    return try Tuning(row)
  }
}

extension Tuning {
  /// The columns of `migrate.tuning AS t` that ``init(_:)`` reads.
  static let columns = """
    t.batch_size AS tuned_batch_size, t.workers AS tuned_workers, t.max_rate AS tuned_max_rate,
    round(extract(epoch FROM t.pause) * 1000)::bigint AS tuned_pause, t.holds AS tuned_holds,
    t.max_rejects AS tuned_max_rejects
    """

  init(_ row: Row) throws(PostgresError) {
    self.init(
      batchSize: try row.ifPresent("tuned_batch_size", row.int), workers: try row.ifPresent("tuned_workers", row.int),
      maxRate: try row.ifPresent("tuned_max_rate", row.int),
      pause: try row.ifPresent("tuned_pause", row.int).map { .milliseconds($0) },
      holds: try row["tuned_holds"].flatMap { TunedHolds(rawValue: $0) }, maxRejects: try row["tuned_max_rejects"])
  }
}

extension Pace {
  /// The columns that ``init(_:)`` reads, of a run `r`.
  static let columns = """
    r.outline ->> 'batch_size' AS batch_size,
    round(extract(epoch FROM (r.outline #>> '{throttle,target_batch_time}')::interval) * 1000)::bigint AS target_batch_time,
    round(extract(epoch FROM (r.outline #>> '{throttle,pause}')::interval) * 1000)::bigint             AS pause,
    round(extract(epoch FROM (r.outline #>> '{throttle,max_blocking}')::interval) * 1000)::bigint      AS max_blocking,
    (r.outline #>> '{throttle,nice_ratio}')::float8 AS nice_ratio, (r.outline #>> '{throttle,max_rate}')::bigint AS max_rate
    """

  /// Without its window, which stands among what makes the run hold.
  init(_ row: Row) throws(PostgresError) {
    func duration(_ column: Rows.Column) throws(PostgresError) -> Duration? {
      try row.ifPresent(column, row.int).map { .milliseconds($0) }
    }
    let size = try row.text("batch_size")
    self.init(
      sizing: size == "auto"
        ? .automatic(target: try duration("target_batch_time") ?? BatchSizing.usualTarget)
        : .rows(try row.int("batch_size")),
      pause: try duration("pause"), niceRatio: try row.ifPresent("nice_ratio", row.double),
      maxRate: try row.ifPresent("max_rate", row.int), maxBlocking: try duration("max_blocking"))
  }
}
