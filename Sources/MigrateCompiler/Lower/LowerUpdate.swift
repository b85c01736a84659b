internal import MigrateCatalog
internal import MigratePlan
internal import MigrateSQL

/// The change itself.
extension ResolvedBatch {
  var assignmentLines: [SQL] { assignments.map { "\($0.column.name) = \($0.value)" } }

  /// Writes the batch's rows that change.
  var update: SQL {
    """
    UPDATE \(source)
    SET    \(lines: assignmentLines)
    \(changing)
    """
  }

  /// Only changes: under the snapshot of the capture the rows are the same, and what is kept of them is kept already.
  /// The number of rows that it wrote shows at the end that it was so.
  func changeAsCaptured(_ update: SQL) -> Statement {
    Statement(
      .changeAsCaptured, step: Self.step,
      why: "in place of change when the capture, under the same snapshot, has told all that is kept", update)
  }

  /// Writes all rows of the batch.
  var updateAll: SQL {
    """
    UPDATE \(source)
    SET    \(lines: assignmentLines)
    \(SQL.filtered(by: batchConditions))
    """
  }

  /// Changes the rows and keeps what they became, as RETURNING shows it: after BEFORE triggers (X06).
  var change: Statement {
    let images: [SQL] = capturedColumns.map { "\($0.kept(of: alias, step: Self.step)) AS \(Name.new($0))" }
    let names = keyNames + capturedColumns.map { Name.new($0) }
    let exact: [SQL] = keyNames.map { "u.\($0) IS NOT DISTINCT FROM image.\($0)" }
    return Statement(
      .change, step: Self.step,
      why: isComposed
        ? "writes what the capture has computed, for the keys that it has kept"
        : "a range of the key, not a join with the batch, which costs half as much again",
      """
      WITH changed AS (
        \(isComposed ? updateAsComputed : update)
        RETURNING \(lines: capturedKeys + images)
      ), image AS (
        SELECT \(lines: names.map { "array_agg(s.\($0)) AS \($0)" })
        FROM  (SELECT * FROM changed ORDER BY \(list: keyNames)) AS s
      )
      UPDATE \(Name.undo(Self.step)) AS u
      SET    \(lines: capturedColumns.map { "\(Name.new($0)) = image.\(Name.new($0))" } + ["exact = (\(SQL.joined((judges ? ["u.exact IS NOT FALSE"] : []) + exact, by: " AND ")))"])
      FROM   image
      WHERE  \(Self.place)
      """)
  }

  /// Without undo the change gives its keys and nothing is captured before.
  var changeWithoutUndo: Statement {
    let names = keyNames
    let answer: SQL = !judges ? "" : "\nRETURNING rows_read > coalesce(cardinality(k_1), 0) AS leaves_out"
    return Statement(
      .change, step: Self.step, why: "undo: none, so only the keys are kept",
      """
      WITH \(isComposed ? "\(lockedRows), " : "")changed AS (
        \(isComposed ? updateJoined : update)
        RETURNING \(lines: capturedKeys)
      )
      INSERT INTO \(Name.undo(Self.step)) (slice, ordinal, part, rows_read, \(list: names), exact)
      SELECT \(lines: [Self.placeValues, isComposed ? "(SELECT count(*) FROM \(Name.locked))" : eligibleRows] + names.map { "array_agg(s.\($0))" } + ["true"])
      FROM  (SELECT * FROM changed ORDER BY \(list: names)) AS s\(answer)
      """)
  }

  /// Reads the image back, since RETURNING has not seen what AFTER triggers did to the rows.
  var image: Statement {
    let images: [SQL] = capturedColumns.map { "\($0.kept(of: alias, step: Self.step)) AS \(Name.new($0))" }
    let names = keyNames + capturedColumns.map { Name.new($0) }
    let exact: [SQL] = keyNames.map { "u.\($0) IS NOT DISTINCT FROM image.\($0)" }
    return Statement(
      .image, step: Self.step, why: "AFTER triggers may have written the rows again, and RETURNING does not see that",
      """
      WITH image AS (
        SELECT \(lines: names.map { "array_agg(s.\($0)) AS \($0)" })
        FROM  (SELECT \(lines: capturedKeys + images)
               FROM   \(lines: unnested(keyNames) + [source])
               WHERE  \(Self.placeRead)
                 AND  \(sameKey)
               ORDER  BY \(list: keyColumns)) AS s
      )
      UPDATE \(Name.undo(Self.step)) AS u
      SET    \(lines: capturedColumns.map { "\(Name.new($0)) = image.\(Name.new($0))" } + ["exact = u.exact AND (\(SQL.joined(exact, by: " AND ")))"])
      FROM   image
      WHERE  \(Self.place)
        AND  u.exact IS NOT FALSE
      """)
  }
}
