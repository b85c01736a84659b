import Foundation
import Migrate
import MigrateJSON
import MigrateLedger
import TestSupport
import Testing

@Suite struct `A forecast` {
  @Test func `is nothing without rows, a time after the first batch, and an interval after the fifth`() {
    var pace = RecentPace()
    #expect(pace.forecast(rows: 100) == nil && pace.rate == nil)
    pace.add(BatchPace(rows: 0, seconds: 1))
    #expect(pace.forecast(rows: 100) == nil)
    for count in 1...5 {
      pace.add(BatchPace(rows: 100, seconds: 0.75))
      #expect((pace.forecast(rows: 1_000)?.range != nil) == (count >= 4), "\(count)")
    }
    #expect(pace.forecast(rows: 0) == nil)
  }

  @Test func `of batches that are all alike is sure`() {
    let pace = RecentPace(Array(repeating: BatchPace(rows: 100, seconds: 0.5), count: 20))
    let forecast = pace.forecast(rows: 10_000)
    #expect(forecast?.left == .seconds(50) && forecast?.range == .seconds(50)...(.seconds(50)))
  }

  @Test func `goes no faster than the run may`() {
    let slow = RecentPace(Array(repeating: BatchPace(rows: 100, seconds: 0.5), count: 20), most: 100)
    let forecast = slow.forecast(rows: 10_000)
    #expect(slow.rate == 100)
    #expect(forecast?.left == .seconds(100) && forecast?.range == .seconds(100)...(.seconds(100)))
    let fast = RecentPace(Array(repeating: BatchPace(rows: 100, seconds: 0.5), count: 20), most: 1_000)
    #expect(fast.rate == 200 && fast.forecast(rows: 10_000)?.left == .seconds(50))
    // Before the first batch the limit is all that is known.
    #expect(RecentPace([], most: 10).rate == nil && RecentPace([], most: 10).forecast(rows: 100)?.left == .seconds(10))
  }

  /// A transaction by itself takes ten times as long as ten rows of it.
  @Test func `of a revert knows transactions from rows, so that a batch kept in parts says nothing wrong`() {
    func took(_ rows: Int) -> Double { 0.01 + Double(rows) * 0.0001 }
    var pace = RecentPace(transactions: 140)
    for part in 1...41 { pace.add(BatchPace(rows: part % 2 * 49, seconds: took(part % 2 * 49))) }
    // 99 batches as a whole: rows alone would foresee over half a minute.
    let truth = 99 * took(1_000)
    let forecast = pace.forecast(rows: 99_000)
    #expect(abs((forecast?.left ?? .zero) / .seconds(1) - truth) < 0.01, "\(String(describing: forecast))")
    for _ in 1...30 { pace.add(BatchPace(rows: 1_000, seconds: took(1_000))) }
    let later = pace.forecast(rows: 69_000)
    #expect(abs((later?.left ?? .zero) / .seconds(1) - 69 * took(1_000)) < 0.01, "\(String(describing: later))")
    // Where all transactions are alike they say no more than their mean.
    let alike = RecentPace(Array(repeating: BatchPace(rows: 100, seconds: 0.5), count: 20), transactions: 100)
    #expect(alike.forecast(rows: 10_000)?.left == .seconds(50))
  }

  /// What follows the last fifty batches counts, not what was long ago.
  @Test func `follows the last batches`() {
    var pace = RecentPace()
    for _ in 1...1_000 { pace.add(BatchPace(rows: 100, seconds: 9)) }
    for _ in 1...50 { pace.add(BatchPace(rows: 100, seconds: 1)) }
    #expect(pace.rate == 100)
  }

  /// Nine of ten it says; over a thousand runs whose batches differ by chance, as in a log-normal distribution.
  @Test(arguments: [(0.3, 20), (0.3, 200), (0.8, 50)])
  func `takes in the truth nine times of ten`(spread: Double, ahead: Int) {
    var random = Seeded(state: 42)
    var hits = 0
    for _ in 1...1_000 {
      func batch() -> BatchPace {
        let (a, b) = (Double.random(in: 0..<1, using: &random), Double.random(in: 0..<1, using: &random))
        let normal = (-2 * log(1 - a)).squareRoot() * cos(2 * .pi * b)
        return BatchPace(rows: 1_000, seconds: 0.5 * exp(spread * normal))
      }
      let pace = RecentPace((1...20).map { _ in batch() })
      let truth = (1...ahead).reduce(0.0) { sum, _ in sum + batch().seconds }
      if pace.forecast(rows: ahead * 1_000)?.range?.contains(.seconds(truth)) == true { hits += 1 }
    }
    #expect((830...960).contains(hits), "\(hits) of 1,000")
  }

  @Test func `is held against the truth when the run is over`() async throws {
    try await withProject(rows: 3_000, batchSize: 100) { project in
      let applied = try await project.migrate("apply", "close", "--yes", "--json")
      let end = try #require(try applied.events().last)
      let forecast = try #require(end["forecast"])
      #expect(
        (forecast["seconds_left"]?.double ?? 0) > 0 && (forecast["seconds_taken"]?.double ?? 0) > 0, "\(end.compact)")
      let reverted = try await project.migrate("revert", "1", "--yes", "-v")
      #expect(reverted.err.contains("\nforeseen at a tenth: ") && reverted.err.contains("; it took "), "\(reverted)")
    }
  }
}

/// The same numbers each time.
private struct Seeded: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

@Suite struct `status of a run that goes on` {
  @Test func `shows its workers, where and since when`() async throws {
    try await withProject { project in
      let gate = try await project.gate(behind: 2)
      let run = try project.start(["apply", "close", "--yes", "-q"])
      try await project.waitForGate(gate)
      // Between two tries at the gate it has no batch.
      let status = try await project.migrate("status", "1", until: { $0.out.contains(", at batch ") })
      let pid = try #require(try await project.value("SELECT pid FROM migrate.workers"))
      let since = try #require(try await project.value("SELECT to_json(since) #>> '{}' FROM migrate.workers"))
      #expect(status.out.contains("  worker 1   backend \(pid) of a client on "), "\(status.out)")
      #expect(status.out.contains(", at batch 3"))
      let told = try await project.migrate(
        "status", "1", "--json",
        until: { (try? $0.events().first?["workers"]?.elements.first?["batch"]?.integer) != nil })
      let worker = try #require(try told.events().first?["workers"]?.elements.first)
      #expect(worker["worker"]?.integer == 1 && worker["pid"]?.integer == Int(pid) && worker["batch"]?.integer == 3)
      #expect(worker["since"]?.text?.prefix(16) == since.prefix(16))

      try await gate.close()
      #expect(try await run.finish().status == 0)
    }
  }

  /// From one source: `done at` is the time left from now on, and neither goes by what was before the tuning.
  @Test func `is told by the rate that it was tuned to`() async throws {
    try await withProject { project in
      try project.writeClose("pause: 1h")
      let run = try project.start(["apply", "close", "--yes", "-q"])
      try await project.waitForBatches(1)
      let before = try #require(try await project.migrate("status", "1", "--json").events().first)
      #expect(before["rows_per_second"]?.double != nil && before["seconds_left"]?.double != nil, "\(before.compact)")
      #expect(try await project.migrate("tune", "1", "--max-rate", "10").status == 0)
      let asked = try await project.value("SELECT clock_timestamp()")
      let status = try #require(try await project.migrate("status", "1", "--json").events().first)
      #expect(status["rows_per_second"]?.double == nil && status["seconds_left"]?.double == 90, "\(status.compact)")
      // The rate alone is known, not what a batch takes.
      #expect(status["seconds_left_low"]?.double == 90 && status["seconds_left_high"] == .null, "\(status.compact)")
      let words = try await project.migrate("status", "1").out
      #expect(words.contains("at least 1 min 30 s") && words.contains("not before 2"), "\(words)")
      let ends = try #require(status["ends_at"]?.text)
      #expect(
        try await project.value(
          "SELECT '\(ends)'::timestamptz - interval '90 s' BETWEEN '\(asked ?? "")'::timestamptz AND clock_timestamp()")
          == "t", "\(status.compact)")
      let text = try await project.migrate("status", "1")
      #expect(text.out.contains("  time left  ") && text.out.contains("  done at    not before "), "\(text.out)")
      #expect(try await project.migrate("tune", "1", "--max-rate", "none", "--pause", "0s").status == 0)
      #expect(try await run.finish().status == 0)
    }
  }

  @Test func `is told no end while a query holds it`() async throws {
    try await withProject { project in
      try await project.server.psql("CREATE TABLE busy (n integer)")
      try project.writeClose("pause: 1h, hold_when: {busy: SELECT 1 FROM public.busy}")
      let run = try project.start(["apply", "close", "--yes", "-q"])
      try await project.waitForBatches(1)
      #expect(try await project.migrate("status", "1").out.contains("  done at "))
      try await project.server.psql("INSERT INTO busy VALUES (1)")
      try await project.wait(until: "EXISTS (SELECT FROM migrate.runs WHERE state = 'holding')")
      let held = try await project.migrate("status", "1")
      #expect(held.out.hasPrefix("run 1 close: holding\n") && !held.out.contains("done at"), "\(held.out)")
      let standing = try #require(try await project.migrate("status", "1", "--json").events().first)
      #expect(standing["ends_at"] == .null && standing["seconds_left"] == .null, "\(standing.compact)")
      #expect(standing["rows_per_second"] == .null && standing["rows_read"]?.integer == 100, "\(standing.compact)")
      #expect(standing["stands_because"]?.text == "holds for busy: its query finds a row", "\(standing.compact)")
      #expect(standing["stands_since"]?.text != nil && standing["stands_since"] == standing["held_since"])
      #expect(!held.out.contains("rows/s") && held.out.contains("\n  rows       100 read, "), "\(held.out)")
      try await project.server.psql("DELETE FROM busy")
      #expect(try await project.migrate("tune", "1", "--pause", "0s").status == 0)
      #expect(try await run.finish().status == 0)
    }
  }

  /// How fast it goes is another matter.
  @Test func `is told its rate as before when it is tuned to hold for nothing`() async throws {
    try await withProject { project in
      try await project.server.psql("CREATE TABLE busy ()")
      try project.write(
        "batch: close\nsource: public.items\nset: {state: 'closed'}\nbatch_size: 100\n"
          + "throttle: {pause: 4s, hold_when: {busy: SELECT FROM busy}}\n", to: "migrations/close.yaml")
      let run = try project.start(["apply", "close", "--yes", "-q"])
      try await project.wait(until: "(SELECT count(*) = 2 FROM migrate.batches)")
      #expect(try await project.migrate("tune", "1", "--holds", "none").status == 0)
      let status = try #require(try await project.migrate("status", "1", "--json").events().first)
      #expect(status["rows_read"]?.integer == 200, "\(status.compact)")
      #expect(
        status["rows_per_second"]?.double ?? 0 > 0 && status["seconds_left"]?.double ?? 0 > 0, "\(status.compact)")
      #expect(try await project.migrate("cancel", "1", "--yes").status == 0)
      _ = try await run.finish()
    }
  }

  /// The pace of its last batches says nothing about now.
  @Test func `is told no rate and no time left while it stands, but since when and why`() async throws {
    try await withProject { project in
      let gate = try await project.gate(behind: 3)
      let run = try project.start(["apply", "close", "--yes", "-q"])
      try await project.waitForGate(gate)
      try await expect("waits for a lock held by ", since: "20[0-9-]{8}T[^ ]+\n", of: project)

      #expect(try await project.migrate("pause", "1", "--reason", "sale at noon").status == 0)
      let host = try #require(try await project.value("SELECT client_host FROM migrate.runs"))
      let why = "paused by postgres on \(host): sale at noon"
      try await expect(why, since: "20[0-9-]{8}T[^ ]+, \(why)\n", of: project)
      let watch = try project.start(["status", "1", "--watch"])
      try await watch.wait(untilSaid: "300 of ~1,000 rows  \(why), since 20", on: "err")
      let events = try project.start(["status", "1", "--watch", "--json"])
      try await events.wait(untilSaid: "\"stands_because\":\"\(why)\"", on: "out")

      run.signal(SIGKILL)
      #expect(try await run.finish().status == 137)
      let watched = try await watch.finish()
      #expect(!watched.err.contains("rows/s") && !watched.err.contains(" left"), "\(watched.err)")
      let told = try await events.finish().events()
      #expect(!told.isEmpty && told.allSatisfy { $0["rows_per_second"] == .null && $0["seconds_left"] == .null })
      try await expect(why, since: "20[0-9-]{8}T[^ ]+, \(why)\n", of: project)

      try await gate.close()
      #expect(try await project.migrate("resume", "1").status == 0)
      let done = try #require(try await project.migrate("status", "1", "--json").events().first)
      #expect(done["stands_since"] == .null && done["stands_because"] == .null, "\(done.compact)")
    }
  }

  @Test func `stands since its worker gave its last sign of life when that is gone`() async throws {
    try await withProject { project in
      let gate = try await project.gate(behind: 3)
      let run = try project.start(["apply", "close", "--yes", "-q"])
      try await project.waitForGate(gate)
      run.signal(SIGKILL)
      _ = try await run.finish()
      try await gate.close()
      try await project.wait(until: "NOT migrate.is_working(1)")
      try await expect("its worker is gone", since: "20[0-9-]{8}T[^ ]+\n", of: project)
      let last = try await project.value("SELECT to_json(max(heartbeat_at)) #>> '{}' FROM migrate.workers")
      let standing = try #require(try await project.migrate("status", "1", "--json").events().first)
      #expect(standing["stands_since"]?.text == last, "\(standing.compact)")
      #expect(try await project.migrate("resume", "1").status == 0)
    }
  }

  /// By the parts, of which each goes back in a transaction of its own, and not by its last batch as if all were like that. The times are
  /// set, so that the truth is known: 10 ms a transaction, and 0.1 ms a row.
  @Test func `is foreseen on its way back by what its batches and their parts take`() async throws {
    try await withProject { project in
      try await project.server.psql(
        "ALTER TABLE items ADD CONSTRAINT not_yet CHECK (state = 'open' OR id < 900 OR id % 10 <> 5)")
      try project.writeClose("pause: 1ms", more: "on_error: continue")
      #expect(try await project.migrate("apply", "close", "--yes").status == 3)
      #expect(try await project.value("SELECT count(*) > 15 FROM migrate.batches WHERE part > 0") == "t")
      try await project.server.psql(
        """
        CREATE TABLE waits (kind text);
        INSERT INTO waits VALUES ('revert');
        CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          -- Behind the batch that was done in parts, and two more. It sleeps, and waits for no lock.
          WHILE EXISTS (SELECT FROM public.waits)
                AND (SELECT count(*) >= 2 FROM migrate.batches WHERE kind = 'revert' AND ordinal < 10) LOOP
            PERFORM pg_sleep(0.02);
          END LOOP;
          RETURN NULL;
        END $$;
        CREATE TRIGGER wait BEFORE UPDATE ON items FOR EACH STATEMENT EXECUTE FUNCTION wait()
        """)
      let revert = try project.start(["revert", "1", "--yes", "--json"])
      try await project.wait(until: "(SELECT count(*) = 2 FROM migrate.batches WHERE kind = 'revert' AND ordinal < 10)")
      try await project.server.psql(
        """
        WITH times AS (
          SELECT seq, (0.01 + rows_read * 0.0001) * interval '1 s' AS took,
                 sum((0.01 + rows_read * 0.0001) * interval '1 s') OVER (ORDER BY seq) AS until
          FROM   migrate.batches WHERE kind = 'revert')
        UPDATE migrate.batches AS b
        SET    started_at = r.started_at + t.until - t.took, ended_at = r.started_at + t.until
        FROM   times AS t, migrate.runs AS r
        WHERE  b.kind = 'revert' AND b.seq = t.seq
        """)
      let standing = try #require(try await project.migrate("status", "1", "--json").events().first)
      // Seven batches of a hundred rows.
      let left = standing["seconds_left"]?.double ?? 0
      #expect(abs(left - 7 * 0.02) < 0.001, "\(standing.compact)")
      #expect(standing["batches"]?.integer == 3, "\(standing.compact)")
      // Three hundred rows but ten, over all their transactions.
      let rate = try await project.value(
        "SELECT sum(rows_read) / extract(epoch FROM max(ended_at) - min(started_at)) FROM migrate.batches WHERE kind = 'revert'"
      )
      let told = try await project.value("SELECT rows_per_second FROM migrate.progress")
      #expect(
        abs((rate.flatMap(Double.init) ?? 0) - (told.flatMap(Double.init) ?? -1)) < 0.01,
        "\(told ?? "") for \(rate ?? "")")
      try await project.server.psql("DELETE FROM waits")
      let reverted = try await revert.finish()
      #expect(reverted.status == 0, "\(reverted)")
    }
  }

  /// In both forms, of a run that has read 300 rows. Between two tries its batch waits for nothing.
  private func expect(_ why: String, since: String, of project: TestProject) async throws {
    let standing = try #require(
      try await project.migrate("status", "1", "--json") { $0.out.contains("\"stands_because\":\"") }.events().first)
    #expect(standing["rows_per_second"] == .null && standing["seconds_left"] == .null, "\(standing.compact)")
    #expect(standing["rows_read"]?.integer == 300 && standing["ends_at"] == .null, "\(standing.compact)")
    #expect(standing["stands_because"]?.text?.hasPrefix(why) == true, "\(standing.compact)")
    #expect(standing["stands_since"]?.text != nil, "\(standing.compact)")
    let text = try await project.migrate("status", "1") { $0.out.contains("\n  stands ") }.out
    #expect(try text.contains(Regex("\n  stands     since " + since)), "\(text)")
    #expect(text.contains("\n  rows       300 read, "), "\(text)")
    for word in ["rows/s", "time left", " left", "done at"] { #expect(!text.contains(word), "\(word): \(text)") }
  }

  @Test func `changes on a terminal only what has changed, and ends with the run and its exit code`() async throws {
    try await withProject { project in
      try await project.server.psql(
        """
        CREATE FUNCTION rest() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.4); RETURN NULL; END $$;
        CREATE TRIGGER rest BEFORE UPDATE ON items FOR EACH STATEMENT EXECUTE FUNCTION rest()
        """)
      let run = try project.start(["apply", "close", "--yes", "-q"])
      while (try? await project.value("SELECT count(*) >= 2 FROM migrate.batches")) != "t" {
        try await Task.sleep(for: .milliseconds(20))
      }
      let watched = try await project.start(
        ["-qefc", "\(Binary.path) status 1 --watch --exit-code", "/dev/null"],
        environment: ["TERM": "xterm", "COLUMNS": "120"], executable: "/usr/bin/script"
      ).finish()
      #expect(try await run.finish().status == 0)
      // Once to watch, and once as the result, and once where a look between the last batch and the end has found a line less above
      // it; what the run has done stands there each time that it is more.
      let begun = watched.out.components(separatedBy: "begun ").count - 1
      #expect(watched.status == 0 && (2...3).contains(begun), "\(watched.out)")
      #expect(watched.out.components(separatedBy: " changed in ").count > 3)
      #expect(watched.out.contains("run 1 close: completed"))
    }
  }
}

extension TestProject {
  /// With batches of a hundred.
  fileprivate func writeClose(_ throttle: String, more: String = "") throws {
    try write(
      """
      batch: close
      source: public.items
      set:
        state: 'closed'
      batch_size: 100
      throttle: {\(throttle)}
      \(more)

      """, to: "migrations/close.yaml")
  }

  fileprivate func waitForBatches(_ number: Int) async throws {
    while (try? await value("SELECT count(*) >= \(number) FROM migrate.batches")) != "t" {
      try await Task.sleep(for: .milliseconds(20))
    }
  }
}
