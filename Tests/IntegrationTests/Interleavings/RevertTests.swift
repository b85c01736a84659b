import MigrateLedger
import MigratePlan
import MigrateRunner
import RunTestSupport
import TestSupport
import Testing

/// What somebody does to a row that a run has changed, and what a revert then makes of it.
enum Edit: String, CaseIterable, CustomTestStringConvertible {
  case sameColumn = "UPDATE {t} SET price = 999 WHERE id = 50"
  case otherColumn = "UPDATE {t} SET note = 'new' WHERE id = 50"
  case delete = "DELETE FROM {t} WHERE id = 50"
  case changesKey = "UPDATE {t} SET id = 1005 WHERE id = 50"
  case deletesAndInserts = "DELETE FROM {t} WHERE id = 50; INSERT INTO {t} VALUES (50, 77, 'active', 'again')"
  case thereAndBack = "UPDATE {t} SET price = price + 1 WHERE id = 50; UPDATE {t} SET price = price - 1 WHERE id = 50"

  var testDescription: String { script(on: "t") }
  func script(on table: String) -> String { rawValue.replacing("{t}", with: table) }

  /// The reason that the conflict is listed with, and what was found.
  var conflict: [String?]? {
    switch self {
    case .sameColumn: ["{50}", "edited", #"{"price": "999"}"#]
    case .deletesAndInserts: ["{50}", "edited", #"{"price": "77"}"#]
    case .delete, .changesKey: ["{50}", "gone", nil]
    case .otherColumn, .thereAndBack: nil
    }
  }

  var count: Int { conflict == nil ? 0 : 1 }
}

@Suite struct `A revert and an edit` {
  /// U01
  @Test(arguments: Edit.allCases, [true, false])
  func `U01: meet row by row; the edit stands and is listed`(edit: Edit, held: Bool) async throws {
    try await withAppliedShop { shop, run in
      let reverted = try await shop.revert(run, .skip, meeting: edit, held: held)
      #expect(reverted == .reverted(conflicts: edit.count))
      #expect(try await shop.conflicts(run) == [edit.conflict].compactMap(\.self))
      #expect(try await shop.strangers.count == (edit == .changesKey ? 2 : 0))
    }
  }

  @Test(arguments: Edit.allCases) func `under stop nothing is written when it came before`(edit: Edit) async throws {
    try await withAppliedShop { shop, run in
      let before = try await shop.image
      let reverted = try await shop.revert(run, .stop, meeting: edit, held: false)
      guard edit.count > 0 else { return #expect(reverted == .reverted(conflicts: 0)) }
      #expect(reverted == .conflicts(1))
      try await shop.server.psql(edit.script(on: "shop.twin"))
      #expect(try await shop.counts(run, kind: "revert") == ["0", "0", "0"])
      #expect(try await shop.image.filter { !before.contains($0) }.count == (edit == .delete ? 0 : 1))
      // Once more, and the others are restored.
      #expect(try await shop.trial.revert(run, .skip) == .reverted(conflicts: 1))
      #expect(try await shop.conflicts(run) == [edit.conflict].compactMap(\.self))
    }
  }

  /// The look ahead cannot see it: its batch rolls back, and the revert stops there.
  @Test(arguments: Edit.allCases) func `under stop is noticed when it lands after the look ahead`(edit: Edit)
    async throws
  {
    try await withAppliedShop { shop, run in
      let reverted = try await shop.revert(run, .stop, meeting: edit, held: true)
      guard edit.count > 0 else { return #expect(reverted == .reverted(conflicts: 0)) }
      #expect(reverted == .conflicts(1))
      #expect(try await shop.trial.state(run) == "failed")
      // The last batch is back, the first one is not.
      #expect(try await shop.counts(run, kind: "revert") == ["9", "9", "0"])
      #expect(try await shop.conflicts(run).isEmpty)
      #expect(try await shop.trial.revert(run, .skip) == .reverted(conflicts: 1))
      #expect(try await shop.strangers.count == (edit == .changesKey ? 2 : 0))
    }
  }

  /// What came in under the same key after the others were locked is not ours and was not kept: a conflict, also under force.
  @Test(arguments: Edit.allCases, [true, false])
  func `under force is kept and then overwritten`(edit: Edit, held: Bool) async throws {
    try await withAppliedShop { shop, run in
      let reverted = try await shop.revert(run, .force, meeting: edit, held: held)
      let isGone = edit == .delete || edit == .changesKey
      let cameLate = held && edit == .deletesAndInserts
      #expect(reverted == .reverted(conflicts: isGone || cameLate ? 1 : 0))
      let price = try await shop.server.psql("SELECT price FROM shop.products WHERE id = 50")
      #expect(price == (isGone ? [] : [[cameLate ? "77" : "5"]]))
      let word = isGone ? "gone" : cameLate ? "edited" : "overwritten"
      #expect(try await shop.conflicts(run) == [edit.conflict.map { [$0[0], word, $0[2]] }].compactMap(\.self))
    }
  }

  @Test func `that is overwritten: that mutant dies`() async throws {
    try await withAppliedShop(edit: Mutant.overwritingEdits) { shop, run in
      let reverted = try await shop.revert(run, .skip, meeting: .sameColumn, held: false)
      #expect(try await shop.strangers != [] && reverted == .reverted(conflicts: 0))
    }
  }

  /// PROTOCOL: check in one statement, write in the next, and the edit is lost.
  @Test func `that is compared before it is waited for: that mutant dies`() async throws {
    try await withAppliedShop(edit: Mutant.comparingBefore) { shop, run in
      try await shop.revert(run, .skip, meeting: .sameColumn, held: true)
      #expect(try await shop.server.psql("SELECT price FROM shop.products WHERE id = 50") == [["5"]])
      #expect(try await shop.strangers != [])
    }
  }

  @Test func `that the look ahead passes over: that mutant dies`() async throws {
    try await withAppliedShop(edit: Mutant.withoutLookingAhead) { shop, run in
      let reverted = try await shop.revert(run, .stop, meeting: .sameColumn, held: false)
      #expect(reverted == .conflicts(1))
      #expect(try await shop.counts(run, kind: "revert") != ["0", "0", "0"], "it has written before it stopped")
    }
  }
}

/// Runs `body` with a shop whose run has completed.
func withAppliedShop(
  edit: (Plan) throws -> Plan = { $0 }, _ body: (Shop, Int64) async throws -> Void
) async throws {
  try await withShop { shop in
    let run = try await shop.begin(edit: { try edit($0.patient()) })
    #expect(try await shop.trial.apply(run) == .completed(leftBehind: 0))
    try await body(shop, run)
  }
}

extension Shop {
  /// Reverts the run while somebody edits: `held` is open when the revert comes to the row, otherwise it was before.
  @discardableResult
  func revert(_ run: Int64, _ policy: ConflictPolicy, meeting edit: Edit, held: Bool) async throws -> RunOutcome {
    let script = "BEGIN; " + edit.script(on: "shop.products")
    let outcome: RunOutcome
    if held {
      outcome = try await withSessions("writer", to: server) { sessions in
        let writer = try #require(sessions["writer"])
        try await writer.execute(script)
        return try await trial.reverting(run, policy) {
          try await trial.waitUntilWorkerBlocked(by: writer)
          try await writer.execute("COMMIT")
        }
      }
    } else {
      try await server.psql(script + "; COMMIT")
      outcome = try await trial.revert(run, policy)
    }
    if policy == .skip || held { try await server.psql(edit.script(on: "shop.twin")) }
    return outcome
  }

  func conflicts(_ run: Int64) async throws -> [[String?]] {
    try await server.psql("SELECT key, reason, found FROM migrate.conflicts WHERE run = \(run) ORDER BY key")
  }

  var image: [[String?]] {
    get async throws { try await server.psql("SELECT p::text FROM shop.products AS p ORDER BY id") }
  }
}
