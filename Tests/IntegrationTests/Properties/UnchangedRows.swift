import Migrate
import MigrateTestSupport
import TestSupport
import Testing

/// Two values that PostgreSQL may call equal.
struct Pair: Sendable, CustomStringConvertible {
  let type: String
  let old: String
  let new: String
  let differs: Bool

  init(_ type: String, _ old: String, _ new: String, differs: Bool) {
    (self.type, self.old, self.new, self.differs) = (type, old, new, differs)
  }

  var description: String { "\(type): \(old) to \(new)" }
}

@Suite struct `A row is written when its bytes change, and only then` {
  static let pairs = [
    Pair("interval", "'1 mon'", "'30 days'", differs: true),
    Pair("interval", "'30 days'", "'30 days'", differs: false),
    Pair("numeric", "1.0", "1.00", differs: true),
    Pair("numeric", "1.00", "1.00", differs: false),
    Pair("numeric(10,2)", "1.5", "1.50", differs: false),
    Pair("numeric(10,2)", "1.5", "1.501", differs: false),
    Pair("numeric(10,2)", "1.5", "round(1.54, 1)", differs: false),
    Pair("numeric(10,2)", "1.5", "1.5 + 0.01", differs: true),
    Pair("numeric(10,2)", "1.56", "round(1.5554, 3)", differs: false),
    Pair("numeric(10,2)", "1.5", "round(1.5554, 3)", differs: true),
    Pair("numeric(10,2)", "1.5", "1.5 + 1E-5", differs: false),
    Pair("numeric(10,2)", "1.5", "1.5 + 1e-5", differs: false),
    Pair("numeric(10,2)", "1.5", "own.round(1.5)", differs: false),
    Pair("numeric(10,2)", "1.5", "OPERATOR(own.-) 1.5", differs: false),
    Pair("numeric(5,-2)", "100", "trunc(149, -1)", differs: false),
    Pair("numeric(5,-2)", "100", "139::numeric(5,-1)", differs: false),
    Pair("numeric(10,2)", "'NaN'", "round('NaN'::numeric, 2)", differs: false),
    Pair("numeric(10,2)", "NULL", "round(NULL::numeric, 1)", differs: false),
    Pair("double precision", "'-0'", "0", differs: true),
    Pair("double precision", "'NaN'", "'NaN'::float8", differs: false),
    Pair("real", "'-0'", "'-0'::real", differs: false),
    Pair("citext", "'a'", "'A'::citext", differs: true),
    Pair("text COLLATE no_case", "'a'", "'A'", differs: true),
    Pair("char(3)", "'a'", "'a  '", differs: false),
    Pair("char(3)", "'a'", "'a'::text", differs: false),
    Pair("char(3)", "'a'", "'ab'::text", differs: true),
    Pair("varchar(3)", "'a'", "'a '", differs: true),
    Pair("json", "'{\"a\":1}'", "'{\"a\": 1}'::json", differs: true),
    Pair("json", "'{\"a\":1}'", "'{\"a\":1}'::json", differs: false),
    Pair("jsonb", "'1'", "'1.0'::jsonb", differs: true),
    Pair("jsonb", "'{\"a\":1}'", "'{\"a\":  1}'::jsonb", differs: false),
    Pair("timetz", "'12:00+00'", "'13:00+01'::timetz", differs: true),
    Pair("timestamptz", "'2026-01-01 12:00+00'", "timestamptz '2026-01-01 13:00+01'", differs: false),
    Pair("point", "'(1,0)'", "point '(1,-0)'", differs: true),
    Pair("point", "'(1,0)'", "point '(1,0)'", differs: false),
    Pair("xml", "'<a/>'", "'<a></a>'::xml", differs: true),
    Pair("integer", "NULL", "NULL::integer", differs: false),
    Pair("integer", "NULL", "0", differs: true),
    Pair("text[]", "'{a}'", "'[2:2]={a}'::text[]", differs: true),
    Pair("text[]", "'{a,NULL}'", "ARRAY['a', NULL]", differs: false),
    Pair("even", "2", "2", differs: false),
    Pair("bit(3)", "B'101'", "B'101'", differs: false),
  ]

  /// V12 V13, the ledger's counts
  @Test func `V12: pairs that are equal and not the same`() async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE EXTENSION citext;
        CREATE SCHEMA own;
        CREATE FUNCTION own.round(numeric) RETURNS numeric IMMUTABLE LANGUAGE sql AS 'SELECT $1 + 0.001';
        CREATE OPERATOR own.- (RIGHTARG = numeric, FUNCTION = own.round);
        CREATE COLLATION no_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
        CREATE DOMAIN even AS integer CHECK (VALUE % 2 = 0)
        """)
      try await withThrowingTaskGroup(of: Void.self) { group in
        for lane in 0..<4 {
          group.addTask {
            for index in stride(from: lane, to: Self.pairs.count, by: 4) {
              try await check(Self.pairs[index], index, server)
            }
          }
        }
        try await group.waitForAll()
      }
      let wrong = try await server.psql(
        "SELECT * FROM migrate.batches WHERE kind = 'apply' AND rows_read <> rows_changed + rows_unchanged + rows_rejected"
      )
      #expect(wrong.isEmpty)
    }
  }

  private func check(_ pair: Pair, _ index: Int, _ server: Server) async throws {
    let table = "t\(index)"
    try await server.psql(
      """
      CREATE TABLE \(table) (id integer PRIMARY KEY, v \(pair.type));
      INSERT INTO \(table) VALUES (1, \(pair.old)), (2, \(pair.new));
      CREATE TABLE writes_\(index) (id integer);
      CREATE FUNCTION count_\(index)() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN INSERT INTO public.writes_\(index) VALUES (NEW.id); RETURN NULL; END $$;
      CREATE TRIGGER count AFTER UPDATE ON \(table) FOR EACH ROW EXECUTE FUNCTION count_\(index)()
      """)
    let before = try await image(of: table, on: server)
    let expected = try await image(of: table, on: server, after: "UPDATE \(table) SET v = \(pair.new)")
    let applied = try await migrated("batch: \(table)\nsource: \(table)\nset:\n  v: |\n    \(pair.new)", on: server)
    #expect(applied.isComplete, "\(pair)")
    #expect(
      applied.counts
        == BatchCounts(batches: 1, read: 2, changed: pair.differs ? 1 : 0, unchanged: pair.differs ? 1 : 2),
      "\(pair)")
    #expect(expected.differences(to: try await image(of: table, on: server)) == [], "\(pair)")
    #expect(
      try await server.psql("SELECT count(*) FROM writes_\(index)") == [[pair.differs ? "1" : "0"]], "\(pair)")
    #expect(try await reverted(applied.run, on: server) == .reverted(conflicts: 0), "\(pair)")
    #expect(before.differences(to: try await image(of: table, on: server)) == [], "\(pair)")
  }

  /// Some of a batch's rows round to what they were.
  @Test(arguments: ["numeric(5,-2)", "numeric(12,2)"])
  func `V12: rows that are rounded to what they were are passed over`(type: String)
    async throws
  {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, v \(type));
        INSERT INTO t SELECT n, n * 100 FROM generate_series(1, 100) AS n
        """)
      let expected = try await server.psql("SELECT CAST(v + v * 1E-2 + 1E-5 AS \(type)) FROM t ORDER BY id")
      let changed = try await server.psql("SELECT count(*) FROM t WHERE CAST(v + v * 1E-2 + 1E-5 AS \(type)) <> v")
      let applied = try await migrated("batch: b\nsource: t\nset: {v: v + v * 1E-2 + 1E-5}", on: server, batchSize: 30)
      #expect(applied.isComplete)
      #expect(["\(applied.counts.changed)"] == changed.first)
      #expect(try await server.psql("SELECT v FROM t ORDER BY id") == expected)
    }
  }

  /// Of two columns one is compared by its image, and the other's zeros behind the point belong to that.
  @Test func `V12: a number is the same beside a text, too`() async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, v numeric(10,2), name text);
        INSERT INTO t SELECT n, n / 10.0, 'a' FROM generate_series(1, 20) AS n
        """)
      let yaml = """
        batch: both
        source: t
        set:
          v: round(v, 1)
          name: lower(name)
        """
      let applied = try await migrated(yaml, on: server, batchSize: 7)
      #expect(applied.counts.changed == 0)
    }
  }

  @Test func `C20 V12: applied again it writes nothing`() async throws {
    try await withLedger { server in
      try await server.psql(
        "CREATE TABLE t (id integer PRIMARY KEY, v numeric); INSERT INTO t SELECT n, n FROM generate_series(1, 50) AS n"
      )
      let yaml = "batch: double\nsource: t\nset: {v: id * 2.0}"
      #expect(try await migrated(yaml, on: server, batchSize: 7).counts.changed == 50)
      let places = try await server.psql("SELECT ctid, xmin FROM t ORDER BY id")
      let again = try await migrated(yaml, on: server, batchSize: 7)
      #expect(again.counts.read == 50)
      #expect(again.counts.changed == 0)
      #expect(try await server.psql("SELECT ctid, xmin FROM t ORDER BY id") == places)
    }
  }
}
