import MigrateJSON
import MigratePostgres
import TestSupport
import Testing

/// `publish: at_once` on the command line.
@Suite struct `A definition that is published at once` {
  private static let tables = """
    CREATE TABLE goods (id bigint PRIMARY KEY, price numeric(10,2) NOT NULL);
    INSERT INTO goods SELECT n, n FROM generate_series(1, 2000) AS n;
    ANALYZE goods;
    """
  private static let definition = """
    batch: doubled
    source: public.goods
    where: id % 4 > 0
    set: {price: price * 2}
    publish: at_once
    batch_size: 300

    """

  private func withGoods(_ body: (TestProject) async throws -> Void) async throws {
    try await withProject { project in
      try await project.server.psql(Self.tables)
      try project.write(Self.definition, to: "migrations/doubled.yaml")
      try await body(project)
    }
  }

  @Test func `says so in its plan, and how long a writer may wait when that is measured`() async throws {
    try await withGoods { project in
      let plan = try await project.start(["plan", "doubled"], environment: [:]).finish()
      #expect(
        plan.out.contains("publishes  at once: batches compute, then one transaction shows all rows that change\n"))
      #expect(plan.out.contains("`migrate plan doubled --measure` forecasts how long"))
      #expect(plan.out.contains("no row before all are shown, and then each until that is over"))
      #expect(!plan.out.contains("the rows of one batch at a time"))
      let measured = try await project.start(["plan", "doubled", "--measure", "--yes"], environment: [:]).finish()
      #expect(
        measured.out.contains(/publishing \d+ rows at once: about .*, which a writer of one of them may wait\n/),
        "\(measured.out)")
      let told = try await project.start(["plan", "doubled", "--measure", "--yes", "--json"], environment: [:]).finish()
      let event = try #require(told.out.split(separator: "\n").map { try JSON(String($0)) }.last)
      #expect(event["seconds_waited_at_most"] != nil && event["rows_published"] != nil, "\(told.out)")
      #expect(try await project.value("SELECT count(*) FROM goods WHERE price <> id") == "0")
    }
  }

  @Test func `tells when all is shown, and goes back at once or batch by batch`() async throws {
    try await withGoods { project in
      let applied = try await project.start(["apply", "doubled", "--yes"], environment: [:]).finish()
      #expect(applied.status == 0 && applied.out.contains("run 1 completed 1500 rows 0 rejects"), "\(applied)")
      #expect(applied.err.contains("publishing 1,500 rows at once\n"), "\(applied.err)")
      #expect(applied.err.contains(/published in .*; a writer of one of these rows may have waited as long\n/))
      #expect(try await project.value("SELECT count(DISTINCT CAST(xmin AS text)) FROM goods") == "2")
      #expect(try await project.start(["revert", "1", "--yes"], environment: [:]).finish().status == 0)
      #expect(try await project.value("SELECT count(DISTINCT CAST(xmin AS text)) FROM goods WHERE id % 4 > 0") == "1")
      let again = try await project.start(["apply", "doubled", "--yes", "--again", "--json"], environment: [:]).finish()
      let events = try again.out.split(separator: "\n").map { try JSON(String($0)) }
      #expect(
        events.compactMap { $0["event"]?.text }.filter { $0.hasPrefix("publish") } == ["publishing", "published"])
      let back = try await project.start(["revert", "2", "--per-batch", "--yes"], environment: [:]).finish()
      #expect(back.status == 0, "\(back)")
      #expect(
        try await project.value("SELECT count(DISTINCT CAST(xmin AS text)) > 3 FROM goods WHERE id % 4 > 0") == "t")
      #expect(try await project.value("SELECT count(*) FROM goods WHERE price <> id") == "0")
    }
  }
}
