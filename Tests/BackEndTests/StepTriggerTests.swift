import MigratePlan
import MigratePostgres
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// Triggers on the tables that steps write: they fire, what they make of the rows is kept, and goes back with them.
@Suite struct `Steps whose tables have triggers` {
  private static let tables = """
    CREATE TABLE orders (id bigint PRIMARY KEY, user_id bigint NOT NULL, price numeric(10,2) NOT NULL, version integer NOT NULL DEFAULT 1);
    INSERT INTO orders SELECT n, n % 7, n FROM generate_series(1, 60) AS n;
    CREATE TABLE users (id bigint PRIMARY KEY, points integer NOT NULL, touched text, tags text[]);
    INSERT INTO users SELECT n, 100, 'never', CASE n % 2 WHEN 0 THEN ARRAY['x', NULL] END FROM generate_series(0, 9) AS n;
    CREATE TABLE notes (id bigint PRIMARY KEY, order_id bigint NOT NULL, note varchar(20), came integer NOT NULL, search tsvector);
    INSERT INTO notes SELECT n, 1 + n % 60, 'n' || n, 0, NULL FROM generate_series(1, 90) AS n;
    CREATE TABLE ledger (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, order_id bigint NOT NULL, what text NOT NULL);
    CREATE TABLE counts (what text PRIMARY KEY, n bigint NOT NULL);
    INSERT INTO counts VALUES ('ledger', 0), ('notes', 90), ('writes', 0);
    CREATE TABLE events (id bigserial, n bigint);

    CREATE FUNCTION next_version() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN NEW.version := OLD.version + 1; NEW.price := round(NEW.price); RETURN NEW; END $$;
    CREATE TRIGGER version BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION next_version();
    CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN NEW.touched := 'at ' || NEW.points; NEW.tags := array_append(NEW.tags, 't'); RETURN NEW; END $$;
    CREATE TRIGGER touch BEFORE UPDATE OF points ON users FOR EACH ROW EXECUTE FUNCTION touch();
    CREATE FUNCTION come() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN NEW.came := NEW.came + 1; RETURN NEW; END $$;
    CREATE TRIGGER come BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION come();
    CREATE TRIGGER search BEFORE INSERT OR UPDATE ON notes FOR EACH ROW
    EXECUTE FUNCTION tsvector_update_trigger(search, 'pg_catalog.simple', note);
    CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN NEW.what := upper(NEW.what); RETURN NEW; END $$;
    CREATE TRIGGER shout BEFORE INSERT ON ledger FOR EACH ROW EXECUTE FUNCTION shout();
    CREATE FUNCTION half(integer) RETURNS integer LANGUAGE sql AS $$ SELECT $1 / 2 $$;
    CREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      UPDATE counts SET n = n + CASE TG_OP WHEN 'INSERT' THEN half(2) ELSE -1 END WHERE what = TG_TABLE_NAME;
      RETURN NULL;
    END $$;
    CREATE TRIGGER counted AFTER INSERT OR DELETE ON ledger FOR EACH ROW EXECUTE FUNCTION counted();
    CREATE TRIGGER counted AFTER INSERT OR DELETE ON notes FOR EACH ROW EXECUTE FUNCTION counted();
    CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM pg_notify('told', 'more'); RETURN NULL; END $$;
    CREATE TRIGGER told AFTER INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION told();
    ANALYZE orders, users, notes
    """

  private static let definition = """
    batch: triggered
    source: orders
    where: id % 5 <> 0
    steps:
      - update: orders
        set: {price: price * 1.015}
      - insert: ledger
        values: {order_id: id, what: 'priced'}
      - update: users
        from:
          o: SELECT user_id, count(*) AS n FROM batch GROUP BY user_id
        match: users.id = o.user_id
        set: {points: points + o.n}
      - delete: notes
        match: notes.order_id = batch.id
      - emit: events
        from: {e: SELECT count(*) AS n FROM batch}
        values: {n: e.n}
    """

  private static let oracle = """
    CREATE TEMP TABLE b AS SELECT * FROM orders WHERE id % 5 <> 0;
    UPDATE orders SET price = price * 1.015 WHERE id IN (SELECT id FROM b);
    INSERT INTO ledger (order_id, what) SELECT id, 'priced' FROM b ORDER BY id;
    DELETE FROM notes WHERE order_id IN (SELECT id FROM b);
    """

  private static let all = [
    "SELECT * FROM orders ORDER BY id", "SELECT * FROM notes ORDER BY id", "SELECT * FROM counts ORDER BY 1",
    "SELECT order_id, what FROM ledger ORDER BY 1",
  ]
  private static let users = "SELECT * FROM users ORDER BY id"

  private static func rows(_ server: Server) async throws -> [[String]] {
    var rows: [[String]] = []
    for query in all { rows.append(try await server.rows(query)) }
    return rows
  }

  private static func expected(_ server: Server) async throws -> [[String]] {
    let session = try await Session("oracle", to: server)
    try await session.execute("BEGIN; \(oracle)")
    var rows: [[String]] = []
    for query in all {
      rows.append(
        try await session.execute(query).map { row in try row.values.map { $0 ?? "NULL" }.joined(separator: "|") })
    }
    try await session.execute("ROLLBACK")
    return rows
  }

  @Test(arguments: BackEnd.allCases, [1, 7, 1_000])
  func `X06: go back with what triggers have made of the rows`(backEnd: BackEnd, size: Int) async throws {
    try await withLedger { server in
      try await server.psql(Self.tables)
      let before = try await Self.rows(server)
      let users = try await server.rows(Self.users)
      let expected = try await Self.expected(server)
      let compiled = try await Compiled(Self.definition, on: server, batchSize: size)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(try await Self.rows(server) == expected)
      // How often a row of theirs is written depends on the batches.
      #expect(try await server.value("SELECT sum(points) FROM users") == "1048")
      #expect(try await server.value("SELECT count(*) FROM migrate.verify(1) WHERE verdict = 'not ok'") == "0")
      let back = try await backEnd.revert(compiled, on: server)
      #expect(back.isDone, "\(back.text)")
      #expect(try await Self.rows(server) == before)
      #expect(try await server.rows(Self.users) == users)
      #expect(try await server.value("SELECT count(*) FROM migrate.conflicts") == "0")
    }
  }

  /// What somebody does between the two, and what of it stays; the rest is as it was before the run.
  struct Edit: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let edit: String
    let conflicts: String
    let query: String
    /// Under `skip`, and under `force`.
    let stays: (skipped: String, forced: String)
  }

  static let edits = [
    Edit(
      testDescription: "of a column that a trigger writes", edit: "UPDATE users SET touched = 'mine' WHERE id = 1",
      conflicts: "0", query: "SELECT points, touched, tags FROM users WHERE id = 1",
      stays: ("100|mine|NULL", "100|mine|NULL")),
    Edit(
      testDescription: "of a column that the step writes", edit: "UPDATE users SET points = 7 WHERE id = 2",
      conflicts: "1", query: "SELECT points, touched FROM users WHERE id = 2", stays: ("7|at 7", "100|at 7")),
    Edit(
      testDescription: "by which a row has come back", edit: "INSERT INTO notes VALUES (1, 2, 'other', 5, NULL)",
      conflicts: "1", query: "SELECT note, came, search FROM notes WHERE id = 1",
      stays: ("other|6|'other':1", "n1|0|NULL")),
    Edit(
      testDescription: "of a row that was added", edit: "UPDATE ledger SET what = 'priced' WHERE order_id = 3",
      conflicts: "1", query: "SELECT order_id, what FROM ledger", stays: ("3|priced", "NULL")),
  ]

  @Test(arguments: BackEnd.allCases, edits)
  func `leave what somebody has written since, or keep it`(backEnd: BackEnd, edit: Edit) async throws {
    for policy in [ConflictPolicy.skip, .force] {
      try await withLedger { server in
        try await server.psql(Self.tables)
        let compiled = try await Compiled(Self.definition, on: server, batchSize: 1_000)
        #expect(try await backEnd.apply(compiled, on: server).isDone)
        try await server.psql(edit.edit)
        let back = try await backEnd.revert(compiled, on: server, onConflict: policy)
        #expect(back.isDone || edit.conflicts != "0", "\(back.text)")
        #expect(try await server.value("SELECT count(*) FROM migrate.conflicts") == edit.conflicts, "\(policy)")
        let stays = policy == .force ? edit.stays.forced : edit.stays.skipped
        #expect((try await server.rows(edit.query).first ?? "NULL") == stays, "\(policy)")
        #expect(try await server.value("SELECT count(*) FROM orders WHERE version <> 1 OR price <> id") == "0")
      }
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `X06: are switched off by the owner, who may do no more`(backEnd: BackEnd) async throws {
    // The owner installs the ledger as well.
    try await withDatabase { server in
      try await server.psql(Self.tables)
      try await server.psql(
        """
        DO $$ BEGIN CREATE ROLE clerk LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
        ALTER TABLE orders OWNER TO clerk; ALTER TABLE users OWNER TO clerk; ALTER TABLE notes OWNER TO clerk;
        ALTER TABLE ledger OWNER TO clerk; ALTER TABLE counts OWNER TO clerk; ALTER TABLE events OWNER TO clerk;
        DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO clerk', current_database()); END $$
        """)
      let before = try await Self.rows(server)
      let users = try await server.rows(Self.users)
      let clerk = server.setting("user", "clerk")
      let compiled = try await Compiled(Self.definition, on: clerk, batchSize: 20)
      let told = try await backEnd.apply(compiled, on: clerk)
      #expect(told.isDone, "\(told.text)")
      let back = try await backEnd.revert(compiled, on: clerk)
      #expect(back.isDone, "\(back.text)")
      #expect(try await Self.rows(server) == before)
      #expect(try await server.rows(Self.users) == users)
      #expect(
        try await server.value("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'O'") == "0")
    }
  }

  /// What is put off until COMMIT by who may not switch triggers off for himself alone.
  @Test(arguments: BackEnd.allCases)
  func `X06: are switched off also where a constraint is still to be checked`(backEnd: BackEnd) async throws {
    try await withDatabase { server in
      try await server.psql(
        """
        DO $$ BEGIN CREATE ROLE clerk LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
        DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO clerk; GRANT CREATE ON SCHEMA public TO clerk', current_database()); END $$;
        SET ROLE clerk;
        CREATE TABLE s (id integer PRIMARY KEY, v integer);
        INSERT INTO s SELECT n, n FROM generate_series(1, 12) AS n;
        CREATE TABLE o (id integer PRIMARY KEY, sid integer REFERENCES s DEFERRABLE INITIALLY DEFERRED, x integer, ver integer DEFAULT 0,
                        u integer UNIQUE DEFERRABLE INITIALLY DEFERRED);
        INSERT INTO o SELECT n, 1 + n % 12, n, 0, n FROM generate_series(1, 24) AS n;
        CREATE TABLE seen (n integer);
        CREATE FUNCTION come() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN NEW.ver := NEW.ver + 1; RETURN NEW; END $$;
        CREATE TRIGGER come BEFORE INSERT OR UPDATE ON o FOR EACH ROW EXECUTE FUNCTION come();
        CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO seen VALUES (NEW.id); RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON o DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late()
        """)
      let clerk = server.setting("user", "clerk")
      for step in ["delete: o", "update: o\nset: {x: o.x + batch.v}"] {
        let before = try await server.rows("SELECT * FROM o ORDER BY id")
        let name = step.prefix(6)
        let compiled = try await Compiled(
          "batch: \(name)s\nsource: s\n\(step)\nmatch: o.sid = batch.id\n", on: clerk, batchSize: 5)
        let told = try await backEnd.apply(compiled, on: clerk)
        #expect(told.isDone, "\(told.text)")
        let back = try await backEnd.revert(compiled, on: clerk)
        #expect(back.isDone, "\(back.text)")
        #expect(try await server.rows("SELECT * FROM o ORDER BY id") == before)
      }
      #expect(
        try await server.value("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'O'") == "0")
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `X06: may give back the old row`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE o (id integer PRIMARY KEY, x integer);
        INSERT INTO o SELECT n, n FROM generate_series(1, 24) AS n;
        CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF NEW.id % 2 = 0 THEN RETURN OLD; END IF; RETURN NEW; END $$;
        CREATE TRIGGER keep BEFORE UPDATE ON o FOR EACH ROW EXECUTE FUNCTION keep()
        """)
      let before = try await server.rows("SELECT * FROM o ORDER BY id")
      let compiled = try await Compiled(
        "batch: olds\nsource: {query: SELECT id FROM o, key: id}\nupdate: o\nmatch: o.id = batch.id\nset: {x: x + 100}\n",
        on: server, batchSize: 5)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(try await server.value("SELECT count(*) FROM o WHERE x > 100") == "12")
      let back = try await backEnd.revert(compiled, on: server)
      #expect(back.isDone, "\(back.text)")
      #expect(try await server.rows("SELECT * FROM o ORDER BY id") == before)
    }
  }
}
