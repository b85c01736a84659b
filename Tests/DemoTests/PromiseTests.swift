import Foundation
import Migrate
import TestSupport
import Testing

@Suite struct `Promise 1, nothing is lost` {
  @Test func `a killed client's run goes on, each row is changed once, and revert restores all`() async throws {
    try await Shop.with { shop in
      let before = try await shop.checksums()
      let expected = try await shop.products(after: Shop.raise)
      try await onThread {
        let process = try Program.migrate(
          "apply", "raise_prices", "--yes", "--quiet", "--batch-size", "20", database: shop.server)
        process.standardOutput = FileHandle.nullDevice
        try Program.start(process)
        let connection = try Connection(to: shop.server)
        try connection.awaitBatches(5)
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
        #expect(try connection.query("SELECT state FROM migrate.runs").onlyRow.text(0) == "running")
      }
      #expect(try await shop.checksums() != before)
      #expect(try await shop.checksums()["products"] != expected)

      #expect(try await shop.apply("raise_prices", batchSize: 20) == .completed(leftBehind: 0))
      #expect(try await shop.checksums()["products"] == expected)
      #expect(try await shop.revert("raise_prices") == .reverted(conflicts: 0))
      #expect(try await shop.checksums() == before)
    }
  }

  @Test func `Ctrl-C pauses between two batches with exit code 4, and apply goes on there`() async throws {
    try await Shop.with { shop in
      let expected = try await shop.products(after: Shop.raise)
      let ended = try await onThread {
        let process = try Program.migrate("apply", "raise_prices", "--yes", "--batch-size", "20", database: shop.server)
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = FileHandle.nullDevice
        try Program.start(process)
        let connection = try Connection(to: shop.server)
        try connection.awaitBatches(5)
        kill(process.processIdentifier, SIGINT)
        let text = String(decoding: try pipe.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
        process.waitUntilExit()
        return (process.terminationStatus, text)
      }
      #expect(ended.0 == 4)
      #expect(ended.1.contains("run 1 paused "))
      #expect(try await shop.apply("raise_prices", batchSize: 20) == .completed(leftBehind: 0))
      #expect(try await shop.checksums()["products"] == expected)
      #expect(try await shop.server.psql("SELECT count(*) FROM migrate.runs") == [["1"]])
    }
  }

  @Test func `what was edited since is a conflict and stays, and the rest comes back`() async throws {
    try await Shop.with { shop in
      let before = try await shop.checksums()
      #expect(try await shop.apply("raise_prices") == .completed(leftBehind: 0))
      try await shop.server.psql(
        """
        UPDATE shop.products SET price = 1.23
        WHERE  id IN (SELECT id FROM shop.products WHERE status = 'active' LIMIT 3)
        """)
      let edited = try await shop.checksums()
      #expect(try await shop.revert("raise_prices") == .conflicts(3))
      #expect(try await shop.checksums() == edited)
      #expect(try await shop.revert("raise_prices", onConflict: .skip) == .reverted(conflicts: 3))
      let rows = try await shop.server.psql("SELECT count(*) FROM shop.products WHERE price = 1.23")
      #expect(rows == [["3"]])
      // With the three put back by hand, from what the ledger has kept, all is as it was.
      try await shop.server.psql(
        """
        UPDATE shop.products AS p SET price = u.o FROM migrate.undo_1_1 AS b, unnest(b.k_1, b.o_6) AS u(k, o)
        WHERE p.id = u.k AND p.price = 1.23
        """)
      #expect(try await shop.checksums() == before)
    }
  }
}

@Suite struct `Promise 2, what is previewed is what runs` {
  @Test func `the server logs the statements of the plan, character for character`() async throws {
    let log = try await TestCluster.shared.log
    try await Shop.with(loggingStatements: true) { shop in
      let plan = try await shop.plan("raise_prices").plan
      let shown = Preview(plan).sql.replacingOccurrences(of: "{run}", with: "1")
      let mark = try await log.mark(shop.server)
      #expect(try await shop.apply("raise_prices") == .completed(leftBehind: 0))
      #expect(try await shop.revert("raise_prices") == .reverted(conflicts: 0))
      let logged = try await log.statements(application: "migrate run 1 raise_prices", since: mark, shop.server)
        .map(\.text).filter { $0.contains("\"shop\"") || $0.contains("migrate.undo_") }
      #expect(logged.count > 8)
      for text in logged {
        // Settings and lock come in one message with BEGIN and the name of the session.
        let statements = text.hasPrefix("BEGIN ") ? text.components(separatedBy: "; ").dropFirst(2).dropLast() : [text]
        #expect(!statements.isEmpty)
        for statement in statements { #expect(shown.contains("\n\(statement);\n"), "\(text)") }
      }
    }
  }
}

@Suite struct `Promise 3, set-based` {
  @Test func `a batch takes the same few statements whatever its size`() async throws {
    let log = try await TestCluster.shared.log
    var counts: [Int: Int] = [:]
    for size in [10, 10_000] {
      counts[size] = try await Shop.with(loggingStatements: true) { shop in
        let mark = try await log.mark(shop.server)
        // Of a definition that no other test logs: the log is the cluster's, and knows runs by their name.
        #expect(try await shop.apply("release_stock", batchSize: size) == .completed(leftBehind: 0))
        let batches = try await shop.server.psql("SELECT count(*) FROM migrate.batches")
        let statements = try await log.statements(application: "migrate run 1 release_stock", since: mark, shop.server)
        let inBatches = statements.count { $0.text.contains("\"shop\"") }
        let number = try #require(batches.first?.first.flatMap(\.self).flatMap { Int($0) })
        #expect(size == 10 ? number > 15 : number == 1)
        return inBatches / number
      }
    }
    // lock, bound, capture, change; the run's own few (lock, upper, left behind) weigh where there is one batch.
    #expect(counts[10] == 4)
    #expect((counts[10_000] ?? 0) <= 10)
  }
}

@Suite struct `Promise 4, errors explain themselves` {
  @Test func `each names file, line and column, shows the place, and says how to mend it`() async throws {
    try await Shop.with { shop in
      try await withFolder { folder in
        let text = try Repository.text("migrations/demo/raise_prices.yaml")
        try text.replacing("* :multiplier", with: "* multipler").write(
          toFile: folder + "/raise_prices.yaml", atomically: true, encoding: .utf8)
        let process = try Program.migrate("plan", "raise_prices", "--dir", folder, database: shop.server)
        let (status, output) = try await onThread { try Program.output(of: process) }
        #expect(status == 2)
        #expect(output.contains("\(folder)/raise_prices.yaml:7:24: error: "))
        #expect(output.contains("\n  7 |   price: round(price * multipler, 2)\n"))
        #expect(output.contains("\n    |                        ^^^^^^^^^\n"))
        #expect(output.contains("\n  help: did you mean `:multiplier`, a parameter of this definition?\n"))
      }
    }
  }
}

extension Connection {
  /// Returns when `count` batches have committed.
  fileprivate borrowing func awaitBatches(_ count: Int) throws {
    let deadline = ContinuousClock.now + .seconds(60)
    while ContinuousClock.now < deadline {
      if try query("SELECT to_regclass('migrate.batches') IS NOT NULL AS there").onlyRow.bool("there"),
        try query("SELECT count(*) FROM migrate.batches").onlyRow.int(0) >= count
      {
        return
      }
      usleep(1_000)
    }
    throw TestSupportError("there are no \(count) batches")
  }
}
