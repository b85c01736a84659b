internal import MigrateCatalog
internal import MigratePlan
internal import MigrateSQL

/// Where a run begins and ends, and where each batch ends.
extension ResolvedBatch {
  /// Those who hold a write lock on the table, once; whoever comes later commits rows that the run may or may not see, but
  /// whoever was there before may have a key below the upper end that is not visible yet (K22). By the table's name: its number
  /// is another one after a dump and restore (P23).
  var lockers: Statement {
    guard !sourceRows.isFrozen else {
      return Statement(
        .lockers, why: "nobody but the run writes rows that were read once",
        "SELECT l.virtualtransaction FROM pg_locks AS l WHERE false")
    }
    let target: SQL = "to_regclass(\(Literal("\(table.name.schema.quoted).\(table.name.name.quoted)")))"
    return Statement(
      .lockers, why: "the transactions that may hold rows below the upper end which nobody can see yet",
      """
      SELECT l.virtualtransaction
      FROM   pg_locks AS l
      WHERE  l.locktype = 'relation'
        AND  l.relation IN (SELECT \(target) UNION SELECT relid FROM pg_partition_tree(\(target)))
        AND  l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND  l.granted
        AND  l.pid IS DISTINCT FROM pg_backend_pid()
        AND  l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
      """)
  }

  /// `max` does not exist for every type that can be a key (K14).
  var upper: Statement {
    Statement(
      .upper, why: "the last key, fixed once: a writer that goes on beyond it does not keep the run from ending",
      """
      SELECT \(lines: keyTexts("upper"))
      FROM   \(source)
      ORDER  BY \(list: keyColumns.map { "\($0) DESC" })
      LIMIT  1
      """)
  }

  /// The key of the batch's last row. Counted in rows, never computed from the last key: keys have gaps (K05).
  var bound: Statement {
    Statement(
      .bound, why: "the key of the batch's last row; no row: the batch goes to the upper end",
      """
      SELECT \(lines: keyTexts("through"))
      FROM   \(source)
      \(SQL.filtered(by: [behindAfter, compared("<=", Role.upper)] + canaryConditions + filterConditions))
      ORDER  BY \(list: keyColumns)
      OFFSET \(Role.size) - 1
      LIMIT  1
      """)
  }

  /// Rows that are eligible, lie below the upper end, and are not done: they came in behind the cursor (K20).
  var leftBehind: Statement {
    guard !sourceRows.isFrozen else {
      return Statement(.leftBehind, why: "no row comes behind the batches of rows that were read once", "SELECT 0")
    }
    let conditions = behindConditions(of: readsOtherRows || hasTriggers ? [] : writtenMeanwhile)
    // Of a row that is done, or in quarantine, it may not be computable; a list is behind all conditions.
    let would: SQL = comparesImages && !isStepped ? " FILTER (WHERE \(differs))" : ""
    return Statement(
      .leftBehind, why: "rows that became eligible behind the batches, counted and not passed over in silence",
      """
      SELECT \(countOfRows)\(would)
      FROM   \(rows(.chosen(conditions)))
      \(SQL.filtered(by: conditions))
      """)
  }

  /// What others have written since the upper end was fixed, and is in no batch: what is computed of a row is as of its own version.
  /// And what showing it has passed over, whoever has written that: a trigger of the run's own can have.
  var lateConditions: [SQL] {
    let keys: [SQL] = key.indices.map { "unnest(u.\(Name.passed($0)))" }
    let passed: SQL = "SELECT \(list: keys) FROM \(claims) AS u"
    let written = SQL.joined(writtenMeanwhile, by: "\nAND ")
    return behindConditions(of: [
      "(\(Role.others) OR EXISTS (SELECT FROM \(claims) AS u WHERE u.\(Name.passed(0)) IS NOT NULL))",
      "(\(written)\n OR \(keyColumns.count == 1 ? keyColumns[0] : "(\(list: keyColumns))") IN (\(passed)))",
    ])
  }

  /// Eligible rows of these that are not done.
  private func behindConditions(of written: [SQL]) -> [SQL] {
    let keys: [SQL] = key.indices.map { "unnest(u.\(Name.key($0)))" }
    let same: [SQL] = zip(keyColumns, key.indices).map { "d.\(Name.key($1)) = \($0)" }
    let columns: [SQL] = key.indices.map { "\(Name.key($0))" }
    let ofBatches: SQL = """
      SELECT
      FROM  (SELECT \(list: keys) FROM \(claims) AS u) AS d(\(list: columns))
      WHERE  \(SQL.joined(same, by: " AND "))
      """
    return [compared("<=", Role.upper)] + written + filterConditions + notRejected + ["NOT EXISTS (\(ofBatches))"]
  }

  /// What triggers do to other rows is done in the run's own transactions, and rows that become eligible by it count, too (K19).
  var hasTriggers: Bool { table.triggers.contains(where: \.firesOnUpdate) }

  /// Only a row that somebody else has written since the run began can have become eligible, unless the definition reads other
  /// rows than the one it writes. Its version then has a transaction at or after the oldest one that was open when the upper end
  /// was fixed, and none of the run's own; where no such transaction exists, as in a window of maintenance, there is nothing to
  /// look for. Without a horizon it may be any version: of a partition that was attached since, or in a restored dump.
  ///
  /// Numbers go round in a circle of 2^32, of which half lies ahead; `age` would say it shorter, and keep the scan from being
  /// parallel. A join with the transactions: where they come as a text, an array of them would be read anew for each row.
  private var writtenMeanwhile: [SQL] {
    [
      "\(Role.others)",
      """
      (\(Role.horizon) IS NULL
       OR ((CAST(CAST(\(alias).xmin AS text) AS bigint) - \(Role.horizon)) & 4294967295) < 2147483648)
      """,
      "NOT EXISTS (SELECT FROM unnest(\(Role.transactions)) AS own(xid) WHERE own.xid = \(alias).xmin)",
    ]
  }
}
