import MigratePlan
import MigratePostgres
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// `let`: a value computed once for each source row, then a name beside its columns.
@Suite struct `A value of let` {
  private static let table = """
    CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL, host text, tags text[], number bigint, again bigint);
    INSERT INTO users SELECT n, CASE n % 5 WHEN 0 THEN 'none' ELSE ' U' || n || '@É' || n % 3 || '.org ' END FROM generate_series(1, 60) AS n;
    CREATE SEQUENCE numbers; CREATE SEQUENCE calls;
    CREATE FUNCTION counted(t text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('calls'); RETURN t; END $$
    """

  private static let all = "SELECT id, email, host, tags, number, again FROM users ORDER BY id"

  @Test(arguments: BackEnd.allCases, [1, 7, 1_000])
  func `stands for the same in every column, and in the rules`(backEnd: BackEnd, size: Int) async throws {
    try await withLedger { server in
      try await server.psql(Self.table)
      let before = try await server.rows(Self.all)
      let expected = try await server.rows(
        """
        SELECT u.id, CASE WHEN h.host <> '' THEN m.mail ELSE u.email END, CASE WHEN h.host <> '' THEN h.host || '!' END,
               CASE WHEN h.host <> '' THEN ARRAY[m.mail, 'x'] END, u.number, u.again
        FROM   users AS u, LATERAL (SELECT lower(trim(email)) AS mail) AS m, LATERAL (SELECT split_part(mail, '@', 2) AS host) AS h
        ORDER  BY u.id
        """)
      let definition = """
        batch: users
        source: users
        let:
          mail: lower(trim(email))
          place: split_part(mail, '@', 2)
          mark: 'x'
        set:
          email: mail
          host: (SELECT batch.place || '!')
          tags: ARRAY[mail, mark]
        validation:
          has a host: place <> ''
        """
      let compiled = try await Compiled(definition, on: server, batchSize: size)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.rows(Self.all) == expected)
      #expect(try await server.rows("SELECT message, count(*) FROM migrate.rejects GROUP BY 1") == ["has a host|12"])
      #expect(try await backEnd.revert(compiled, on: server).isDone)
      #expect(try await server.rows(Self.all) == before)
    }
  }

  /// A number that a sequence gives is one number, in both columns, and in a row of its own.
  @Test(arguments: BackEnd.allCases, ["full", "none"])
  func `is computed once`(backEnd: BackEnd, undo: String) async throws {
    try await withLedger { server in
      try await server.psql(Self.table)
      let definition = """
        batch: users
        source: users
        let:
          given: nextval('numbers')
          said: counted(email)
        set: {number: given, again: given + 1000, host: said, email: said || '.'}
        undo: \(undo)
        """
      let compiled = try await Compiled(definition, on: server, batchSize: 25)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(
        try await server.value("SELECT count(*) FROM users WHERE again = number + 1000 AND email = host || '.'") == "60"
      )
      #expect(
        try await server.rows("SELECT min(number), max(number), count(DISTINCT number) FROM users") == ["1|60|60"])
      #expect(try await server.value("SELECT last_value FROM calls") == "60")
    }
  }
}
