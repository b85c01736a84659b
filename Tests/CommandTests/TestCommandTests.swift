import MigrateJSON
import MigratePostgres
import TestSupport
import Testing

/// `migrate test`: rows that a definition is given, and what becomes of them.
@Suite struct `Tests of a definition` {
  private static let tables = """
    CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, level text, n numeric(8,2) NOT NULL DEFAULT 0 CHECK (n < 1000));
    INSERT INTO users (name, level, n) SELECT 'old ' || n, 'none', n FROM generate_series(1, 5) AS n;
    CREATE TABLE orders (id bigint PRIMARY KEY, user_id bigint NOT NULL REFERENCES users, total numeric(8,2) NOT NULL);
    CREATE INDEX ON orders (user_id);
    CREATE TABLE kept (id bigint PRIMARY KEY, user_id bigint NOT NULL, total numeric(8,2) NOT NULL, tags text[], doc json);
    CREATE TABLE audit (at timestamptz NOT NULL DEFAULT now(), what text NOT NULL);
    CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO audit (what) VALUES (NEW.name || ' is ' || coalesce(NEW.level, 'nothing')); RETURN NEW; END $$;
    CREATE TRIGGER noted BEFORE UPDATE OF level ON users FOR EACH ROW EXECUTE FUNCTION noted();
    ANALYZE;
    """
  private static let levels = """
    source: public.users
    params: {gold: {type: numeric, default: 100}}
    join:
      o: {query: "SELECT user_id, sum(total) AS total FROM orders GROUP BY user_id", match: o.user_id = users.id, missing: null}
    set:
      level: CASE WHEN o.total >= :gold THEN 'gold' ELSE 'none' END
    validation: {has a name: name <> ''}

    """
  private static let given = """
    given:
      public.users:
        - {id: 101, name: A}
        - {id: 102, name: B}
      public.orders:
        - {id: 1, user_id: 101, total: 60}
        - {id: 2, user_id: 101, total: 40.00}
        - {id: 3, user_id: 102, total: 99.99}

    """

  /// - Parameter test: what stands under the name of the test.
  private func run(
    _ definition: String, _ test: String, _ words: String..., expecting status: Int32 = 0, behind: String = "",
    and others: String = ""
  ) async throws -> String {
    var out = ""
    try await withProject { project in
      try await project.server.psql("DROP SCHEMA IF EXISTS migrate CASCADE;" + Self.tables + behind)
      let lines = test.split(separator: "\n").map { "    \($0)" }.joined(separator: "\n")
      try project.write("batch: tried\n\(definition)tests:\n  it:\n\(lines)\n\(others)", to: "migrations/tried.yaml")
      let before = try await project.value(Self.everything)
      let told = try await project.start(["test", "tried", "--yes"] + words, environment: [:]).finish()
      #expect(told.status == status, "\(told)")
      // Nothing of it stays, a ledger that was not there included.
      #expect(try await project.value(Self.everything) == before)
      #expect(try await project.value("SELECT to_regnamespace('migrate') IS NULL") == "t")
      out = told.out
    }
    return out
  }

  private static let everything = """
    SELECT concat((SELECT string_agg(CAST(t AS text), ',' ORDER BY id) FROM users AS t), (SELECT count(*) FROM orders),
                  (SELECT count(*) FROM kept), (SELECT count(*) FROM audit))
    """

  @Test(arguments: ["", "publish: at_once\n", "batch_size: 1\nparallel: 3\n", "on_error: continue\n"])
  func `pass when the rows become what is expected, and triggers do what they do`(more: String) async throws {
    let expected = """
      expected:
        public.users:
          - {id: 102, level: none, n: 0}
          - {id: 101, level: gold, name: A}
        public.audit:
          - {what: A is gold}
          - {what: B is none}
      """
    let told = try await run(Self.levels + more, Self.given + expected)
    #expect(told == "ok: tried: it\n1 test, 0 failed\n")
  }

  @Test func `take values of parameters`() async throws {
    let expected =
      "params: {gold: 50}\nexpected:\n  public.users:\n    - {id: 101, level: gold}\n    - {id: 102, level: gold}"
    #expect(try await run(Self.levels, Self.given + expected) == "ok: tried: it\n1 test, 0 failed\n")
  }

  @Test func `name each row that is missing, and each that nobody expects`() async throws {
    let told = try await run(
      Self.levels,
      Self.given + "expected:\n  public.users:\n    - {id: 101, level: gold}\n    - {id: 102, level: gold}",
      expecting: 1)
    #expect(
      told == """
        not ok: tried: it
          migrations/tried.yaml:22: public.users: no row like this one is there
          migrations/tried.yaml:20: public.users: unexpected {"id":102,"level":"none"}
        1 test, 1 failed

        """)
  }

  @Test func `expect rows in quarantine, with a reason, and no others`() async throws {
    let rows = "given:\n  public.users:\n    - {id: 101, name: ''}\n    - {id: 102, name: B}\n"
    let expected = "expected:\n  public.users:\n    - {id: 101, level: null}\n    - {id: 102, level: none}\n"
    #expect(try await run(Self.levels, rows + expected + "rejects:\n  - {id: 101, reason: a name}").hasPrefix("ok"))
    let silent = try await run(Self.levels, rows + expected, expecting: 1)
    #expect(silent.contains("tried.yaml:10: (101) is in quarantine, unexpected: has a name"), "\(silent)")
    let wrong = try await run(
      Self.levels, rows + expected + "rejects:\n  - {id: 101, reason: an address}", expecting: 1)
    #expect(wrong.contains("no row like this one is in quarantine"), "\(wrong)")
  }

  @Test func `meet the constraints of the table`() async throws {
    let rows =
      "given:\n  public.users:\n    - {id: 101, name: A, n: 995}\n    - {id: 102, name: B, n: 5}\nexpected:\n  public.users:\n"
    let add = "source: public.users\nset: {n: n + 10}\n"
    let stops = try await run(add, rows + "    - {id: 101}\n    - {id: 102, n: 15}", expecting: 1)
    #expect(stops.contains("the run fails: new row for relation \"users\" violates check constraint"), "\(stops)")
    let goesOn = try await run(
      add + "on_error: continue\n",
      rows + "    - {id: 101, n: 995.00}\n    - {id: 102, n: 15}\nrejects:\n  - {id: 101, reason: users_n_check}")
    #expect(goesOn.hasPrefix("ok"), "\(goesOn)")
    let given = try await run(add, rows + "    - {id: 101}".replacing("101", with: "1"), expecting: 1)
    #expect(given.contains("the run fails"), "\(given)")
    let refused = try await run(
      add, "given:\n  public.users:\n    - {id: 101, name: A, n: 1000}\nexpected: {}", expecting: 1)
    #expect(refused.contains("public.users: this row is refused: new row for relation"), "\(refused)")
  }

  @Test func `follow rows into other tables, of every type`() async throws {
    let moves = """
      source: public.orders
      where: total > 10
      steps:
        - insert: public.kept
          values:
            id: id
            user_id: user_id
            total: total
            tags: ARRAY['a', 'b']
            doc: json_build_object('n', total)
        - delete: public.orders

      """
    let test = """
      given:
        public.users: [{id: 101, name: A}]
        public.orders:
          - {id: 1, user_id: 101, total: 10.5}
          - {id: 2, user_id: 101, total: 10}
      expected:
        public.orders: [{id: 2}]
        public.kept:
          - {id: 1, total: 10.50, tags: [a, b], doc: {n: 10.5}}
      """
    #expect(try await run(moves, test) == "ok: tried: it\n1 test, 0 failed\n")
    let gone = try await run(moves, test.replacing("[{id: 2}]", with: "[]"), expecting: 1)
    #expect(gone.contains("public.orders: unexpected {\"id\":2,"), "\(gone)")
  }

  @Test func `read a source that is read once as far as the rows that are given reach`() async throws {
    let bills = """
      source:
        query: SELECT user_id, sum(total) AS total FROM orders GROUP BY user_id
        key: user_id
      insert: public.kept
      values: {id: user_id, user_id: user_id, total: total}

      """
    let test = Self.given + "expected:\n  public.kept:\n    - {id: 101, total: 100}\n    - {id: 102, total: 99.99}"
    let told = try await run(
      bills, test, behind: "INSERT INTO orders VALUES (7, 1, 5); INSERT INTO kept VALUES (1, 1, 5);")
    #expect(told == "ok: tried: it\n1 test, 0 failed\n")
  }

  /// A rule of the table that holds for what is written, and not for what was there: it came NOT VALID, or later.
  @Test func `fail where the way back is barred`() async throws {
    let barred = """
      CREATE FUNCTION barred() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN IF NEW.total < OLD.total THEN RAISE 'no less than before'; END IF; RETURN NEW; END $$;
      CREATE TRIGGER barred BEFORE UPDATE ON kept FOR EACH ROW EXECUTE FUNCTION barred();
      """
    let test = "given:\n  public.kept: [{id: 1, user_id: 1, total: 5}]\nexpected:\n  public.kept: [{id: 1, total: 6}]"
    let told = try await run(
      "source: public.kept\nset: {total: total + 1}\n", test, expecting: 1, behind: barred)
    #expect(told.contains("a revert fails: no less than before"), "\(told)")
  }

  @Test func `are refused by line where they name what is not there`() async throws {
    let table = try await run(Self.levels, "given: {public.user: [{id: 1}]}\nexpected: {}", expecting: 1)
    #expect(table.contains("migrations/tried.yaml:11: there is no table public.user"), "\(table)")
    let column = try await run(
      Self.levels, Self.given + "expected: {public.users: [{id: 101, levl: gold}]}", expecting: 1)
    #expect(column.contains("public.users has no column \"levl\""), "\(column)")
  }

  /// Each of them is a problem of its test, at its line, and those behind it are tried.
  @Test(arguments: [
    (
      "expected:\n  public.users:\n    - {id: 99999999999999999999, level: gold}",
      "tried.yaml:21: public.users: value \"99999999999999999999\" is out of range"
    ),
    ("expected:\n  public.viewed: [{id: 1}]", "tried.yaml:20: there is no table public.viewed"),
    ("params: {gold: much}\nexpected: {}", "tried.yaml:10: "), ("params: {silver: 1}\nexpected: {}", "tried.yaml:10: "),
    (
      "expected: {}\nrejects:\n  - {name: A}",
      "tried.yaml:21: a row in quarantine is described by its key, (id), and by `reason`"
    ),
  ])
  func `tell what is wrong with themselves`(test: String, says: String) async throws {
    let view = "CREATE VIEW viewed AS SELECT * FROM users;"
    let other = "  other:\n    given: {}\n    expected: {}\n"
    let told = try await run(Self.levels, Self.given + test, expecting: 1, behind: view, and: other)
    #expect(told.contains(says), "\(told)")
    #expect(told.hasSuffix("ok: tried: other\n2 tests, 1 failed\n"), "\(told)")
  }

  /// What our own SQL calls a row no column is called.
  @Test func `hold for columns of any name`() async throws {
    let odd = """
      CREATE TABLE odd (id integer PRIMARY KEY, t jsonb, r integer, s integer, b integer, f integer, e integer, v integer, row integer, found integer);
      """
    let test = "given:\n  public.odd: [{id: 1, t: {id: 1, v: 77}, v: 5}]\nexpected:\n  public.odd:\n    - "
    let set = "source: public.odd\nset: {v: v + 1}\n"
    #expect(try await run(set, test + "{id: 1, v: 6, r: null, t: {id: 1, v: 77}}", behind: odd).hasPrefix("ok"))
    #expect(
      try await run(set, test + "{id: 1, v: 77}", expecting: 1, behind: odd).contains("unexpected {\"v\":6,\"id\":1}"))
    let query =
      "source: {query: 'SELECT id, s, b FROM odd', key: id}\ninsert: public.kept\nvalues: {id: id, user_id: 1, total: 5}\n"
    #expect(
      try await run(query, "given:\n  public.odd: [{id: 1, s: 5}]\nexpected:\n  public.kept: [{id: 1}]", behind: odd)
        .hasPrefix("ok"))
  }

  @Test func `leave columns alone that they do not name`() async throws {
    let strict = """
      CREATE DOMAIN named AS text NOT NULL CHECK (VALUE <> '');
      CREATE TABLE strict (id numeric(8,2) PRIMARY KEY, a named DEFAULT 'x', c char(4), v numeric(8,2));
      """
    let set = "source: public.strict\nset: {v: v / 3, c: 'qq'}\nvalidation: {small: v < 100}\n"
    let given = "given:\n  public.strict: [{id: 1, v: 1}, {id: 2, v: 1000}, {id: 3, v: 3000}]\n"
    let right =
      "expected:\n  public.strict:\n    - {id: 1, v: 0.33, c: qq}\n    - {id: 2}\n    - {id: 3}\nrejects:\n  - {reason: small}\n  - {id: 2}"
    #expect(try await run(set, given + right, behind: strict).hasPrefix("ok"))
    let wrong = try await run(set, given + right.replacing("0.33", with: "0.334"), expecting: 1, behind: strict)
    #expect(wrong.contains("no row like this one is there"), "\(wrong)")
  }

  @Test func `tell when rows are gone that were there before`() async throws {
    let takes = "source: public.orders\ndelete: public.kept\nmatch: kept.user_id = batch.user_id\n"
    let test = """
      given:
        public.users: [{id: 101, name: A}]
        public.orders: [{id: 1, user_id: 101, total: 5}]
        public.kept: [{id: 50, user_id: 101, total: 1}]
      expected:
        public.kept: []
      """
    #expect(try await run(takes, test).hasPrefix("ok"))
    let told = try await run(takes, test, expecting: 1, behind: "INSERT INTO kept VALUES (7, 101, 1), (8, 102, 1);")
    #expect(told.contains("public.kept: 1 of the rows that were there before is gone"), "\(told)")
  }

  /// In whatever way they came there.
  @Test func `apply it to all rows that have come into the source`() async throws {
    let more = """
      CREATE FUNCTION more() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN IF NEW.total < 0 THEN RETURN NULL; END IF; INSERT INTO kept VALUES (NEW.id + 1000, 1, NEW.total); RETURN NEW; END $$;
      CREATE TRIGGER more BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION more();
      """
    let set = "source: public.kept\nset: {total: total + 1}\n"
    let test =
      "given:\n  public.users: [{id: 101, name: A}]\n  public.orders: [{id: 1, user_id: 101, total: 5}]\nexpected:\n  public.kept: [{id: 1001, total: 6}]"
    #expect(try await run(set, test, behind: more).hasPrefix("ok"))
    let kept = try await run(set, test.replacing("total: 5", with: "total: -5"), expecting: 1, behind: more)
    #expect(kept.contains("tried.yaml:8: public.orders: a trigger keeps this row from being inserted"), "\(kept)")
  }

  @Test func `fail where more rows are rejected than a run may have`() async throws {
    let rows =
      "given:\n  public.users:\n    - {id: 101, name: ''}\n    - {id: 102, name: ''}\nexpected: {}\nrejects:\n  - {id: 101}\n  - {id: 102}"
    let told = try await run(Self.levels + "max_rejects: 1\n", rows, expecting: 1)
    #expect(told.contains("the run fails: 2 rows are in quarantine, more than 1"), "\(told)")
  }

  @Test func `are told as JSON`() async throws {
    let told = try await run(
      Self.levels, Self.given + "expected:\n  public.users:\n    - {id: 101, level: gold}", "--json", expecting: 1)
    let lines = try told.split(separator: "\n").map { try JSON(String($0)) }
    #expect(lines.first?["event"]?.text == "tested")
    #expect(lines.first?["problems"]?.elements.count == 1)
    #expect(lines.last?["failed"]?.integer == 1)
  }

  @Test func `are none where there are none`() async throws {
    try await withProject { project in
      let told = try await project.start(["test", "--yes"], environment: [:]).finish()
      #expect(told.status == 0 && told.err.contains("no tests"), "\(told)")
    }
  }
}
