import Foundation
import MigrateJSON
import TestSupport
import Testing

@Suite struct `Status, history and verify` {
  @Test func `say that there is nothing yet, and need no ledger for it`() async throws {
    try await withProject(hasLedger: false) { project in
      for command in ["status", "history"] {
        let outcome = try await project.migrate(command)
        #expect(outcome.status == 0 && outcome.out.isEmpty && outcome.err.hasPrefix("no runs yet"), "\(outcome)")
        #expect(try await project.migrate(command, "--json").out == "[]\n")
      }
      #expect(try await project.value("SELECT to_regnamespace('migrate')") == nil)
    }
  }

  @Test func `tell what a run has done`() async throws {
    try await withProject { project in
      try await project.migrate("apply", "close", "--yes", "--reason", "a new\n\u{1B}]0;year")
      let block = try await project.migrate("status", "1")
      #expect(block.lines.first == "run 1 close: completed")
      #expect(block.lines.contains("  rows       1,000 read, 1,000 changed in 10 batches"))
      #expect(block.lines.contains(#"  reason     a new\n\u{1b}]0;year"#))
      #expect(block.lines.contains { $0.hasPrefix("  undo       ") })

      let standing = try #require(try await project.migrate("status", "1", "--json").events().first)
      #expect(standing["state"]?.text == "completed" && standing["percent"]?.integer == 100)
      #expect(standing["rows_changed"]?.integer == 1_000 && standing["exit_code"]?.integer == 0)
      #expect(standing["reason"]?.text == "a new\n\u{1B}]0;year")
      // S08
      for words in [["status"], ["status", "1"], ["history"], ["history", "--json"]] {
        #expect(try await !project.start(words).finish().out.contains("\u{1B}"), "\(words)")
      }

      let all = try await project.migrate("info")
      #expect(all.lines.count == 2 && all.lines[1].contains("completed"))
      let table = try await project.migrate("log")
      #expect(
        table.lines[0].split(separator: " ") == ["RUN", "NAME", "STATE", "ROWS", "STARTED", "TOOK", "BY", "REASON"])
      let csv = try await project.migrate("ls", "--csv")
      #expect(csv.out.hasPrefix("run,name,state,direction,rows_changed,") && csv.out.contains("\r\n1,close,completed,"))
      let entry = try #require(try await project.migrate("history", "--json").events().first?.elements.first)
      #expect(entry["rows_changed"]?.integer == 1_000 && entry["parameters"] == .object([]))
    }
  }

  @Test func `history tells the time worked, and beside it for programs the whole`() async throws {
    try await withProject { project in
      try await project.migrate("apply", "close", "--yes")
      // It stood still for a night; each of its ten batches took two seconds, and a minute later the next one began.
      try await project.server.psql(
        """
        UPDATE migrate.runs SET started_at = ended_at - interval '9 hours';
        UPDATE migrate.batches AS b
        SET    started_at = r.started_at + b.ordinal * interval '1 minute',
               ended_at   = r.started_at + b.ordinal * interval '1 minute' + interval '2 seconds'
        FROM   migrate.runs AS r
        """)
      let took = try await project.migrate("history").lines[1].split(separator: " ")
      #expect(took.contains("20.0"), "\(took)")
      let entry = try #require(try await project.migrate("history", "--json").events().first?.elements.first)
      #expect(entry["seconds_worked"]?.double == 20 && entry["seconds"]?.double == 32_400, "\(entry.compact)")
      let csv = try await project.migrate("history", "--csv").out.components(separatedBy: "\r\n")
      #expect(csv[0].contains(",seconds_worked,") && csv[1].contains(",20.0,"), "\(csv)")
      // Two of them were parts of one transaction.
      try await project.server.psql(
        """
        UPDATE migrate.batches AS b
        SET    ordinal = 9, part = 4, started_at = n.started_at, ended_at = n.ended_at - interval '1 second'
        FROM   migrate.batches AS n
        WHERE  b.ordinal = 10 AND n.ordinal = 9
        """)
      let parts = try #require(try await project.migrate("history", "--json").events().first?.elements.first)
      #expect(parts["seconds_worked"]?.double == 18 && parts["rows_changed"]?.integer == 1_000, "\(parts.compact)")
      // Of three workers, who began a second after each other: the clock on the wall showed four seconds meanwhile.
      try await project.server.psql(
        """
        UPDATE migrate.batches AS b
        SET    started_at = r.started_at + b.ordinal % 3 * interval '1 second',
               ended_at   = r.started_at + b.ordinal % 3 * interval '1 second' + interval '2 seconds'
        FROM   migrate.runs AS r
        """)
      let beside = try #require(try await project.migrate("history", "--json").events().first?.elements.first)
      #expect(beside["seconds_worked"]?.double == 4 && beside["rows_changed"]?.integer == 1_000, "\(beside.compact)")
    }
  }

  /// The assignment, what of the table forbids it, and the state that this has.
  @Test(arguments: [
    ("state: nullif(state, 'open')", "SELECT 1", "23502"),
    ("state: 'closed'", "ALTER TABLE items ADD CHECK (id < 250 OR state = 'open')", "23514"),
    ("state: 'closed'", "CREATE UNIQUE INDEX one ON items (state) WHERE state = 'closed'", "23505"),
    ("price: price / (250 - id)", "SELECT 1", "22012"),
    ("price: price * 100000000", "SELECT 1", "22003"),
  ])
  func `status shows why a run failed where apply has shown it`(
    assignment: String, forbidden: String, state: String
  ) async throws {
    try await withProject { project in
      try await project.server.psql(forbidden)
      let yaml = "batch: close\nsource: public.items\nset:\n  \(assignment)\nbatch_size: 100\n"
      try project.write(yaml, to: "migrations/close.yaml")
      let applied = try await project.migrate("apply", "close", "--yes")
      let line = try #require(applied.err.split(separator: "\n").first { $0.hasSuffix(" [\(state)]") })
      #expect(applied.status == 1 && line.hasPrefix("migrations/close.yaml:4:"), "\(applied.err)")
      let told = try #require(applied.err.range(of: line).map { applied.err[$0.lowerBound...].split(separator: "\n") })
      let status = try await project.migrate("status", "1")
      let shown = try #require(status.out.range(of: line).map { status.out[$0.lowerBound...].split(separator: "\n") })
      // What mends it, too.
      #expect(told.prefix { !$0.hasPrefix("run ") } == shown.prefix { !$0.hasPrefix("run ") }, "\(status.out)")
      #expect(told.count == shown.count && !status.out.contains("  failure "))
      let help = try #require(told.first { $0.hasPrefix("  help: ") })
      #expect(help.contains("mend the rows at fault, then `migrate resume 1` goes on at this batch"), "\(help)")
      #expect(try await project.migrate("wait", "1").err.contains("\n\(help)\n"))
      let standing = try #require(try await project.migrate("status", "1", "--json").events().first)
      #expect(standing["failure"]?["places"]?.elements.first?["line"]?.integer == 4)
      #expect(standing["failure"]?["places"]?.elements.first?["path"]?.text == "migrations/close.yaml")

      // The line is another one by now.
      try project.write("# why\n" + yaml, to: "migrations/close.yaml")
      let later = try await project.migrate("status", "1")
      #expect(!later.out.contains("migrations/close.yaml") && later.out.contains("  failure "), "\(later.out)")
    }
  }

  @Test func `status --exit-code is 0 only for a complete run`() async throws {
    try await withProject { project in
      try await project.migrate("apply", "close", "--yes")
      #expect(try await project.migrate("status", "1", "--exit-code", "-q").status == 0)
      #expect(try await project.migrate("status", "--exit-code").status == 0)
      for (state, code) in [("paused", 4), ("failed", 1), ("running", 4), ("cancelled", 4), ("reverted", 4)] {
        try await project.server.psql("UPDATE migrate.runs SET state = '\(state)'")
        #expect(try await project.migrate("status", "1", "--exit-code").status == code, "\(state)")
      }
      #expect(try await project.migrate("status", "1").status == 0)
    }
  }

  @Test func `status --watch goes on until the run ends`() async throws {
    try await withProject { project in
      let gate = try await project.gate(behind: 2)
      let run = try project.start(["apply", "close", "--yes", "-q"])
      try await project.waitForGate(gate)
      let watch = try project.start(["status", "1", "--watch", "--json", "--exit-code"])
      try await watch.wait(untilSaid: #""rows_read":200"#, on: "out")
      try await gate.close()
      #expect(try await run.finish().status == 0)
      let watched = try await watch.finish()
      let events = try watched.events()
      #expect(watched.status == 0 && events.count >= 2)
      #expect(events.first?["event"]?.text == "status" && events.first?["rows_read"]?.integer == 200, "\(watched)")
      #expect(events.last?["state"]?.text == "completed" && events.last?["rows_read"]?.integer == 1_000)
    }
  }

  @Test func `verify looks at coverage, counts, what is left, checks and later edits`() async throws {
    try await withProject { project in
      try project.write(
        """
        batch: close
        source: public.items
        where: state = 'open'
        set:
          state: 'closed'
        batch_size: 300
        checks:
          after:
            none open: SELECT id FROM public.items WHERE state = 'open'

        """, to: "migrations/close.yaml")
      let applied = try await project.migrate("apply", "close", "--yes")
      #expect(applied.status == 0, "\(applied)")
      let verified = try await project.migrate("verify", "close")
      #expect(
        verified.lines == [
          "run 1 close", "  ok      slices contiguous: 4 batches, 0 gaps or overlaps",
          "  ok      read = changed + unchanged + rejected: 1000 = 1000 + 0 + 0", "  ok      left behind: 0 rows",
          "  ok      check: none open: finds no row", "  info    rows edited since: 0 rows", "run 1 verified",
        ])
      #expect(verified.status == 0)

      // Somebody's later edit is information, no fault.
      try await project.server.psql("UPDATE items SET state = 'sold' WHERE id <= 3")
      let edited = try await project.migrate("verify", "1")
      #expect(edited.status == 0 && edited.lines.contains("  info    rows edited since: 3 rows"))

      let faults = [
        ("UPDATE items SET state = 'open' WHERE id = 9", "  not ok  check: none open: "),
        ("INSERT INTO items VALUES (0, 'open', 1)", "  not ok  left behind: 1 row"),
        ("UPDATE migrate.batches SET rows_unchanged = 1 WHERE ordinal = 2", "  not ok  read = changed + unchanged + "),
        ("DELETE FROM migrate.batches WHERE ordinal = 4", "  not ok  slices contiguous: 3 batches, 0 gaps"),
        ("DELETE FROM migrate.batches WHERE ordinal = 2", "  not ok  slices contiguous: 2 batches, 1 gap or overlap; "),
      ]
      for (fault, line) in faults {
        try await project.server.psql(fault)
        let outcome = try await project.migrate("verify", "1")
        #expect(outcome.status == 1 && outcome.out.contains(line), "\(fault): \(outcome.out)")
        #expect(outcome.lines.last == "run 1 not verified")
      }
      let json = try #require(try await project.migrate("verify", "1", "--json").events().first)
      #expect(json["verified"] == .bool(false) && json["exit_code"]?.integer == 1)
    }
  }
}
