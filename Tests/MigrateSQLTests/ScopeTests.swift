import MigrateDiagnostics
@testable import MigrateSQL
import Testing

@Suite struct `The scope of a name` {
  /// Each column of `sql`, with the range names in sight, innermost query first: `a.x: [t] [u]`.
  private func scopes(_ facts: SQLFacts, _ sql: String) -> [String] {
    facts.columns.map { column in
      let queries = column.scope.queries.map { "[\($0.map(\.name.name).joined(separator: " "))]" }
      return ([slice(sql, column.range) + ":"] + queries).joined(separator: " ")
    }
  }

  static let expressions: [(sql: String, scopes: [String])] = [
    ("a + (SELECT x FROM t)", ["a:", "x: [t]"]),
    (
      "EXISTS (SELECT FROM shop.orders o WHERE o.user_id = users.id AND state = 'x')",
      ["o.user_id: [o]", "users.id: [o]", "state: [o]"]
    ),
    (
      "id IN (SELECT u.id FROM u WHERE EXISTS (SELECT 1 FROM v WHERE v.a = u.a))",
      ["id:", "u.id: [u]", "v.a: [v] [u]", "u.a: [v] [u]"]
    ),
    (
      "(WITH c AS (SELECT x FROM t WHERE t.k = b.k) SELECT c.x FROM c, d)",
      ["x: [t]", "t.k: [t]", "b.k: [t]", "c.x: [c d]"]
    ),
    (
      "(SELECT z.n FROM a, LATERAL (SELECT a.n FROM b WHERE b.k = a.k) z)",
      ["z.n: [a z]", "a.n: [b] [a]", "b.k: [b] [a]", "a.k: [b] [a]"]
    ),
    ("(SELECT 1 FROM a, (SELECT q FROM b) z)", ["q: [b]"]),
    ("(SELECT 1 FROM a, unnest(a.tags) AS tag)", ["a.tags: [a]"]),
    ("(SELECT id FROM a JOIN b USING (id) WHERE b.x)", ["id: [a b]", "id: [a b]", "b.x: [a b]"]),
    ("(SELECT j.id FROM (a JOIN b ON a.i = b.i) AS j)", ["j.id: [j]", "a.i: [a b]", "b.i: [a b]"]),
    ("(SELECT u.id FROM a JOIN b USING (id) AS u)", ["u.id: [a b u]", "id: [a b]"]),
    (
      "(SELECT 1 FROM a JOIN b ON a.x = b.x JOIN c ON c.y = a.y)",
      ["a.x: [a b]", "b.x: [a b]", "c.y: [a b c]", "a.y: [a b c]"]
    ),
    (
      "(SELECT 1 FROM a WHERE k > ALL (SELECT k FROM b UNION SELECT k FROM c))", ["k: [a]", "k: [b] [a]", "k: [c] [a]"]
    ),
    ("ARRAY(SELECT n FROM generate_series(1, m) AS g(n))", ["n: [g]", "m: []"]),
  ]

  @Test(arguments: expressions) func `is the queries around it, innermost first`(
    _ example: (sql: String, scopes: [String])
  ) throws {
    #expect(scopes(try expression(example.sql).facts, example.sql) == example.scopes)
  }

  @Test func `tells the relation that a qualifier stands for`() throws {
    let sql = """
      EXISTS (WITH c(k) AS (SELECT 1) SELECT FROM shop.orders o, c AS d, (SELECT a, b + 1 AS e, count(*) FROM t) s, \
      f(1) WHERE o.id = users.id AND d.k = s.e)
      """
    let read = try expression(sql)
    let scope = try #require(read.columns.last?.scope)
    func name(_ text: String) -> Identifier { Identifier(trusted: text) }
    #expect(scope.binding(of: name("o"))?.source == .table(schema: name("shop"), name: name("orders")))
    #expect(scope.binding(of: name("o"))?.columns == nil)
    #expect(scope.binding(of: name("d"))?.source == .commonTable(name("c")))
    #expect(scope.binding(of: name("d"))?.columns == [name("k")])
    #expect(scope.binding(of: name("s"))?.source == .subquery)
    #expect(scope.binding(of: name("s"))?.columns == ["a", "e", "count"].map(name))
    #expect(scope.binding(of: name("f"))?.source == .function)
    #expect(scope.binding(of: name("orders")) == nil)
    #expect(scope.binding(of: name("users")) == nil)
    #expect(read.relations.map(\.name.name) == ["orders", "t"])
    #expect(read.relations.map { slice(sql, $0.range) } == ["shop.orders", "t"])
    #expect(read.relations.map(\.alias?.name) == ["o", nil])
    #expect(read.relations.map(\.depth) == [0, 0])
  }

  @Test func `searches the inner query first`() throws {
    let sql = "(SELECT 1 FROM a x WHERE EXISTS (SELECT x.k FROM b x))"
    let column = try #require(try expression(sql).columns.first)
    #expect(column.depth == 2)
    #expect(
      column.scope.binding(of: Identifier(trusted: "x"))?.source == .table(schema: nil, name: Identifier(trusted: "b")))
  }

  @Test func `of an item to sort by may be an output column`() throws {
    let sql = "SELECT a AS x, b FROM t GROUP BY x, b ORDER BY x, x + 1, c"
    let query = try SQLQuery.parse(fragment(sql))
    #expect(query.columns.map(\.namesOutput) == [false, false, true, true, true, false, false])
    let union = try SQLQuery.parse(fragment("SELECT a FROM t UNION SELECT b FROM u ORDER BY a"))
    #expect(union.columns.map(\.namesOutput) == [false, false, true])
  }

  @Test func `of a recursive query holds the query itself`() throws {
    let sql =
      "WITH RECURSIVE r AS (SELECT id FROM n WHERE up IS NULL UNION ALL SELECT n.id FROM n JOIN r ON r.id = n.up) TABLE r"
    let query = try SQLQuery.parse(fragment(sql))
    #expect(query.relations.map(\.name.name) == ["n", "n"])
    #expect(query.columns.count == 5)
  }
}

@Suite struct `A query` {
  static let outputs: [(sql: String, names: [String?])] = [
    (
      "SELECT a, t.b, c AS d, 1, f(x), \"C\"::text, 'x'::date, CASE WHEN a THEN b END, (SELECT e FROM u) FROM t",
      ["a", "b", "d", nil, "f", "C", "date", "case", "e"]
    ),
    (
      "SELECT *, t.*, coalesce(a, b), greatest(1, 2), ARRAY[1], ROW(1, 2), current_date, EXISTS (SELECT 1)",
      [nil, nil, "coalesce", "greatest", "array", "row", "current_date", "exists"]
    ),
    ("VALUES (1, 'a'), (2, 'b')", ["column1", "column2"]),
    ("SELECT a FROM t UNION SELECT b FROM u", ["a"]),
    (
      "(SELECT nullif(a, b), (r).f, a[1], a COLLATE \"C\", localtime(2), CASE WHEN a THEN 1 ELSE b END FROM t)",
      ["nullif", "f", "a", "a", "localtime", "b"]
    ),
    ("WITH c AS (SELECT 1 AS n) SELECT n FROM c", ["n"]),
  ]

  @Test(arguments: outputs) func `gives columns called as PostgreSQL calls them`(
    _ example: (sql: String, names: [String?])
  ) throws {
    let select = try #require(try SQLReader(fragment(example.sql), prefix: "").statement.node("SelectStmt"))
    #expect(OutputNames(of: select).columns.map(\.name?.name) == example.names)
  }

  @Test func `tells the same facts as an expression does, byte by byte`() throws {
    let sql = "SELECT user_id, sum(é) AS total FROM shop.orders WHERE at < :scheduled_at GROUP BY user_id LIMIT 5"
    let query = try SQLQuery.parse(fragment(sql))
    #expect(query.columns.map { slice(sql, $0.range) } == ["user_id", "é", "at", "user_id"])
    #expect(query.parameters.map { slice(sql, $0.range) } == [":scheduled_at"])
    #expect(query.relations.map { slice(sql, $0.range) } == ["shop.orders"])
    #expect(query.functions.map(\.depth) == [1])
    #expect(try SQLQuery.parse(fragment("SELECT a FROM t NATURAL JOIN u")).facts.hasNaturalJoin)
  }
}
