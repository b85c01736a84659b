package import MigrateLedger

extension Failure {
  /// What to do about it, whoever tells it: the command that has met it, and those that look at it later.
  package func remedy(of run: Int64, _ direction: RunDirection) -> String {
    // What the ledger refuses it tells with all that can be done.
    if let hint, sqlState?.hasPrefix("MG") == true { return hint }
    let goesOn =
      direction == .apply ? "`migrate resume \(run)` goes on at this batch" : "`migrate revert \(run)` goes on"
    return said + next(run, direction, goesOn)
  }

  /// The server's hints are sentences of their own.
  private var said: String {
    guard let hint else { return "" }
    return String(decoding: hint.utf8.last == UInt8(ascii: ".") ? hint.utf8.dropLast() : hint.utf8[...], as: UTF8.self)
      + "; "
  }

  private func next(_ run: Int64, _ direction: RunDirection, _ goesOn: String) -> String {
    if let cure = cureOfServer { return "\(cure); then \(goesOn)" }
    switch sqlState.map({ String($0.prefix(2)) }) {
    case "23" where direction == .revert:
      let what = constraint.map { "constraint \"\($0)\"" } ?? "the table"
      return "\(what) refuses what rows of that batch were before: drop it or mend what it asks for, then \(goesOn)"
    case "22", "23":
      let rows = culprits == nil ? "the rows of that batch" : "the rows at fault"
      let elsewise = direction == .apply ? "; or `migrate cancel \(run)`, mend the definition, and apply it anew" : ""
      return "mend \(rows), then \(goesOn)\(elsewise)"
    case "42": return "look whether the table or a function has changed; then \(goesOn)"
    case nil where direction == .revert && hint == nil:
      return "`migrate revert \(run) --on-conflict skip` restores the others, `force` all"
    case nil, .some: return "mend what it says, then \(goesOn)"
    }
  }
}
