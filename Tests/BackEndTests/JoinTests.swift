import MigratePlan
import MigratePostgres
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// `join`: at most one row of something else for each source row, against what plain SQL makes of the same tables.
@Suite struct `A join` {
  /// Users of whom some have no orders, no country, one that nobody knows, or one that two know; keys have gaps.
  private static func tables(users: Int) -> String {
    """
    CREATE TABLE users (id bigint PRIMARY KEY, level text NOT NULL, country text, land varchar(12), tags text[], spent numeric(12,2));
    INSERT INTO users
    SELECT n * 3, CASE n % 4 WHEN 0 THEN 'gold' ELSE 'bronze' END,
           CASE n % 6 WHEN 0 THEN 'de' WHEN 1 THEN 'fr' WHEN 2 THEN 'é' WHEN 3 THEN 'two' WHEN 4 THEN NULL ELSE 'xx' END
    FROM   generate_series(1, \(users)) AS n;
    CREATE TABLE orders (id bigint PRIMARY KEY, user_id integer NOT NULL, amount numeric(10,2) NOT NULL);
    INSERT INTO orders
    SELECT n, 3 * (1 + n * n % \(users)), n % 97 FROM generate_series(1, \(users * 3)) AS n;
    CREATE INDEX ON orders (user_id);
    CREATE TABLE countries (code text NOT NULL, name text NOT NULL, tags text[]);
    INSERT INTO countries
    VALUES ('DE', 'Germany', '{a,b}'), ('FR', 'France', '{}'), ('É', 'Éire', NULL), ('TWO', 'one', '{x}'), ('TWO', 'other', '{y}');
    ANALYZE users, orders, countries
    """
  }

  struct Case: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let definition: String
    /// The users as they become.
    let becomes: String
    /// Key and message of those that are rejected.
    let rejects: String
  }

  private static let level = "CASE WHEN s.total > 300 THEN 'diamond' WHEN s.total > 200 THEN 'gold' ELSE 'bronze' END"
  private static let spent = "SELECT user_id, sum(amount) AS total FROM orders GROUP BY user_id"
  private static let known =
    "SELECT code, min(name) AS name, min(tags) AS tags, count(*) AS times FROM countries GROUP BY code"

  static let cases = [
    Case(
      testDescription: "with a query that is grouped by the key",
      definition: """
        join:
          s: {query: "\(spent)", match: s.user_id = users.id, missing: null}
        set:
          level: \(level)
          spent: s.total
        """,
      becomes:
        "u.id, \(level), u.country, u.land, u.tags, s.total FROM users AS u LEFT JOIN (\(spent)) AS s ON s.user_id = u.id",
      rejects: "SELECT NULL, NULL WHERE false"),
    Case(
      testDescription: "with a query, where some have nothing and are left",
      definition: """
        where: id % 5 <> 0
        join:
          s: {query: "\(spent)", match: s.user_id = batch.id, missing: skip}
        set: {spent: s.total + 1}
        """,
      becomes: """
        u.id, u.level, u.country, u.land, u.tags, CASE WHEN u.id % 5 <> 0 THEN s.total + 1 END
        FROM users AS u LEFT JOIN (\(spent)) AS s ON s.user_id = u.id
        """,
      rejects: "SELECT NULL, NULL WHERE false"),
    Case(
      testDescription: "with a table by a value, where some find none or two",
      definition: """
        join:
          land: {table: countries, match: upper(country) = land.code}
        set: {land: land.name, tags: land.tags}
        """,
      becomes: """
        u.id, u.level, u.country, CASE WHEN c.times = 1 THEN c.name END, CASE WHEN c.times = 1 THEN c.tags END, u.spent
        FROM users AS u LEFT JOIN (\(known)) AS c ON c.code = upper(u.country)
        """,
      rejects: """
        SELECT u.id::text, CASE WHEN c.code IS NULL THEN 'land: no row matches' ELSE 'land: 2 rows match' END
        FROM users AS u LEFT JOIN (\(known)) AS c ON c.code = upper(u.country) WHERE c.times IS DISTINCT FROM 1
        """),
    Case(
      testDescription: "that names an earlier one, beside rules",
      definition: """
        join:
          s: {query: "\(spent)", match: s.user_id = users.id, missing: null}
          land:
            query: SELECT code, count(*) AS times, min(name) AS name FROM countries GROUP BY code
            match: land.code = upper(country) AND s.total IS NOT NULL
        set:
          land: land.name
          spent: s.total
        validation:
          known once: land.times = 1
          short: length(land) < 7 OR level = 'gold'
        """,
      becomes: """
        u.id, u.level, u.country, CASE WHEN f.fine THEN c.name ELSE u.land END, u.tags, CASE WHEN f.fine THEN s.total END
        FROM users AS u LEFT JOIN (\(spent)) AS s ON s.user_id = u.id
        LEFT JOIN (\(known)) AS c ON c.code = upper(u.country) AND s.total IS NOT NULL
        CROSS JOIN LATERAL (SELECT c.code IS NOT NULL AND c.times = 1 AND (length(c.name) < 7 OR u.level = 'gold') AS fine) AS f
        """,
      rejects: """
        SELECT u.id::text, CASE WHEN c.code IS NULL THEN 'land: no row matches' ELSE concat_ws('; ',
                 CASE WHEN c.times <> 1 THEN 'known once' END, CASE WHEN NOT (length(c.name) < 7 OR u.level = 'gold') THEN 'short' END) END
        FROM users AS u LEFT JOIN (\(spent)) AS s ON s.user_id = u.id
        LEFT JOIN (\(known)) AS c ON c.code = upper(u.country) AND s.total IS NOT NULL
        WHERE c.code IS NULL OR c.times <> 1 OR NOT (length(c.name) < 7 OR u.level = 'gold')
        """),
  ]

  private static let all = "SELECT id, level, country, land, tags, spent FROM users ORDER BY id"
  private static let rejects =
    "SELECT key[1], message FROM migrate.rejects WHERE state = 'open' ORDER BY key[1]::bigint"

  private static func definition(_ case: Case, _ rest: String = "") -> String {
    "batch: users\nsource: users\n\(`case`.definition)\nmax_rejects: 100%\n\(rest)\n"
  }

  @Test(arguments: BackEnd.allCases, cases)
  func `gives what one statement gives, for any batch size, and goes back`(backEnd: BackEnd, join: Case) async throws {
    let ways = [
      (1, ""), (7, ""), (20, "undo: none"), (50, "on_error: continue"), (10_000, "canary: 30%\nhold: 1s"),
    ]
    for (size, rest) in Sample.some(ways, 1, of: "joins \(backEnd) \(join)") {
      try await withLedger { server in
        try await server.psql(Self.tables(users: 100))
        let before = try await server.rows(Self.all)
        let expected = try await server.rows("SELECT \(join.becomes) ORDER BY u.id")
        let rejected = try await server.rows("SELECT * FROM (\(join.rejects)) AS r(key, message) ORDER BY key::bigint")
        let compiled = try await Compiled(Self.definition(join, rest), on: server, batchSize: size)
        let told = try await backEnd.apply(compiled, on: server)
        #expect(told.isDone, "\(size) \(rest): \(told.text)")
        #expect(try await server.rows(Self.all) == expected, "\(size) \(rest)")
        #expect(try await server.rows(Self.rejects) == rejected, "\(size) \(rest)")
        #expect(try await server.value("SELECT bool_and(verdict <> 'not ok') FROM migrate.verify(1)") == "t", "\(size)")
        guard !rest.hasPrefix("undo") else { return }
        let back = try await backEnd.revert(compiled, on: server)
        #expect(back.isDone, "\(size) \(rest): \(back.text)")
        #expect(try await server.rows(Self.all) == before, "\(size) \(rest)")
      }
    }
  }

  @Test(arguments: cases)
  func `P28: gives the same for any number of workers`(join: Case) async throws {
    for workers in Sample.some([2, 4, 8], 1, of: "workers \(join)") {
      try await withLedger { server in
        try await server.psql(Self.tables(users: 300))
        let expected = try await server.rows("SELECT \(join.becomes) ORDER BY u.id")
        let rejected = try await server.rows("SELECT * FROM (\(join.rejects)) AS r(key, message) ORDER BY key::bigint")
        let compiled = try await Compiled(Self.definition(join, "parallel: \(workers)"), on: server, batchSize: 9)
        #expect(try await Client.apply(compiled, on: server).isDone)
        #expect(try await server.rows(Self.all) == expected)
        #expect(try await server.rows(Self.rejects) == rejected)
      }
    }
  }

  /// From the third try on the rows are locked first, and what is joined to them follows what they became meanwhile.
  @Test(arguments: BackEnd.allCases, ["full", "none"])
  func `C02: follows a row that another has changed while the batch waited for it`(backEnd: BackEnd, undo: String)
    async throws
  {
    let join = Self.cases[2]
    try await withLedger { server in
      try await server.psql(Self.tables(users: 40))
      let rest = "throttle: {pause: 1s}\nundo: \(undo)"
      let compiled = try await Compiled(Self.definition(join, rest), on: server, batchSize: 20)
      try await withSessions("writer", to: server) { sessions in
        let writer = try #require(sessions["writer"])
        async let told = backEnd.apply(compiled, on: server)
        try await server.wait(until: "EXISTS (SELECT FROM migrate.batches)")
        // Of no country to one, from one to another, from one to none.
        try await writer.execute(
          "BEGIN; UPDATE users SET country = CASE id WHEN 90 THEN 'fr' WHEN 93 THEN 'de' WHEN 96 THEN 'xx' END WHERE id IN (90, 93, 96)"
        )
        try await server.wait(
          until: "EXISTS (SELECT FROM migrate.workers JOIN pg_stat_activity USING (pid) WHERE wait_event_type = 'Lock')"
        )
        // Longer than two tries take.
        try await Task.sleep(for: .seconds(2))
        try await writer.execute("COMMIT")
        let words = try await told
        #expect(words.isDone, "\(words.text)")
      }
      let expected = try await server.rows("SELECT \(join.becomes) ORDER BY u.id")
      #expect(try await server.rows(Self.all) == expected)
      #expect(
        try await server.rows(Self.rejects)
          == server.rows("SELECT * FROM (\(join.rejects)) AS r(key, message) ORDER BY key::bigint"))
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `tries a row again when what it has missed has come`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Self.tables(users: 60))
      let compiled = try await Compiled(Self.definition(Self.cases[2]), on: server, batchSize: 20)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      try await server.psql(
        "INSERT INTO countries VALUES ('XX', 'Nowhere', NULL); DELETE FROM countries WHERE name = 'other'")
      let expected = try await server.rows("SELECT \(Self.cases[2].becomes) ORDER BY u.id")
      let told = try await backEnd.retry(1, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.rows(Self.all) == expected)
      // Those without a country.
      #expect(
        try await server.rows("SELECT message, count(*) FROM migrate.rejects WHERE state = 'open' GROUP BY 1")
          == ["land: no row matches|10"])
      #expect(try await backEnd.revert(compiled, on: server).isDone)
      #expect(try await server.value("SELECT count(*) FROM users WHERE land IS NOT NULL") == "0")
    }
  }

  @Test func `leaves what was changed since, and says so`() async throws {
    try await withLedger { server in
      try await server.psql(Self.tables(users: 30))
      let compiled = try await Compiled(Self.definition(Self.cases[0]), on: server, batchSize: 7)
      #expect(try await Client.apply(compiled, on: server).isDone)
      let edited = "WHERE id = (SELECT min(id) FROM users WHERE spent IS NOT NULL)"
      let touched = "WHERE id = (SELECT max(id) FROM users WHERE spent IS NOT NULL)"
      try await server.psql("UPDATE users SET level = 'mine' \(edited); UPDATE users SET country = 'new' \(touched)")
      #expect(try await Client.revert(compiled, on: server, onConflict: .skip).isDone)
      #expect(try await server.rows("SELECT level FROM users WHERE spent IS NOT NULL") == ["mine"])
      #expect(try await server.rows("SELECT spent FROM users WHERE country = 'new'") == ["NULL"])
      #expect(try await server.rows("SELECT reason FROM migrate.conflicts") == ["edited"])
    }
  }

  /// What a constraint refuses is told from what the join tells, in one batch.
  @Test(arguments: BackEnd.allCases)
  func `goes on beside rows that a constraint refuses`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Self.tables(users: 100) + "; ALTER TABLE users ADD CHECK (land <> 'France')")
      let compiled = try await Compiled(
        Self.definition(Self.cases[2], "on_error: continue"), on: server, batchSize: 25)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      let rejects = try await server.rows(
        "SELECT coalesce(sqlstate, message), count(*) FROM migrate.rejects GROUP BY 1 ORDER BY 1")
      #expect(rejects == ["23514|17", "land: 2 rows match|17", "land: no row matches|33"])
      #expect(
        try await server.rows("SELECT land, count(*) FROM users GROUP BY land ORDER BY land COLLATE \"C\"")
          == ["Germany|16", "Éire|17", "NULL|67"])
    }
  }

  /// A hundred thousand payments without an index, of which each batch would read all.
  private static let payments = """
    CREATE TABLE users (id bigint PRIMARY KEY, level text NOT NULL, spent numeric(12,2));
    INSERT INTO users SELECT n * 3, 'bronze' FROM generate_series(1, 400) AS n;
    CREATE TABLE payments (user_id bigint NOT NULL, amount numeric(10,2) NOT NULL);
    INSERT INTO payments SELECT 3 * (1 + n % 350), n % 97 FROM generate_series(1, 150000) AS n; ANALYZE users, payments;
    """

  @Test(arguments: BackEnd.allCases, ["users.id", "abs(users.id)"])
  func `K27: is read once where each batch would read all of it`(backEnd: BackEnd, key: String) async throws {
    try await withLedger { server in
      try await server.psql(Self.payments)
      let query = "SELECT user_id, sum(amount) AS total FROM payments WHERE amount < :most GROUP BY user_id"
      let definition = """
        batch: users
        source: users
        params: {most: {type: numeric, default: 90}}
        join:
          paid: {query: "\(query)", match: paid.user_id = \(key)}
        set: {spent: round(paid.total)}
        """
      let compiled = try await Compiled(definition, on: server, batchSize: 30)
      #expect(compiled.plan.warnings.map(\.code) == ["staged-join"])
      // Of the key it has an index besides.
      #expect(compiled.plan.statements(.bounds).count { $0.name == .stage("paid") } == (key == "users.id" ? 4 : 3))
      let expected = """
        SELECT id, level, (SELECT sum(amount) FROM payments WHERE user_id = id AND amount < 90)
        FROM users ORDER BY id
        """
      let becomes = try await server.rows(expected)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.rows("SELECT id, level, spent FROM users ORDER BY id") == becomes)
      #expect(
        try await server.value("SELECT count(*) FROM migrate.rejects WHERE message = 'paid: no row matches'") == "50")
      #expect(
        try await server.value("SELECT reltuples > 0 FROM pg_class WHERE oid = 'migrate.join_1_1'::regclass") == "t")
      // What a row has missed is read anew.
      try await server.psql("INSERT INTO payments SELECT id, 7 FROM users WHERE spent IS NULL AND id < 1180")
      let again = try await backEnd.retry(1, on: server)
      #expect(again.isDone, "\(again.text)")
      #expect(try await server.value("SELECT count(*) FROM users WHERE spent = 7") == "43")
      #expect(try await server.value("SELECT bool_and(verdict <> 'not ok') FROM migrate.verify(1)") == "t")
      let back = try await backEnd.revert(compiled, on: server)
      #expect(back.isDone, "\(back.text)")
      #expect(try await server.value("SELECT count(spent) FROM users") == "0")
      #expect(try await server.value("SELECT to_regclass('migrate.join_1_1')") == nil)
    }
  }

  /// Of fifty rows, more than five batches have, none is chosen; and where the batches end depends on the source alone.
  @Test(arguments: BackEnd.allCases, ["full", "none"])
  func `K23 K24: that many rows of fit gives none of them, and its neighbours theirs`(backEnd: BackEnd, undo: String)
    async throws
  {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE parents (id integer PRIMARY KEY, picked integer);
        INSERT INTO parents SELECT n FROM generate_series(1, 30) AS n;
        CREATE TABLE children (parent integer NOT NULL, number integer NOT NULL);
        INSERT INTO children SELECT CASE WHEN n <= 50 THEN 10 WHEN n <= 53 THEN 11 ELSE n - 53 END, n FROM generate_series(1, 83) AS n
        """)
      let compiled = try await Compiled(
        "batch: p\nsource: parents\njoin: {child: {table: children, match: child.parent = parents.id}}\n"
          + "set: {picked: child.number}\nundo: \(undo)", on: server, batchSize: 9)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.value("SELECT count(*) FROM parents WHERE picked = id + 53") == "28")
      #expect(
        try await server.rows("SELECT key[1], message FROM migrate.rejects ORDER BY 1")
          == ["10|child: 51 rows match", "11|child: 4 rows match"])
      #expect(
        try await server.rows("SELECT through_key[1], rows_read FROM migrate.batches ORDER BY seq")
          == ["9|9", "18|9", "27|9", "30|3"])
    }
  }

  @Test func `that an index leads to is read by each batch`() async throws {
    try await withLedger { server in
      try await server.psql(Self.payments + "CREATE INDEX ON payments (user_id); ANALYZE payments")
      let query = "SELECT user_id, sum(amount) AS total FROM payments GROUP BY user_id"
      for key in ["users.id", "abs(users.id)"] {
        let compiled = try await Compiled(
          "batch: users\nsource: users\njoin:\n  paid: {query: \"\(query)\", match: paid.user_id = \(key), missing: skip}\n"
            + "set: {spent: round(paid.total)}\nbatch_size: 100", on: server)
        #expect(compiled.plan.warnings.isEmpty)
        #expect(compiled.plan.statements(.bounds).count == 2)
      }
    }
  }
}
