import MigrateJSON
import MigratePostgres
import TestSupport
import Testing

/// `migrate plan --prove`: whether the result depends on how the rows are cut into batches.
@Suite struct `Plan, when it is to prove` {
  private static let tables = """
    CREATE TABLE goods (id bigint PRIMARY KEY, price numeric(10,2) NOT NULL, at timestamptz NOT NULL, day date, kind bigint NOT NULL DEFAULT 0);
    INSERT INTO goods SELECT n, n, '2026-01-01 11:00+00'::timestamptz + n * interval '1 h', NULL, n % 3 FROM generate_series(1, 500) AS n;
    CREATE TABLE log (number bigserial PRIMARY KEY, item_id bigint NOT NULL, price numeric, written_at timestamptz DEFAULT clock_timestamp());
    CREATE TABLE old (id bigint PRIMARY KEY, price numeric(10,2), at timestamptz, day date, kind bigint);
    CREATE TABLE totals (id bigint PRIMARY KEY, n bigint NOT NULL);
    INSERT INTO totals SELECT n, 0 FROM generate_series(0, 2) AS n;
    CREATE FUNCTION next_price(bigint) RETURNS numeric STABLE LANGUAGE sql AS 'SELECT price FROM goods WHERE id = $1 + 1';
    CREATE FUNCTION written() RETURNS numeric VOLATILE LANGUAGE sql AS 'SELECT count(*)::numeric FROM log';
    ANALYZE;
    """

  private func prove(_ definition: String, _ words: String..., expecting status: Int32 = 0) async throws -> String {
    var out = ""
    try await withProject { project in
      try await project.server.psql(Self.tables)
      try project.write("batch: proved\nsource: public.goods\n" + definition, to: "migrations/proved.yaml")
      let told = try await project.start(["plan", "proved", "--prove", "--yes"] + words, environment: [:]).finish()
      #expect(told.status == status, "\(told)")
      // Nothing of it stays.
      #expect(
        try await project.value(
          "SELECT concat_ws('|', (SELECT count(*) FROM goods WHERE price = id AND day IS NULL), (SELECT count(*) FROM log), (SELECT sum(n) FROM totals))"
        )
          == "500|0|0")
      out = told.out
    }
    return out
  }

  @Test func `tells that the same comes out`() async throws {
    let told = try await prove("set: {price: price * 2}\n")
    #expect(
      told.contains("proved proved: 500 rows in one batch, and in 72 batches in another order: the same\n"), "\(told)")
  }

  @Test func `names the rows that are others when the batches are`() async throws {
    let told = try await prove("set: {price: next_price(id)}\nwhere: id < 500\n", expecting: 1)
    #expect(told.contains("refuted proved: 499 rows in one batch, and in 72 batches in another order: "), "\(told)")
    #expect(told.contains(" differ; freeze what it reads"), "\(told)")
    let line = try #require(told.split(separator: "\n").first { $0.hasPrefix("  public.goods {") })
    #expect(line.contains(": in one batch (") && line.contains("), in many ("), "\(line)")
  }

  /// PostgreSQL takes a function for volatile unless it is told, so that says nothing of it.
  @Test func `names what a function that nobody has described makes of what is written`() async throws {
    let steps = """
      steps:
        - insert: public.log
          values: {item_id: id, price: price}
        - insert: public.old
          values: {id: id, price: written()}

      """
    let told = try await prove(steps, expecting: 1)
    #expect(told.contains("refuted proved: 500 rows in one batch, and in 72 batches in another order: "), "\(told)")
    #expect(told.contains("  public.old {"), "\(told)")
  }

  @Test func `compares what each step has written, and not what the database has numbered`() async throws {
    let steps = """
      where: id <= 300
      steps:
        - insert: public.log
          values: {item_id: id, price: price * 2}
        - update: public.totals
          from:
            t: SELECT kind, count(*) AS n FROM batch GROUP BY kind
          match: totals.id = t.kind
          set: {n: n + t.n}
        - move: public.goods
          to: public.old

      """
    let told = try await prove(steps)
    #expect(
      told.contains("proved proved: 300 rows in one batch, and in 43 batches in another order: the same\n"), "\(told)")
  }

  @Test func `tells what depends on the time zone, which is no fault`() async throws {
    let told = try await prove("set: {day: at::date}\n")
    #expect(told.contains(": the same\n") && told.contains("rows depend on the time zone, which is pinned"), "\(told)")
  }

  @Test func `says so where there is nothing to compare`() async throws {
    #expect(try await prove("set: {price: price * 2}\nundo: none\n").contains("not proved proved: under `undo: none`"))
    #expect(try await prove("set: {price: price * 2}\nwhere: id > 1000\n").contains("no row of the sample is eligible"))
  }

  @Test func `tells it to programs`() async throws {
    let told = try await prove("set: {price: next_price(id)}\nwhere: id < 500\n", "--json", expecting: 1)
    let last = try JSON(String(try #require(told.split(separator: "\n").last)))
    #expect(last["event"]?.text == "proved")
    let first = try #require(last["differences"]?.elements.first)
    #expect(first["step"]?.text != "" && first["key"]?.text != nil && first["in_one"]?.text != first["otherwise"]?.text)
  }

  /// Few rows among many, to which no index leads.
  @Test func `finds rows whose keys are collected, and so does --measure`() async throws {
    try await withProject { project in
      try await project.server.psql(
        """
        CREATE TABLE goods (id bigint PRIMARY KEY, price numeric(10,2) NOT NULL, filler text);
        INSERT INTO goods SELECT n, n % 500, repeat('x', 100) FROM generate_series(1, 100000) AS n;
        ANALYZE goods;
        """)
      try project.write(
        "batch: proved\nsource: public.goods\nwhere: price = 7\nset: {price: price * 2}\n", to: "migrations/proved.yaml"
      )
      let told = try await project.migrate("plan", "proved", "--prove", "--measure", "--yes")
      #expect(told.status == 0 && told.out.contains("-- collect:"), "\(told)")
      #expect(told.out.contains("of 200 rows in all, 200 changed"), "\(told)")
      #expect(told.out.contains("proved proved: 200 rows in one batch, and in 29 batches"), "\(told)")
    }
  }
}
