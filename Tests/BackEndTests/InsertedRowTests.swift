import MigratePlan
import MigratePostgres
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// Of an inserted row undo keeps its key and 64 bits of the rest.
@Suite struct `Rows that a step has inserted` {
  private struct Edited: Sendable {
    let type: String
    let value: String
    let edit: String
  }

  /// Each type with a value, and another one, which is often equal to it.
  private static let edited: [Edited] = [
    .init(type: "smallint", value: "1", edit: "2"), .init(type: "integer", value: "1", edit: "-1"),
    .init(type: "bigint", value: "1", edit: "4294967296"), .init(type: "bigint", value: "-1", edit: "-4294967296"),
    .init(type: "numeric", value: "1.0", edit: "1.00"), .init(type: "numeric(8,2)", value: "1", edit: "1.01"),
    .init(type: "numeric", value: "'NaN'", edit: "'Infinity'"), .init(type: "numeric", value: "5", edit: "-5"),
    .init(type: "numeric(8,2)", value: "5", edit: "-5"), .init(type: "numeric", value: "5", edit: "50000"),
    .init(type: "text", value: "'a'", edit: "'a '"),
    .init(type: "text", value: "'é'", edit: "U&'e\\0301'"), .init(type: "text", value: "''", edit: "NULL"),
    .init(type: "varchar(5)", value: "'a    '", edit: "'a'"), .init(type: "char(3)", value: "'a'", edit: "'b'"),
    .init(type: "bpchar", value: "'a'", edit: "'a '"), .init(type: "boolean", value: "true", edit: "false"),
    .init(type: "boolean", value: "false", edit: "NULL"), .init(type: "name", value: "'a'", edit: "'b'"),
    .init(
      type: "uuid", value: "'00000000-0000-0000-0000-000000000001'", edit: "'00000000-0000-0000-0000-000000000002'"),
    .init(type: "date", value: "'2026-01-01'", edit: "'infinity'"),
    .init(type: "date", value: "'0001-01-01 BC'", edit: "'0001-01-01'"),
    .init(type: "timestamp", value: "'2026-01-01'", edit: "'2026-01-01 00:00:00.000001'"),
    .init(type: "timestamptz(0)", value: "'2026-01-01 00:00:00.4+02'", edit: "'2026-01-01 00:00:01+02'"),
    .init(type: "interval", value: "'1 mon'", edit: "'30 days'"),
    .init(type: "time", value: "'00:00'", edit: "'24:00'"),
    .init(type: "real", value: "0", edit: "'-0'"),
    .init(type: "double precision", value: "0.1", edit: "0.1::real::float8"),
    .init(type: "json", value: "'{}'", edit: "'{ }'"), .init(type: "jsonb", value: "'1.0'", edit: "'1.00'"),
    .init(type: "bytea", value: "'\\x00'", edit: "'\\x0000'"), .init(type: "mood", value: "'sad'", edit: "'glad'"),
    .init(type: "integer[]", value: "'{1,2}'", edit: "'[0:1]={1,2}'"),
    .init(type: "pair", value: "'(1,)'", edit: "'(1,\"\")'"),
    .init(type: "short", value: "'a'", edit: "'A'"), .init(type: "regclass", value: "'source'", edit: "'target'"),
    .init(type: "point", value: "'(0,0)'", edit: "'(0,-0)'"), .init(type: "bit(3)", value: "'101'", edit: "'111'"),
    .init(type: "int4range", value: "'[1,2]'", edit: "'empty'"),
    .init(type: "inet", value: "'10.0.0.1'", edit: "'10.0.0.1/24'"),
    .init(type: "tsvector", value: "'a'", edit: "'a:1'"),
  ]

  /// `serial`: whether the table has a column that only the database fills, so that RETURNING has to tell.
  @Test(arguments: BackEnd.allCases, [false, true])
  func `tell any edit of any column, and nothing else`(backEnd: BackEnd, serial: Bool) async throws {
    try await withLedger { server in
      let columns = Self.edited.enumerated().map { "c\($0) \($1.type)" }
      try await server.psql(
        """
        CREATE TYPE mood AS ENUM ('sad', 'glad');
        CREATE TYPE pair AS (a integer, b text);
        CREATE DOMAIN short AS varchar(3);
        CREATE TABLE source (id bigint PRIMARY KEY, \(columns.joined(separator: ", ")));
        INSERT INTO source SELECT n, \(Self.edited.map(\.value).joined(separator: ", ")) FROM generate_series(-2, \(Self.edited.count - 1)) AS n;
        CREATE TABLE target (id bigint PRIMARY KEY, \(columns.joined(separator: ", "))\(serial ? ", number serial" : ""));
        """)
      let compiled = try await Compiled(
        "batch: copy\nsource: source\ninsert: target\n", on: server, batchSize: 7)
      let isForeseen = compiled.plan.statements(.batches).contains { $0.text.contains(" h_1") && $0.name == .capture }
      #expect(isForeseen != serial)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      let edits = Self.edited.enumerated().map { "UPDATE target SET c\($0) = \($1.edit) WHERE id = \($0);" }
      // There and back, and what changes nothing.
      let harmless =
        "UPDATE target SET c0 = 9 WHERE id = -1; UPDATE target SET c0 = 1 WHERE id = -1; UPDATE target SET c0 = c0 WHERE id = -2;"
      try await server.psql(edits.joined(separator: "\n") + harmless)
      let edited = try await server.rows("SELECT * FROM target WHERE id >= 0 ORDER BY id")
      #expect(edited.count == Self.edited.count)
      // A row for each edit that PostgreSQL sees as one; all of them are.
      #expect(
        try await server.value(
          "SELECT count(*) FROM target AS t JOIN source AS s USING (id) WHERE record_image_ne(ROW(\(Self.listed("t"))), ROW(\(Self.listed("s"))))"
        )
          == "\(Self.edited.count)")
      _ = try await backEnd.revert(compiled, on: server, onConflict: .skip)
      let kept = try await server.rows("SELECT id FROM target ORDER BY id")
      #expect(kept == Self.edited.indices.map { "\($0)" })
      #expect(try await server.rows("SELECT * FROM target ORDER BY id") == edited)
      #expect(
        try await server.value("SELECT count(*) FROM migrate.conflicts WHERE reason = 'edited'")
          == "\(Self.edited.count)")
    }
  }

  private static func listed(_ alias: String) -> String {
    edited.indices.map { "\(alias).c\($0)" }.joined(separator: ", ")
  }

  /// Two columns of one type, so that what tells them apart is their place.
  @Test func `tell values that change places, and keep whoever has another type by now`() async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE source (id bigint PRIMARY KEY, a integer, b integer);
        INSERT INTO source SELECT n, n, n + 1 FROM generate_series(1, 20) AS n;
        CREATE TABLE target (id bigint PRIMARY KEY, a integer, b integer);
        """)
      let compiled = try await Compiled(
        "batch: copy\nsource: source\ninsert: target\n", on: server, batchSize: 7)
      #expect(try await BackEnd.client.apply(compiled, on: server).isDone)
      try await server.psql(
        "UPDATE target SET a = b, b = a WHERE id = 5; ALTER TABLE target ALTER a TYPE bigint; ALTER TABLE target ADD c text DEFAULT 'c'"
      )
      _ = try await BackEnd.client.revert(compiled, on: server, onConflict: .skip)
      #expect(try await server.rows("SELECT * FROM target") == ["5|6|5|c"])
    }
  }

  /// The key is computed, in another order and of another type than the batch's; what is not given is NULL.
  @Test(arguments: BackEnd.allCases, [1, 3, 100])
  func `are found by a key that is not the batch's`(backEnd: BackEnd, size: Int) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE source (id bigint PRIMARY KEY, word text, at date);
        INSERT INTO source SELECT n, 'w' || n, date '2026-01-01' + n FROM generate_series(1, 20) AS n;
        CREATE DOMAIN code AS varchar(4);
        CREATE TABLE target (note text, word code, day date, PRIMARY KEY (day, word));
        INSERT INTO target VALUES ('old', 'w1', '2025-01-01');
        """)
      let compiled = try await Compiled(
        """
        batch: copy
        source: source
        insert: target
        values:
          word: upper(word)
          day: at - 1

        """, on: server, batchSize: size)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(
        try await server.value("SELECT count(*) FROM target WHERE word = 'W' || (day - date '2025-12-31')") == "20")
      try await server.psql("UPDATE target SET note = 'new' WHERE word = 'W7'; DELETE FROM target WHERE word = 'W8'")
      _ = try await backEnd.revert(compiled, on: server, onConflict: .skip)
      #expect(try await server.rows("SELECT word, note FROM target ORDER BY day") == ["w1|old", "W7|new"])
      #expect(
        try await server.rows("SELECT key, reason FROM migrate.conflicts ORDER BY reason")
          == ["{2026-01-07,W7}|edited", "{2026-01-08,W8}|gone"])
    }
  }

  /// Where the server's own functions say nothing of a value, and several columns of it could cancel each other out.
  @Test(arguments: ["numeric(12,2)", "numeric", "integer", "text", "double precision"], ["0", "'NaN'", "'Infinity'"])
  func `tell that columns of one value have become NULL, or another value`(type: String, value: String) async throws {
    guard type != "integer" || value == "0", !(type == "numeric(12,2)" && value == "'Infinity'") else { return }
    try await withLedger { server in
      let columns = (1...4).map { "c\($0) \(type)" }.joined(separator: ", ")
      try await server.psql(
        """
        CREATE TABLE source (id integer PRIMARY KEY);
        INSERT INTO source SELECT generate_series(1, 64);
        CREATE TABLE target (c0 \(type), id integer PRIMARY KEY, \(columns));
        """)
      let compiled = try await Compiled(
        """
        batch: copy
        source: source
        insert: target
        values: {id: id, c0: \(value), c1: \(value), c2: \(value), c3: \(value), c4: \(value)}

        """.replacing("'", with: "'"), on: server, batchSize: 100)
      #expect(try await BackEnd.client.apply(compiled, on: server).isDone)
      // Row n has NULL where n has a bit, and the rows behind it one of the other values.
      let sets = (0...4).map { "c\($0) = CASE WHEN id & \(1 << $0) > 0 THEN NULL ELSE c\($0) END" }
      let others = (0...4).map {
        "c\($0) = CASE WHEN id & \(1 << $0) > 0 THEN \(value == "0" && type != "integer" ? "'NaN'" : "'1'") ELSE c\($0) END"
      }
      try await server.psql(
        "UPDATE target SET \(sets.joined(separator: ", ")) WHERE id < 32; UPDATE target SET \(others.joined(separator: ", ")) WHERE id > 32 AND id < 64"
      )
      _ = try await BackEnd.client.revert(compiled, on: server, onConflict: .skip)
      #expect(try await server.value("SELECT count(*) FROM target") == "62")
    }
  }

  @Test func `tell an edit that a cast would hide, and one of a key that is equal to what it was`() async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TYPE pair AS (a integer, b text);
        CREATE FUNCTION first_of(pair) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT ($1).a::text';
        CREATE CAST (pair AS text) WITH FUNCTION first_of(pair);
        CREATE TABLE source (id numeric PRIMARY KEY, p pair);
        INSERT INTO source SELECT n * 1.5, ROW(n, 'b')::pair FROM generate_series(1, 10) AS n;
        CREATE TABLE target (id numeric PRIMARY KEY, p pair);
        """)
      let compiled = try await Compiled("batch: copy\nsource: source\ninsert: target\n", on: server, batchSize: 4)
      #expect(try await BackEnd.client.apply(compiled, on: server).isDone)
      try await server.psql(
        "UPDATE target SET p = ROW(2, 'edited')::pair WHERE id = 3; UPDATE target SET id = 4.50000 WHERE id = 4.5")
      _ = try await BackEnd.client.revert(compiled, on: server, onConflict: .skip)
      #expect(try await server.rows("SELECT id FROM target ORDER BY id") == ["3.0", "4.50000"])
    }
  }

  /// Whole parts of a batch, and single rows.
  @Test(arguments: BackEnd.allCases, [7, 100])
  func `are those that the table does not refuse`(backEnd: BackEnd, size: Int) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE source (id bigint PRIMARY KEY, v integer);
        INSERT INTO source SELECT n, n FROM generate_series(1, 80) AS n;
        CREATE TABLE target (id bigint PRIMARY KEY, v integer CHECK (v < 5 OR v % 3 = 0));
        """)
      let compiled = try await Compiled(
        "batch: copy\nsource: source\ninsert: target\non_error: continue\n", on: server, batchSize: size)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(
        try await server.rows("SELECT (SELECT count(*) FROM target), (SELECT count(*) FROM migrate.rejects)") == [
          "29|51"
        ])
      try await server.psql("UPDATE target SET v = 3 WHERE id = 30")
      _ = try await backEnd.revert(compiled, on: server, onConflict: .skip)
      #expect(try await server.rows("SELECT id FROM target") == ["30"])
    }
  }
}
