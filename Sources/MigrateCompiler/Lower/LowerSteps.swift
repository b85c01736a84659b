internal import MigrateCatalog
internal import MigratePlan
internal import MigrateSQL

/// Several writes in one transaction: which rows the batch has is fixed before the first of them, in a row of arrays; with what the
/// steps read of them, where a step writes the source, so that read again behind it they would be others.
extension ResolvedBatch {
  /// The table that has a row for each batch, with the keys of its rows.
  var claims: SQL { isStepped ? Name.image : Name.undo(Self.step) }

  var prepareSteps: [Statement] {
    (sourceTable.map { [$0] } ?? []) + wrappers(of: imageColumns, step: 0)
      + steps.filter { $0.written != nil && undone($0) == nil }.flatMap { wrappers(of: $0.kept, step: $0.number) }
      + [imageTable]
      + steps.flatMap { step in
        undone(step).map { wrappers(of: step.kept, step: step.number) + [step.undoTable($0, self)] }
          ?? step.eventTable(hasLZ4: hasLZ4).map { wrappers(of: step.repeated ?? [], step: step.number) + [$0] } ?? []
      }
  }

  /// The table whose rows a step keeps in a table of its own; `nil` where it keeps none, or not there.
  func undone(_ step: ResolvedStep) -> WrittenTable? {
    switch step.verb {
    case .insert(let table, _, _):
      switch addition(of: step) {
      case .returned: table
      case .foreseen, .moved: nil
      }
    case .delete(let table, let match): step.isOwn(table, match, self) ? nil : table
    case .update(let table, _, _): table
    case .emit, .notify: nil
    }
  }

  private func wrappers(of columns: [Column], step: Int) -> [Statement] {
    columns.filter(\.isWrapped).map { column in
      Statement(
        .wrapper(column: column.number), step: step,
        why: "an array of arrays would lose their shapes, so each goes in a row of one column",
        "CREATE TYPE \(Name.wrapper(step, column)) AS (v \(column.base))")
    }
  }

  private var imageTable: Statement {
    let compression: SQL = hasLZ4 ? " COMPRESSION lz4" : ""
    let keys: [SQL] = key.enumerated().map { "\(Name.key($0)) \($1.base)[]\(compression)" }
    let read: [SQL] = imageColumns.map { "\(Name.context($0)) \($0.element(step: 0))[]\(compression)" }
    let written: [SQL] = keptOfSteps.map { "\($0.name) \($0.type)[]\(compression)" }
    let columns: [SQL] =
      ["slice integer", "ordinal integer", "part integer", "rows_read bigint NOT NULL"]
      + (rejects ? ["rows_rejected bigint NOT NULL DEFAULT 0"] : []) + keys + read + written
      + families.flatMap(\.moves).flatMap { ["\($0.own) integer[]", "\($0.back) integer[]"] }
      + ["exact boolean", "reverted boolean NOT NULL DEFAULT false", "PRIMARY KEY (slice, ordinal, part)"]
    return Statement(
      .imageTable,
      why: imageColumns.isEmpty
        ? "which rows a batch has; what the steps read of them stays as it is in the source"
        : "what the steps read of a batch, as it was before the first of them: a row a batch, an array a column",
      "CREATE TABLE \(Name.image) (\(lines: columns))")
  }

  var steppedStatements: [Statement] {
    [captureBatch(locked: false), captureBatch(locked: true)] + (judges ? [validate] : [])
      + steps.flatMap { $0.statements(self) }
  }

  /// Fixes which rows the batch has, and what the steps read of them.
  private func captureBatch(locked: Bool) -> Statement {
    let ends = !locked && endsByCapture
    let written = keptOfSteps
    let inOrder: SQL? = isComposed ? isInOrder("s") : validation.isEmpty ? nil : "s.valid"
    let only: SQL = inOrder.map { " FILTER (WHERE \($0))" } ?? ""
    let rejected: [SQL] =
      isComposed ? inOrder.map { ["count(*) FILTER (WHERE (\($0)) IS NOT TRUE)"] } ?? [] : rejectedCount
    let read = keyNames + imageColumns.map { Name.context($0) }
    let kept: [SQL] =
      read.map { "array_agg(s.\($0))\(only)" }
      + written.map { "array_agg(\($0.isOfBatch ? $0.value : "s.\($0.name)"))\(only)" }
    let answers: [SQL] = (locked ? [] : ["false AS as_captured"]) + (ends ? lastKey(onlyIfFull: true) : leavesOut)
    let rows: SQL = "(\(captured(written, locked: locked, ends: ends))) AS s"
    let isOfBatch = written.contains(where: \.isOfBatch)
    let first: [SQL] = needsCount ? [.filtered(by: ["s.place = 1"])] : []
    let clauses: [SQL] =
      (locked && isComposed ? ["WITH \(lockedRows)"] : []) + [
        """
        INSERT INTO \(Name.image) (slice, ordinal, part, rows_read, \(list: rejectedName + read + written.map(\.name)))
        SELECT \(lines: [Self.placeValues, "count(*)"] + rejected + kept)
        FROM   \(lines: [rows] + (isOfBatch ? [batchOfCaptured] : []))
        """
      ] + first + (answers.isEmpty ? [] : ["RETURNING \(list: answers)"])
    return Statement(
      locked ? .captureLocked : .capture,
      why: locked
        ? "from the second attempt on the rows are locked before anything is computed"
        : "which rows the batch has, and what the steps read of them, whatever these change",
      SQL.joined(clauses, by: "\n"))
  }

  /// The rows of the batch as a capture reads them, and what is kept of each.
  private func captured(_ written: [KeptOfStep], locked: Bool, ends: Bool) -> SQL {
    let read: [SQL] = imageColumns.map { "\($0.kept(of: alias, step: 0)) AS \(Name.context($0))" }
    let own: [SQL] = written.filter { !$0.isOfBatch }.map { "\($0.value) AS \($0.name)" }
    let plain: [SQL] =
      written.contains(where: \.isOfBatch)
      ? (key + readOfBatch).map { "\(alias).\($0.name) AS \(Name.plain($0))" } : []
    let valid: [SQL] = isComposed ? judgementsOfComposed : isValid.map { ["(\($0)) AS valid"] } ?? []
    let walked = [behindAfter, compared("<=", Role.upper)] + canaryConditions + filterConditions
    let lock: [SQL] = locked && !isComposed ? ["FOR    \(lockOfRows) OF \(alias)"] : []
    let from: [SQL] =
      isComposed
      ? ["FROM   \(composed(locked ? .locked : .batch, judged: true))"]
      : ["FROM   \(source)", SQL.filtered(by: ends ? walked : batchConditions)]
    let clauses: [SQL] =
      ["SELECT \(lines: capturedKeys + read + own + plain + valid)"] + from + ["ORDER  BY \(list: keyColumns)"]
      + (ends ? ["LIMIT  \(Role.size)"] : lock)
    return .joined(clauses, by: "\n")
  }

  /// What a step calls `batch`, of the rows that a capture reads.
  private var batchOfCaptured: SQL {
    "LATERAL (SELECT \(list: (key + readOfBatch).map { "s.\(Name.plain($0)) AS \($0.name)" })) AS \(Resolver.batch)"
  }

  /// Whether the capture itself ends a batch after so many rows, so that they are walked once. A row that a rule leaves out is read, too,
  /// and is in no array that would tell the last key.
  private var endsByCapture: Bool { coverage == .walked && !judges && !isComposed }

  /// Of rows that go, who is about to refer to them is kept waiting, too: a foreign key would take along what no step has kept.
  var lockOfRows: SQL { deletesOwn ? "UPDATE" : "NO KEY UPDATE" }

  private var deletesOwn: Bool {
    steps.contains { step in
      guard case .delete(let written, _) = step.verb else { return false }
      return written.table.oid == table.oid
    }
  }

  // MARK: The entry of the ledger

  /// The last statement of a batch, as ``finish``: with what each step has come to.
  var finishSteps: Statement {
    let counts: [SQL] = steps.map { step in step.written.map { rowsWritten($0, step) } ?? "NULL" }
    let exact: [SQL] = ["coalesce(u.exact, true)"] + steps.compactMap(isExact)
    let (column, rejected, left): (SQL, SQL, SQL) =
      rejects ? (", rows_rejected", ", u.rows_rejected", " - u.rows_rejected") : ("", "", "")
    return Statement(
      .finish, why: "the ledger's entry; no row: another worker has taken over; not exact: rows came in between",
      heartbeat + forgetting + """

        INSERT INTO migrate.batches (run, kind, slice, ordinal, part, after_key, through_key,
                                     rows_read, rows_changed, rows_unchanged\(column), rows_written, epoch, exact)
        SELECT \(Role.run), 'apply', u.slice, u.ordinal, u.part, \(Role.afterKey), \(Role.throughKey),
               u.rows_read, u.rows_read\(left), 0\(rejected),
               CAST(ARRAY[\(lines: counts)] AS bigint[]), f.epoch,
               \(SQL.joined(exact, by: "\nAND "))
        FROM   \(Name.image) AS u
        CROSS  JOIN (SELECT epoch FROM migrate.fence WHERE run = \(Role.run) AND epoch = \(Role.epoch) FOR SHARE) AS f
        WHERE  \(Self.place)
        RETURNING exact, rows_read, rows_changed\(column), xid, rows_changed AS rows_captured
        """)
  }

  /// Under `undo: none`: what the steps have kept of the rows while they were at it goes with the same commit, but for the keys.
  private var forgetting: SQL {
    guard !keepsUndo else { return "" }
    let ofBatch = imageColumns.map { Name.context($0) } + keptOfSteps.filter { !$0.isKey }.map(\.name)
    let kept = [(Name.image, ofBatch)] + steps.filter { undone($0) != nil }.map { (Name.undo($0.number), $0.images) }
    let clauses: [SQL] = kept.filter { !$0.1.isEmpty }.enumerated().map { place, item in
      """
      , \(Identifier(trusted: "migrate forgotten \(place + 1)")) AS (
        UPDATE \(item.0) AS u
        SET    \(lines: item.1.map { "\($0) = NULL" })
        WHERE  \(Self.place)
      )
      """
    }
    return .joined(clauses, by: "\n")
  }

  /// How many rows a step has kept.
  private func rowsWritten(_ table: WrittenTable, _ step: ResolvedStep) -> SQL {
    let kept = kept(table, by: step)
    // As many as the batch has, which costs less to know than to count them in an array.
    if kept.isWithBatch, !rejects { return "u.rows_read" }
    return kept.isWithBatch
      ? "coalesce(cardinality(u.\(kept.counted)), 0)"
      : "coalesce((SELECT cardinality(u.\(kept.counted)) FROM \(kept.relation) AS u WHERE \(Self.place)), 0)"
  }

  /// Whether a step has written the rows that are kept of it, and no others.
  private func isExact(_ step: ResolvedStep) -> SQL? {
    guard let table = step.written else { return nil }
    if case .moved(let moved) = step.rows, let remover = steps.first(where: { $0.number == moved.removedBy }),
      let removed = remover.written, undone(step) != nil, undone(remover) == nil
    {
      return "\(rowsWritten(table, step)) = \(rowsWritten(removed, remover))"
    }
    if step.tellsWritten(self) { return "coalesce((\(Role.written))[\(step.number)], 0) = \(rowsWritten(table, step))" }
    return "coalesce((SELECT u.exact FROM \(Name.undo(step.number)) AS u WHERE \(Self.place)), true)"
  }

  // MARK: For EXPLAIN

  func explained(_ rows: BatchRows) -> [RenderedSQL] {
    steps.map { step in RenderedSQL("WITH \(tables(of: step, rows))\n\(step.plainly(self))") }
  }
}
