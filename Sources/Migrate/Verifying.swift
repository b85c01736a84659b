internal import MigrateLedger
internal import MigratePostgres

/// What a run has promised, looked at once more.
package struct Verification: Sendable, Equatable {
  /// One thing that was promised.
  package struct Finding: Sendable, Equatable {
    package enum Verdict: String, Sendable {
      case ok
      case broken = "not ok"
      /// Nothing was promised; good to know.
      case info
    }

    /// What is looked at: `slices contiguous`, `left behind`, `check: …`.
    package let name: String
    package let verdict: Verdict
    /// How many: gaps, rows, what the name says.
    package let figure: Int
    /// The same for a person.
    package let detail: String
  }

  package let run: Int64
  package let findings: [Finding]

  /// Whether everything holds that was promised.
  package var holds: Bool { findings.allSatisfy { $0.verdict != .broken } }
}

extension Runs {
  /// Looks again, in one snapshot and without writing: slices, counts, what was left behind, the checks, later edits.
  package borrowing func verify(_ number: Int64) throws(RunRefusal) -> Verification {
    try asking { (connection) throws(PostgresError) in
      guard let run = try Ledger.run(connection, number) else { throw .unreadable("there is no run \(number)") }
      try connection.execute(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; " + (try run.statement("batches", "settings").text))
      var findings = [try Self.slices(run, connection), try Self.counts(run, connection)]
      findings += try Self.finish(run, connection)
      findings += try Self.edits(run, connection)
      try connection.execute("COMMIT")
      return Verification(run: run.id, findings: findings)
    }
  }

  /// (a) Each batch begins where the one before it ended, the first at the beginning, the last ends at the upper end.
  private static func slices(_ run: Run, _ connection: borrowing Connection) throws(PostgresError)
    -> Verification.Finding
  {
    let row = try connection.query(
      """
      SELECT count(*)                                                              AS batches,
             count(*) FILTER (WHERE c.after_key IS DISTINCT FROM c.begins)         AS gaps,
             min(c.ordinal) FILTER (WHERE c.after_key IS DISTINCT FROM c.begins)   AS first_gap,
             (SELECT r.upper_key FROM migrate.runs AS r WHERE r.run = $1::bigint) IS NOT DISTINCT FROM
             (SELECT l.through_key FROM migrate.batches AS l WHERE l.run = $1::bigint AND l.kind = 'apply'
              ORDER BY l.slice DESC, l.ordinal DESC, l.part DESC LIMIT 1)          AS reaches_the_end
      FROM  (SELECT b.ordinal, b.after_key,
                    coalesce(lag(b.through_key) OVER (PARTITION BY b.slice ORDER BY b.ordinal, b.part), s.after_key) AS begins
             FROM   migrate.batches     AS b
             LEFT   JOIN migrate.slices AS s ON s.run = b.run AND s.slice = b.slice
             WHERE  b.run = $1::bigint AND b.kind = 'apply') AS c
      """, [String(run.id)]
    ).onlyRow
    let batches = try row.int("batches")
    let gaps = try row.int("gaps")
    let reaches = try row.bool("reaches_the_end")
    let first = try row.ifPresent("first_gap", row.int).map { ", first \($0)" } ?? ""
    return Verification.Finding(
      name: "slices contiguous", verdict: gaps == 0 && reaches ? .ok : .broken, figure: gaps,
      detail: "\(batches) batches, \(gaps) gaps or overlaps\(first)"
        + (reaches ? "" : "; no batch ends with the last key"))
  }

  /// (b) What was read is changed, unchanged or rejected, in each batch.
  private static func counts(_ run: Run, _ connection: borrowing Connection) throws(PostgresError)
    -> Verification.Finding
  {
    let row = try connection.query(
      """
      SELECT count(*) FILTER (WHERE rows_read <> rows_changed + rows_unchanged + rows_rejected) AS wrong,
             coalesce(sum(rows_read), 0) AS read, coalesce(sum(rows_changed), 0) AS changed,
             coalesce(sum(rows_unchanged), 0) AS unchanged, coalesce(sum(rows_rejected), 0) AS rejected
      FROM   migrate.batches
      WHERE  run = $1::bigint AND kind = 'apply'
      """, [String(run.id)]
    ).onlyRow
    let wrong = try row.int("wrong")
    let read = try row.int("read")
    let sum = "\(read) = \(try row.int("changed")) + \(try row.int("unchanged")) + \(try row.int("rejected"))"
    return Verification.Finding(
      name: "read = changed + unchanged + rejected", verdict: wrong == 0 ? .ok : .broken, figure: read,
      detail: wrong == 0 ? sum : "\(sum); \(wrong) batches do not add up")
  }

  /// (c) Nothing was left behind, and (d) the checks that ended the run find nothing now either.
  private static func finish(_ run: Run, _ connection: borrowing Connection) throws(PostgresError) -> [Verification
    .Finding]
  {
    let bindings = Bindings(run.parameters).with("run", String(run.id))
      .with(key: run.upperKey, as: "upper", count: run.keyCount)
    var findings: [Verification.Finding] = []
    for statement in run.statements("finish") {
      let rows = try connection.run(statement, bindings)
      let isCount = statement.name == "left behind"
      let figure = isCount ? try rows.onlyRow.int(0) : rows.count
      let shown = isCount ? [] : try rows.map { (row) throws(PostgresError) in try row.text(0) }
      findings.append(
        Verification.Finding(
          name: statement.name, verdict: figure == 0 ? .ok : .broken, figure: figure,
          detail: isCount ? "\(figure) rows" : shown.isEmpty ? "finds no row" : "finds " + shown.joined(separator: ", ")
        ))
    }
    return findings
  }

  /// (e) Rows that hold something else than the run wrote: somebody's later work, and no fault.
  private static func edits(_ run: Run, _ connection: borrowing Connection) throws(PostgresError) -> [Verification
    .Finding]
  {
    guard let statement = run.statements("revert").first(where: { $0.name == "conflicts ahead" }) else { return [] }
    let count = try connection.run(statement, Bindings(run.parameters).with("run", String(run.id))).onlyRow.int(0)
    return [Verification.Finding(name: "rows edited since", verdict: .info, figure: count, detail: "\(count) rows")]
  }
}
