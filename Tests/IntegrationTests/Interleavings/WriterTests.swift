import MigrateLedger
import MigratePostgres
import MigrateRunner
import RunTestSupport
import TestSupport
import Testing

/// What somebody else does to a batch's rows, in one transaction.
enum Writer: String, CaseIterable, CustomTestStringConvertible {
  case sameColumn = "UPDATE {t} SET price = 999 WHERE id = 50"
  case otherColumn = "UPDATE {t} SET note = 'new' WHERE id = 50"
  case delete = "DELETE FROM {t} WHERE id = 50"
  case leavesPredicate = "UPDATE {t} SET status = 'sold' WHERE id = 50"
  case changesKey = "UPDATE {t} SET id = 1005 WHERE id = 50"
  case deletesAndInserts = "DELETE FROM {t} WHERE id = 50; INSERT INTO {t} VALUES (50, 77, 'active', 'again')"
  case insertsIntoRange = "INSERT INTO {t} VALUES (55, 5.5, 'active', 'new')"
  case entersPredicate = "UPDATE {t} SET status = 'active' WHERE id = 60"
  case movesKeyIn = "UPDATE {t} SET id = 65 WHERE id = 190"
  case insertsChild = "INSERT INTO shop.items VALUES (50)"
  case locks = "SELECT FROM {t} WHERE id = 50 FOR UPDATE"

  func script(on table: String) -> String { rawValue.replacing("{t}", with: table) }

  var testDescription: String { script(on: "t") }

  /// What it meets in a batch.
  enum Kind {
    /// A row of the batch is written.
    case writes
    /// A row comes in that the batch has not seen.
    case comesIn
    /// A row of the batch is locked and stays as it is.
    case locks
    /// Nothing that the batch minds.
    case passes
  }

  var kind: Kind {
    switch self {
    case .sameColumn, .otherColumn, .delete, .leavesPredicate, .changesKey, .deletesAndInserts: .writes
    case .insertsIntoRange, .entersPredicate, .movesKeyIn: .comesIn
    case .locks: .locks
    case .insertsChild: .passes
    }
  }
}

/// When the writer's transaction meets the batch.
enum Moment: CaseIterable {
  /// It is open when the batch comes.
  case held
  /// It commits between capture and change.
  case mid
}

/// The three ways in which an attempt guards itself, as the runner numbers them.
enum Level: Int, CaseIterable {
  case snapshot = 1
  case lockedSnapshot, locked

  var capture: String { self == .snapshot ? "capture" : "capture locked" }
}

/// A row of the table of interleavings: who waits for whom, how the batch ends, and what a revert then finds.
struct Cell {
  let writer: Writer
  let moment: Moment
  let level: Level

  /// The statement at which the batch waits for the writer.
  var batchWaits: String? {
    switch (writer.kind, moment, level) {
    case (.writes, .held, _), (.locks, .held, _): level == .snapshot ? "change" : level.capture
    case (.locks, .mid, .snapshot): "change"
    default: nil
    }
  }

  /// Whether the writer waits for the batch's commit.
  var writerWaits: Bool { moment == .mid && level != .snapshot && (writer.kind == .writes || writer.kind == .locks) }

  var end: BatchEnd {
    switch (writer.kind, moment, level) {
    case (.writes, .held, .locked): writer == .deletesAndInserts ? .inexact : .committed
    case (.writes, .held, _), (.writes, .mid, .snapshot): .failed(.serializationFailure)
    case (.comesIn, .mid, .locked): .inexact
    default: .committed
    }
  }

  /// Rows that the run has not done: they came in behind a batch that had not seen them.
  var leftBehind: Int { writer.kind == .comesIn && end == .committed ? 1 : 0 }

  /// Rows that the writer changed after the run had, and that a revert must leave alone.
  var conflicts: Int {
    guard writerWaits else { return 0 }
    return switch writer {
    case .sameColumn, .delete, .changesKey, .deletesAndInserts: 1
    default: 0
    }
  }
}

@Suite struct `A batch and a writer` {
  /// C03, C04, C05b; every cell of the table, at each of the three levels.
  @Test(arguments: Writer.allCases, Moment.allCases)
  func `meet as the table says, and the undo is exact`(writer: Writer, moment: Moment) async throws {
    for level in Level.allCases { try await play(Cell(writer: writer, moment: moment, level: level)) }
  }

  /// The same where AFTER triggers are known to the plan, so that it reads the images back.
  @Test(arguments: Writer.allCases, Moment.allCases)
  func `meet alike when the images are read back`(writer: Writer, moment: Moment) async throws {
    for level in [Level.snapshot, .locked] {
      try await play(Cell(writer: writer, moment: moment, level: level), readingImages: true)
    }
  }

  private func play(_ cell: Cell, readingImages: Bool = false) async throws {
    try await withShop { shop in
      let run = try await shop.begin(knowing: readingImages) { try $0.patient() }
      let end = try await withSessions("migrate run by hand", "writer", to: shop.server) { sessions in
        let (hand, writer) = (try #require(sessions["migrate run by hand"]), try #require(sessions["writer"]))
        return try await meet(cell, shop, run, hand, writer)
      }
      #expect(end == cell.end, "\(cell)")
      #expect(try await shop.trial.apply(run) == .completed(leftBehind: cell.leftBehind), "\(cell)")
      #expect(try await shop.wrong(run) == Shop.Wrong(), "\(cell)")
      #expect(try await shop.trial.revert(run, .skip) == .reverted(conflicts: cell.conflicts), "\(cell)")
      // Only the price of the row that went elsewhere under another key is not what it was.
      let moved = cell.writer == .changesKey && cell.writerWaits
      #expect(try await shop.strangers.count == (moved ? 2 : 0), "\(cell)")
    }
  }

  /// Plays the first batch against the writer, and checks on the way who waits for whom.
  private func meet(
    _ cell: Cell, _ shop: Shop, _ run: Int64, _ hand: NamedSession, _ writer: NamedSession
  ) async throws -> BatchEnd? {
    let script = "BEGIN; " + cell.writer.script(on: "shop.products")
    var batch = try await SteppedBatch(shop.trial, run: run, on: hand, number: cell.level.rawValue)
    var isOpen = false
    if cell.moment == .held {
      try await writer.execute(script)
      isOpen = true
    } else {
      try await batch.run(through: cell.level.capture)
      if cell.writerWaits {
        try writer.start(script)
        try await writer.waitUntilBlocked(by: hand)
      } else {
        try await writer.execute(script)
        isOpen = true
        if cell.batchWaits == nil {
          try await writer.execute("COMMIT")
          isOpen = false
        }
      }
    }
    while let next = batch.next {
      try batch.start()
      if next == cell.batchWaits {
        try await hand.waitUntilBlocked(by: writer)
        try await writer.execute("COMMIT")
        isOpen = false
      }
      try await batch.finish()
    }
    let end = try await batch.conclude()
    if cell.writerWaits {
      try await writer.finish()
      isOpen = true
    }
    if isOpen { try await writer.execute("COMMIT") }
    if cell.writer.kind != .passes { try await shop.server.psql(cell.writer.script(on: "shop.twin")) }
    return end
  }
}
