import MigrateLedger
import MigratePlan
import MigratePostgres
import MigrateRunner
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// A part of the rows that is done first, and looked at.
@Suite struct `A canary` {
  /// Whether a row with this key, as a text, is one of the canary's.
  private static func isChosen(_ key: String, part: Int) -> String {
    "(hashtextextended(\(key), 0) & 9223372036854775807) % 100000 < \(part)"
  }

  /// What one statement makes of the products when it changes the canary's rows only.
  private static let onlyTenPercent = """
    SELECT id, CASE WHEN status = 'active' AND price <> 0 AND \(isChosen("id::text", part: 10_000)) THEN round(price * 1.05, 2) ELSE price END,
           status, note
    FROM   products
    ORDER  BY id
    """

  private func withProducts(
    _ settings: String, _ body: (Server, Compiled) async throws -> Void
  ) async throws {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 7_000) + "ANALYZE products")
      try await body(server, try await Compiled(Products.definition + "\n" + settings + "\n", on: server))
    }
  }

  @Test(arguments: BackEnd.allCases, ["batch_size: 150", "batch_size: 5000", "batch_size: 150\nparallel: 4"])
  func `is the same part of the rows for whoever does it, and nothing else is done before somebody resumes`(
    by backEnd: BackEnd, settings: String
  ) async throws {
    try await withProducts("canary: 10%\n" + settings) { server, compiled in
      let (before, expected) = (try await server.rows(Products.all), try await server.rows(Products.expected))
      let canary = try await server.rows(Self.onlyTenPercent)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(!told.isDone && told.text.contains("the canary is done: "), "\(told.text)")
      #expect(try await server.state() == "paused")
      #expect(canary != before && canary != expected)
      #expect(try await server.has(canary))
      // It says how many.
      let chosen = try await server.value(
        "SELECT count(*) FROM products WHERE status = 'active' AND \(Self.isChosen("id::text", part: 10_000))")
      let message = try #require(try await server.value("SELECT failure ->> 'message' FROM migrate.runs"))
      #expect(message.hasPrefix("the canary is done: \(try #require(chosen)) rows read, "))

      // To run it again is not to resume it.
      let again = try await backEnd.apply(compiled, on: server)
      #expect(!again.isDone && again.text.contains("is paused: the canary is done"), "\(again.text)")
      #expect(try await server.has(canary))

      try await server.psql("SELECT migrate.resume(1)")
      let rest = try await backEnd.apply(compiled, on: server)
      #expect(rest.isDone, "\(rest.text)")
      #expect(try await server.has(expected))
      #expect(try await server.value("SELECT sum(rows_read) FROM migrate.batches") == "6000")
      #expect(try await Client.verify(1, on: server).findings.filter { $0.verdict == .broken } == [])
      let back = try await backEnd.revert(compiled, on: server)
      #expect(back.isDone, "\(back.text)")
      #expect(try await server.has(before))
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `tells who resumes it by SQL when no client is on it, and only then`(by backEnd: BackEnd) async throws {
    try await withProducts("canary: 10%\nhold: 1h\nbatch_size: 500") { server, compiled in
      let control = RunControl()
      async let applied = backEnd.apply(compiled, on: server, control: control)
      try await server.wait(until: "(SELECT hold_reason IS NOT NULL FROM migrate.progress WHERE state = 'holding')")
      switch backEnd {
      case .client: control.requestStop()
      case .procedure: try await server.psql("SELECT migrate.pause(1)")
      }
      _ = try await applied
      try await server.wait(until: "(SELECT NOT migrate.is_working(1))")
      let told = try await Psql.run("SELECT migrate.resume(1);", on: server)
      let scripts = backEnd == .procedure ? ", or its apply.sql" : ""
      #expect(
        told.text.contains("NOTICE:  no client is on it: `migrate resume 1` does the rest\(scripts)\n"), "\(told.text)")
      #expect(try await server.state() == "running")

      // Somebody is on it now.
      try await server.psql("UPDATE migrate.runs SET canary_ended_at = NULL")
      async let again = backEnd.apply(compiled, on: server)
      try await server.wait(until: "(SELECT hold_reason IS NOT NULL FROM migrate.progress WHERE state = 'holding')")
      let heard = try await Psql.run("SELECT migrate.resume(1);", on: server)
      #expect(heard.isDone && !heard.text.contains("NOTICE"), "\(heard.text)")
      let rest = try await again
      #expect(rest.isDone, "\(rest.text)")
    }
  }

  /// Somebody wants to look at it, whatever else keeps the run.
  @Test(arguments: BackEnd.allCases)
  func `holds the run also when that is tuned to hold for nothing`(by backEnd: BackEnd) async throws {
    try await withProducts("canary: 10%\nhold: 1h\nbatch_size: 500") { server, compiled in
      let isHolding = "(SELECT hold_reason LIKE 'canary: %' FROM migrate.progress WHERE state = 'holding')"
      async let applied = backEnd.apply(compiled, on: server)
      try await server.wait(until: isHolding)
      try await server.psql("SELECT migrate.tune(1, _holds => 'none')")
      // It is asked anew.
      try await server.wait(until: "EXISTS (SELECT FROM migrate.asking)")
      #expect(try await server.value("SELECT \(isHolding)") == "t")
      #expect(try await server.value("SELECT migrate.brakes(1)") == nil)
      try await server.psql("SELECT migrate.resume(1)")
      let told = try await applied
      #expect(told.isDone, "\(told.text)")
    }
  }

  /// A worker asks whether the rest may begin while somebody says so.
  @Test func `is over for a worker that has waited for who ends it`() async throws {
    try await withProducts("canary: 10%\nhold: 1h\nbatch_size: 500") { server, compiled in
      async let applied = Client.apply(compiled, on: server)
      do {
        try await server.wait(
          until: "(SELECT hold_reason LIKE 'canary: %' FROM migrate.progress WHERE state = 'holding')")
        try await withSessions("who ends it", "worker", to: server) { sessions in
          let (ender, worker) = (try #require(sessions["who ends it"]), try #require(sessions["worker"]))
          try await ender.execute("BEGIN; SELECT migrate.end_canary(1, NULL, NULL)")
          try worker.start("SELECT migrate.heed_canary(1, 2, epoch) FROM migrate.fence")
          try await server.wait(
            until:
              "EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'worker' AND wait_event_type = 'Lock' AND datname = current_database())"
          )
          try await ender.execute("COMMIT")
          #expect(try await worker.finish().onlyRow[0] == "over")
          try await ender.close()
          try await worker.close()
        }
      } catch {
        _ = try? await server.psql("SELECT migrate.cancel(1)")
        throw error
      }
      let told = try await applied
      #expect(told.isDone, "\(told.text)")
    }
  }

  @Test func `is spread over the whole table`() async throws {
    try await withProducts("canary: 10%") { server, compiled in
      _ = try await BackEnd.client.apply(compiled, on: server)
      let tenths = try await server.rows(
        """
        SELECT count(*) FROM (SELECT unnest(k_1) AS id FROM migrate.undo_1_1) AS u
        GROUP BY (id - 1) / 2100 ORDER BY 1
        """
      ).compactMap { Int($0) }
      // 480 of each tenth would change, so 48 are the canary's, give or take five times their spread.
      #expect(tenths.count == 10 && tenths.allSatisfy { (15...81).contains($0) }, "\(tenths)")
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `that is taken back leaves no trace`(by backEnd: BackEnd) async throws {
    try await withProducts("canary: 10%\nbatch_size: 100") { server, compiled in
      let before = try await server.rows(Products.all)
      _ = try await backEnd.apply(compiled, on: server)
      let back = try await backEnd.revert(compiled, on: server)
      #expect(back.isDone, "\(back.text)")
      #expect(try await server.has(before))
    }
  }

  @Test(arguments: BackEnd.allCases, ["", "\nparallel: 4"])
  func `is followed by the rest when its hold is over`(by backEnd: BackEnd, settings: String) async throws {
    try await withProducts("canary: 10%\nhold: 1s\nbatch_size: 500" + settings) { server, compiled in
      let expected = try await server.rows(Products.expected)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.has(expected))
      // No batch of the rest has begun before.
      let gap = try await server.value(
        """
        SELECT min(b.started_at) FILTER (WHERE NOT s.canary) - max(b.ended_at) FILTER (WHERE s.canary) >= interval '1 s'
        FROM   migrate.batches AS b
        JOIN   migrate.slices  AS s USING (run, slice)
        """)
      #expect(gap == "t")
      #expect(try await Client.verify(1, on: server).holds)
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `holds the run and says until when, also for who starts it anew, and resume ends that`(by backEnd: BackEnd)
    async throws
  {
    try await withProducts("canary: 10%\nhold: 1h\nbatch_size: 500") { server, compiled in
      let (canary, expected) = (try await server.rows(Self.onlyTenPercent), try await server.rows(Products.expected))
      let isHolding = "(SELECT hold_reason IS NOT NULL FROM migrate.progress WHERE state = 'holding')"
      let control = RunControl()
      async let applied = backEnd.apply(compiled, on: server, control: control)
      try await server.wait(until: isHolding)
      let until = try #require(
        try await server.value(
          "SELECT to_char(max(ended_at) AT TIME ZONE 'UTC' + interval '1 h', 'YYYY-MM-DD HH24:MI:SS') FROM migrate.batches"
        ))
      let reason = try #require(try await server.value("SELECT hold_reason FROM migrate.progress"))
      #expect(reason.hasPrefix("canary: ") && reason.hasSuffix("; until \(until) UTC"), "\(reason)")
      #expect(try await server.has(canary))
      switch backEnd {
      case .client: control.requestStop()
      case .procedure: try await server.psql("SELECT migrate.pause(1)")
      }
      _ = try await applied
      #expect(try await server.state() == "paused")
      async let again = backEnd.apply(compiled, on: server)
      try await server.wait(until: isHolding)
      #expect(try await server.has(canary))
      try await server.psql("SELECT migrate.resume(1, 'looks good')")
      let told = try await again
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.has(expected))
      #expect(
        try await server.rows("SELECT request, reason FROM migrate.requests ORDER BY seq DESC LIMIT 1")
          == ["resume|looks good"])
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `of keys that are collected, and of a key of two columns`(by backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE places (country text, number int, name text NOT NULL, filler text, PRIMARY KEY (country, number));
        INSERT INTO places
        SELECT 'c' || n % 7, n, CASE WHEN n % 200 = 0 THEN 'old' ELSE 'new' END, 'x' FROM generate_series(1, 120000) AS n;
        ANALYZE places;
        """)
      let all = "SELECT country, number, name FROM places ORDER BY country, number"
      let before = try await server.rows(all)
      let key = "ARRAY[country::text, number::text]::text"
      let expected = try await server.rows(
        all.replacing(
          ", name",
          with: ", CASE WHEN name = 'old' AND \(Self.isChosen(key, part: 25_500)) THEN 'OLD' ELSE name END"))
      let yaml =
        "batch: names\nsource: places\nwhere: name = 'old'\nset: {name: upper(name)}\nbatch_size: 40\ncanary: 25.5%\n"
      let compiled = try await Compiled(yaml, on: server)
      #expect(compiled.plan.statements(.prepare).contains { $0.name == .keysTable })
      _ = try await backEnd.apply(compiled, on: server)
      #expect(try await server.rows(all) == expected)
      #expect(expected != before)
      try await server.psql("SELECT migrate.resume(1)")
      let rest = try await backEnd.apply(compiled, on: server)
      #expect(rest.isDone, "\(rest.text)")
      #expect(try await server.value("SELECT count(*) FROM places WHERE name = 'OLD'") == "600")
      #expect(try await Client.verify(1, on: server).holds)
      let back = try await backEnd.revert(compiled, on: server)
      #expect(back.isDone, "\(back.text)")
      #expect(try await server.rows(all) == before)
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `without undo, and of every row`(by backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 3_000))
      let yaml =
        "batch: notes\nsource: products\nset: {note: upper('seen')}\nundo: none\nbatch_size: 100\ncanary: 10%\n"
      let compiled = try await Compiled(yaml, on: server)
      _ = try await backEnd.apply(compiled, on: server)
      #expect(
        try await server.value(
          "SELECT bool_and((note = 'SEEN') = (\(Self.isChosen("id::text", part: 10_000)))) FROM products") == "t")
      try await server.psql("SELECT migrate.resume(1)")
      let rest = try await backEnd.apply(compiled, on: server)
      #expect(rest.isDone, "\(rest.text)")
      #expect(try await server.value("SELECT count(*) FROM products WHERE note = 'SEEN'") == "3000")
      #expect(try await Client.verify(1, on: server).holds)
    }
  }

  /// A row of quarantine is tried again by itself, whichever part it belongs to.
  @Test(arguments: BackEnd.allCases)
  func `and rows in quarantine of either part`(by backEnd: BackEnd) async throws {
    try await withProducts("canary: 50%\nbatch_size: 500\non_error: continue") { server, compiled in
      let expected = try await server.rows(Products.expected)
      try await server.psql(
        "ALTER TABLE products ADD CONSTRAINT dear CHECK (id % 900 <> 3 OR price = 0 OR price = trunc(price)) NOT VALID")
      _ = try await backEnd.apply(compiled, on: server)
      try await server.psql("SELECT migrate.resume(1)")
      let rest = try await backEnd.apply(compiled, on: server)
      #expect(rest.isDone, "\(rest.text)")
      let parts = try await server.value(
        "SELECT count(DISTINCT \(Self.isChosen("key[1]", part: 50_000))) FROM migrate.rejects")
      #expect(parts == "2")
      try await server.psql("ALTER TABLE products DROP CONSTRAINT dear")
      let retried = try await backEnd.retry(1, on: server)
      #expect(retried.isDone, "\(retried.text)")
      #expect(try await server.has(expected))
      #expect(try await Client.verify(1, on: server).holds)
    }
  }

  /// Of fewer than a thousand rows a part would say nothing yet, were they not the canary.
  @Test(arguments: BackEnd.allCases, ["\"< 100\"", "\">= 95%\""])
  func `is judged by what the run expects before it is looked at`(by backEnd: BackEnd, changed: String) async throws {
    try await withProducts("canary: 10%\nhold: 1h\nbatch_size: 5000\nexpect: {changed: \(changed)}") {
      server, compiled in
      let told = try await backEnd.apply(compiled, on: server)
      #expect(!told.isDone && told.text.contains("changed is "), "\(told.text)")
      #expect(try await server.value("SELECT count(*) FROM migrate.batches") == "1")
      // One resume accepts it and does the rest.
      try await server.psql("SELECT migrate.resume(1)")
      let rest = try await backEnd.apply(compiled, on: server)
      #expect(rest.isDone, "\(rest.text)")
      #expect(try await server.value("SELECT sum(rows_read) FROM migrate.batches") == "6000")
    }
  }
}
