package import MigrateCompiler
internal import MigrateLedger
internal import MigratePlan
internal import MigratePostgres

/// Whether what a definition makes of a sample depends on how it is cut into batches, and in which order these are done.
package struct Proof: Sendable {
  /// A row that is another one.
  package struct Difference: Sendable, Equatable {
    package let step: Int
    /// The row's key as an array of texts; `nil` where the database has given it.
    package let key: String?
    /// What it holds after one batch; `nil`: there is no such row.
    package let inOne: String?
    /// What it holds otherwise.
    package let otherwise: String?
  }

  /// Eligible rows of the sample.
  package let rows: Int
  /// The batches of the second try.
  package let batches: Int
  /// In many batches, in another order, by other plans.
  package let byBatch: [Difference]
  /// In one batch, under another time zone: what the definition pins it for.
  package let byZone: [Difference]
  /// Whether any step keeps what it writes, so that there was something to compare.
  package let isCompared: Bool
}

extension Session {
  /// Rows of a batch in the second try.
  package static let proofSize = 7
  /// A place where no definition is likely to be at home, whose clocks have three quarters of an hour.
  package static let proofZone = "Pacific/Chatham"

  /// Does a sample three times in transactions that are rolled back.
  ///
  /// Triggers fire, sequences move and stay moved, and the row versions that were written stay as dead ones until VACUUM.
  package borrowing func prove(_ compilation: Compilation) throws(CompileFailure) -> Proof {
    do throws(PostgresError) {
      let one = try sampled(compilation, settings: "") { (trial, connection) throws(PostgresError) in
        let upper = try trial.row(.upper, of: .bounds, trial.constants, connection)
        let starts = try trial.starts(compilation.trial, connection)
        // Somewhere in the middle, unless that leaves too few.
        let isLong = trial.plan.estimate.rows > 2 * trial.plan.pace.firstSize
        let after: [String?]? = isLong && starts.count > 1 ? starts[starts.count / 2] : nil
        let through = try trial.bound(after: after, upper: upper, connection)
        return upper == nil ? [] : [(after, through)]
      }
      guard let sample = one.ranges.first, let through = sample.through else {
        return Proof(rows: 0, batches: 0, byBatch: [], byZone: [], isCompared: true)
      }
      let whole = { (trial: TrialRun, connection: borrowing Connection) throws(PostgresError) in [sample] }
      let plans = ["hashjoin", "hashagg", "seqscan", "bitmapscan", "mergejoin"].map { "SET LOCAL enable_\($0) = off;" }
      let many = try sampled(compilation, settings: plans.joined(separator: " ")) {
        (trial, connection) throws(PostgresError) in
        try Self.shuffled(trial.cut(after: sample.after, through: through, into: Self.proofSize, connection))
      }
      let abroad = try sampled(compilation, settings: "SET LOCAL timezone = '\(Self.proofZone)';", whole)
      return Proof(
        rows: one.read, batches: many.ranges.count, byBatch: Self.differences(one.rows, many.rows),
        byZone: Self.differences(one.rows, abroad.rows), isCompared: !compilation.trial.proofs.isEmpty)
    } catch { throw .database(error) }
  }

  private typealias Stretch = (after: [String?]?, through: [String?]?)

  private struct Row: Hashable {
    let step: Int
    let key: String?
    let value: String?
  }

  /// What is made of the stretches that `body` chooses.
  private borrowing func sampled(
    _ compilation: Compilation, settings: String,
    _ body: (TrialRun, borrowing Connection) throws(PostgresError) -> [Stretch]
  ) throws(PostgresError) -> (ranges: [Stretch], read: Int, rows: [Row]) {
    try trying(compilation.plan, begin: "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE") {
      (trial, connection) throws(PostgresError) in
      try trial.prepare(connection)
      let stretches = try body(trial, connection)
      if !settings.isEmpty { try connection.execute(settings) }
      var read = 0
      for (place, stretch) in stretches.enumerated() {
        guard let through = stretch.through else { continue }
        read += try trial.batch(place + 1, after: stretch.after, upper: through, connection)?.read ?? 0
      }
      // Texts are compared, so both are written alike.
      try connection.execute(compilation.plan.settings)
      var rows: [Row] = []
      for proof in compilation.trial.proofs {
        for row in try trial.rows(proof.sql, connection) {
          rows.append(Row(step: proof.step, key: try row["key"], value: try row["value"]))
        }
      }
      return (stretches, read, rows)
    }
  }

  /// In an order that is neither the key's nor its opposite, and always the same.
  private static func shuffled(_ stretches: [Stretch]) -> [Stretch] {
    var state: UInt64 = 42
    var shuffled = stretches
    for place in shuffled.indices.reversed() where place > 0 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      shuffled.swapAt(place, Int((state >> 33) % UInt64(place + 1)))
    }
    return shuffled
  }

  /// Rows that are in the one and not in the other, those of one key beside each other.
  private static func differences(_ one: [Row], _ other: [Row]) -> [Proof.Difference] {
    var counts: [Row: Int] = [:]
    for row in one { counts[row, default: 0] += 1 }
    for row in other { counts[row, default: 0] -= 1 }
    var differences: [Proof.Difference] = []
    var missing = other.filter { row in
      guard let count = counts[row], count < 0 else { return false }
      counts[row] = count + 1
      return true
    }
    for row in one {
      guard let count = counts[row], count > 0 else { continue }
      counts[row] = count - 1
      let match = missing.firstIndex { $0.step == row.step && $0.key == row.key }
      let instead = match.map { missing.remove(at: $0) }
      differences.append(.init(step: row.step, key: row.key, inOne: row.value, otherwise: instead?.value))
    }
    return differences + missing.map { .init(step: $0.step, key: $0.key, inOne: nil, otherwise: $0.value) }
  }
}
