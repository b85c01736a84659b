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
}
