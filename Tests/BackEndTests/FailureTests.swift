import MigrateLedger
import MigratePlan
import MigratePostgres
import MigrateRunner
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// What stops a run, and what forbids one.
@Suite struct `Both back ends stop` {
  private func withProducts(_ rows: Int = 60, _ more: String = "", _ body: (Server) async throws -> Void) async throws {
    try await withLedger { server in
      try await server.psql(Products.table(rows: rows) + more)
      try await body(server)
    }
  }

  @Test(arguments: BackEnd.allCases) func `at a row whose key a trigger writes`(backEnd: BackEnd) async throws {
    let moving = """
      CREATE FUNCTION move() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN IF NEW.id = 33 THEN NEW.id := 10033; END IF; RETURN NEW; END $$;
      CREATE TRIGGER move BEFORE UPDATE ON products FOR EACH ROW EXECUTE FUNCTION move();
      """
    try await withProducts(20, moving) { server in
      let compiled = try await Compiled(Products.definition, on: server, batchSize: 5)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(
        !told.isDone && told.text.contains("the rows changed have other keys than the rows meant"), "\(told.text)")
      #expect(try await server.state() == "failed")
      #expect(try await server.value("SELECT count(*) FROM products WHERE id > 10000") == "0")
    }
  }

  @Test(arguments: BackEnd.allCases) func `at a row that cannot be, and go on when it is mended`(backEnd: BackEnd)
    async throws
  {
    try await withProducts(60, "ALTER TABLE products ADD CONSTRAINT cheap CHECK (price <> 27.30);") { server in
      let expected = try await server.rows(Products.expected)
      let compiled = try await Compiled(Products.definition, on: server, batchSize: 10)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(!told.isDone && told.text.contains("violates check constraint"), "\(told.text)")
      let failure = try await server.rows(
        "SELECT state, failure ->> 'sqlstate', failure ->> 'constraint', failure ->> 'after', failure ->> 'through' FROM migrate.runs"
      )
      #expect(failure == ["failed|23514|cheap|[\"69\"]|[\"102\"]"])
      #expect(try await server.value("SELECT count(*) FROM migrate.batches") == "2")
      let again = try await backEnd.apply(compiled, on: server)
      #expect(!again.isDone)
      #expect(try await server.value("SELECT count(*) FROM migrate.batches") == "2")

      try await server.psql("ALTER TABLE products DROP CONSTRAINT cheap")
      let onward = try await backEnd.apply(compiled, on: server)
      #expect(onward.isDone, "\(onward.text)")
      #expect(try await server.has(expected))
      #expect(try await server.value("SELECT failure FROM migrate.runs") == nil)
    }
  }

  /// P06
  @Test(arguments: BackEnd.allCases) func `P06: and pause when the server cannot go on, with the reason`(
    backEnd: BackEnd
  ) async throws {
    let trigger = """
      CREATE FUNCTION full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF old.id = 78 THEN RAISE 'no space left on device' USING ERRCODE = '53100'; END IF; RETURN new; END $$;
      CREATE TRIGGER full BEFORE UPDATE ON products FOR EACH ROW EXECUTE FUNCTION full();
      """.replacing("full", with: "fill")
    try await withProducts(60, trigger) { server in
      let expected = try await server.rows(Products.expected)
      let compiled = try await Compiled(Products.definition, on: server, batchSize: 10)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(!told.isDone && told.text.contains("no space left on device"), "\(told.text)")
      #expect(
        try await server.rows("SELECT state, failure ->> 'message', failure ->> 'sqlstate' FROM migrate.runs")
          == ["paused|no space left on device|53100"])
      try await server.psql("DROP TRIGGER fill ON products")
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(try await server.has(expected))
      #expect(try await server.value("SELECT failure FROM migrate.runs") == nil)
    }
  }

  /// A row that has been committed since the snapshot is not there for the foreign key's check.
  @Test(arguments: BackEnd.allCases) func `not at a missing key that only an old snapshot misses`(backEnd: BackEnd)
    async throws
  {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE parents (id int PRIMARY KEY);
        CREATE TABLE children (id int PRIMARY KEY, parent_id int REFERENCES parents);
        INSERT INTO children SELECT n FROM generate_series(1, 10) AS n;
        CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END $$;
        CREATE TRIGGER wait BEFORE UPDATE ON children FOR EACH STATEMENT EXECUTE FUNCTION wait();
        """)
      let compiled = try await Compiled("batch: adopt\nsource: children\nset: {parent_id: 7}\n", on: server)
      try await withSessions("holder", to: server) { sessions in
        let holder = try #require(sessions["holder"])
        try await holder.execute("SELECT pg_advisory_lock(7)")
        async let told = backEnd.apply(compiled, on: server)
        try await server.wait(until: "EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)")
        try await holder.execute("INSERT INTO parents VALUES (7)")
        try await holder.execute("SELECT pg_advisory_unlock(7)")
        let said = try await told
        #expect(said.isDone, "\(said.text)")
      }
      #expect(try await server.value("SELECT count(parent_id) FROM children") == "10")
    }
  }

  @Test(arguments: BackEnd.allCases) func `when asked to, also while they wait for writers at the start`(
    backEnd: BackEnd
  ) async throws {
    try await withProducts { server in
      let compiled = try await Compiled(Products.definition, on: server)
      try await withSessions("writer", to: server) { sessions in
        let writer = try #require(sessions["writer"])
        try await writer.execute("BEGIN; INSERT INTO products VALUES (1000, 100, 'active')")
        let control = RunControl()
        async let told = backEnd.apply(compiled, on: server, control: control)
        try await server.wait(
          until: backEnd == .client
            ? "EXISTS (SELECT FROM migrate.workers)"
            : "EXISTS (SELECT FROM migrate.workers JOIN pg_stat_activity USING (pid) WHERE wait_event = 'PgSleep')")
        try await server.psql("SELECT migrate.pause(1)")
        try await server.wait(until: "(SELECT state = 'paused' FROM migrate.runs)")
        // A client stays and waits for `resume`; its signal lets it go.
        control.requestStop()
        let said = try await told
        #expect(!said.isDone, "\(said.text)")
        if backEnd == .procedure {
          let words =
            "run 1 waits for a transaction that may have written to the table: pid \(try await writer.pid) (writer)"
          #expect(said.text.contains(words), "\(said.text)")
        }
        #expect(try await server.rows("SELECT state, bounded_at FROM migrate.runs") == ["paused|NULL"])
        try await writer.execute("COMMIT")
      }
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(try await server.value("SELECT price FROM products WHERE id = 1000") == "105.00")
    }
  }

  @Test(arguments: BackEnd.allCases) func `at a check after the batches that cannot be run`(backEnd: BackEnd)
    async throws
  {
    try await withProducts { server in
      let compiled = try await Compiled(
        Products.definition + "\nchecks:\n  after:\n    none: SELECT 1 / (id - 3) FROM products WHERE id = 3\n",
        on: server)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(!told.isDone && told.text.contains("division by zero"), "\(told.text)")
      #expect(try await server.rows("SELECT state, failure ->> 'sqlstate' FROM migrate.runs") == ["failed|22012"])
      #expect(try await backEnd.revert(compiled, on: server).isDone)
    }
  }

  /// X02 P13
  @Test(arguments: BackEnd.allCases) func `P13: at what is deferred until COMMIT`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE places (id int PRIMARY KEY, pos int UNIQUE DEFERRABLE INITIALLY DEFERRED);
        INSERT INTO places SELECT n, n FROM generate_series(1, 10) AS n
        """)
      let compiled = try await Compiled("batch: places\nsource: places\nset: {pos: id / 2}\n", on: server)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(!told.isDone && told.text.contains("duplicate key"), "\(told.text)")
      #expect(try await server.rows("SELECT state, failure ->> 'sqlstate' FROM migrate.runs") == ["failed|23505"])
      #expect(try await server.value("SELECT sum(pos) FROM places") == "55")

      // The same constraint holds within a batch, where the rows pass through each other.
      let shift = try await Compiled("batch: shift\nsource: places\nset: {pos: pos + 1}\n", on: server)
      try await server.psql("SELECT migrate.cancel(1)")
      let shifted = try await backEnd.apply(shift, on: server)
      #expect(shifted.isDone, "\(shifted.text)")
      #expect(try await server.value("SELECT sum(pos) FROM places") == "65")
    }
  }

  @Test(arguments: BackEnd.allCases) func `where a trigger leaves rows out`(backEnd: BackEnd) async throws {
    let trigger = """
      CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF old.id = 9 THEN RETURN NULL; END IF; RETURN new; END $$;
      CREATE TRIGGER keep BEFORE UPDATE ON products FOR EACH ROW EXECUTE FUNCTION keep();
      """
    try await withProducts(20, trigger) { server in
      let compiled = try await Compiled(Products.definition, on: server)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(!told.isDone && told.text.contains("a trigger kept 1 of "), "\(told.text)")
      #expect(try await server.state() == "failed")
      #expect(try await server.value("SELECT count(*) FROM migrate.batches") == "0")
    }
  }

  @Test(arguments: BackEnd.allCases) func `at a check before, in and after the batches`(backEnd: BackEnd) async throws {
    try await withProducts { server in
      let before = try await server.rows(Products.all)
      func compiled(_ phase: String, _ query: String) async throws -> Compiled {
        try await Compiled(
          Products.definition.replacing("batch: prices", with: "batch: \(phase)_checked")
            + "\nchecks:\n  \(phase):\n    told apart: \(query)\n", on: server, batchSize: 10)
      }
      let first = try await backEnd.apply(compiled("before", "SELECT id FROM products WHERE id = 9"), on: server)
      #expect(!first.isDone && first.text.contains("check: told apart found rows"), "\(first.text)")
      #expect(first.text.contains("{\"id\": 9}") || first.text.contains("{\\\"id\\\": 9}"), "\(first.text)")
      #expect(try await server.value("SELECT count(*) FROM migrate.runs") == "0")

      let second = try await compiled(
        "batch", "SELECT b.id FROM batch AS b JOIN products AS p USING (id) WHERE b.price = 22 AND p.price > 22")
      let told = try await backEnd.apply(second, on: server)
      #expect(!told.isDone && told.text.contains("check: told apart found rows"), "\(told.text)")
      #expect(
        try await server.rows("SELECT state, failure ->> 'message', failure ->> 'after' FROM migrate.runs")
          == ["failed|check: told apart found rows|[\"33\"]"])
      #expect(try await backEnd.revert(second, on: server).isDone)
      #expect(try await server.has(before))

      let third = try await compiled("after", "SELECT id FROM products WHERE id = 3 AND status = 'active'")
      let late = try await backEnd.apply(third, on: server)
      #expect(!late.isDone && late.text.contains("check: told apart found rows"), "\(late.text)")
      #expect(try await server.state(2) == "failed")
      let batches = try await server.value("SELECT count(*) FROM migrate.batches WHERE run = 2")
      try await server.psql("UPDATE products SET status = 'done' WHERE id = 3")
      #expect(try await backEnd.apply(third, on: server).isDone)
      #expect(try await server.state(2) == "completed")
      #expect(try await server.value("SELECT count(*) FROM migrate.batches WHERE run = 2") == batches)
    }
  }

  /// U01
  @Test(arguments: BackEnd.allCases) func `U01: before rows that were changed since, as they are told`(backEnd: BackEnd)
    async throws
  {
    for policy in ConflictPolicy.allCases {
      try await withProducts { server in
        let compiled = try await Compiled(Products.definition, on: server, batchSize: 10)
        #expect(try await backEnd.apply(compiled, on: server).isDone)
        try await server.psql(
          """
          UPDATE products SET price = 7 WHERE id = 9;
          UPDATE products SET note = 'mine' WHERE id = 12;
          DELETE FROM products WHERE id = 18
          """)
        let edited = try await server.rows(Products.all)
        let told = try await backEnd.revert(compiled, on: server, onConflict: policy)
        let conflicts = try await server.rows(
          "SELECT key, reason, found ->> 'price' FROM migrate.conflicts ORDER BY seq, key")
        #expect(told.isDone == (policy != .stop), "\(told.text)")
        switch policy {
        case .stop:
          #expect(conflicts.isEmpty && told.text.contains("2"))
          #expect(try await server.has(edited))
          #expect(try await server.rows("SELECT state, direction FROM migrate.runs") == ["failed|revert"])
          // Told otherwise, the same revert goes on.
          #expect(try await backEnd.revert(compiled, on: server, onConflict: .skip).isDone)
        case .skip:
          #expect(conflicts == ["{18}|gone|NULL", "{9}|edited|7"])
          #expect(
            try await server.rows("SELECT price, note FROM products WHERE id IN (9, 12) ORDER BY id") == [
              "7|note 3", "4|mine",
            ])
          #expect(try await server.value("SELECT to_regclass('migrate.undo_1_1')") != nil)
        case .force:
          #expect(conflicts == ["{18}|gone|NULL", "{9}|overwritten|7"])
          #expect(try await server.value("SELECT price FROM products WHERE id = 9") == "3")
        }
        #expect(try await server.state() == "reverted")
      }
    }
  }

  @Test(arguments: BackEnd.allCases) func `before a revert that cannot be`(backEnd: BackEnd) async throws {
    try await withProducts { server in
      func expectRefusal(_ compiled: Compiled, _ words: String, sourceLocation: SourceLocation = #_sourceLocation)
        async throws
      {
        let before = try await server.rows(Products.all)
        let told = try await backEnd.revert(compiled, on: server)
        #expect(!told.isDone && told.text.contains(words), "\(told.text)", sourceLocation: sourceLocation)
        #expect(try await server.has(before), sourceLocation: sourceLocation)
      }
      let first = try await Compiled(Products.definition, on: server)
      #expect(try await backEnd.apply(first, on: server).isDone)
      // U07
      let second = try await Compiled(Products.definition.replacing("batch: prices", with: "batch: later"), on: server)
      #expect(try await backEnd.apply(second, on: server).isDone)
      try await expectRefusal(first, "run 2 of later came later and wrote the same columns")
      #expect(try await backEnd.revert(second, on: server).isDone)

      let needing = try await Compiled(
        "batch: notes\nneeds: prices\nsource: products\nset: {note: upper(note)}\n", on: server)
      #expect(try await backEnd.apply(needing, on: server).isDone)
      try await expectRefusal(first, "notes needs prices and is applied")
      #expect(try await backEnd.revert(needing, on: server).isDone)

      // U09
      try await server.psql("ALTER TABLE products ALTER COLUMN price TYPE float8")
      try await expectRefusal(first, "column price is double precision, was numeric")
      try await server.psql("ALTER TABLE products ALTER COLUMN price TYPE numeric")
      // U05
      #expect(try await backEnd.revert(first, on: server, onConflict: .force).isDone)
      let twice = try await backEnd.revert(first, on: server)
      #expect(twice.isDone == (backEnd == .procedure) && twice.text.contains("is reverted already"), "\(twice.text)")

      let final = try await Compiled("batch: final\nsource: products\nundo: none\nset: {note: 'gone'}\n", on: server)
      #expect(try await backEnd.apply(final, on: server).isDone)
      try await expectRefusal(final, "the definition says `undo: none`")
    }
  }

  /// PROTOCOL 8; `plan --out` has refused to write such scripts: test of the diagnostic too-many-values.
  @Test func `before values that drive cannot bind, which a client can`() async throws {
    try await withProducts { server in
      let names = (1...30).map { "p\($0)" }
      let compiled = try await Compiled(
        """
        batch: sums
        source: products
        params: {\(names.map { "\($0): {type: numeric, default: 1}" }.joined(separator: ", "))}
        set:
          price: price + \(names.map { ":\($0)" }.joined(separator: " + "))
        """, on: server)
      let told = try await BackEnd.procedure.apply(compiled, on: server)
      #expect(!told.isDone && told.text.contains("binds more than 32 values"), "\(told.text)")
      #expect(try await server.value("SELECT count(*) FROM migrate.runs") == "0")
      let before = try await server.value("SELECT sum(price) FROM products")
      #expect(try await BackEnd.client.apply(compiled, on: server).isDone)
      #expect(try await server.value("SELECT sum(price) - 30 * count(*) FROM products") == before)
      // Nor does it go on with what a client has begun.
      try await server.psql("UPDATE migrate.runs SET state = 'paused'")
      let refused = try await BackEnd.procedure.apply(compiled, on: server)
      #expect(!refused.isDone && refused.text.contains("binds more than 32 values"), "\(refused.text)")
      #expect(try await server.state() == "paused")
    }
  }

  /// A revert needs nothing of the kind.
  @Test func `before it may not keep how a batch begins, and names the GRANT`() async throws {
    // It installs the ledger itself.
    try await withDatabase { server in
      try await server.psql(Products.table(rows: 60))
      let name = try #require(try await server.value("SELECT quote_ident(current_database())"))
      try await server.psql(
        """
        DO $$ BEGIN CREATE ROLE clerk LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
        GRANT SELECT, UPDATE ON products TO clerk;
        GRANT CREATE ON DATABASE \(name) TO clerk; REVOKE TEMPORARY ON DATABASE \(name) FROM PUBLIC
        """)
      let clerk = server.setting("user", "clerk")
      let compiled = try await Compiled(Products.definition, on: clerk)
      let before = try await server.rows(Products.all)
      let refused = try await BackEnd.procedure.apply(compiled, on: clerk)
      let grant = "GRANT TEMPORARY ON DATABASE \(name) TO clerk"
      #expect(!refused.isDone && refused.text.contains(grant), "\(refused.text)")
      #expect(try await server.value("SELECT count(*) FROM migrate.runs") == "0")
      try await server.psql(grant)
      #expect(try await BackEnd.procedure.apply(compiled, on: clerk).isDone)
      try await server.psql("REVOKE TEMPORARY ON DATABASE \(name) FROM clerk")
      #expect(try await BackEnd.procedure.revert(compiled, on: clerk).isDone)
      #expect(try await server.has(before))
    }
  }

  @Test(arguments: BackEnd.allCases) func `before a run that must not begin`(backEnd: BackEnd) async throws {
    try await withProducts(60, "ALTER TABLE products ADD CONSTRAINT cheap CHECK (price <> 27.30);") { server in
      let compiled = try await Compiled(Products.definition, on: server, batchSize: 10)
      let needing = try await Compiled(
        "batch: notes\nneeds: prices\nsource: products\nset: {note: upper(note)}\n", on: server)
      let unmet = try await backEnd.apply(needing, on: server)
      #expect(!unmet.isDone && unmet.text.contains("notes needs prices, not complete yet"), "\(unmet.text)")
      #expect(try await backEnd.apply(compiled, on: server).isDone == false)

      let other = try await Compiled(Products.definition, on: server, batchSize: 10, parameters: ["multiplier": "1.1"])
      let told = try await backEnd.apply(other, on: server)
      #expect(
        !told.isDone && told.text.contains("run 1 of prices is unfinished and has other parameters"), "\(told.text)")

      // U10
      let edited = try await Compiled(Products.definition + "\n# edited", on: server, batchSize: 10)
      let changed = try await backEnd.apply(edited, on: server)
      #expect(!changed.isDone && changed.text.contains("has changed while run 1"), "\(changed.text)")

      let overlapping = try await Compiled("batch: cheaper\nsource: products\nset: {price: price - 1}\n", on: server)
      let beside = try await backEnd.apply(overlapping, on: server)
      #expect(
        !beside.isDone && beside.text.contains("run 1 of prices is unfinished and writes the same columns"),
        "\(beside.text)")
      #expect(try await server.value("SELECT count(*) FROM migrate.runs") == "1")
    }
  }
}
