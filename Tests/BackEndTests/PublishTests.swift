import MigratePlan
import MigratePostgres
import MigrateTestSupport
import Synchronization
import TestRuns
import TestSupport
import Testing

/// `publish: at_once`: batches compute, and one transaction shows all of it.
@Suite struct `Publishing at once` {
  static let cases = [
    Published(
      testDescription: "with what is computed of the row",
      body: "where: status = 'active'\nset:\n  price: round(cost * 1.5, 2)",
      becomes: "CASE WHEN status = 'active' THEN round(cost * 1.5, 2) ELSE price END, tags, stamp"),
    Published(
      testDescription: "with a join",
      body: """
        join:
          sold: {query: "SELECT product_id, sum(qty) AS n FROM sales GROUP BY product_id", match: sold.product_id = products.id, missing: null}
        set:
          price: CASE WHEN sold.n > 5 THEN cost * 2 ELSE price END
          tags: tags || CAST(coalesce(sold.n, 0) AS text)
        """,
      becomes: """
        CASE WHEN (SELECT sum(qty) FROM sales AS s WHERE s.product_id = p.id) > 5 THEN cost * 2 ELSE price END,
        tags || CAST(coalesce((SELECT sum(qty) FROM sales AS s WHERE s.product_id = p.id), 0) AS text), stamp
        """),
    Published(
      testDescription: "under a BEFORE trigger that writes another column", trigger: "BEFORE",
      body: "where: id % 2 > 0\nset: {price: cost + 1}",
      becomes: """
        CASE WHEN id % 2 > 0 THEN cost + 1 ELSE price END, tags,
        CASE WHEN id % 2 > 0 AND (cost + 1)::text <> price::text THEN stamp + 1 ELSE stamp END
        """),
    Published(
      testDescription: "under an AFTER trigger that writes the row again", trigger: "AFTER",
      body: "where: id % 2 > 0\nset: {price: cost + 1}",
      becomes: """
        CASE WHEN id % 2 > 0 THEN cost + 1 ELSE price END, tags,
        CASE WHEN id % 2 > 0 AND (cost + 1)::text <> price::text THEN stamp + 1 ELSE stamp END
        """),
  ]

  @Test(arguments: cases, BackEnd.allCases)
  func `gives what one statement would, and goes back at once`(of published: Published, by backEnd: BackEnd)
    async throws
  {
    for size in [1, 7, 100] {
      try await withLedger { server in
        try await server.psql(published.tables)
        let before = try await server.rows(Published.all)
        let expected = try await server.rows(published.expected)
        let compiled = try await Compiled(published.definition(), on: server, batchSize: size)
        let seen = try await watched(server) {
          let told = try await backEnd.apply(compiled, on: server)
          #expect(told.isDone, "\(told.text)")
        }
        #expect(try await server.rows(Published.all) == expected)
        #expect(seen.subtracting([before, expected]).isEmpty)
        #expect(
          try await server.rows("SELECT DISTINCT xmin FROM products WHERE price <> was OR tags <> old_tags").count == 1)
        let back = try await watched(server) {
          let told = try await backEnd.revert(compiled, on: server)
          #expect(told.isDone, "\(told.text)")
        }
        #expect(try await server.rows(Published.all) == before)
        #expect(back.subtracting([before, expected]).isEmpty)
        #expect(
          try await server.rows(
            "SELECT rows_read - rows_changed - rows_unchanged - rows_rejected FROM migrate.progress") == ["0"])
      }
    }
  }

  /// What is stored can be longer than what is computed, and a key can be of a type of its own.
  @Test(arguments: BackEnd.allCases, [false, true])
  func `goes back from what is stored, whatever the types`(by backEnd: BackEnd, fires: Bool) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE DOMAIN code AS text; CREATE DOMAIN part AS numeric;
        CREATE TABLE odd (a code, b part, c char(4), d char(4)[], e numeric(8,2), n integer, PRIMARY KEY (a, b));
        INSERT INTO odd SELECT 'k' || n % 3, n, 'z', ARRAY['z'], n, n FROM generate_series(1, 20) AS n;
        CREATE FUNCTION same() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
        """ + (fires ? "CREATE TRIGGER same BEFORE UPDATE ON odd FOR EACH ROW EXECUTE FUNCTION same();" : ""))
      let all = "SELECT * FROM odd ORDER BY a, b"
      let before = try await server.rows(all)
      let compiled = try await backEnd.complete(
        "batch: odd\nsource: odd\nset:\n  c: 'qq'\n  d: ARRAY['a']\n  e: n / 3.0\n  n: n + 1\npublish: at_once\n",
        on: server,
        batchSize: 7)
      #expect(
        try await server.rows("SELECT count(*) FROM odd WHERE c = 'qq' AND d = '{a}' AND e = round((n - 1) / 3.0, 2)")
          == ["20"])
      let back = try await backEnd.revert(compiled, on: server)
      #expect(back.isDone, "\(back.text)")
      #expect(try await server.rows(all) == before)
    }
  }

  /// Which writes no other row, and is asked whether it does.
  @Test(arguments: BackEnd.allCases)
  func `goes back under a trigger that has come since`(by backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Self.cases[0].tables)
      let before = try await server.rows(Published.all)
      let compiled = try await backEnd.complete(Self.cases[0].definition(), on: server, batchSize: 7)
      try await server.psql(
        """
        CREATE FUNCTION same() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE TRIGGER same AFTER UPDATE ON products FOR EACH ROW EXECUTE FUNCTION same();
        """)
      let back = try await backEnd.revert(compiled, on: server)
      #expect(back.isDone, "\(back.text)")
      #expect(try await server.rows(Published.all) == before)
    }
  }

  @Test func `gives the same for any number of workers`() async throws {
    for workers in [1, 2, 4] {
      try await withLedger { server in
        try await server.psql(
          Self.cases[1].tables
            + "; INSERT INTO products SELECT n * 3, 1, n, 'active', '{}', 0, 1, '{}' FROM generate_series(100, 4000) AS n; ANALYZE products"
        )
        let expected = try await server.rows(Self.cases[1].expected)
        let yaml = Self.cases[1].definition("parallel: \(workers)")
        let compiled = try await BackEnd.client.complete(yaml, on: server, batchSize: 50)
        #expect(try await server.rows(Published.all) == expected)
        #expect(try await BackEnd.client.revert(compiled, on: server).isDone)
      }
    }
  }

  /// What somebody reads again and again meanwhile.
  private func watched(_ server: Server, _ body: () async throws -> Void) async throws -> Set<[String]> {
    let isOver = Atomic(false)
    let reader = Task {
      var seen: Set<[String]> = []
      while !isOver.load(ordering: .relaxed) { seen.insert(try await server.rows(Published.all)) }
      return seen
    }
    do { try await body() } catch {
      isOver.store(true, ordering: .relaxed)
      throw error
    }
    isOver.store(true, ordering: .relaxed)
    return try await reader.value
  }

  // MARK: What others write meanwhile

  /// Done between the last batch and the publication, each to other rows.
  static let edits = """
    UPDATE products SET price = price + 100  WHERE id = 3;
    UPDATE products SET cost  = cost + 7     WHERE id = 6;
    UPDATE products SET note  = 'edited'     WHERE id = 9;
    DELETE FROM products                     WHERE id = 12;
    DELETE FROM products                     WHERE id = 15;
    INSERT INTO products VALUES (15, 1, 9, 'active', '{new}', 0, 1, '{new}');
    INSERT INTO products VALUES (16, 1, 9, 'active', '{new}', 0, 1, '{new}');
    UPDATE products SET status = 'gone'      WHERE id = 18;
    UPDATE products SET status = 'active'    WHERE id = 21;
    UPDATE products SET price = round(cost * 1.5, 2) WHERE id = 24;
    UPDATE products SET price = price + 1    WHERE id = 27;
    UPDATE products SET price = price - 1    WHERE id = 27;
    INSERT INTO products VALUES (100000, 1, 9, 'active', '{late}', 0, 1, '{late}');
    """

  @Test(arguments: BackEnd.allCases, [1, 4, 100])
  func `computes anew what others have changed since`(by backEnd: BackEnd, size: Int) async throws {
    try await withComputed(backEnd, size) { server, compiled in
      try await server.psql(Self.edits)
      let before = try await server.rows(Published.all)
      // The last row came behind the upper end.
      let expected = try await server.rows(Self.cases[0].expected(where: "id < 100000"))
      try await server.psql("SELECT migrate.resume(1)")
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.rows(Published.all) == expected)
      #expect(try await server.value("SELECT rows_read > 0 FROM migrate.batches WHERE slice = -3") == "t")
      #expect(try await server.rows("SELECT name FROM migrate.verify(1) WHERE verdict = 'not ok'") == [])
      let back = try await backEnd.revert(compiled, on: server)
      #expect(back.isDone, "\(back.text)")
      #expect(try await server.rows(Published.all) == before)
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `leaves nothing behind when it is taken back before`(by backEnd: BackEnd) async throws {
    try await withComputed(backEnd, 7) { server, compiled in
      let before = try await server.rows(Published.all)
      #expect(try await server.rows("SELECT touch FROM migrate.why('products', '{30}')") == [])
      let back = try await backEnd.revert(compiled, on: server)
      #expect(back.isDone, "\(back.text)")
      #expect(try await server.rows(Published.all) == before)
      #expect(try await server.state() == "reverted")
      #expect(try await server.rows("SELECT count(*) FROM migrate.conflicts") == ["0"])
      // Rows are what they were, also by their versions.
      #expect(try await server.rows("SELECT count(DISTINCT xmin::text) FROM products") == ["1"])
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `shows nothing when a row is refused, and goes on once it is mended`(by backEnd: BackEnd) async throws {
    try await withComputed(backEnd, 7) { server, compiled in
      let before = try await server.rows(Published.all)
      try await server.psql("ALTER TABLE products ADD CHECK (price < 70 OR id <> 150); SELECT migrate.resume(1)")
      let told = try await backEnd.apply(compiled, on: server)
      #expect(!told.isDone)
      #expect(told.text.contains("products_check"), "\(told.text)")
      #expect(try await server.state() == "failed")
      #expect(try await server.rows(Published.all) == before)
      try await server.psql("UPDATE products SET cost = 2 WHERE id = 150; SELECT migrate.resume(1)")
      let expected = try await server.rows(Self.cases[0].expected)
      let again = try await backEnd.apply(compiled, on: server)
      #expect(again.isDone, "\(again.text)")
      #expect(try await server.rows(Published.all) == expected)
    }
  }

  /// In the way for longer than a lock is waited for; and then it has changed what was computed.
  @Test(arguments: BackEnd.allCases)
  func `waits for a writer, and takes its row as it has become`(by backEnd: BackEnd) async throws {
    try await withComputed(backEnd, 7) { server, compiled in
      try await server.psql("SELECT migrate.resume(1)")
      try await withSessions("writer", to: server) { sessions in
        guard let writer = sessions["writer"] else { return }
        try await writer.execute("BEGIN; UPDATE products SET cost = cost + 1 WHERE id = 60")
        let run = Task { try await backEnd.apply(compiled, on: server) }
        try await server.wait(
          until: "EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database())"
        )
        try await server.psql("SELECT pg_sleep(1.2)")
        try await writer.execute("COMMIT")
        let told = try await run.value
        #expect(told.isDone, "\(told.text)")
      }
      #expect(try await server.rows("SELECT price = round(cost * 1.5, 2) FROM products WHERE id = 60") == ["t"])
      #expect(
        try await server.rows("SELECT count(*) FROM products WHERE status = 'active' AND price <> round(cost * 1.5, 2)")
          == ["0"])
    }
  }

  /// A run whose batches are done and that has shown nothing: it expects more rows than there are.
  private func withComputed(
    _ backEnd: BackEnd, _ size: Int, _ body: (Server, Compiled) async throws -> Void
  ) async throws {
    try await withLedger { server in
      try await server.psql(Self.cases[0].tables)
      let before = try await server.rows(Published.all)
      let compiled = try await Compiled(
        Self.cases[0].definition("expect: {rows: \">= 100000\"}"), on: server, batchSize: size)
      #expect(try await !backEnd.apply(compiled, on: server).isDone)
      #expect(try await server.state() == "paused")
      #expect(try await server.rows(Published.all) == before)
      try await body(server, compiled)
    }
  }

  // MARK: Rows that are not in order

  @Test(arguments: BackEnd.allCases)
  func `keeps rows in quarantine, and shows them when they are tried again`(by backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Self.cases[0].tables)
      let before = try await server.rows(Published.all)
      let compiled = try await backEnd.complete(
        Self.cases[0].definition("validation: {too dear: price < 100}"), on: server, batchSize: 7)
      let rejected = try await server.rows("SELECT count(*) FROM migrate.rejects WHERE state = 'open'")
      #expect(rejected == ["12"])
      #expect(
        try await server.rows("SELECT count(*) FROM products WHERE price > 100 AND price = round(cost * 1.5, 2)") == [
          "0"
        ])
      try await server.psql("UPDATE products SET cost = cost / 10 WHERE cost > 66")
      let changed = try await server.rows(Published.all)
      let told = try await backEnd.retry(1, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.rows("SELECT count(*) FROM migrate.rejects WHERE state = 'open'") == ["0"])
      #expect(
        try await server.rows("SELECT count(*) FROM products WHERE status = 'active' AND price <> round(cost * 1.5, 2)")
          == ["0"])
      #expect(changed != before)
      #expect(try await backEnd.revert(compiled, on: server).isDone)
      #expect(try await server.rows("SELECT count(*) FROM products WHERE price <> was") == ["0"])
    }
  }
}

/// A definition over products, and what it makes of them.
struct Published: Sendable, CustomTestStringConvertible {
  let testDescription: String
  var trigger: String?
  let body: String
  /// Price, tags and stamp.
  let becomes: String

  static let all = "SELECT id, price, cost, status, tags, stamp, note FROM products ORDER BY id"

  var expected: String { expected(where: "true") }

  func expected(where condition: String) -> String {
    """
    SELECT id, CASE WHEN \(condition) THEN n.price ELSE p.price END, cost, status, n.tags, n.stamp, note
    FROM products AS p, LATERAL (SELECT \(becomes)) AS n(price, tags, stamp) ORDER BY id
    """
  }

  func definition(_ more: String = "") -> String {
    "batch: priced\nsource: products\n\(body)\npublish: at_once\n\(more)\n"
  }

  var tables: String {
    let fires = trigger.map { moment in
      moment == "BEFORE"
        ? """
        CREATE FUNCTION stamped() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.stamp := OLD.stamp + 1; RETURN NEW; END $$;
        CREATE TRIGGER stamped BEFORE UPDATE OF price ON products FOR EACH ROW EXECUTE FUNCTION stamped();
        """
        : """
        CREATE FUNCTION stamped() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN UPDATE products SET stamp = OLD.stamp + 1 WHERE id = NEW.id; RETURN NULL; END $$;
        CREATE TRIGGER stamped AFTER UPDATE OF price ON products FOR EACH ROW EXECUTE FUNCTION stamped();
        """
    }
    return """
      CREATE TABLE products (id bigint PRIMARY KEY, price numeric NOT NULL, cost numeric NOT NULL, status text NOT NULL, tags text[] NOT NULL,
                             stamp integer NOT NULL, was numeric NOT NULL, old_tags text[] NOT NULL, note text);
      INSERT INTO products
      SELECT n * 3, n % 9, n, CASE WHEN n % 7 = 0 THEN 'gone' ELSE 'active' END, ARRAY['a' || n], 0, n % 9, ARRAY['a' || n]
      FROM   generate_series(1, 80) AS n;
      CREATE TABLE sales (product_id integer NOT NULL, qty integer NOT NULL);
      CREATE INDEX ON sales (product_id);
      INSERT INTO sales SELECT 3 * (1 + n % 50), n % 5 FROM generate_series(1, 300) AS n;
      \(fires ?? "")
      ANALYZE products, sales;
      """
  }
}
