import MigratePostgres
import TestSupport
import Testing

@Suite struct `What needs a run` {
  @Test func `does not begin while rows of it wait in quarantine, in one command or in two`() async throws {
    try await withProject { project in
      try await project.quarantine()
      try project.write(
        "batch: dearer\nsource: public.items\nneeds: close\nset: {price: price}\n", to: "migrations/dearer.yaml")
      let way = "\n  help: `migrate rejects 1` lists them; mend them, then: `migrate apply --rejects 1`\n"
      let both = try await project.migrate("apply", "close", "dearer", "--yes")
      #expect(both.status == 1, "\(both)")
      #expect(
        both.err.contains("dearer needs close (run 1 has 1 row in quarantine), not complete yet\(way)"), "\(both)")
      let alone = try await project.migrate("apply", "dearer", "--yes")
      let said = "dearer needs close, which is not complete: run 1 has 1 row in quarantine [unmet-need]\n"
      #expect(alone.status == 2 && alone.err.contains("migrations/dearer.yaml:3:8: error: \(said)"), "\(alone)")
      #expect(alone.err.contains(way), "\(alone)")
      let plan = try await project.migrate("plan", "dearer")
      #expect(plan.status == 0 && plan.err.contains("migrations/dearer.yaml:3:8: warning: \(said)"), "\(plan)")
      #expect(try await project.value("SELECT string_agg(name, ' ') FROM migrate.runs") == "close")

      try await project.migrate("rejects", "1", "--fix", "SET price = 1", "--yes")
      #expect(try await project.migrate("apply", "--rejects", "1", "--yes").status == 0)
      #expect(try await project.migrate("apply", "close", "dearer", "--yes").status == 0)
      #expect(try await project.value("SELECT string_agg(name, ' ' ORDER BY run) FROM migrate.runs") == "close dearer")
    }
  }

  @Test func `is a schema migration, too, which is told why the run is paused, and resumes nothing unseen`()
    async throws
  {
    for (settings, told) in [
      ("expect: {changed: \"< 3\"}", "changed is "), ("canary: 5%", "the canary is done: "),
    ] {
      try await withProject { project in
        try project.write(
          "batch: close\nsource: public.items\nset: {state: 'closed'}\nbatch_size: 100\n\(settings)\n",
          to: "migrations/close.yaml")
        #expect(try await project.migrate("apply", "close", "--yes").status == 4)
        let refusal = await #expect(throws: PostgresError.self) {
          try await project.server.psql("SELECT migrate.require('close')")
        }
        let message = refusal?.message ?? ""
        #expect(message.hasPrefix("close is required and not complete: run 1 is paused: \(told)"), "\(message)")
        #expect(message.hasSuffix("; look at it: migrate status 1"), "\(message)")
        let verified = try await project.migrate("verify", "close")
        #expect(verified.status == 1 && verified.err.contains("help: look at it: `migrate status 1`"), "\(verified)")
      }
    }
  }
}
