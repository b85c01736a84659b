import Migrate
import MigrateTestSupport
import Synchronization
import TestSupport
import Testing

/// `parallel: N`: slices of the key, each walked by one worker at a time.
@Suite struct `Workers` {
  private static let rows = 3_000

  /// Orders with gaps in their keys, more at the end than at the beginning; a seventh of them is not eligible.
  private static let orders = """
    CREATE TABLE orders (id bigint PRIMARY KEY, total numeric NOT NULL, state text NOT NULL, note text UNIQUE);
    INSERT INTO orders
    SELECT (sqrt(n) * 1000)::bigint * 10 + n % 10, n, CASE WHEN n % 7 = 0 THEN 'gone' ELSE 'open' END, 'note ' || n
    FROM   generate_series(1, \(rows)) AS n;
    ANALYZE orders;
    """

  private static let definition = """
    batch: totals
    source: orders
    where: state = 'open'
    set: {total: total * 2 + 1}
    """

  private static let change = "UPDATE orders SET total = total * 2 + 1 WHERE state = 'open'"

  /// Whether each slice is one chain of batches from its first key to its last, and each begins where the one before it ends.
  private static let isWhole = """
    SELECT bool_and(s.after_key IS NOT DISTINCT FROM s.before)
           AND bool_and(coalesce(b.begins, false))
           AND bool_and(s.through_key = (SELECT l.through_key FROM migrate.batches AS l
                                         WHERE l.run = s.run AND l.slice = s.slice AND l.kind = 'apply' ORDER BY l.ordinal DESC LIMIT 1))
           AND max(s.through_key[1]::bigint) = (SELECT max(id) FROM orders)
    FROM  (SELECT *, lag(through_key) OVER (ORDER BY slice) AS before FROM migrate.slices) AS s
    CROSS  JOIN LATERAL (
      SELECT bool_and(c.after_key IS NOT DISTINCT FROM c.expected) AS begins
      FROM  (SELECT b.*, lag(b.through_key, 1, s.after_key) OVER (ORDER BY b.ordinal) AS expected
             FROM   migrate.batches AS b
             WHERE  b.run = s.run AND b.slice = s.slice AND b.kind = 'apply') AS c) AS b
    """

  private static func way(_ workers: Int, size: Int) -> Way {
    var way = Way()
    way.workers = workers
    way.batchSize = size
    return way
  }

  @Test(arguments: [1, 2, 4, 8], [1, 7, 100, 10_000])
  func `K29 P28: any number of them leaves the rows that one statement leaves, and takes them back`(
    workers: Int, size: Int
  ) async throws {
    // A row a batch is slow, and a part of the rows tells as much.
    let part = size == 1 ? "\nDELETE FROM orders WHERE id > 110000;" : ""
    try await withLedger { server in
      try await server.psql(Self.orders + part)
      let before = try await image(of: "orders", on: server)
      let expected = try await image(of: "orders", on: server, after: Self.change)
      let applied = try await migrated(Self.definition, on: server, Self.way(workers, size: size))
      #expect(applied.outcome == .completed(leftBehind: 0))
      #expect(expected.differences(to: try await image(of: "orders", on: server)) == [])
      #expect(try await server.psql(Self.isWhole) == [["t"]])
      #expect(try await server.psql("SELECT bool_and(verdict <> 'not ok') FROM migrate.verify(1)") == [["t"]])
      #expect(try await reverted(applied.run, on: server) == .reverted(conflicts: 0))
      #expect(before.differences(to: try await image(of: "orders", on: server)) == [])
      #expect(try await server.psql("SELECT bool_and(verdict <> 'not ok') FROM migrate.verify(1)") == [["t"]])
    }
  }

  @Test func `cut the keys where the rows are`() async throws {
    try await withLedger { server in
      try await server.psql(Self.orders)
      let plan = try await compiled(Self.definition, on: server, Self.way(4, size: 10)).plan
      #expect(plan.parallel == 4)
      #expect(plan.statements(.bounds).map(\.name) == [.lockers, .upper, .slices])
      let applied = try await migrated(Self.definition, on: server, Self.way(4, size: 10))
      #expect(applied.isComplete)
      let rows = try await server.psql(
        "SELECT sum(rows_read) FROM migrate.batches GROUP BY slice ORDER BY slice"
      ).compactMap { $0[0].flatMap { Int($0) } }
      #expect(rows.count == 32)
      #expect(rows.allSatisfy { (60...100).contains($0) }, "\(rows)")
    }
  }

  @Test func `read a sample of a large table, and not all of it`() async throws {
    try await withLedger { server in
      try await server.psql(
        "CREATE TABLE wide (id int PRIMARY KEY, n int); INSERT INTO wide SELECT n * 2, n FROM generate_series(1, 200000) AS n; ANALYZE wide"
      )
      let definition = "batch: w\nsource: wide\nset: {n: n + 1}"
      let plan = try await compiled(definition, on: server, Self.way(2, size: 10_000)).plan
      let slices = plan.statements(.bounds).first { $0.name == .slices }?.text ?? ""
      #expect(slices.contains("TABLESAMPLE SYSTEM (5.0) REPEATABLE (0)"), "\(slices)")
      let applied = try await migrated(definition, on: server, Self.way(2, size: 10_000))
      #expect(applied.isComplete)
      #expect(try await server.psql("SELECT count(*), sum(n - id / 2) FROM wide") == [["200000", "200000"]])
      let rows = try await server.psql("SELECT sum(rows_read) FROM migrate.batches GROUP BY slice").compactMap {
        $0[0].flatMap { Int($0) }
      }
      #expect(rows.count == 5 && rows.allSatisfy { (20_000...70_000).contains($0) }, "\(rows)")
    }
  }

  @Test func `take the keys that were collected`() async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE seldom (id int PRIMARY KEY, n int NOT NULL);
        INSERT INTO seldom SELECT n, n FROM generate_series(1, 120000) AS n;
        ANALYZE seldom;
        """)
      let definition = "batch: s\nsource: seldom\nwhere: n % 1000 = 7\nset: {n: n + 1000000}"
      let applied = try await migrated(definition, on: server, Self.way(3, size: 10))
      #expect(applied.isComplete)
      #expect(applied.plan.statements(.bounds).map(\.name).contains(.collect))
      #expect(applied.counts.changed == 120)
      #expect(try await server.psql("SELECT count(*) FROM seldom WHERE n > 1000000") == [["120"]])
      #expect(try await server.psql("SELECT count(DISTINCT slice) > 3 FROM migrate.batches") == [["t"]])
      #expect(try await server.psql("SELECT bool_and(verdict <> 'not ok') FROM migrate.verify(1)") == [["t"]])
    }
  }

  @Test func `C10 P02: whoever loses the connection goes on, and what is done stays done`() async throws {
    try await withLedger { server in
      try await server.psql(Self.orders)
      let expected = try await image(of: "orders", on: server, after: Self.change)
      var way = Self.way(4, size: 20)
      let seen = Mutex(0)
      let terminated = Mutex(0)
      way.watch = { event in
        guard case .batch = event,
          seen.withLock({ count in
            count += 1; return count
          }) % 9 == 0
        else { return }
        // From the thread of a worker, whose own connection may be among them.
        let ended = try? Connection(to: server).query(
          """
          SELECT count(pg_terminate_backend(pid)) AS ended FROM pg_stat_activity
          WHERE application_name LIKE 'migrate run%' AND datname = current_database() AND pid % 2 = \(Int.random(in: 0...1))
          """
        ).onlyRow.int(0)
        terminated.withLock { $0 += ended ?? 0 }
      }
      let applied = try await migrated(Self.definition, on: server, way)
      #expect(applied.outcome == .completed(leftBehind: 0))
      #expect(terminated.withLock { $0 } > 5)
      #expect(expected.differences(to: try await image(of: "orders", on: server)) == [])
      #expect(try await server.psql(Self.isWhole) == [["t"]])
    }
  }

  /// Each batch rests, and two of them beside each other bring twice as many rows as one.
  @Test func `are two at first, and all when that makes the run faster`() async throws {
    try await withLedger { server in
      try await server.psql(
        Self.orders + """
          CREATE FUNCTION rest() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.2); RETURN NULL; END $$;
          CREATE TRIGGER rest BEFORE UPDATE ON orders FOR EACH STATEMENT EXECUTE FUNCTION rest();
          """)
      let expected = try await image(of: "orders", on: server, after: Self.change)
      var way = Self.way(4, size: 20)
      way.crew = .asNeeded(behind: .seconds(2))
      let applied = try await migrated(Self.definition, on: server, way)
      #expect(applied.outcome == .completed(leftBehind: 0))
      #expect(expected.differences(to: try await image(of: "orders", on: server)) == [])
      let workers = applied.events.compactMap { if case .batch(let record) = $0 { record.worker } else { nil } }
      #expect(Set(workers) == [1, 2, 3, 4])
      #expect(applied.events.contains { if case .left(4) = $0 { true } else { false } })
      // Those that had to be done before it could be told.
      #expect(workers.prefix { $0 <= 2 }.count >= 8)
    }
  }

  @Test func `P15: are all at rest before the run is paused, and all go on`() async throws {
    try await withLedger { server in
      try await server.psql(Self.orders)
      var way = Self.way(4, size: 10)
      let asked = Mutex(false)
      let paused = Mutex<[Int]>([])
      way.watch = { event in
        switch event {
        case .batch
        where asked.withLock({ known in
          defer { known = true }; return !known
        }):
          _ = try? Connection(to: server).query("SELECT migrate.pause(1)")
        case .paused:
          // Two looks, between which nothing moves.
          for _ in 1...2 {
            let count = try? Connection(to: server).query("SELECT count(*) AS n, pg_sleep(0.3) FROM migrate.batches")
              .onlyRow.int("n")
            paused.withLock { $0.append(count ?? -1) }
          }
          _ = try? Connection(to: server).query("SELECT migrate.resume(1)")
        default: break
        }
      }
      let applied = try await migrated(Self.definition, on: server, way)
      #expect(applied.outcome == .completed(leftBehind: 0))
      let counts = paused.withLock { $0 }
      #expect(counts.count == 2 && counts[0] == counts[1] && counts[0] < 200, "\(counts)")
      #expect(applied.events.count { if case .resumed = $0 { true } else { false } } == 1)
    }
  }

  @Test func `P14: leave all when one is told to, and go on later`() async throws {
    try await withLedger { server in
      try await server.psql(Self.orders)
      let expected = try await image(of: "orders", on: server, after: Self.change)
      var way = Self.way(4, size: 10)
      way.stopAfter = 20
      let applied = try await migrated(Self.definition, on: server, way)
      #expect(applied.outcome == .paused)
      #expect(try await server.psql("SELECT state FROM migrate.runs") == [["paused"]])
      #expect(try await server.psql("SELECT count(*) FROM migrate.workers") == [["0"]])
      #expect(try await resumed(applied.run, on: server) == .completed(leftBehind: 0))
      #expect(expected.differences(to: try await image(of: "orders", on: server)) == [])
      #expect(try await server.psql(Self.isWhole) == [["t"]])
    }
  }

  @Test func `end with the one whose batch fails, and go on behind it`() async throws {
    try await withLedger { server in
      try await server.psql(Self.orders + "ALTER TABLE orders ADD CHECK (total <> 4001);")
      let applied = try await migrated(Self.definition, on: server, Self.way(4, size: 10))
      #expect(applied.failure?.sqlState == "23514")
      #expect(try await server.psql("SELECT state, failure ->> 'sqlstate' FROM migrate.runs") == [["failed", "23514"]])
      try await server.psql("ALTER TABLE orders DROP CONSTRAINT orders_total_check")
      #expect(try await resumed(applied.run, on: server) == .completed(leftBehind: 0))
      #expect(try await server.psql(Self.isWhole) == [["t"]])
      #expect(try await server.psql("SELECT count(*) FROM orders WHERE total = 4001") == [["1"]])
    }
  }

  @Test func `P29: who gets no connection is missed by nobody`() async throws {
    try await withDatabase { server in
      let name = try await server.psql("SELECT current_database()")[0][0] ?? ""
      let few = "few_\(name)"
      try await server.psql(
        Self.orders
          + """
          CREATE ROLE \(few) LOGIN CONNECTION LIMIT 4;
          GRANT CREATE ON DATABASE \(name) TO \(few);
          GRANT SELECT, UPDATE ON orders TO \(few);
          """)
      let applied = try await migrated(Self.definition, on: server.setting("user", few), Self.way(8, size: 10))
      try await server.psql("REASSIGN OWNED BY \(few) TO current_user; DROP OWNED BY \(few); DROP ROLE \(few)")
      #expect(applied.outcome == .completed(leftBehind: 0))
      let missing = applied.events.compactMap { event -> String? in
        if case .shorthanded(_, let reason) = event { reason } else { nil }
      }
      #expect(missing.count >= 5, "\(missing)")
      #expect(missing.allSatisfy { $0.contains("too many connections") }, "\(missing)")
      #expect(try await server.psql(Self.isWhole) == [["t"]])
    }
  }

  @Test func `are as many as they are tuned to`() async throws {
    try await withLedger { server in
      try await server.psql(Self.orders)
      let expected = try await image(of: "orders", on: server, after: Self.change)
      var way = Self.way(2, size: 5)
      let seen = Mutex<(batches: Int, workers: [Set<Int>])>((0, [[], [], []]))
      way.watch = { event in
        guard case .batch(let record) = event else { return }
        let batches = seen.withLock { seen in
          seen.batches += 1
          seen.workers[min(2, seen.batches / 150)].insert(record.worker)
          return seen.batches
        }
        let wanted = [100: 5, 250: 1][batches]
        guard let wanted else { return }
        do { try Connection(to: server).query("SELECT migrate.tune(1, _workers => \(wanted))") } catch {
          Issue.record(error)
        }
      }
      let applied = try await migrated(Self.definition, on: server, way)
      #expect(applied.outcome == .completed(leftBehind: 0))
      let workers = seen.withLock { $0.workers }
      #expect(workers[0].isSuperset(of: [1, 2]), "\(workers)")
      #expect(workers[1] == [1, 2, 3, 4, 5], "\(workers)")
      #expect(workers[2].contains(1), "\(workers)")
      // Whoever had a batch in hand has ended it.
      #expect(
        try await server.psql(
          "SELECT count(DISTINCT slice) FROM (SELECT slice FROM migrate.batches ORDER BY seq DESC LIMIT 150) AS b")[0][
            0
          ].flatMap { Int($0) } ?? 0 < 20)
      #expect(expected.differences(to: try await image(of: "orders", on: server)) == [])
      #expect(try await server.psql(Self.isWhole) == [["t"]])
    }
  }

  @Test func `are not more than one where the keys are not cut`() async throws {
    try await withLedger { server in
      try await server.psql(Self.orders)
      var way = Self.way(1, size: 10)
      way.stopAfter = 5
      let applied = try await migrated(Self.definition, on: server, way)
      await #expect(throws: PostgresError.self) {
        try await server.psql("SELECT migrate.tune(\(applied.run), _workers => 3)")
      }
      try await server.psql("SELECT migrate.tune(\(applied.run), _workers => 1)")
    }
  }

  @Test func `are one where it would matter who comes first`() async throws {
    try await withLedger { server in
      try await server.psql(Self.orders)
      let definition = "batch: n\nsource: orders\non_error: continue\nset: {note: {sql: \"left(note, 7)\"}}"
      let compiled = try await compiled(definition, on: server, Self.way(4, size: 10))
      #expect(compiled.plan.parallel == 1)
      #expect(compiled.warnings.all.map(\.code).contains("one-worker"))
    }
  }
}
