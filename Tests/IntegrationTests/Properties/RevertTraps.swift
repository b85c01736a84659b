import Migrate
import MigrateTestSupport
import TestSupport
import Testing

@Suite struct `Revert restores what is ours, and nothing else` {
  static let table = """
    CREATE TABLE t (id integer PRIMARY KEY, v integer, other text);
    INSERT INTO t SELECT n, n, 'kept' FROM generate_series(1, 20) AS n
    """
  static let yaml = "batch: double\nsource: t\nset: {v: v * 2}"

  /// U01 U16
  @Test func `U01 U16: later edits stay, and are listed`() async throws {
    try await withLedger { server in
      try await server.psql(Self.table)
      let applied = try await migrated(Self.yaml, on: server, batchSize: 6)
      try await server.psql(
        """
        UPDATE t SET v = 999 WHERE id = 3;
        UPDATE t SET other = 'edited' WHERE id = 4;
        DELETE FROM t WHERE id IN (5, 6, 7);
        INSERT INTO t VALUES (6, 12, 'again'), (7, 7, 'again');
        UPDATE t SET v = 0 WHERE id = 8;
        UPDATE t SET v = 16 WHERE id = 8;
        INSERT INTO t VALUES (9, 1, 'x') ON CONFLICT (id) DO UPDATE SET v = excluded.v;
        INSERT INTO t VALUES (21, 21, 'new')
        """)
      let before = try await image(of: "t", on: server)
      // Under stop nothing is written.
      #expect(try await reverted(applied.run, on: server) == .conflicts(4))
      #expect(before.differences(to: try await image(of: "t", on: server)) == [])
      // The rows of which nobody but us has said the last word: 6 was made anew with our value, 8 went there and back.
      let expected = try await image(
        of: "t", on: server, after: "UPDATE t SET v = v / 2 WHERE id NOT IN (3, 5, 7, 9, 21)")
      #expect(try await reverted(String(applied.run), on: server, onConflict: .skip) == .reverted(conflicts: 4))
      #expect(expected.differences(to: try await image(of: "t", on: server)) == [])
      #expect(
        try await server.psql("SELECT key, reason, found ->> 'v' FROM migrate.conflicts ORDER BY key[1]::integer")
          == [["{3}", "edited", "999"], ["{5}", "gone", nil], ["{7}", "edited", "7"], ["{9}", "edited", "1"]])
      #expect(
        try await server.psql(
          "SELECT sum(rows_read), sum(rows_changed), sum(rows_rejected) FROM migrate.batches WHERE kind = 'revert'")
          == [["20", "16", "4"]])
    }
  }

  /// U01; a function takes a hundred arguments at most.
  @Test(arguments: [ConflictPolicy.skip, .force])
  func `U01: also of a table of more columns than a function takes arguments`(policy: ConflictPolicy) async throws {
    try await withLedger { server in
      let columns = (1...120).map { "c\($0)" }
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, \(columns.map { "\($0) integer DEFAULT 1" }.joined(separator: ", ")));
        INSERT INTO t (id) VALUES (1), (2)
        """)
      let before = try await image(of: "t", on: server)
      let set = columns.map { "  \($0): \($0) + 1\n" }.joined()
      let applied = try await migrated("batch: wide\nsource: t\nset:\n\(set)", on: server)
      try await server.psql("UPDATE t SET c120 = 7, c119 = NULL WHERE id = 2")
      let isForced = policy == .force
      let outcome = try await reverted(String(applied.run), on: server, onConflict: policy)
      #expect(outcome == .reverted(conflicts: isForced ? 0 : 1))
      #expect(before.differences(to: try await image(of: "t", on: server)).isEmpty == isForced)
      #expect(
        try await server.psql(
          "SELECT key, reason, found ->> 'c120', found -> 'c119', found ->> 'c1' FROM migrate.conflicts")
          == [["{2}", isForced ? "overwritten" : "edited", "7", "null", "2"]])
    }
  }

  /// U01
  @Test func `U01: under force the old values come back, and what was overwritten is kept`() async throws {
    try await withLedger { server in
      try await server.psql(Self.table)
      let before = try await image(of: "t", on: server)
      let applied = try await migrated(Self.yaml, on: server, batchSize: 6)
      try await server.psql("UPDATE t SET v = 999 WHERE id IN (3, 15)")
      #expect(try await reverted(String(applied.run), on: server, onConflict: .force) == .reverted(conflicts: 0))
      #expect(before.differences(to: try await image(of: "t", on: server)) == [])
      #expect(
        try await server.psql("SELECT key, reason, found ->> 'v' FROM migrate.conflicts ORDER BY 1")
          == [["{15}", "overwritten", "999"], ["{3}", "overwritten", "999"]])
    }
  }

  /// U04 U06
  @Test(arguments: [1, 2, 3]) func `U04 U06: a run that stopped on the way goes back from there, in two pieces, too`(
    batches: Int
  ) async throws {
    try await withLedger { server in
      try await server.psql(Self.table)
      let before = try await image(of: "t", on: server)
      let stopped = try await migrated(Self.yaml, on: server, batchSize: 5, stopAfter: batches)
      #expect(stopped.outcome == .paused)
      #expect(try await server.psql("SELECT count(*) FROM t WHERE v = id * 2") == [[String(5 * batches)]])
      var way = Way()
      way.stopAfter = 1
      let first = try await reverted(String(stopped.run), on: server, way)
      #expect(first == (batches == 1 ? .reverted(conflicts: 0) : .paused) || first == .paused)
      if first == .paused {
        #expect(try await reverted(stopped.run, on: server) == .reverted(conflicts: 0))
      }
      #expect(before.differences(to: try await image(of: "t", on: server)) == [])
      #expect(try await server.psql("SELECT state FROM migrate.runs") == [["reverted"]])
    }
  }

  /// U05
  @Test func `U05: a second revert does nothing, one at the same time neither, and apply runs anew`() async throws {
    try await withLedger { server in
      try await server.psql(Self.table)
      let before = try await image(of: "t", on: server)
      let applied = try await migrated(Self.yaml, on: server, batchSize: 1)
      async let first = outcome(applied.run, server)
      async let second = outcome(applied.run, server)
      let outcomes = try await [first, second]
      #expect(outcomes.contains("reverted"), "\(outcomes)")
      #expect(before.differences(to: try await image(of: "t", on: server)) == [])
      let refused = await #expect(throws: Refused.self) { try await reverted(applied.run, on: server) }
      #expect(refused?.description.hasPrefix("run \(applied.run) is reverted already") == true)
      #expect(try await migrated(Self.yaml, on: server).isComplete)
    }
  }

  private func outcome(_ run: Int64, _ server: Server) async throws -> String {
    do { return try await reverted(run, on: server) == .reverted(conflicts: 0) ? "reverted" : "not" } catch let refused
      as Refused
    {
      return refused.description
    }
  }

  /// U07
  @Test func `U07: of two runs over the same rows the newer one goes first`() async throws {
    try await withLedger { server in
      try await server.psql(Self.table)
      let before = try await image(of: "t", on: server)
      let first = try await migrated(Self.yaml, on: server)
      let second = try await migrated("batch: more\nsource: t\nwhere: id > 10\nset: {v: v + 1}", on: server)
      let apart = try await migrated("batch: apart\nsource: t\nset: {other: 'x'}", on: server)
      let refused = await #expect(throws: Refused.self) { try await reverted(first.run, on: server) }
      #expect(
        refused?.description
          == "run \(second.run) of more came later and wrote the same columns\n  help: first: `migrate revert \(second.run)`"
      )
      #expect(try await reverted(second.run, on: server) == .reverted(conflicts: 0))
      #expect(try await reverted(first.run, on: server) == .reverted(conflicts: 0))
      #expect(try await reverted(apart.run, on: server) == .reverted(conflicts: 0))
      #expect(before.differences(to: try await image(of: "t", on: server)) == [])
    }
  }

  /// U10
  @Test func `U10: a run goes on and goes back with the plan it began with; another text is refused`() async throws {
    try await withLedger { server in
      try await server.psql(Self.table)
      let before = try await image(of: "t", on: server)
      let stopped = try await migrated(Self.yaml, on: server, batchSize: 5, stopAfter: 1)
      let edited = "batch: double\nsource: t\nset: {v: v * 3}"
      for (text, says) in [
        (edited, "definition.yaml has changed"), (Self.yaml + " # a comment", "definition.yaml has changed"),
        (Self.yaml, ""),
      ] {
        let compilation = try await compiled(text, on: server)
        let refusal = try await onThread { () -> String in
          let runs = try Runs(on: server)
          let definition = try definition(text)
          guard case .unfinished(let run) = try runs.target(compilation, definition) else {
            return "not unfinished"
          }
          do throws(RunRefusal) { try runs.refuseOther(run, than: compilation.plan, definition) } catch {
            guard case .refused(let message, _) = error else { return "another error" }
            return message
          }
          return ""
        }
        #expect(refusal.hasPrefix(says) && refusal.isEmpty == says.isEmpty, "\(refusal)")
      }
      // A second run of the same name does not begin while the first is unfinished.
      await #expect(throws: Refused.self) { try await migrated(edited, on: server) }
      #expect(try await resumed(stopped.run, on: server) == .completed(leftBehind: 0))
      #expect(try await server.psql("SELECT count(*) FROM t WHERE v = id * 2") == [["20"]])
      #expect(try await reverted("double", on: server) == .reverted(conflicts: 0))
      #expect(before.differences(to: try await image(of: "t", on: server)) == [])
    }
  }

  /// U14 V21
  @Test func `U14: sequences are not taken back, the values are`() async throws {
    try await withLedger { server in
      try await server.psql("\(Self.table); CREATE SEQUENCE s START 100")
      let before = try await image(of: "t", on: server)
      let applied = try await migrated(
        "batch: b\nsource: t\nset:\n  v: nextval('public.s')::integer", on: server, batchSize: 6)
      // Once for each row: nothing was evaluated a second time.
      #expect(try await server.psql("SELECT count(DISTINCT v), min(v), max(v) FROM t") == [["20", "100", "119"]])
      #expect(try await reverted(applied.run, on: server) == .reverted(conflicts: 0))
      #expect(before.differences(to: try await image(of: "t", on: server)) == [])
      #expect(try await server.psql("SELECT last_value FROM s") == [["119"]])
    }
  }

  /// B22: undo: none
  @Test func `without undo a revert is refused`() async throws {
    try await withLedger { server in
      try await server.psql(Self.table)
      let applied = try await migrated(Self.yaml + "\nundo: none", on: server, batchSize: 7)
      #expect(applied.counts == BatchCounts(batches: 3, read: 20, changed: 20))
      let refused = await #expect(throws: Refused.self) { try await reverted(applied.run, on: server) }
      #expect(refused?.description.hasPrefix("run \(applied.run) cannot be reverted") == true)
      #expect(try await server.psql("SELECT count(*) FROM t WHERE v = id * 2") == [["20"]])
    }
  }
}
