internal import MigrateLedger
internal import MigratePostgres

/// A row by its key, and the key before it in the batch; `nil` where it is the first of all.
private struct RowAtFault {
  let previous: [String?]?
  let key: [String?]
}

extension Part {
  /// Each of these rows alone, and what stands between them.
  ///
  /// - Parameter isFixed: whether no other row can come beside them.
  fileprivate func cut(at rows: [RowAtFault], isFixed: Bool) -> [Part] {
    var parts: [Part] = []
    var behind = after
    for row in rows {
      if let previous = row.previous, !isSameKey(previous, behind) {
        parts.append(Part(after: behind, through: previous, isFound: true, constraints: constraints))
      }
      parts.append(
        Part(after: row.previous, through: row.key, rows: isFixed ? 1 : nil, isFound: true, constraints: constraints))
      behind = row.key
    }
    if !isSameKey(behind, through) {
      parts.append(Part(after: behind, through: through, isFound: true, constraints: constraints))
    }
    return parts
  }
}

/// A batch in which halving takes longer than it would to try each row by itself.
extension Worker {
  /// Cuts what is left of a batch at the rows whose change fails when it is made for them alone.
  ///
  /// Where that is wrong nothing is lost: a row is believed to be at fault when its part fails, and a part that fails is halved.
  mutating func search(
    _ cutting: inout Cutting, behind after: [String?]?, _ bindings: Bindings
  ) throws(PostgresError) {
    let refused = try found(
      "migrate.refused_rows($1::bigint, jsonb_object($2::text[], $3::text[]), $4::text[], $5::text[])",
      behind: after, through: cutting.end, bindings)
    let parts = Part(after: after, through: cutting.end).cut(at: refused, isFixed: false)
    cutting.parts = parts.reversed()
    cutting.isSearched = true
    expectsMany = cutting.isMany(refused.count)
  }

  /// A part that a constraint has refused, cut at the rows that break it; `nil` when that tells nothing, or was asked before.
  ///
  /// What a constraint is broken by is asked of what the rows would become, without what triggers make of them, and of this one
  /// constraint. It is a hint as well.
  borrowing func cut(
    _ part: inout Part, at refusal: Failure, _ bindings: Bindings, _ attempt: Attempt
  ) throws(PostgresError) -> [Part]? {
    guard part.rows != 1, let name = (refusal.constraint ?? refusal.column)?.utf8,
      !part.constraints.contains(where: { $0.elementsEqual(name) })
    else { return nil }
    part.constraints.append(name)
    let broken = try found(
      "migrate.violating_rows($1::bigint, jsonb_object($2::text[], $3::text[]), $4::text[], $5::text[], $6::text, $7::text)",
      behind: part.after, through: part.through, bindings, [refusal.constraint, refusal.column])
    return broken.isEmpty ? nil : part.cut(at: broken, isFixed: attempt.guarded != .locked)
  }

  /// The rows at fault of a stretch, as a function of the ledger finds them.
  private borrowing func found(
    _ function: String, behind after: [String?]?, through: [String?], _ bindings: Bindings, _ more: [String?] = []
  ) throws(PostgresError) -> [RowAtFault] {
    let given: [String?] = [
      runID, ArrayText.literal(bindings.values.map(\.key)), ArrayText.literal(bindings.values.map(\.value)),
      after.map(ArrayText.literal), ArrayText.literal(through),
    ]
    return try connection.query("SELECT previous_key, key FROM \(function)", given + more)
      .map { (row) throws(PostgresError) in
        RowAtFault(previous: try row.ifPresent("previous_key", row.array), key: try row.array("key"))
      }
  }

  /// What is left of the batch before, when this attempt begins where that has ended, and may have as many rows.
  borrowing func unfinished(at attempt: Attempt) -> Cutting? {
    guard let unfinished, unfinished.slice == attempt.slice, unfinished.isCanary == attempt.isCanary,
      unfinished.size <= attempt.size,
      let first = unfinished.parts.last, isSameKey(first.after, attempt.after)
    else { return nil }
    return unfinished
  }
}
