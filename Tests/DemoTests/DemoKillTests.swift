import Foundation
import Migrate
import TestSupport
import Testing

extension `What a definition of the demo comes to` {
  /// P01 of what people really run: SIGKILL whenever it comes, in both directions. `make torture` does all of them, and more kills.
  @Test(arguments: Sample.some(cases + moreCases, 5, of: "kills of the demo"))
  func `P01: is the same when the program is killed, and started again until it is done`(
    definition: Case
  ) async throws {
    try await Shop.with { shop in
      for needed in try Shop.definition(definition.name).operation.needs {
        #expect(try await shop.apply(needed.value) == .completed(leftBehind: 0))
      }
      let before = try await shop.sum(definition.rows)
      let expected = try await shop.sum(definition.rows, after: definition.statement)
      let folder = ["--dir", "migrations/demo", "--yes"]
      let killed = try await untilDone(["apply", definition.name, "--batch-size", "37"] + folder, shop)
      #expect(try await shop.sum(definition.rows) == expected, "killed \(killed) times")
      guard try definition.goesBack else { return }
      _ = try await untilDone(["revert", definition.name] + folder, shop)
      #expect(try await shop.sum(definition.rows) == before)
      #expect(try await shop.server.psql("SELECT FROM migrate.conflicts").isEmpty)
    }
  }

  /// - Returns: how often it was killed.
  private func untilDone(_ arguments: [String], _ shop: Shop) async throws -> Int {
    let kills = Sample.isOfAll ? 20 : 4
    for killed in 0... {
      let process = try Program.process(try Program.folder + "/migrate", arguments, database: shop.server)
      let output = Pipe()
      process.standardOutput = FileHandle.nullDevice
      process.standardError = output
      try Program.start(process)
      if killed < kills {
        try await Task.sleep(for: .milliseconds(Int.random(in: 30...400)))
        kill(process.processIdentifier, SIGKILL)
      }
      let told = try await onThread { try output.fileHandleForReading.readToEnd() ?? Data() }
      process.waitUntilExit()
      if process.terminationReason == .exit {
        // A revert that was killed behind its last commit finds nothing left to take back.
        let isBehind = killed > 0 && arguments[0] == "revert"
        #expect(process.terminationStatus == 0 || isBehind, "\(String(decoding: told, as: UTF8.self))")
        return killed
      }
    }
    return 0
  }
}
