import Migrate
import MigrateTestSupport
import TestSupport
import Testing

@Suite struct `What one statement gives, batches give` {
  /// Rows in a batch, and who does the batches.
  static let ways = [(1, 1), (2, 4), (3, 1), (7, 2), (1000, 1), (1_000_000, 8)]

  @Test(arguments: KeyShape.all)
  func `K01 K05 K06 K07 K08 K10 K11 K12 K13 K14 K15 K16 K18 V07 P28: any batch size gives what one statement gives`(
    shape: KeyShape
  ) async throws {
    try await withLedger { server in
      try await server.psql(shape.schema)
      let before = try await image(of: "t", on: server)
      // psql's answer, rolled back.
      let expected = try await image(
        of: "t", on: server, after: "UPDATE t SET n = n + 20, note = 'done ' || n WHERE n % 3 <> 1")
      let eligible = try await server.psql("SELECT count(*) FROM t WHERE n % 3 <> 1")[0][0].flatMap { Int($0) } ?? 0
      for (size, workers) in Sample.some(Self.ways, 2, of: "\(shape)") {
        let definition = """
          batch: sized_\(size)
          source: t
          where: n % 3 <> 1
          set:
            n: n + 20
            note: |
              'done ' || n
          """
        var way = Way()
        way.batchSize = size
        way.workers = workers
        let applied = try await migrated(definition, on: server, way)
        #expect(applied.outcome == .completed(leftBehind: 0), "size \(size), workers \(workers)")
        #expect(
          expected.differences(to: try await image(of: "t", on: server)) == [], "size \(size), workers \(workers)")
        #expect(applied.counts.read == eligible, "size \(size), workers \(workers)")
        #expect(applied.counts.changed == eligible, "size \(size), workers \(workers)")
        #expect(
          try await reverted(applied.run, on: server) == .reverted(conflicts: 0), "size \(size), workers \(workers)")
        #expect(before.differences(to: try await image(of: "t", on: server)) == [], "size \(size), workers \(workers)")
      }
    }
  }

}
