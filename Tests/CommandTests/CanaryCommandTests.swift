import Foundation
import MigrateJSON
import TestSupport
import Testing

@Suite struct `A canary at the command line` {
  private func withCanary(_ settings: String, _ body: (TestProject) async throws -> Void) async throws {
    try await withProject { project in
      try project.write(
        "batch: close\nsource: public.items\nset:\n  state: 'closed'\nbatch_size: 100\n\(settings)\n",
        to: "migrations/close.yaml")
      try await body(project)
    }
  }

  private static let chosen = "(hashtextextended(id::text, 0) & 9223372036854775807) % 100000 < 5000"

  @Test func `is told by the plan, by who applies it, and by status, and resume does the rest`() async throws {
    try await withCanary("canary: 5%") { project in
      let plan = try await project.migrate("plan", "close").out
      #expect(
        plan.contains("\n  canary     about 50 rows by a hash of their key, then pauses until `migrate resume`\n"),
        "\(plan)")
      let applied = try await project.migrate("apply", "close", "--yes")
      let rows = try #require(try await project.value("SELECT count(*) FROM items WHERE \(Self.chosen)"))
      #expect(applied.status == 4 && applied.out.hasPrefix("run 1 paused \(rows) rows 0 rejects "), "\(applied)")
      let said = "the canary is done: \(rows) rows read, \(rows) changed"
      let help = "`migrate resume 1` does the rest; `migrate revert 1` takes back what is done"
      #expect(applied.err.contains("\npaused: \(said)\n  help: \(help)\n"), "\(applied)")
      #expect(!applied.err.contains("error") && !applied.err.contains("batch:"), "\(applied)")
      let again = try await project.migrate("apply", "close", "--yes")
      #expect(
        again.status == 4 && again.err.contains("run 1 of close is paused: \(said)\n  help: \(help)\n"), "\(again)")
      #expect(!again.err.contains("error"), "\(again)")
      let told = try await project.migrate("apply", "close", "--yes", "--json")
      #expect(told.status == 4, "\(told)")
      #expect(try told.events().map { $0["event"]?.text } == ["paused"], "\(told)")
      let status = try await project.migrate("status", "1").out
      #expect(status.contains("\n  paused     \(said)\n  help       \(help)\n"), "\(status)")
      #expect(!status.contains("failure") && !status.contains("\n  batch "), "\(status)")
      let standing = try #require(try await project.migrate("status", "1", "--json").events().first)
      #expect(standing["paused_for"]?.text == said && standing["failure"]?["message"] == nil, "\(standing)")
      #expect(try await project.value("SELECT bool_and((state = 'closed') = (\(Self.chosen))) FROM items") == "t")
      let resumed = try await project.migrate("resume", "1")
      #expect(resumed.status == 0 && resumed.out.hasPrefix("run 1 completed 1000 rows 0 rejects "), "\(resumed)")
      #expect(try await project.migrate("verify", "1").status == 0)
    }
  }

  @Test func `is an event of its own for programs, and no error`() async throws {
    try await withCanary("canary: 5%") { project in
      let applied = try await project.migrate("apply", "close", "--yes", "--json")
      let events = try applied.events()
      #expect(applied.status == 4 && !events.contains { $0["event"]?.text == "error" }, "\(applied)")
      let paused = try #require(events.first { $0["event"]?.text == "paused" })
      #expect(paused["run"]?.integer == 1 && paused["reason"]?.text?.hasPrefix("the canary is done: ") == true)
      #expect(paused["remedy"]?.text?.hasPrefix("`migrate resume 1` does the rest; ") == true, "\(applied)")
    }
  }

  /// What is not as expected is of all batches so far.
  @Test func `that is not as expected is a failure of no batch`() async throws {
    try await withCanary("canary: 5%\nexpect: {changed: \"< 3\"}") { project in
      let applied = try await project.migrate("apply", "close", "--yes")
      #expect(applied.status == 4 && applied.err.contains("migrate: error: changed is "), "\(applied)")
      #expect(!applied.err.contains("batch:") && applied.err.contains(" [MG004]\n  help: "), "\(applied)")
      let again = try await project.migrate("apply", "close", "--yes")
      #expect(again.status == 4 && again.err.contains("run 1 of close is paused: changed is "), "\(again)")
      #expect(
        again.err.contains("\n  help: `migrate resume 1` accepts it and goes on; `migrate revert 1` "), "\(again)")
      let status = try await project.migrate("status", "1").out
      #expect(status.contains("\n  failure    changed is ") && !status.contains("\n  batch "), "\(status)")
    }
  }

  @Test func `holds, and goes on at once when another process resumes it`() async throws {
    try await withCanary("canary: 5%\nhold: 1h\nparallel: 2") { project in
      #expect(try await project.migrate("plan", "close").out.contains("by a hash of their key, then holds for 1 h"))
      let child = try project.start(["apply", "close", "--yes"])
      try await child.wait(untilSaid: "holds: canary: ")
      let standing = try #require(try await project.migrate("status", "1", "--json").events().first)
      #expect(standing["state"]?.text == "holding" && standing["waits_for"]?.text?.contains("; until ") == true)
      // More workers are no way around it.
      #expect(try await project.migrate("tune", "1", "--workers", "4").status == 0)
      #expect(try await project.value("SELECT bool_and((state = 'closed') = (\(Self.chosen))) FROM items") == "t")
      let resume = try await project.migrate("resume", "1", "--reason", "looks good")
      #expect(resume.status == 0 && resume.err.contains("that stayed goes on with it"), "\(resume)")
      let applied = try await child.finish()
      #expect(applied.status == 0 && applied.out.contains("run 1 completed 1000 rows 0 rejects "), "\(applied)")
      #expect(try await project.migrate("verify", "1").status == 0)
    }
  }

  @Test func `that is left by Ctrl-C waits for the rest of its time when it is applied again, and goes on by resume`()
    async throws
  {
    try await withCanary("canary: 5%\nhold: 1h") { project in
      let child = try project.start(["apply", "close", "--yes"])
      try await child.wait(untilSaid: "holds: canary: ")
      child.signal(SIGINT)
      #expect(try await child.finish().status == 4)
      let again = try project.start(["apply", "close", "--yes"])
      try await again.wait(untilSaid: "holds: canary: ")
      again.signal(SIGKILL)
      _ = try await again.finish()
      #expect(
        try await project.value(
          "SELECT count(*) = count(*) FILTER (WHERE \(Self.chosen)) FROM items WHERE state = 'closed'") == "t")
      let resumed = try await project.migrate("resume", "1")
      #expect(resumed.status == 0 && resumed.out.hasPrefix("run 1 completed 1000 rows 0 rejects "), "\(resumed)")
    }
  }
}
