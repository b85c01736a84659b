internal import MigrateLedger
internal import MigratePostgres

/// A batch in which halving takes longer than it would to try each row by itself.
extension Worker {
  /// Cuts what is left of a batch at the rows whose change fails when it is made for them alone.
  ///
  /// Where that is wrong nothing is lost: a row is believed to be at fault when its part fails, and a part that fails is halved.
  mutating func search(
    _ cutting: inout Cutting, behind after: [String?]?, _ bindings: Bindings
  ) throws(PostgresError) {
    let refused = try connection.query(
      """
      SELECT previous_key, key
      FROM   migrate.refused_rows($1::bigint, jsonb_object($2::text[], $3::text[]), $4::text[], $5::text[])
      """,
      [
        runID, ArrayText.literal(bindings.values.map(\.key)), ArrayText.literal(bindings.values.map(\.value)),
        after.map(ArrayText.literal), ArrayText.literal(cutting.end),
      ])
    var parts: [Part] = []
    var behind = after
    for row in refused {
      let key = try row.array("key")
      let previous = try row.ifPresent("previous_key", row.array)
      if let previous, !isSameKey(previous, behind) { parts.append(Part(after: behind, through: previous)) }
      parts.append(Part(after: previous, through: key))
      behind = key
    }
    if !isSameKey(behind, cutting.end) { parts.append(Part(after: behind, through: cutting.end)) }
    cutting.parts = parts.reversed()
    cutting.isSearched = true
    expectsMany = cutting.isMany(refused.count)
  }

  /// What is left of the batch before, when this attempt begins where that has ended.
  borrowing func unfinished(at attempt: Attempt) -> Cutting? {
    guard let unfinished, unfinished.slice == attempt.slice, unfinished.isCanary == attempt.isCanary,
      let first = unfinished.parts.last, isSameKey(first.after, attempt.after)
    else { return nil }
    return unfinished
  }
}
