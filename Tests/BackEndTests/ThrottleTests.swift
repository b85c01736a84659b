import MigrateLedger
import MigratePlan
import MigratePostgres
import MigrateRunner
import MigrateTestSupport
import Synchronization
import TestRuns
import TestSupport
import Testing

/// How fast a run goes, the same by whoever runs it.
@Suite struct `The pace of a run` {
  @Test(arguments: BackEnd.allCases)
  func `sizes its batches by what they take, and does what one statement does`(by backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 60_000))
      let expected = try await server.rows(Products.expected)
      let compiled = try await Compiled(Products.definition, on: server)
      #expect(compiled.plan.pace.sizing == .automatic(target: .milliseconds(500)))
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.has(expected))
      let sizes = try await server.rows("SELECT rows_read FROM migrate.batches ORDER BY seq").compactMap { Int($0) }
      #expect(sizes.first == 1_000)
      for (before, after) in zip(sizes, sizes.dropFirst()) { #expect(after <= 2 * before + 1) }
      #expect((sizes.max() ?? 0) > 2_000, "\(sizes)")
      #expect(try await Client.verify(1, on: server).holds)
      let back = try await backEnd.revert(compiled, on: server)
      #expect(back.isDone, "\(back.text)")
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `remembers the size of its batches when it is gone on with`(by backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 40_000))
      let compiled = try await Compiled(Products.definition, on: server)
      let control = RunControl()
      let batches = Atomic(0)
      _ = try await Client.apply(compiled, on: server, control: control) { event in
        guard case .batch = event else { return }
        if batches.add(1, ordering: .relaxed).newValue == 4 { control.requestStop() }
      }
      let next = try #require(try await server.value("SELECT migrate.size_of(1, 0, 'auto', '500ms')"))
      let last = try #require(try await server.value("SELECT rows_read FROM migrate.batches ORDER BY seq DESC LIMIT 1"))
      #expect(try #require(Int(next)) >= #require(Int(last)) / 2)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.value("SELECT rows_read FROM migrate.batches WHERE ordinal = 5") == next)
    }
  }

  @Test func `takes the next size as the ledger does`() async throws {
    try await withLedger { server in
      try await withConnection(to: server) { connection in
        try Upgrade.run(connection)
        for size in [1, 99, 100, 1_000, 7_777, 50_000, 100_000, 1_000_000] {
          for taken in [0, 1, 40, 249, 399, 400, 500, 624, 626, 2_000, 60_000] {
            let mine = BatchSizing.next(
              after: size, taking: .milliseconds(taken), target: .milliseconds(500))
            let ledger = try connection.query(
              "SELECT migrate.next_size($1::bigint, $2::interval, '500ms')", [String(size), "\(taken)ms"])
            #expect(try ledger.onlyRow.int(0) == mine)
            if try ledger.onlyRow.int(0) != mine { print(size, taken, mine, try ledger.onlyRow.int(0)) }
          }
        }
      }
    }
  }

  /// A batch's time is a fixed part and one for each row; wherever the size begins, it comes to the target from one side and stays.
  @Test(arguments: [1, 1_000, 100_000], [0.0, 5, 100])
  func `comes to its target without swinging`(begin: Int, fixed: Double) {
    for microseconds in [5.0, 40, 400] {
      let time = { (size: Int) in Duration.milliseconds(fixed) + .microseconds(microseconds * Double(size)) }
      var sizes = [begin]
      for _ in 0..<40 {
        let size = sizes[sizes.count - 1]
        sizes.append(BatchSizing.next(after: size, taking: time(size), target: .milliseconds(500)))
      }
      let steps = zip(sizes.dropFirst(), sizes.dropFirst(2)).map { $1 - $0 }.filter { $0 != 0 }
      #expect(steps.allSatisfy { $0 > 0 } || steps.allSatisfy { $0 < 0 }, "\(sizes)")
      let last = sizes[sizes.count - 1]
      #expect((0.79...1.26).contains(.milliseconds(500) / time(last)) || BatchSizing.bounds.upperBound == last)
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `rests between batches`(by backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 700))
      let yaml = Products.definition + "\nbatch_size: 200\nthrottle: {pause: 300ms}\n"
      let compiled = try await Compiled(yaml, on: server)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      let gaps = try await server.value(
        """
        SELECT (count(*) >= 2) || ' ' || bool_and(gap >= interval '300 ms') FROM (
          SELECT started_at - lag(ended_at) OVER (ORDER BY seq) AS gap FROM migrate.batches) AS g
        WHERE gap IS NOT NULL
        """)
      #expect(gaps == "true true")
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `keeps to its rate`(by backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 2_333))
      let yaml = Products.definition + "\nthrottle: {max_rate: 1000}\n"
      let compiled = try await Compiled(yaml, on: server)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      // The last batch's own share is not waited for.
      let paced = try await server.value(
        """
        SELECT extract(epoch FROM max(started_at) - min(started_at)) >= sum(rows_read) FILTER (WHERE NOT is_last) / 1000.0
               AND extract(epoch FROM max(started_at) - min(started_at)) < 60
        FROM  (SELECT *, seq = max(seq) OVER () AS is_last FROM migrate.batches) AS b
        """)
      #expect(paced == "t")
    }
  }

  /// The last part of each batch is one row.
  @Test(arguments: BackEnd.allCases)
  func `keeps to its rate behind batches that were done in parts`(by backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, v integer CHECK (v < 1000 OR v % 50 > 0));
        INSERT INTO t SELECT n, n FROM generate_series(1, 150) AS n; ANALYZE t
        """)
      let compiled = try await Compiled(
        "batch: t\nsource: t\nset: {v: v + 1000}\non_error: continue\nthrottle: {max_rate: 100}", on: server,
        batchSize: 50
      )
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      let paced = try await server.rows(
        """
        SELECT count(*), bool_or(parts > 1),
               max(begun) - (SELECT bounded_at FROM migrate.runs) >= sum(rows) FILTER (WHERE NOT is_last) / 100.0 * interval '1 s'
        FROM  (SELECT min(started_at) AS begun, sum(rows_read) AS rows, count(*) AS parts,
                      ordinal = max(ordinal) OVER () AS is_last
               FROM   migrate.batches
               GROUP  BY ordinal) AS b
        """)
      // The time of the tries before the one that went through counts as well.
      #expect(paced == ["3|t|t"])
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `is tuned while it runs, from its next batch on`(by backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 7_000))
      let yaml = Products.definition + "\nbatch_size: 50\nthrottle: {pause: 200ms}\n"
      let compiled = try await Compiled(yaml, on: server)
      async let applied = backEnd.apply(compiled, on: server)
      try await server.wait(until: "(SELECT count(*) >= 2 FROM migrate.batches)")
      try await server.psql("SELECT migrate.tune(1, _batch_size => 3000, _pause => '0')")
      let told = try await applied
      #expect(told.isDone, "\(told.text)")
      let sizes = try await server.rows(
        "SELECT DISTINCT rows_read FROM migrate.batches WHERE ordinal < (SELECT max(ordinal) FROM migrate.batches) ORDER BY 1"
      )
      #expect(sizes == ["50", "3000"])
      let refused = await #expect(throws: PostgresError.self) {
        try await server.psql("SELECT migrate.tune(1, _batch_size => 10)")
      }
      #expect(refused?.message == "run 1 is completed, so there is nothing to tune")
    }
  }

  /// A rest that has begun already is no longer than what is said now.
  @Test(arguments: BackEnd.allCases, [("{pause: 1h}", "_pause => '0'"), ("{max_rate: 1}", "_max_rate => 0")])
  func `ends a rest when it is tuned`(by backEnd: BackEnd, throttle: (said: String, tuned: String)) async throws {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 400))
      let expected = try await server.rows(Products.expected)
      let yaml = Products.definition + "\nbatch_size: 300\nthrottle: \(throttle.said)\n"
      let compiled = try await Compiled(yaml, on: server)
      async let applied = backEnd.apply(compiled, on: server)
      try await server.wait(until: "(SELECT count(*) = 1 FROM migrate.batches)")
      // It rests by now.
      try await Task.sleep(for: .milliseconds(100))
      try await server.psql("SELECT migrate.tune(1, \(throttle.tuned))")
      do { try await server.wait(until: "(SELECT state = 'completed' FROM migrate.runs)") } catch {
        try await server.psql("SELECT migrate.cancel(1)")
        throw error
      }
      let told = try await applied
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.has(expected))
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `says on its way back what slows it down, and how to lift that`(by backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 200) + "CREATE TABLE busy (n int)")
      let before = try await server.rows(Products.all)
      let plain = try await Compiled(Products.definition, on: server)
      #expect(try await backEnd.apply(plain, on: server).isDone)
      let unhindered = try await backEnd.revert(plain, on: server)
      #expect(unhindered.isDone && !unhindered.text.contains("keeps to"), "\(unhindered.text)")
      #expect(try await server.value("SELECT migrate.brakes(1)") == nil)

      // Open for six hours yet.
      let window = try #require(
        try await server.value(
          """
          SELECT string_agg(to_char(now() AT TIME ZONE 'UTC' + n * interval '6 h', 'HH24:00'), '-' ORDER BY n) || ' UTC'
          FROM   (VALUES (-1), (1)) AS v(n)
          """))
      let yaml =
        Products.definition
          + """

          throttle: {max_rate: 20000, pause: 1ms, nice_ratio: 0.1, hold_when: {busy: SELECT FROM busy}}
          window: "\(window)"

          """
      let slow = try await Compiled(yaml, on: server)
      #expect(try await backEnd.apply(slow, on: server).isDone)
      let own = "keeps to max_rate 20,000, pause 1ms, nice_ratio 0.1, window \(window), busy"
      let cure = "; `migrate tune 2 --max-rate none --pause 0s --holds none` lifts max_rate, pause, window and busy"
      #expect(try await server.value("SELECT migrate.brakes(2)") == own + cure)
      try await server.psql("INSERT INTO migrate.tuning (run, max_rate, pause) VALUES (2, 5000, '0')")
      let tuned = "keeps to max_rate 5,000 as tuned, nice_ratio 0.1, window \(window), busy"
      #expect(
        try await server.value("SELECT migrate.brakes(2)") == tuned
          + "; `migrate tune 2 --max-rate none --holds none` lifts max_rate, window and busy")
      try await server.psql("UPDATE migrate.tuning SET holds = 'none'")
      #expect(
        try await server.value("SELECT migrate.brakes(2)")
          == "keeps to max_rate 5,000 as tuned, nice_ratio 0.1; `migrate tune 2 --max-rate none` lifts max_rate")
      try await server.psql("UPDATE migrate.tuning SET holds = 'plan'")
      let back = try await backEnd.revert(slow, on: server)
      #expect(back.isDone, "\(back.text)")
      // The client leaves it to the command line to say so.
      if backEnd == .procedure {
        #expect(back.text.contains("NOTICE:  the revert of run 2 \(tuned); `migrate tune 2"), "\(back.text)")
      }
      #expect(try await server.has(before))
    }
  }

  /// Of twice the batch's own time.
  @Test(arguments: BackEnd.allCases)
  func `rests for as long as nice_ratio says`(by backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(
        Products.table(rows: 70)
          + """
          CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.005); RETURN NEW; END $$;
          CREATE TRIGGER slow BEFORE UPDATE ON products FOR EACH ROW EXECUTE FUNCTION slow();
          """)
      let yaml = Products.definition + "\nbatch_size: 12\nthrottle: {nice_ratio: 2}\n"
      let told = try await backEnd.apply(try await Compiled(yaml, on: server), on: server)
      #expect(told.isDone, "\(told.text)")
      let rests = try await server.value(
        """
        SELECT (count(*) >= 4) || ' ' || bool_and(rest >= 2 * taken) || ' ' || bool_and(taken > interval '30 ms') FROM (
          SELECT lead(started_at) OVER (ORDER BY seq) - ended_at AS rest, ended_at - started_at AS taken FROM migrate.batches) AS g
        WHERE rest IS NOT NULL
        """)
      #expect(rests == "true true true")
    }
  }
}
