internal import MigrateLedger
internal import MigratePlan
internal import MigratePostgres

/// What batches have computed aside, shown by one transaction behind the last of them.
///
/// Until it commits nobody sees anything of it, and whatever ends it early leaves what was computed as it is: it is shown at the next try.
extension Worker {
  /// From the third try on the table is locked first: each row that somebody has in hand can be the end of a try, and there may always be
  /// another one.
  private static var triesBesideWriters: Int { 2 }

  /// Shows what the run has computed. `nil`: it is shown.
  mutating func publish(upper: [String?]?) throws(PostgresError) -> RunOutcome? {
    guard run.isPublishedAtOnce, try Ledger.isUnpublished(connection, run.id) else { return nil }
    var tries = 0
    return try persisting(.none) { (worker) throws(PostgresError) in
      tries += 1
      return try worker.show(upper: upper, alone: tries > Self.triesBesideWriters)
    }
  }

  private mutating func show(upper: [String?]?, alone: Bool) throws(PostgresError) -> RunOutcome? {
    let clock = ContinuousClock.now
    let places = try Ledger.toPublish(connection, run.id)
    report(.publishing(rows: places.reduce(0) { $0 + $1.rows }))
    try begin("READ COMMITTED READ WRITE", .apply)
    if alone { try lockAlone() }
    var late: BatchCounts?
    if let upper {
      for place in places {
        if control.isStopRequested {
          try connection.execute("ROLLBACK")
          return try pauseBySignal()
        }
        try show(constants.with("slice", place.slice).with("ordinal", place.ordinal).with("part", place.part))
      }
      switch try showLate(upper: upper) {
      case .shown(let counts): late = counts
      case .ended(let outcome): return outcome
      }
    }
    let xid = try connection.query(
      "SELECT migrate.published($1::bigint), migrate.confirm($1::bigint), pg_current_xact_id() AS xid", [runID]
    ).onlyRow.text("xid")
    unsettled = xid
    try connection.commit()
    unsettled = nil
    report(.published(recomputed: late?.read ?? 0, duration: ContinuousClock.now - clock))
    return nil
  }

  /// Who may update only some columns may not lock the table so, and tries on as before.
  borrowing func lockAlone() throws(PostgresError) {
    guard run.mayLock, let lock = run.statements(.publish).first(where: { $0.name == .lock }) else { return }
    // Longer than for a row: whoever waits behind this lock would wait for the rows, too.
    try connection.execute("SET LOCAL lock_timeout = '5s'; \(lock.text)")
  }

  /// What one batch has computed, as far as nobody has changed the rows since.
  borrowing func show(_ bindings: Bindings) throws(PostgresError) {
    for statement in run.statements(.publish) where [.publish, .image].contains(statement.name) {
      try connection.run(statement, bindings)
    }
  }

  private enum Shown {
    case shown(BatchCounts)
    case ended(RunOutcome)
  }

  /// The rows that others have changed since, computed anew, and the ledger's entry.
  private mutating func showLate(upper: [String?]) throws(PostgresError) -> Shown {
    let place = BatchPlace(slice: -3, ordinal: 1)
    // Asked for behind the others, so that nobody who has written before is overlooked.
    let bindings = try ownTransactions().with("slice", String(place.slice)).with("ordinal", String(place.ordinal))
      .with("eligible", nil).with("changed", nil).with("snapshot", "false")
      .with(key: nil, as: "after", count: run.keyCount).with(key: upper, as: "through", count: run.keyCount)
      .with(key: upper, as: "upper", count: run.keyCount)
    let found = try connection.run(run.statement(.publish, .captureLate), bindings)
    if let row = found.first, found.hasColumn("leaves_out"), try row.bool("leaves_out") {
      try connection.run(run.statement(.publish, .validate), bindings)
    }
    for statement in [Statement.Name.change, .image].compactMap({ name in
      run.statements(.publish).first { $0.name == name }
    }) {
      try connection.run(statement, bindings)
    }
    let entry = try connection.run(run.statement(.publish, .finish), bindings)
    guard let row = entry.first else {
      try connection.execute("ROLLBACK")
      return .ended(try beaten())
    }
    let (read, changed) = (try row.int("rows_read"), try row.int("rows_changed"))
    guard try row.bool("exact") else {
      let captured = try row.int("rows_captured")
      try connection.execute("ROLLBACK")
      return .ended(
        try fail(
          changed < captured
            ? .suppressed(captured: captured, changed: changed, after: nil, through: upper)
            : .keysChanged(after: nil, through: upper)))
    }
    if let excess = try excess(behind: nil, through: nil) {
      try connection.execute("ROLLBACK")
      return .ended(try fail(excess))
    }
    return .shown(BatchCounts(batches: 0, read: read, changed: changed, unchanged: read - changed, rejected: 0))
  }
}
