import Foundation
import MigratePostgres
import TestSupport
import Testing

@Suite struct `Twenty commands at once` {
  /// The rows of its quarantine: each is tried by one of them only, and who came first is not taken over.
  @Test func `try the rejects of one run again, and whoever comes meanwhile is told so`() async throws {
    try await withProject { project in
      try await project.server.psql(
        "CREATE TABLE r (id integer PRIMARY KEY, n integer, m integer); INSERT INTO r SELECT i, -i, 0 FROM generate_series(1, 150) AS i"
      )
      try project.write(
        "batch: r\nsource: public.r\nset: {m: m + 1}\nvalidation: {positive: n > 0}\nmax_rejects: 1000\n",
        to: "migrations/r.yaml")
      #expect(try await project.migrate("apply", "r", "--yes").status == 3)
      try await project.server.psql("UPDATE r SET n = 5")
      let children = try (1...20).map { _ in try project.start(["apply", "--rejects", "r", "--yes"]) }
      for child in children {
        let outcome = try await child.finish()
        let isRefused = outcome.status == 1 && Self.reasons.contains { outcome.err.contains($0) }
        let isBeaten = outcome.status == 4 && (outcome.out + outcome.err).contains("taken over")
        #expect(outcome.status == 0 || isRefused || isBeaten, "\(outcome)")
      }
      #expect(try await project.value("SELECT count(*) || ' ' || min(m) || ' ' || max(m) FROM r") == "150 1 1")
      #expect(try await project.value("SELECT count(*) FROM migrate.rejects WHERE state = 'open'") == "0")
    }
  }

  /// Between the look at what was done last and the first row somebody else can have taken the run over, and have tried rows.
  @Test func `and whoever is overtaken among them says so, not what it met`() async throws {
    try await withProject { project in
      try await project.server.psql(
        "CREATE TABLE r (id integer PRIMARY KEY, n integer, m integer); INSERT INTO r VALUES (1, -1, 0), (2, 1, 0)")
      try project.write(
        "batch: r\nsource: public.r\nset: {m: m + 1}\nvalidation: {positive: n > 0}\nmax_rejects: 1000\n",
        to: "migrations/r.yaml")
      #expect(try await project.migrate("apply", "r", "--yes").status == 3)
      try await project.server.psql("UPDATE r SET n = 5")
      let editor = try await Session("editor", to: project.server)
      try await editor.execute("BEGIN; SELECT FROM r WHERE id = 1 FOR UPDATE")
      let late = try project.start(["apply", "--rejects", "r", "--yes"])
      try await project.waitForGate(editor)
      try await project.server.psql(
        "SELECT migrate.take_over(1, epoch) FROM migrate.fence; UPDATE migrate.undo_1_1 SET slice = -1, ordinal = 1")
      try await editor.execute("COMMIT")
      let outcome = try await late.finish()
      #expect(outcome.status == 4 && outcome.out.contains("taken over"), "\(outcome)")
    }
  }

  private static let reasons = [
    "a run of close has begun in this moment", "run 1 is being worked on by",
    "run 1 has just been taken over by somebody else",
  ]

  /// C09; the one that comes first stands at its table until the others have their answer.
  @Test func `C09: begin one run, and nineteen say that it is another's`() async throws {
    try await withProject { project in
      let gate = try await project.gate(behind: 0)
      let children = try (1...20).map { _ in try project.start(["apply", "close", "--yes", "--workers", "2"]) }
      let deadline = ContinuousClock.now + .seconds(60)
      while children.count(where: \.isRunning) > 1, ContinuousClock.now < deadline {
        try await Task.sleep(for: .milliseconds(20))
      }
      try #require(children.count(where: \.isRunning) == 1)
      try await gate.close()
      var refused: [Outcome] = []
      for child in children {
        let outcome = try await child.finish()
        if outcome.status != 0 { refused.append(outcome) }
      }
      #expect(refused.count == 19)
      for outcome in refused {
        // Whoever was just about to begin its first batch is held off by the epoch.
        let reasons = outcome.status == 4 ? ["taken over"] : Self.reasons
        #expect(outcome.status == 1 || outcome.status == 4, "\(outcome)")
        #expect(reasons.contains { outcome.err.contains($0) || outcome.out.contains($0) }, "\(outcome)")
      }
      #expect(try await project.value("SELECT count(*) || ' ' || min(state) FROM migrate.runs") == "1 completed")
      #expect(try await project.value("SELECT count(*) FROM items WHERE state = 'closed'") == "1000")
      #expect(try await project.value("SELECT sum(rows_changed) FROM migrate.batches") == "1000")
    }
  }
}
