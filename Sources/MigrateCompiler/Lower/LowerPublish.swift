internal import MigrateCatalog
internal import MigratePlan
internal import MigrateSQL

/// `publish: at_once`. Batches compute, and keep the old values and the new ones where undo has them anyway; one transaction then writes
/// what they have computed. A row that others have changed since is passed over, and computed anew behind the others, locked.
///
/// READ COMMITTED: a row that somebody has locked is waited for and compared again as it has become. Under one snapshot a single such row
/// would be the end of the whole.
extension ResolvedBatch {
  var publishing: [Statement] {
    var late = self
    late.stretch = .late
    // What is stored can be another value than what is computed, also by the column's type: it fills up, or rounds.
    return [lockAlone, publish] + (foreseesJoined ? [] : [image]) + [late.captureJoined(locked: true)]
      + (judges ? [late.validate] : []) + [change, finishPublish, forget]
  }

  private var lockAlone: Statement {
    Statement(
      .lock,
      why:
        "from the third try on, before any row is locked: there may always be another one that somebody has in hand",
      "LOCK TABLE \(walked) IN SHARE ROW EXCLUSIVE MODE")
  }

  // MARK: What is kept of a row besides

  /// What its SQL reads of a row and neither undo keeps nor the key is: as 64 bits, since it is only compared.
  private var seen: SQL? {
    let kept = Set((capturedColumns + key).map(\.number))
    let bits = (aside?.read ?? []).filter { !kept.contains($0.number) }
      .map { $0.digest(of: "CAST(\(alias).\($0.name) AS \($0.base))") }
    return bits.isEmpty ? nil : .joined(bits, by: "\n# ")
  }

  private static let seenName: SQL = "seen"

  var seenNames: [SQL] { seen == nil ? [] : [Self.seenName] }
  /// What the undo table has besides.
  var asideColumns: [SQL] {
    guard isAside else { return [] }
    let passed: [SQL] = key.enumerated().map { "\(Name.passed($0)) \($1.base)[]" }
    return (seen == nil ? [] : ["\(Self.seenName) bigint[]"]) + passed
  }
  var seenInRow: [SQL] { seen.map { ["\($0) AS \(Self.seenName)"] } ?? [] }

  // MARK: One batch of them

  /// True of a row that is what it was when it was computed.
  private var isAsSeen: [SQL] {
    let images = Self.images(
      capturedColumns.map { $0.plain(of: alias) }, .equal, capturedColumns.map { "d.\(Name.old($0))" })
    return [images] + (seen.map { ["(\($0)) = d.\(Self.seenName)"] } ?? [])
  }

  /// What undo has of each row, for the arrays are rewritten together.
  private var kept: [(name: SQL, column: Column?)] {
    let images: [(name: SQL, column: Column?)] = capturedColumns.flatMap { [(Name.old($0), $0), (Name.new($0), $0)] }
    return keyNames.map { ($0, nil) } + images + seenNames.map { ($0, nil) }
  }

  private var arrays: [SQL] { kept.map(\.name) }

  private var publish: Statement {
    let written = assignments.map(\.column)
    let needed = keyNames + capturedColumns.map { Name.old($0) } + written.map { Name.new($0) } + seenNames
    let elements: [SQL] = kept.map { name, column in
      let value: SQL = "s.\(name)"
      return "array_agg(\(column.map { wrapped(value, $0) } ?? value))"
    }
    let same: [SQL] = keyNames.map { "published.\($0) = d.\($0)" }
    return Statement(
      .publish, step: Self.step,
      why: "for each batch: a row that is what it was is written, and only what is written stays in the undo",
      """
      WITH published AS (
        UPDATE \(source)
        SET    \(lines: written.map { "\($0.name) = d.\(Name.new($0))" })
        FROM   \(lines: unnested(needed))
        \(SQL.filtered(by: [Self.placeRead, sameKey] + isAsSeen))
        RETURNING \(lines: capturedKeys)
      )
      UPDATE \(Name.undo(Self.step)) AS u
      SET    (\(list: arrays)) = (
               SELECT \(lines: elements)
               FROM  (SELECT \(list: arrays.map { "d.\($0)" })
                      FROM   \(lines: unnested(arrays))
                      JOIN   published ON \(SQL.joined(same, by: " AND "))
                      WHERE  \(Self.placeRead)
                      ORDER  BY \(list: keyNames.map { "d.\($0)" })) AS s),
             (\(list: key.indices.map { Name.passed($0) })) = (
               SELECT \(lines: keyNames.map { "array_agg(d.\($0))" })
               FROM   \(lines: unnested(keyNames))
               WHERE  \(Self.placeRead)
                 AND  NOT EXISTS (SELECT FROM published WHERE \(SQL.joined(same, by: " AND "))))
      WHERE  \(Self.place)
        AND  cardinality(u.k_1) > (SELECT count(*) FROM published)
      """)
  }

  // MARK: The ledger's entries

  /// Of a batch that has only computed; `passed` are rows of it that were to be shown at once, having been tried again, and were not.
  var finishAside: Statement {
    Statement(
      .finish, why: "the ledger's entry; no row: another worker has taken over",
      entry(
        after: "\(Role.afterKey)", through: "\(Role.throughKey)", kept: "u.k_1",
        exact: "u.exact IS NOT FALSE AND u.\(Name.passed(0)) IS NULL",
        captured: "coalesce(cardinality(u.k_1), 0) + coalesce(cardinality(u.\(Name.passed(0))), 0)"))
  }

  /// Of all that was shown: the entry of the rows that were computed anew, and what the batches have less for it.
  private var finishPublish: Statement {
    let passed: SQL = """
      , passed AS (
        UPDATE migrate.batches AS a
        SET    rows_read    = a.rows_read - a.rows_changed + u.rows,
               rows_changed = u.rows
        FROM  (SELECT u.slice, u.ordinal, u.part, coalesce(cardinality(u.k_1), 0) AS rows
               FROM   \(Name.undo(Self.step)) AS u) AS u
        WHERE  a.run = \(Role.run)
          AND  a.kind = 'apply'
          AND  (a.slice, a.ordinal, a.part) = (u.slice, u.ordinal, u.part)
          AND  a.rows_changed > u.rows
      )
      """
    return Statement(
      .finish, step: Self.step,
      why:
        "the ledger's entry for the rows that were computed anew, which are taken from the batches that had them first",
      entry(
        besides: passed, after: "NULL", through: "\(Role.upperKey)", kept: "u.\(Name.new(assignments[0].column))",
        exact: "NOT EXISTS (SELECT FROM \(Name.undo(Self.step)) AS e WHERE e.exact IS FALSE)",
        captured: "coalesce(cardinality(u.k_1), 0)"))
  }

  /// - Parameters:
  ///   - kept: an array that has an element for each row that counts as changed.
  ///   - captured: how many were to be.
  private func entry(besides: SQL = "", after: SQL, through: SQL, kept: SQL, exact: SQL, captured: SQL) -> SQL {
    let (column, rejected, sum): (SQL, SQL, SQL) =
      rejects ? (", rows_rejected", ", u.rows_rejected", " - u.rows_rejected") : ("", "", "")
    return heartbeat + besides + """

      INSERT INTO migrate.batches (run, kind, slice, ordinal, part, after_key, through_key,
                                   rows_read, rows_changed, rows_unchanged\(column), epoch, exact)
      SELECT \(Role.run), 'apply', u.slice, u.ordinal, u.part, \(after), \(through),
             u.rows_read, c.rows_changed, u.rows_read - c.rows_changed\(sum)\(rejected), f.epoch,
             \(exact)
      FROM   \(Name.undo(Self.step)) AS u
      CROSS  JOIN LATERAL (SELECT coalesce(cardinality(\(kept)), 0) AS rows_changed) AS c
      CROSS  JOIN (SELECT epoch FROM migrate.fence WHERE run = \(Role.run) AND epoch = \(Role.epoch) FOR SHARE) AS f
      WHERE  \(Self.place)
      RETURNING exact, rows_read, rows_changed\(column), xid,
                (SELECT \(captured)
                 FROM   \(Name.undo(Self.step)) AS u
                 WHERE  \(Self.place)) AS rows_captured
      """
  }

  /// Of a run that is taken back before it has shown anything there is nothing to take back.
  private var forget: Statement {
    Statement(
      .forget, step: Self.step, why: "taken back before anything was shown: what was computed is let go",
      """
      UPDATE \(Name.undo(Self.step)) AS u
      SET    \(lines: arrays.map { "\($0) = NULL" })
      WHERE  u.slice >= 0
      """)
  }
}
