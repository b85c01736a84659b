import Migrate
import MigrateTestSupport
import TestSupport
import Testing

/// A random definition of a table of its own, and what psql would have been told.
private struct RandomRun {
  let schema: String
  let yaml: String
  let update: String
  let batchSize: Int

  private static let values: [(column: String, values: [String])] = [
    (
      "n",
      [
        "n + 1", "n * :f", "id - n", "NULL::integer", "CASE WHEN flag THEN n ELSE -n END",
        "(SELECT count(*)::integer FROM o WHERE o.id < t.id)",
      ]
    ),
    (
      "price", ["round(price * 1.05, 2)", "price / 3", "n::numeric", "nullif(price, 10)", "trunc(price)", "price * :f"]
    ),
    (
      "name",
      ["upper(name)", "name || ' ' || n", "'it''s'", "coalesce(name, 'none')", "left(name, 3)", "reverse(name)"]
    ),
    ("flag", ["NOT flag", "n % 2 = 0", "name IS NULL", "NULL::boolean"]),
    ("tags", ["array_append(tags, name)", "'{}'::text[]", "tags[1:1]", "tags || tags"]),
    ("doc", ["jsonb_build_object('n', n)", "doc || '{\"a\": 1}'", "NULL::jsonb", "to_jsonb(tags)"]),
  ]
  private static let filters = [
    "", "n > 0", "flag", "name LIKE 'w%'", "price < 20 OR price IS NULL", "id % 7 <> 3", "false",
    "cardinality(tags) = 1",
  ]
  private static let keys = [
    ("id integer", "n"), ("id bigint", "n * 1000003"), ("id numeric", "n / 7.0"),
    ("id text COLLATE \"en-x-icu\"", "md5(n::text)"), ("id uuid", "md5(n::text)::uuid"),
  ]

  init(_ random: inout Random) {
    let (key, made) = random.pick(Self.keys)
    let isNumber = !key.contains("text") && !key.contains("uuid")
    let rows = [0, 1, 7, 60, 200][random.below(5)]
    schema = """
      DROP TABLE IF EXISTS t, o;
      CREATE TABLE t (\(key) PRIMARY KEY, n integer, price numeric(10,2), name text, flag boolean, tags text[], doc jsonb);
      INSERT INTO t SELECT \(made), nullif(n % 11, 4) - 3, nullif(n % 13, 5) * 3.33, nullif('w' || n % 5, 'w2'), nullif(n % 3, 1) = 0,
                           CASE WHEN n % 4 > 0 THEN ARRAY['t' || n] END, CASE WHEN n % 2 = 0 THEN '{"b": 2}'::jsonb END
      FROM   generate_series(1, \(rows)) AS n ORDER BY md5(n::text || \(random.below(1000)));
      CREATE TABLE o AS SELECT id FROM t WHERE n > 0
      """
    let columns = Self.values.shuffled(using: &random).prefix(1 + random.below(4))
    let chosen = columns.map { column in
      let values = column.values.filter { isNumber || !$0.contains("id -") }
      return (column.column, random.pick(values))
    }
    let filter = random.pick(Self.filters.filter { isNumber || !$0.contains("id %") })
    let factor = random.pick(["2", "0", "-1"])
    let usesFactor = chosen.contains { $0.1.contains(":f") }
    yaml =
      "batch: b\nsource: t\n" + (usesFactor ? "params: {f: {type: integer, default: \(factor)}}\n" : "")
      + (filter.isEmpty ? "" : "where: |\n  \(filter)\n")
      + "set:\n" + chosen.map { "  \($0.0): |\n    \($0.1)\n" }.joined()
    let assignments = chosen.map { "\($0.0) = \($0.1)" }.joined(separator: ", ").replacing(":f", with: "(\(factor))")
    update = "UPDATE t SET \(assignments)" + (filter.isEmpty ? "" : " WHERE \(filter)")
    batchSize = random.pick([1, 2, 3, 7, 59, 60, 1000])
  }
}

@Suite struct `Whatever is defined` {
  /// U04
  @Test func `is what one statement makes of the rows, and goes back to what was`() async throws {
    try await withDatabase { server in
      var fuzz = Fuzz("runs", rounds: 8)
      while fuzz.goesOn() {
        let random = RandomRun(&fuzz.random)
        let title = "\(random.yaml)\(random.schema)\nbatches of \(random.batchSize)"
        try await server.psql("SET client_min_messages = error; \(random.schema)")
        let before = try await image(of: "t", on: server)
        let expected: Image
        do { expected = try await image(of: "t", on: server, after: random.update) } catch {
          // What psql refuses, a run refuses: a value that does not fit.
          let applied = try? await migrated(random.yaml, on: server, batchSize: 1_000)
          #expect(applied?.isComplete != true, "\(title)")
          if let applied { _ = try? await reverted(applied.run, on: server) }
          continue
        }
        let applied = try await migrated(random.yaml, on: server, batchSize: random.batchSize)
        #expect(applied.isComplete, "\(title)\n\(applied.outcome)")
        #expect(expected.differences(to: try await image(of: "t", on: server)) == [], "\(title)")
        #expect(try await reverted(applied.run, on: server) == .reverted(conflicts: 0), "\(title)")
        #expect(before.differences(to: try await image(of: "t", on: server)) == [], "\(title)")
      }
    }
  }
}
