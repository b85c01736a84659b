internal import MigrateCatalog
internal import MigratePlan
internal import MigrateSQL

/// The way back of a batch with several writes: its steps backwards, in one transaction.
extension ResolvedBatch {
  var revertSteps: [Statement] {
    [settings, conflictsAheadOfSteps, mark] + steps.reversed().flatMap(\.wayBack) + [finishRevertSteps, dropSteps]
  }

  /// Looks before it leaps: under `stop` nothing is written when a row was changed since.
  private var conflictsAheadOfSteps: Statement {
    let counts: [SQL] = steps.compactMap { step in
      let others = steps.filter { $0.number != step.number && $0.written?.table.oid == step.written?.table.oid }
      // Of a table that is written twice only the way back itself tells, step by step.
      return others.isEmpty ? step.conflictsAhead(beside: steps) : nil
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
    let written = steps.filter { $0.written != nil }
    let tables: [SQL] = [Name.image] + (sourceRows.isFrozen ? [Name.source] : []) + written.map { Name.undo($0.number) }
    let wrapped: [(Int, Column)] =
      imageColumns.map { (0, $0) } + written.flatMap { step in step.kept.map { (step.number, $0) } }
    let types: [SQL] = wrapped.filter(\.1.isWrapped).map { "DROP TYPE \(Name.wrapper($0.0, $0.1))" }
    let keys = rejects ? dropOwn.map { [$0] } ?? [] : []
    return Statement(
      .dropUndo, why: "everything is as it was, so the undo has done its work",
      SQL.joined(["DROP TABLE \(list: tables)"] + types + keys, by: ";\n"))
  }
}

extension ResolvedStep {
  fileprivate var wayBack: [Statement] {
    switch verb {
    case .update(let table, _, let assignments):
      UpdateWayBack(table: table, columns: assignments.map(\.column), step: number, noteBack: "").statements
    case .insert(let table, _, _): InsertWayBack(table: table, step: number).statements
    case .delete(let table, _): DeleteWayBack(table: table, step: number).statements
    case .emit, .notify: []
    }
  }

  /// A query for the number of its rows that are not as the step has left them; `nil` where it has left none.
  fileprivate func conflictsAhead(beside steps: [ResolvedStep]) -> SQL? {
    switch verb {
    case .update(let table, let match, let assignments):
      let back = UpdateWayBack(table: table, columns: assignments.map(\.column), step: number, noteBack: "")
      return match.isShared
        ? chained(table, back.columns)
        : ahead(table, back.columns.map { Name.new($0) }, "\(table.keyColumns[0]) IS NULL\n OR \(back.isChanged)")
    case .insert(let table, _, _):
      let back = InsertWayBack(table: table, step: number)
      return ahead(
        table, table.otherColumns.map { Name.new($0) },
        .joined(
          ["\(table.keyColumns[0]) IS NULL", back.isChanged]
            + back.referred { key in !steps.contains { $0.written?.table.oid == key.tableOID } }.map {
              "EXISTS (\($0))"
            },
          by: "\n OR "))
    case .delete(let table, _):
      let back = DeleteWayBack(table: table, step: number)
      return ahead(table, table.otherColumns.map { Name.old($0) }, back.isTaken)
    case .emit, .notify: return nil
    }
  }

  private func ahead(_ table: WrittenTable, _ images: [SQL], _ condition: SQL) -> SQL {
    let rows = KeptRows(table: table, step: number)
    let columns = rows.keyNames + images
    return """
      SELECT count(*)
      FROM   \(Name.image) AS r
      JOIN   \(Name.undo(number)) AS b USING (slice, ordinal, part)
      CROSS  JOIN LATERAL unnest(\(list: columns.map { "b.\($0)" })) AS d(\(list: columns))
      LEFT   JOIN \(table.source) ON \(rows.sameKey)
      WHERE  NOT r.reverted
        AND  (\(condition))
      """
  }

  /// Of a row that several batches have written only the last image is in the table; each other one is what the next batch has found.
  private func chained(_ table: WrittenTable, _ written: [Column]) -> SQL {
    let rows = KeptRows(table: table, step: number)
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
             JOIN   \(Name.undo(number)) AS b USING (slice, ordinal, part)
             JOIN   migrate.batches AS l USING (slice, ordinal, part)
             CROSS  JOIN LATERAL unnest(\(list: columns.map { "b.\($0)" })) AS d(\(list: columns))
             WHERE  NOT r.reverted AND l.run = \(Role.run) AND l.kind = 'apply'
             WINDOW same AS (PARTITION BY \(list: rows.keyNames.map { "d.\($0)" }) ORDER BY l.seq)) AS d
      LEFT   JOIN \(table.source) ON \(rows.sameKey)
      WHERE  (d.again IS NULL AND \(table.keyColumns[0]) IS NULL
              OR \(ResolvedBatch.images(written.map { "d.\(Name.new($0))" }, .differFrom, found)))
      """
  }
}

/// The way back of an insert: rows that nobody has touched go, and none that another row has come to refer to.
struct InsertWayBack: Sendable {
  let table: WrittenTable
  let step: Int

  private var rows: KeptRows { KeptRows(table: table, step: step) }

  var statements: [Statement] { [lock, seize, restore, restoreForced, rows.look(at: table.storedColumns)] }

  private func images(_ relation: ResolvedBatch.ImageRelation) -> SQL {
    ResolvedBatch.images(
      table.otherColumns.map { $0.plain(of: table.alias) }, relation, table.otherColumns.map { "d.\(Name.new($0))" })
  }

  var isChanged: SQL { images(.differFrom) }

  /// A row that is about to refer to one of these waits for us, or we for it: asked without it, a delete would miss a row that comes
  /// while it waits, and a cascade would take that along.
  private var lock: Statement {
    Statement(
      .hold, step: step, why: "whoever is about to refer to these rows is waited for, or has to wait",
      """
      SELECT count(*)
      FROM  (SELECT
             FROM   \(lines: rows.unnested(rows.keyNames) + [table.source])
             WHERE  \(ResolvedBatch.placeRead)
               AND  \(rows.sameKey)
             FOR    UPDATE OF \(table.alias)) AS locked
      """)
  }

  private var unreferred: [SQL] { referred { _ in true }.map { "NOT EXISTS (\($0))" } }

  /// Rows of the same batch that refer to one another go together, in one statement, unless somebody has changed the one that refers.
  private func besides(_ other: Identifier) -> SQL {
    let columns = rows.keyNames + table.otherColumns.map { Name.new($0) }
    let same: [SQL] = zip(table.key, rows.keyNames).map { "\(other).\($0.name) = e.\($1)" }
    let equal = ResolvedBatch.images(
      table.otherColumns.map { $0.plain(of: other) }, .equal, table.otherColumns.map { "e.\(Name.new($0))" })
    return """
       AND NOT EXISTS (SELECT
                       FROM   \(lines: ["\(Name.undo(step)) AS b", "unnest(\(list: columns.map { "b.\($0)" })) AS e(\(list: columns))"])
                       WHERE  \(ResolvedBatch.placeRead)
                         AND  \(SQL.joined(same, by: " AND "))
                         AND  \(equal))
      """
  }

  /// A query for each foreign key that is wanted: the rows that refer to this one. Ahead of it those of a table that the run has written
  /// itself go before.
  func referred(where isWanted: (ForeignKey) -> Bool) -> [SQL] {
    table.table.referencedBy.filter(isWanted).map { key in
      let other = Identifier(trusted: "migrate referring")
      let same: [SQL] = zip(key.referring, key.columns).compactMap { referring, number in
        table.table.column(number).map { "\(other).\(referring) = \(table.alias).\($0.name)" }
      }
      let besides: SQL = key.tableOID == table.table.oid ? self.besides(other) : ""
      return "SELECT FROM \(key.table) AS \(other) WHERE \(SQL.joined(same, by: " AND "))\(besides)"
    }
  }

  private var restore: Statement {
    Statement(
      .restore, step: step, why: "one statement compares and deletes, so no edit is lost between the two",
      deleting(where: [images(.equal)]))
  }

  private var restoreForced: Statement {
    Statement(
      .restoreForced, step: step,
      why: "under force rows go whatever they hold by now, unless another one refers to them",
      deleting(where: []) + "\nON CONFLICT (run, step, seq, key) DO UPDATE SET reason = 'edited'")
  }

  private func deleting(where conditions: [SQL]) -> SQL {
    let columns = rows.keyNames + table.otherColumns.map { Name.new($0) }
    let clauses = [ResolvedBatch.placeRead, rows.sameKey] + conditions + unreferred
    return """
      WITH back AS (
        DELETE FROM \(table.source)
        USING  \(lines: rows.unnested(columns))
        \(SQL.filtered(by: clauses))
        RETURNING \(list: rows.returnedKeys)
      )
      \(rows.conflictsOfBack)
      """
  }

  private var seize: Statement {
    let columns = rows.keyNames + table.otherColumns.map { Name.new($0) }
    return Statement(
      .seize, step: step, why: "under force what is deleted is kept first where it is not what the run has inserted",
      """
      INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
      SELECT \(Role.run), \(step), \(Role.seq), \(rows.keyTexts), 'overwritten', \(rows.found(table.storedColumns))
      FROM   \(lines: rows.unnested(columns) + [table.source])
      WHERE  \(ResolvedBatch.placeRead)
        AND  \(rows.sameKey)
        AND  \(isChanged)
      """)
  }
}

/// The way back of a delete: the rows come back, and none under a key that somebody has taken since.
struct DeleteWayBack: Sendable {
  let table: WrittenTable
  let step: Int

  private var rows: KeptRows { KeptRows(table: table, step: step) }

  var statements: [Statement] { [restore, seize, restoreForced, rows.look(at: table.storedColumns)] }

  private var restore: Statement {
    Statement(
      .restore, step: step, why: "identities keep their values; a row under the key of one of these is left alone",
      inserting(isArbitrable ? "DO NOTHING" : "(\(list: table.key.map { "\($0.name)" })) DO NOTHING"))
  }

  /// Whether PostgreSQL can be asked for a conflict with any index: not with one that is checked later.
  private var isArbitrable: Bool { table.table.indexes.allSatisfy { !$0.isUnique || $0.isImmediate } }

  /// True where a row is there that has taken the place of `d`: its key, or what another unique index tells.
  var isTaken: SQL {
    let other = Identifier(trusted: "migrate other")
    let taken = table.table.indexes.compactMap { index -> SQL? in
      let columns = index.columns.compactMap(table.table.column)
      guard index.isUnique, index.isValid, !index.isPartial, columns.count == index.columns.count,
        columns.allSatisfy({ !$0.isGenerated })
      else { return nil }
      let same: [SQL] = columns.map { "\(other).\($0.name) = d.\(kept($0))" }
      return "EXISTS (SELECT FROM \(table.table.name) AS \(other) WHERE \(SQL.joined(same, by: " AND ")))"
    }
    return .joined(taken, by: "\n OR ")
  }

  private func kept(_ column: Column) -> SQL {
    table.key.firstIndex { $0.number == column.number }.map { Name.key($0) } ?? Name.old(column)
  }

  private func inserting(_ conflict: SQL) -> SQL {
    let columns = table.key.map(\.name) + table.otherColumns.map(\.name)
    let values = rows.keyNames + table.otherColumns.map { Name.old($0) }
    return """
      WITH back AS (
        INSERT INTO \(table.source) (\(list: columns.map { "\($0)" })) OVERRIDING SYSTEM VALUE
        SELECT \(list: values.map { "d.\($0)" })
        FROM   \(lines: rows.unnested(values))
        WHERE  \(ResolvedBatch.placeRead)
        ON CONFLICT \(conflict)
        RETURNING \(list: rows.returnedKeys)
      )
      \(rows.conflictsOfBack)
      """
  }

  private var seize: Statement {
    Statement(
      .seize, step: step, why: "under force what stands under a key is kept first, and locked meanwhile",
      """
      WITH d AS MATERIALIZED (
        SELECT \(lines: rows.keyNames.map { "d.\($0)" } + ["\(rows.found(table.storedColumns)) AS found"])
        FROM   \(lines: rows.unnested(rows.keyNames) + [table.source])
        WHERE  \(ResolvedBatch.placeRead)
          AND  \(rows.sameKey)
        FOR    UPDATE OF \(table.alias)
      )
      INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
      SELECT \(Role.run), \(step), \(Role.seq), \(rows.keyTexts), 'overwritten', d.found
      FROM   d
      """)
  }

  private var restoreForced: Statement {
    let key: SQL = "(\(list: table.key.map { "\($0.name)" }))"
    let kept: SQL = """
      EXISTS (SELECT
              FROM   migrate.conflicts AS c
              WHERE  (c.run, c.step, c.seq) = (\(Role.run), \(step), \(Role.seq))
                AND  c.key = ARRAY[\(list: zip(table.key, table.keyColumns).map { $0.text(of: $1) })])
      """
    let overwrite: SQL =
      table.otherColumns.isEmpty
      ? "DO NOTHING"
      : "\(key) DO UPDATE\n  SET    \(lines: table.otherColumns.map { "\($0.name) = excluded.\($0.name)" })\n  WHERE  \(kept)"
    return Statement(
      .restoreForced, step: step, why: "under force rows come back over whatever has been kept",
      inserting(overwrite) + "\nON CONFLICT (run, step, seq, key) DO UPDATE SET reason = 'edited'")
  }
}
