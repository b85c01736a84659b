import Migrate
import MigrateLedger
import MigrateRunner
import RunTestSupport
import TestSupport
import Testing

/// What keeps others from taking a run over from a client that lives.
@Suite struct `A worker gives signs of life` {
  private static let age = "UPDATE migrate.workers SET heartbeat_at = now() - interval '1 minute'"

  /// A try that is rolled back takes its own sign back with it.
  @Test func `while its batch waits for a row, try after try`() async throws {
    try await withShop { shop in
      let run = try await shop.begin()
      try await withSessions("holder", to: shop.server) { sessions in
        let holder = try #require(sessions["holder"])
        try await holder.execute("BEGIN; SELECT FROM shop.products WHERE id = 50 FOR UPDATE")
        let outcome = try await shop.trial.applying(run) {
          try await shop.trial.waitUntilWorkerBlocked(by: holder)
          for _ in 1...2 {
            try await shop.server.psql(Self.age)
            try await shop.trial.wait(until: "SELECT max(heartbeat_at) > now() - interval '30 s' FROM migrate.workers")
          }
          try await holder.execute("COMMIT")
        }
        #expect(outcome == .completed(leftBehind: 0))
      }
      #expect(try await shop.wrong(run) == Shop.Wrong())
    }
  }

  @Test func `between two statements of a batch that takes long`() async throws {
    try await withShop { shop in
      let run = try await shop.begin()
      try await withSessions("migrate run by hand", to: shop.server) { sessions in
        let hand = try #require(sessions["migrate run by hand"])
        try await hand.execute("SELECT migrate.enlist(\(run), 1, 1, NULL)")
        try await shop.server.psql(Self.age)
        #expect(try await shop.trial.value("SELECT migrate.is_working(\(run))") == "f")
        try await hand.execute("BEGIN; SELECT FROM shop.products")
        #expect(try await shop.trial.value("SELECT migrate.is_working(\(run))") == "t")
        // One that was stopped there gives none.
        try await shop.trial.wait(until: "SELECT NOT migrate.is_working(\(run))")
      }
    }
  }
}
