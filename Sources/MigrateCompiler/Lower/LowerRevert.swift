internal import MigrateCatalog
internal import MigratePlan
internal import MigrateSQL

/// The way back of an update: each row whose image is still ours gets its old values.
extension ResolvedBatch {
  var revert: [Statement] {
    switch undo {
    case .none: []
    case .captured:
      [settings] + (table.triggers.isEmpty ? [untouched] : []) + [ahead, mark] + hold
        + [restore, seize, restoreForced, look] + restoreRewritten + [finishRevert, dropUndo]
    }
  }

  private var written: [Column] { assignments.map(\.column) }

  /// Compares the written columns with what the run left in them, byte for byte.
  private func images(_ relation: ImageRelation) -> SQL {
    Self.images(written.map { $0.plain(of: alias) }, relation, written.map { "d.\(Name.new($0))" })
  }

  private var isOurs: SQL { images(.equal) }
  private var isChanged: SQL { images(.differFrom) }

  /// What the written columns hold now, as JSON. Of two arrays: a function takes no more than a hundred arguments.
  private var found: SQL {
    let names: [SQL] = written.map { "\(Literal($0.name.name))" }
    let values: [SQL] = written.map { "CAST(\($0.plain(of: alias)) AS text)" }
    return """
      jsonb_object(ARRAY[\(list: names)],
                   ARRAY[\(list: values)])
      """
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
    let columns = keyNames + written.map { Name.new($0) }
    return Statement(
      .conflictsAhead, step: Self.step, why: "rows changed since, all batches at once; under stop there must be none",
      """
      SELECT count(*) AS conflicts
      FROM   \(Name.undo(Self.step)) AS b
      CROSS  JOIN LATERAL unnest(\(list: columns.map { "b.\($0)" })) AS d(\(list: columns))
      LEFT   JOIN \(source) ON \(sameKey)
      WHERE  NOT b.reverted
        AND  (\(keyColumns[0]) IS NULL
              OR \(isChanged))
      """)
  }

  private var mark: Statement {
    Statement(
      .mark, step: Self.step, why: "a second revert of the same batch waits here and then finds nothing to do",
      """
      UPDATE \(Name.undo(Self.step)) AS u
      SET    reverted = true
      WHERE  \(Self.place)
        AND  NOT u.reverted
      """)
  }

  /// Compares and writes in one statement: a row that changes while it waits is compared again in its newest version. Checked
  /// in one statement and written in the next, the edit would be lost.
  private var restore: Statement {
    Statement(
      .restore, step: Self.step, why: "one statement compares and writes, so no edit is lost between the two",
      restoring(where: isOurs))
  }

  /// Writes the old values where `condition` holds and lists the rows that it has not written. What became of those is not
  /// known here: the statement may have waited for them, and what it reads is older. EXCEPT hashes or sorts; a join would be planned
  /// for the ten rows that PostgreSQL expects of an array, and walk all for each. Where every row is back there is nothing to look for.
  private func restoring(where condition: SQL) -> SQL {
    let columns = keyNames + written.flatMap { [Name.old($0), Name.new($0)] }
    let returned: [SQL] = zip(keyColumns, keyNames).map { "\($0) AS \($1)" }
    return """
      WITH back AS (
        UPDATE \(source)
        SET    \(lines: written.map { "\($0.name) = d.\(Name.old($0))" })
        FROM   \(lines: unnested(columns))
        WHERE  \(Self.placeRead)
          AND  \(sameKey)
          AND  \(condition)
        RETURNING \(list: returned)
      )\(noteBack)
      INSERT INTO migrate.conflicts (run, step, seq, key, reason)
      SELECT \(Role.run), \(Self.step), \(Role.seq), \(keyTexts), 'gone'
      FROM  (SELECT \(list: keyNames.map { "d.\($0)" })
             FROM   \(lines: unnested(keyNames))
             WHERE  \(Self.placeRead)
               AND  cardinality(b.\(keyNames[0])) > (SELECT count(*) FROM back)
             EXCEPT
             SELECT \(list: keyNames) FROM back) AS d
      """
  }

  private var keyTexts: SQL { "ARRAY[\(list: zip(key, keyNames).map { $0.text(of: "d.\($1)") })]" }

  /// Under `force`: keeps what will be overwritten, with the rows locked so that it stays what it is. The comparison stands
  /// outside of what locks, and must: pushed down into it, a row that is still ours would be passed over and not waited for.
  private var seize: Statement {
    let columns = keyNames + written.map { Name.new($0) }
    return Statement(
      .seize, step: Self.step, why: "under force what is overwritten is kept first, and the rows locked meanwhile",
      """
      WITH d AS MATERIALIZED (
        SELECT \(lines: keyNames.map { "d.\($0)" } + ["\(isChanged) AS differs", "\(found) AS found"])
        FROM   \(lines: unnested(columns) + [source])
        WHERE  \(Self.placeRead)
          AND  \(sameKey)
        FOR    NO KEY UPDATE OF \(alias)
      )
      INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
      SELECT \(Role.run), \(Self.step), \(Role.seq), \(keyTexts), 'overwritten', d.found
      FROM   d
      WHERE  d.differs
      """)
  }

  /// A row that came in after the others were seized is neither ours nor kept, so it is not touched.
  private var restoreForced: Statement {
    let kept: SQL = """
      EXISTS (SELECT
              FROM   migrate.conflicts AS c
              WHERE  (c.run, c.step, c.seq) = (\(Role.run), \(Self.step), \(Role.seq))
                AND  c.key = \(keyTexts))
      """
    return Statement(
      .restoreForced, step: Self.step, why: "under force the old values come back over whatever has been kept",
      restoring(where: "(\(isOurs)\n OR \(kept))")
        // Kept, and then a trigger has kept it from being overwritten.
        + "\nON CONFLICT (run, step, seq, key) DO UPDATE SET reason = 'edited'")
  }

  /// A statement of its own, since only a new one sees what the restoring one has waited for.
  private var look: Statement {
    let keys: [SQL] = zip(keyColumns, key).enumerated().map { index, pair in
      "\(pair.0) = CAST(c.key[\(index + 1)] AS \(pair.1.keyType))"
    }
    return Statement(
      .look, step: Self.step, why: "what is there instead of the values that the run had left",
      """
      UPDATE migrate.conflicts AS c
      SET    reason = 'edited',
             found = \(found)
      FROM   \(source)
      WHERE  (c.run, c.step, c.seq) = (\(Role.run), \(Self.step), \(Role.seq))
        AND  c.reason = 'gone'
        AND  \(SQL.joined(keys, by: " AND "))
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
