import MigrateLedger
import MigratePlan
import MigrateRunner
import RunTestSupport
import TestSupport
import Testing

@Suite struct `A mutant of the batch` {
  @Test func `that does not compare keys dies: a row that came in is changed without undo`() async throws {
    let played = try await Cell(.insertsIntoRange, .mid, .locked).play(Mutant.withoutExact)
    #expect(played.end == .committed && played.wrong.unkept > 0)
    #expect(played.strangers > 0, "the row that came in keeps its new price after the revert")
  }

  @Test func `that forgets the comparison when images are read back dies alike`() async throws {
    let played = try await Cell(.insertsIntoRange, .mid, .locked).play(readingImages: true, Mutant.forgettingExact)
    #expect(played.end == .committed && played.wrong == Shop.Wrong(unkept: 1) && played.strangers > 0)
  }

  @Test(arguments: Moment.allCases)
  func `that captures without lock dies: the undo holds what an edit had replaced`(moment: Moment) async throws {
    var cell = Cell(.sameColumn, moment, .locked)
    cell.writerWaits = false
    cell.batchWaits = moment == .held ? .change : nil
    let played = try await cell.play(Mutant.withoutRowLocks)
    #expect(played.end == .committed && played.wrong == Shop.Wrong(unkept: 1, unseen: 1))
    #expect(played.strangers == 2, "the revert has taken the edit away")
  }

  @Test func `that begins with the last row again dies: the row is changed twice`() async throws {
    try await withShop { shop in
      let run = try await shop.begin(edit: Mutant.withClosedRange)
      try await shop.trial.apply(run)
      #expect(try await shop.differsFromOneStatement == ["110"])
    }
  }

  @Test func `K06: that takes the upper end as a text dies: rows are left out in silence`() async throws {
    try await withShop { shop in
      let run = try await shop.begin(edit: Mutant.withUpperByText)
      #expect(try await shop.trial.apply(run) == .completed(leftBehind: 0))
      #expect(try await shop.differsFromOneStatement.count == 11)
    }
  }

  @Test func `K06: that ends batches by text dies: batches are not of the size that was asked for`() async throws {
    try await withShop { shop in
      let run = try await shop.begin(edit: Mutant.withBoundByText)
      try await shop.trial.apply(run)
      #expect(try await shop.batchSizes(run) != ["10", "9"])
    }
  }

  @Test func `that leaves out the ledger's entry dies: the run does not come to its end`() async throws {
    try await withShop { shop in
      let run = try await shop.begin(edit: Mutant.withoutLedgerEntry)
      guard case .failed(let failure) = try await shop.trial.apply(run) else {
        Issue.record("the run has not failed")
        return
      }
      #expect(failure.sqlState == "23505")
    }
  }

  @Test(arguments: [Mutant.withoutCountingLeftBehind, Mutant.takingOthersForNobody])
  func `K20: that does not count what was passed over dies`(edit: @Sendable (Plan) throws -> Plan) async throws {
    let cell = Cell(.insertsIntoRange, .mid, .snapshot)
    let played = try await cell.play(edit)
    #expect(cell.leftBehind == 1 && played.outcome == .completed(leftBehind: 0))
  }

  /// What the mutants are held against.
  @Test func `is none when the plan is left alone`() async throws {
    try await withShop { shop in
      let run = try await shop.begin()
      #expect(try await shop.trial.apply(run) == .completed(leftBehind: 0))
      #expect(try await shop.differsFromOneStatement.isEmpty)
      #expect(try await shop.batchSizes(run) == ["10", "9"])
      #expect(try await shop.wrong(run) == Shop.Wrong())
      #expect(try await shop.trial.revert(run) == .reverted(conflicts: 0))
      #expect(try await shop.strangers.isEmpty)
    }
  }
}

extension Shop {
  /// The keys of products that are not what one UPDATE would have made of them.
  var differsFromOneStatement: [String?] {
    get async throws {
      try await server.psql(
        """
        SELECT p.id FROM shop.products AS p FULL JOIN shop.twin AS t USING (id)
        WHERE  p.price IS DISTINCT FROM CASE WHEN t.status = 'active' THEN t.price * 2 ELSE t.price END
        ORDER  BY 1
        """
      ).map { $0[0] }
    }
  }

  func batchSizes(_ run: Int64) async throws -> [String?] {
    try await server.psql(
      "SELECT rows_read FROM migrate.batches WHERE run = \(run) AND kind = 'apply' ORDER BY ordinal"
    )
    .map { $0[0] }
  }
}
