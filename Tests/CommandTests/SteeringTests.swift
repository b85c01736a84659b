import Foundation
import MigrateJSON
import MigratePostgres
import TestSupport
import Testing

@Suite struct `Pause, resume and cancel` {
  @Test func `P15 reach a run from another process, within a batch`() async throws {
    try await withProject { project in
      let gate = try await project.gate(behind: 2)
      let child = try project.start(["apply", "close", "--yes"])
      try await project.waitForGate(gate)

      let pause = try await project.migrate("pause", "1", "--reason", "sale at noon")
      #expect(pause.status == 0 && pause.lines == ["run 1 paused 200 rows"], "\(pause)")
      let status = try await project.migrate("status", "1", "--json")
      let standing = try #require(try status.events().first)
      #expect(standing["state"]?.text == "paused" && standing["rows_read"]?.integer == 200)
      #expect(standing["request"]?["reason"]?.text == "sale at noon")
      #expect(standing["waits_for"]?.text?.contains("migrate resume 1") == true)
      #expect(child.isRunning)

      try await gate.close()
      let resume = try await project.migrate("resume", "1")
      #expect(resume.status == 0 && resume.out.hasPrefix("run 1 running"), "\(resume)")
      #expect(resume.err.contains("that stayed goes on with it"))
      let applied = try await child.finish()
      #expect(applied.status == 0 && applied.lines.last?.hasPrefix("run 1 completed 1000 rows 0 rejects ") == true)
      let host = try #require(try await project.value("SELECT client_host FROM migrate.requests LIMIT 1"))
      let words =
        "paused from elsewhere by postgres on \(host): sale at noon; `migrate resume 1` goes on here, Ctrl-C leaves\n"
      #expect(applied.err.contains(words), "\(applied)")
      #expect(applied.err.contains("\nresumed\n"))
    }
  }

  @Test func `show on a terminal for how long a run has stood still`() async throws {
    try await withProject { project in
      let gate = try await project.gate(behind: 2)
      let environment = ["TERM": "xterm", "COLUMNS": "160"]
      let child = try project.start(
        ["-qfec", "\(Binary.path) apply close --yes", "/dev/null"], environment: environment,
        executable: "/usr/bin/script")
      try await project.waitForGate(gate)
      #expect(try await project.migrate("pause", "1").status == 0)
      try await gate.close()
      try await child.wait(untilSaid: "how long it is paused, three times", on: "out") { said in
        Set(said.matches(of: /paused for ([0-9]+) s; `migrate/).map(\.1)).count >= 3
      }
      #expect(try await project.migrate("resume", "1").status == 0)
      let applied = try await child.finish()
      #expect(applied.status == 0 && applied.out.contains("run 1 completed 1000 rows 0 rejects "), "\(applied)")
    }
  }

  @Test(arguments: [false, true])
  func `tell once that the connection is lost, and once that it works again`(isJSON: Bool) async throws {
    try await withProject { project in
      let gate = try await project.gate(behind: 2)
      let child = try project.start(["apply", "close", "--yes"] + (isJSON ? ["--json"] : []))
      try await project.waitForGate(gate)
      let worker = "application_name LIKE 'migrate run 1 %' AND datname = current_database()"
      let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE \(worker)"
      #expect(try await project.value(cut) == "1")
      try await child.wait(untilSaid: isJSON ? "\"reconnected\"" : "going on after ", on: isJSON ? "out" : "err")
      try await gate.close()
      let applied = try await child.finish()
      #expect(applied.status == 0, "\(applied)")
      if isJSON {
        let events = try applied.events()
        #expect(events.count { $0["event"]?.text == "reconnecting" } == 1, "\(applied.out)")
        let back = events.filter { $0["event"]?.text == "reconnected" }
        #expect(back.count == 1 && (back.first?["seconds"]?.double ?? -1) >= 0, "\(applied.out)")
      } else {
        #expect(applied.err.components(separatedBy: "\ntrying again: ").count == 2, "\(applied.err)")
        #expect(applied.err.components(separatedBy: "\ngoing on after ").count == 2, "\(applied.err)")
      }
    }
  }

  @Test func `P16: resume does not say that a client goes on when somebody cancels in that moment`() async throws {
    try await withProject { project in
      let gate = try await project.gate(behind: 2)
      let child = try project.start(["apply", "close", "--yes"])
      try await project.waitForGate(gate)
      #expect(try await project.migrate("pause", "1").status == 0)
      try await withSessions("other", to: project.server) { sessions in
        let other = try #require(sessions["other"])
        try await other.execute("BEGIN; SELECT migrate.cancel(1)")
        let resume = try project.start(["resume", "1"])
        let pid = try await other.pid
        try await project.wait(
          until: "EXISTS (SELECT FROM pg_stat_activity WHERE \(pid) = ANY (pg_blocking_pids(pid)))")
        try await other.execute("COMMIT")
        let told = try await resume.finish()
        #expect(told.status == 1 && told.err.contains("run 1 is cancelled, so there is nothing to resume"), "\(told)")
        #expect(told.out.isEmpty && !told.err.contains("goes on with it"), "\(told)")
      }
      try await gate.close()
      #expect(try await child.finish().status == 4)
    }
  }

  @Test func `resume goes on itself with a run whose worker is gone`() async throws {
    try await withProject { project in
      let gate = try await project.gate(behind: 3)
      let child = try project.start(["apply", "close", "--yes"])
      try await project.waitForGate(gate)
      child.signal(SIGKILL)
      #expect(try await child.finish().status == 137)
      try await gate.close()
      try await project.wait(until: "NOT migrate.is_working(1)")

      let status = try await project.migrate("status", "1")
      #expect(status.out.hasPrefix("run 1 close: interrupted\n") && !status.out.contains("done at"), "\(status.out)")
      let resume = try await project.migrate("resume", "1")
      #expect(resume.status == 0 && resume.lines.last?.hasPrefix("run 1 completed 1000 rows 0 rejects ") == true)
      #expect(try await project.value("SELECT count(*) FROM items WHERE state = 'closed'") == "1000")
      #expect(try await project.value("SELECT sum(rows_changed) FROM migrate.batches") == "1000")

      let again = try await project.migrate("resume", "1")
      #expect(again.status == 1 && again.err.contains("run 1 is completed, so there is nothing to resume"))
      #expect(again.err.contains("anew: `migrate apply close --again`\n"))
    }
  }

  @Test func `pause and cancel move a run themselves when no worker lives`() async throws {
    try await withProject { project in
      let gate = try await project.gate(behind: 3)
      let child = try project.start(["apply", "close", "--yes"])
      try await project.waitForGate(gate)
      child.signal(SIGKILL)
      _ = try await child.finish()
      try await gate.close()
      try await project.wait(until: "NOT migrate.is_working(1)")

      #expect(try await project.migrate("pause", "1").lines == ["run 1 paused 300 rows"])
      #expect(try await project.migrate("pause", "1").status == 0)
      let unasked = try await project.migrate("cancel", "1")
      #expect(unasked.status == 2 && unasked.err.contains("`--yes` goes ahead without asking"))
      let cancel = try await project.migrate("stop", "1", "--yes", "--json")
      #expect(try cancel.events().map { $0["state"]?.text } == ["cancelled"])
      let next = "300 changed rows stay; `migrate revert 1` takes them back\n"
      #expect(cancel.err.contains("run 1 of close is cancelled, and does not go on; \(next)"), "\(cancel)")
      let twice = try await project.migrate("cancel", "1", "--yes")
      #expect(twice.status == 0 && twice.lines == ["run 1 cancelled 300 rows"], "\(twice)")
      #expect(twice.err.contains("run 1 of close is cancelled already; \(next)"), "\(twice)")
      #expect(try await project.value("SELECT count(*) FROM migrate.requests WHERE request = 'cancel'") == "1")
      // Whoever begins anew is told what is there already.
      let anew = try await project.migrate("apply", "close")
      #expect(
        anew.err.contains(
          "warning: run 1 was cancelled when it had changed 300 rows; what it changed stays so, and this run meets it as it is now. `migrate revert 1` takes them back first\n"
        ), "\(anew)")
      // What was done stays, and goes back.
      #expect(try await project.value("SELECT count(*) FROM items WHERE state = 'closed'") == "300")
      let back = try await project.migrate("cancel", "1", "--revert", "--yes")
      #expect(back.status == 0 && back.lines.last?.hasPrefix("run 1 reverted 300 rows") == true, "\(back)")
      #expect(try await !project.migrate("apply", "close").err.contains("was cancelled when"))
      let late = try await project.migrate("cancel", "1", "--yes")
      #expect(late.status == 1 && late.err.contains("run 1 is reverted, so there is nothing to cancel"), "\(late)")
    }
  }

  @Test func `resume finishes a revert that was paused`() async throws {
    try await withProject { project in
      try await project.migrate("apply", "close", "--yes")
      let gate = try await project.gate(behind: 12)
      let child = try project.start(["revert", "close", "--yes", "--reason", "wrong shop"])
      try await project.waitForGate(gate)
      child.signal(SIGTERM)
      let paused = try await child.finish()
      #expect(paused.status == 4 && paused.lines.last?.hasPrefix("run 1 paused 200 rows") == true, "\(paused)")
      let refused = try await project.migrate("cancel", "1", "--yes")
      #expect(refused.status == 1 && refused.err.contains("is being taken back"))
      try await gate.close()
      let resume = try await project.migrate("resume", "1")
      #expect(resume.status == 0 && resume.lines.last?.hasPrefix("run 1 reverted 1000 rows") == true, "\(resume)")
      #expect(try await project.value("SELECT count(*) FROM items WHERE state = 'open'") == "1000")
      #expect(try await project.value("SELECT revert_reason FROM migrate.runs") == "wrong shop")
    }
  }

  @Test func `tune changes a run from its next batch on, from another process`() async throws {
    try await withProject { project in
      let gate = try await project.gate(behind: 2)
      let child = try project.start(["apply", "close", "--yes"])
      try await project.waitForGate(gate)
      let tune = try await project.migrate("tune", "1", "--batch-size", "400", "--pause", "0s", "--max-rate", "none")
      #expect(tune.status == 0 && tune.lines == ["run 1 running batch_size 400 max_rate none pause 0ms"], "\(tune)")
      let shown = try await project.migrate("status", "1").out
      #expect(
        shown.contains(/\n  tuned      batch_size 400, max_rate none, pause 0ms by postgres at [0-9]{4}-[^ ]+\n/),
        "\(shown)")
      let rate = try await project.migrate("tune", "1", "--max-rate", "10k", "--reason", "office hours")
      #expect(rate.lines == ["run 1 running batch_size 400 max_rate 10000 pause 0ms"], "\(rate)")
      #expect(try await project.migrate("status", "1").out.contains(", max_rate 10,000, "))
      let standing = try #require(try await project.migrate("status", "1", "--json").events().first)
      let tuned = standing["tuned"]
      #expect(tuned?["batch_size"]?.integer == 400 && tuned?["max_rate"]?.integer == 10_000, "\(standing)")
      #expect(tuned?["by"]?.text == "postgres" && tuned?["at"]?.text != nil && tuned?["workers"]?.integer == nil)
      let requests = standing["requests"]?.elements ?? []
      let host = try #require(try await project.value("SELECT client_host FROM migrate.runs"))
      #expect(requests.map { $0["request"]?.text } == ["tune", "tune"] && requests.last?["host"]?.text == host)
      #expect(requests.map { $0["reason"]?.text } == [nil, "office hours"])
      #expect(
        requests.map { $0["detail"]?.text } == ["batch_size 400, max_rate none, pause 0ms", "max_rate 10000"])
      let nothing = try await project.migrate("tune", "1")
      #expect(nothing.status == 2 && nothing.err.contains("nothing is said that shall change"), "\(nothing)")
      try await gate.close()
      #expect(try await child.finish().status == 0)
      let sizes = "SELECT string_agg(rows_read::text, ' ' ORDER BY ordinal) FROM migrate.batches"
      #expect(try await project.value(sizes) == "100 100 100 400 300")
      let late = try await project.migrate("tune", "1", "--pause", "1s")
      #expect(late.status == 1 && late.err.contains("run 1 is completed, so there is nothing to tune"), "\(late)")
    }
  }

  /// What holds it names the way out, and the way back goes by it, too.
  @Test(arguments: [false, true])
  func `tune lets a run go on outside of its window, and back`(isJSON: Bool) async throws {
    try await withProject { project in
      let window = try #require(
        try await project.value(
          "SELECT to_char(now() AT TIME ZONE 'UTC' + interval '2 h', 'HH24:MI') || '-' || to_char(now() AT TIME ZONE 'UTC' + interval '3 h', 'HH24:MI')"
        ))
      let definition = "batch: close\nsource: public.items\nset:\n  state: 'closed'\nwindow: \(window) UTC\n"
      try project.write(definition, to: "migrations/close.yaml")
      let child = try project.start(["apply", "close", "--yes"] + (isJSON ? ["--json"] : []))
      try await child.wait(
        untilSaid: isJSON
          ? "\"remedy\":\"`migrate tune 1 --holds none`\"" : "and at once by `migrate tune 1 --holds none`\n",
        on: isJSON ? "out" : "err")
      try await project.wait(
        until: "EXISTS (SELECT FROM migrate.runs WHERE state = 'holding' AND hold_reason IS NOT NULL)")
      if isJSON {
        let standing = try #require(try await project.migrate("status", "1", "--json").events().first)
        #expect(standing["remedy"]?.text == "`migrate tune 1 --holds none`", "\(standing.compact)")
      } else {
        let held = try await project.migrate("status", "1")
        #expect(
          held.out.contains("\n  help       `migrate tune 1 --holds none` lets it go on at once\n"), "\(held.out)")
      }
      let tune = try await project.migrate("tune", "1", "--holds", "none", "--reason", "noon")
      #expect(tune.lines == ["run 1 holding holds none"] || tune.lines == ["run 1 running holds none"], "\(tune)")
      let applied = try await child.finish()
      #expect(applied.status == 0, "\(applied)")
      let standing = try #require(try await project.migrate("status", "1", "--json").events().first)
      #expect(standing["tuned"]?["holds"]?.text == "none" && standing["remedy"] == .null, "\(standing.compact)")
      let back = try await project.migrate("revert", "1", "--yes")
      #expect(back.status == 0 && back.lines.last?.hasPrefix("run 1 reverted 1000 rows") == true, "\(back)")
      #expect(!back.err.contains("keeps to"), "\(back)")
    }
  }

  @Test(arguments: [["revert", "close", "--yes"], ["cancel", "1", "--revert", "--yes"]])
  func `say before the way back what slows it down`(words: [String]) async throws {
    try await withProject { project in
      try await project.server.psql("ALTER TABLE items ADD CONSTRAINT not_yet CHECK (id <> 500 OR state = 'open')")
      #expect(try await project.migrate("apply", "close", "--yes").status == 1)
      #expect(try await project.migrate("tune", "1", "--max-rate", "5k").status == 0)
      let back = try await project.start(words).finish()
      #expect(back.status == 0 && back.lines.last?.hasPrefix("run 1 reverted 400 rows") == true, "\(back)")
      #expect(
        back.err.contains("\nkeeps to max_rate 5,000 as tuned; `migrate tune 1 --max-rate none` lifts it\n"), "\(back)")
    }
  }

  /// An older run that is not finished stands before a newer one that is.
  @Test func `take a definition's name for its newest run that is not finished`() async throws {
    try await withProject { project in
      let nobody = try await project.migrate("pause", "close")
      #expect(nobody.status == 1 && nobody.err.contains("close has no run that could be meant"), "\(nobody)")
      let gate = try await project.gate(behind: 2)
      let child = try project.start(["apply", "close", "--yes"])
      try await project.waitForGate(gate)
      try await project.server.psql(
        """
        INSERT INTO migrate.runs (run, definition_hash, name, identity, search_path, parameters, plan, back_end, version,
                                  collations, labels, state, ended_at)
        OVERRIDING SYSTEM VALUE
        SELECT 2, definition_hash, name, 'another', search_path, parameters, plan, back_end, version,
               collations, labels, 'completed', now()
        FROM   migrate.runs
        """)
      #expect(try await project.migrate("tune", "close", "--max-rate", "none").lines == ["run 1 running max_rate none"])
      #expect(try await project.migrate("pause", "close").lines == ["run 1 paused 200 rows"])
      #expect(try await project.migrate("status", "close").out.hasPrefix("run 1 close: paused\n"))
      try await gate.close()
      #expect(try await project.migrate("resume", "close").out.hasPrefix("run 1 running"))
      #expect(try await child.finish().status == 0)
      // When all are finished, the newest is meant.
      #expect(try await project.migrate("status", "close").out.hasPrefix("run 2 close: completed\n"))
      let late = try await project.migrate("cancel", "close", "--yes")
      #expect(late.status == 1 && late.err.contains("run 2 is completed, so there is nothing to cancel"), "\(late)")
    }
  }

  @Test func `refuse what is not there`() async throws {
    try await withProject { project in
      for command in ["pause", "resume", "cancel", "status", "verify"] {
        let outcome = try await project.migrate(command, "7")
        #expect(outcome.status == 1 && outcome.err.contains("there is no run 7"), "\(command): \(outcome)")
        #expect(outcome.out.isEmpty)
      }
    }
  }

  @Test func `from SQL raise where there is no such run; resume and cancel tell the state of one that has ended`()
    async throws
  {
    try await withProject { project in
      try await project.migrate("apply", "close", "--yes")
      for call in ["pause(99)", "resume(99)", "cancel(99)", "tune(99, 500)"] {
        let error = await #expect(throws: PostgresError.self) {
          try await project.server.psql("SELECT migrate.\(call)")
        }
        #expect(error?.sqlState?.code == "MG002" && error?.message == "there is no run 99", "\(call)")
      }
      for call in ["resume(1)", "cancel(1)"] {
        #expect(try await project.value("SELECT migrate.\(call)") == "completed", "\(call)")
      }
    }
  }

  /// What a definition says is how many there may be; a short run has no use for more than two.
  @Test func `has as many workers at once as --workers says`() async throws {
    try await withProject { project in
      try await project.server.psql(
        """
        CREATE TABLE seen (pid integer);
        CREATE TABLE meant (workers integer);
        -- Each waits for the others: on a busy machine the run would be over before the last of them is there.
        CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          INSERT INTO seen VALUES (pg_backend_pid());
          FOR i IN 1..2000 LOOP
            PERFORM pg_stat_clear_snapshot();
            EXIT WHEN EXISTS (SELECT FROM seen WHERE pid <> pg_backend_pid())
                   OR (SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'migrate run % batch %')
                      >= (SELECT workers FROM meant);
            PERFORM pg_sleep(0.01);
          END LOOP;
          PERFORM pg_sleep(0.1);
          RETURN NULL;
        END $$;
        CREATE TRIGGER see BEFORE UPDATE ON items FOR EACH STATEMENT EXECUTE FUNCTION see();
        """)
      try project.write(
        "batch: close\nsource: public.items\nset: {state: 'closed'}\nbatch_size: 20\nparallel: 4\n",
        to: "migrations/close.yaml")
      for (more, count) in [(["--workers", "4"], "4"), ([], "2")] {
        try await project.server.psql("TRUNCATE meant; INSERT INTO meant VALUES (\(count))")
        let told = try await project.start(["apply", "close", "--yes"] + more).finish()
        #expect(told.status == 0, "\(told)")
        #expect(try await project.value("SELECT count(DISTINCT pid) FROM seen") == count)
        #expect(try await project.migrate("revert", "close", "--yes").status == 0)
        try await project.server.psql("TRUNCATE seen")
      }
    }
  }

  /// As `migrate tune` would; a run whose keys are one slice cannot, and goes on all the same.
  @Test(arguments: [1, 3])
  func `hears --workers when apply goes on with a run`(slices: Int) async throws {
    try await withProject { project in
      try await project.server.psql("ALTER TABLE items ADD CONSTRAINT not_yet CHECK (id <> 500 OR state = 'open')")
      #expect(try await project.migrate("apply", "close", "--yes", "--workers", "\(slices)").status == 1)
      try await project.server.psql("ALTER TABLE items DROP CONSTRAINT not_yet")
      let told = try await project.migrate("apply", "close", "--yes", "--workers", "2")
      #expect(told.status == 0 && told.err.contains("going on with run 1"), "\(told)")
      #expect(
        told.err.contains("--workers 2 is not heard: the keys of run 1 are one slice") == (slices == 1), "\(told)")
      #expect(try await project.value("SELECT workers FROM migrate.tuning") == (slices == 1 ? nil : "2"))
      #expect(try await project.value("SELECT count(*) FROM items WHERE state = 'closed'") == "1000")
    }
  }
}
