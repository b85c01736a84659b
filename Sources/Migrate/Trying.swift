package import MigrateCompiler
internal import MigrateLedger
package import MigratePlan
internal import MigratePostgres
internal import MigrateSQL

/// How PostgreSQL would execute a statement.
package struct Explanation: Sendable {
  package let name: Statement.Name
  package let text: String
}

/// What five batches took that were rolled back.
package struct Measurement: Sendable {
  package struct Batch: Sendable {
    package let read: Int
    package let changed: Int
    package let duration: Duration
    /// Of that what showing the rows took, where batches only compute.
    package let shown: Duration?
  }

  package let batches: [Batch]
  /// Rows that the whole run is expected to read.
  package let expectedRows: Int

  package var read: Int { batches.reduce(0) { $0 + $1.read } }
  package var changed: Int { batches.reduce(0) { $0 + $1.changed } }

  /// A row's time, on average; `nil` when no row was eligible.
  package var perRow: Duration? {
    let all = batches.reduce(Duration.zero) { $0 + $1.duration }
    return read > 0 ? all / read : nil
  }

  package var expected: Duration? { perRow.map { $0 * expectedRows } }

  /// How long it will take to show all rows at once, and a writer of one of them may wait: by what it took to show those of the sample.
  package var publishing: (rows: Int, wait: Duration)? {
    let shown = batches.compactMap(\.shown)
    guard !shown.isEmpty, read > 0, changed > 0 else { return nil }
    let rows = Int((Double(expectedRows) * Double(changed) / Double(read)).rounded())
    return (rows, shown.reduce(.zero, +) / changed * rows)
  }
}

extension Session {
  /// The plans of `bound` and of the change, each for the second batch of the run: the first may be a special one. Where the source's
  /// rows are not read yet, of the change for all of them.
  package borrowing func explain(_ compilation: Compilation) throws(CompileFailure) -> [Explanation] {
    do throws(PostgresError) {
      return try trying(compilation.plan, begin: "BEGIN READ ONLY") { (trial, connection) throws(PostgresError) in
        let changes = { (bindings: Bindings, connection: borrowing Connection) throws(PostgresError) in
          try compilation.trial.changes.map { (change) throws(PostgresError) in
            Explanation(
              name: .change, text: try trial.explain(change.text, change.parameters.map(\.role), bindings, connection))
          }
        }
        // The rows that it would walk are not there yet.
        if trial.plan.isFrozen { return try changes(trial.constants, connection) }
        let upper = try trial.row(.upper, of: .bounds, trial.constants, connection)
        let first = try trial.bound(after: nil, upper: upper, connection)
        let second = try trial.bound(after: first, upper: upper, connection)
        let bindings = trial.bindings(after: first, through: second, upper: upper)
        let bound = trial.plan.statements(.batches).first { $0.name == .bound }
        return [
          Explanation(
            name: .bound, text: try trial.explain(bound?.text ?? "", bound?.arguments ?? [], bindings, connection))
        ] + (try changes(bindings, connection))
      }
    } catch { throw .database(error) }
  }

  /// Does five batches, spread over the keys, in a transaction that is rolled back.
  ///
  /// Triggers fire, sequences move and stay moved, and the row versions that were written stay as dead ones until VACUUM.
  package borrowing func measure(_ compilation: Compilation) throws(CompileFailure) -> Measurement {
    do throws(PostgresError) {
      let plan = compilation.plan
      return try trying(plan, begin: "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE") {
        (trial, connection) throws(PostgresError) in
        try trial.prepare(connection)
        let upper = try trial.row(.upper, of: .bounds, trial.constants, connection)
        var starts = try trial.starts(compilation.trial, connection)
        // The first part begins at the beginning of the keys.
        if !starts.isEmpty { starts.removeFirst() }
        var batches: [Measurement.Batch] = []
        var after: [String?]?
        for (part, end) in (starts.map(Optional.some) + [upper]).enumerated() {
          if let end, let batch = try trial.batch(part + 1, after: after, upper: end, connection) {
            batches.append(batch)
          }
          after = end
        }
        return Measurement(batches: batches, expectedRows: plan.estimate.rows)
      }
    } catch { throw .database(error) }
  }

  /// Runs `body` in a transaction with the plan's settings, of which nothing stays.
  borrowing func trying<Value>(
    _ plan: Plan, begin: String, _ body: (TrialRun, borrowing Connection) throws(PostgresError) -> Value
  ) throws(PostgresError) -> Value {
    try connection.execute("\(begin); \(plan.settings)")
    let result: Result<Value, PostgresError>
    do throws(PostgresError) { result = .success(try body(TrialRun(plan, connection), connection)) } catch {
      result = .failure(error)
    }
    if !connection.isBroken { try connection.execute("ROLLBACK") }
    return try result.get()
  }
}
