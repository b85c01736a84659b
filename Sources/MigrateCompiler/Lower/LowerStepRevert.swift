internal import MigrateCatalog
internal import MigratePlan
internal import MigrateSQL

/// The way back of a batch with several writes: its steps backwards, in one transaction.
extension ResolvedBatch {
  var revertSteps: [Statement] {
    let families = families
    return [settings, conflictsAheadOfSteps, mark]
      + steps.reversed().flatMap { step -> [Statement] in
        guard let family = families.first(where: { $0.holds(step) }) else { return wayBack(step) }
        let way = FamilyWayBack(family: family)
        let isLast = !family.moves.contains { $0.removing.number > step.number }
        return (isLast ? way.decisions : []) + way.wayBack(of: step)
      } + [finishRevertSteps, dropSteps]
  }

  /// Looks before it leaps: under `stop` nothing is written when a row was changed since.
  private var conflictsAheadOfSteps: Statement {
    let counts: [SQL] = steps.compactMap { step in
      let others = steps.filter { $0.number != step.number && $0.written?.table.oid == step.written?.table.oid }
      // Of a table that is written twice only the way back itself tells, step by step.
      return others.isEmpty ? conflictsAhead(of: step) : nil
    }
    let sum: SQL = counts.isEmpty ? "0" : .joined(counts.map { "(\($0))" }, by: "\n + ")
    return Statement(
      .conflictsAhead, why: "rows changed since, all batches at once; under stop there must be none",
      "SELECT \(sum) AS conflicts")
  }

  private var finishRevertSteps: Statement {
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
               b.rows, b.rows - c.rows_kept, 0, c.rows_kept, f.epoch, true
        FROM   migrate.batches AS a
        CROSS  JOIN conflicts AS c
        CROSS  JOIN LATERAL (SELECT coalesce(sum(d.rows), 0) AS rows FROM unnest(a.rows_written) AS d(rows)) AS b
        CROSS  JOIN (SELECT epoch FROM migrate.fence WHERE run = \(Role.run) AND epoch = \(Role.epoch) FOR SHARE) AS f
        WHERE  a.run = \(Role.run)
          AND  a.kind = 'apply'
          AND  a.seq = \(Role.seq)
        RETURNING rows_read, rows_changed, rows_rejected
        """)
  }

  private var dropSteps: Statement {
    let written = steps.filter { undone($0) != nil || $0.repeated != nil }
    let tables: [SQL] = [Name.image] + (sourceRows.isFrozen ? [Name.source] : []) + written.map { Name.undo($0.number) }
    let wrapped: [(Int, Column)] =
      imageColumns.map { (0, $0) }
      + steps.flatMap { step in (step.written == nil ? step.repeated ?? [] : step.kept).map { (step.number, $0) } }
    let types: [SQL] = wrapped.filter(\.1.isWrapped).map { "DROP TYPE \(Name.wrapper($0.0, $0.1))" }
    let keys = rejects ? dropOwn.map { [$0] } ?? [] : []
    return Statement(
      .dropUndo, why: "everything is as it was, so the undo has done its work",
      SQL.joined(["DROP TABLE \(list: tables)"] + types + keys, by: ";\n"))
  }
}

extension ResolvedBatch {
  private func wayBack(_ step: ResolvedStep) -> [Statement] {
    switch step.verb {
    case .update(let table, _, let assignments):
      around(
        putRight(table, step),
        UpdateWayBack(
          table: table, columns: assignments.map(\.column), step: step.number, noteBack: putRight(table, step).noteBack
        ).statements)
    case .insert(let table, _, _): InsertWayBack(rows: kept(table, by: step)).statements
    case .delete(let table, _):
      around(
        putRight(table, step),
        DeleteWayBack(rows: kept(table, by: step), noteBack: putRight(table, step).noteBack).statements)
    case .emit, .notify: step.eventsBack
    }
  }

  private func around(_ right: PutRight, _ statements: [Statement]) -> [Statement] {
    right.hold + statements + right.restoreRewritten
  }

  /// A query for the number of its rows that are not as the step has left them; `nil` where it has left none.
  private func conflictsAhead(of step: ResolvedStep) -> SQL? {
    switch step.verb {
    case .update(let table, let match, let assignments):
      let back = UpdateWayBack(table: table, columns: assignments.map(\.column), step: step.number, noteBack: "")
      let rows = KeptRows(table: table, step: step.number)
      return match.isShared
        ? chained(rows, back.columns)
        : ahead(rows, back.columns.map { Name.new($0) }, "\(table.keyColumns[0]) IS NULL\n OR \(back.isChanged)")
    case .insert(let table, _, _):
      let back = InsertWayBack(rows: kept(table, by: step))
      let referred = back.referred { key in !steps.contains { $0.written?.table.oid == key.tableOID } }
      return ahead(
        back.rows, back.images,
        .joined(
          ["\(table.keyColumns[0]) IS NULL"] + (back.isChanged.map { [$0] } ?? []) + referred.map { "EXISTS (\($0))" },
          by: "\n OR "))
    case .delete(let table, _):
      let back = DeleteWayBack(rows: kept(table, by: step))
      return ahead(back.rows, table.otherColumns.map { Name.old($0) }, back.isTaken)
    case .emit, .notify: return nil
    }
  }

  private func ahead(_ rows: KeptRows, _ images: [SQL], _ condition: SQL) -> SQL {
    """
    SELECT count(*)
    FROM   \(Name.image) AS r
    JOIN   \(rows.relation) AS b USING (slice, ordinal, part)
    CROSS  JOIN \(rows.each(rows.keyNames + images))
    LEFT   JOIN \(rows.table.source) ON \(rows.sameKey)
    WHERE  NOT r.reverted
      AND  (\(condition))
    """
  }

  /// Of a row that several batches have written only the last image is in the table; each other one is what the next batch has found.
  private func chained(_ rows: KeptRows, _ written: [Column]) -> SQL {
    let table = rows.table
    let columns = rows.keyNames + written.map { Name.old($0) } + written.map { Name.new($0) }
    let later: [SQL] = written.map { "lead(d.\(Name.old($0))) OVER same AS \(Name.later($0))" }
    let found: [SQL] = written.map {
      "CASE WHEN d.again THEN d.\(Name.later($0)) ELSE \($0.plain(of: table.alias)) END"
    }
    let kept: [SQL] = rows.keyNames.map { "d.\($0)" } + written.map { "d.\(Name.new($0))" }
    return """
      SELECT count(*)
      FROM  (SELECT \(lines: kept + later + ["lead(true) OVER same AS again"])
             FROM   \(Name.image) AS r
             JOIN   \(rows.relation) AS b USING (slice, ordinal, part)
             JOIN   migrate.batches AS l USING (slice, ordinal, part)
             CROSS  JOIN \(rows.each(columns))
             WHERE  NOT r.reverted AND l.run = \(Role.run) AND l.kind = 'apply'
             WINDOW same AS (PARTITION BY \(list: rows.keyNames.map { "d.\($0)" }) ORDER BY l.seq)) AS d
      LEFT   JOIN \(table.source) ON \(rows.sameKey)
      WHERE  (d.again IS NULL AND \(table.keyColumns[0]) IS NULL
              OR \(ResolvedBatch.images(written.map { "d.\(Name.new($0))" }, .differFrom, found)))
      """
  }
}
