import MigratePlan
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// Triggers that came to the table after the run, and what they do while it is taken back.
@Suite struct `A trigger that came after the run` {
  struct Late: CustomTestStringConvertible {
    let testDescription: String
    let body: String
    let trigger: String
    /// Before the run.
    var known = ""

    static let rewriting = [
      Late(
        testDescription: "writes the row's own column again",
        body: "UPDATE public.products SET price = price + 1 WHERE id = NEW.id",
        trigger: "TRIGGER late AFTER UPDATE ON products FOR EACH ROW"),
      Late(
        testDescription: "writes a column of the row that the run does not",
        body: "UPDATE public.products SET note = 'late' WHERE id = NEW.id",
        trigger: "TRIGGER late AFTER UPDATE OF price ON products FOR EACH ROW"),
      Late(
        testDescription: "writes another row of the table",
        body: "UPDATE public.products SET note = 'late' WHERE id = 21",
        trigger: "TRIGGER late AFTER UPDATE ON products FOR EACH STATEMENT"),
      Late(
        testDescription: "writes another row before the statement",
        body: "UPDATE public.products SET note = 'late' WHERE id = 21",
        trigger: "TRIGGER late BEFORE UPDATE ON products FOR EACH STATEMENT"),
      Late(
        testDescription: "deletes a row", body: "DELETE FROM public.products WHERE id = 21",
        trigger: "TRIGGER late AFTER UPDATE ON products FOR EACH STATEMENT"),
      Late(
        testDescription: "puts another row into its place",
        body: "DELETE FROM public.products WHERE id = 21; INSERT INTO public.products VALUES (21, 0, 'late')",
        trigger: "TRIGGER late AFTER UPDATE ON products FOR EACH STATEMENT"),
      Late(
        testDescription: "writes at the end of the transaction",
        body: "UPDATE public.products SET price = price + 1 WHERE id = NEW.id",
        trigger: "CONSTRAINT TRIGGER late AFTER UPDATE ON products DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"),
      Late(
        testDescription: "comes to one that was known",
        body: "UPDATE public.products SET note = 'late' WHERE id = 21",
        trigger: "TRIGGER late AFTER UPDATE ON products FOR EACH STATEMENT", known: Self.stamping),
    ]

    static let harmless = [
      Late(
        testDescription: "writes elsewhere", body: "INSERT INTO public.seen SELECT NEW.id",
        trigger: "TRIGGER late AFTER UPDATE ON products FOR EACH ROW"),
      Late(
        testDescription: "writes elsewhere, and there was one before", body: "INSERT INTO public.seen SELECT NEW.id",
        trigger: "TRIGGER late AFTER UPDATE ON products FOR EACH ROW", known: Self.stamping),
      Late(
        testDescription: "writes elsewhere at the end of the transaction",
        body: "INSERT INTO public.seen SELECT NEW.id",
        trigger: "CONSTRAINT TRIGGER late AFTER UPDATE ON products DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"),
    ]

    /// One that the run knows: it writes a column beside the run's own.
    private static let stamping = """
      CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := 'stamped'; RETURN NEW; END $$;
      CREATE TRIGGER stamp BEFORE UPDATE ON products FOR EACH ROW EXECUTE FUNCTION stamp();
      """

    var sql: String {
      """
      CREATE TABLE seen (id bigint);
      CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        -- What it writes fires it again.
        IF pg_trigger_depth() = 1 THEN \(body); END IF;
        RETURN NULL;
      END $$;
      CREATE \(trigger) EXECUTE FUNCTION late()
      """
    }
  }

  @Test(arguments: BackEnd.allCases, Late.rewriting)
  func `P21: and writes rows of the table stops the way back, with nothing written`(backEnd: BackEnd, late: Late)
    async throws
  {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 60) + late.known)
      let before = try await server.rows(Products.all)
      let compiled = try await Compiled(Products.definition, on: server, batchSize: 10)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      try await server.psql(late.sql)
      let applied = try await server.rows(Products.all)
      for policy in [ConflictPolicy.stop, .skip, .force] {
        let told = try await backEnd.revert(compiled, on: server, onConflict: policy)
        #expect(!told.isDone && told.text.contains("trigger late"), "\(told.text)")
        #expect(
          told.text.contains("disable or drop it; then revert run 1, which goes on at this batch"), "\(told.text)")
        #expect(try await server.has(applied))
      }
      #expect(try await server.rows("SELECT state, failure ->> 'sqlstate' FROM migrate.runs") == ["failed|55000"])
      try await server.psql("DROP TRIGGER late ON products")
      let told = try await backEnd.revert(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.has(before))
    }
  }

  @Test(arguments: BackEnd.allCases, Late.harmless)
  func `P21: and writes none of its rows is no hindrance`(backEnd: BackEnd, late: Late) async throws {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 60) + late.known)
      let before = try await server.rows(Products.all)
      let compiled = try await Compiled(Products.definition, on: server, batchSize: 10)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      try await server.psql(late.sql + "; UPDATE products SET price = -1 WHERE id = 3")
      let told = try await backEnd.revert(compiled, on: server, onConflict: .force)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.has(before))
      #expect(try await server.value("SELECT count(DISTINCT id) FROM seen") == "41")
    }
  }

  @Test(arguments: BackEnd.allCases, [true, false])
  func `P21: and belongs to a partition is met alike`(backEnd: BackEnd, writesRows: Bool) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE products (id integer PRIMARY KEY, price integer, note text) PARTITION BY RANGE (id);
        CREATE TABLE low  PARTITION OF products FOR VALUES FROM (0) TO (31);
        CREATE TABLE high PARTITION OF products FOR VALUES FROM (31) TO (100);
        CREATE TABLE seen (id bigint);
        INSERT INTO products SELECT n, n, 'note' FROM generate_series(1, 60) AS n
        """)
      let all = "SELECT id, price, note FROM products ORDER BY id"
      let before = try await server.rows(all)
      let compiled = try await Compiled(
        "batch: b\nsource: products\nset: {price: price + 1}", on: server, batchSize: 25)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      let body =
        writesRows
        ? "IF pg_trigger_depth() = 1 THEN UPDATE public.high SET note = 'late' WHERE id = 60; END IF"
        : "INSERT INTO public.seen VALUES (NEW.id)"
      try await server.psql(
        """
        CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \(body); RETURN NULL; END $$;
        CREATE TRIGGER late AFTER UPDATE ON low FOR EACH ROW EXECUTE FUNCTION late()
        """)
      let told = try await backEnd.revert(compiled, on: server)
      #expect(told.isDone == !writesRows, "\(told.text)")
      if writesRows {
        // The last batch has no row of the partition.
        #expect(try await server.rows("SELECT count(*) FROM migrate.batches WHERE kind = 'revert'") == ["1"])
        #expect(try await server.rows("SELECT count(*) FROM products WHERE note = 'late'") == ["0"])
        try await server.psql("DROP TRIGGER late ON low")
        #expect(try await backEnd.revert(compiled, on: server).isDone)
      }
      #expect(try await server.rows(all) == before)
    }
  }

  /// P21; with a rule that writes elsewhere nothing would come back, though each row is returned.
  @Test(arguments: BackEnd.allCases) func `P21: is a rule, and nothing is taken back through it`(backEnd: BackEnd)
    async throws
  {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 60))
      let before = try await server.rows(Products.all)
      let compiled = try await Compiled(Products.definition, on: server, batchSize: 10)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      try await server.psql(
        """
        CREATE TABLE copies AS TABLE products;
        CREATE RULE late AS ON UPDATE TO products DO INSTEAD
        UPDATE copies SET price = NEW.price WHERE id = OLD.id RETURNING copies.*
        """)
      let told = try await backEnd.revert(compiled, on: server)
      #expect(
        !told.isDone && told.text.contains("rule late is applied to updates of public.products now"), "\(told.text)")
      try await server.psql("ALTER TABLE products DISABLE RULE late")
      let again = try await backEnd.revert(compiled, on: server)
      #expect(again.isDone, "\(again.text)")
      #expect(try await server.has(before))
    }
  }

  /// The counts of what a transaction has written are then not kept.
  @Test(arguments: BackEnd.allCases) func `P21: stops the way back where nobody counts what it writes`(backEnd: BackEnd)
    async throws
  {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 60))
      let before = try await server.rows(Products.all)
      let compiled = try await Compiled(Products.definition, on: server, batchSize: 10)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      try await server.psql(
        "\(try #require(Late.harmless.first).sql); DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET track_counts = off', current_database()); END $$"
      )
      let told = try await backEnd.revert(compiled, on: server)
      #expect(!told.isDone && told.text.contains("track_counts is off"), "\(told.text)")
      try await server.psql("DROP TRIGGER late ON products")
      #expect(try await backEnd.revert(compiled, on: server).isDone)
      #expect(try await server.has(before))
    }
  }
}
