package import MigratePostgres

/// What a run has promised, looked at once more.
public struct Verification: Sendable, Equatable {
  /// One thing that was promised.
  public struct Finding: Sendable, Equatable {
    /// How it turned out.
    public enum Verdict: String, Sendable {
      /// It holds.
      case ok
      /// It does not.
      case broken = "not ok"
      /// Nothing was promised; good to know.
      case info
    }

    /// What is looked at: `slices contiguous`, `left behind`, `check: …`.
    public let name: String
    /// How it turned out.
    public let verdict: Verdict
    /// How many: gaps, rows, what the name says.
    public let figure: Int
    /// The same for a person.
    public let detail: String
  }

  /// The run.
  public let run: Int64
  /// All findings, in the order of the list in the ledger's `migrate.verify`.
  public let findings: [Finding]

  /// Whether everything holds that was promised.
  public var holds: Bool { findings.allSatisfy { $0.verdict != .broken } }
}

extension Ledger {
  /// Looks at the run in one snapshot, in which nothing can be written.
  package static func verify(_ connection: borrowing Connection, _ run: Int64) throws(PostgresError) -> Verification {
    try connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    let rows = try connection.query(
      "SELECT name, verdict, figure, detail FROM migrate.verify($1::bigint)", [String(run)])
    var findings: [Verification.Finding] = []
    for row in rows {
      let word = try row.text("verdict")
      guard let verdict = Verification.Finding.Verdict(rawValue: word) else { throw .unreadable("verdict \(word)") }
      findings.append(
        Verification.Finding(
          name: try row.text("name"), verdict: verdict, figure: try row.int("figure"), detail: try row.text("detail")))
    }
    try connection.execute("COMMIT")
    return Verification(run: run, findings: findings)
  }
}
