internal import MigrateCompiler
internal import MigrateLedger
internal import MigratePlan
internal import MigratePostgres
internal import MigrateSQL

/// A run that never begins: its statements with values, under a number that no run has.
struct TrialRun {
  let plan: Plan
  /// Far above what the ledger will ever count to, and another one for each backend.
  private let number: Int64
  let constants: Bindings

  init(_ plan: Plan, _ connection: borrowing Connection) throws(PostgresError) {
    self.plan = plan
    number = 9_000_000_000_000 + Int64(connection.backendPID)
    var values: [String: String?] = [":run_id": String(number), ":started_at": "2000-01-01 00:00:00+00"]
    for parameter in plan.parameters { values.updateValue(parameter.value, forKey: ":" + parameter.name) }
    let since = try Ledger.watermark(connection, identity: plan.identity, hash: nil, column: plan.incremental)
    let given: [String: String?] = [
      "since": since, "since.none": String(since == nil),
      "run": String(number), "epoch": "1", "worker": "1", "slice": "0", "part": "0",
      "size": String(plan.pace.firstSize),
    ]
    constants = Bindings(values.merging(given) { $1 })
  }

  func bindings(after: [String?]?, through: [String?]?, upper: [String?]?) -> Bindings {
    let count = plan.key.count
    return constants.with(key: after, as: "after", count: count).with(key: through, as: "through", count: count)
      .with(key: upper, as: "upper", count: count)
  }

  @discardableResult
  private func run(
    _ statement: Statement, _ bindings: Bindings, _ connection: borrowing Connection
  ) throws(PostgresError) -> Rows {
    try connection.query(statement.text(ofRun: number), statement.arguments.map { bindings.values[$0] ?? nil })
  }

  /// The first row of a statement; `nil` when there is none.
  func row(
    _ name: Statement.Name, of phase: Phase.Name, _ bindings: Bindings, _ connection: borrowing Connection
  ) throws(PostgresError) -> [String?]? {
    guard let statement = plan.statements(phase).first(where: { $0.name == name }) else { return nil }
    return try run(statement, bindings, connection).first?.values
  }

  /// The end of the batch behind `after`; `nil` only in an empty table.
  func bound(
    after: [String?]?, upper: [String?]?, _ connection: borrowing Connection
  ) throws(PostgresError) -> [String?]? {
    let bindings = bindings(after: after, through: nil, upper: upper)
    return try row(.bound, of: .batches, bindings, connection) ?? upper
  }

  func explain(
    _ text: String, _ roles: [String], _ bindings: Bindings, _ connection: borrowing Connection
  ) throws(PostgresError) -> String {
    let rows = try connection.query("EXPLAIN " + text, roles.map { bindings.values[$0] ?? nil })
    return try rows.map { (row) throws(PostgresError) in try row.text(0) }.joined(separator: "\n")
  }

  /// The run's own objects, in a schema that may not exist yet.
  func prepare(_ connection: borrowing Connection) throws(PostgresError) {
    let hasSchema = try connection.query("SELECT to_regnamespace('migrate') IS NOT NULL AS there").onlyRow
    if try !hasSchema.bool("there") { try connection.execute("CREATE SCHEMA migrate") }
    for statement in plan.statements(.prepare) { try run(statement, constants, connection) }
    for statement in plan.statements(.bounds) where statement.name.readsIntoTable {
      try run(statement, constants, connection)
    }
    // A batch looks for its keys among those.
    if let collect = plan.statements(.bounds).first(where: { $0.name == .collect }),
      let upper = try row(.upper, of: .bounds, constants, connection)
    {
      try run(collect, constants.with(key: upper, as: "upper", count: plan.key.count), connection)
    }
  }

  func starts(_ trial: Trial, _ connection: borrowing Connection) throws(PostgresError) -> [[String?]] {
    let rows = try run(trial.starts, constants.with("share", String(trial.share)), connection)
    return try rows.map { (row) throws(PostgresError) in try row.values }
  }

  /// Stretches of `size` eligible rows, from behind `after` up to `through`.
  func cut(
    after: [String?]?, through: [String?], into size: Int, _ connection: borrowing Connection
  ) throws(PostgresError) -> [(after: [String?]?, through: [String?]?)] {
    var stretches: [(after: [String?]?, through: [String?]?)] = []
    var after = after
    while true {
      let given = bindings(after: after, through: nil, upper: through).with("size", String(size))
      let end = try row(.bound, of: .batches, given, connection)
      stretches.append((after, end ?? through))
      guard let end, end != through else { return stretches }
      after = end
    }
  }

  /// What a query of the plan's finds.
  func rows(_ sql: RenderedSQL, _ connection: borrowing Connection) throws(PostgresError) -> Rows {
    let statement = Statement(.bound, why: "", rendered: sql)
    return try run(statement, constants, connection)
  }

  /// One batch, from behind `after` up to `upper` at most; `nil` when no row is eligible there.
  func batch(
    _ ordinal: Int, after: [String?]?, upper: [String?], _ connection: borrowing Connection
  ) throws(PostgresError) -> Measurement.Batch? {
    let clock = ContinuousClock.now
    let through = try bound(after: after, upper: upper, connection)
    let bindings = bindings(after: after, through: through, upper: upper).with("ordinal", String(ordinal))
    // What goes to quarantine would be counted among the unchanged.
    var passedOver: Set<Statement.Name> = [
      .settings, .lock, .bound, .captureLocked, .validate, .changeAsCaptured, .measure, .finish, .middle, .keys,
      .reject,
      .previous,
    ]
    for statement in plan.statements(.batches) where !passedOver.contains(statement.name) {
      // No rollback would take it back.
      if case .moveOn = statement.name { continue }
      let rows = try run(statement, bindings.with("snapshot", "true"), connection)
      if statement.name == .capture, let row = rows.first, try row.bool("as_captured") {
        passedOver.remove(.changeAsCaptured)
        passedOver.insert(.change)
      }
    }
    let computed = ContinuousClock.now
    for statement in plan.statements(.publish) where [.publish, .image].contains(statement.name) {
      try run(statement, bindings, connection)
    }
    let end = ContinuousClock.now
    let rows = try connection.query(
      """
      SELECT rows_read, coalesce(cardinality(k_1), 0) AS rows_changed
      FROM   migrate.\(plan.isStepped ? "image_\(number)" : "undo_\(number)_1")
      WHERE  ordinal = $1::integer
      """, [String(ordinal)])
    guard let row = rows.first, try row.int("rows_read") > 0 else { return nil }
    return Measurement.Batch(
      read: try row.int("rows_read"), changed: try row.int("rows_changed"), duration: end - clock,
      shown: plan.isPublishedAtOnce ? end - computed : nil)
  }
}
