import Migrate
import MigrateLedger
import MigratePostgres
import RunTestSupport
import TestSupport
import Testing

@Suite struct `A plan of another version` {
  @Test(arguments: ["fetch", "wrapper for column x"])
  func `with a statement that this version does not know is refused, and nothing is written`(name: String) async throws
  {
    try await withShop { shop in
      let run = try await shop.begin()
      try await shop.server.psql("UPDATE migrate.statements SET name = '\(name)' WHERE name = 'capture locked'")
      let refusal = await #expect(throws: RunRefusal.self) { try await shop.trial.apply(run) }
      guard case .database(let error) = refusal else { throw TestSupportError("\(refusal, default: "nothing")") }
      #expect(
        error.message
          == "run \(run) has statement \(name), which this version does not know; its plan was made by another version")
      #expect(try await shop.strangers.isEmpty)
    }
  }
}
