import MigratePlan
import MigratePostgres
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// `steps`: several writes in one transaction a batch, against what plain SQL makes of the same tables.
@Suite struct `Steps` {
  static func tables(grants: Int) -> String {
    """
    CREATE TABLE users (id bigint PRIMARY KEY, name text, points integer NOT NULL, best numeric, tags text[]);
    INSERT INTO users SELECT n, 'u' || n, 1000, NULL, CASE n % 3 WHEN 0 THEN ARRAY['a', NULL] END FROM generate_series(1, 20) AS n;
    CREATE TABLE grants (id integer PRIMARY KEY, user_id bigint NOT NULL, points integer, state text NOT NULL, note varchar(20), tags text[]);
    INSERT INTO grants
    SELECT n * 2, 1 + n * n % 17, CASE WHEN n % 10 = 0 THEN NULL ELSE n % 7 END, CASE n % 3 WHEN 0 THEN 'used' ELSE 'active' END,
           'é' || n, CASE n % 4 WHEN 0 THEN ARRAY['x' || n, 'y'] END
    FROM   generate_series(1, \(grants)) AS n;
    CREATE TABLE items (id bigint PRIMARY KEY, grant_id integer NOT NULL REFERENCES grants ON DELETE CASCADE, price numeric(8,2));
    INSERT INTO items SELECT n, 2 * (1 + n % \(grants)), n FROM generate_series(1, \(grants * 2)) AS n;
    CREATE TABLE ledger (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id bigint NOT NULL, delta integer, reason text,
                         twice integer GENERATED ALWAYS AS (delta * 2) STORED, tags text[], at timestamptz DEFAULT '2026-01-01Z');
    CREATE TABLE seen (user_id bigint, state text, n integer, at timestamptz DEFAULT '2026-01-01Z', PRIMARY KEY (user_id, state));
    INSERT INTO seen SELECT n, 'active', -1 FROM generate_series(1, 6, 2) AS n;
    CREATE TABLE labels (user_id bigint, label text, PRIMARY KEY (user_id, label));
    INSERT INTO labels VALUES (2, 'y'), (3, 'z');
    CREATE TABLE visits (user_id bigint PRIMARY KEY, visits integer NOT NULL);
    INSERT INTO visits SELECT n, n FROM generate_series(1, 20) AS n;
    CREATE SEQUENCE numbers MINVALUE 100;
    CREATE TABLE events (id bigserial, kind text, n bigint);
    CREATE TABLE old_grants (LIKE grants, moved_at timestamptz NOT NULL DEFAULT '2026-01-01Z', PRIMARY KEY (id));
    CREATE TABLE old_items (price numeric(8,2), id bigint PRIMARY KEY, grant_id integer NOT NULL REFERENCES old_grants);
    CREATE VIEW scores AS SELECT user_id, state, count(*)::integer AS n FROM grants GROUP BY user_id, state;
    ANALYZE users, grants, items
    """
  }

  /// The tables as rows, but for the numbers that a sequence gives.
  private static let all = [
    "SELECT * FROM users ORDER BY id", "SELECT * FROM grants ORDER BY id", "SELECT * FROM items ORDER BY id",
    "SELECT * FROM visits ORDER BY user_id", "SELECT * FROM old_grants ORDER BY id",
    "SELECT * FROM old_items ORDER BY id", "SELECT * FROM seen ORDER BY 1, 2",
    "SELECT * FROM labels ORDER BY 1, 2",
    "SELECT user_id, delta, reason, twice, tags, at FROM ledger ORDER BY 1, 2, 3, 5",
    "SELECT kind, sum(n) FROM events GROUP BY kind",
  ]

  struct Case: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let definition: String
    /// What plain SQL does in one transaction.
    let oracle: String
    /// The rows of a canary come first, which matters where the first one wins.
    var goesWithCanary = true
  }

  private static let active = "SELECT * FROM grants WHERE state = 'active' AND points > 0"

  static let cases = [
    Case(
      testDescription: "that change, insert, add up and tell",
      definition: """
        source: grants
        where: state = 'active' AND points > 0
        steps:
          - update: grants
            set: {state: 'expired', note: upper(note), tags: tags || user_id::text}
          - insert: ledger
            values: {user_id: user_id, delta: -points, reason: "it's over", tags: tags}
          - update: users
            from:
              lost: SELECT user_id, coalesce(sum(points), 0) AS points, max(points) AS best FROM batch GROUP BY user_id
            match: users.id = lost.user_id
            set:
              points: points - lost.points
              best: greatest(best, lost.best)
          - emit: events
            from: {e: SELECT count(*) AS n FROM batch}
            values: {kind: 'expired', n: e.n}
        """,
      oracle: """
        CREATE TEMP TABLE b AS \(active);
        UPDATE grants SET state = 'expired', note = upper(note), tags = tags || user_id::text WHERE id IN (SELECT id FROM b);
        INSERT INTO ledger (user_id, delta, reason, tags) SELECT user_id, -points, 'it''s over', tags FROM b ORDER BY id;
        UPDATE users SET points = users.points - l.points, best = l.best
        FROM (SELECT user_id, sum(points) AS points, max(points) AS best FROM b GROUP BY user_id) AS l WHERE l.user_id = users.id;
        INSERT INTO events (kind, n) SELECT 'expired', count(*) FROM b
        """),
    Case(
      testDescription: "that delete children, then their own rows",
      definition: """
        source: grants
        where: state = 'used'
        steps:
          - insert: ledger
            from:
              i: SELECT b.user_id, i.id, b.tags FROM batch AS b CROSS JOIN generate_series(1, 2) AS i(id)
            values: {user_id: i.user_id, delta: i.id, tags: i.tags}
          - delete: items
            match: items.grant_id = batch.id
          - delete: grants
        """,
      oracle: """
        CREATE TEMP TABLE b AS SELECT * FROM grants WHERE state = 'used';
        INSERT INTO ledger (user_id, delta, tags) SELECT user_id, i.id, tags FROM b CROSS JOIN (VALUES (1), (2)) AS i(id);
        DELETE FROM grants WHERE state = 'used'
        """),
    Case(
      testDescription: "that move whole families",
      definition: """
        source: grants
        where: state = 'active'
        steps:
          - move: items
            to: old_items
            match: items.grant_id = batch.id
          - move: grants
            to: old_grants
            values: {note: note || '!', state: 'moved'}
          - emit: events
            from: {e: SELECT count(*) AS n FROM batch}
            values: {kind: 'moved', n: e.n}
        """,
      oracle: """
        INSERT INTO old_grants SELECT id, user_id, points, 'moved', note || '!', tags FROM grants WHERE state = 'active';
        INSERT INTO old_items (id, grant_id, price) SELECT id, grant_id, price FROM items WHERE grant_id IN (SELECT id FROM old_grants);
        INSERT INTO events (kind, n) SELECT 'moved', count(*) FROM old_grants;
        DELETE FROM grants WHERE state = 'active'
        """),
    Case(
      testDescription: "that change rows of other tables",
      definition: """
        source: grants
        where: state = 'active'
        steps:
          - update: items
            match: items.grant_id = batch.id AND price > 5
            set:
              price: price * (1 + coalesce(batch.points, 0))
          # A column that is called like its table.
          - update: visits
            from:
              v: SELECT user_id, count(*) AS n FROM batch GROUP BY user_id
            match: visits.user_id = v.user_id
            set: {visits: visits + v.n}
        """,
      oracle: """
        UPDATE items SET price = price * (1 + coalesce(g.points, 0)) FROM grants AS g
        WHERE g.id = items.grant_id AND g.state = 'active' AND price > 5;
        UPDATE visits SET visits = visits + g.n
        FROM (SELECT user_id, count(*) AS n FROM grants WHERE state = 'active' GROUP BY user_id) AS g WHERE g.user_id = visits.user_id
        """),
    Case(
      testDescription: "that leave what is there as it is",
      definition: """
        source: grants
        insert: seen
        values: {user_id: user_id, state: state, n: id}
        on_conflict: {key: [user_id, state], do: skip}
        """,
      oracle:
        "INSERT INTO seen SELECT user_id, state, id FROM grants ORDER BY id ON CONFLICT (user_id, state) DO NOTHING",
      goesWithCanary: false),
    Case(
      testDescription: "that update what is there, and add what is not",
      definition: """
        source:
          query: |
            SELECT user_id, state, count(*)::integer AS n, max(points) AS most FROM grants GROUP BY user_id, state
          key: [user_id, state]
        insert: seen
        values:
          user_id: user_id
          state: state
          n: n + coalesce(most, 0)
        on_conflict: {key: [state, user_id], do: update}
        """,
      oracle: """
        INSERT INTO seen (user_id, state, n)
        SELECT user_id, state, count(*) + coalesce(max(points), 0) FROM grants GROUP BY user_id, state
        ON CONFLICT (user_id, state) DO UPDATE SET n = excluded.n
        """),
    Case(
      testDescription: "that reject rows which find none",
      definition: """
        source: grants
        where: state = 'active'
        steps:
          - update: users
            match: users.id = batch.user_id AND users.id > 3
            set: {name: 'seen'}
            missing: reject
          - update: old_items
            match: old_items.id = batch.id
            set: {price: 0}
            missing: skip
        max_rejects: 100%
        """,
      oracle:
        "UPDATE users SET name = 'seen' WHERE id > 3 AND id IN (SELECT user_id FROM grants WHERE state = 'active')"
    ),
    Case(
      testDescription: "that make rows of arrays",
      definition: """
        source: grants
        where: state = 'active'
        insert: labels
        from:
          t: SELECT DISTINCT user_id, unnest(tags) AS label FROM batch
        on_conflict: {key: [label, user_id], do: skip}
        """,
      oracle: """
        INSERT INTO labels SELECT user_id, unnest(tags) FROM grants WHERE state = 'active' ON CONFLICT (user_id, label) DO NOTHING
        """),
    Case(
      testDescription: "beside rules for the source's rows",
      definition: """
        source: grants
        where: state = 'active'
        update: users
        match: users.id = batch.user_id
        set: {tags: {value: [done, "it's"]}}
        validation: {has points: points > 0}
        max_rejects: 100%
        """,
      oracle: "UPDATE users SET tags = '{done,it''s}' WHERE id IN (SELECT user_id FROM (\(active)) AS g)"),
    Case(
      testDescription: "of what a query has found before, also in the tables that are written",
      definition: """
        source:
          query: |
            SELECT id, user_id, tags, row_number() OVER (PARTITION BY user_id ORDER BY id) AS place,
                   sum(points) OVER (PARTITION BY user_id) AS points
            FROM   grants
          key: id
        where: place > 1
        steps:
          - insert: ledger
            values: {user_id: user_id, delta: place, tags: tags}
          - delete: items
            match: items.grant_id = batch.id AND items.price > batch.points
          - update: grants
            match: grants.id = batch.id
            set: {points: batch.points, note: batch.place::text}
        """,
      oracle: """
        CREATE TEMP TABLE b AS
        SELECT id, user_id, tags, row_number() OVER (PARTITION BY user_id ORDER BY id) AS place,
               sum(points) OVER (PARTITION BY user_id) AS points
        FROM   grants;
        INSERT INTO ledger (user_id, delta, tags) SELECT user_id, place, tags FROM b WHERE place > 1 ORDER BY id;
        DELETE FROM items USING b WHERE b.id = grant_id AND place > 1 AND price > b.points;
        UPDATE grants SET points = b.points, note = place FROM b WHERE b.id = grants.id AND place > 1
        """),
    Case(
      testDescription: "of a view, by a key of two columns",
      definition: """
        source: {table: scores, key: [state, user_id]}
        insert: seen
        values: {user_id: user_id, state: state || ' of all', n: n}
        """,
      oracle: "INSERT INTO seen (user_id, state, n) SELECT user_id, state || ' of all', n FROM scores"),
  ]

  private static func definition(_ case: Case, _ rest: String = "") -> String {
    "batch: steps\n\(`case`.definition)\n\(rest)\n"
  }

  private static func rows(_ server: Server) async throws -> [[String]] {
    var rows: [[String]] = []
    for query in all { rows.append(try await server.rows(query)) }
    return rows
  }

  /// What the tables become, made by plain SQL and taken back.
  private static func expected(_ server: Server, _ oracle: String) async throws -> [[String]] {
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

  @Test(arguments: BackEnd.allCases, cases + joinCases + conflictCases)
  func `give what plain SQL gives, for any batch size, and go back`(backEnd: BackEnd, steps: Case) async throws {
    let ways = [(1, ""), (7, "on_error: continue"), (50, ""), (10_000, "canary: 30%\nhold: 1s")]
    for (size, rest) in Sample.some(
      ways.filter { !$0.1.contains("canary") || steps.goesWithCanary }, 1, of: "steps \(backEnd) \(steps)")
    {
      try await withLedger { server in
        try await server.psql(Self.tables(grants: 60))
        let before = try await Self.rows(server)
        let expected = try await Self.expected(server, steps.oracle)
        let compiled = try await Compiled(Self.definition(steps, rest), on: server, batchSize: size)
        let told = try await backEnd.apply(compiled, on: server)
        #expect(told.isDone, "\(size): \(told.text)")
        let after = try await Self.rows(server)
        #expect(after == expected, "\(size)")
        #expect(try await server.value("SELECT bool_and(verdict <> 'not ok') FROM migrate.verify(1)") == "t", "\(size)")
        let back = try await backEnd.revert(compiled, on: server)
        #expect(back.isDone, "\(size): \(back.text)")
        // Events are facts.
        let restored = try await Self.rows(server)
        #expect(restored.dropLast() == before.dropLast(), "\(size)")
        #expect(try await server.value("SELECT count(*) FROM migrate.conflicts") == "0")
        #expect(try await server.value("SELECT count(*) FROM pg_class WHERE relname ~ '^(undo|image|source)_1'") == "0")
      }
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `put a row into quarantine for which no row is there`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Self.tables(grants: 60))
      let definition = """
        source: grants
        update: users
        match: users.id = batch.user_id
        set: {name: 'seen'}
        missing: reject
        """
      try await server.psql("DELETE FROM users WHERE id = 2")
      let compiled = try await Compiled(
        Self.definition(.init(testDescription: "", definition: definition, oracle: "")), on: server, batchSize: 7)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      let missing = try await server.rows("SELECT id FROM grants WHERE user_id = 2 ORDER BY id")
      let rejected = try await server.rows("SELECT key[1] FROM migrate.rejects ORDER BY key[1]::integer")
      #expect(rejected == missing && !missing.isEmpty)
      #expect(try await server.value("SELECT DISTINCT message FROM migrate.rejects") == "public.users: no row matches")
      #expect(try await server.value("SELECT count(*) FROM users WHERE name = 'seen'") != "0")
    }
  }

  @Test(
    arguments: BackEnd.allCases,
    [
      ("n % 3", "the source has several rows of one key"),
      ("nullif(n, 3)", "is NULL, and batches would pass it over"),
    ])
  func `do nothing where rows that are read once have no key`(backEnd: BackEnd, key: (value: String, told: String))
    async throws
  {
    try await withLedger { server in
      try await server.psql(Self.tables(grants: 10))
      let definition = """
        batch: steps
        source:
          query: SELECT \(key.value) AS "o'clock" FROM generate_series(1, 5) AS n
          key: o'clock
        delete: items
        match: items.id = batch."o'clock"
        """
      let compiled = try await Compiled(definition, on: server)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(!told.isDone && told.text.contains(key.told), "\(told.text)")
      #expect(try await server.value("SELECT count(*) FROM items") == "20")
      let again = try await backEnd.apply(compiled, on: server)
      #expect(!again.isDone && again.text.contains(key.told), "\(again.text)")
    }
  }

  @Test(arguments: [2, 4], cases + joinCases + conflictCases)
  func `P28: give the same for any number of workers`(workers: Int, steps: Case) async throws {
    try await withLedger { server in
      try await server.psql(Self.tables(grants: 200))
      let expected = try await Self.expected(server, steps.oracle)
      let compiled = try await Compiled(Self.definition(steps, "parallel: \(workers)"), on: server, batchSize: 9)
      #expect(try await Client.apply(compiled, on: server).isDone)
      let after = try await Self.rows(server)
      #expect(after == expected)
    }
  }
}
