import MigrateRunner
import RunTestSupport
import Testing

@Suite struct `A batch and a writer` {
  /// C03, C04; every cell of the table, at each of the three levels.
  @Test(arguments: Writer.allCases, Moment.allCases)
  func `C03: meet as the table says, and the undo is exact`(writer: Writer, moment: Moment) async throws {
    for level in Level.allCases { try await check(Cell(writer, moment, level)) }
  }

  /// Where AFTER triggers are known to the plan it reads the images back in a statement more.
  @Test(arguments: Writer.allCases, Moment.allCases)
  func `meet alike when the images are read back`(writer: Writer, moment: Moment) async throws {
    for level in [Level.snapshot, .locked] { try await check(Cell(writer, moment, level), readingImages: true) }
  }

  private func check(_ cell: Cell, readingImages: Bool = false) async throws {
    let played = try await cell.play(readingImages: readingImages)
    #expect(played.end == cell.end, "\(cell)")
    #expect(played.outcome == .completed(leftBehind: cell.leftBehind), "\(cell)")
    #expect(played.wrong == Shop.Wrong(), "\(cell)")
    #expect(played.reverted == .reverted(conflicts: cell.conflicts), "\(cell)")
    // A row whose key was changed after the run is "gone" to the revert, and keeps its new price under its new key.
    let moved = cell.writer == .changesKey && cell.writerWaits
    #expect(played.strangers == (moved ? 2 : 0), "\(cell)")
  }
}
