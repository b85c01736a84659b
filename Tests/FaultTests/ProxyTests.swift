import MigratePostgres
import MigrateRunner
import MigrateTestSupport
import RunTestSupport
import TestSupport
import Testing

/// H1; a client whose connection breaks at its N-th message, for every N, in three ways.
@Suite(.serialized) struct `A connection that breaks` {
  /// P03; COMMIT is sent and no answer comes: nobody knows, but the ledger does.
  @Test(arguments: Proxy.Place.allCases) func `P03: at a commit loses nothing and does nothing twice`(
    place: Proxy.Place
  ) async throws {
    try await withProxy { proxy, server in
      for number in 1... {
        guard try await Self.survive(proxy, server, place, at: .commit(number)) else {
          // All commits of a run of four batches, forward or back.
          #expect(number > 8)
          return
        }
      }
    }
  }

  /// P01, U06, U08; under torture each message, otherwise a sample.
  @Test(arguments: Proxy.Place.allCases) func `H1 U06 U08: at any message loses nothing and does nothing twice`(
    place: Proxy.Place
  ) async throws {
    var random = Torture.random("proxy \(place)")
    try await withProxy { proxy, server in
      if Torture.isOn {
        for number in 1... {
          guard try await Self.survive(proxy, server, place, at: .number(number)) else { return }
        }
      } else {
        // A few less, so that each is one which a run comes to.
        let most = try await Self.messagesOfApply(proxy, server) * 9 / 10
        for _ in 1...8 {
          let number = Int.random(in: 1...most, using: &random)
          #expect(try await Self.survive(proxy, server, place, at: .number(number)), "no cut at \(number) of \(most)")
        }
      }
    }
  }

  private static func messagesOfApply(_ proxy: Proxy, _ server: Server) async throws -> Int {
    _ = try await Shop.fresh(server, rows: 40)
    proxy.cut(.before, at: .number(.max))
    _ = try await Client(server: proxy.through(server), definition: Shop.definition).apply()
    #expect(!proxy.disarm())
    return proxy.messages
  }

  /// Applies and reverts with a cut on either way.
  /// - Returns: whether either cut was made.
  private static func survive(
    _ proxy: Proxy, _ server: Server, _ place: Proxy.Place, at message: Proxy.Message
  ) async throws -> Bool {
    let shop = try await Shop.fresh(server, rows: 40)
    let client = Client(server: proxy.through(server), definition: Shop.definition)
    proxy.cut(place, at: message)
    let applied = try await client.apply()
    var isCut = proxy.disarm()
    #expect(applied == .completed(leftBehind: 0), "cut \(place) \(message)")
    let run = try await shop.newestRun
    #expect(try await shop.complaints(afterApplying: run) == [], "cut \(place) \(message)")
    proxy.cut(place, at: message)
    let reverted = try await client.revert(run)
    isCut = proxy.disarm() || isCut
    #expect(reverted == .reverted(conflicts: 0), "cut \(place) \(message)")
    #expect(try await shop.complaints(afterReverting: run) == [], "cut \(place) \(message)")
    return isCut
  }
}

/// Runs `body` with a database and a proxy in front of its server.
func withProxy(_ body: (Proxy, Server) async throws -> Void) async throws {
  let upstream = try await TestCluster.shared.socketFolder
  try await withFolder { folder in
    let proxy = try Proxy(folder: folder, to: upstream)
    defer { proxy.close() }
    try await withLedger { server in try await body(proxy, server) }
  }
}
