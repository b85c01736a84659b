import Foundation
import Migrate
import MigrateTestSupport
import TestSupport
import Testing

/// One statement of a batch as auto_explain has seen it run.
private struct Explained {
  let query: String
  /// The index of each node that has one, with its condition.
  let indexes: [(name: String, condition: String)]
  /// Pages of 8 kB that it has looked at in `t` and its indexes. The statement as a whole also reads the catalog, when others have made
  /// so many tables at the same time that the server has forgotten what it knew.
  let pages: Int
  let nodes: Set<String>

  init(_ json: Data) throws {
    guard let document = try JSONSerialization.jsonObject(with: json) as? [String: Any],
      let plan = document["Plan"] as? [String: Any]
    else { throw TestSupportError("no plan: \(String(decoding: json, as: UTF8.self))") }
    query = document["Query Text"] as? String ?? ""
    var pages = 0
    var indexes: [(String, String)] = []
    var nodes: Set<String> = []
    Self.walk(plan) { node in
      nodes.insert("\(node["Node Type"] ?? "") \(node["Relation Name"] ?? "")")
      if node["Relation Name"] as? String == "t" {
        pages = max(pages, (node["Shared Hit Blocks"] as? Int ?? 0) + (node["Shared Read Blocks"] as? Int ?? 0))
      }
      if let name = node["Index Name"] as? String { indexes.append((name, node["Index Cond"] as? String ?? "")) }
    }
    self.pages = pages
    self.indexes = indexes
    self.nodes = nodes
  }

  private static func walk(_ node: [String: Any], _ visit: ([String: Any]) -> Void) {
    visit(node)
    for child in node["Plans"] as? [[String: Any]] ?? [] { walk(child, visit) }
  }
}

@Suite struct `A batch costs its own rows, not those of the table` {
  /// The statements on `t` of a whole run, as they ran.
  private func explained(_ yaml: String, _ schema: String, batchSize: Int) async throws -> [Explained] {
    try await withLedger { server in
      try await server.psql(schema)
      try await server.psql(
        """
        DO $$ BEGIN
          EXECUTE format('ALTER DATABASE %I SET session_preload_libraries = auto_explain', current_database());
          EXECUTE format('ALTER DATABASE %I SET auto_explain.log_min_duration = 0', current_database());
          EXECUTE format('ALTER DATABASE %I SET auto_explain.log_analyze = on', current_database());
          EXECUTE format('ALTER DATABASE %I SET auto_explain.log_timing = off', current_database());
          EXECUTE format('ALTER DATABASE %I SET auto_explain.log_buffers = on', current_database());
          EXECUTE format('ALTER DATABASE %I SET auto_explain.log_format = json', current_database());
        END $$
        """)
      let log = try await TestCluster.shared.log
      let mark = try await log.mark(server)
      let applied = try await migrated(yaml, on: server, batchSize: batchSize)
      #expect(applied.outcome == .completed(leftBehind: 0))
      let plans = try await log.plans(
        application: "migrate run \(applied.run) \(applied.plan.definition)", since: mark, server)
      return try plans.map(Explained.init).filter { $0.query.contains("\"public\".\"t\"") }
    }
  }

  /// K26
  ///
  /// All eligible rows stand at the end, and an index leads to them: the planner may take that one where it is right, for the
  /// first batch, and must come back to the key. With the values in every plan no generic one can come after the fifth batch.
  @Test func `K26: from the first batch to the last, on rows that are not spread as the planner believes`() async throws
  {
    let statements = try await explained(
      "batch: skewed\nsource: t\nwhere: status = 'rare'\nset: {v: v + 1}",
      """
      CREATE TABLE t (id integer PRIMARY KEY, status text, v integer, pad text) WITH (autovacuum_enabled = off);
      INSERT INTO t SELECT n, CASE WHEN n > 54000 THEN 'rare' ELSE 'common' END, n, repeat('x', 100)
      FROM   generate_series(1, 60000) AS n;
      CREATE INDEX by_status ON t (status);
      ANALYZE t
      """, batchSize: 500)
    for statement in statements { #expect(!statement.nodes.contains("Seq Scan t"), "\(statement.query)") }
    for (kind, most) in [("SELECT CAST", 40), ("INSERT INTO migrate.undo", 60), ("UPDATE", 6_000)] {
      let batches = statements.filter { $0.query.hasPrefix(kind) && !$0.query.contains("upper_1") }.dropFirst()
      #expect(batches.count >= 11, "\(kind)")
      for batch in batches {
        // 500 rows on 10 pages; a change writes each of them to two indexes.
        #expect(batch.pages < most, "\(batch.query)")
        let condition = batch.indexes.first { $0.name == "t_pkey" }?.condition ?? "none"
        #expect(condition.contains("id > 5") && !condition.contains("$"), "\(condition)")
      }
      // The last one needs no more than the first ones.
      #expect((batches.last?.pages ?? .max) <= 2 * (batches.first?.pages ?? 0), "\(kind)")
    }
  }

  /// K28
  @Test func `K28: a composite key is one range of its index, not an OR over the table`() async throws {
    let statements = try await explained(
      "batch: pairs\nsource: t\nset: {v: v + 1}",
      """
      CREATE TABLE t (a integer, b integer, v integer, PRIMARY KEY (a, b));
      INSERT INTO t SELECT n / 100, n % 100, n FROM generate_series(1, 20000) AS n;
      ANALYZE t
      """, batchSize: 2_000)
    let batches = statements.filter { $0.query.hasPrefix("INSERT INTO migrate.undo") }
    #expect(batches.count == 10)
    for batch in batches.dropFirst() {
      let condition = batch.indexes.first { $0.name == "t_pkey" }?.condition ?? "none"
      #expect(condition.contains("ROW(a, b) > ROW(") && condition.contains("ROW(a, b) <= ROW("), "\(condition)")
    }
  }
}
