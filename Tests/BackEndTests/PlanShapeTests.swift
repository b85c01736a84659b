import MigrateLedger
import MigratePlan
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// A session keeps plans: of the ledger's functions, of the table's triggers, of functions in the definition's SQL. What they were
/// made for changes between two of its batches.
@Suite struct `A plan that a session has kept` {
  struct Change: CustomTestStringConvertible {
    let testDescription: String
    let change: String

    static let all = [
      Change(testDescription: "a column that comes", change: "ALTER TABLE products ADD late integer DEFAULT 7"),
      Change(
        testDescription: "a column that writes the table anew",
        change: "ALTER TABLE products ADD late uuid DEFAULT gen_random_uuid()"),
      Change(testDescription: "a column that goes", change: "ALTER TABLE products DROP spare"),
      Change(
        testDescription: "a wider type that a trigger reads",
        change: "ALTER TABLE products ALTER note TYPE text, ALTER stock TYPE bigint"),
      Change(
        testDescription: "a wider type that a function of the definition reads",
        change: "ALTER TABLE rates ALTER rate TYPE numeric"),
      Change(
        testDescription: "columns of the ledger's own tables",
        change: """
          BEGIN;
          ALTER TABLE migrate.runs ADD late integer; ALTER TABLE migrate.statements ADD late integer;
          ALTER TABLE migrate.slices ADD late integer; ALTER TABLE migrate.batches ADD late integer;
          COMMIT
          """),
    ]

    /// Old values are not computed, so nobody reads the rates on the way back.
    static let metOnTheWayBack = all.filter { !$0.change.contains("rates") }
  }

  /// From its second batch on a run waits before the first row for as long as somebody holds advisory lock 7, and so does a revert at
  /// once. A row whose stock is 13 is refused.
  private static let table = """
    CREATE TABLE products (id bigint PRIMARY KEY, price numeric NOT NULL, stock integer, note varchar(20), spare text);
    INSERT INTO products SELECT n, n, CASE WHEN n % 7 = 5 THEN 13 ELSE n * 20 END, 'note ' || n, 'x' FROM generate_series(1, 60) AS n;
    CREATE TABLE rates (rate integer);
    INSERT INTO rates VALUES (3);
    CREATE FUNCTION rated(price numeric) RETURNS numeric LANGUAGE plpgsql STABLE SET search_path = public AS $$
    DECLARE
      r record;
    BEGIN
      SELECT * INTO r FROM rates;
      RETURN price * r.rate;
    END $$;
    CREATE TABLE seen (id bigint, note text, stock bigint);
    CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
    DECLARE
      was record := OLD;
    BEGIN
      IF was.stock = 13 AND current_setting('migrate.lenient', true) IS NULL THEN
        RAISE EXCEPTION 'not this one';
      END IF;
      INSERT INTO seen VALUES (NEW.id, was.note, NEW.stock);
      RETURN NEW;
    END $$;
    CREATE TRIGGER see BEFORE UPDATE ON products FOR EACH ROW EXECUTE FUNCTION see();
    CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF (SELECT max(ordinal) FROM migrate.batches) >= 1 THEN PERFORM pg_advisory_xact_lock_shared(7); END IF;
      RETURN NULL;
    END $$;
    CREATE TRIGGER gate BEFORE UPDATE ON products FOR EACH STATEMENT EXECUTE FUNCTION gate();
    """

  private static let definition = "batch: prices\nsource: products\nset: {price: rated(price)}\nsearch_path: [public]\n"
  private static let prices = "SELECT id, price FROM products ORDER BY id"
  private static let expected = """
    SELECT id, CASE WHEN stock = 13 THEN price ELSE price * 3 END FROM products ORDER BY id
    """

  /// P22; on the way there, and in a session of its own on the way back.
  @Test(arguments: BackEnd.allCases, Change.all)
  func `P22: fits the batch behind what has changed`(backEnd: BackEnd, change: Change) async throws {
    try await withLedger { server in
      try await server.psql(Self.table + "DELETE FROM products WHERE stock = 13")
      let (before, expected) = (try await server.rows(Self.prices), try await server.rows(Self.expected))
      let compiled = try await Compiled(Self.definition, on: server, batchSize: 10)
      let told = try await TableChange.between(change.change, on: server) {
        try await backEnd.apply(compiled, on: server)
      }
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.rows(Self.prices) == expected)
      #expect(
        try await server.rows("SELECT count(*), count(DISTINCT id) FROM seen") == ["\(before.count)|\(before.count)"])
      #expect(try await Client.verify(1, on: server).holds)
      #expect(try await backEnd.revert(compiled, on: server).isDone)
      #expect(try await server.rows(Self.prices) == before)
    }
  }

  /// P22
  @Test(arguments: BackEnd.allCases, Change.metOnTheWayBack)
  func `P22: fits the batch that is taken back behind what has changed`(
    backEnd: BackEnd, change: Change
  ) async throws {
    try await withLedger { server in
      try await server.psql(Self.table + "DELETE FROM products WHERE stock = 13")
      let before = try await server.rows(Self.prices)
      let compiled = try await Compiled(Self.definition, on: server, batchSize: 10)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      let told = try await TableChange.between(change.change, on: server) {
        try await backEnd.revert(compiled, on: server)
      }
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.rows(Self.prices) == before)
    }
  }

  /// P22; each row is tried by a statement that is prepared, and prepared again in the batch behind.
  @Test(arguments: BackEnd.allCases, Change.all)
  func `P22: fits while rows at fault are looked for, and no other row goes to quarantine`(
    backEnd: BackEnd, change: Change
  ) async throws {
    try await withLedger { server in
      try await server.psql(Self.table)
      let (before, expected) = (try await server.rows(Self.prices), try await server.rows(Self.expected))
      let compiled = try await Compiled(Self.definition + "on_error: continue\n", on: server, batchSize: 10)
      let told = try await TableChange.between(change.change, on: server) {
        try await backEnd.apply(compiled, on: server)
      }
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.rows(Self.prices) == expected)
      #expect(
        try await server.rows("SELECT count(*), min(sqlstate), max(sqlstate) FROM migrate.rejects") == ["8|P0001|P0001"]
      )
      #expect(try await Client.verify(1, on: server).holds)
      #expect(try await backEnd.revert(compiled, on: server).isDone)
      #expect(try await server.rows(Self.prices) == before)
    }
  }
}
