import MigrateLedger
import MigratePostgres
import MigrateRunner
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// A batch with so many rows at fault that each is tried by itself.
@Suite struct `Many rows that the database refuses` {
  /// How the server refuses them, and whether it shows the row.
  enum Refusal: String, CaseIterable, Sendable {
    case overflow, trigger, assertion, foreignKey, deferred

    /// Rows whose id is a multiple of seven are bad. Their keys have two columns, and the letter comes composed and decomposed.
    func table(rows: Int) -> String {
      """
      CREATE TABLE targets (v integer PRIMARY KEY);
      INSERT INTO targets SELECT n FROM generate_series(1, 1000 + \(rows)) AS n WHERE n < 1000 OR (n - 1000) % 7 <> 0;
      CREATE TABLE items (letter text COLLATE "C", id integer, v smallint, w integer, PRIMARY KEY (letter, id));
      INSERT INTO items
      SELECT CASE WHEN n % 2 = 0 THEN E'\\u00e9' ELSE E'e\\u0301' END, n,
             CASE WHEN \(self == .overflow) AND n % 7 = 0 THEN 32767 ELSE n END, n
      FROM   generate_series(1, \(rows)) AS n;
      CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        \(self == .assertion ? "ASSERT NEW.id % 7 <> 0" : "IF NEW.id % 7 = 0 THEN RAISE EXCEPTION 'not this one'; END IF");
        RETURN NEW;
      END $$;
      \(constraint)
      """
    }

    private var constraint: String {
      switch self {
      case .overflow: ""
      case .trigger, .assertion: "CREATE TRIGGER refuse BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION refuse();"
      case .foreignKey: "ALTER TABLE items ADD FOREIGN KEY (w) REFERENCES targets NOT VALID;"
      case .deferred:
        "ALTER TABLE items ADD FOREIGN KEY (w) REFERENCES targets DEFERRABLE INITIALLY DEFERRED NOT VALID;"
      }
    }

    var sqlState: String {
      switch self {
      case .overflow: "22003"
      case .trigger: "P0001"
      // What PL/pgSQL leaves out of OTHERS.
      case .assertion: "P0004"
      case .foreignKey, .deferred: "23503"
      }
    }
  }

  private static let definition = "batch: items\nsource: items\nset: {v: v + 1, w: w + 1000}\non_error: continue"
  private static let all = "SELECT letter, id, v, w FROM items ORDER BY letter, id"

  @Test(arguments: BackEnd.allCases, Refusal.allCases)
  func `go to quarantine, and the others are done`(backEnd: BackEnd, refusal: Refusal) async throws {
    for size in [30, 280] {
      try await withLedger { server in
        try await server.psql(refusal.table(rows: 420))
        let before = try await server.rows(Self.all)
        let compiled = try await Compiled(Self.definition, on: server, batchSize: size)
        let told = try await backEnd.apply(compiled, on: server)
        #expect(told.isDone, "\(told.text)")
        #expect(
          try await server.rows("SELECT count(*), bool_and(id % 7 = 0) FROM items WHERE w = id") == ["60|t"])
        #expect(
          try await server.rows("SELECT count(*), min(sqlstate), max(sqlstate) FROM migrate.rejects")
            == ["60|\(refusal.sqlState)|\(refusal.sqlState)"])
        #expect(
          try await server.rows("SELECT sum(rows_read), sum(rows_changed), sum(rows_rejected) FROM migrate.batches")
            == ["420|360|60"])
        // Each row at fault by itself, and one part for what stands between two of them: halving would leave many more. A batch of 280
        // is halved at first, six times at most.
        let parts = try await server.value("SELECT count(*) FROM migrate.batches").flatMap { Int($0) } ?? 0
        #expect(parts <= 2 * 60 + 420 / size + 14, "\(parts)")
        #expect(try await Client.verify(1, on: server).holds)
        #expect(try await backEnd.revert(compiled, on: server).isDone)
        #expect(try await server.rows(Self.all) == before)
      }
    }
  }

  /// Few of many cost less by halving, which leaves its parts behind.
  @Test(arguments: BackEnd.allCases, [[1], [2999, 3000], [700, 1500]])
  func `are halved when they are few`(backEnd: BackEnd, bad: [Int]) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE items (id integer PRIMARY KEY, v integer);
        INSERT INTO items SELECT n, CASE WHEN n = ANY ('{\(bad.map(String.init).joined(separator: ","))}') THEN 2147483647 ELSE n END
        FROM   generate_series(1, 3000) AS n
        """)
      let before = try await server.rows("SELECT id, v FROM items ORDER BY id")
      let compiled = try await Compiled(
        "batch: items\nsource: items\nset: {v: v + 1}\non_error: continue", on: server, batchSize: 3_000)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      #expect(
        try await server.rows("SELECT key[1] FROM migrate.rejects ORDER BY key[1]::integer") == bad.map(String.init))
      #expect(try await server.value("SELECT count(*) FROM items WHERE v = id + 1") == String(3_000 - bad.count))
      let parts = try await server.value("SELECT count(*) FROM migrate.batches").flatMap { Int($0) } ?? 0
      #expect(parts > 2 * bad.count + 1, "\(parts)")
      #expect(try await Client.verify(1, on: server).holds)
      #expect(try await backEnd.revert(compiled, on: server).isDone)
      #expect(try await server.rows("SELECT id, v FROM items ORDER BY id") == before)
    }
  }

  /// No rollback takes a prepared statement back, and behind a pooler the next one may meet it.
  @Test func `are found where a search before was broken off`() async throws {
    try await withLedger { server in
      try await server.psql(Refusal.overflow.table(rows: 60))
      let compiled = try await Compiled(Self.definition, on: server, batchSize: 30)
      let told = try await Psql.apply(compiled, on: server, behind: "PREPARE migrate_change AS SELECT 1;")
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.value("SELECT count(*) FROM migrate.rejects") == "8")
    }
  }

  /// The row before the one that the server shows is then further back than the batch.
  @Test(arguments: ["id <= 500", "id <= 612", "id BETWEEN 5 AND 612", "id = 612"])
  func `are cut from where the batch begins, also when what stood before is gone`(gone: String) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE items (id integer PRIMARY KEY, v integer CHECK (v <> 5000));
        INSERT INTO items SELECT n, n FROM generate_series(1, 2000) AS n
        """)
      let compiled = try await Compiled(
        "batch: items\nsource: items\nset: {v: CASE id WHEN 613 THEN 5000 ELSE v + 1 END}\non_error: continue",
        on: server, batchSize: 500)
      let control = RunControl()
      _ = try await Client.apply(compiled, on: server, control: control) { event in
        if case .batch = event { control.requestStop() }
      }
      try await server.psql("DELETE FROM items WHERE \(gone)")
      #expect(try await Client.apply(compiled, on: server).isDone)
      #expect(try await server.rows("SELECT key FROM migrate.rejects") == ["{613}"])
      #expect(try await server.value("SELECT count(*) FROM items WHERE v <> id + 1") == "1")
      #expect(try await Client.verify(1, on: server).holds)
    }
  }

  /// What is left of a batch behind the parts that one transaction may have was cut for as many rows as were asked for then.
  @Test func `are counted as they are when the run is tuned to smaller batches meanwhile`() async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE t (id integer PRIMARY KEY, n integer CHECK (n < 100));
        INSERT INTO t SELECT n, CASE WHEN n <= 500 AND n % 5 = 0 THEN 50 ELSE 1 END FROM generate_series(1, 600) AS n;
        ANALYZE t
        """)
      let compiled = try await Compiled(
        "batch: t\nsource: t\nset: {n: n * 10}\nundo: none\non_error: continue", on: server, batchSize: 600)
      let told = try await Client.apply(compiled, on: server) { event in
        guard case .batch(let record) = event, record.place.ordinal == 1 else { return }
        _ = try? Connection(to: server).execute("SELECT migrate.tune(1, _batch_size => '5')")
      }
      #expect(told.isDone, "\(told.text)")
      #expect(
        try await server.rows(
          """
          SELECT sum(rows_read), sum(rows_changed), sum(rows_rejected), min(rows_unchanged) FROM migrate.batches
          """)
          == ["600|500|100|0"])
      #expect(try await server.rows("SELECT n, count(*) FROM t GROUP BY n ORDER BY n") == ["10|500", "50|100"])
      #expect(try await Client.verify(1, on: server).holds)
    }
  }
}
