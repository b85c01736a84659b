import Foundation
import MigrateJSON
import TestSupport
import Testing

@Suite struct `Plan` {
  @Test func `tells what would happen, then the SQL, and changes nothing`() async throws {
    try await withProject(hasLedger: false) { project in
      let plan = try await project.migrate("plan", "close")
      #expect(plan.status == 0 && plan.err.isEmpty, "\(plan)")
      #expect(
        plan.out.hasPrefix(
          """
          close
            table      public.items (update)
            sets       state = 'closed' (text)
            rows       about 1,000, in about 10 batches of 100
            walks      items_pkey (id)
            undo       old and new state, about 18.0 kB before compression
            locks      ROW EXCLUSIVE on public.items, and the rows of one batch at a time; waits 500 ms for a lock, then tries again
            time       not known; `migrate plan close --measure` tries five batches and rolls them back
            ledger     does not exist yet: apply will create schema migrate

          -- ===== prepare: once, in the transaction that begins the run

          """), "\(plan.out)")
      #expect(try await project.migrate("plan", "close", "--sql").out == plan.out.droppingSummary)
      #expect(try await project.migrate("apply", "close", "--dry-run").out == plan.out)
      #expect(try await project.value("SELECT to_regnamespace('migrate')") == nil)
    }
  }

  /// Autovacuum is off, which would mend it while we look.
  @Test(arguments: [false, true])
  func `says that the statistics are old, or missing, beside the rows that it expects by them`(isPartitioned: Bool)
    async throws
  {
    try await withProject { project in
      try await project.server.psql(
        isPartitioned
          ? """
          DROP TABLE items;
          CREATE TABLE items (id bigint PRIMARY KEY, state text NOT NULL) PARTITION BY RANGE (id);
          CREATE TABLE one PARTITION OF items FOR VALUES FROM (0) TO (501) WITH (autovacuum_enabled = off);
          CREATE TABLE two PARTITION OF items FOR VALUES FROM (501) TO (2000) WITH (autovacuum_enabled = off);
          CREATE TABLE none PARTITION OF items FOR VALUES FROM (2000) TO (3000) WITH (autovacuum_enabled = off);
          INSERT INTO items SELECT n, 'open' FROM generate_series(1, 1000) AS n
          """
          : """
          DROP TABLE items; CREATE TABLE items (id bigint PRIMARY KEY, state text NOT NULL) WITH (autovacuum_enabled = off);
          INSERT INTO items SELECT n, 'open' FROM generate_series(1, 1000) AS n
          """)
      try project.write(
        "batch: close\nsource: public.items\nset: {state: {value: closed}}\nwhere: state = 'open'\nbatch_size: 100\n",
        to: "migrations/close.yaml")
      let guess = "             which is a guess: public.items was never analyzed; `ANALYZE public.items` first\n"
      #expect(try await project.migrate("plan", "close").out.contains(guess))
      // That counts the rows, and looks at no values.
      try await project.server.psql("VACUUM items")
      #expect(try await project.migrate("plan", "close").out.contains(guess))
      try await project.server.psql("ANALYZE items")
      let fresh = /\n  rows       about [0-9,]+, in about [0-9]+ batch(es)? of 100\n  walks/
      #expect(try await project.migrate("plan", "close").out.contains(fresh))
      #expect(try await project.migrate("apply", "close", "--yes").status == 0)
      try await project.wait(
        until: "(SELECT sum(n_mod_since_analyze) >= 1000 FROM pg_stat_user_tables WHERE schemaname = 'public')")
      let old = "rows of public.items changed since they counted 1,000; `ANALYZE public.items` first"
      let stale = try await project.migrate("plan", "close").out
      #expect(stale.contains(#/\n  rows       about .*\n             by old statistics: 1,000 /#), "\(stale)")
      #expect(stale.contains("by old statistics: 1,000 \(old)\n  walks"), "\(stale)")
      #expect(try await project.migrate("apply", "close", "--again", "--yes").err.contains("1,000 \(old)\n"))
      let markdown = try await project.migrate("plan", "close", "--markdown").out
      #expect(markdown.contains(#/\| rows \| about .*<br>by old statistics: /#), "\(markdown)")
      try await project.server.psql("ANALYZE items")
      #expect(try await project.migrate("plan", "close").out.contains(fresh))
      // Some more, as autovacuum leaves them, and too many.
      try await project.server.psql("UPDATE items SET state = 'sold' WHERE id <= 250")
      try await project.wait(
        until: "(SELECT sum(n_mod_since_analyze) >= 250 FROM pg_stat_user_tables WHERE schemaname = 'public')")
      #expect(try await project.migrate("plan", "close").out.contains(fresh))
      try await project.server.psql("DELETE FROM items WHERE id <= 10")
      try await project.wait(
        until: "(SELECT sum(n_mod_since_analyze) >= 260 FROM pg_stat_user_tables WHERE schemaname = 'public')")
      #expect(try await project.migrate("plan", "close").out.contains("260 \(old)\n"))
    }
  }

  @Test func `tells every limit that the definition asks for, with its figure`() async throws {
    try await withProject { project in
      try project.write(
        """
        batch: slow
        source: public.items
        set: {state: {value: closed}}
        parallel: 4
        window: 22:00-06:00 Europe/Berlin
        throttle:
          pause: 20ms
          nice_ratio: 0.5
          max_rate: 100k
          lock_timeout: 200ms
          target_batch_time: 250ms
          max_blocking: 300ms
          max_active_sessions: 500
          max_replication_lag: 10s
          hold_when:
            autovacuum: true
            slot_lag: 10GB
            free_disk: 20GB
            nightly backup: SELECT 1 FROM items WHERE id < 0
        """, to: "migrations/slow.yaml")
      let plan = try await project.migrate("plan", "slow")
      let lines = plan.out.split(separator: "\n").prefix { !$0.hasPrefix("--") }.map(String.init)
      for line in [
        "  rows       about 1,000, in batches of 1,000 at first, then of as many as take 250 ms",
        "  workers    up to 4 beside each other, each with a connection and a slice of the keys",
        "  throttle   rests 20 ms between batches; rests 0.5 times as long as a batch took; at most 100,000 rows a second; "
          + "gives way when somebody waits 300 ms for a batch (only `migrate apply`)",
        "  window     22:00 to 06:00, Europe/Berlin",
        "  holds for  max_active_sessions above 500, max_replication_lag above 10.0 s, autovacuum, slot_lag above 10GB, "
          + "free_disk below 20GB, nightly backup",
        "  locks      ROW EXCLUSIVE on public.items, and the rows of one batch at a time; waits 200 ms for a lock, then tries again",
      ] { #expect(lines.contains(line), "\(line)\n\(lines)") }
      let throttle = try JSON(try await project.migrate("plan", "slow", "--json").out.trimmingLast)["throttle"]
      #expect(throttle?["max_active_sessions"]?.integer == 500 && throttle?["slot_lag"]?.integer == 10_737_418_240)
      #expect(throttle?["max_replication_lag"]?.text == "10000ms")
    }
  }

  @Test(arguments: [["plan", "close"], ["plan", "close", "--markdown"], ["apply", "close", "--yes"]])
  func `tells what is checked, and when, and so does the summary that apply begins with`(command: [String]) async throws
  {
    try await withProject { project in
      try project.write(
        """
        batch: close
        source: public.items
        set: {state: {value: closed}}
        validation: {a price: price >= 0}
        expect: {changed: "<= 5000", rejects: "0%"}
        checks:
          before: {none is free: SELECT id FROM items WHERE price < 0, none is lost: SELECT id FROM items WHERE id < 0}
          batch: {each has a state: SELECT id FROM batch WHERE state IS NULL}
          after: {none is open: SELECT id FROM items WHERE state = 'open'}
        """, to: "migrations/close.yaml")
      let told = try await project.start(command).finish()
      let isTable = command.contains("--markdown")
      let text = (told.out + told.err).replacing(#/ +/#, with: " ")
      for (title, line) in [
        ("validates", "a price: price >= 0"),
        ("checks", "before it begins: none is free, none is lost; where one finds a row, nothing starts"),
        (
          "checks",
          "in each batch: each has a state; where one finds a row, that batch is rolled back, and the run fails there"
        ),
        ("checks", "after the last batch: none is open; where one finds a row, the run fails"),
        ("expects", "changed: at most 5000; else the run pauses"),
        ("expects", "rejects: exactly 0%; else the run pauses"),
      ] {
        let shown = isTable ? "\n| \(title) | \(line.replacing(">", with: #"\>"#)) |\n" : "\n \(title) \(line)\n"
        #expect(text.contains(shown), "\(shown)\n\(text)")
      }
    }
  }

  @Test func `prints as JSON what the ledger keeps`() async throws {
    try await withProject { project in
      let json = try await project.migrate("plan", "close", "--json")
      #expect(try JSON(json.out.trimmingLast)["format"]?.integer == 1)
      try await project.migrate("apply", "close", "--yes")
      let quoted = json.out.replacing("'", with: "''")
      #expect(try await project.value("SELECT plan = '\(quoted)'::jsonb FROM migrate.runs") == "t")
    }
  }

  @Test func `a run goes on with batches of another size where one is given`() async throws {
    try await withProject { project in
      let gate = try await project.gate(behind: 2)
      let child = try project.start(["apply", "close", "--yes"])
      try await project.waitForGate(gate)
      child.signal(15)
      #expect(try await child.finish().status == 4)
      try await gate.close()
      let sizes = "SELECT string_agg(DISTINCT rows_read::text, ',') FROM migrate.batches WHERE ordinal "
      let begun = try await project.value(sizes + "<= 2")
      let done = try await project.value("SELECT max(ordinal) FROM migrate.batches") ?? ""
      #expect(try await project.migrate("apply", "close", "--yes", "--batch-size", "25").status == 0)
      #expect(try await project.value(sizes + "<= 2") == begun && begun != "25")
      #expect(try await project.value(sizes + "> \(done)") == "25")
    }
  }

  @Test func `names a run that is unfinished over the same table, and triggers that fire`() async throws {
    try await withProject { project in
      let gate = try await project.gate(behind: 1)
      let child = try project.start(["apply", "close", "--yes"])
      try await project.waitForGate(gate)
      child.signal(15)
      #expect(try await child.finish().status == 4)
      try await gate.close()
      try project.write("batch: dearer\nsource: public.items\nset: {price: price + 1}\n", to: "migrations/dearer.yaml")
      let own = try await project.migrate("plan", "close")
      #expect(own.out.contains("  beside     run 1 of this definition is paused; apply goes on with it\n"))
      let other = try await project.migrate("plan", "dearer")
      #expect(other.out.contains("  beside     run 1 of close is paused, over the same table\n"))
      #expect(other.out.contains("  sets       price = price + 1\n"))
      #expect(other.out.contains("  fires      trigger gate "))
      #expect(other.err.contains("[trigger-fires]") && !other.err.hasPrefix("\n"))
      #expect(try await project.migrate("plan", "dearer", "-q").err.isEmpty)
    }
  }

  @Test func `shows an expression of several lines as its author has laid it out`() async throws {
    try await withProject { project in
      try project.write(
        """
        batch: b
        source: public.items
        set:
          price: |
            CASE
              WHEN price > 10 THEN round(price * 1.05, 2)

              ELSE price
            END
          state: "a 'quoted'\\nand \\\\ second line"
        """, to: "migrations/b.yaml")
      let plan = try await project.migrate("plan", "b")
      #expect(
        plan.out.contains(
          #"""
            sets       price = CASE
                                 WHEN price > 10 THEN round(price * 1.05, 2)
                                 ELSE price
                               END
            sets       state = E'a ''quoted''\nand \\ second line' (text)

          """#), "\(plan)")
      let markdown = try await project.migrate("plan", "b", "--markdown")
      let indent = String(repeating: "&nbsp;", count: 10)
      #expect(markdown.out.contains("| sets | price = CASE<br>\(indent)WHEN price \\> 10 THEN"), "\(markdown.out)")
    }
  }

  @Test func `as Markdown has a heading, a table and the SQL in fences`() async throws {
    try await withProject { project in
      let plan = try await project.migrate("plan", "close", "--markdown")
      #expect(plan.out.hasPrefix("## migrate plan: close\n\n| | |\n| --- | --- |\n| table | public.items (update) |\n"))
      #expect(plan.out.contains("<details><summary>SQL: batches</summary>\n"))
      let fences = plan.lines.filter { $0.hasPrefix("```") }
      #expect(fences.count.isMultiple(of: 2) && fences.contains("```sql"))
      #expect(plan.out.contains("  UPDATE \"public\".\"items\" AS \"items\"\n  SET    \"state\" = 'closed'\n"))
    }
  }

  @Test func `explains the statements of a batch without running them`() async throws {
    try await withProject { project in
      let plan = try await project.migrate("plan", "close", "--explain")
      #expect(plan.status == 0, "\(plan)")
      #expect(plan.out.contains("-- ===== explain: bound, for the second batch\n"))
      #expect(plan.out.contains("Update on items") && plan.out.contains("Index Scan using items_pkey"))
      #expect(try await project.value("SELECT count(*) FROM items WHERE state = 'open'") == "1000")
    }
  }

  @Test func `measures five batches and leaves nothing of them`() async throws {
    try await withProject(rows: 2_000, hasLedger: false) { project in
      let unasked = try await project.migrate("plan", "close", "--measure")
      #expect(unasked.status == 2 && unasked.err.contains("`plan --measure` asks before it changes anything"))
      let measured = try await project.migrate("plan", "close", "--measure", "--yes")
      #expect(measured.status == 0 && measured.err.contains("sequences move and stay moved"), "\(measured)")
      #expect(!measured.out.contains("  time  "))
      let line = try #require(measured.lines.last)
      #expect(
        line.hasPrefix("measured close: ") && line.contains(" in 5 batches of 500 rows in all, 500 changed;"), "\(line)"
      )
      #expect(try await project.value("SELECT count(*) FROM items WHERE state = 'open'") == "2000")
      #expect(try await project.value("SELECT to_regnamespace('migrate')") == nil)

      // A ledger, and an unfinished run, are no hindrance; fewer rows than five batches are each met once.
      try await project.migrate("apply", "close", "--yes")
      try project.write("batch: few\nsource: public.items\nset: {price: price + 1}\n", to: "migrations/few.yaml")
      let few = try await project.migrate("plan", "few", "--measure", "--yes", "--json")
      let event = try JSON(try #require(few.lines.last))
      #expect(event["rows_read"]?.integer == 2_000 && event["batches"]?.integer == 5, "\(few)")
      #expect(try await project.value("SELECT count(*) FROM pg_class WHERE relname ~ '^undo_[0-9_]+$'") == "1")
    }
  }

  @Test func `measures for a program in a stream of JSON, a value a line`() async throws {
    try await withProject { project in
      try project.write("batch: few\nsource: public.items\nset: {price: price + 1}\n", to: "migrations/few.yaml")
      let measured = try await project.migrate("plan", "close", "few", "--measure", "--yes", "--json")
      #expect(measured.status == 0, "\(measured)")
      let values = try measured.out.split(separator: "\n", omittingEmptySubsequences: false).dropLast().map {
        try JSON(String($0))
      }
      #expect(values.map { $0["format"]?.integer } == [1, 1, nil, nil])
      #expect(values.map { $0["definition"]?.text } == ["close", "few", "close", "few"])
      #expect(values.map { $0["event"]?.text } == [nil, nil, "measured", "measured"])
      let unasked = try await project.migrate("plan", "close", "--measure", "--json")
      #expect(unasked.status == 2)
      #expect(try unasked.events().last?["code"]?.text == "usage")
    }
  }

  @Test func `shows the errors of all definitions at once, to people and to programs`() async throws {
    try await withProject(hasLedger: false) { project in
      try project.write("batch: one\nsource: public.items\nset: {stat: 'x'}\n", to: "migrations/one.yaml")
      try project.write("batch: two\nsource: public.item\nset: {state: lower(stat)}\n", to: "migrations/two.yaml")
      let plan = try await project.migrate("plan", "--json")
      #expect(plan.status == 2)
      #expect(
        plan.err.contains("migrations/one.yaml:3:7: error: ") && plan.err.contains("migrations/two.yaml:2:9: error: "))
      let events = try plan.events()
      #expect(events.allSatisfy { $0["event"]?.text == "error" && $0["exit_code"]?.integer == 2 })
      #expect(events.map { $0["code"]?.text } == ["unknown-column", "unknown-table"], "\(plan.out)")
      #expect(events.first?["path"]?.text == "migrations/one.yaml" && events.first?["line"]?.integer == 3)
      #expect(try await project.migrate("apply", "--yes").status == 2)
      #expect(try await project.value("SELECT to_regnamespace('migrate')") == nil)
    }
  }

  @Test func `without a database tells the errors of the file, then that it needs one`() async throws {
    try await withProject { project in
      let nowhere = ["DATABASE_URL": "host=\(project.folder) dbname=none"]
      let plan = try await project.migrate("plan", "close", environment: nowhere)
      #expect(plan.status == 1 && plan.err.hasPrefix("migrate: error: plan needs a connection: "), "\(plan.err)")
      #expect(plan.err.contains("  help: "))
      try project.write("batch: close\nsource: public.items\nset:\n  state: lower(\n", to: "migrations/close.yaml")
      let wrong = try await project.migrate("plan", "close", environment: nowhere)
      #expect(wrong.status == 2 && wrong.err.contains("migrations/close.yaml:4:"), "\(wrong.err)")
      try project.write("batch: close\nsource: public.items\nsett: {}\n", to: "migrations/close.yaml")
      #expect(try await project.migrate("plan", "close", environment: nowhere).status == 2)
    }
  }
}

extension String {
  /// From the first heading of the SQL on.
  fileprivate var droppingSummary: String {
    range(of: "-- =====").map { String(self[$0.lowerBound...]) } ?? self
  }

  fileprivate var trimmingLast: String { hasSuffix("\n") ? String(dropLast()) : self }
}
