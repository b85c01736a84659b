import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// What an insert does where a row is there already.
extension Steps {
  static let conflictCases = [
    Case(
      testDescription: "that reject rows which are there already",
      definition: """
        source: users
        steps:
          - insert: seen
            values: {user_id: id, state: 'active', n: points}
            on_conflict: {key: [state, user_id], do: reject}
          - update: visits
            match: visits.user_id = batch.id
            set: {visits: 0}
        max_rejects: 100%
        """,
      oracle: """
        CREATE TEMP TABLE b AS SELECT * FROM users WHERE id NOT IN (SELECT user_id FROM seen WHERE state = 'active');
        INSERT INTO seen (user_id, state, n) SELECT id, 'active', points FROM b;
        UPDATE visits SET visits = 0 WHERE user_id IN (SELECT id FROM b)
        """),
    Case(
      testDescription: "that make something of the row which is there, and of the new one",
      definition: """
        source: users
        let:
          share: points / 10
        insert: seen
        values: {user_id: id, state: 'active', n: share, at: '2026-02-02Z'}
        on_conflict:
          key: [user_id, state]
          do: update
          set:
            n: n * 2 + excluded.n + batch.points + excluded.user_id
        """,
      oracle: """
        INSERT INTO seen (user_id, state, n, at) SELECT id, 'active', points / 10, '2026-02-02Z' FROM users
        ON CONFLICT (user_id, state)
        DO UPDATE SET n = seen.n * 2 + excluded.n + 1000 + excluded.user_id, at = excluded.at
        """),
  ]

  /// Of an index for which two NULLs are one.
  @Test(arguments: BackEnd.allCases, ["do: update, set: {n: n + excluded.n}", "do: update", "do: reject"])
  func `find a row by NULL where its index does`(backEnd: BackEnd, done: String) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE src (id integer PRIMARY KEY, k text, n integer);
        INSERT INTO src SELECT n, CASE n % 2 WHEN 0 THEN 'k' END, n * 10 FROM generate_series(1, 8) AS n;
        CREATE TABLE target (pk serial PRIMARY KEY, id integer, k text, n integer, UNIQUE NULLS NOT DISTINCT (id, k));
        INSERT INTO target (id, k, n) VALUES (3, NULL, 1), (4, 'k', 1), (5, 'x', 1)
        """)
      let definition = """
        batch: nulls
        source: src
        insert: target
        values: {id: id, k: k, n: n}
        on_conflict: {key: [id, k], \(done)}
        max_rejects: 100%
        """
      let before = try await server.rows("SELECT id, k, n FROM target ORDER BY 1, 2")
      let compiled = try await Compiled(definition, on: server, batchSize: 3)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      let found = try await server.rows("SELECT n FROM target WHERE id IN (3, 4) ORDER BY id")
      #expect(found == (done.contains("reject") ? ["1", "1"] : done.contains("set") ? ["31", "41"] : ["30", "40"]))
      #expect(
        try await server.value("SELECT count(*) FROM migrate.rejects") == (done.contains("reject") ? "2" : "0"))
      #expect(try await backEnd.revert(compiled, on: server).isDone)
      #expect(try await server.rows("SELECT id, k, n FROM target ORDER BY 1, 2") == before)
    }
  }
}
