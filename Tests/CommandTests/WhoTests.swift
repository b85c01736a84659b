import Foundation
import MigrateJSON
import MigrateTestSupport
import TestSupport
import Testing

@Suite struct `Who and why` {
  @Test func `is known of each run, and of all that was asked of it`() async throws {
    try await withProject { project in
      let gate = try await project.gate(behind: 2)
      let child = try project.start(["apply", "close", "--yes", "--reason", "year's end"])
      try await project.waitForGate(gate)
      try await project.migrate("pause", "1", "--reason", "sale at noon")
      try await gate.close()
      try await project.migrate("resume", "1", "--reason", "sale is over")
      #expect(try await child.finish().status == 0)
      #expect(try await project.migrate("revert", "1", "--yes", "--reason", "wrong year").status == 0)

      let host = try #require(try await project.value("SELECT client_host FROM migrate.runs"))
      let standing = try #require(try await project.migrate("status", "1", "--json").events().first)
      let requests = standing["requests"]?.elements ?? []
      #expect(requests.map { $0["request"]?.text } == ["pause", "resume", "revert"])
      #expect(requests.map { $0["reason"]?.text } == ["sale at noon", "sale is over", "wrong year"])
      #expect(requests.allSatisfy { $0["by"]?.text == "postgres" && $0["host"]?.text == host && $0["at"] != nil })
      #expect(standing["reason"]?.text == "year's end" && standing["started_by"]?.text == "postgres")
      let hash = try #require(try await project.value("SELECT definition_hash FROM migrate.runs"))
      #expect(standing["definition_hash"]?.text == hash && standing["version"]?.text == "0.1.0")

      let block = try await project.migrate("status", "1").out
      #expect(block.contains("by postgres on \(host): sale at noon\n") && block.contains(": wrong year\n"), "\(block)")
      #expect(block.contains("  version    0.1.0, definition \(hash.prefix(12))\n"))
      let entry = try #require(try await project.migrate("history", "--json").events().first?.elements.first)
      #expect(entry["reverted_by"]?.text == "postgres" && entry["revert_host"]?.text == host)
      #expect(entry["revert_reason"]?.text == "wrong year" && entry["definition_hash"]?.text == hash)
    }
  }

  @Test func `is noted of who asks by SQL, or by apply, too`() async throws {
    try await withProject { project in
      let gate = try await project.gate(behind: 2)
      let child = try project.start(["apply", "close", "--yes"])
      try await project.waitForGate(gate)
      try await project.server.psql("SELECT migrate.pause(1, 'by hand')")
      child.signal(SIGTERM)
      #expect(try await child.finish().status == 4)
      try await gate.close()
      #expect(try await project.migrate("apply", "close", "--yes", "--reason", "once more").status == 0)
      let asked = try await project.server.psql("SELECT request, reason FROM migrate.requests ORDER BY seq")
      #expect(asked.first == ["pause", "by hand"] && asked.last == ["resume", "once more"], "\(asked)")
    }
  }

  @Test(arguments: [false, true])
  func `apply says who has paused the run that it goes on with, when and why`(isJSON: Bool) async throws {
    try await withProject { project in
      let gate = try await project.gate(behind: 2)
      let child = try project.start(["apply", "close", "--yes"])
      try await project.waitForGate(gate)
      #expect(try await project.migrate("pause", "1", "--reason", "deploy \"v2\"").status == 0)
      // Its client is there still, so nobody else goes on.
      let refused = try await project.start(["apply", "close", "--yes"] + (isJSON ? ["--json"] : [])).finish()
      #expect(refused.status == 1 && refused.err.contains("run 1 is being worked on by "), "\(refused)")
      #expect(!(refused.out + refused.err).contains("going"), "\(refused)")
      child.signal(SIGTERM)
      #expect(try await child.finish().status == 4)
      try await gate.close()
      try await project.server.psql("UPDATE migrate.requests SET requested_at = requested_at - interval '12 min'")
      let host = try #require(try await project.value("SELECT client_host FROM migrate.runs"))
      let told = try await project.start(["apply", "close", "--yes"] + (isJSON ? ["--json"] : [])).finish()
      #expect(told.status == 0, "\(told)")
      let words =
        "\ngoing on with run 1 of close, which postgres on \(host) paused 12 min [0-9]+ s ago: \"deploy \"v2\"\"\n"
      #expect(try ("\n" + told.err).contains(Regex(words)), "\(told)")
      guard isJSON else { return }
      let event = try #require(try told.events().first)
      #expect(event["event"]?.text == "going_on" && event["run"]?.integer == 1, "\(event.compact)")
      #expect(event["paused_by"]?.text == "postgres" && event["host"]?.text == host, "\(event.compact)")
      #expect(event["reason"]?.text == "deploy \"v2\"" && event["paused_at"]?.text != nil, "\(event.compact)")
      #expect(Int((event["seconds_ago"]?.double ?? 0) / 60) == 12, "\(event.compact)")
    }
  }

  /// Whoever goes on with it has mostly sent the signal himself.
  @Test func `apply says nothing of who has paused a run when a signal has`() async throws {
    try await withProject { project in
      let gate = try await project.gate(behind: 2)
      let child = try project.start(["apply", "close", "--yes"])
      try await project.waitForGate(gate)
      child.signal(SIGTERM)
      #expect(try await child.finish().status == 4)
      try await gate.close()
      #expect(try await project.value("SELECT bool_and(by_worker) FROM migrate.requests") == "t")
      let standing = try #require(try await project.migrate("status", "1", "--json").events().first)
      #expect(standing["stands_because"]?.text == "paused by a signal to its client", "\(standing.compact)")
      let told = try await project.migrate("apply", "close", "--yes", "--json")
      #expect(told.status == 0 && told.err.contains("going on with run 1 of close, which is paused\n"), "\(told)")
      #expect(!told.out.contains("going_on"), "\(told)")
    }
  }

  @Test func `status says how many requests it does not show, and where they are`() async throws {
    try await withProject { project in
      let gate = try await project.gate(behind: 2)
      let child = try project.start(["apply", "close", "--yes"])
      try await project.waitForGate(gate)
      for rate in 1...5 { #expect(try await project.migrate("tune", "1", "--max-rate", "\(rate)k").status == 0) }
      #expect(try await !project.migrate("status", "1").out.contains("  requests "))
      for rate in 6...7 { #expect(try await project.migrate("tune", "1", "--max-rate", "\(rate)k").status == 0) }
      let shown = try await project.migrate("status", "1")
      #expect(
        shown.out.contains("\n  requests   2 more before these: `migrate status 1 --json` has all\n  tune       20"),
        "\(shown.out)")
      #expect(shown.out.components(separatedBy: "\n  tune ").count == 6, "\(shown.out)")
      let all = try #require(try await project.migrate("status", "1", "--json").events().first)
      #expect(all["requests"]?.elements.count == 7)
      #expect(try await project.migrate("tune", "1", "--max-rate", "none").status == 0)
      try await gate.close()
      #expect(try await child.finish().status == 0)
    }
  }

  @Test func `pg_stat_activity shows at which batch a run is, in no message of its own`() async throws {
    try await withLedger(loggingStatements: true) { server in
      try await withFolder { folder in
        let project = TestProject(folder: folder, server: server)
        try await project.makeItems()
        let (log, gate) = (try await TestCluster.shared.log, try await project.gate(behind: 2))
        let mark = try await log.mark(server)
        let child = try project.start(["apply", "close", "--yes"], environment: ["PGAPPNAME": "nightly"])
        try await project.waitForGate(gate)
        let pid = try await gate.pid
        #expect(
          try await project.value(
            "SELECT application_name FROM pg_stat_activity WHERE \(pid) = ANY (pg_blocking_pids(pid))")
            == "migrate run 1 batch 3 (nightly)")
        try await gate.close()
        #expect(try await child.finish().status == 0)
        let named = try await log.statements(application: nil, since: mark, server).map(\.text)
          .filter { $0.contains("batch 7 (nightly)") }
        #expect(
          named.count == 1
            && named.first?.hasPrefix("BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE; SET LOCAL ") == true)
      }
    }
  }
}
