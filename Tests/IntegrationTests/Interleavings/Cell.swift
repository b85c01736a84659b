import MigrateLedger
import MigratePlan
import MigratePostgres
import MigrateRunner
import MigrateTestSupport
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

  var capture: Statement.Name { self == .snapshot ? .capture : .captureLocked }
}

/// A row of the table of interleavings: who waits for whom, how the batch ends, and what a revert then finds.
struct Cell {
  let writer: Writer
  let moment: Moment
  let level: Level
  /// The statement at which the batch waits for the writer.
  var batchWaits: Statement.Name?
  /// Whether the writer waits for the batch's commit.
  var writerWaits: Bool

  init(_ writer: Writer, _ moment: Moment, _ level: Level) {
    (self.writer, self.moment, self.level) = (writer, moment, level)
    batchWaits =
      switch (writer.kind, moment, level) {
      case (.writes, .held, _), (.locks, .held, _): level == .snapshot ? .change : level.capture
      case (.locks, .mid, .snapshot): .change
      default: nil
      }
    writerWaits = moment == .mid && level != .snapshot && (writer.kind == .writes || writer.kind == .locks)
  }

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

/// What was seen when a cell was played.
struct Played {
  /// How the stepped batch ended.
  let end: BatchEnd?
  /// How the run ended, gone on with by a worker.
  let outcome: RunOutcome
  /// By the oracle, after the run.
  let wrong: Shop.Wrong
  let reverted: RunOutcome
  /// Rows that are not what the writer alone would have made of them.
  let strangers: Int
}

extension Cell {
  /// Plays the first batch of a run against the writer and checks on the way who waits for whom; then a worker does the rest,
  /// and the run is taken back.
  ///
  /// - Parameters:
  ///   - readingImages: the plan knows of the AFTER trigger.
  ///   - edit: what is done to the plan before it runs.
  func play(readingImages: Bool = false, _ edit: (Plan) throws -> Plan = { $0 }) async throws -> Played {
    try await withLedger { server in try await play(on: server, readingImages: readingImages, edit) }
  }

  func play(on server: Server, readingImages: Bool, _ edit: (Plan) throws -> Plan = { $0 }) async throws -> Played {
    let shop = try await Shop(server)
    let run = try await shop.begin(knowing: readingImages, edit: { try edit($0.patient()) })
    let end = try await withSessions("migrate run by hand", "writer", to: shop.server) { sessions in
      let (hand, other) = (try #require(sessions["migrate run by hand"]), try #require(sessions["writer"]))
      return try await meet(shop, run, hand, other)
    }
    let outcome = try await shop.trial.apply(run)
    let wrong = try await shop.wrong(run)
    let reverted = try await shop.trial.revert(run, .skip)
    return Played(
      end: end, outcome: outcome, wrong: wrong, reverted: reverted, strangers: try await shop.strangers.count)
  }

  private func meet(
    _ shop: Shop, _ run: Int64, _ hand: NamedSession, _ other: NamedSession
  ) async throws -> BatchEnd? {
    let script = "BEGIN; " + writer.script(on: "shop.products")
    var batch = try await SteppedBatch(shop.trial, run: run, on: hand, number: level.rawValue)
    var isOpen = true
    if moment == .held {
      try await other.execute(script)
    } else {
      try await batch.run(through: .statement(level.capture))
      if writerWaits {
        try other.start(script)
        try await other.waitUntilBlocked(by: hand)
      } else {
        try await other.execute(script)
        if batchWaits == nil {
          try await other.execute("COMMIT")
          isOpen = false
        }
      }
    }
    while let next = batch.next {
      try batch.start()
      if next == batchWaits.map(SteppedPart.statement) {
        try await hand.waitUntilBlocked(by: other)
        try await other.execute("COMMIT")
        isOpen = false
      }
      try await batch.finish()
    }
    let end = try await batch.conclude()
    if writerWaits { try await other.finish() }
    if isOpen { try await other.execute("COMMIT") }
    if writer.kind != .passes { try await shop.server.psql(writer.script(on: "shop.twin")) }
    return end
  }
}
