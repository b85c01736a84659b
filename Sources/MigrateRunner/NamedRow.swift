internal import MigrateLedger
internal import MigratePlan
internal import MigratePostgres

/// A row that the server has named in its refusal is looked at first. Where it is not the one at fault, two parts more are tried,
/// and nothing else is lost.
extension Failure {
  /// The key of the row that the server shows, `Failing row contains (17, 9.50, …)` in whatever language: the columns stand in their
  /// order. `nil` when it shows none.
  ///
  /// - Parameter place: of the key among the columns, from 1; it and those before it are whole numbers, which hold no comma.
  func namedKey(at place: Int) -> Int64? {
    guard let detail, let open = detail.utf8.firstIndex(of: UInt8(ascii: "(")) else { return nil }
    var fields = detail.utf8[open...].dropFirst()[...]
    for _ in 1..<place {
      guard let comma = fields.firstIndex(of: UInt8(ascii: ",")) else { return nil }
      fields = fields[comma...].dropFirst(2)
    }
    let digits = fields.prefix { $0 != UInt8(ascii: ",") && $0 != UInt8(ascii: ")") }
    return Int64(String(decoding: digits, as: UTF8.self))
  }
}

extension Worker {
  /// The part in three: what stands before the row that a refusal names, the row alone, and what stands behind it. `nil` when it
  /// names none, or none of a part of several rows.
  borrowing func cut(
    _ part: Part, at refusal: Failure, _ bindings: Bindings, _ attempt: Attempt
  ) throws(PostgresError) -> [Part]? {
    guard part.rows != 1, let key = run.keyPlace.flatMap(refusal.namedKey(at:)),
      let last = Self.number(part.through), key <= last
    else { return nil }
    let first = Self.number(part.after)
    guard first.map({ $0 < key }) ?? (part.after == nil) else { return nil }
    let named: [String?] = [String(key)]
    let found = try connection.run(
      run.statement(.batches, .previous), bindings.with(key: named, as: "through", count: 1)
    ).first?.values
    // What was done before can be gone since, and then the row before is further back than the part.
    let before = Self.number(found).flatMap { (before) in first.map { $0 < before } ?? true ? found : nil }
    // Without one snapshot another row can come beside it.
    let isFixed = attempt.guarded != .locked
    var parts = [Part(after: before ?? part.after, through: named, rows: isFixed ? 1 : nil)]
    if let before { parts.insert(Part(after: part.after, through: before), at: 0) }
    if named != part.through { parts.append(Part(after: named, through: part.through)) }
    return parts.count > 1 ? parts : nil
  }

  /// A key that is one whole number.
  private static func number(_ key: [String?]?) -> Int64? { key?.first.flatMap { $0 }.flatMap { Int64($0) } }
}
