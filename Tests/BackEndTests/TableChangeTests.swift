import MigratePlan
import MigratePostgres
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// What others do to the table while a run is on its way.
@Suite struct `A run stays with its table` {
  private func withProducts(_ body: @Sendable (Server) async throws -> Void) async throws {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 60) + TableChange.gate)
      try await body(server)
    }
  }

  /// P21
  @Test(arguments: BackEnd.allCases) func `P21: stops before it writes to another table under its name`(
    backEnd: BackEnd
  ) async throws {
    try await withProducts { server in
      let (before, expected) = (try await server.rows(Products.all), try await server.rows(Products.expected))
      try await server.psql("CREATE TABLE twin (LIKE products INCLUDING ALL); INSERT INTO twin TABLE products")
      let compiled = try await Compiled(Products.definition, on: server, batchSize: 10)
      let told = try await TableChange.applying(
        compiled, on: server, by: backEnd,
        change: "BEGIN; ALTER TABLE products RENAME TO old; ALTER TABLE twin RENAME TO products; COMMIT")
      let words = "public.products is another table now, the one of the run is called public.old"
      #expect(!told.isDone && told.text.contains(words), "\(told.text)")
      #expect(told.text.contains("rename them back; then resume run 1"), "\(told.text)")
      #expect(
        try await server.rows("SELECT state, failure ->> 'sqlstate', failure ->> 'after' FROM migrate.runs")
          == ["failed|55000|[\"33\"]"])
      #expect(try await server.has(before))

      // Nor does it go on there, or back.
      let again = try await backEnd.apply(compiled, on: server)
      #expect(!again.isDone && again.text.contains(words), "\(again.text)")
      let back = try await backEnd.revert(compiled, on: server)
      #expect(!back.isDone && back.text.contains(words), "\(back.text)")
      #expect(try await server.has(before))
      #expect(try await server.value("SELECT count(*) FROM migrate.batches") == "1")

      try await server.psql("ALTER TABLE products RENAME TO twin; ALTER TABLE old RENAME TO products")
      let resumed = try await backEnd.apply(compiled, on: server)
      #expect(resumed.isDone, "\(resumed.text)")
      #expect(try await server.has(expected))
      #expect(try await backEnd.revert(compiled, on: server).isDone)
      #expect(try await server.has(before))
    }
  }

  /// P21
  @Test(arguments: BackEnd.allCases) func `P21: tells that its table is renamed, or its schema another one`(
    backEnd: BackEnd
  ) async throws {
    try await withProducts { server in
      let compiled = try await Compiled(Products.definition, on: server, batchSize: 10)
      let told = try await TableChange.applying(
        compiled, on: server, by: backEnd, change: "ALTER TABLE products RENAME TO old")
      #expect(!told.isDone && told.text.contains("is called public.old now"), "\(told.text)")
      try await server.psql(
        "ALTER TABLE old RENAME TO products; ALTER SCHEMA public RENAME TO away; CREATE SCHEMA public; CREATE TABLE public.products (LIKE away.products)"
      )
      let elsewhere = try await backEnd.apply(compiled, on: server)
      #expect(
        !elsewhere.isDone && elsewhere.text.contains("the one of the run is called away.products"), "\(elsewhere.text)")
      try await server.psql("DROP SCHEMA public CASCADE; ALTER SCHEMA away RENAME TO public")
      #expect(try await backEnd.apply(compiled, on: server).isDone)
    }
  }

  /// P21; no lock on a table keeps its schema from being renamed, so each batch looks once more before it commits.
  @Test(arguments: BackEnd.allCases) func `P21: commits no batch in which its schema was renamed, there and back`(
    backEnd: BackEnd
  ) async throws {
    try await withProducts { server in
      let (before, expected) = (try await server.rows(Products.all), try await server.rows(Products.expected))
      let compiled = try await Compiled(Products.definition, on: server, batchSize: 10)
      let swap =
        "ALTER SCHEMA public RENAME TO away; CREATE SCHEMA public; CREATE TABLE public.products (LIKE away.products)"
      let swapBack = "DROP SCHEMA public CASCADE; ALTER SCHEMA away RENAME TO public"

      let there = try await TableChange.meeting(swap, on: server) { try await backEnd.apply(compiled, on: server) }
      #expect(!there.isDone && there.text.contains("the one of the run is called away.products"), "\(there.text)")
      #expect(try await server.value("SELECT count(*) FROM migrate.batches") == "0")
      try await server.psql(swapBack)
      #expect(try await server.has(before))
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(try await server.has(expected))

      let back = try await TableChange.meeting(swap, on: server) { try await backEnd.revert(compiled, on: server) }
      #expect(!back.isDone && back.text.contains("the one of the run is called away.products"), "\(back.text)")
      #expect(back.text.contains("rename them back; then revert run 1"), "\(back.text)")
      #expect(try await server.value("SELECT count(*) FROM migrate.batches WHERE kind = 'revert'") == "0")
      try await server.psql(swapBack)
      #expect(try await server.has(expected))
      #expect(try await backEnd.revert(compiled, on: server).isDone)
      #expect(try await server.has(before))
    }
  }

  /// P21, PostgreSQL manual 13.6: to a snapshot that is older than the rewrite the table is empty.
  @Test(arguments: BackEnd.allCases)
  func `P21: and passes no row over when the table is written anew between two batches`(
    backEnd: BackEnd
  ) async throws {
    try await withProducts { server in
      let expected = try await server.rows(Products.expected)
      let compiled = try await Compiled(Products.definition, on: server, batchSize: 10)
      let told = try await TableChange.applying(
        compiled, on: server, by: backEnd, change: "ALTER TABLE products ALTER note TYPE varchar(100)")
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.has(expected))
      #expect(try await server.value("SELECT left_behind FROM migrate.runs") == "0")
      #expect(try await server.value("SELECT count(*) FROM migrate.batches") == "6")
    }
  }

  struct Change: CustomTestStringConvertible {
    let testDescription: String
    let change: String
    let words: String
    let repair: String

    static let all = [
      Change(
        testDescription: "a column renamed", change: "ALTER TABLE products RENAME price TO cost",
        words: "column price is gone", repair: "ALTER TABLE products RENAME cost TO price"),
      Change(
        testDescription: "a column of the same name and type that is another one",
        change: "ALTER TABLE products RENAME price TO cost; ALTER TABLE products ADD price numeric",
        words: "column price is another one now",
        repair: "ALTER TABLE products DROP price; ALTER TABLE products RENAME cost TO price"),
      Change(
        testDescription: "a column of another type", change: "ALTER TABLE products ALTER price TYPE float8",
        words: "column price is double precision, was numeric", repair: "ALTER TABLE products ALTER price TYPE numeric"),
      Change(
        testDescription: "a column of another scale", change: "ALTER TABLE products ALTER price TYPE numeric(12,1)",
        words: "column price is numeric(12,1), was numeric", repair: "ALTER TABLE products ALTER price TYPE numeric"),
      Change(
        testDescription: "the key's index dropped", change: "ALTER TABLE products DROP CONSTRAINT products_pkey",
        words: "no unique index on (id) is there any more, so each batch would read all of",
        repair: "CREATE UNIQUE INDEX ON products (id)"),
      Change(
        testDescription: "a key that can be NULL",
        change: "ALTER TABLE products DROP CONSTRAINT products_pkey, ALTER id DROP NOT NULL, ADD UNIQUE (id)",
        words: "column id of the key can be NULL", repair: "ALTER TABLE products ALTER id SET NOT NULL"),
      Change(
        testDescription: "a trigger that came",
        change: """
          CREATE TRIGGER late BEFORE UPDATE ON products
          FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()
          """,
        words: "trigger late fires on updates of public.products now", repair: "DROP TRIGGER late ON products"),
      Change(
        testDescription: "a rule that came",
        change: "CREATE RULE late AS ON UPDATE TO products DO INSTEAD NOTHING",
        words: "rule late is applied to updates of public.products now", repair: "DROP RULE late ON products"),
      Change(
        testDescription: "a foreign key that follows what is written",
        change: """
          ALTER TABLE products ADD CONSTRAINT dear UNIQUE (id, price);
          CREATE TABLE items (id integer, price numeric, FOREIGN KEY (id, price) REFERENCES products (id, price) ON UPDATE SET NULL)
          """,
        words: "items follows column price by foreign key items_id_price_fkey now", repair: "DROP TABLE items"),
    ]

    static let notTakenBackThrough =
      [
        Change(
          testDescription: "a trigger that writes the row",
          change: """
            CREATE FUNCTION seven() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.price := 7; RETURN NEW; END $$;
            CREATE TRIGGER late BEFORE UPDATE ON products FOR EACH ROW EXECUTE FUNCTION seven()
            """,
          words: "trigger late fires on updates of public.products now", repair: "DROP TRIGGER late ON products")
      ]
      + ["CASCADE", "SET NULL", "SET DEFAULT"].map { action in
        Change(
          testDescription: "a foreign key ON UPDATE \(action)",
          change: """
            ALTER TABLE products ADD CONSTRAINT dear UNIQUE (id, price);
            CREATE TABLE items (id bigint, price numeric, FOREIGN KEY (id, price) REFERENCES products (id, price) ON UPDATE \(action));
            INSERT INTO items SELECT id, price FROM products
            """,
          words: "items follows column price by foreign key items_id_price_fkey now",
          repair: "DROP TABLE items; ALTER TABLE products DROP CONSTRAINT dear")
      }
  }

  /// P21
  @Test(arguments: BackEnd.allCases, Change.all) func `P21: tells what has become of it`(
    backEnd: BackEnd, change: Change
  ) async throws {
    try await withProducts { server in
      let compiled = try await Compiled(Products.definition, on: server, batchSize: 10)
      let told = try await TableChange.applying(compiled, on: server, by: backEnd, change: change.change)
      #expect(!told.isDone && told.text.contains(change.words), "\(told.text)")
      #expect(told.text.contains("then resume run 1, which goes on at this batch"), "\(told.text)")
      #expect(try await server.rows("SELECT state, failure ->> 'sqlstate' FROM migrate.runs") == ["failed|55000"])
      // The second batch may have had a snapshot of the catalog, too, that was older than the change.
      #expect(try await server.value("SELECT count(*) <= 2 FROM migrate.batches") == "t")
      try await server.psql(change.repair)
      let resumed = try await backEnd.apply(compiled, on: server)
      #expect(resumed.isDone, "\(resumed.text)")
      #expect(try await server.value("SELECT sum(rows_read) FROM migrate.batches") == "52")
    }
  }

  /// P21; foreign keys would not be checked, and the plan's own triggers not fire.
  @Test(arguments: BackEnd.allCases) func `P21: writes nothing as a replica`(backEnd: BackEnd) async throws {
    try await withProducts { server in
      let (before, expected) = (try await server.rows(Products.all), try await server.rows(Products.expected))
      let compiled = try await Compiled(Products.definition, on: server, batchSize: 10)
      let set = { (value: String) in
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET session_replication_role = \(value)', current_database()); END $$"
      }
      try await server.psql(set("replica"))
      let told = try await backEnd.apply(compiled, on: server)
      #expect(!told.isDone && told.text.contains("session_replication_role is replica"), "\(told.text)")
      #expect(try await server.has(before))
      try await server.psql(set("origin"))
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(try await server.has(expected))
    }
  }

  /// P21
  @Test(arguments: BackEnd.allCases) func `P21: does not go on in the order of another collation`(backEnd: BackEnd)
    async throws
  {
    try await withLedger { server in
      try await server.psql(Collated.table + TableChange.gate)
      let compiled = try await Compiled(Collated.definition, on: server, batchSize: 10)
      let told = try await TableChange.applying(compiled, on: server, by: backEnd, change: Collated.byBytes)
      #expect(!told.isDone && told.text.contains("the key is ordered by another collation now"), "\(told.text)")
      try await server.psql(Collated.byLetters)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(try await server.rows("SELECT count(*) FROM products WHERE price = 2") == ["54"])
    }
  }

  /// P21; a snapshot shows the catalog's tables as they were, while the batch's statements go by what is. Who may update only one
  /// column locks the table as a reader.
  @Test(arguments: BackEnd.allCases, ["postgres", "clerk"])
  func `P21: is not changed between a batch's snapshot and its look at it`(backEnd: BackEnd, user: String) async throws
  {
    try await withDatabase { server in
      try await server.psql(
        Collated.table + TableChange.gate
          + """
          DO $$ BEGIN CREATE ROLE clerk LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
          GRANT SELECT, UPDATE (price) ON products TO clerk;
          DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO clerk', current_database()); END $$;
          """)
      let session = server.setting("user", user)
      let compiled = try await Compiled(Collated.definition, on: session, batchSize: 10)
      let (told, waited) = try await TableChange.afterSnapshot(Collated.byBytes, on: server) {
        try await backEnd.apply(compiled, on: session)
      }
      #expect(waited)
      #expect(!told.isDone && told.text.contains("the key is ordered by another collation now"), "\(told.text)")
      try await server.psql(Collated.byLetters)
      #expect(try await backEnd.apply(compiled, on: session).isDone)
      #expect(try await server.rows("SELECT count(*) FROM products WHERE price = 2") == ["54"])
    }
  }

  /// P21; what a new trigger makes of the old values would be taken for them, and the undo dropped; what a foreign key writes into
  /// the rows that follow would be in no undo.
  @Test(arguments: BackEnd.allCases, Change.notTakenBackThrough) func `P21: is not taken back through what came later`(
    backEnd: BackEnd, change: Change
  ) async throws {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 60))
      let before = try await server.rows(Products.all)
      let compiled = try await Compiled(Products.definition, on: server, batchSize: 10)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      try await server.psql(change.change)
      let applied = try await server.rows(Products.all)
      for policy in [ConflictPolicy.stop, .skip, .force] {
        let told = try await backEnd.revert(compiled, on: server, onConflict: policy)
        #expect(!told.isDone && told.text.contains(change.words), "\(told.text)")
      }
      #expect(try await server.has(applied))
      #expect(try await server.state() == "completed")
      try await server.psql(change.repair)
      #expect(try await backEnd.revert(compiled, on: server).isDone)
      #expect(try await server.has(before))
    }
  }

  /// K20; its rows are older than the run, and nobody has written them since.
  @Test(arguments: BackEnd.allCases) func `K20: counts the rows of a partition that was attached behind the batches`(
    backEnd: BackEnd
  ) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE products (id integer PRIMARY KEY, price integer) PARTITION BY RANGE (id);
        CREATE TABLE ahead PARTITION OF products FOR VALUES FROM (0) TO (1000);
        CREATE TABLE behind (id integer PRIMARY KEY, price integer);
        INSERT INTO products SELECT n, 1 FROM generate_series(1, 60) AS n;
        INSERT INTO behind SELECT -n, 1 FROM generate_series(1, 30) AS n;
        \(TableChange.gate)
        """)
      let compiled = try await Compiled(
        "batch: b\nsource: products\nset: {price: price + 1}", on: server, batchSize: 10)
      let told = try await TableChange.meeting(
        "ALTER TABLE products ATTACH PARTITION behind FOR VALUES FROM (-1000) TO (0)", on: server
      ) { try await backEnd.apply(compiled, on: server) }
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.rows("SELECT left_behind FROM migrate.runs") == ["30"])
      #expect(try await server.rows("SELECT sum(price) FROM products WHERE id > 0") == ["120"])
    }
  }

  /// P21; the first batch must not choose another table than the one that was planned either.
  @Test(arguments: BackEnd.allCases) func `P21: also while it waits for writers at the start`(backEnd: BackEnd)
    async throws
  {
    try await withProducts { server in
      try await server.psql("CREATE TABLE twin (LIKE products INCLUDING ALL); INSERT INTO twin TABLE products LIMIT 3")
      let compiled = try await Compiled(Products.definition, on: server)
      try await withSessions("writer", to: server) { sessions in
        let writer = try #require(sessions["writer"])
        try await writer.execute("BEGIN; INSERT INTO products VALUES (1000, 100, 'active')")
        async let told = backEnd.apply(compiled, on: server)
        try await server.wait(until: "EXISTS (SELECT FROM migrate.workers)")
        try await writer.execute("ALTER TABLE products RENAME TO old; ALTER TABLE twin RENAME TO products; COMMIT")
        let said = try await told
        #expect(!said.isDone && said.text.contains("is another table now"), "\(said.text)")
      }
      #expect(try await server.rows("SELECT state, bounded_at FROM migrate.runs") == ["failed|NULL"])
      try await server.psql("ALTER TABLE products RENAME TO twin; ALTER TABLE old RENAME TO products")
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(try await server.value("SELECT price FROM products WHERE id = 1000") == "105.00")
    }
  }

  /// P23
  @Test(arguments: BackEnd.allCases) func `P23: goes on and back where a dump of it was restored`(backEnd: BackEnd)
    async throws
  {
    try await withDatabase { server in
      try await server.psql(
        """
        CREATE TYPE kind AS ENUM ('old', 'new');
        CREATE TABLE products (id bigint PRIMARY KEY, kind kind, price numeric CHECK (price <> 43), tags kind[]);
        INSERT INTO products SELECT n, 'old', n + 0.5, '{old}' FROM generate_series(1, 60) AS n
        """)
      let all = "SELECT * FROM products ORDER BY id"
      let before = try await server.rows(all)
      let compiled = try await Compiled(
        "batch: renew\nsource: products\nset:\n  kind: 'new'\n  price: price * 2\n  tags: tags || kind\n", on: server,
        batchSize: 5)
      #expect(try await backEnd.apply(compiled, on: server).isDone == false)
      #expect(
        try await server.rows("SELECT state, count(*) FROM migrate.runs, migrate.batches GROUP BY 1") == ["failed|4"])
      try await withDatabase { other in
        let dump = try await Psql.dump(server)
        #expect(dump.isDone)
        let restored = try await Psql.run(dump.text, on: other)
        #expect(restored.isDone, "\(restored.text)")
        // By chance the old number of the table names another one here.
        try await other.psql(
          """
          ALTER TABLE products DROP CONSTRAINT products_price_check; CREATE TABLE stranger ();
          UPDATE migrate.relations SET relation = 'stranger'::regclass WHERE name LIKE '%products%';
          -- It came from a cluster in which higher numbers had been given to transactions; here a row comes in behind the batches.
          UPDATE migrate.runs SET horizon = '1000000000';
          INSERT INTO products VALUES (-1, 'old', 1, '{old}')
          """)
        let told = try await backEnd.apply(compiled, on: other)
        #expect(told.isDone, "\(told.text)")
        #expect(try await other.rows("SELECT left_behind FROM migrate.runs") == ["1"])
        try await other.psql("DELETE FROM products WHERE id = -1")
        #expect(try await other.rows("SELECT kind, sum(price) FROM products GROUP BY kind") == ["new|3720.0"])
        let back = try await backEnd.revert(compiled, on: other)
        #expect(back.isDone, "\(back.text)")
        #expect(try await other.rows(all) == before)
      }
    }
  }
}

/// Rows by a key in ICU's order, in which a batch ends with `e`; behind that come no capitals in the order of bytes.
enum Collated {
  static let definition = "batch: b\nsource: products\nset: {price: price + 1}"
  static let table = """
    CREATE TABLE products (id text COLLATE "und-x-icu" PRIMARY KEY, price integer);
    INSERT INTO products SELECT c || n, 1 FROM generate_series(1, 9) AS n, unnest('{a,B,c,D,e,F}'::text[]) AS c;
    """
  static let byBytes = "ALTER TABLE products ALTER id TYPE text COLLATE \"C\""
  static let byLetters = "ALTER TABLE products ALTER id TYPE text COLLATE \"und-x-icu\""
}
