import Foundation
import MigrateJSON
import MigratePostgres
import TestSupport
import Testing

@Suite struct `Rejects` {
  @Test func `are listed by reason, mended, and tried again`() async throws {
    try await withProject { project in
      try await project.server.psql(
        """
        CREATE TABLE people (id integer PRIMARY KEY, email text);
        INSERT INTO people SELECT n, CASE WHEN n IN (5, 17) THEN NULL WHEN n = 9 THEN 'no "at", é' ELSE 'A' || n || '@X' END
        FROM   generate_series(1, 600) AS n
        """)
      try project.write(
        """
        batch: people
        source: public.people
        set: {email: lower(email)}
        validation:
          has an at: email LIKE '%@%'
          short: length(email) < 9

        """, to: "migrations/people.yaml")
      let plan = try await project.migrate("plan", "people")
      #expect(plan.out.contains("  validates  has an at: email LIKE '%@%'\n"), "\(plan.out)")
      #expect(plan.out.contains("more than 1,000 rows in quarantine end the run"))
      let applied = try await project.migrate("apply", "people", "--yes")
      #expect(applied.status == 3 && applied.out.hasPrefix("run 1 completed 597 rows 3 rejects "), "\(applied)")
      #expect(try await project.migrate("status", "1", "--exit-code").status == 3)

      let listed = try await project.migrate("rejects", "1").out
      #expect(listed.contains("has an at: is NULL") && listed.contains("short: is NULL"), "\(listed)")
      let csv = try await project.migrate("rejects", "1", "--csv").out
      #expect(csv.hasPrefix("run,step,key_id,kind,state,") && csv.contains("1,1,9,validation,open,"), "\(csv)")
      let rows = try await project.migrate("rejects", "people", "--json").events()
      #expect(rows.count == 3)
      #expect(rows[0]["reasons"]?.elements.compactMap(\.text) == ["has an at: is NULL", "short: is NULL"])

      let wrong = try await project.migrate("rejects", "1", "--fix", "SET id = 1", "--yes")
      #expect(wrong.status == 2 && wrong.err.contains("--fix: id is the key"), "\(wrong)")
      let mistyped = try await project.migrate("rejects", "1", "--fix", "SET emial = 'x'", "--yes")
      #expect(
        mistyped.status == 2
          && mistyped.err.contains(
            "--fix: table public.people has no column \"emial\"\n  help: did you mean `email`?"),
        "\(mistyped)")
      #expect(try await project.migrate("rejects", "1", "--fix", "SET email =", "--yes").status == 2)
      let unasked = try await project.migrate("rejects", "1", "--fix", "SET email = 'x'")
      #expect(
        unasked.status == 2
          && unasked.err.contains("`rejects --fix` asks before it changes anything; without a terminal give --yes"),
        "\(unasked)")
      let mended = try await project.migrate(
        "rejects", "1", "--fix", "SET email = coalesce(replace(email, ' \"at\"', '@'), '@NULL')", "--yes")
      #expect(mended.status == 0 && mended.out == "run 1 mended 3 rows\n", "\(mended)")
      let waiting = try await project.migrate("rejects", "1").out
      #expect(waiting.contains("\n9              mended since: has an at"), "\(waiting)")
      #expect(waiting.contains("\"no@, é\""), "\(waiting)")
      let again = try await project.migrate("apply", "--rejects", "1", "--yes")
      #expect(again.status == 0 && again.out.hasPrefix("run 1 completed 599 rows 0 rejects "), "\(again)")
      #expect(try await project.value("SELECT email FROM people WHERE id = 9") == "no@, é")
      #expect(try await project.migrate("status", "1", "--exit-code").status == 0)
      #expect(try await project.migrate("rejects", "1", "--json").events().isEmpty)
      #expect(try await project.migrate("rejects", "1", "--all", "--json").events().count == 3)
      #expect(try await project.migrate("rejects", "1").out == "run 1 people has no row in quarantine\n")
      let settled = try await project.migrate("rejects", "1", "--all").out
      #expect(settled.contains("\nKEY  STATE     SQLSTATE  REASON"), "\(settled)")
      #expect(settled.contains("\n9    resolved            has an at"), "\(settled)")
      #expect(try await project.migrate("revert", "1", "--yes").status == 0)
      let reverted = try await project.migrate("rejects", "1", "--all").out
      #expect(reverted.contains("\n9    reverted            has an at"), "\(reverted)")
      #expect(
        try await project.value(
          "SELECT count(*) FROM people WHERE email IS NULL OR email = 'no \"at\", é' OR email LIKE 'A%@X'")
          == "600")
    }
  }

  /// The first five pages and what is behind them: by key, and each row once.
  @Test func `of one run keep none behind it from beginning`() async throws {
    try await withProject { project in
      try await project.server.psql(
        "CREATE TABLE t (id integer PRIMARY KEY, v integer); INSERT INTO t VALUES (1, 1), (2, 2)")
      for (name, rule) in [("first", "validation: {odd: v % 2 = 1}\n"), ("second", "")] {
        try project.write("batch: \(name)\nsource: public.t\nset: {v: v + 2}\n\(rule)", to: "migrations/\(name).yaml")
      }
      let applied = try await project.migrate("apply", "first", "second", "--yes")
      #expect(applied.status == 3, "\(applied)")
      #expect(
        try await project.value("SELECT string_agg(name || ' ' || state, ', ' ORDER BY run) FROM migrate.runs")
          == "first completed, second completed")
      #expect(try await project.value("SELECT sum(v) FROM t") == "9")
    }
  }

  @Test func `are told by each apply while they wait, which ends with 3`() async throws {
    try await withProject { project in
      try await project.quarantine()
      try await project.server.psql("CREATE TABLE others (id integer PRIMARY KEY, v integer)")
      try project.write("batch: dearer\nsource: public.others\nset: {v: 1}\n", to: "migrations/dearer.yaml")
      #expect(try await project.migrate("apply", "close", "--yes").status == 3)
      let said = "\n1 row in quarantine: `migrate rejects 1` lists them\n"
      let again = try await project.migrate("apply", "close", "--yes")
      #expect(again.status == 3 && again.err.contains("is already applied as run 1"), "\(again)")
      #expect(again.err.contains(said), "\(again)")
      // What does not need it is done, and does not hide it.
      for names in [["close", "dearer"], ["dearer", "close"], []] {
        let beside = try await project.start(["apply"] + names + ["--yes"]).finish()
        #expect(beside.status == 3 && ("\n" + beside.err).contains(said), "\(names): \(beside)")
      }
      #expect(
        try await project.value("SELECT string_agg(name || ' ' || state, ', ' ORDER BY run) FROM migrate.runs")
          == "close completed, dearer completed")
      try project.write("batch: close\nsource: public.items\nset: {state: 'shut'}\n", to: "migrations/close.yaml")
      let changed = try await project.migrate("apply", "--yes")
      #expect(changed.status == 3 && changed.err.contains("changed since run 1"), "\(changed)")
      #expect(changed.err.contains(said), "\(changed)")
      try await project.migrate("rejects", "1", "--fix", "SET price = 1", "--yes")
      #expect(try await project.migrate("apply", "--rejects", "1", "--yes").status == 0)
      let done = try await project.migrate("apply", "close", "--yes")
      #expect(done.status == 0 && !done.err.contains("quarantine"), "\(done)")
      #expect(try await project.migrate("apply", "--yes").status == 0)
    }
  }

  @Test func `are more than a run may have until it is tuned, and apply goes on`() async throws {
    try await withProject { project in
      try await project.server.psql(
        "CREATE TABLE people (id integer PRIMARY KEY, v integer); INSERT INTO people SELECT n, n FROM generate_series(1, 60) AS n"
      )
      try project.write(
        "batch: people\nsource: public.people\nset: {v: v + 1}\nvalidation: {low: id > 30}\nmax_rejects: 5\nbatch_size: 10\n",
        to: "migrations/people.yaml")
      let failed = try await project.migrate("apply", "people", "--yes")
      #expect(failed.status == 1 && failed.err.contains("10 rows are in quarantine, more than 5"), "\(failed)")
      #expect(failed.err.contains("`migrate tune 1 --max-rejects N` allows more"), "\(failed)")
      let status = try await project.migrate("status", "1")
      #expect(status.out.contains(/\n  help .*`migrate tune 1 --max-rejects N` allows more/), "\(status.out)")
      for wrong in ["some", "101%", "-5", "1.5"] {
        #expect(try await project.migrate("tune", "1", "--max-rejects=\(wrong)").status == 2, "\(wrong)")
      }
      let part = try await project.migrate("tune", "1", "--max-rejects", "99.5%")
      #expect(part.status == 0 && part.lines == ["run 1 failed max_rejects 99.5%"], "\(part)")
      let tuned = try await project.migrate("tune", "1", "--max-rejects", "1k", "--reason", "all of them are old")
      #expect(tuned.lines == ["run 1 failed max_rejects 1000"], "\(tuned)")
      let shown = try await project.migrate("status", "1")
      #expect(shown.out.contains("\n  tuned      max_rejects 1,000 by "), "\(shown.out)")
      let again = try await project.migrate("apply", "people", "--yes")
      #expect(
        again.status == 3 && again.lines.last?.hasPrefix("run 1 completed 30 rows 30 rejects ") == true, "\(again)")
    }
  }

  @Test func `are told page by page, each once`() async throws {
    try await withProject { project in
      try await project.server.psql(
        "CREATE TABLE people (id text, n integer, v integer, PRIMARY KEY (id, n)); INSERT INTO people SELECT 'é' || n % 7, n, n FROM generate_series(1, 1300) AS n"
      )
      try project.write(
        """
        batch: people
        source: public.people
        set: {v: v + 1}
        validation: {never: v < 0}
        max_rejects: 5000

        """, to: "migrations/people.yaml")
      #expect(try await project.migrate("apply", "people", "--yes").status == 3)
      let rows = try await project.migrate("rejects", "1", "--json").events()
      #expect(rows.count == 1_300)
      let keys = rows.map { ($0["key"]?.elements.compactMap(\.text) ?? []).joined(separator: " ") }
      let inOrder = (0..<7).flatMap { id in (1...1300).filter { $0 % 7 == id }.map { "é\(id) \($0)" } }
      #expect(keys == inOrder)
      let listed = try await project.migrate("rejects", "1", environment: ["LC_ALL": "C.UTF-8"]).out
      #expect(listed.contains("  CHANGE ") && listed.contains("  never   v: 7 → 8  "), "\(listed)")
      #expect(rows.first?["new_values"]?.compact == "{\"v\":8}" && rows.first?["row"]?["v"]?.integer == 7)
      let csv = try await project.migrate("rejects", "1", "--csv").out
      #expect(csv.contains(",row,new_values,fixed_row,") && csv.contains(",\"{\"\"v\"\": 8}\","))
      let mended = try await project.migrate("rejects", "1", "--fix", "SET v = 0", "--yes")
      #expect(mended.status == 0 && mended.out == "run 1 mended 1300 rows\n", "\(mended)")
    }
  }

  /// As CSV the database reads them back, with keys that have commas, quotes and line breaks in them.
  @Test func `are written as CSV with a field for each column of the key, which can be read back`() async throws {
    try await withProject { project in
      try await project.server.psql(
        """
        CREATE TABLE people ("a, b" text, n integer, c text, v integer, PRIMARY KEY ("a, b", n, c));
        INSERT INTO people
        SELECT k, n, c, n
        FROM   unnest(ARRAY['x, 1', 'x', '', '"q"', E'two\\nlines', 'é ', '(1, 2)', 'NULL', '\\N']) WITH ORDINALITY AS a(k, n),
               unnest(ARRAY['1, y', '', E'\\t']) AS c
        """)
      try project.write(
        "batch: people\nsource: public.people\nset: {v: v + 1}\nvalidation: {never: v < 0}\n",
        to: "migrations/people.yaml")
      #expect(try await project.migrate("apply", "people", "--yes").status == 3)
      let csv = try await project.migrate("rejects", "1", "--csv").out
      #expect(csv.hasPrefix("run,step,\"key_a, b\",key_n,key_c,kind,state,"), "\(csv)")
      try project.write(csv, to: "rejects.csv")
      try await project.server.psql(
        """
        CREATE TABLE back (run bigint, step integer, a text, n integer, c text, kind text, state text, sqlstate text, "constraint" text,
                           "column" text, message text, detail text, "row" jsonb, new_values jsonb, fixed_row jsonb, rejected_at timestamptz);
        COPY back FROM '\(project.folder)/rejects.csv' (FORMAT csv, HEADER)
        """)
      #expect(
        try await project.value(
          """
          SELECT (SELECT count(*) FROM back) = 27
                 AND NOT EXISTS (SELECT FROM people AS p WHERE NOT EXISTS (
                                   SELECT FROM back AS b WHERE (b.a, b.n, b.c, b.row) = (p."a, b", p.n, p.c, to_jsonb(p))))
          """) == "t", "\(csv)")
    }
  }

  /// As the table has them, in each form; what is wrong stands before the row, in the words of the database.
  @Test func `are told in the order of their keys, with the reason in full`() async throws {
    try await withProject { project in
      try await project.server.psql(
        """
        DROP TABLE items;
        CREATE TABLE items (id bigint PRIMARY KEY, code text UNIQUE, note text);
        INSERT INTO items
        SELECT n, 'c' || n, repeat('x', 300) FROM unnest(ARRAY[-20, -3, 7, 8, 600007, 100007, 500000]) AS n
        """)
      try project.write(
        """
        batch: items
        source: items
        set:
          code: CASE WHEN id = 500000 THEN 'ok' ELSE 'c8' END
        where: id <> 8
        on_error: continue

        """, to: "migrations/items.yaml")
      #expect(try await project.migrate("apply", "items", "--yes").status == 3)
      let keys = ["-20", "-3", "7", "100007", "600007"]
      #expect(
        try await project.migrate("rejects", "1", "--json").events().map { $0["key"]?.elements.first?.text } == keys)
      let csv = try await project.migrate("rejects", "1", "--csv").out
      #expect(
        csv.split(whereSeparator: \.isNewline).dropFirst().map { $0.split(separator: ",")[2] } == keys.map { $0[...] })
      let table = try await project.migrate("rejects", "1").out.split(separator: "\n").map(String.init)
      let rows = table.suffix(5)
      #expect(rows.map { $0.split(separator: " ")[0] } == keys.map { $0[...] }, "\(table)")
      #expect(
        rows.allSatisfy {
          $0.contains("  23505     duplicate key value") && $0.contains("\": Key (code)=(c8) already exists.  {")
        },
        "\(table)")
      #expect(table.dropLast(5).last?.hasPrefix("KEY     SQLSTATE  REASON ") == true, "\(table)")
    }
  }

  /// What a second try would not heed is refused: it goes by the plan of the run.
  @Test(arguments: [
    ["--batch-size", "5"], ["--workers", "2"], ["--param", "a=1"], ["--param-file", "p.yaml"],
    ["--search-path", "public"],
    ["--metrics", "m"], ["--trace", "t"], ["--concurrent"], ["--again"], ["--dry-run"],
  ])
  func `are tried again by the run's own plan alone`(option: [String]) async throws {
    try await withFolder { folder in
      let project = TestProject(folder: folder, server: try Server("host=/nowhere"))
      let told = try await project.start(["apply", "--rejects", "1", "--yes"] + option).finish()
      #expect(told.status == 2, "\(told)")
      #expect(told.err.contains("--rejects and \(option[0]) exclude each other"), "\(told)")
      #expect(!FileManager.default.fileExists(atPath: folder + "/t"))
    }
  }

  /// As a run that is paused, it goes on where it stopped; the run itself stays what it is.
  @Test func `are tried again until a signal comes, and that is noted with its reason`() async throws {
    try await withProject { project in
      try await project.server.psql(
        "CREATE TABLE people (id integer PRIMARY KEY, v integer); INSERT INTO people SELECT n, n FROM generate_series(1, 120) AS n"
      )
      try project.write(
        "batch: people\nsource: public.people\nset: {v: v + 1000}\nvalidation: {few: v < 1021}\nmax_rejects: 500\n",
        to: "migrations/people.yaml")
      #expect(try await project.migrate("apply", "people", "--yes").status == 3)
      try await project.server.psql("UPDATE people SET v = -v WHERE v < 1000")
      let holder = try await Session("holder", to: project.server)
      try await holder.execute("BEGIN; SELECT FROM people WHERE id = 30 FOR UPDATE")
      let child = try project.start(["apply", "--rejects", "1", "--yes", "--reason", "mended by hand"])
      try await project.waitForGate(holder)
      child.signal(SIGINT)
      try await holder.execute("COMMIT")
      let stopped = try await child.finish()
      #expect(
        stopped.status == 4 && stopped.lines.last?.hasPrefix("run 1 completed 80 rows 40 rejects ") == true,
        "\(stopped)")
      #expect(stopped.err.contains("run 1 people --rejects  30 %  30 of ~100 rows  "), "\(stopped)")
      #expect(stopped.err.contains("stopped; `migrate apply --rejects 1` tries those that wait"), "\(stopped)")
      #expect(try await project.value("SELECT state FROM migrate.runs") == "completed")
      let again = try await project.migrate("apply", "--rejects", "1", "--yes", "--json")
      let events = try again.events()
      #expect(
        again.status == 0 && events.last?["rows"]?.integer == 120 && events.last?["rejects"]?.integer == 0, "\(again)")
      #expect(
        events.filter { $0["event"]?.text == "tried" }.compactMap { $0["rows"]?.integer } == [30, 10], "\(again)")
      #expect(
        try await project.server.psql(
          "SELECT request, reason, client_host IS NOT NULL FROM migrate.requests ORDER BY seq")
          == [["retry", "mended by hand", "t"], ["retry", nil, "t"]])
    }
  }

  /// A mended row that was changed since counts for whoever asks.
  @Test func `that were mended and edited since are conflicts of a revert`() async throws {
    try await withProject { project in
      try await project.quarantine()
      #expect(try await project.migrate("apply", "close", "--yes").status == 3)
      #expect(try await project.migrate("rejects", "1", "--fix", "SET price = 1", "--yes").status == 0)
      try await project.server.psql("UPDATE items SET price = 2 WHERE id = 500")
      let stopped = try await project.migrate("revert", "1", "--yes")
      #expect(stopped.status == 5 && stopped.out.hasPrefix("run 1 stopped 0 rows 1 conflicts "), "\(stopped)")
      let skipped = try await project.migrate("revert", "1", "--yes", "--on-conflict", "skip")
      #expect(skipped.status == 5 && skipped.out.hasPrefix("run 1 reverted 999 rows 1 conflicts "), "\(skipped)")
      #expect(try await project.migrate("status", "1", "--exit-code").status == 5)
    }
  }
}
