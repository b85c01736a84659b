import MigratePlan
import MigratePostgres
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// Rows that moved together come back together, or stay together where they went.
@Suite struct `Families that were moved` {
  struct Case: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let edit: String
    /// The orders that stay in the archive under `skip`.
    let stays: [Int]
    /// The conflicts under `skip`: table, key, reason.
    let conflicts: [String]
    /// The orders that stay there even under `force`.
    var staysForced: [Int] = []
  }

  static let cases: [Case] = [
    Case(testDescription: "nobody has done anything", edit: "", stays: [], conflicts: []),
    Case(
      testDescription: "an item is edited in the archive",
      edit: "UPDATE archive.items SET what = 'other' WHERE id = 32",
      stays: [3], conflicts: ["items|31|kept", "archive.items|32|edited", "orders|3|kept"]),
    Case(
      testDescription: "an order is edited there", edit: "UPDATE archive.orders SET total = 0 WHERE id = 4", stays: [4],
      conflicts: ["archive.orders|4|edited", "items|41|kept", "items|42|kept"]),
    Case(
      testDescription: "an item is deleted there", edit: "DELETE FROM archive.items WHERE id = 51", stays: [5],
      conflicts: ["archive.items|51|gone", "items|52|kept", "orders|5|kept"]),
    Case(
      testDescription: "a stranger stands under an order's key",
      edit: "INSERT INTO orders VALUES (6, 600, '2030-01-01')", stays: [6],
      conflicts: ["items|61|kept", "items|62|kept", "orders|6|edited"]),
    Case(
      testDescription: "a stranger stands under an item's key",
      edit: "INSERT INTO items VALUES (71, 20, 'stranger')", stays: [7],
      conflicts: ["items|71|edited", "items|72|kept", "orders|7|kept"]),
    Case(
      testDescription: "somebody refers to an order there", edit: "INSERT INTO archive.notes VALUES (1, 8)", stays: [8],
      conflicts: ["archive.orders|8|edited", "items|81|kept", "items|82|kept"], staysForced: [8]),
    Case(
      testDescription: "an order has got another item there",
      edit: "INSERT INTO archive.items (id, order_id, what) VALUES (999, 9, 'new')", stays: [9],
      conflicts: ["archive.orders|9|edited", "items|91|kept", "items|92|kept"], staysForced: [9]),
    Case(
      testDescription: "two families at once",
      edit: "UPDATE archive.items SET what = 'other' WHERE id = 12; UPDATE archive.orders SET total = 0 WHERE id = 2",
      stays: [1, 2],
      conflicts: [
        "archive.items|12|edited", "archive.orders|2|edited", "items|11|kept", "items|21|kept", "items|22|kept",
        "orders|1|kept",
      ]),
  ]

  /// `stamped`: the archive has a column that only the database fills.
  private static func tables(stamped: Bool) -> String {
    let stamp = stamped ? ", moved_at timestamptz NOT NULL DEFAULT clock_timestamp()" : ""
    return """
      CREATE SCHEMA archive;
      CREATE TABLE orders (id bigint PRIMARY KEY, total numeric, at date);
      CREATE TABLE items (id bigint PRIMARY KEY, order_id bigint REFERENCES orders, what text);
      CREATE TABLE archive.orders (id bigint PRIMARY KEY, total numeric, at date\(stamp));
      CREATE TABLE archive.items (id bigint PRIMARY KEY, order_id bigint REFERENCES archive.orders, what text\(stamp));
      CREATE TABLE archive.notes (id bigint PRIMARY KEY, order_id bigint REFERENCES archive.orders);
      INSERT INTO orders SELECT n, n * 1.50, date '2020-01-01' + n FROM generate_series(1, 20) AS n;
      INSERT INTO items SELECT 10 * o + i, o, 'i' || i FROM generate_series(1, 20) AS o, generate_series(1, 2) AS i;
      INSERT INTO items VALUES (1000, NULL, 'nobody''s');
      """
  }

  private static let definition = """
    batch: archive
    source: orders
    where: id < 15
    steps:
      - move: items
        to: archive.items
        match: items.order_id = batch.id
      - move: orders
        to: archive.orders

    """

  private static let both = [
    "SELECT * FROM orders ORDER BY id", "SELECT * FROM items ORDER BY id",
    "SELECT id, total, at FROM archive.orders ORDER BY id",
    "SELECT id, order_id, what FROM archive.items ORDER BY id",
  ]

  @Test(arguments: BackEnd.allCases, cases)
  func `stay whole where somebody has touched one, and come back where nobody has`(backEnd: BackEnd, edited: Case)
    async throws
  {
    for (size, stamped) in Sample.some([(1, false), (5, true), (100, false), (100, true)], 1, of: "families") {
      try await withLedger { server in
        try await server.psql(Self.tables(stamped: stamped))
        let compiled = try await Compiled(Self.definition, on: server, batchSize: size)
        #expect(try await backEnd.apply(compiled, on: server).isDone)
        try await server.psql(edited.edit)
        let stranger = try await server.rows(
          "SELECT id FROM orders WHERE id < 15 UNION ALL SELECT id FROM items WHERE id < 150")
        _ = try await backEnd.revert(compiled, on: server, onConflict: .skip)
        let stays = edited.stays.map { "\($0)" }
        #expect(try await server.rows("SELECT id FROM archive.orders ORDER BY id") == stays)
        #expect(try await server.rows("SELECT DISTINCT order_id FROM archive.items ORDER BY 1") == stays)
        let there = try await server.rows("SELECT id FROM orders WHERE id < 15 AND total <> 600 ORDER BY id")
        #expect(there == (1..<15).filter { !edited.stays.contains($0) }.map { "\($0)" })
        let items = try await server.rows(
          "SELECT DISTINCT order_id FROM items WHERE id < 150 AND what <> 'stranger' ORDER BY 1")
        #expect(items == there)
        #expect(stranger.count <= 1)
        let conflicts = try await server.rows(
          """
          SELECT (ARRAY['archive.items', 'archive.orders', 'items', 'orders'])[CASE c.step WHEN 1 THEN 2 WHEN 2 THEN 1 ELSE c.step END], c.key[1], c.reason
          FROM   migrate.conflicts AS c
          """)
        #expect(conflicts.sorted() == edited.conflicts.sorted())
      }
    }
  }

  @Test(arguments: BackEnd.allCases, cases)
  func `come back as they were under force, but for those that somebody refers to`(backEnd: BackEnd, edited: Case)
    async throws
  {
    for (size, stamped) in Sample.some(
      [(1, false), (5, true), (100, false), (100, true)], 1, of: "families forced")
    {
      try await withLedger { server in
        try await server.psql(Self.tables(stamped: stamped))
        let compiled = try await Compiled(Self.definition, on: server, batchSize: size)
        func rows(_ query: String) async throws -> [String] { try await server.rows(query) }
        let before = (try await rows(Self.both[0]), try await rows(Self.both[1]))
        #expect(try await backEnd.apply(compiled, on: server).isDone)
        try await server.psql(edited.edit)
        _ = try await backEnd.revert(compiled, on: server, onConflict: .force)
        let forced = edited.staysForced
        #expect(try await rows("SELECT id FROM archive.orders ORDER BY id") == forced.map { "\($0)" })
        #expect(try await rows("SELECT DISTINCT order_id FROM archive.items ORDER BY 1") == forced.map { "\($0)" })
        let kept = before.0.filter { row in !forced.contains { row.hasPrefix("\($0)|") } }
        #expect(try await rows(Self.both[0]) == kept)
        #expect(
          try await rows(Self.both[1]) == before.1.filter { row in !forced.contains { row.contains("|\($0)|i") } })
        #expect(
          try await rows("SELECT reason FROM migrate.conflicts WHERE reason = 'overwritten'").isEmpty
            == (!edited.edit.contains("UPDATE") && !edited.edit.contains("stranger")
              && !edited.edit.contains("orders VALUES (6")))
      }
    }
  }

  /// A tree has no top that tells where a family ends.
  @Test(arguments: BackEnd.allCases)
  func `of rows that refer to one another stay by the batch`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE nodes (id bigint PRIMARY KEY, parent bigint REFERENCES nodes, name text);
        CREATE TABLE old (id bigint PRIMARY KEY, parent bigint REFERENCES old, name text);
        INSERT INTO nodes SELECT n, CASE WHEN (n - 1) % 5 > 0 THEN n - 1 END, 'n' || n FROM generate_series(1, 20) AS n;
        """)
      let compiled = try await Compiled(
        "batch: archive\nsource: nodes\nmove: nodes\nto: old\n", on: server, batchSize: 5)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      try await server.psql("UPDATE old SET name = 'other' WHERE id = 8")
      _ = try await backEnd.revert(compiled, on: server, onConflict: .skip)
      #expect(try await server.value("SELECT string_agg(id::text, ' ' ORDER BY id) FROM old") == "6 7 8 9 10")
      #expect(try await server.value("SELECT count(*) FROM nodes WHERE name = 'n' || id") == "15")
      #expect(
        try await server.rows("SELECT reason, count(*) FROM migrate.conflicts GROUP BY 1 ORDER BY 1") == [
          "edited|1", "kept|4",
        ])
    }
  }

  /// Each row has two parents in one table.
  @Test(arguments: BackEnd.allCases, ["", " REFERENCES old_users"])
  func `of rows with two parents stay by the batch`(backEnd: BackEnd, reference: String) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE users (id bigint PRIMARY KEY, name text);
        CREATE TABLE mails (id bigint PRIMARY KEY, sender bigint REFERENCES users, receiver bigint REFERENCES users);
        CREATE TABLE old_users (id bigint PRIMARY KEY, name text);
        CREATE TABLE old_mails (id bigint PRIMARY KEY, sender bigint\(reference), receiver bigint\(reference));
        INSERT INTO users SELECT n, 'u' || n FROM generate_series(1, 6) AS n;
        INSERT INTO mails SELECT n, n, n + 1 FROM generate_series(1, 5) AS n;
        """)
      let compiled = try await Compiled(
        """
        batch: archive
        source: users
        steps:
          - move: mails
            to: old_mails
            match: mails.sender = batch.id
          - move: users
            to: old_users
        """, on: server, batchSize: 100)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      try await server.psql("UPDATE old_users SET name = 'edited' WHERE id = 4")
      _ = try await backEnd.revert(compiled, on: server, onConflict: .skip)
      #expect(try await server.rows("SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM old_mails)") == ["0|5"])
      _ = try await backEnd.revert(compiled, on: server, onConflict: .force)
    }
  }

  /// The foreign keys are checked at the end, so parents may be moved first.
  @Test(arguments: BackEnd.allCases, ["", " DEFERRABLE INITIALLY DEFERRED"])
  func `of three levels are whole, in whichever order they are moved`(backEnd: BackEnd, deferred: String) async throws {
    try await withLedger { server in
      func reference(_ table: String) -> String { "REFERENCES \(table)\(deferred)" }
      try await server.psql(
        """
        CREATE SCHEMA old;
        CREATE TABLE a (id bigint PRIMARY KEY, name text);
        CREATE TABLE b (id bigint PRIMARY KEY, a_id bigint \(reference("a")), name text);
        CREATE TABLE c (id bigint PRIMARY KEY, a_id bigint, b_id bigint \(reference("b")), name text);
        CREATE TABLE old.a (id bigint PRIMARY KEY, name text);
        CREATE TABLE old.b (id bigint PRIMARY KEY, a_id bigint \(reference("old.a")), name text);
        CREATE TABLE old.c (id bigint PRIMARY KEY, a_id bigint, b_id bigint \(reference("old.b")), name text);
        INSERT INTO a SELECT n, 'a' FROM generate_series(1, 3) AS n;
        INSERT INTO b SELECT n, (n + 1) / 2, 'b' FROM generate_series(1, 6) AS n;
        INSERT INTO c SELECT b.id * 10 + n, b.a_id, b.id, 'c' FROM b, generate_series(1, 2) AS n;
        """)
      let moves = [
        "  - move: a\n    to: old.a", "  - move: b\n    to: old.b\n    match: b.a_id = batch.id",
        "  - move: c\n    to: old.c\n    match: c.a_id = batch.id",
      ]
      let ordered = deferred.isEmpty ? moves.reversed() : moves
      let compiled = try await Compiled(
        "batch: archive\nsource: a\nsteps:\n\(ordered.joined(separator: "\n"))\n", on: server, batchSize: 100)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      try await server.psql("UPDATE old.c SET name = 'edited' WHERE id = 11")
      let back = try await backEnd.revert(compiled, on: server, onConflict: .skip)
      #expect(back.isDone, "\(back.text)")
      let counts = "SELECT (SELECT count(*) FROM %a), (SELECT count(*) FROM %b), (SELECT count(*) FROM %c)"
      #expect(try await server.rows(counts.replacing("%", with: "")) == ["2|4|8"])
      #expect(try await server.rows(counts.replacing("%", with: "old.")) == ["1|2|4"])
    }
  }

  /// The archive refuses some.
  @Test(arguments: BackEnd.allCases, [1, 7, 100])
  func `that the archive refuses stay where they are`(backEnd: BackEnd, size: Int) async throws {
    try await withLedger { server in
      try await server.psql(Self.tables(stamped: false))
      try await server.psql(
        "ALTER TABLE archive.orders ADD CHECK (id <> 5); ALTER TABLE archive.items ADD CHECK (id <> 81)")
      let before = try await server.rows("SELECT * FROM orders ORDER BY id")
      let compiled = try await Compiled(Self.definition + "on_error: continue\n", on: server, batchSize: size)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.value("SELECT string_agg(key[1], ' ' ORDER BY key[1]) FROM migrate.rejects") == "5 8")
      #expect(try await server.value("SELECT count(*) FROM archive.items") == "24")
      #expect(try await server.value("SELECT count(*) FROM orders WHERE id IN (5, 8)") == "2")
      #expect(try await backEnd.revert(compiled, on: server).isDone)
      #expect(try await server.rows("SELECT * FROM orders ORDER BY id") == before)
    }
  }

  /// A child whose second parent another batch has moved.
  @Test(arguments: BackEnd.allCases, [1, 2, 100])
  func `over several batches stay where a parent stays`(backEnd: BackEnd, size: Int) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE p (id integer PRIMARY KEY, v text);
        CREATE TABLE c (id integer PRIMARY KEY, p1 integer NOT NULL REFERENCES p, p2 integer REFERENCES p, v text);
        CREATE TABLE ap (id integer PRIMARY KEY, v text);
        CREATE TABLE ac (id integer PRIMARY KEY, p1 integer NOT NULL, p2 integer, v text);
        INSERT INTO p SELECT i, 'p' FROM generate_series(1, 6) AS i;
        INSERT INTO c VALUES (1, 1, 2, 'c'), (2, 3, 3, 'c'), (3, 3, 4, 'c'), (4, 5, NULL, 'c');
        """)
      let compiled = try await Compiled(
        """
        batch: archive
        source: p
        steps:
          - move: c
            to: ac
            match: c.p1 = batch.id
          - move: p
            to: ap
        """, on: server, batchSize: size)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      try await server.psql("UPDATE ap SET v = 'edited' WHERE id = 2")
      let told = try await backEnd.revert(compiled, on: server, onConflict: .skip)
      #expect(told.isDone, "\(told.text)")
      let here = try await server.rows(
        "SELECT string_agg(id::text, ' ' ORDER BY id) FROM p UNION ALL SELECT string_agg(id::text, ' ' ORDER BY id) FROM c"
      )
      // With several parents a batch is one family.
      switch size {
      case 1: #expect(here == ["3 4 5 6", "2 3 4"])
      case 2: #expect(here == ["3 4 5 6", "2 3 4"])
      default: #expect(here == ["NULL", "NULL"])
      }
      #expect(
        try await server.value("SELECT count(*) FROM (SELECT id FROM p UNION ALL SELECT id FROM ap) AS all_of_them")
          == "6")
      #expect(
        try await server.value("SELECT count(*) FROM (SELECT id FROM c UNION ALL SELECT id FROM ac) AS all_of_them")
          == "4")
    }
  }
}
