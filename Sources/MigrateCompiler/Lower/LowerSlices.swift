internal import MigrateCatalog
internal import MigratePlan
internal import MigrateSQL

/// The keys cut for several workers, by what the table holds when the run starts.
extension ResolvedBatch {
  /// More slices than workers: rows are not equally dear, and who is ready takes the next one.
  private static let slicesPerWorker = 8
  /// The last batch of a slice is a short one, so a slice has several.
  private static let batchesPerSlice = 4
  /// Rows of a sample for each slice: then a slice is a tenth or two larger or smaller than it should be.
  private static let sampledPerSlice = 2_000

  private var sliceCount: Int {
    max(parallel, min(parallel * Self.slicesPerWorker, estimatedRows / (Self.batchesPerSlice * pace.firstSize)))
  }

  /// `nil` for one worker, who walks the keys as one slice.
  var slices: Statement? {
    guard parallel > 1 else { return canary.map { _ in Self.slicesOfCanary } }
    let count = SQL(pieces: [.text(String(sliceCount))])
    return Statement(
      .slices, why: "each slice is walked by one worker at a time; its end is the next one's beginning",
      """
      WITH found AS (
        \(coverage == .collected ? cutOfCollected : cutOfSample)
      )
      \(cut)
      FROM  (SELECT f.place, f.key
             FROM   found AS f
             WHERE  f.place < f.places AND f.place * \(count) / f.places > (f.place - 1) * \(count) / f.places
             UNION  ALL
             SELECT NULL, \(Role.upperKey)) AS s\(canary == nil ? "" : Self.bothPasses)
      """)
  }

  /// Numbered in the order in which they are walked: a canary goes through all keys before the rest does.
  private var cut: SQL {
    canary == nil
      ? """
      INSERT INTO migrate.slices (run, slice, after_key, through_key)
      SELECT \(Role.run), row_number() OVER (ORDER BY s.place) - 1, lag(s.key) OVER (ORDER BY s.place), s.key
      """
      : """
      INSERT INTO migrate.slices (run, slice, canary, after_key, through_key)
      SELECT \(Role.run), row_number() OVER (ORDER BY c.canary DESC, s.place) - 1, c.canary,
             lag(s.key) OVER (PARTITION BY c.canary ORDER BY s.place), s.key
      """
  }

  private var cutOfSample: SQL {
    """
    SELECT \(keyAsTexts) AS key,
           row_number() OVER (ORDER BY \(list: keyColumns)) AS place,
           count(*) OVER () AS places
    FROM   \(source)\(sample)
    \(SQL.filtered(by: [compared("<", Role.upper)] + (mayFilter ? filterConditions : [])))
    """
  }

  /// Each stretch of the collected keys ends a slice, or does not.
  private var cutOfCollected: SQL {
    let last: [SQL] = zip(key.indices, key).map { index, column in
      column.text(of: SQL(pieces: [.text("c.last_\(index + 1)")]))
    }
    return """
      SELECT ARRAY[\(list: last)] AS key,
             row_number() OVER (ORDER BY c.ordinal) AS place,
             count(*) OVER () AS places
      FROM   \(Self.keysTable) AS c
      """
  }

  /// Of few rows all are read; the percentage is of the table's pages.
  private var sample: SQL {
    let wanted = Self.sampledPerSlice * sliceCount
    guard estimatedRows > 2 * wanted else { return "" }
    let percent = (100_000 * Double(wanted) / Double(estimatedRows)).rounded(.up) / 1_000
    return SQL(pieces: [.text(" TABLESAMPLE SYSTEM (\(percent)) REPEATABLE (0)")])
  }

  /// A filter that fails on a row would end the run here, before there is a batch that could isolate the row.
  private var mayFilter: Bool { plannedFilter == nil || !rejects }
}
