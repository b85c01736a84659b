import MigratePlan
import MigratePostgres
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// The way back of several writes, with edits in between.
@Suite struct `Steps that are taken back` {
  private static let tables = """
    CREATE TABLE grants (id bigint PRIMARY KEY, user_id bigint NOT NULL, points integer NOT NULL, state text NOT NULL);
    INSERT INTO grants SELECT n, n % 3, 1, 'active' FROM generate_series(1, 12) AS n;
    CREATE TABLE ledger (id bigint PRIMARY KEY, delta integer NOT NULL, note text);
    CREATE TABLE remarks (id bigint PRIMARY KEY, ledger_id bigint REFERENCES ledger ON DELETE CASCADE);
    CREATE TABLE reminders (id bigint PRIMARY KEY, grant_id bigint, text text UNIQUE);
    INSERT INTO reminders SELECT n, n, 'r' || n FROM generate_series(1, 12) AS n;
    CREATE TABLE balances (user_id bigint PRIMARY KEY, points bigint NOT NULL, note text);
    INSERT INTO balances SELECT n, 100 FROM generate_series(0, 2) AS n;
    """
  private static let definition = """
    batch: steps
    source: grants
    where: state = 'active'
    steps:
      - update: grants
        set: {state: 'expired'}
      - insert: ledger
        values: {id: id, delta: -points}
      - delete: reminders
        match: reminders.grant_id = batch.id
      - update: balances
        from:
          lost: SELECT user_id, sum(points) AS points FROM batch GROUP BY user_id
        match: balances.user_id = lost.user_id
        set: {points: points - lost.points}

    """
  private static let all = [
    "SELECT * FROM grants ORDER BY id", "SELECT * FROM ledger ORDER BY id", "SELECT * FROM remarks ORDER BY id",
    "SELECT * FROM reminders ORDER BY id", "SELECT * FROM balances ORDER BY user_id",
  ]

  private static func rows(_ server: Server) async throws -> [[String]] {
    var rows: [[String]] = []
    for query in all { rows.append(try await server.rows(query)) }
    return rows
  }

  struct Edit: Sendable, CustomTestStringConvertible {
    let testDescription: String
    /// What somebody does between the run and its revert.
    let edit: String
    /// The conflicts of a revert that goes past them: step, key, reason.
    let conflicts: [String]
    /// What the revert leaves of it, a query that gives true.
    let keeps: String
    /// Whether a revert under `force` takes it away; a row that others refer to stays.
    var isForced = true
  }

  static let edits = [
    Edit(
      testDescription: "of a value that was set", edit: "UPDATE grants SET state = 'mine' WHERE id = 3",
      conflicts: ["1|3|edited"], keeps: "SELECT state = 'mine' FROM grants WHERE id = 3"),
    Edit(
      testDescription: "of a row that was inserted", edit: "UPDATE ledger SET note = 'seen' WHERE id = 5",
      conflicts: ["2|5|edited"], keeps: "SELECT note = 'seen' FROM ledger WHERE id = 5"),
    Edit(
      testDescription: "that deletes a row that was inserted", edit: "DELETE FROM ledger WHERE id = 7",
      conflicts: ["2|7|gone"], keeps: "SELECT count(*) = 0 FROM ledger WHERE id = 7"),
    Edit(
      testDescription: "that refers to a row that was inserted", edit: "INSERT INTO remarks VALUES (1, 8)",
      conflicts: ["2|8|edited"],
      keeps: "SELECT count(*) = 1 FROM ledger JOIN remarks ON ledger_id = ledger.id WHERE ledger.id = 8",
      isForced: false),
    Edit(
      testDescription: "under the key of a row that was deleted", edit: "INSERT INTO reminders VALUES (4, 99, 'new')",
      conflicts: ["3|4|edited"], keeps: "SELECT text = 'new' FROM reminders WHERE id = 4"),
    Edit(
      testDescription: "that takes a unique value of a row that was deleted",
      edit: "INSERT INTO reminders VALUES (99, 99, 'r6')",
      conflicts: ["3|6|gone"], keeps: "SELECT id = 99 FROM reminders WHERE text = 'r6'", isForced: false),
    Edit(
      testDescription: "of a sum that several batches have made",
      edit: "UPDATE balances SET points = 5 WHERE user_id = 1",
      conflicts: ["4|1|edited"], keeps: "SELECT points = 5 FROM balances WHERE user_id = 1"),
  ]

  @Test(arguments: BackEnd.allCases, edits)
  func `U02 U03: keep what somebody has changed since, and all of it under stop`(backEnd: BackEnd, edit: Edit)
    async throws
  {
    try await withLedger { server in
      try await server.psql(Self.tables)
      let before = try await Self.rows(server)
      let compiled = try await Compiled(Self.definition, on: server, batchSize: 5)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      let applied = try await Self.rows(server)
      try await server.psql(edit.edit)
      let edited = try await Self.rows(server)
      #expect(edited != applied)
      #expect(try await !backEnd.revert(compiled, on: server).isDone)
      let stopped = try await Self.rows(server)
      #expect(stopped == edited)
      let told = try await backEnd.revert(compiled, on: server, onConflict: .skip)
      let kept = try await server.rows("SELECT DISTINCT step, key[1], reason FROM migrate.conflicts ORDER BY 1, 2")
      #expect(kept == edit.conflicts, "\(told.text)")
      #expect(try await server.value(edit.keeps) == "t")
      // Taken away by hand, nothing is left of the run but the edit itself.
      let back = try await Self.rows(server)
      let different = zip(before, back).flatMap { Set($0.0).symmetricDifference($0.1) }
      #expect(different.count <= 2, "\(different)")
    }
  }

  @Test(arguments: BackEnd.allCases, edits)
  func `go over what somebody has changed under force, and keep it`(backEnd: BackEnd, edit: Edit) async throws {
    try await withLedger { server in
      try await server.psql(Self.tables)
      let before = try await Self.rows(server)
      let compiled = try await Compiled(Self.definition, on: server, batchSize: 5)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      try await server.psql(edit.edit)
      _ = try await backEnd.revert(compiled, on: server, onConflict: .force)
      let back = try await Self.rows(server)
      if edit.isForced {
        #expect(back == before)
      } else {
        #expect(try await server.value(edit.keeps) == "t")
      }
    }
  }

  /// Parents with children, in the archive too; numbers that the database gives, and columns that are computed.
  @Test(arguments: BackEnd.allCases, [1, 7, 1_000])
  func `U17 X03 X10 X12: bring an archive back whole`(backEnd: BackEnd, size: Int) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE SCHEMA archive;
        CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, net numeric(8,2) NOT NULL, at date NOT NULL,
                             gross numeric GENERATED ALWAYS AS (net * 1.2) STORED);
        INSERT INTO orders (net, at) SELECT n, date '2020-01-01' + n * 20 FROM generate_series(1, 60) AS n;
        CREATE TABLE items (order_id bigint REFERENCES orders ON DELETE CASCADE, place integer, what char(8),
                            line integer UNIQUE DEFERRABLE INITIALLY DEFERRED, PRIMARY KEY (order_id, place));
        INSERT INTO items SELECT o, p, 'i' || p, 10 * o + p FROM generate_series(1, 60) AS o, generate_series(1, 3) AS p WHERE (o + p) % 4 > 0;
        CREATE TABLE archive.orders (id bigint PRIMARY KEY, net numeric, gross numeric, at date);
        CREATE TABLE archive.items (order_id bigint REFERENCES archive.orders, place integer, what text, PRIMARY KEY (order_id, place));
        """)
      let all = [
        "SELECT * FROM orders ORDER BY id", "SELECT * FROM items ORDER BY 1, 2",
        "SELECT * FROM archive.orders ORDER BY id",
        "SELECT * FROM archive.items ORDER BY 1, 2",
      ]
      func rows() async throws -> [[String]] {
        var rows: [[String]] = []
        for query in all { rows.append(try await server.rows(query)) }
        return rows
      }
      let before = try await rows()
      let compiled = try await Compiled(
        """
        batch: archive
        source: orders
        where: at < '2022-01-01'
        steps:
          - insert: archive.orders
          - insert: archive.items
            from:
              i: SELECT i.order_id, i.place, trim(i.what) AS what FROM batch AS b JOIN items AS i ON i.order_id = b.id
          - delete: items
            match: items.order_id = batch.id
          - delete: orders
        """, on: server, batchSize: size)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      let counts = try await server.rows(
        "SELECT count(*), min(at) FROM orders UNION ALL SELECT count(*), max(at) FROM archive.orders")
      #expect(counts == ["24|2022-01-10", "36|2021-12-21"])
      #expect(try await server.value("SELECT count(*) FROM items") == "54")
      #expect(try await server.value("SELECT count(*) FROM archive.items WHERE what ~ '^i[123]$'") == "81")
      let back = try await backEnd.revert(compiled, on: server)
      #expect(back.isDone, "\(back.text)")
      let after = try await rows()
      #expect(after == before)
    }
  }

  /// From the third try on a batch has no snapshot of its own, and a row can come to refer to one that is about to go.
  @Test(arguments: BackEnd.allCases)
  func `X03: and no cascade has taken a row that came while a batch waited`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE grants (id bigint PRIMARY KEY, user_id bigint NOT NULL);
        INSERT INTO grants SELECT n, 1 FROM generate_series(1, 5) AS n;
        CREATE TABLE items (id bigint PRIMARY KEY, grant_id bigint REFERENCES grants ON DELETE CASCADE);
        INSERT INTO items SELECT n, n FROM generate_series(1, 5) AS n;
        CREATE TABLE users (id bigint PRIMARY KEY, n bigint NOT NULL);
        INSERT INTO users VALUES (1, 0);
        """)
      let compiled = try await Compiled(
        """
        batch: gone
        source: grants
        steps:
          - delete: items
            match: items.grant_id = batch.id
          - update: users
            from:
              l: SELECT user_id, count(*) AS n FROM batch GROUP BY user_id
            match: users.id = l.user_id
            set: {n: n + l.n}
          - delete: grants
        """, on: server, batchSize: 10)
      try await withSessions("holder", "writer", to: server) { sessions in
        let (holder, writer) = (try #require(sessions["holder"]), try #require(sessions["writer"]))
        try await holder.execute("BEGIN; UPDATE users SET n = n")
        async let told = backEnd.apply(compiled, on: server)
        try await server.wait(
          until: "EXISTS (SELECT FROM migrate.workers JOIN pg_stat_activity USING (pid) WHERE wait_event_type = 'Lock')"
        )
        // Longer than two tries take.
        try await Task.sleep(for: .seconds(2))
        try await writer.execute("SET lock_timeout = '100ms'")
        // Where the batch has locked what it refers to it does not come in.
        for id in 100...110 { _ = try? await writer.execute("INSERT INTO items VALUES (\(id), 3)") }
        try await holder.execute("COMMIT")
        let words = try await told
        #expect(words.isDone, "\(words.text)")
      }
      #expect(try await server.value("SELECT count(*) FROM items") == "0")
      let kept = try await server.value("SELECT sum(cardinality(k_1)) FROM migrate.undo_1_1")
      let back = try await backEnd.revert(compiled, on: server)
      #expect(back.isDone, "\(back.text)")
      #expect(try await server.value("SELECT count(*) FROM items") == kept)
      #expect(try await server.value("SELECT count(*) FROM items WHERE id < 100") == "5")
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `U16: keep what somebody has changed of rows that were updated or added`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE report (day integer PRIMARY KEY, n integer NOT NULL, note text);
        INSERT INTO report SELECT n, 1, 'old' FROM generate_series(1, 5) AS n
        """)
      let definition = """
        batch: report
        source: {query: "SELECT day, day * 10 AS n FROM generate_series(1, 10) AS day", key: day}
        insert: report
        on_conflict: {key: day, do: update}
        """
      let compiled = try await Compiled(definition, on: server, batchSize: 4)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      let applied = try await server.rows("SELECT * FROM report ORDER BY day")
      #expect(applied == (1...10).map { "\($0)|\($0 * 10)|\($0 < 6 ? "old" : "NULL")" })
      try await server.psql("UPDATE report SET n = 99 WHERE day IN (2, 8); DELETE FROM report WHERE day IN (3, 9)")
      #expect(try await !backEnd.revert(compiled, on: server).isDone)
      _ = try await backEnd.revert(compiled, on: server, onConflict: .skip)
      let kept = try await server.rows("SELECT DISTINCT step, key[1], reason FROM migrate.conflicts ORDER BY 1, 2")
      #expect(kept == ["1|8|edited", "1|9|gone", "2|2|edited", "2|3|gone"])
      let back = try await server.rows("SELECT * FROM report ORDER BY day")
      #expect(back == ["1|1|old", "2|99|old", "4|1|old", "5|1|old", "8|99|NULL"])
    }
  }

  /// Rows of a batch that refer to one another came together, and go together.
  @Test(arguments: BackEnd.allCases, [3, 100])
  func `U17: bring a tree back whole`(backEnd: BackEnd, batchSize: Int) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE nodes (id integer PRIMARY KEY, up integer REFERENCES nodes, twice integer GENERATED ALWAYS AS (id * 2) STORED);
        INSERT INTO nodes SELECT n, nullif(n / 3, 0) FROM generate_series(1, 20) AS n;
        UPDATE nodes SET up = 7 WHERE id = 7;
        CREATE TABLE old_nodes (up integer REFERENCES old_nodes, id integer PRIMARY KEY, twice integer NOT NULL)
        """)
      let before = try await server.rows("SELECT * FROM nodes ORDER BY id")
      let definition = """
        batch: nodes
        source: {query: "SELECT id, -id AS place FROM nodes WHERE id > 2", key: \(batchSize < 20 ? "id" : "place")}
        insert: old_nodes
        from:
          n: SELECT id, CASE WHEN id > 8 THEN id - 1 WHEN id = 7 THEN 7 END AS up FROM batch
        values: {id: n.id, up: n.up, twice: n.id * 2}
        """
      let compiled = try await Compiled(definition, on: server, batchSize: batchSize)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      let moved = try await server.value("SELECT count(*) FROM old_nodes WHERE twice = id * 2")
      #expect(moved == "18")
      let back = try await backEnd.revert(compiled, on: server)
      #expect(back.isDone, "\(back.text)")
      #expect(try await server.value("SELECT count(*) FROM old_nodes") == "0")
      let after = try await server.rows("SELECT * FROM nodes ORDER BY id")
      #expect(after == before)
    }
  }
}
