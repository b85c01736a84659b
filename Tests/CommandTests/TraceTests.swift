import Foundation
import MigrateJSON
import TestSupport
import Testing

@Suite struct `--trace` {
  private func spans(_ project: TestProject) throws -> [JSON] {
    let text = try String(contentsOfFile: "\(project.folder)/run.trace", encoding: .utf8)
    #expect(text.isEmpty || text.hasSuffix("\n"))
    return try text.split(separator: "\n").map { try JSON(String($0)) }
  }

  private func texts(_ spans: [JSON], _ name: String) -> [String?] { spans.map { $0[name]?.text } }

  private func nanos(_ span: JSON, _ name: String) -> Int { Int(span[name]?.text ?? "") ?? -1 }

  @Test func `has a line for each batch when it ends, whole after a kill, and one for the run`() async throws {
    try await withProject { project in
      let gate = try await project.gate(behind: 3)
      let child = try project.start(["apply", "close", "--yes", "-q", "--trace", "run.trace"])
      try await project.waitForGate(gate)
      child.signal(SIGKILL)
      _ = try await child.finish()
      let first = try spans(project)
      #expect(texts(first, "name") == ["batch 1", "batch 2", "batch 3"])
      let parents = Set(texts(first, "parent_span_id"))
      #expect(parents.count == 1 && parents.allSatisfy { $0?.utf8.count == 16 }, "\(parents)")
      try await project.wait(until: "NOT migrate.is_working(1)")

      // Somebody goes on, meets the gate, and is let through.
      let again = try project.start(["apply", "close", "--yes", "--trace", "run.trace", "--json"])
      try await again.wait(untilSaid: "\"again\"", on: "out")
      try await gate.close()
      #expect(try await again.finish().status == 0)
      let all = try spans(project)
      #expect(texts(all, "name") == (1...10).map { "batch \($0)" } + ["migrate apply close"])
      // One trace, whoever works on it.
      #expect(Set(texts(all, "trace_id")).count == 1 && all.first?["trace_id"]?.text?.utf8.count == 32)
      #expect(Set(texts(all, "span_id")).count == 11)
      let run = try #require(all.last)
      #expect(run["parent_span_id"] == .null && run["status"]?["code"]?.text == "OK")
      #expect(run["attributes"]?["migrate.rows_changed"]?.integer == 1_000)
      #expect(run["attributes"]?["migrate.state"]?.text == "completed")
      for span in all.dropFirst(3).dropLast() {
        #expect(span["parent_span_id"] == run["span_id"] && span["attributes"]?["migrate.run"]?.integer == 1)
        let (start, end) = (nanos(span, "start_time_unix_nano"), nanos(span, "end_time_unix_nano"))
        #expect(nanos(run, "start_time_unix_nano") <= start && start <= end && end <= nanos(run, "end_time_unix_nano"))
        #expect(span["attributes"]?["migrate.rows_read"]?.integer == 100)
      }
      let retried = all[3]
      let retries = retried["events"]?.elements ?? []
      #expect(!retries.isEmpty && retries.allSatisfy { $0["name"]?.text == "retry" }, "\(retried.compact)")
      #expect(retried["attributes"]?["migrate.attempts"]?.integer == retries.count + 1)
      #expect(retries.first?["attributes"]?["migrate.reason"]?.text?.contains("lock timeout") == true)
      expectTries(of: retried, states: Array(repeating: "55P03", count: retries.count))
    }
  }

  /// Each failed try with its SQLSTATE, between the beginning and the end of its batch, as long as it took.
  private func expectTries(of span: JSON, states: [String?]) {
    let events = span["events"]?.elements ?? []
    #expect(events.map { $0["attributes"]?["db.response.status_code"]?.text } == states, "\(span.compact)")
    let (start, end) = (nanos(span, "start_time_unix_nano"), nanos(span, "end_time_unix_nano"))
    var last = start
    for event in events {
      let took = event["attributes"]?["migrate.milliseconds"]?.double ?? -1
      let at = nanos(event, "time_unix_nano")
      #expect(took >= 0 && at - Int(took * 1_000_000) >= last - 1_000_000 && at <= end, "\(span.compact)")
      last = at
    }
  }

  /// The first one meets a row that the database refuses, and is halved; the second one ends the run.
  @Test
  func `has each try that failed within the time of its batch, with its SQLSTATE, also of a batch that is given up`()
    async throws
  {
    try await withProject { project in
      try await project.server.psql("ALTER TABLE items ADD CHECK (id <> 150 OR state = 'open')")
      try project.write(
        """
        batch: close
        source: public.items
        set: {state: {value: closed}}
        batch_size: 100
        on_error: continue
        checks:
          batch:
            not too far: SELECT b.id FROM batch AS b WHERE b.id = 300
        """, to: "migrations/close.yaml")
      let applied = try await project.migrate("apply", "close", "--yes", "--trace", "run.trace", "--json")
      #expect(applied.status == 1, "\(applied)")
      let again = try #require(try applied.events().first { $0["event"]?.text == "again" })
      #expect(again["sqlstate"]?.text == "23514" && again["ordinal"]?.integer == 2)
      let spans = try spans(project)
      #expect(texts(spans, "name") == ["batch 1", "batch 2", "batch 3", "migrate apply close"])
      #expect(spans.dropLast().map { $0["status"]?["code"]?.text } == ["OK", "OK", "ERROR"])
      expectTries(of: spans[0], states: [])
      expectTries(of: spans[1], states: ["23514"])
      #expect(spans[1]["attributes"]?["migrate.attempts"]?.integer == 2)
      #expect(spans[1]["attributes"]?["migrate.rows_rejected"]?.integer == 1)
      expectTries(of: spans[2], states: [nil])
      #expect(spans[2]["events"]?.elements.map { $0["name"]?.text } == ["gave up"])
      #expect(spans[2]["status"]?["message"]?.text?.contains("not too far") == true, "\(spans[2].compact)")
      #expect(spans[2]["parent_span_id"] == spans[3]["span_id"])
    }
  }

  /// Of several slices, of which each has a batch of that number, it is told at its own.
  @Test func `has the tries of a batch that is taken back`() async throws {
    try await withProject { project in
      try project.write(
        "batch: close\nsource: public.items\nset: {state: {value: closed}}\nbatch_size: 50\nparallel: 2\n",
        to: "migrations/close.yaml")
      #expect(try await project.migrate("apply", "close", "--workers", "2", "--yes").status == 0)
      let holder = try await Session("holder", to: project.server)
      try await holder.execute("BEGIN; SELECT FROM items WHERE id = 500 FOR UPDATE")
      let child = try project.start(["revert", "1", "--yes", "--trace", "run.trace", "--json"])
      try await child.wait(untilSaid: "\"again\"", on: "out")
      try await holder.execute("COMMIT")
      #expect(try await child.finish().status == 0)
      let place = try await project.server.psql(
        "SELECT slice, ordinal FROM migrate.batches WHERE kind = 'apply' AND through_key[1]::bigint >= 500 ORDER BY through_key[1]::bigint LIMIT 1"
      )
      let retried = try spans(project).filter { !($0["events"]?.elements ?? []).isEmpty }
      #expect(
        retried.map { span in ["slice", "batch"].map { span["attributes"]?["migrate.\($0)"]?.integer.map(String.init) }
        }
          == place)
      let span = try #require(retried.first)
      expectTries(of: span, states: (span["events"]?.elements ?? []).map { _ in "55P03" })
    }
  }

  @Test func `tells what a run failed by, and of the way back`() async throws {
    try await withProject { project in
      try await project.server.psql("ALTER TABLE items ADD CHECK (id < 250 OR state = 'open')")
      #expect(try await project.migrate("apply", "close", "--yes", "--trace", "run.trace").status == 1)
      let failed = try #require(try spans(project).last)
      #expect(failed["status"]?["code"]?.text == "ERROR" && failed["attributes"]?["migrate.state"]?.text == "failed")
      #expect(failed["status"]?["message"]?.text?.contains("violates check constraint") == true)
      let batch = try #require(try spans(project).dropLast().last)
      #expect(batch["name"]?.text == "batch 3" && batch["status"]?["code"]?.text == "ERROR")
      #expect(batch["attributes"]?["db.response.status_code"]?.text == "23514")
      expectTries(of: batch, states: ["23514"])
      #expect(try await project.migrate("revert", "1", "--yes", "--trace", "run.trace").status == 0)
      let back = try #require(try spans(project).last)
      #expect(back["name"]?.text == "migrate revert close" && back["trace_id"] == failed["trace_id"])
      #expect(back["attributes"]?["migrate.direction"]?.text == "revert")
    }
  }

  /// The disk is full for a while, in the middle of a line.
  @Test func `says that it is not complete, and begins a line anew behind a broken one`() async throws {
    try await withProject { project in
      let gate = try await project.gate(behind: 3)
      let child = try project.start(["apply", "close", "--yes", "--trace", "run.trace"])
      try await project.waitForGate(gate)
      let path = "\(project.folder)/run.trace"
      let size = try #require(try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int)
      try await child.limitFiles(to: size + 100)
      try await project.server.psql(
        """
        CREATE OR REPLACE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          IF (SELECT count(*) FROM migrate.batches) >= 5 THEN PERFORM pg_advisory_xact_lock_shared(42); END IF;
          RETURN NULL;
        END $$
        """)
      try await project.wait(until: "(SELECT count(*) = 5 FROM migrate.batches)")
      try await project.waitForGate(gate)
      try await child.limitFiles(to: nil)
      try await gate.close()
      let ended = try await child.finish()
      #expect(ended.status == 0 && ended.err.contains("run.trace cannot be written and is not complete"), "\(ended)")
      let text = try String(contentsOfFile: path, encoding: .utf8)
      let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
      let spans = lines.map { try? JSON(String($0)) }
      // Three, the half one, five, the run's own, and the end of the last line.
      #expect(
        spans.map { $0?["name"]?.text } == (1...3).map { "batch \($0)" } + [nil] + (6...10).map { "batch \($0)" }
          + ["migrate apply close", nil])
      #expect(lines[3].utf8.count == 100 && lines.last == "")
    }
  }
}
