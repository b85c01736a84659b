internal import MigrateLedger
internal import MigratePlan
internal import MigratePostgres

/// The rows by which a batch has failed, looked for once the run has to stop there.
///
/// The batch is done once more in parts, halved from left to right until a row is alone, in a transaction that is rolled back. Two
/// limits keep it from costing much.
extension Worker {
  /// More rows tell nothing new about a definition.
  private static var mostCulprits: Int { 5 }
  /// Parts that are tried. Twenty find one row of a million.
  private static var mostTries: Int { 60 }

  private struct Stretch {
    let after: [String?]?
    let through: [String?]
    /// Rows, at most.
    let size: Int
  }

  /// `nil` when nothing was found: the rows pass by themselves now, or something else kept the search from its end, such as
  /// somebody who has waited for it too long.
  mutating func culprits(_ attempt: Attempt) throws(PostgresError) -> Culprits? {
    let first = Attempt(
      slice: attempt.slice, ordinal: attempt.ordinal, after: attempt.after, upper: attempt.upper, number: 1,
      size: attempt.size,
      isInParts: true, isCanary: attempt.isCanary)
    do throws(PostgresError) {
      if let pid = try begin("REPEATABLE READ READ WRITE", .apply) { watch?.begin(pid) }
      try connection.execute("SAVEPOINT part")
      let found = try findCulprits(first)
      watch?.end()
      try connection.execute("ROLLBACK")
      return found
    } catch {
      watch?.end()
      if error.endsConnection || error.origin == .lost { throw error }
      try connection.execute("ROLLBACK")
      return nil
    }
  }

  private mutating func findCulprits(_ attempt: Attempt) throws(PostgresError) -> Culprits? {
    let whole = Stretch(after: attempt.after, through: attempt.upper, size: .max)
    let end = try key(of: attempt.size, in: whole, attempt) ?? attempt.upper
    var stack = [Stretch(after: attempt.after, through: end, size: attempt.size)]
    var keys: [[String?]] = []
    var tries = 0
    while tries < Self.mostTries, keys.count < Self.mostCulprits, let stretch = stack.popLast() {
      tries += 1
      // The batch as a whole has failed already.
      if tries > 1 || stretch.size == 1, try passes(stretch, attempt, part: tries) { continue }
      if stretch.size == 1 {
        if let key = try key(of: 1, in: stretch, attempt) { keys.append(key) }
        continue
      }
      let half = (stretch.size + 1) / 2
      guard let middle = try key(of: half, in: stretch, attempt), !isSameKey(middle, stretch.through) else {
        stack.append(Stretch(after: stretch.after, through: stretch.through, size: half))
        continue
      }
      stack.append(Stretch(after: middle, through: stretch.through, size: stretch.size - half))
      stack.append(Stretch(after: stretch.after, through: middle, size: half))
    }
    return keys.isEmpty ? nil : Culprits(keys: keys, areAll: stack.isEmpty)
  }

  /// The key of the row of this place, from 1; `nil` when there are not so many.
  private borrowing func key(
    of place: Int, in stretch: Stretch, _ attempt: Attempt
  ) throws(PostgresError) -> [String?]? {
    let given = bindings(of: attempt).with("size", String(place))
      .with(key: stretch.after, as: "after", count: run.keyCount)
      .with(key: stretch.through, as: "upper", count: run.keyCount)
    return try connection.run(run.statement(.batches, .bound), given).first?.values
  }

  /// Does the rows, and keeps them done for those that come behind, unless one of them is at fault.
  private mutating func passes(_ stretch: Stretch, _ attempt: Attempt, part: Int) throws(PostgresError) -> Bool {
    let given = bindings(of: attempt).with("part", String(part))
      .with(key: stretch.after, as: "after", count: run.keyCount)
      .with(key: stretch.through, as: "upper", count: run.keyCount)
      .with(key: stretch.through, as: "through", count: run.keyCount)
    switch try perform(Part(after: stretch.after, through: stretch.through), attempt, given) {
    case .done: return true
    case .refused: return false
    case .notDone:
      try connection.execute("ROLLBACK TO SAVEPOINT part")
      return false
    }
  }
}
