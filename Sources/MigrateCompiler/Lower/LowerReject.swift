internal import MigrateCatalog
internal import MigratePlan
internal import MigrateSQL

/// What is done with a batch that has a row which the database refuses: halved, until the row is alone.
extension ResolvedBatch {
  /// Where a part is cut in two. Counted under the same snapshot that the part failed in.
  var middle: Statement {
    let middles: [SQL] = key.indices.map { index in
      let text = key[index].text(of: keyColumns[index])
      return "(array_agg(\(text) ORDER BY \(list: keyColumns)))[(count(*) + 1) / 2]"
        + SQL(pieces: [.text(" AS middle_\(index + 1)")])
    }
    return Statement(
      .middle, step: Self.step, why: "of a part that failed: how many rows it has, and the key that halves it",
      """
      SELECT \(lines: ["count(*) AS rows"] + middles)
      FROM   \(source)
      \(SQL.filtered(by: batchConditions))
      """)
  }

  /// The rows of a part that has too many at fault for halving.
  var keys: Statement {
    Statement(
      .keys, step: Self.step, why: "of a batch with many rows that fail: each is tried by itself, and undone",
      """
      SELECT \(lines: keyTexts("key"))
      FROM   \(source)
      \(SQL.filtered(by: batchConditions))
      ORDER  BY \(list: keyColumns)
      """)
  }

  /// The rows of a part as they would be written, under the names of the columns, by which a constraint's own text can be asked of
  /// them. What a trigger makes of a row is not in them.
  var images: Statement {
    let columns: [SQL] = table.columns.map { "\(becomes($0.number) ?? "\(alias).\($0.name)") AS \($0.name)" }
    let own: [SQL] = [
      "\(keyAsTexts) AS \(Name.imageKey)",
      "lag(\(keyAsTexts)) OVER (ORDER BY \(list: keyColumns)) AS \(Name.imageBefore)",
      "row_number() OVER (ORDER BY \(list: keyColumns)) AS \(Name.imagePlace)",
    ]
    return Statement(
      .images, step: Self.step,
      why: "of a part that a constraint has refused: its rows as they would be written, to ask which of them break it",
      """
      SELECT \(lines: own + columns)
      FROM   \(rows(.batch))
      \(SQL.filtered(by: batchConditions))
      """)
  }

  /// The row at fault with what the database has said of it, and a part without a row to change, which finish enters.
  var reject: Statement {
    // What the server says in detail is the row, too.
    let keepsValues = keepsRows
    let image: SQL = keepsValues ? Name.image("\(alias).*") : "NULL"
    let refusal: [SQL] = Role.refusal.map { keepsValues || $0 != Role.refusalDetail ? "\($0)" : "NULL" }
    return Statement(
      .reject, step: Self.step, why: "the only row of a part that failed goes to quarantine, and counts as read",
      """
      WITH rejected AS (
        INSERT INTO migrate.rejects (run, step, key, row, sqlstate, message, detail, column_name, constraint_name)
        SELECT \(lines: ["\(Role.run)", "\(Self.step)", keyAsTexts, image] + refusal)
        FROM   \(source)
        \(SQL.filtered(by: batchConditions))
        \(Self.rejectedAgain)
        RETURNING key
      )
      INSERT INTO \(claims) (slice, ordinal, part, rows_read, rows_rejected, exact)
      SELECT \(Self.placeValues), count(*), count(*), true
      FROM   rejected
      """)
  }

  /// Whether the ledger keeps what rows hold.
  var keepsRows: Bool { isStepped ? keepsUndo : !capturedColumns.isEmpty }

  /// Whether a capture tells which rows break a rule, before anything is written.
  var judgesBefore: Bool { isStepped || !capturedColumns.isEmpty }

  /// Where a stretch begins that holds one row and no other, under one snapshot.
  var previous: Statement {
    Statement(
      .previous, step: Self.step,
      why: "for a row of quarantine that is tried again: the key behind which it stands; no row: it is the first",
      """
      SELECT \(lines: keyTexts("previous"))
      FROM   \(source)
      WHERE  \(compared("<", Role.through))
      ORDER  BY \(list: keyColumns.map { "\($0) DESC" })
      LIMIT  1
      """)
  }

  /// A row that is tried again, and fails again, keeps its place in quarantine, with the newest reason.
  static let rejectedAgain: SQL = """
    ON CONFLICT (run, step, key) DO UPDATE
    SET    row = excluded.row, new_values = excluded.new_values, reasons = excluded.reasons,
           sqlstate = excluded.sqlstate, message = excluded.message, detail = excluded.detail,
           column_name = excluded.column_name, constraint_name = excluded.constraint_name,
           rejected_at = excluded.rejected_at
    """

  /// The key as the ledger keeps it, and compares it: by one collation for all of its texts, which is that of the ledger's index.
  var keyAsTexts: SQL {
    let texts: [SQL] = zip(key, keyColumns).map { column, value in
      column.isOrderedApart ? "\(column.text(of: value)) COLLATE \"default\"" : column.text(of: value)
    }
    return "ARRAY[\(list: texts)]"
  }

  /// Rows in quarantine are known of, and not left behind.
  var notRejected: [SQL] {
    guard rejects else { return [] }
    return [
      """
      NOT EXISTS (SELECT FROM migrate.rejects AS r
                  WHERE r.run = \(Role.run) AND r.step = \(Self.step) AND r.key = \(keyAsTexts))
      """
    ]
  }
}
