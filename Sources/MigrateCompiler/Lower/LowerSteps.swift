internal import MigrateCatalog
internal import MigratePlan
internal import MigrateSQL

/// Several writes in one transaction: which rows the batch has is fixed before the first of them, in a row of arrays; with what the
/// steps read of them, where a step writes the source, so that read again behind it they would be others.
extension ResolvedBatch {
  /// Whether `batch` can be read of the source again, behind any step: no step writes there, and nobody else can, in one snapshot or by
  /// the locks of the capture.
  private var isReadAgain: Bool { !steps.contains { $0.written?.table.shares(rowsOf: table) == true } }

  /// What is kept of a batch besides its keys.
  var imageColumns: [Column] { isReadAgain ? [] : batchColumns }

  /// The table that has a row for each batch, with the keys of its rows.
  var claims: SQL { isStepped ? Name.image : Name.undo(Self.step) }

  var prepareSteps: [Statement] {
    (sourceTable.map { [$0] } ?? []) + wrappers(of: imageColumns, step: 0) + [imageTable]
      + steps.flatMap { step in
        step.written.map { wrappers(of: step.kept, step: step.number) + [step.undoTable($0, hasLZ4: hasLZ4)] } ?? []
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
    let columns: [SQL] =
      ["slice integer", "ordinal integer", "part integer", "rows_read bigint NOT NULL"]
      + (rejects ? ["rows_rejected bigint NOT NULL DEFAULT 0"] : []) + keys + read
      + ["exact boolean", "reverted boolean NOT NULL DEFAULT false", "PRIMARY KEY (slice, ordinal, part)"]
    return Statement(
      .imageTable,
      why: isReadAgain
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
    let read: [SQL] = imageColumns.map { "\($0.kept(of: alias, step: 0)) AS \(Name.context($0))" }
    let valid: [SQL] = isValid.map { ["(\($0)) AS valid"] } ?? []
    let only: SQL = validation.isEmpty ? "" : " FILTER (WHERE s.valid)"
    let names = keyNames + imageColumns.map { Name.context($0) }
    let answers: [SQL] = (locked ? [] : ["false AS as_captured"]) + leavesOut
    // Of rows that go, who is about to refer to them is kept waiting, too: a foreign key would take along what no step has kept.
    let lock: SQL = locked ? "\nFOR    \(deletesOwn ? "" : "NO KEY ")UPDATE OF \(alias)" : ""
    let clauses: [SQL] =
      [
        """
        INSERT INTO \(Name.image) (slice, ordinal, part, rows_read, \(list: rejectedName + names))
        SELECT \(lines: [Self.placeValues, "count(*)"] + rejectedCount + names.map { "array_agg(s.\($0))\(only)" })
        FROM  (SELECT \(lines: capturedKeys + read + valid)
               FROM   \(source)
               \(SQL.filtered(by: batchConditions))
               ORDER  BY \(list: keyColumns)\(lock)) AS s
        """
      ] + (answers.isEmpty ? [] : ["RETURNING \(list: answers)"])
    return Statement(
      locked ? .captureLocked : .capture,
      why: locked
        ? "from the second attempt on the rows are locked before anything is computed"
        : "which rows the batch has, and what the steps read of them, whatever these change",
      SQL.joined(clauses, by: "\n"))
  }

  private var deletesOwn: Bool {
    steps.contains { step in
      guard case .delete(let written, _) = step.verb else { return false }
      return written.table.oid == table.oid
    }
  }

  // MARK: The rows of a batch

  /// What the steps call `batch`.
  enum BatchRows: Equatable {
    /// As the capture has fixed it.
    case captured
    /// The same before there is a run.
    case explained
    /// All source rows, for EXPLAIN.
    case all
  }

  /// The common tables that a step reads: the batch, and what it works from.
  func tables(of step: ResolvedStep, _ rows: BatchRows) -> SQL {
    switch step.rows {
    case .batch: batch(rows)
    case .query(let name, let query), .moved(let name, let query, _, _):
      "\(batch(rows)), \(name) AS (\n  \(query)\n)"
    }
  }

  func batch(_ rows: BatchRows) -> SQL {
    let columns = key + batchColumns
    switch rows {
    case .explained, .all:
      let conditions = rows == .all ? filterConditions : batchConditions
      let filter: SQL = conditions.isEmpty ? "" : "\n  \(SQL.filtered(by: conditions))"
      return """
        batch AS (
          SELECT \(list: columns.map { "\(alias).\($0.name)" })
          FROM   \(plannedSource)\(filter)
        )
        """
    case .captured where isReadAgain:
      let claimed: SQL = """
        SELECT \(list: keyNames.map { "d.\($0)" })
        FROM   \(lines: ["\(Name.image) AS b", "unnest(\(list: keyNames.map { "b.\($0)" })) AS d(\(list: keyNames))"])
        WHERE  \(Self.placeRead)
        """
      let key: SQL = keyColumns.count == 1 ? keyColumns[0] : "(\(list: keyColumns))"
      return """
        batch AS (
          SELECT \(list: columns.map { "\(alias).\($0.name)" })
          FROM   \(source)
          \(SQL.filtered(by: range + ["\(key) IN (\(claimed))"]))
        )
        """
    case .captured:
      let names = keyNames + batchColumns.map { Name.context($0) }
      let arrays: [SQL] = names.map { "b.\($0)" }
      return """
        batch AS (
          SELECT \(list: zip(names, columns).map { "d.\($0) AS \($1.name)" })
          FROM   \(lines: ["\(Name.image) AS b", "unnest(\(list: arrays)) AS d(\(list: names))"])
          WHERE  \(Self.placeRead)
        )
        """
    }
  }

  // MARK: The entry of the ledger

  /// The last statement of a batch, as ``finish``: with what each step has come to.
  var finishSteps: Statement {
    func kept(_ value: SQL, _ step: ResolvedStep) -> SQL {
      "(SELECT \(value) FROM \(Name.undo(step.number)) AS u WHERE \(Self.place))"
    }
    let counts: [SQL] = steps.map { step in
      step.written == nil ? "NULL" : "coalesce(\(kept("cardinality(u.k_1)", step)), 0)"
    }
    let exact: [SQL] =
      ["coalesce(u.exact, true)"]
      + steps.filter { $0.written != nil }.map { "coalesce(\(kept("u.exact", $0)), true)" }
    let (column, rejected, left): (SQL, SQL, SQL) =
      rejects ? (", rows_rejected", ", u.rows_rejected", " - u.rows_rejected") : ("", "", "")
    return Statement(
      .finish, why: "the ledger's entry; no row: another worker has taken over; not exact: rows came in between",
      heartbeat + """

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

  // MARK: For EXPLAIN

  func explained(_ rows: BatchRows) -> [RenderedSQL] {
    steps.map { step in RenderedSQL("WITH \(tables(of: step, rows))\n\(step.plainly(self))") }
  }
}
