internal import MigrateCatalog
package import MigrateSQL

/// What a step has made of a sample, which must be the same however the sample was cut into batches.
package struct ProofQuery: Sendable {
  /// The number of the step.
  package let step: Int
  /// For each row that it has written a key and what the row holds, as texts; without a key where the database has given that.
  package let sql: RenderedSQL
}

extension ResolvedBatch {
  /// A query for each step that keeps what it writes. Columns that a sequence, a clock or chance has filled say nothing, and are left out.
  var proofs: [ProofQuery] {
    guard isStepped else {
      let written = WrittenTable(table: table, alias: alias, key: key)
      return capturedColumns.isEmpty ? [] : [ofUpdate(KeptRows(table: written, step: Self.step), assignments)]
    }
    guard keepsUndo else { return [] }
    return steps.compactMap { step in
      switch step.verb {
      case .update(let table, _, let values): ofUpdate(KeptRows(table: table, step: step.number), values)
      case .insert(let table, let values, _): ofInsert(kept(table, by: step), values)
      case .delete(let table, _): ofDelete(kept(table, by: step))
      case .emit, .notify: nil
      }
    }
  }

  private func ofUpdate(_ rows: KeptRows, _ values: [ResolvedAssignment]) -> ProofQuery {
    ProofQuery(
      step: rows.step,
      sql: RenderedSQL(
        """
        SELECT DISTINCT CAST(\(rows.keyTexts) AS text) AS key, CAST(\(held(rows, values)) AS text) AS value
        FROM   \(rows.relation) AS b
        CROSS  JOIN \(rows.each(rows.keyNames))
        LEFT   JOIN \(rows.table.source) ON \(rows.sameKey)
        """))
  }

  private func ofInsert(_ rows: KeptRows, _ values: [ResolvedAssignment]) -> ProofQuery {
    let isGiven = rows.table.key.allSatisfy { key in
      values.contains { $0.column.number == key.number && !$0.isOfChance }
    }
    return ProofQuery(
      step: rows.step,
      sql: RenderedSQL(
        """
        SELECT \(isGiven ? "CAST(\(rows.keyTexts) AS text)" : "NULL") AS key, CAST(\(held(rows, values)) AS text) AS value
        FROM   \(rows.relation) AS b
        CROSS  JOIN \(rows.each(rows.keyNames))
        LEFT   JOIN \(rows.table.source) ON \(rows.sameKey)
        """))
  }

  private func ofDelete(_ rows: KeptRows) -> ProofQuery {
    let kept = rows.table.otherColumns.map { Name.old($0) }
    return ProofQuery(
      step: rows.step,
      sql: RenderedSQL(
        """
        SELECT CAST(\(rows.keyTexts) AS text) AS key, CAST(ROW(\(list: kept.map { "d.\($0)" })) AS text) AS value
        FROM   \(rows.relation) AS b
        CROSS  JOIN \(rows.each(rows.keyNames + kept))
        """))
  }

  private func held(_ rows: KeptRows, _ values: [ResolvedAssignment]) -> SQL {
    "ROW(\(list: values.filter { !$0.isOfChance }.map { "\(rows.table.alias).\($0.column.name)" }))"
  }
}
