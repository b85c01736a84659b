import MigratePostgres
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// What others do to the labels of an enum that a run reads.
@Suite struct `A run stays with the labels of its enums` {
  /// Orders of which each second one is open, in enums of all kinds.
  private static let orders = """
    CREATE TYPE status AS ENUM ('open', 'closed', 'lost');
    CREATE TYPE kind AS ENUM ('a', 'b');
    CREATE DOMAIN kinds AS kind[];
    CREATE TABLE products (id integer PRIMARY KEY, status status, kinds kinds, price integer);
    INSERT INTO products SELECT n, CASE WHEN n % 2 = 0 THEN 'open' ELSE 'closed' END::status, '{b}', 1 FROM generate_series(1, 40) AS n;
    """ + TableChange.gate

  /// P21; a label that is compared as a text fits no row any more when it is renamed, and no lock keeps it from being.
  @Test(
    arguments: BackEnd.allCases,
    [
      ["ALTER TYPE status RENAME VALUE 'open' TO 'new'", "ALTER TYPE status RENAME VALUE 'new' TO 'open'"],
      [
        "ALTER TYPE status RENAME VALUE 'open' TO 'x'; ALTER TYPE status RENAME VALUE 'closed' TO 'open'; ALTER TYPE status RENAME VALUE 'x' TO 'closed'",
        "ALTER TYPE status RENAME VALUE 'open' TO 'x'; ALTER TYPE status RENAME VALUE 'closed' TO 'open'; ALTER TYPE status RENAME VALUE 'x' TO 'closed'",
      ],
      [
        "ALTER TYPE status RENAME TO old; CREATE TYPE status AS ENUM ('open', 'closed', 'lost'); ALTER TYPE old RENAME VALUE 'open' TO 'new'",
        "DROP TYPE status; ALTER TYPE old RENAME TO status; ALTER TYPE status RENAME VALUE 'new' TO 'open'",
      ],
      ["ALTER TYPE kind RENAME VALUE 'b' TO 'c'", "ALTER TYPE kind RENAME VALUE 'c' TO 'b'"],
    ]) func `P21: does not go on past a renamed label of an enum`(backEnd: BackEnd, change: [String]) async throws
  {
    try await withLedger { server in
      try await server.psql(Self.orders)
      let compiled = try await Compiled(
        "batch: b\nsource: products\nwhere: status::text = 'open' AND kinds::text = '{b}'\nset: {price: price + 1}",
        on: server,
        batchSize: 5)
      let changed = "SELECT count(*) FROM products WHERE price = 2"
      let within = try await TableChange.meeting(change[0], on: server) {
        try await backEnd.apply(compiled, on: server)
      }
      #expect(!within.isDone && within.text.contains("the labels of enum public."), "\(within.text)")
      #expect(try await server.value(changed) == "0")
      try await server.psql(change[1])
      let between = try await TableChange.applying(
        compiled, on: server, by: backEnd, change: "LOCK TABLE products; \(change[0])")
      #expect(!between.isDone && between.text.contains("the labels of enum public."), "\(between.text)")
      #expect(between.text.contains("rename them back, or take the run back and apply anew"), "\(between.text)")
      #expect(try await server.value(changed) == "5")
      try await server.psql(change[1])
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(try await server.value(changed) == "20")
      // The values are kept, and not their labels.
      try await server.psql(change[0])
      #expect(try await backEnd.revert(compiled, on: server).isDone)
      #expect(try await server.value(changed) == "0")
    }
  }

  /// P21; the change finds no row of those that the capture has found, as if a trigger had kept them. Row 5 waits in the capture, and
  /// the labels change between the two.
  @Test(arguments: BackEnd.allCases, ["stop", "continue"])
  func `P21: takes a label renamed between capture and change for no trigger`(backEnd: BackEnd, onError: String)
    async throws
  {
    try await withLedger { server in
      try await server.psql(
        Self.orders + """
          -- The bound looks first, and the capture behind it.
          CREATE FUNCTION passes(_id integer) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
            BEGIN
              IF _id = 10 AND current_setting('gate.is_bound', true) = 'true' THEN PERFORM pg_advisory_xact_lock_shared(8); END IF;
              IF _id = 10 THEN PERFORM set_config('gate.is_bound', 'true', true); END IF;
              RETURN true;
            END $$;
          -- Its rows may be written by it, so the change computes them anew.
          CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
          CREATE TRIGGER touch BEFORE UPDATE ON products FOR EACH ROW EXECUTE FUNCTION touch();
          """)
      let compiled = try await Compiled(
        "batch: b\nsource: products\nwhere: status::text = 'open' AND passes(id)\nset: {price: price + 1}\non_error: \(onError)",
        on: server, batchSize: 5)
      let told = try await withSessions("holder", to: server) { sessions in
        let holder = try #require(sessions["holder"])
        try await holder.execute("SELECT pg_advisory_lock(8)")
        async let told = backEnd.apply(compiled, on: server)
        try await server.wait(
          until: "\(try await holder.pid) = ANY (SELECT unnest(pg_blocking_pids(pid)) FROM migrate.workers)")
        try await server.psql("ALTER TYPE status RENAME VALUE 'open' TO 'new'")
        try await holder.execute("SELECT pg_advisory_unlock(8)")
        return try await told
      }
      #expect(!told.isDone && told.text.contains("the labels of enum public."), "\(told.text)")
      #expect(try await server.value("SELECT count(*) FROM products WHERE price = 2") == "0")
      #expect(try await server.value("SELECT count(*) FROM migrate.rejects") == "0")
    }
  }

  /// P21
  @Test(arguments: BackEnd.allCases) func `P21: goes on past a label that is added to an enum`(backEnd: BackEnd)
    async throws
  {
    try await withLedger { server in
      try await server.psql(Self.orders)
      let compiled = try await Compiled(
        "batch: b\nsource: products\nwhere: status::text = 'open'\nset: {price: price + 1}", on: server, batchSize: 5)
      let told = try await TableChange.meeting("ALTER TYPE status ADD VALUE 'new' BEFORE 'closed'", on: server) {
        try await backEnd.apply(compiled, on: server)
      }
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.value("SELECT count(*) FROM products WHERE price = 2") == "20")
    }
  }
}
