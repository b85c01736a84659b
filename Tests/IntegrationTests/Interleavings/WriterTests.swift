import MigratePostgres
import MigrateRunner
import MigrateTestSupport
import RunTestSupport
import TestSupport
import Testing

@Suite struct `A batch and a writer` {
  /// C03, C04; every cell of the table, at each of the three levels. Where AFTER triggers are known to the plan, it reads the
  /// images back in a statement more.
  @Test(arguments: Writer.allCases)
  func `C03: meet as the table says, and the undo is exact`(writer: Writer) async throws {
    try await withLedger { server in
      for moment in Moment.allCases {
        for level in Level.allCases { try await check(Cell(writer, moment, level), on: server, readingImages: false) }
        try await check(Cell(writer, moment, .snapshot), on: server, readingImages: true)
        try await check(Cell(writer, moment, .locked), on: server, readingImages: true)
      }
    }
  }

  private func check(_ cell: Cell, on server: Server, readingImages: Bool) async throws {
    let played = try await cell.play(on: server, readingImages: readingImages)
    #expect(played.end == cell.end, "\(cell)")
    #expect(played.outcome == .completed(leftBehind: cell.leftBehind), "\(cell)")
    #expect(played.wrong == Shop.Wrong(), "\(cell)")
    #expect(played.reverted == .reverted(conflicts: cell.conflicts), "\(cell)")
    // A row whose key was changed after the run is "gone" to the revert, and keeps its new price under its new key.
    let moved = cell.writer == .changesKey && cell.writerWaits
    #expect(played.strangers == (moved ? 2 : 0), "\(cell)")
  }
}
