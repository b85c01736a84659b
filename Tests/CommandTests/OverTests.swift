import MigratePostgres
import TestSupport
import Testing

@Suite struct `A run that does not go on` {
  @Test(arguments: ["completed", "cancelled", "reverted", "failed"])
  func `pause refuses a run that is over, by the command and by SQL in the same words`(state: String) async throws {
    try await withProject { project in
      let commands = ["completed": [], "cancelled": ["cancel"], "reverted": ["revert"], "failed": []][state] ?? []
      if state == "failed" || state == "cancelled" {
        try await project.server.psql("ALTER TABLE items ADD CHECK (id <> 500 OR state = 'open')")
      }
      try await project.migrate("apply", "close", "--yes")
      for command in commands { #expect(try await project.migrate(command, "1", "--yes").status == 0) }
      #expect(try await project.value("SELECT state FROM migrate.runs") == state)
      let said =
        state == "failed"
        ? "run 1 stands still already: it has failed" : "run 1 is \(state), so there is nothing to pause"
      let command = try await project.migrate("pause", "1")
      #expect(command.status == 1 && command.err.contains("migrate: error: \(said)\n"), "\(command)")
      let refusal = await #expect(throws: PostgresError.self) {
        try await project.server.psql("SELECT migrate.pause(1)")
      }
      #expect(refusal?.message == said && refusal?.sqlState?.code == "MG002", "\(String(describing: refusal))")
      #expect(try await project.value("SELECT count(*) FROM migrate.requests WHERE request = 'pause'") == "0")
    }
  }
}
