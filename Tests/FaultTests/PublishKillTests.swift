import Foundation
import MigratePostgres
import MigrateTestSupport
import RunTestSupport
import TestSupport
import Testing

/// P01 of what is shown at once: whenever the client is killed, all of it can be seen or nothing.
@Suite struct `A publication that is killed` {
  private static let definition = """
    batch: prices
    source: goods
    where: id % 10 > 0
    set: {price: cost * 2}
    publish: at_once
    batch_size: 500
    """
  private static let tables = """
    CREATE TABLE goods (id bigint PRIMARY KEY, price integer NOT NULL, cost integer NOT NULL);
    INSERT INTO goods SELECT n, 0, n FROM generate_series(1, 6000) AS n;
    CREATE INDEX ON goods (price);
    """
  /// How many rows have changed.
  private static let changed = "SELECT count(*) FROM goods WHERE price <> 0"
  private static let image = "SELECT md5(string_agg(CAST(g AS text), ',' ORDER BY id)) FROM goods AS g"

  @Test(arguments: [["apply", "prices", "--yes"], ["revert", "1", "--yes"]])
  func `P01: shows nothing of a publication that is killed, and all of it afterwards`(command: [String]) async throws {
    var random = Torture.random("kills of a publication, \(command[0])")
    try await withLedger { server in
      try await server.psql(Self.tables)
      let before = try await server.psql(Self.image)
      try await withFolder { folder in
        let program = try Program(folder: folder, server: server, definition: Self.definition)
        if command[0] == "revert" {
          #expect(await (try program.start(["apply", "prices", "--yes"])).wait() == .exited(0))
        }
        var killed = 0
        while true {
          let process = try program.start(command)
          if killed < Torture.count(8, torture: 100) {
            try await Task.sleep(for: .milliseconds(Int.random(in: 20...300, using: &random)))
            process.kill()
          }
          let status = await process.wait()
          let seen = try await server.psql(Self.changed).first?.first ?? nil
          #expect(["0", "5400"].contains(seen), "\(seen ?? "")")
          if status != .killed {
            #expect(status == .exited(0) || command[0] == "revert", "\(program.output)")
            break
          }
          killed += 1
        }
        if command[0] == "apply" {
          #expect(
            try await server.psql("SELECT count(*) FROM goods WHERE id % 10 > 0 AND price = cost * 2") == [["5400"]])
          #expect(await (try program.start(["revert", "1", "--yes"])).wait() == .exited(0))
        }
        #expect(try await server.psql(Self.image) == before)
      }
    }
  }
}
