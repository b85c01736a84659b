import MigratePlan
import RunTestSupport
import TestSupport

/// Plans with a fault in them. Each is killed by a test that says so: a suite that cannot fail proves nothing.
enum Mutant {
  /// The fence is read and not locked: under REPEATABLE READ the read is blind (C10).
  static func withoutFenceLock(_ plan: Plan) throws -> Plan {
    try plan.replacing(" FOR SHARE", by: "", in: .finish)
  }

  /// The epoch does not matter.
  static func withoutEpoch(_ plan: Plan) throws -> Plan {
    try plan.replacing("AND epoch = $", by: "AND 0 <> $", in: .finish)
  }

  /// The keys captured are not compared with the keys changed.
  static func withoutExact(_ plan: Plan) throws -> Plan {
    try plan.replacing("u.k_1 IS NOT DISTINCT FROM image.k_1", by: "true", in: .change)
  }

  /// Where images are read back, only the rows of the capture are looked at.
  static func forgettingExact(_ plan: Plan) throws -> Plan {
    try plan.replacing("exact = u.exact AND", by: "exact =", in: .image)
      .replacing("AND  u.exact IS NOT FALSE", by: "", in: .image)
  }

  /// The second way to capture does not lock.
  static func withoutRowLocks(_ plan: Plan) throws -> Plan {
    try plan.replacing("FOR    NO KEY UPDATE OF \"p\"", by: "", in: .captureLocked)
  }

  /// A batch begins with the row that the last one ended with.
  static func withClosedRange(_ plan: Plan) throws -> Plan {
    let names: [Statement.Name] = [.capture, .captureLocked, .change]
    return try names.reduce(plan) { plan, name in
      try plan.replacing("\"p\".\"id\" > $", by: "\"p\".\"id\" >= $", in: name)
    }
  }

  /// The upper end is the last key as a text (K06).
  static func withUpperByText(_ plan: Plan) throws -> Plan {
    try plan.replacing("AS upper_1", by: "AS id", in: .upper, of: .bounds)
      .replacing("ORDER  BY \"p\".\"id\"", by: "ORDER  BY id", in: .upper, of: .bounds)
  }

  /// A batch ends with the n-th key as a text (K06).
  static func withBoundByText(_ plan: Plan) throws -> Plan {
    try plan.replacing("AS through_1", by: "AS id", in: .bound)
      .replacing("ORDER  BY \"p\".\"id\"", by: "ORDER  BY id", in: .bound)
  }

  /// Nothing of the batch is written down.
  static func withoutLedgerEntry(_ plan: Plan) throws -> Plan {
    plan.editing(.batches) { statement in
      guard statement.name == .finish else { return [statement] }
      return [
        statement.with(
          text:
            "SELECT true AS exact, 1 AS rows_read, 1 AS rows_changed, 1 AS rows_captured, pg_current_xact_id() AS xid")
      ]
    }
  }

  /// Nobody is waited for before the upper end is fixed (K22).
  static func withoutWaitingForLockers(_ plan: Plan) throws -> Plan {
    try plan.replacing(
      "WHERE  l.locktype = 'relation'", by: "WHERE  false AND l.locktype = 'relation'", in: .lockers, of: .bounds)
  }

  /// Rows that were passed over are not counted (K20).
  static func withoutCountingLeftBehind(_ plan: Plan) throws -> Plan {
    try plan.replacing("SELECT count(*)", by: "SELECT 0 * count(*)", in: .leftBehind, of: .finish)
  }

  /// Whoever wrote during the run is thought not to have (K20).
  static func takingOthersForNobody(_ plan: Plan) throws -> Plan {
    try plan.replacing("AND  $2::boolean", by: "AND  false", in: .leftBehind, of: .finish)
  }

  // MARK: The way back

  /// A batch that is taken back already is taken back again.
  static func markingAgain(_ plan: Plan) throws -> Plan {
    try plan.replacing("AND  NOT u.reverted", by: "", in: .mark, of: .revert)
  }

  /// A second revert of the same batch does not wait for the first.
  static func withoutMark(_ plan: Plan) throws -> Plan {
    try plan.replacing("SET    reverted = true", by: "SET    reverted = false", in: .mark, of: .revert)
  }

  /// Whatever is in the row is overwritten.
  static func overwritingEdits(_ plan: Plan) throws -> Plan {
    try plan.replacing("record_image_eq(", by: "true OR record_image_eq(", in: .restore, of: .revert)
  }

  /// Compared is what the statement saw at its beginning, as if that had been a statement of its own; written is what is there.
  static func comparingBefore(_ plan: Plan) throws -> Plan {
    try plan.replacing(
      "record_image_eq(ROW(\"p\".\"price\"), ROW(d.n_2))",
      by: "d.k_1 IN (SELECT q.id FROM shop.products AS q WHERE record_image_eq(ROW(q.price), ROW(d.n_2)))",
      in: .restore,
      of: .revert)
  }

  /// The look ahead of `stop` sees nothing.
  static func withoutLookingAhead(_ plan: Plan) throws -> Plan {
    try plan.replacing("SELECT count(*)", by: "SELECT 0 * count(*)", in: .conflictsAhead, of: .revert)
  }
}
