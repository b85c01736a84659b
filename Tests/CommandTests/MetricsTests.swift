import Foundation
import Migrate
import MigrateLedger
import TestSupport
import Testing

/// Prometheus' text format as its manual says it, and not a letter more: a family's HELP and TYPE before its samples, all of them
/// together, no series twice, counters that end with _total, histograms that add up.
private struct Exposition {
  private(set) var values: [String: Double] = [:]

  init(_ text: String) throws {
    var (help, types, family): (Set<String>, [String: String], String) = ([], [:], "")
    #expect(text.isEmpty || text.hasSuffix("\n"))
    for line in text.split(separator: "\n", omittingEmptySubsequences: false).dropLast() {
      if let match = line.wholeMatch(of: /# HELP ([a-z_]+) ([^\\\n]+)/) {
        try #require(help.insert(String(match.1)).inserted, "HELP twice: \(line)")
        family = String(match.1)
      } else if let match = line.wholeMatch(of: /# TYPE ([a-z_]+) (counter|gauge|histogram)/) {
        try #require(match.1 == family && types.updateValue(String(match.2), forKey: family) == nil, "\(line)")
        try #require((match.2 == "counter") == family.hasSuffix("_total"), "\(line)")
      } else {
        let label = /[a-z_]+="(?:[^"\\\n]|\\\\|\\"|\\n)*"/
        let match = try #require(line.wholeMatch(of: /([a-z_]+)\{(.*)\} (-?[0-9.]+(?:e[+-]?[0-9]+)?)/), "\(line)")
        var rest = match.2
        while let one = rest.prefixMatch(of: label) {
          rest = rest[one.range.upperBound...]
          if rest.first == "," { rest = rest.dropFirst() }
        }
        try #require(rest.isEmpty, "labels: \(line)")
        let parts = types[family] == "histogram" ? ["_bucket", "_sum", "_count"] : [""]
        try #require(parts.contains { match.1 == family + $0 }, "\(line) below \(family)")
        let value = try #require(Double(match.3))
        try #require(values.updateValue(value, forKey: "\(match.1){\(match.2)}") == nil, "twice: \(line)")
      }
    }
    try #require(Set(types.keys) == help)
    for (name, value) in values where name.contains("_bucket{") && name.hasSuffix(#"le="+Inf"}"#) {
      let count = name.replacing("_bucket{", with: "_count{").replacing(#",le="+Inf""#, with: "")
      #expect(values[count] == value)
    }
  }

  subscript(_ name: String, _ labels: String = "") -> Double? {
    values[#"\#(name){run="1",name="close",direction="apply"\#(labels)}"#]
  }
}

@Suite struct `--metrics` {
  private func read(_ project: TestProject) throws -> Exposition {
    try Exposition(String(contentsOfFile: "\(project.folder)/run.prom", encoding: .utf8))
  }

  @Test func `has a run's figures while it goes on, whole at any time, and at its end`() async throws {
    try await withProject { project in
      let gate = try await project.gate(behind: 3)
      let child = try project.start(["apply", "close", "--yes", "-q", "--metrics", "run.prom"])
      try await project.waitForGate(gate)
      for _ in 1...200 {
        let now = try read(project)
        #expect(
          now["migrate_run_state", #",state="running""#] == 1 && now["migrate_run_state", #",state="completed""#] == 0)
        try await Task.sleep(for: .milliseconds(10))
      }
      let held = try read(project)
      #expect(held["migrate_batch_retries_total"] ?? 0 >= 1)
      try await gate.close()
      #expect(try await child.finish().status == 0)
      let end = try read(project)
      #expect(
        end["migrate_run_state", #",state="completed""#] == 1 && end["migrate_run_state", #",state="running""#] == 0)
      #expect(end["migrate_rows_changed_total"] == 1_000 && end["migrate_rows_read_total"] == 1_000)
      // A batch that was tried often in vain is done in smaller ones.
      let batches = try await project.value("SELECT count(*) FROM migrate.batches").flatMap { Double($0) }
      #expect(end["migrate_rows_rejected_total"] == 0 && end["migrate_batches_total"] == batches)
      #expect(end["migrate_batch_duration_seconds_count"] == batches)
      #expect(end["migrate_batch_duration_seconds_bucket", #",le="60""#] == batches)
      // Nothing of the way there is left.
      #expect(
        try FileManager.default.contentsOfDirectory(atPath: project.folder).filter { $0.contains("run.prom") } == [
          "run.prom"
        ])
    }
  }

  /// Waits until the file says so.
  private func wait(_ project: TestProject, until state: String) async throws -> Exposition {
    let deadline = ContinuousClock.now + .seconds(15)
    while true {
      // It is not there from the first moment.
      let now = try? read(project)
      if let now, now["migrate_run_state", #",state="\#(state)""#] == 1 { return now }
      try #require(ContinuousClock.now < deadline, "\(state): \(now?.values ?? [:])")
      try await Task.sleep(for: .milliseconds(50))
    }
  }

  @Test func `tells that the run holds, is paused, and goes on`() async throws {
    try await withProject { project in
      try await project.server.psql("CREATE TABLE backups (host text); INSERT INTO backups VALUES ('a')")
      try project.write(
        """
        batch: close
        source: public.items
        set: {state: 'closed'}
        batch_size: 100
        throttle: {hold_when: {backup: SELECT 1 FROM backups}}

        """, to: "migrations/close.yaml")
      // A trigger that came behind the plan would stop the run.
      let gate = try await project.gate(behind: 3)
      let child = try project.start(["apply", "close", "--yes", "-q", "--metrics", "run.prom"])
      let held = try await wait(project, until: "holding")
      #expect(held["migrate_run_state", #",state="running""#] == 0)
      #expect(held["migrate_run_holding"] == 1 && held["migrate_run_held_by", #",condition="backup""#] == 1)
      #expect(held["migrate_rows_per_second"] == nil && held["migrate_time_left_seconds"] == nil)
      #expect(try await project.migrate("status", "1", "--metrics", "look.prom").status == 0)
      let look = try Exposition(String(contentsOfFile: "\(project.folder)/look.prom", encoding: .utf8))
      #expect(look["migrate_run_holding"] == 1 && look["migrate_run_held_by", #",condition="backup""#] == 1)
      try await project.server.psql("SELECT migrate.pause(1)")
      let paused = try await wait(project, until: "paused")
      #expect(paused["migrate_run_state", #",state="holding""#] == 0)
      #expect(paused["migrate_run_holding"] == 0 && !paused.values.keys.contains { $0.contains("held_by") })
      try await project.server.psql("DELETE FROM backups; SELECT migrate.resume(1)")
      try await project.waitForGate(gate)
      // The last batch before the gate came within a second of the one before.
      let running = try await wait(project, until: "running")
      var read: Exposition = running
      let deadline = ContinuousClock.now + .seconds(15)
      while read["migrate_batches_total"] != 3, ContinuousClock.now < deadline {
        try await Task.sleep(for: .milliseconds(50))
        read = try self.read(project)
      }
      #expect(read["migrate_batches_total"] == 3 && read["migrate_rows_read_total"] == 300)
      #expect(read["migrate_workers"] == 1 && read["migrate_run_holding"] == 0)
      try await gate.close()
      #expect(try await child.finish().status == 0)
    }
  }

  @Test func `has what status shows, of all runs`() async throws {
    try await withProject { project in
      try await project.migrate("apply", "close", "--yes")
      #expect(try await project.migrate("revert", "1", "--yes", "--metrics", "run.prom").status == 0)
      let reverted = try read(project)
      #expect(reverted.values[#"migrate_rows_changed_total{run="1",name="close",direction="revert"}"#] == 1_000)
      try await project.migrate("apply", "close", "--yes")
      #expect(try await project.migrate("status", "--metrics", "run.prom").status == 0)
      let all = try read(project)
      #expect(all.values[#"migrate_run_state{run="1",name="close",direction="revert",state="reverted"}"#] == 1)
      #expect(all.values[#"migrate_run_state{run="2",name="close",direction="apply",state="completed"}"#] == 1)
      #expect(all.values[#"migrate_undo_bytes{run="2",name="close",direction="apply"}"#] ?? 0 > 0)
      #expect(try await project.migrate("status", "2", "--watch", "--metrics", "run.prom").status == 0)
      #expect(try read(project).values[#"migrate_rows_read_total{run="2",name="close",direction="apply"}"#] == 1_000)
    }
  }

  @Test func `escapes what a name may hold`() throws {
    let run = RunMetrics(run: 1, name: "a\\b\"c\nd{e},", state: "running", direction: .apply)
    let text = RunMetrics.text([run])
    #expect(try !Exposition(text).values.keys.contains { $0.hasPrefix("migrate_workers") })
    #expect(text.contains(#"migrate_rows_read_total{run="1",name="a\\b\"c\nd{e},",direction="apply"} 0"#))
    #expect(RunMetrics.text([]).isEmpty)
  }

  @Test(arguments: ["--metrics", "--trace"])
  func `is refused before anything begins when the file cannot be written`(option: String) async throws {
    try await withProject(hasLedger: false) { project in
      let refused = try await project.migrate("apply", "close", "--yes", option, "nowhere/file")
      #expect(refused.status == 1 && refused.err.contains("nowhere/file cannot be written"), "\(refused)")
      #expect(try await project.value("SELECT to_regnamespace('migrate')") == nil)
    }
  }
}
