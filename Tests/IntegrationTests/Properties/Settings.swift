import Migrate
import MigrateTestSupport
import TestSupport
import Testing

@Suite struct `The same text means the same, whatever the role has set` {
  static let table = """
    CREATE TABLE public.t (
      id integer PRIMARY KEY, n numeric, f double precision, at timestamptz, d date, s text, b bytea, i interval, c1 text, c2 text,
      c3 text, c4 text, c5 timestamp, c6 text, c7 text, c8 text);
    INSERT INTO public.t
    SELECT n, n * 1000 + 0.5, 0.1::float8 * n, timestamptz '2025-11-02 05:30:00+00' + n * interval '1 hour', date '2026-03-02' + n,
           'Word ' || n, decode(md5(n::text), 'hex'), n * interval '1 day 02:03:04'
    FROM   generate_series(1, 20) AS n
    """

  static let assignments = [
    ("c1", "to_char(n, '9G999D9')"), ("c2", "f::text"), ("c3", "at::text || d::text"), ("c4", "lower(s) || 'a\\b'"),
    ("c5", "at"), ("c6", "b::text"), ("c7", "i::text"), ("c8", "(n + 1)::text || upper(s)"),
  ]

  static let yaml = """
    batch: b
    source: t
    where: lower(s) <> 'word 3' AND n > 0
    set:
    \(assignments.map { "  \($0.0): |\n    \($0.1)" }.joined(separator: "\n"))
    """

  static let update =
    "UPDATE t SET \(assignments.map { "\($0.0) = \($0.1)" }.joined(separator: ", ")) WHERE lower(s) <> 'word 3' AND n > 0"

  /// A role with those settings; it lives in the whole cluster, so each test has its own.
  private func role(_ name: String, _ settings: [String], on server: Server) async throws -> Server {
    let lines = settings.map { "ALTER ROLE \(name) SET \($0);" }.joined(separator: "\n")
    try await server.psql("DROP ROLE IF EXISTS \(name); CREATE ROLE \(name) LOGIN SUPERUSER; \(lines)")
    return server.setting("user", name)
  }

  /// S01 C17 V08 V09 V10 V14
  @Test func `S01 C17 V08 V09 V10 V14: not even a hostile one`() async throws {
    try await withLedger { server in
      try await server.psql(Self.table)
      // What shadows the names when the search_path of the role is taken.
      try await server.psql(
        """
        CREATE SCHEMA evil;
        CREATE TABLE evil.t (LIKE public.t INCLUDING ALL);
        INSERT INTO evil.t SELECT * FROM public.t;
        CREATE FUNCTION evil.lower(text) RETURNS text LANGUAGE sql AS $$ SELECT 'word 3' $$;
        CREATE FUNCTION evil.upper(text) RETURNS text LANGUAGE sql AS $$ SELECT 'evil' $$;
        CREATE FUNCTION evil.add(numeric, integer) RETURNS numeric LANGUAGE sql AS $$ SELECT -1.0 $$;
        CREATE OPERATOR evil.+ (FUNCTION = evil.add, LEFTARG = numeric, RIGHTARG = integer);
        CREATE FUNCTION evil.count(text) RETURNS bigint LANGUAGE sql AS $$ SELECT 666::bigint $$;
        CREATE FUNCTION evil.to_char(numeric, text) RETURNS text LANGUAGE sql AS $$ SELECT 'evil' $$
        """)
      let before = try await image(of: "public.t", on: server)
      let expected = try await image(
        of: "public.t", on: server, after: "SET LOCAL lc_numeric = 'C'; \(Self.update)")
      let evil = try await image(of: "evil.t", on: server)
      let hostile = try await role(
        "hostile",
        [
          "timezone = 'Asia/Kathmandu'", "datestyle = 'SQL, DMY'", "intervalstyle = 'sql_standard'",
          "extra_float_digits = 0",
          "search_path = evil, pg_temp, pg_catalog, public", "default_transaction_isolation = 'serializable'",
          "standard_conforming_strings = off", "backslash_quote = on", "escape_string_warning = off",
          "bytea_output = 'escape'",
          "statement_timeout = '2s'", "idle_in_transaction_session_timeout = '2s'", "row_security = off",
          "array_nulls = off",
          "quote_all_identifiers = on", "xmloption = 'document'", "default_transaction_deferrable = on",
          "check_function_bodies = off",
        ], on: server)
      let applied = try await migrated(Self.yaml, on: hostile, batchSize: 6)
      #expect(applied.outcome == .completed(leftBehind: 0))
      #expect(expected.differences(to: try await image(of: "public.t", on: server)) == [])
      #expect(evil.differences(to: try await image(of: "evil.t", on: server)) == [])
      #expect(try await reverted(applied.run, on: hostile) == .reverted(conflicts: 0))
      #expect(before.differences(to: try await image(of: "public.t", on: server)) == [])
    }
  }

  /// P08
  @Test func `P08: a statement_timeout of the role does not end a batch that takes longer`() async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, v integer);
        INSERT INTO t SELECT n, n FROM generate_series(1, 10) AS n;
        CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.06); RETURN NULL; END $$;
        CREATE TRIGGER slowly AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION slowly()
        """)
      // The ledger's own statements are short; a slow machine is given more for them.
      var way = Way()
      let hasty = try await role("hasty", [], on: server)
      way.begun = { _ in try Connection(to: server).execute("ALTER ROLE hasty SET statement_timeout = '500ms'") }
      let applied = try await migrated("batch: b\nsource: t\nset: {v: 0}", on: hasty, way)
      #expect(applied.outcome == .completed(leftBehind: 0))
    }
  }

  /// C18
  @Test func `C18: a role that may only read is told so, nothing has begun, and no row is to blame`() async throws {
    try await withDatabase { server in
      try await server.psql(Self.table)
      let before = try await image(of: "public.t", on: server)
      let reading = try await role("reading", ["default_transaction_read_only = on"], on: server)
      // Plan needs no more.
      #expect(try await compiled(Self.yaml, on: reading).plan.definition == "b")
      let refused = await #expect(throws: Refused.self) { try await migrated(Self.yaml, on: reading) }
      #expect(refused?.sqlState == "25006")
      #expect(try await server.psql("SELECT to_regnamespace('migrate')") == [[nil]])
      #expect(before.differences(to: try await image(of: "public.t", on: server)) == [])
    }
  }

  /// C18: it comes while the run is on its way.
  @Test func `C18: in the middle of a run nothing is lost, and another role goes on`() async throws {
    try await withLedger { server in
      try await server.psql(Self.table)
      let stopped = try await migrated(Self.yaml, on: server, batchSize: 6, stopAfter: 1)
      let reading = try await role("reading_later", ["default_transaction_read_only = on"], on: server)
      let refused = await #expect(throws: Refused.self) { try await resumed(stopped.run, on: reading) }
      #expect(refused?.sqlState == "25006")
      // Nor does another run begin that could not even write down why it stands.
      await #expect(throws: Refused.self) { try await migrated("batch: other\nsource: t\nset: {v: 1}", on: reading) }
      #expect(try await server.psql("SELECT count(*), max(state) FROM migrate.runs") == [["1", "paused"]])
      #expect(try await resumed(stopped.run, on: server) == .completed(leftBehind: 0))
    }
  }
}
