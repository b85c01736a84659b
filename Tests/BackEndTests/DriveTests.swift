import MigrateLedger
import MigratePostgres
import MigrateScripts
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// What only a CALL can meet.
@Suite struct `migrate.drive` {
  /// A run of the products that has begun and of which nothing is done.
  private func withRun(
    _ more: String = "", rows: Int = 4_000, size: Int = 20, _ body: (Server, Compiled) async throws -> Void
  ) async throws {
    try await withLedger { server in
      // Slow enough for others to come in between.
      try await server.psql(
        Products.table(rows: rows)
          + """
          CREATE FUNCTION rest() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.01); RETURN NULL; END $$;
          CREATE TRIGGER rest BEFORE UPDATE ON products FOR EACH STATEMENT EXECUTE FUNCTION rest();
          """)
      let compiled = try await Compiled(Products.definition + more, on: server, batchSize: size)
      try await begin(compiled, on: server)
      try await body(server, compiled)
    }
  }

  /// apply.sql up to its CALL.
  private func begin(_ compiled: Compiled, on server: Server) async throws {
    let script = compiled.scripts.apply.replacing("CALL migrate.drive(:run, :epoch);", with: "\\q")
    let told = try await Psql.run(script, on: server)
    try #require(told.isDone, "\(told.text)")
  }

  private func waitForBatches(_ count: Int, on server: Server) async throws {
    try await server.wait(until: "(SELECT count(*) >= \(count) FROM migrate.batches)")
  }

  /// C10; behind the last batch no entry of its own meets the fence.
  @Test func `C10: that was taken over behind its last batch ends nothing`() async throws {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 60))
      // Somebody who is waited for in what follows the last batch.
      let compiled = try await Compiled(
        Products.definition
          + "\nchecks: {after: {gate: SELECT FROM pg_advisory_xact_lock_shared(7) AS g(held) WHERE g.held IS NULL}}",
        on: server)
      try await begin(compiled, on: server)
      try await withSessions("holder", "call", to: server) { sessions in
        let (holder, call) = (try #require(sessions["holder"]), try #require(sessions["call"]))
        try await holder.execute("SELECT pg_advisory_lock(7)")
        try call.start("CALL migrate.drive(1, 1)")
        try await server.wait(until: "\(try await holder.pid) = ANY (pg_blocking_pids(\(try await call.pid)))")
        try await server.psql("UPDATE migrate.fence SET epoch = epoch + 1")
        try await holder.execute("SELECT pg_advisory_unlock(7)")
        let error = await #expect(throws: PostgresError.self) { try await call.finish() }
        #expect(error?.sqlState?.code == "MG001")
      }
      #expect(try await server.rows("SELECT state, left_behind IS NULL FROM migrate.runs") == ["running|t"])
      #expect(try await Psql.apply(compiled, on: server).isDone)
    }
  }

  /// No row is to blame for what the ledger cannot do.
  @Test func `sends no row to quarantine for an error of the ledger's own`() async throws {
    try await withLedger { server in
      // Fewer than would end the run for being all alike.
      try await server.psql(Products.table(rows: 20))
      let compiled = try await Compiled(Products.definition + "\non_error: continue", on: server)
      try await begin(compiled, on: server)
      try await server.psql(
        "UPDATE migrate.statements SET arguments = arguments || 'no one'::text WHERE name IN ('capture', 'change')")
      let call = try await Session("call", to: server)
      try call.start("CALL migrate.drive(1, 1)")
      let error = await #expect(throws: PostgresError.self) { try await call.finish() }
      #expect(error?.sqlState?.code == "MG002" && error?.message.contains("asks for no one") == true, "\(error)")
      try await call.close()
      #expect(
        try await server.rows("SELECT state, (SELECT count(*) FROM migrate.rejects) FROM migrate.runs") == ["failed|0"])
    }
  }

  /// P02 U08
  @Test func `P02 U08: is gone on with after its backend was ended, and no row is done twice`() async throws {
    try await withRun { server, compiled in
      let expected = try await server.rows(Products.expected)
      for round in 1...3 {
        let call = try await Session("call \(round)", to: server)
        let epoch = try #require(try await server.value("SELECT epoch FROM migrate.fence"))
        try call.start("CALL migrate.drive(1, \(epoch))")
        try await waitForBatches(round * 10, on: server)
        let pid = try await call.pid
        try await server.psql("SELECT pg_terminate_backend(\(pid), 10000)")
        await #expect(throws: PostgresError.self) { try await call.finish() }
        try await call.close()
        #expect(try await server.value("SELECT state FROM migrate.progress") == "interrupted")
        let told = try await Psql.run(
          "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT migrate.seize(1); COMMIT", on: server)
        #expect(told.isDone, "\(told.text)")
      }
      let told = try await Psql.apply(compiled, on: server)
      #expect(told.isDone && told.text.contains("going on with run 1 of prices"), "\(told.text)")
      #expect(try await server.has(expected))
      #expect(try await Client.verify(1, on: server).holds)
    }
  }

  /// U06
  @Test(arguments: BackEnd.allCases)
  func `U06: takes back the rest after its backend was ended on the way back`(successor: BackEnd) async throws {
    try await withRun(rows: 1_000) { server, compiled in
      let before = try await server.rows(Products.all)
      try await server.psql("CALL migrate.drive(1, 1)")
      let entered = try await server.psql("SELECT epoch FROM migrate.enter_revert(1)")
      let call = try await Session("call", to: server)
      try call.start("CALL migrate.drive(1, \(entered.first?.first.flatMap(\.self) ?? ""))")
      try await server.wait(until: "(SELECT count(*) > 5 FROM migrate.batches WHERE kind = 'revert')")
      let pid = try await call.pid
      try await server.psql("SELECT pg_terminate_backend(\(pid), 10000)")
      await #expect(throws: PostgresError.self) { try await call.finish() }
      try await call.close()
      #expect(try await server.rows("SELECT state, direction FROM migrate.progress") == ["interrupted|revert"])
      // It is on its way back, so it does not go on forward.
      let forward = try await successor.apply(compiled, on: server)
      #expect(!forward.isDone && forward.text.contains("run 1 of prices is being taken back"), "\(forward.text)")
      let told = try await successor.revert(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.has(before))
      #expect(try await Client.verify(1, on: server).holds)
    }
  }

  /// P15
  @Test(arguments: ["pause", "cancel"])
  func `P15: ends within a batch when another session asks for it`(request: String) async throws {
    try await withRun { server, compiled in
      let before = try await server.rows(Products.all)
      let call = try await Session("call", to: server)
      try call.start("CALL migrate.drive(1, 1)")
      try await waitForBatches(5, on: server)
      try await server.psql("SELECT migrate.\(request)(1)")
      let done = Int(try await server.value("SELECT count(*) FROM migrate.batches") ?? "") ?? 0
      try await call.finish()
      let ended = Int(try await server.value("SELECT count(*) FROM migrate.batches") ?? "") ?? 0
      // The count was taken after the request: at most the batch that was on its way is added.
      #expect((done...done + 1).contains(ended) && ended < 171)
      #expect(try await server.state() == (request == "pause" ? "paused" : "cancelled"))
      if request == "pause" {
        // The session is still there, was heard of a moment ago, and is busy with something else.
        try call.start("SELECT pg_sleep(600)")
        try await server.wait(until: "EXISTS (SELECT FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)')")
        let told = try await Psql.apply(compiled, on: server)
        #expect(told.isDone, "\(told.text)")
        #expect(try await server.state() == "completed")
        try await call.cancel()
        await #expect(throws: PostgresError.self) { try await call.finish() }
      }
      #expect(try await Psql.revert(compiled, on: server).isDone)
      #expect(try await server.has(before))
      try await call.close()
    }
  }

  @Test(arguments: [
    ("", "what it has done stays, and revert.sql takes it back"),
    ("\nundo: none", "what it has done stays, and nothing takes it back: its undo was not kept"),
  ]) func `tells psql that a run was cancelled, which the same file does not go on with`(
    undo: String, way: String
  ) async throws {
    try await withRun(undo) { server, compiled in
      async let told = Psql.apply(compiled, on: server)
      try await waitForBatches(5, on: server)
      try await server.psql("SELECT migrate.cancel(1)")
      let said = try await told
      #expect(!said.isDone && said.text.contains("the run was cancelled"), "\(said.text)")
      #expect(said.text.contains("HINT:  \(way)"), "\(said.text)")
      #expect(!said.text.contains("it goes on"))
    }
  }

  @Test func `tells psql by its exit status that a run was paused`() async throws {
    try await withRun { server, compiled in
      async let told = Psql.apply(compiled, on: server)
      try await waitForBatches(5, on: server)
      try await server.psql("SELECT migrate.pause(1)")
      let said = try await told
      #expect(!said.isDone && said.text.contains("run 1 paused "), "\(said.text)")
      #expect(said.text.contains("run this file again: it goes on"))
      let again = try await Psql.apply(compiled, on: server)
      let who = try #require(try await server.value("SELECT session_user"))
      #expect(again.isDone, "\(again.text)")
      #expect(
        again.text.contains(try Regex("going on with run 1 of prices, which \(who).* paused 00:00:[0-9]+ ago\n")),
        "\(again.text)")
    }
  }

  /// C10
  @Test func `C10: is fenced off by a takeover, and nothing of its batch stays`() async throws {
    try await withRun(rows: 40, size: 10) { server, _ in
      try await withSessions("holder", "call", to: server) { sessions in
        let (holder, call) = (try #require(sessions["holder"]), try #require(sessions["call"]))
        try await holder.execute("BEGIN; SELECT FROM products WHERE id = 72 FOR UPDATE")
        try call.start("CALL migrate.drive(1, 1)")
        try await call.waitUntilBlocked(by: holder)
        let done = try await server.value("SELECT count(*) FROM migrate.batches")
        #expect(try await server.value("SELECT migrate.take_over(1, 1)") == "2")
        try await holder.execute("COMMIT")
        let error = await #expect(throws: PostgresError.self) { try await call.finish() }
        #expect(error?.sqlState == SQLState("MG001") && error?.message.contains("run 1 was taken over") == true)
        #expect(try await server.value("SELECT count(*) FROM migrate.batches") == done)
        #expect(try await server.value("SELECT count(*) FROM migrate.undo_1_1") == done)
        // Of the row that the old worker was about to change nothing is changed.
        #expect(try await server.value("SELECT price FROM products WHERE id = 72") == "24")
      }
    }
  }

  @Test func `is not taken over while it works`() async throws {
    try await withRun(rows: 40, size: 10) { server, compiled in
      try await withSessions("holder", "call", to: server) { sessions in
        let (holder, call) = (try #require(sessions["holder"]), try #require(sessions["call"]))
        try await holder.execute("BEGIN; SELECT FROM products WHERE id = 72 FOR UPDATE")
        try call.start("CALL migrate.drive(1, 1)")
        try await call.waitUntilBlocked(by: holder)
        let (byScript, byClient) = (
          try await Psql.apply(compiled, on: server), try await Client.apply(compiled, on: server)
        )
        let pid = try await call.pid
        #expect(
          !byScript.isDone && byScript.text.contains("run 1 is being worked on by backend \(pid)"), "\(byScript.text)")
        #expect(
          !byClient.isDone && byClient.text.contains("run 1 is being worked on by backend \(pid)"), "\(byClient.text)")
        try await holder.execute("COMMIT")
        try await call.finish()
        #expect(try await server.state() == "completed")
      }
    }
  }

  @Test func `says itself why PostgreSQL refuses to run it in a transaction`() async throws {
    try await withRun { server, compiled in
      let call = "CALL migrate.drive(1, 1)"
      for script in [
        "BEGIN; \(call); COMMIT", "SET statement_timeout = 0; \(call)", "DO $$ BEGIN \(call); END $$; SELECT 1",
        "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN \(call); END $$; SELECT f()",
      ] {
        let error = await #expect(throws: PostgresError.self) { try await server.psql(script) }
        #expect(error?.sqlState == SQLState("2D000"))
        #expect(error?.message.contains("run it outside of a transaction") == true, "\(script)")
      }
      for script in [compiled.scripts.apply, compiled.scripts.revert] {
        let told = try await Psql.run(script, on: server, options: ["-1"])
        #expect(!told.isDone && told.text.contains("run it outside of a transaction"), "\(told.text)")
      }
      #expect(try await server.value("SELECT count(*) FROM migrate.batches") == "0")
      // These are fine.
      try await server.psql("DO $$ BEGIN \(call); END $$")
      #expect(try await server.state() == "completed")
    }
  }

  /// C17 C18 P08
  @Test func `C17: does not depend on what the database has set`() async throws {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 400))
      let expected = try await server.rows(Products.expected)
      let compiled = try await Compiled(Products.definition, on: server, batchSize: 2)
      for setting in [
        "default_transaction_isolation = 'serializable'", "default_transaction_read_only = on",
        "statement_timeout = '100ms'",
        "standard_conforming_strings = off", "datestyle = 'German, DMY'", "search_path = 'nowhere'",
        "bytea_output = 'escape'",
      ] {
        let name = try #require(try await server.value("SELECT current_database()"))
        try await server.psql(
          "SET default_transaction_read_only = off; BEGIN READ WRITE; ALTER DATABASE \(name) SET \(setting); COMMIT")
      }
      let told = try await Psql.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      let found = try await server.psql("SET search_path = public; \(Products.all)").map {
        $0.map { $0 ?? "NULL" }.joined(separator: "|")
      }
      let areEqual = found == expected
      #expect(areEqual)
      let back = try await Psql.revert(compiled, on: server)
      #expect(back.isDone, "\(back.text)")
    }
  }

  @Test func `knows what each error asks for, as the program does`() async throws {
    try await withRun(rows: 1, size: 1) { server, _ in
      let states = [
        "00000", "03000", "08006", "0A000", "20000", "21000", "22012", "22P02", "23503", "23505", "23514", "25006",
        "25P03",
        "26000", "27000", "2F005",
        "28000", "2D000", "34000", "38000", "39000", "3D000", "3F000", "40001", "40P01", "42501", "42601", "42P01",
        "44000",
        "53100", "53200", "53300", "54000", "54001", "55000", "55P03", "57014", "57P01", "57P03", "57P05", "58030",
        "72000",
        "F0000", "HV000", "I0001", "MG001", "P0001", "XX000", "ZZ999", "99001", "T0001",
      ]
      let found = try await server.psql(
        "SELECT s, migrate.error_class(s) FROM unnest('{\(states.joined(separator: ","))}'::text[]) AS s")
      let words: [ErrorClass: String] = [
        .transient: "transient", .rowBad: "row", .environment: "environment", .definition: "definition",
      ]
      for row in found { #expect(row[1] == words[SQLState(row[0] ?? "").errorClass], "\(row)") }
      #expect(found.count == states.count)
    }
  }

  @Test func `says what each of its columns is`() async throws {
    try await withLedger { server in
      let silent = try await server.rows(
        """
        SELECT format('%s.%s', c.relname, a.attname)
        FROM   pg_class     AS c
        JOIN   pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE  c.relnamespace = 'migrate'::regnamespace AND c.relkind IN ('r', 'v')
          AND  (col_description(c.oid, a.attnum) IS NULL OR obj_description(c.oid, 'pg_class') IS NULL)
        """)
      #expect(silent == [])
    }
  }

  /// Whatever somebody has in his search_path, the ledger's functions mean what they say; and each says what it is for.
  /// Every script that makes a routine has to say so; without privileges of its own a routine is PUBLIC's.
  @Test func `lets PUBLIC execute none of its routines, nor read its tables`() async throws {
    try await withRun(rows: 1, size: 1) { server, _ in
      let open = try await server.rows(
        """
        SELECT p.proname
        FROM   pg_proc AS p
        WHERE  p.pronamespace = 'migrate'::regnamespace
          AND  EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a WHERE a.grantee = 0)
        UNION  ALL
        SELECT c.relname
        FROM   pg_class AS c
        WHERE  c.relnamespace = 'migrate'::regnamespace AND c.relkind IN ('r', 'v', 'S')
          AND  EXISTS (SELECT FROM aclexplode(c.relacl) AS a WHERE a.grantee = 0)
        """)
      #expect(open == [])
    }
  }

  @Test func `pins the search_path of every function, and explains each`() async throws {
    try await withRun(rows: 1, size: 1) { server, _ in
      let loose = try await server.rows(
        """
        SELECT p.proname
        FROM   pg_proc AS p
        WHERE  p.pronamespace = 'migrate'::regnamespace
          -- What a body that is no text says was looked up when it was made.
          AND  (obj_description(p.oid) IS NULL
                OR p.prosqlbody IS NULL AND 'search_path=pg_catalog, pg_temp' = ANY (p.proconfig) IS NOT TRUE)
        ORDER  BY 1
        """)
      // These run what a plan says, with the search_path that the plan has set, or commit.
      #expect(
        loose == [
          "book_retry", "cut_part", "drive", "drive_rejects", "execute", "fix", "fixable", "give_up", "mended_ahead",
          "nth_key", "perform", "perform_in_parts", "query", "refuse_block", "refused_rows", "reject", "respell",
          "restore_batch", "row_image", "settle", "show", "show_late", "unfix", "unfix_rows", "violating_rows",
          "violation",
        ])
    }
  }
}
