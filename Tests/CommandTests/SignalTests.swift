import Foundation
import MigrateJSON
import MigratePostgres
import TestSupport
import Testing

@Suite struct `Signals` {
  @Test(arguments: [SIGINT, SIGTERM, SIGHUP])
  func `P14 pause at the edge of the batch, and apply goes on`(signal: Int32) async throws {
    try await withProject { project in
      let gate = try await project.gate(behind: 4)
      let child = try project.start(["apply", "close", "--yes"])
      try await project.waitForGate(gate)
      child.signal(signal)
      let paused = try await child.finish()
      #expect(paused.status == 4 && paused.lines.last?.hasPrefix("run 1 paused 400 rows") == true, "\(paused)")
      #expect(try await project.value("SELECT state FROM migrate.runs") == "paused")
      try await gate.close()
      let resumed = try await project.migrate("apply", "close", "--yes", "--json")
      let end = try #require(try resumed.events().last)
      // Of the whole run, also after it was resumed.
      #expect(resumed.status == 0 && end["rows"]?.integer == 1_000)
      #expect(try await project.value("SELECT count(*) FROM items WHERE state = 'closed'") == "1000")
    }
  }

  @Test func `P14 twice cancel the statement`() async throws {
    try await withProject { project in
      // A row that somebody holds, and a server that waits for it longer than this test.
      let gate = try await project.gate(behind: 4)
      try await project.server.psql("ALTER FUNCTION gate() SET lock_timeout = '1h'")
      let child = try project.start(["apply", "close", "--yes"])
      try await project.waitForGate(gate)
      child.signal(SIGINT)
      try await child.wait(untilSaid: "pausing at the edge of the batch")
      try await project.waitForGate(gate)
      #expect(child.isRunning)
      child.signal(SIGINT)
      let paused = try await child.finish()
      #expect(paused.status == 4 && paused.lines.last?.hasPrefix("run 1 paused 400 rows") == true, "\(paused)")
      #expect(try await project.value("SELECT count(*) FROM items WHERE state = 'closed'") == "400")
      try await gate.close()
      #expect(try await project.migrate("resume", "1").status == 0)
    }
  }

  @Test func `P14 while a start waits for writers fix no end of the keys, and tell whom it waited for`() async throws {
    try await withProject { project in
      let writer = try await Session("writer", to: project.server)
      try await writer.execute("BEGIN; INSERT INTO items VALUES (0, 'open', 1)")
      let child = try project.start(["apply", "close", "--yes"])
      let words = "pid \(try await writer.pid) (writer), open for"
      try await child.wait(untilSaid: "waits for who may have written to the table: \(words)")
      child.signal(SIGTERM)
      let paused = try await child.finish()
      #expect(paused.err.contains("the first batch has not begun: the start waited for \(words)"), "\(paused)")
      #expect(paused.status == 4 && paused.lines.last?.hasPrefix("run 1 paused 0 rows") == true, "\(paused)")
      #expect(try await project.value("SELECT bounded_at IS NULL FROM migrate.runs") == "t")
      let resumed = try project.start(["resume", "1", "--json"])
      try await resumed.wait(untilSaid: "\"waiting\"", on: "out")
      try await writer.execute("COMMIT")
      let outcome = try await resumed.finish()
      let waiting = try #require(try outcome.events().first { $0["event"]?.text == "waiting" })
      let holder = try #require(waiting["holders"]?.elements.first)
      #expect(holder["pid"]?.integer == Int(try await writer.pid) && holder["application_name"]?.text == "writer")
      #expect((holder["seconds"]?.double ?? -1) >= 0)
      #expect(try outcome.events().last?["rows"]?.integer == 1_001)
      try await writer.close()
    }
  }

  @Test func `P26 of a pipe that nobody reads any more lose nothing`() async throws {
    try await withProject { project in
      let program = Process()
      program.executableURL = URL(fileURLWithPath: "/bin/bash")
      program.arguments = ["-c", "\"$0\" apply close --yes --json | head -n 1; exit ${PIPESTATUS[0]}", Binary.path]
      program.environment = ["PATH": "/usr/bin:/bin", "DATABASE_URL": project.database]
      program.currentDirectoryURL = URL(fileURLWithPath: project.folder)
      program.standardOutput = FileHandle.nullDevice
      try program.run()
      try await onThread { program.waitUntilExit() }
      #expect(program.terminationStatus == 0)
      #expect(try await project.value("SELECT state FROM migrate.runs") == "completed")
      #expect(try await project.value("SELECT count(*) FROM items WHERE state = 'closed'") == "1000")
    }
  }
}
