internal import MigrateCatalog
package import MigratePlan
package import MigrateSQL

/// Statements by which a plan is tried out before it runs.
package struct Trial: Sendable {
  /// The changes of one batch without their undo, for EXPLAIN: the undo table does not exist yet.
  package let changes: [RenderedSQL]
  /// The keys at which five equal parts of a sample begin, in order: as texts, a column each.
  package let starts: Statement
  /// The key before that of a row, so that a batch can be that row and no other.
  package let previous: Statement
  /// What each step has made of the rows of the batches.
  package let proofs: [ProofQuery]
  /// How much of the table the sample reads, in per cent.
  package let share: Double
}

extension ResolvedBatch {
  static let trialParts = 5

  var trial: Trial {
    Trial(
      changes: isStepped
        ? explained(sourceRows.isFrozen ? .all : .explained)
        : [RenderedSQL(isComposed ? computedRows(.explained) : update)],
      starts: Statement(.bound, why: "", starts), previous: previous, proofs: proofs,
      share: sourceRows.isFrozen ? 100 : table.sampleShare)
  }

  private var starts: SQL {
    let share = Parameter("share", TypeName(trusted: "double precision"))
    let texts: [SQL] = key.indices.map { "CAST(s.\(Name.key($0)) AS text)" }
    let keys: [SQL] = zip(keyColumns, key.indices).map { "\($0) AS \(Name.key($1))" }
    return """
      SELECT DISTINCT ON (s.part) \(list: texts)
      FROM  (SELECT \(list: keys), ntile(\(Self.trialParts)) OVER (ORDER BY \(list: keyColumns)) AS part
             FROM   \(source) TABLESAMPLE SYSTEM (\(share)) REPEATABLE (1)) AS s
      ORDER  BY s.part, \(list: key.indices.map { "s.\(Name.key($0))" })
      """
  }
}
