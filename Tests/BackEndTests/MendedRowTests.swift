import MigratePostgres
import TestRuns
import TestSupport
import Testing

/// What `--fix` has made of a row, and what a revert makes of that.
@Suite struct `A mended row` {
  /// Every fourth row breaks the rule.
  private static let definition = """
    batch: t
    source: t
    set: {v: v + 100}
    validation: {fine: v % 4 <> 0}
    """

  /// The columns of the key with their types, what they are called together, and the key of row n.
  @Test(arguments: [
    ("k character(6)", "k", "'c' || n"), ("k character(1)", "k", "chr(64 + n)"), ("k bit(6)", "k", "n::bit(6)"),
    ("k bit varying(6)", "k", "n::bit(6)"), ("k regclass", "k", "n::oid::regclass"), ("k padded", "k", "'d' || n"),
    ("k varchar(4)", "k", "'v' || n"), ("k numeric(6,2)", "k", "n / 4.0"),
    ("k \"Kind of\"", "k", "(ARRAY['b', 'a', 'C c', 'c', 'd', 'e', 'f', 'B', 'D'])[n]::\"Kind of\""),
    ("a character(3), k integer", "a, k", "'a' || n / 3, n"),
    ("a bit(3), k bit(2)", "a, k", "(n / 4)::bit(3), n::bit(2)"),
  ])
  func `is found by a key of any type`(columns: String, key: String, value: String) async throws {
    try await withDatabase { server in
      try await server.psql(
        """
        CREATE DOMAIN padded AS character(5); CREATE TYPE "Kind of" AS ENUM ('b', 'a', 'C c', 'c', 'd', 'e', 'f', 'B', 'D');
        CREATE TABLE t (\(columns), n integer NOT NULL, v integer NOT NULL, PRIMARY KEY (\(key)));
        INSERT INTO t SELECT \(value), n, n FROM generate_series(1, 9) AS n; ANALYZE t
        """)
      let all = "SELECT n, v FROM t ORDER BY n"
      let before = try await server.rows(all)
      let compiled = try await Compiled(Self.definition, on: server, batchSize: 4)
      #expect(try await Client.apply(compiled, on: server).isDone)
      #expect(try await Client.fix(1, "SET v = v + 50", on: server).text == "2 rows")
      #expect(
        try await server.rows(all) == (1...9).map { "\($0)|\($0 % 4 == 0 ? $0 + 50 : $0 + 100)" })
      #expect(try await Client.retry(1, on: server).isDone)
      #expect(try await server.rows(all) == (1...9).map { "\($0)|\($0 % 4 == 0 ? $0 + 150 : $0 + 100)" })
      #expect(try await Client.revert(compiled, on: server).isDone)
      #expect(try await server.rows(all) == before)
      #expect(try await server.value("SELECT count(*) FROM migrate.fixes WHERE NOT reverted") == "0")
    }
  }
}
