import Foundation
import MigrateJSON
import MigratePostgres
import TestSupport
import Testing

@Suite struct `migrate wait` {
  @Test func `waits for a run that has not begun, and ends with it`() async throws {
    try await withProject { project in
      let wait = try project.start(["wait", "close", "--timeout", "60s", "--json"])
      try await wait.wait(untilSaid: "waits for a run of close to begin\n")
      // Nothing is open between its looks.
      #expect(
        try await project.value(
          "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'migrate'"
            + " AND xact_start IS NOT NULL AND state <> 'active'") == "0")
      let gate = try await project.gateWhenThereIsALedger()
      let child = try project.start(["apply", "close", "--yes", "-q"])
      try await project.waitForGate(gate)
      #expect(wait.isRunning)
      try await gate.close()
      #expect(try await child.finish().status == 0)
      let waited = try await wait.finish()
      let event = try #require(try waited.events().first)
      #expect(waited.status == 0 && waited.lines.count == 1, "\(waited)")
      #expect(event["run"]?.integer == 1 && event["state"]?.text == "completed" && event["exit_code"]?.integer == 0)
      // What has ended is not waited for.
      #expect(try await project.migrate("wait", "1").lines == ["run 1 completed 1000 rows 0 rejects"])
    }
  }

  /// It may begin on another machine, so it is waited for; but nobody waits for ever without being told.
  @Test func `warns at once of a name that nobody knows`() async throws {
    try await withProject { project in
      let mistyped = try await project.migrate("wait", "closs", "--timeout", "100ms")
      #expect(mistyped.status == 6, "\(mistyped)")
      #expect(
        mistyped.err.contains("migrate: warning: there is no run of closs, and no definition in ")
          && mistyped.err.contains(" is called so\n  help: did you mean close?\n"), "\(mistyped.err)")
      let unlike = try await project.migrate("wait", "nosuch", "--timeout", "1ms")
      #expect(
        unlike.status == 6
          && unlike.err.contains(
            " is called so\n  help: `migrate history` lists what has run, `migrate plan` what is declared\n"),
        "\(unlike.err)")
      let declared = try await project.migrate("wait", "close", "--timeout", "100ms")
      #expect(!declared.err.contains("warning"), "\(declared.err)")
      let wait = try project.start(["wait", "closs"])
      try await wait.wait(untilSaid: "did you mean close? `--timeout 10m` ends the wait for what never comes\n")

      try await project.migrate("apply", "close", "--yes")
      try await project.migrate("revert", "close", "--yes")
      try FileManager.default.removeItem(atPath: project.folder + "/migrations/close.yaml")
      let ran = try await project.migrate("wait", "close", "--timeout", "100ms")
      #expect(!ran.err.contains("warning"), "\(ran.err)")

      try project.write(
        "batch: closs\nsource: public.items\nset:\n  state: 'closed'\n", to: "migrations/closs.yaml")
      try await project.migrate("apply", "closs", "--yes")
      #expect(try await wait.finish().status == 0)
    }
  }

  @Test func `goes on over a connection that was cut`() async throws {
    try await withProject { project in
      let wait = try project.start(["wait", "close", "--timeout", "60s"])
      try await wait.wait(untilSaid: "waits for a run of close to begin\n")
      let own = "application_name = 'migrate' AND datname = current_database()"
      #expect(
        try await project.value("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE \(own)") != "0")
      try await project.migrate("apply", "close", "--yes")
      let waited = try await wait.finish()
      #expect(waited.status == 0 && waited.lines == ["run 1 completed 1000 rows 0 rejects"], "\(waited)")
    }
  }

  @Test(arguments: [
    ("paused", 4), ("failed", 1), ("cancelled", 4), ("reverted", 4), ("completed", 0),
  ])
  func `has the exit code of how a run stands`(state: String, code: Int32) async throws {
    try await withProject { project in
      try await project.migrate("apply", "close", "--yes")
      try await project.server.psql("UPDATE migrate.runs SET state = '\(state)'")
      let waited = try await project.migrate("wait", "1", "--timeout", "30s")
      #expect(waited.status == code && waited.lines == ["run 1 \(state) 1000 rows 0 rejects"], "\(waited)")
    }
  }

  @Test func `ends with 3 when rows are in quarantine, and with 4 for a run whose worker is gone`() async throws {
    try await withProject { project in
      try await project.quarantine()
      #expect(try await project.migrate("apply", "close", "--yes").status == 3)
      let waited = try await project.migrate("wait", "close")
      #expect(waited.status == 3 && waited.lines == ["run 1 completed 999 rows 1 rejects"], "\(waited)")
      try await project.server.psql("UPDATE migrate.runs SET state = 'running'")
      let gone = try await project.migrate("wait", "close", "--timeout", "30s")
      #expect(gone.status == 4 && gone.lines == ["run 1 interrupted 999 rows 1 rejects"], "\(gone)")
      #expect(gone.err.contains("`migrate resume 1`"))
    }
  }

  @Test func `ends with 6 when the time is over`() async throws {
    try await withProject { project in
      let none = try await project.migrate("wait", "close", "--timeout", "200ms")
      #expect(none.status == 6 && none.out.isEmpty && none.err.contains("no run of close has begun in 200 ms"))
      let gate = try await project.gateWhenThereIsALedger()
      let child = try project.start(["apply", "close", "--yes", "-q"])
      try await project.waitForGate(gate)
      let late = try await project.migrate("wait", "1", "--timeout", "300ms", "--json")
      #expect(late.status == 6 && late.err.contains("run 1 is running still after 300 ms"), "\(late)")
      #expect(try late.events().map { $0["exit_code"]?.integer } == [6])
      try await gate.close()
      #expect(try await child.finish().status == 0)
      // Of a number nobody has given yet nothing can come.
      let unknown = try await project.migrate("wait", "7")
      #expect(unknown.status == 1 && unknown.err.contains("there is no run 7"))
    }
  }
}

@Suite struct `migrate.require` {
  /// What it raises; nil when it does not.
  private func lack(_ project: TestProject, _ arguments: String = "'close'") async throws -> String? {
    do {
      try await project.server.psql("SELECT migrate.require(\(arguments))")
      return nil
    } catch let error as PostgresError {
      #expect(error.sqlState?.code == "MG002")
      return error.message
    }
  }

  @Test func `lets a schema migration go on only behind a complete run, and says what to do`() async throws {
    try await withProject { project in
      try await project.quarantine()
      try await project.migrate("plan", "close")
      #expect(try await project.migrate("apply", "close", "--yes").status == 3)
      #expect(
        try await lack(project)
          == "close is required and not complete: run 1 has 1 row in quarantine: migrate rejects 1 lists them; "
          + "mend them, then: migrate apply --rejects 1")
      try await project.server.psql("DELETE FROM migrate.rejects")
      #expect(try await lack(project) == nil)
      #expect(
        try await lack(project, "'open'")
          == "open is required and not complete: no run of it that is not reverted is known here; first: migrate apply open"
      )
      #expect(try await lack(project, "'close', 'tenant_7'")?.contains("with search_path tenant_7; first: ") == true)
      let path = try #require(try await project.value("SELECT search_path FROM migrate.runs"))
      #expect(try await lack(project, "'close', '\(path)'") == nil)
      for (state, told) in [
        ("paused", "run 1 is paused; first: migrate resume 1"), ("failed", "run 1 has failed; first: migrate resume 1"),
        ("cancelled", "run 1 was cancelled; first: migrate apply close"),
        ("running", "run 1 is interrupted; first: migrate resume 1"),
      ] {
        try await project.server.psql("UPDATE migrate.runs SET state = '\(state)'")
        #expect(try await lack(project) == "close is required and not complete: \(told)")
      }
      try await project.server.psql("UPDATE migrate.runs SET state = 'completed'")
      #expect(try await project.migrate("revert", "1", "--yes").status == 0)
      #expect(try await lack(project)?.contains("no run of it that is not reverted") == true)
      // The newest one counts.
      try await project.server.psql("UPDATE items SET price = 1 WHERE id = 500")
      try await project.migrate("apply", "close", "--yes")
      #expect(try await lack(project) == nil)
    }
  }

  @Test func `keeps the run from being taken back until the schema migration ends`() async throws {
    try await withProject { project in
      try await project.migrate("apply", "close", "--yes")
      try await withSessions("schema", to: project.server) { sessions in
        let schema = try #require(sessions["schema"])
        try await schema.execute("BEGIN; SELECT migrate.require('close')")
        let revert = try project.start(["revert", "1", "--yes"])
        let pid = try await schema.pid
        try await project.wait(
          until: "EXISTS (SELECT FROM pg_stat_activity WHERE \(pid) = ANY (pg_blocking_pids(pid)))")
        #expect(try await project.value("SELECT count(*) FROM items WHERE state = 'closed'") == "1000")
        try await schema.execute("ALTER TABLE items ADD CHECK (state <> 'gone'); COMMIT")
        #expect(try await revert.finish().status == 0)
      }
      // A transaction that may only read can ask, too.
      try await project.migrate("apply", "close", "--yes")
      try await project.server.psql("BEGIN READ ONLY; SELECT migrate.require('close'); COMMIT")
    }
  }

  @Test func `needs EXECUTE and nothing else of who runs schema migrations`() async throws {
    try await withProject { project in
      try await project.migrate("apply", "close", "--yes")
      let role = "schema_\(ProcessInfo.processInfo.processIdentifier)"
      try await project.server.psql(
        """
        CREATE ROLE \(role);
        GRANT USAGE ON SCHEMA migrate TO \(role);
        GRANT EXECUTE ON FUNCTION migrate.require(text, text) TO \(role)
        """)
      let lack = try? await project.server.psql("SET ROLE \(role); SELECT migrate.require('close')")
      try await project.server.psql("DROP OWNED BY \(role); DROP ROLE \(role)")
      #expect(lack != nil)
    }
  }
}

extension TestProject {
  /// One of its rows cannot be closed, and goes to quarantine.
  func quarantine() async throws {
    try await server.psql("ALTER TABLE items ADD CHECK (id <> 500 OR state = 'open' OR price = 1)")
    try write(
      """
      batch: close
      source: public.items
      set:
        state: 'closed'
      batch_size: 100
      on_error: continue

      """, to: "migrations/close.yaml")
  }

  /// The gate for a run of which nothing is there yet, not even its ledger.
  func gateWhenThereIsALedger() async throws -> Session {
    try await server.psql(
      """
      CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        PERFORM pg_advisory_xact_lock_shared(42);
        RETURN NULL;
      END $$;
      CREATE TRIGGER gate BEFORE UPDATE ON items FOR EACH STATEMENT EXECUTE FUNCTION gate()
      """)
    let gate = try await Session("gate", to: server)
    try await gate.execute("SELECT pg_advisory_lock(42)")
    return gate
  }
}
