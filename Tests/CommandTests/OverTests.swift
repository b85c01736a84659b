import Foundation
import MigratePostgres
import TestSupport
import Testing

@Suite struct `A run that does not go on` {
  @Test(arguments: [
    ("'closed'", "", "no row is changed, so nothing is left to do"),
    ("'shut'", "undo: none\n", "200 changed rows stay, and nothing takes them back: "),
  ])
  func `cancel tells where nothing can be taken back`(state: String, undo: String, said: String) async throws {
    try await withProject { project in
      let bad = undo.isEmpty ? 1 : 250
      try project.write(
        "batch: close\nsource: public.items\nset: {state: \(state)}\nbatch_size: 100\n\(undo)",
        to: "migrations/close.yaml")
      try await project.server.psql("ALTER TABLE items ADD CHECK (id <> \(bad) OR state = 'open')")
      #expect(try await project.migrate("apply", "close", "--yes").status == 1)
      let cancel = try await project.migrate("cancel", "1", "--yes")
      #expect(cancel.status == 0 && cancel.lines == ["run 1 cancelled \(undo.isEmpty ? 0 : 200) rows"], "\(cancel)")
      #expect(cancel.err.contains("run 1 of close is cancelled, and does not go on; \(said)"), "\(cancel)")
    }
  }

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

  /// In an emergency nobody looks for another word.
  @Test func `revert names what takes back a run that is worked on, and verify what waits for it`() async throws {
    try await withProject { project in
      // Each of its batches is a sign of life.
      try project.write(
        "batch: close\nsource: public.items\nset:\n  state: 'closed'\nbatch_size: 10\nthrottle: {pause: 200ms}\n",
        to: "migrations/close.yaml")
      let child = try project.start(["apply", "close", "--yes"])
      try await project.wait(until: "EXISTS (SELECT FROM migrate.batches)")
      let verify = try await project.migrate("verify", "1")
      #expect(verify.status == 1 && verify.err.contains("\n  help: first: `migrate wait 1`\n"), "\(verify)")
      let refused = try await project.migrate("revert", "1", "--yes")
      let way = "\n  help: `migrate cancel 1 --revert` ends it and takes back what it has done\n"
      #expect(refused.status == 1 && refused.err.contains("run 1 is being worked on by "), "\(refused)")
      #expect(refused.err.contains(way), "\(refused)")
      let cancelled = try await project.migrate("cancel", "1", "--revert", "--yes")
      #expect(cancelled.status == 0, "\(cancelled)")
      #expect(try await child.finish().status == 4)
      #expect(try await project.value("SELECT state FROM migrate.runs") == "reverted")
      #expect(try await project.value("SELECT count(*) FROM items WHERE state = 'closed'") == "0")
    }
  }

  @Test func `apply calls a run interrupted whose client was killed, as status does`() async throws {
    try await withProject { project in
      let gate = try await project.gate(behind: 3)
      let child = try project.start(["apply", "close", "--yes"])
      try await project.waitForGate(gate)
      child.signal(SIGKILL)
      #expect(try await child.finish().status == 137)
      try await gate.close()
      try await project.wait(until: "NOT migrate.is_working(1)")
      #expect(try await project.migrate("status", "1").out.hasPrefix("run 1 close: interrupted\n"))
      let again = try await project.migrate("apply", "--yes")
      #expect(again.status == 0, "\(again)")
      #expect(again.err.contains(/close +interrupted, goes on with run 1\n/), "\(again)")
      #expect(again.err.contains("going on with run 1 of close, which is interrupted\n"), "\(again)")
    }
  }
}
