internal import MigrateCatalog
internal import MigratePlan
internal import MigrateSQL

/// The way back of an update: each row whose image is still ours gets its old values.
extension ResolvedBatch {
  var revert: [Statement] {
    switch undo {
    case .none: []
    case .captured:
      [settings] + (table.triggers.isEmpty ? [untouched] : []) + [ahead, mark] + putRight.hold
        + wayBack.statements + putRight.restoreRewritten + [finishRevert, dropUndo]
    }
  }

  private var wayBack: UpdateWayBack {
    UpdateWayBack(
      table: WrittenTable(table: table, alias: alias, key: key), columns: assignments.map(\.column), step: Self.step,
      noteBack: putRight.noteBack)
  }

  /// The rows whose present version is one that the run's own batches have written: nobody has touched them since. When these
  /// are all rows that it changed, there is no conflict, and nothing has to be compared. Only where no trigger can have written
  /// other rows of the table in the same transactions.
  private var untouched: Statement {
    Statement(
      .untouched, step: Self.step, why: "when these are all rows that the run changed, none needs to be compared",
      """
      SELECT count(*) AS rows_untouched
      FROM   \(source)
      WHERE  \(alias).xmin IN (SELECT unnest(\(Role.transactions)))
      """)
  }

  /// Looks before it leaps: under `stop` nothing is written when a row was changed since.
  private var ahead: Statement {
    let columns = keyNames + wayBack.columns.map { Name.new($0) }
    return Statement(
      .conflictsAhead, step: Self.step, why: "rows changed since, all batches at once; under stop there must be none",
      """
      SELECT count(*) AS conflicts
      FROM   \(Name.undo(Self.step)) AS b
      CROSS  JOIN LATERAL unnest(\(list: columns.map { "b.\($0)" })) AS d(\(list: columns))
      LEFT   JOIN \(source) ON \(sameKey)
      WHERE  NOT b.reverted
        AND  (\(keyColumns[0]) IS NULL
              OR \(wayBack.isChanged))
      """)
  }

  var mark: Statement {
    Statement(
      .mark, step: isStepped ? nil : Self.step,
      why: "a second revert of the same batch waits here and then finds nothing to do",
      """
      UPDATE \(claims) AS u
      SET    reverted = true
      WHERE  \(Self.place)
        AND  NOT u.reverted
      """)
  }

  private var finishRevert: Statement {
    Statement(
      .finish, why: "the ledger's entry; no row: another worker has taken over",
      heartbeat + """
        , conflicts AS (
          SELECT count(*) FILTER (WHERE reason <> 'overwritten') AS rows_kept
          FROM   migrate.conflicts
          WHERE  run = \(Role.run) AND seq = \(Role.seq)
        )
        INSERT INTO migrate.batches (run, kind, slice, ordinal, part, after_key, through_key,
                                     rows_read, rows_changed, rows_unchanged, rows_rejected, epoch, exact)
        SELECT a.run, 'revert', a.slice, a.ordinal, a.part, a.after_key, a.through_key,
               a.rows_changed, a.rows_changed - c.rows_kept, 0, c.rows_kept, f.epoch, true
        FROM   migrate.batches AS a, conflicts AS c,
               (SELECT epoch FROM migrate.fence WHERE run = \(Role.run) AND epoch = \(Role.epoch) FOR SHARE) AS f
        WHERE  a.run = \(Role.run)
          AND  a.kind = 'apply'
          AND  a.seq = \(Role.seq)
        RETURNING rows_read, rows_changed, rows_rejected
        """)
  }

  private var dropUndo: Statement {
    let types: [SQL] = capturedColumns.filter(\.isWrapped).map { "DROP TYPE \(Name.wrapper(Self.step, $0))" }
    // Kept for rows in quarantine that would be tried again.
    let keys = rejects ? dropOwn.map { [$0] } ?? [] : []
    return Statement(
      .dropUndo, step: Self.step, why: "everything is as it was, so the undo has done its work",
      SQL.joined(["DROP TABLE \(Name.undo(Self.step))"] + types + keys, by: ";\n"))
  }
}
