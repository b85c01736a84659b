import Migrate
import MigrateTestSupport
import TestSupport
import Testing

@Suite struct `No name of the user's meets one of ours` {
  /// Each a name that our statements use themselves, or that SQL would read otherwise.
  static let names = [
    "a", "b", "c", "d", "f", "h", "l", "r", "s", "u", "back", "changed", "image", "eligible", "heartbeat", "conflicts",
    "found", "held", "noted", "batch",
    "select", "k_1", "o_2", "n_2", "slice", "ordinal", "part", "exact", "reverted", "rows_read", "differs", "key", "v",
    "is_gone",
    "excluded", "new", "old", "row", "Upper", "semi;colon", "dash--dash", "/*", "$1", "{run}", "%I", ":name",
    "tab\tin it",
  ]

  /// X22 K06
  @Test func `X22 K06: as table, as alias, as columns of key and value`() async throws {
    try await withLedger { server in
      try await withThrowingTaskGroup(of: Void.self) { group in
        for lane in 0..<4 {
          group.addTask {
            for index in stride(from: lane, to: Self.names.count, by: 4) {
              try await check(Self.names[index], index, server)
            }
          }
        }
        try await group.waitForAll()
      }
    }
  }

  private func check(_ name: String, _ index: Int, _ server: Server) async throws {
    let quoted = "\"\(name)\""
    let table = "s\(index).\(quoted)"
    // An AFTER trigger that may write the row makes every statement there is.
    try await server.psql(
      """
      CREATE SCHEMA s\(index);
      CREATE TABLE \(table) (\(quoted) integer, k integer, value integer, "x\(name)" text[], PRIMARY KEY (\(quoted), k));
      INSERT INTO \(table) SELECT n / 3, n, n, ARRAY[n::text] FROM generate_series(1, 10) AS n;
      CREATE FUNCTION s\(index).f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'SELECT'; RETURN NULL; END $$;
      CREATE TRIGGER f AFTER UPDATE ON \(table) FOR EACH ROW EXECUTE FUNCTION s\(index).f()
      """)
    let before = try await image(of: table, on: server)
    let expected = try await image(
      of: table, on: server,
      after: "UPDATE \(table) SET value = value + \(quoted), \"x\(name)\" = ARRAY['{run}'] WHERE \(quoted) < 3")
    let yaml = """
      batch: b\(index)
      source: {table: \(Self.single("s\(index).\(quoted)"))}
      where: |
        batch.\(quoted) < 3
      set:
        value: |
          value + \(quoted)
        \(Self.double("x\(name)")): {value: ['{run}']}
      checks:
        batch:
          all there: |
            SELECT 1 FROM batch AS x WHERE x.value < 0
      """
    let applied = try await migrated(yaml, on: server, batchSize: 4)
    #expect(applied.outcome == .completed(leftBehind: 0), "\(name)")
    #expect(expected.differences(to: try await image(of: table, on: server)) == [], "\(name)")
    try await server.psql("UPDATE \(table) SET value = -1 WHERE k = 1")
    #expect(try await reverted(applied.run, on: server) == .conflicts(1), "\(name)")
    #expect(
      try await reverted(String(applied.run), on: server, onConflict: .force) == .reverted(conflicts: 0), "\(name)")
    #expect(before.differences(to: try await image(of: table, on: server)) == [], "\(name)")
  }

  private static func single(_ text: String) -> String { "'\(text.replacing("'", with: "''"))'" }

  private static func double(_ text: String) -> String {
    "\"\(text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\t", with: "\\t"))\""
  }
}
