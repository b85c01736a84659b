import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// `join` and `let` beside steps: what the capture has found or computed of a row the steps read, whatever they change.
extension Steps {
  static let joinCases = [
    Case(
      testDescription: "with what a query tells of each row, where some have nothing and are left",
      definition: """
        source: users
        join:
          spent:
            query: |
              SELECT user_id, sum(visits) AS total, array_agg(visits) AS list FROM visits WHERE visits % 3 > 0 GROUP BY user_id
            match: spent.user_id = users.id
            missing: skip
        let:
          worth: spent.total * 2
          said: upper(name || worth)
        steps:
          - update: users
            set: {points: points + batch.worth, best: batch.worth}
          - insert: ledger
            values:
              user_id: id
              delta: spent.total
              reason: said
              tags: spent.list::text[]
          - update: items
            match: items.id = batch.id AND batch.worth > 10
            set: {price: spent.total}
        """,
      oracle: """
        CREATE TEMP TABLE b AS
        SELECT u.*, v.visits FROM users AS u JOIN visits AS v ON v.user_id = u.id AND v.visits % 3 > 0;
        UPDATE users SET points = users.points + b.visits * 2, best = b.visits * 2 FROM b WHERE b.id = users.id;
        INSERT INTO ledger (user_id, delta, reason, tags)
        SELECT id, visits, upper(name || visits * 2), ARRAY[visits]::text[] FROM b;
        UPDATE items SET price = b.visits FROM b WHERE b.id = items.id AND b.visits > 5
        """),
    Case(
      testDescription: "with what some rows do not find, and some find twice",
      definition: """
        source: grants
        join:
          l:
            query: SELECT * FROM (VALUES (2, 'y'), (3, 'z'), (5, 'p'), (5, 'q'), (10, NULL)) AS v(user_id, label)
            match: l.user_id = batch.user_id
          v: {table: visits, match: v.user_id = l.user_id, missing: null}
        let:
          pair: v.visits || l.label
        steps:
          - insert: ledger
            from:
              g: SELECT id, user_id, pair, "l.label" AS label FROM batch
            values: {user_id: g.user_id, delta: g.id, reason: g.pair || g.label}
          - delete: items
            match: items.grant_id = batch.id AND l.label <> 'z'
          - update: grants
            set: {state: 'seen', note: l.label || batch.pair}
        validation:
          has points: points + v.visits > 2
        checks:
          batch:
            each has a label: SELECT id FROM batch WHERE "l.label" IS NULL AND user_id <> 10
        max_rejects: 100%
        """,
      oracle: """
        CREATE TEMP TABLE b AS
        SELECT g.*, l.label, v.visits || l.label AS pair
        FROM   grants AS g JOIN (VALUES (2, 'y'), (3, 'z'), (10, NULL)) AS l(user_id, label) ON l.user_id = g.user_id
        JOIN   visits AS v ON v.user_id = g.user_id
        WHERE  points + visits > 2;
        INSERT INTO ledger (user_id, delta, reason) SELECT user_id, id, pair || label FROM b;
        DELETE FROM items USING b WHERE b.id = grant_id AND label <> 'z';
        UPDATE grants SET state = 'seen', note = b.label || b.pair FROM b WHERE b.id = grants.id
        """),
    Case(
      testDescription: "with what is joined to rows that a query has found before",
      definition: """
        source:
          query: SELECT user_id, state, count(*) AS n FROM grants GROUP BY user_id, state
          key: [user_id, state]
        where: n > 0
        join:
          u: {table: users, match: u.id = batch.user_id}
        let:
          name: u.name || state
        insert: ledger
        values: {user_id: user_id, delta: n, reason: name, tags: u.tags}
        """,
      oracle: """
        INSERT INTO ledger (user_id, delta, reason, tags)
        SELECT user_id, n, u.name || s.state, u.tags
        FROM  (SELECT user_id, state, count(*) AS n FROM grants GROUP BY user_id, state) AS s JOIN users AS u ON u.id = s.user_id
        """),
    Case(
      testDescription: "with a table in which a row of the batch must have one to be changed",
      definition: """
        source: grants
        where: state = 'active'
        join:
          users: {table: users, match: users.id = batch.user_id AND users.id > 4, missing: null}
        let:
          number: nextval('numbers') * 0 + id + 100
        steps:
          - update: visits
            match: visits.user_id = users.id AND users.points > 7
            set: {visits: 0}
            missing: reject
          - insert: seen
            values: {user_id: number, state: state, n: id}
          - insert: labels
            values:
              user_id: batch.number
              label: users.name
        max_rejects: 100%
        """,
      oracle: """
        CREATE TEMP TABLE b AS
        SELECT g.*, u.name, g.id + 100 AS number
        FROM   grants AS g JOIN users AS u ON u.id = g.user_id AND u.id > 4
        WHERE  g.state = 'active';
        UPDATE visits SET visits = 0 WHERE user_id IN (SELECT user_id FROM b);
        INSERT INTO seen (user_id, state, n) SELECT number, state, id FROM b;
        INSERT INTO labels (user_id, label) SELECT number, name FROM b
        """),
  ]
  @Test(arguments: BackEnd.allCases)
  func `share what let has computed once of a row`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Self.tables(grants: 60))
      let definition = """
        batch: shared
        source: grants
        let:
          number: nextval('numbers')
        steps:
          - insert: labels
            values: {user_id: number, label: id::text}
          - insert: visits
            from:
              n: SELECT number, id FROM batch
            values: {user_id: n.number, visits: n.id}
        """
      let compiled = try await Compiled(definition, on: server, batchSize: 7)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      let pairs = try await server.value(
        "SELECT count(*) FROM labels JOIN visits USING (user_id) WHERE user_id >= 100 AND label = visits::text")
      #expect(pairs == "60")
      #expect(try await server.value("SELECT count(*) FROM migrate.verify(1) WHERE verdict = 'not ok'") == "0")
      #expect(try await backEnd.revert(compiled, on: server).isDone)
      #expect(try await server.value("SELECT count(*) FROM visits WHERE user_id >= 100") == "0")
    }
  }

  @Test(arguments: BackEnd.allCases)
  func `are not done for rows that find none, or several`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Self.tables(grants: 60) + "; INSERT INTO labels VALUES (3, 'q')")
      let definition = """
        batch: labelled
        source: grants
        join:
          l: {table: labels, match: l.user_id = batch.user_id}
        insert: ledger
        values: {user_id: user_id, delta: id, reason: l.label}
        max_rejects: 100%
        """
      let compiled = try await Compiled(definition, on: server, batchSize: 7)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      let rejected = try await server.rows("SELECT key[1], message FROM migrate.rejects ORDER BY key[1]::integer")
      let expected = try await server.rows(
        """
        SELECT id, CASE user_id WHEN 3 THEN 'l: 2 rows match' ELSE 'l: no row matches' END
        FROM   grants WHERE user_id <> 2 ORDER BY id
        """)
      #expect(rejected == expected && !expected.isEmpty)
      let added = try await server.rows("SELECT user_id, delta, reason FROM ledger ORDER BY delta")
      #expect(added == (try await server.rows("SELECT user_id, id, 'y' FROM grants WHERE user_id = 2 ORDER BY id")))
      try await server.psql("DELETE FROM labels WHERE label = 'q'")
      #expect(try await backEnd.revert(compiled, on: server).isDone)
      #expect(try await server.value("SELECT count(*) FROM ledger") == "0")
    }
  }
}
