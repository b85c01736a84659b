internal import MigratePlan
package import MigratePostgres

/// The schema `migrate` from Swift. Every function is one statement or one short transaction.
package enum Ledger {
  /// Begins a run of `plan` in the open transaction.
  ///
  /// - Throws: 23505 on `one_active` when a run of this definition is unfinished.
  package static func begin(
    _ connection: borrowing Connection, plan: String, definition: String, version: String, clientHost: String?,
    reason: String?
  ) throws(PostgresError) -> Int64 {
    try connection.query(
      "SELECT migrate.start($1::jsonb, $2::text, 'client', $3::text, $4::text, $5::text) AS run",
      [plan, definition, version, clientHost, reason]
    ).onlyRow.int64("run")
  }

  /// Since when rows have been changed that a run of this definition would do; `nil`: it does all rows, or does not ask for that.
  package static func watermark(
    _ connection: borrowing Connection, identity: String, hash: String?, column: String?
  ) throws(PostgresError) -> String? {
    guard let column, try Upgrade.version(connection) > 0 else { return nil }
    return try connection.query(
      "SELECT to_json(migrate.watermark($1::text, $2::text, $3::text)) #>> '{}' AS since", [identity, hash, column]
    ).onlyRow["since"]
  }

  /// The run `id`; `nil` when there is none.
  package static func run(_ connection: borrowing Connection, _ id: Int64) throws(PostgresError) -> Run? {
    let found = try connection.query(
      """
      SELECT r.run, r.name, r.direction, f.epoch, r.upper_key, r.bounded_at IS NOT NULL AS bounded,
             \(Pace.columns), coalesce(r.outline ->> 'parallel', '1') AS workers, jsonb_array_length(r.outline -> 'key') AS key_count,
             to_json(r.started_at) #>> '{}' AS started_at, to_json(r.since) #>> '{}' AS since, r.outline #>> '{estimate,rows}' AS estimated_rows,
             r.on_conflict, r.outline #>> '{steps,0,unavailable}' AS no_undo, r.outline ->> 'format' AS format,
             migrate.may_lock(r.run) AS may_lock, migrate.lock_text(r.run) AS lock_text, r.outline ->> 'on_error' AS on_error,
             r.outline ? 'expect' AS expects, r.outline ? 'publish' AS at_once
      FROM   migrate.runs  AS r
      JOIN   migrate.fence AS f USING (run)
      WHERE  r.run = $1::bigint
      """, [String(id)])
    guard let row = found.first else { return nil }
    let format = try row.int("format")
    guard format <= 1 else {
      throw .unreadable("run \(id) has a plan of format \(format), which a newer version of migrate has made")
    }
    let parameters = try connection.query(
      """
      SELECT p.key AS name, p.value ->> 'value' AS value
      FROM   migrate.runs AS r, jsonb_each(r.parameters) AS p
      WHERE  r.run = $1::bigint
      """, [String(id)])
    var values: [String: String?] = [
      ":run_id": String(id), ":started_at": try row.text("started_at"),
      "since": try row["since"], "since.none": String(try row["since"] == nil),
      // Of what stands outside of a batch.
      "snapshot": "true", "written": nil,
    ]
    for parameter in parameters {
      values.updateValue(try parameter["value"], forKey: ":" + (try parameter.text("name")))
    }
    guard let onError = OnError(rawValue: try row.text("on_error")) else {
      throw .unreadable("run \(id) says on_error: \(try row.text("on_error")), which this version does not know")
    }
    return Run(
      id: id, name: try row.text("name"), direction: try direction(row.text("direction")),
      epoch: try row.int("epoch"), pace: try Pace(row), workers: try row.int("workers"),
      keyCount: try row.int("key_count"),
      upperKey: try row.ifPresent("upper_key", row.array), isBounded: try row.bool("bounded"), parameters: values,
      statements: try statements(connection, of: id), estimatedRows: try row.int("estimated_rows"),
      conflictPolicy: try row["on_conflict"].flatMap(ConflictPolicy.init(rawValue:)), undoReason: try row["no_undo"],
      onError: onError, isPublishedAtOnce: try row.bool("at_once"), revertsAtOnce: try row.bool("at_once"),
      expects: try row.bool("expects"),
      mayLock: try row.bool("may_lock"), lock: try row.text("lock_text"))
  }

  private static func statements(
    _ connection: borrowing Connection, of id: Int64
  ) throws(PostgresError) -> [RunStatement] {
    let rows = try connection.query(
      """
      SELECT phase, step, name, text, to_json(arguments) #>> '{}' AS spelled, arguments
      FROM   migrate.statements
      WHERE  run = $1::bigint
      ORDER  BY ordinal
      """, [String(id)])
    var statements: [RunStatement] = []
    for row in rows {
      let (phaseText, nameText) = (try row.text("phase"), try row.text("name"))
      guard let phase = Phase.Name(rawValue: phaseText) else {
        throw .unreadable("run \(id) has phase \(phaseText), which a newer version of migrate has made")
      }
      // Passed over, or run at the place where it stands, it would not do what its version meant by it.
      guard let name = Statement.Name(nameText) else {
        throw .unreadable(
          "run \(id) has statement \(nameText), which this version does not know; its plan was made by another version")
      }
      statements.append(
        RunStatement(
          phase: phase, step: try row.ifPresent("step", row.int), name: name,
          text: try row.text("text"), arguments: try row.array("arguments").map { $0 ?? "" }))
    }
    return statements
  }

  /// - Throws: when this version does not know the state.
  package static func state(_ text: String) throws(PostgresError) -> RunState {
    guard let state = RunState(rawValue: text) else {
      throw .unreadable("a run is in state \(text), which a newer version of migrate has made")
    }
    return state
  }

  /// - Throws: when this version does not know the direction: taken for another one, rows would be changed the wrong way.
  static func direction(_ text: String) throws(PostgresError) -> RunDirection {
    guard let direction = RunDirection(rawValue: text) else {
      throw .unreadable("a run goes in direction \(text), which a newer version of migrate has made")
    }
    return direction
  }

  /// Moves the run by `event`; `nil` when the event does not fit its state.
  @discardableResult
  package static func advance(
    _ connection: borrowing Connection, _ run: Int64, _ event: RunTransition
  ) throws(PostgresError) -> RunState? {
    let row = try connection.query(
      "SELECT migrate.advance($1::bigint, $2::text) AS state", [String(run), event.rawValue]
    )
    .onlyRow
    return try row["state"].map { (text) throws(PostgresError) in try state(text) }
  }

  /// The run's state, and its epoch: a worker of another one has been taken over.
  package static func standing(
    _ connection: borrowing Connection, _ run: Int64
  ) throws(PostgresError) -> (state: RunState, epoch: Int) {
    let row = try connection.query(
      """
      SELECT r.state, f.epoch
      FROM   migrate.runs AS r JOIN migrate.fence AS f USING (run)
      WHERE  r.run = $1::bigint
      """, [String(run)]
    ).onlyRow
    return (try state(row.text("state")), try row.int("epoch"))
  }

  /// Fixes the upper end of the keys; `nil` for an empty source. Told once: a second time changes nothing.
  package static func bound(
    _ connection: borrowing Connection, _ run: Int64, upper: [String?]?, horizon: String
  ) throws(PostgresError) {
    try connection.query(
      "SELECT migrate.bound($1::bigint, $2::text[], $3::xid8)",
      [String(run), upper.map(ArrayText.literal), horizon])
  }

  /// How many batches and parts of them are done, there and back.
  package static func entries(_ connection: borrowing Connection, _ run: Int64) throws(PostgresError) -> Int {
    try connection.query("SELECT count(*) FROM migrate.batches WHERE run = $1::bigint", [String(run)]).onlyRow.int(0)
  }

  /// The last batch of a slice: its ordinal and the key it ended with; (0, `nil`) when none is done.
  package static func lastBatch(
    _ connection: borrowing Connection, _ run: Int64, slice: Int
  ) throws(PostgresError) -> (ordinal: Int, through: [String?]?) {
    let rows = try connection.query(
      """
      SELECT ordinal, through_key FROM migrate.last_batch($1::bigint, $2::integer)
      """, [String(run), String(slice)])
    guard let row = rows.first else { return (0, nil) }
    return (try row.int("ordinal"), try row.array("through_key"))
  }

  /// A condition: whether the run's slices and the batch `ordinal` of one of them, of which a worker was told that they are committed,
  /// are there. A batch does not wait for the disk, and behind a pooler a worker does not notice that the server has crashed.
  package static func isDone(_ run: Int64, slice: Int, through ordinal: Int) -> String {
    ordinal == 0
      ? "EXISTS (SELECT FROM migrate.slices WHERE (run, slice) = (\(run), \(slice)))"
      : """
      EXISTS (SELECT FROM migrate.batches
              WHERE (run, kind, slice, ordinal, part) = (\(run), 'apply', \(slice), \(ordinal), 0))
      """
  }

  /// A worker has ended its batch and waits; when it is the last one, the run stands still.
  package static func reachEdge(
    _ connection: borrowing Connection, _ run: Int64, worker: Int, epoch: Int
  ) throws(PostgresError) {
    try connection.query(
      "SELECT migrate.reach_edge($1::bigint, $2::integer, $3::integer)", [String(run), String(worker), String(epoch)])
  }

  /// Batches and rows that the run has done so far in `direction`.
  package static func counts(
    _ connection: borrowing Connection, _ run: Int64, _ direction: RunDirection
  ) throws(PostgresError) -> BatchCounts {
    let row = try connection.query(
      """
      SELECT count(*) FILTER (WHERE part = 0) AS batches, coalesce(sum(rows_read), 0) AS read, coalesce(sum(rows_changed), 0) AS changed,
             coalesce(sum(rows_unchanged), 0) AS unchanged, coalesce(sum(rows_rejected), 0) AS rejected,
             coalesce(sum(coalesce((SELECT sum(w) FROM unnest(rows_written) AS w), rows_changed)), 0) AS written
      FROM   migrate.batches
      WHERE  run = $1::bigint AND kind = $2::text
      """, [String(run), direction.rawValue]
    ).onlyRow
    return BatchCounts(
      batches: try row.int("batches"), read: try row.int("read"), changed: try row.int("changed"),
      unchanged: try row.int("unchanged"), rejected: try row.int("rejected"), written: try row.int("written"))
  }

  /// Writes down why the run stands still, and moves it by `event`. For a transaction of ``fenced(_:_:epoch:_:)``.
  package static func fail(
    _ connection: borrowing Connection, _ run: Int64, _ failure: Failure, event: RunTransition
  ) throws(PostgresError) {
    try connection.query(
      """
      SELECT migrate.fail($1::bigint, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::text,
                          $9::text[], $10::text[], $11::text[], $12::boolean)
      """,
      [
        String(run), event.rawValue, failure.sqlState, failure.message, failure.detail, failure.hint, failure.column,
        failure.constraint, failure.after.map(ArrayText.literal), failure.through.map(ArrayText.literal),
        failure.culprits.map { ArrayText.literal($0.keys.map(ArrayText.literal)) },
        failure.culprits.map { $0.areAll ? "true" : "false" },
      ])
  }

  /// What ``fail(_:_:_:event:)`` has written down of a run that stands still for it; `nil` when it goes on, or stands for another
  /// reason.
  package static func failure(_ connection: borrowing Connection, _ run: Int64) throws(PostgresError) -> Failure? {
    let row = try connection.query(
      "SELECT \(Failure.columns) FROM migrate.runs AS r WHERE r.run = $1::bigint", [String(run)]
    ).onlyRow
    return try Failure(row)
  }

  /// Whether a transaction that had begun is not over yet, outside of any transaction. When its number is "in the future", a
  /// crash has taken it back: a batch does not wait for the disk, so that nothing of it need be left, not even its number.
  package static func isInProgress(
    _ connection: borrowing Connection, transaction xid: String
  ) throws(PostgresError) -> Bool {
    do throws(PostgresError) {
      return try connection.query("SELECT pg_xact_status($1::xid8) AS status", [xid]).onlyRow["status"] == "in progress"
    } catch {
      guard error.sqlState == .invalidParameterValue, !error.endsConnection else { throw error }
      return false
    }
  }

  package static func leftBehind(_ connection: borrowing Connection, _ run: Int64) throws(PostgresError) -> Int? {
    let row = try connection.query("SELECT left_behind FROM migrate.runs WHERE run = $1::bigint", [String(run)]).onlyRow
    return try row.ifPresent("left_behind", row.int)
  }

  /// Runs `body` in a transaction in which nobody else can take the run over.
  /// - Returns: false, without running it, when somebody has done so already: the run is not ours to move any more.
  package static func fenced(
    _ connection: borrowing Connection, _ run: Int64, epoch: Int,
    _ body: (borrowing Connection) throws(PostgresError) -> Void
  ) throws(PostgresError) -> Bool {
    try connection.execute(
      "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL idle_in_transaction_session_timeout = '60s'")
    guard try keepsFence(connection, run, epoch: epoch) else {
      try connection.execute("ROLLBACK")
      return false
    }
    try body(connection)
    try connection.execute("COMMIT")
    return true
  }

  /// Whether the run is still ours, and then nobody else can take it over until the transaction ends.
  package static func keepsFence(
    _ connection: borrowing Connection, _ run: Int64, epoch: Int
  ) throws(PostgresError) -> Bool {
    try !connection.query(
      "SELECT FROM migrate.fence WHERE run = $1::bigint AND epoch = $2::integer FOR SHARE",
      [String(run), String(epoch)]
    ).isEmpty
  }
}

/// Rows of batches, added up.
package struct BatchCounts: Sendable, Equatable {
  package var batches = 0
  package var read = 0
  package var changed = 0
  package var unchanged = 0
  package var rejected = 0
  /// Rows that are written back when they are taken back: of several steps those of each.
  package var written = 0

  package init(
    batches: Int = 0, read: Int = 0, changed: Int = 0, unchanged: Int = 0, rejected: Int = 0, written: Int = 0
  ) {
    self.written = written
    self.batches = batches
    self.read = read
    self.changed = changed
    self.unchanged = unchanged
    self.rejected = rejected
  }
}
