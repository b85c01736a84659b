import MigratePostgres
import TestSupport
import Testing

/// What the commands say of a definition with several writes.
@Suite struct `The commands, of steps` {
  private static let definition = """
    batch: steps
    source: public.grants
    where: state = 'active'
    validation: {some points: points > 0}
    steps:
      - update: public.grants
        set: {state: 'expired'}
      - insert: public.ledger
        values: {id: id, delta: -points}
      - emit: {notify: grants}
        values: {payload: id::text}
    """

  @Test func `are shown, explained, measured, run, asked about and taken back`() async throws {
    try await withProject { project in
      try await project.server.psql(
        """
        CREATE TABLE grants (id integer PRIMARY KEY, points integer, state text);
        INSERT INTO grants SELECT n, n % 50, 'active' FROM generate_series(1, 500) AS n;
        CREATE TABLE ledger (id integer PRIMARY KEY, delta integer);
        ANALYZE
        """)
      try project.write(Self.definition, to: "migrations/steps.yaml")
      let plan = try await project.migrate("plan", "steps", "--explain")
      #expect(plan.status == 0, "\(plan)")
      for line in [
        "step 1     update public.grants, the batch's own rows", "step 2     insert public.ledger",
        "step 3     emit grants, which a revert leaves", "Update on grants", "Insert on ledger",
      ] {
        #expect((plan.out + plan.err).contains(line), "\(line)")
      }
      let measured = try await project.migrate("plan", "steps", "--measure", "--yes")
      #expect(measured.status == 0 && (measured.out + measured.err).contains("500 rows"), "\(measured)")
      #expect(try await project.value("SELECT count(*) FROM ledger") == "0")

      let applied = try await project.migrate("apply", "steps", "--yes")
      #expect(applied.status == 3, "\(applied)")
      #expect(try await project.value("SELECT count(*) FROM ledger") == "490")
      #expect(try await project.migrate("verify", "steps").status == 0)
      let why = try await project.migrate("why", "public.grants", "7")
      #expect(why.status == 0 && why.out.contains("its steps are done"), "\(why)")
      let elsewhere = try await project.migrate("why", "public.ledger", "7")
      #expect(
        elsewhere.status == 0 && elsewhere.out.contains("step 2 of it has written rows of this table"), "\(elsewhere)")
      let fixed = try await project.migrate("rejects", "1", "--fix", "points = 1", "--yes")
      #expect(fixed.status == 1 && fixed.err.contains("mend them by an UPDATE of your own"), "\(fixed)")
      try await project.server.psql("UPDATE grants SET points = 1 WHERE points = 0")
      #expect(try await project.migrate("apply", "--rejects", "1", "--yes").status == 0)
      #expect(try await project.value("SELECT count(*) FROM ledger") == "500")
      let reverted = try await project.migrate("revert", "1", "--yes")
      #expect(reverted.status == 0 && reverted.out.contains("run 1 reverted 1000 rows 0 conflicts"), "\(reverted)")
      #expect(try await project.value("SELECT count(*) FROM ledger") == "0")
      #expect(try await project.value("SELECT count(*) FROM grants WHERE state = 'active'") == "500")
    }
  }

  @Test func `tell of a row that a step has removed what it was`() async throws {
    try await withProject { project in
      try await project.server.psql(
        """
        CREATE TABLE grants (id integer PRIMARY KEY, state text);
        INSERT INTO grants SELECT n, 'state ' || n FROM generate_series(1, 9) AS n;
        CREATE TABLE seen (id integer PRIMARY KEY, n integer); INSERT INTO seen SELECT n, n FROM generate_series(1, 9) AS n
        """)
      let definition = """
        batch: gone
        source: public.grants
        steps:
          - update: public.seen
            match: seen.id = batch.id
            set: {n: n + 1}
          - delete: public.grants
        """
      try project.write(definition, to: "migrations/gone.yaml")
      #expect(try await project.migrate("apply", "gone", "--yes").status == 0)
      let why = try await project.migrate("why", "public.grants", "7")
      #expect(why.status == 0 && why.out.contains("state 7"), "\(why)")
    }
  }
}
