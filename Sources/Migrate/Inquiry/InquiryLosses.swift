internal import MigrateCompiler
internal import MigratePostgres
internal import MigrateSQL

/// What a sample of the rows would lose.
extension Inquiry {
  /// What a sample shows of the assignments that may lose something. All at once costs one reading of the sample; one that
  /// cannot be computed hides the others, and they are then asked one by one.
  func sampled(
    _ connection: borrowing Connection, _ batch: NamedBatch
  ) throws(PostgresError) -> [Int: Sampled] {
    let lossy = batch.lossy(types)
    guard !lossy.isEmpty else { return [:] }
    let together = try count(lossy, connection, batch)
    guard lossy.count > 1, together.values.contains(where: \.hasFailed) else { return together }
    var samples: [Int: Sampled] = [:]
    for index in lossy { samples.merge(try count([index], connection, batch)) { $1 } }
    return samples
  }

  private func count(
    _ chosen: [Int], _ connection: borrowing Connection, _ batch: NamedBatch
  ) throws(PostgresError) -> [Int: Sampled] {
    let sample = batch.sample(chosen, types)
    do throws(PostgresError) {
      try begin(connection, zone: zone)
      // A plan is looked at, and nobody waits for an expression that reads half the database for each row.
      try connection.execute("SET LOCAL statement_timeout = '1s'")
      let values = arguments(of: sample.sql, share: sample.share)
      let counts = try connection.query(sample.sql.text, values).onlyRow.values.map { Int($0 ?? "") ?? 0 }
      try connection.execute("COMMIT")
      let found = counts.dropFirst().map { Sampled.counted(rows: counts[0], lossy: $0) }
      return Dictionary(uniqueKeysWithValues: zip(chosen, found))
    } catch {
      if error.origin != .server || error.endsConnection { throw error }
      try connection.execute("ROLLBACK")
      return Dictionary(uniqueKeysWithValues: chosen.map { ($0, .failed(reason: error.message)) })
    }
  }
}

extension Sampled {
  fileprivate var hasFailed: Bool {
    switch self {
    case .counted: false
    case .failed: true
    }
  }
}
