internal import MigrateCatalog
internal import MigratePlan
internal import MigrateSQL

/// The running figures of what is expected of the rows' values.
extension ResolvedBatch {
  /// Over the images that the batch has just kept, so that no row of the table is read for it; a row for each slice, so that workers
  /// do not wait for each other.
  var measure: Statement? {
    guard !measures.isEmpty else { return nil }
    let columns: [SQL] = measures.enumerated().flatMap { index, measure -> [SQL] in
      let number: SQL = SQL(pieces: [.text("_\(index + 1)")])
      guard let value = measure.value else {
        return [
          "count(*) AS rows\(number)", "NULL AS total\(number)", "NULL AS lowest\(number)", "NULL AS highest\(number)",
        ]
      }
      let figure: SQL = "CAST((\(value)) AS numeric)"
      return [
        "count(\(figure)) AS rows\(number)", "sum(\(figure)) AS total\(number)", "min(\(figure)) AS lowest\(number)",
        "max(\(figure)) AS highest\(number)",
      ]
    }
    let figures: [SQL] = measures.enumerated().map { index, measure in
      let number: SQL = SQL(pieces: [.text("_\(index + 1)")])
      return
        "(\(Literal(measure.name)), rows\(number), CAST(total\(number) AS numeric), CAST(lowest\(number) AS numeric), CAST(highest\(number) AS numeric))"
    }
    let arrays = capturedColumns.flatMap { [Name.old($0), Name.new($0)] }
    return Statement(
      .measure, step: Self.step, why: "what `expect` asks about, over the values that the batch has kept",
      """
      WITH found AS (
        SELECT \(lines: columns)
        FROM   \(lines: unnested(arrays))
        WHERE  \(Self.placeRead)
      )
      INSERT INTO migrate.measures AS h (run, slice, name, rows, total, lowest, highest)
      SELECT \(Role.run), \(Role.slice), f.name, f.rows, f.total, f.lowest, f.highest
      FROM   found
      CROSS  JOIN LATERAL (VALUES \(lines: figures)) AS f(name, rows, total, lowest, highest)
      ON     CONFLICT (run, slice, name) DO UPDATE
      SET    rows    = h.rows + excluded.rows,
             total   = coalesce(h.total + excluded.total, h.total, excluded.total),
             lowest  = least(h.lowest, excluded.lowest),
             highest = greatest(h.highest, excluded.highest)
      """)
  }
}
