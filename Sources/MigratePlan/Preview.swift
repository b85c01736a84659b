/// The SQL of a plan, for a reader and for psql: each statement under its name and its reason.
public struct Preview: Sendable {
  private let plan: Plan

  /// A preview of `plan`.
  public init(_ plan: Plan) { self.plan = plan }

  /// All statements, the way back included, in the order in which they run. What `apply` sends is this, byte for byte, with the
  /// run's number for `{run}` and values bound to `$1 … $n`.
  public var sql: String {
    plan.phases.filter { !$0.statements.isEmpty }.map { phase in
      "-- ===== \(phase.name.heading)\n\n" + phase.statements.map(Self.text).joined(separator: "\n\n")
    }.joined(separator: "\n\n") + "\n"
  }

  private static func text(of statement: Statement) -> String {
    let values = statement.arguments.enumerated().map { "$\($0.offset + 1) \($0.element)" }.joined(separator: ", ")
    let note = values.isEmpty ? "" : "\n-- \(values)"
    return "-- \(statement.name): \(statement.why)\(note)\n\(statement.text);"
  }

  private static let text: @Sendable (Statement) -> String = { text(of: $0) }
}

extension Phase.Name {
  /// What a reader is told about when it runs.
  var heading: String {
    switch self {
    case .before: "before: nothing starts unless these find no row"
    case .prepare: "prepare: once, in the transaction that begins the run"
    case .bounds: "bounds: once, before the first batch"
    case .batches: "batches: one transaction each, REPEATABLE READ, from the third try on READ COMMITTED"
    case .holds: "holds: between batches, at most once a second; while one finds a row, the run holds"
    case .publish: "publish: all of it in one transaction, once every batch is computed"
    case .finish: "finish: once, after the last batch"
    case .revert: "revert: the way back, one transaction for each batch, the last one first"
    }
  }
}
